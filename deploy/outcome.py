"""Compares what the system says with what the scenario calls for, as a person would: through the insights API."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx

from shared.company.scenario import Scenario
from shared.company.truth import GapKey, PromptKey
from shared.contracts.ids import CycleId, EmployeeId


class Insights:
    """The insights API, all pages of it."""

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=url, timeout=30.0, trust_env=False)

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def get(self, path: str, **query: str) -> Any:
        """Return the answer to one request.

        Raises:
            httpx.HTTPStatusError: it is not 2xx.
        """
        answer = self._http.get(path, params=query)
        answer.raise_for_status()
        return answer.json()

    def all(self, path: str, **query: str) -> Iterator[Any]:
        """Yield the items of all pages."""
        page = self.get(path, limit="200", **query)
        yield from page["items"]
        while page["next"] is not None:
            page = self.get(path, limit="200", cursor=page["next"], **query)
            yield from page["items"]


def differences(insights: Insights, scenario: Scenario) -> list[str]:
    """Return in words how prompts, gaps and evidence differ from what the scenario calls for; empty when they don't."""
    return [*_prompts(insights, scenario), *_gaps(insights, scenario), *_evidence(insights, scenario)]


def _prompts(insights: Insights, scenario: Scenario) -> Iterator[str]:
    wanted = dict(scenario.expected.prompts)
    for prompt in insights.all("/v1/prompts"):
        key = PromptKey(
            CycleId(prompt["cycle_id"]), EmployeeId(prompt["employee_id"]), EmployeeId(prompt["sponsor_id"])
        )
        want = wanted.pop(key, None)
        found = (prompt["status"], prompt["withdrawn_because"])
        if want is None:
            yield f"a prompt that nothing calls for: {_named(key)} is {_status(*found)}"
        elif found != (want.status, want.reason):
            yield f"prompt {_named(key)} is {_status(*found)}, and should be {_status(*want)}"
    for key, want in wanted.items():
        yield f"prompt {_named(key)} is missing, and should be {_status(*want)}"


def _gaps(insights: Insights, scenario: Scenario) -> Iterator[str]:
    expected = scenario.expected
    wanted = dict(expected.gaps)
    for gap in insights.all("/v1/gaps"):
        key = GapKey(CycleId(gap["cycle_id"]), EmployeeId(gap["employee_id"]))
        want = wanted.pop(key, "closed" if key in expected.gaps_in_passing else None)
        if want is None:
            yield f"a gap that nothing calls for: {_named(key)} is {gap['status']}"
        elif gap["status"] != want:
            yield f"gap {_named(key)} is {gap['status']}, and should be {want}"
    for key, status in wanted.items():
        if key not in expected.gaps_in_passing:
            yield f"gap {_named(key)} is missing, and should be {status}"


def _evidence(insights: Insights, scenario: Scenario) -> Iterator[str]:
    strong = scenario.cast.late_and_strong
    seen_strong = False
    for prompt in insights.all("/v1/prompts", status="open"):
        body = insights.get(f"/v1/prompts/{prompt['prompt_id']}")["body"]
        pieces = {piece["evidence_id"] for piece in body["evidence"]}
        if len(pieces) != len(body["evidence"]) or len(pieces) > 5:
            yield f"prompt {prompt['prompt_id']} repeats evidence, or has more than five pieces"
        for piece in body["evidence"]:
            if piece["evidence_id"] in scenario.retracted:
                yield f"prompt {prompt['prompt_id']} holds a retracted achievement: {piece['title']!r}"
            if not piece["reasons"]:
                yield f"prompt {prompt['prompt_id']} does not say why {piece['title']!r} was chosen"
        seen_strong = seen_strong or strong.achievement_id in pieces
    if not seen_strong:
        yield f"the late and strong achievement {strong.title!r} is in no standing prompt"


def _named(key: PromptKey | GapKey) -> str:
    return "/".join(key)


def _status(status: str, reason: str | None = None) -> str:
    return status if reason is None else f"{status} ({reason})"
