"""Fetches the records that thin notifications name: each once a run, whoever names it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any
from urllib.parse import quote

from services.sources.accounts import Accounts, GivenUp, NotHad, Question
from services.sources.metrics import FETCHES
from shared.sources.apis import KEY, Fetch
from shared.sources.declaration import Declaration
from shared.sources.delivery import Unfetched


@dataclass(frozen=True, slots=True)
class Wanted:
    """A record that a delivery names."""

    source: str
    key: str


class Fetcher:
    """Asks vendors' APIs for records.

    Args:
        sources: the sources, by name.
        accounts: those of the sources that have credentials.
        give_up_seconds: how long the records of one call of `fetch` are tried for; each gets one attempt.
    """

    def __init__(self, sources: Mapping[str, Declaration], accounts: Accounts, *, give_up_seconds: float) -> None:
        self._fetches = {name: source.fetch for name, source in sources.items() if source.fetch is not None}
        self._accounts = accounts
        self._give_up_seconds = give_up_seconds

    async def fetch(self, wanted: Collection[Wanted]) -> Mapping[Wanted, Any]:
        """Return each record, as JSON, or `Unfetched`. However many deliveries name a record, it is asked for once."""
        deadline = monotonic() + self._give_up_seconds
        asked = list(dict.fromkeys(wanted))
        found = dict(zip(asked, await asyncio.gather(*(self._one(what, deadline) for what in asked)), strict=True))
        for what in asked:
            FETCHES.labels(what.source, "failed" if isinstance(found[what], Unfetched) else "fetched").inc()
        for source, deliveries in Counter(what.source for what in wanted).items():
            FETCHES.labels(source, "shared").inc(deliveries - sum(what.source == source for what in asked))
        return found

    async def _one(self, what: Wanted, deadline: float) -> Any:
        account = self._accounts.get(what.source)
        if account is None:
            return Unfetched(f"{what.source} has no credentials in SOURCES_CREDENTIALS to fetch the record with")
        fetch = self._fetches[what.source]
        try:
            if isinstance(fetch.url, str):
                return (await account.ask(_question(fetch, fetch.url, what.key), deadline=deadline)).document
            names = list(fetch.url)
            answers = await asyncio.gather(
                *(account.ask(_question(fetch, fetch.url[name], what.key), deadline=deadline) for name in names)
            )
        except GivenUp as exc:
            return Unfetched(f"the record: {exc}; replay the source later")
        except NotHad as exc:
            return Unfetched(f"the record: {exc}")
        return {name: answer.document for name, answer in zip(names, answers, strict=True)}


def _question(fetch: Fetch, url: str, key: str) -> Question:
    body = None if fetch.json_body is None else _filled(fetch.json_body, key)
    return Question(url.replace(KEY, quote(key, safe="")), fetch.method, body)


def _filled(template: Any, key: str) -> Any:
    if isinstance(template, str):
        return template.replace(KEY, key)
    if isinstance(template, Mapping):
        return {name: _filled(inner, key) for name, inner in template.items()}
    return [_filled(inner, key) for inner in template] if isinstance(template, list | tuple) else template
