"""Tells why a prompt or a gap exists, or why not: the rule, the facts in the log, the terms of the ranking."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from pydantic import ValidationError
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from deploy.tracker.options import add_bootstrap_servers, cells, output, person_keys, plain, watched
from services.correlator.asking import Asking, Thing
from services.correlator.explanation import (
    Condition,
    Disagreement,
    Explanation,
    Fact,
    GapExplained,
    NotKnown,
    PromptExplained,
    Version,
)
from services.correlator.settings import CorrelatorSettings
from services.correlator.telling import moment
from shared.contracts.ids import prompt_id
from shared.streaming.reading import NotRead

NOTHING_KNOWN = 3
"""Exit code where the log holds nothing of what was asked."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("id", nargs="?", metavar="ID", help="of a prompt or a gap, as messages and insights have it")
    parser.add_argument(
        "--version", type=int, metavar="N", help="with ID: as it was when this version was said (default: as of now)"
    )
    parser.add_argument("--employee", metavar="ID", help="whose prompts and gaps; the id of the primary HRIS")
    parser.add_argument("--cycle", metavar="ID", help="in which cycle (default: all that are known)")
    parser.add_argument("--sponsor", metavar="ID", help="only this sponsor's prompt")
    parser.add_argument("--all-evidence", action="store_true", help="also the pieces that are not shown, and why")
    parser.add_argument("--json", action="store_true", help="one JSON object a line for each cycle, for programs")
    add_bootstrap_servers(parser)
    parser.epilog = (
        "The numbers of the rules (CORRELATOR_…) are taken from the environment, and have to be the correlator's own. "
        "Exit code 0: explained; 1: Kafka is away, or what was written is not what the log calls for; 2: wrong use; "
        f"{NOTHING_KNOWN}: nothing is known of that."
    )


def run(asked: argparse.Namespace) -> int:
    """Explain what was asked for."""
    wrong = _wrong_use(asked)
    if wrong:
        print(f"tracker explain: {wrong} (see --help)", file=sys.stderr)
        return 2
    try:
        policy = CorrelatorSettings().policy
    except ValidationError as exc:
        print(f"tracker explain: the correlator's settings in the environment are wrong: {exc}", file=sys.stderr)
        return 2
    thing: Thing | None = None
    try:
        with watched() as watch, person_keys(asked.bootstrap_servers) as keys:
            asking = Asking(asked.bootstrap_servers, keys, policy, watch)
            if asked.id is not None:
                thing, one = asking.about_thing(asked.id, asked.version)
                explanations = [one]
            else:
                explanations = asking.about_employee(asked.employee, asked.cycle)
        shown = [_Shown(explanation, thing, asked.id, asked.sponsor) for explanation in explanations]
    except NotKnown as exc:
        print(f"tracker explain: {exc}", file=sys.stderr)
        return NOTHING_KNOWN
    except (NotRead, Disagreement) as exc:
        print(f"tracker explain: {exc}", file=sys.stderr)
        return 1
    out = output()
    for one_shown in shown:
        if asked.json:
            print(json.dumps(one_shown.as_json(), ensure_ascii=False))
        else:
            _tell(one_shown, out, all_evidence=asked.all_evidence)
    differences = [line for explanation in explanations for line in _differences(explanation)]
    for line in differences:
        print(f"tracker explain: {line}", file=sys.stderr)
    return 1 if differences else 0


def _wrong_use(asked: argparse.Namespace) -> str | None:
    if (asked.id is None) == (asked.employee is None):
        return "name either the ID of a prompt or gap, or --employee (and --cycle)"
    if asked.id is not None and (asked.cycle is not None or asked.sponsor is not None):
        return "--cycle and --sponsor go with --employee: an ID says them itself"
    if asked.id is None and asked.version is not None:
        return "--version goes with the ID of a prompt or gap"
    return None


class _Shown:
    """An explanation, and which part of it was asked for."""

    def __init__(self, explanation: Explanation, thing: Thing | None, thing_id: str, sponsor: str | None) -> None:
        self.explanation = explanation
        self.prompts = explanation.prompts
        self.gap: GapExplained | None = explanation.gap
        if thing is not None and thing.kind == "gap":
            self.prompts = ()
        elif thing is not None or sponsor is not None:
            self.gap = None
            wanted = thing_id if sponsor is None else _prompt_id(explanation, sponsor)
            self.prompts = tuple(prompt for prompt in explanation.prompts if prompt.prompt_id == wanted)
            if not self.prompts:
                raise NotKnown(
                    f"{sponsor or thing_id} is not, and never was, a sponsor of {explanation.employee_id}, as far as "
                    f"the log knows: without --sponsor you see who is"
                )

    def as_json(self) -> dict[str, Any]:
        """Return the explanation without what was not asked for."""
        told = self.explanation.model_dump(mode="json")
        told["prompts"] = [prompt.model_dump(mode="json") for prompt in self.prompts]
        if self.gap is None:
            del told["gap"]
        return told


def _prompt_id(explanation: Explanation, sponsor: str) -> str:
    return prompt_id(explanation.cycle_id, explanation.employee_id, type(explanation.employee_id)(sponsor))


def _differences(explanation: Explanation) -> Iterator[str]:
    """Yield where the service wrote something else than the log calls for."""
    hint = (
        "Were CORRELATOR_ settings or the program changed since, or does the environment here have others than the "
        "correlator's?"
    )
    for thing, versions in (
        *((prompt.prompt_id, prompt.versions) for prompt in explanation.prompts),
        (explanation.gap.gap_id, explanation.gap.versions),
    ):
        for version in versions:
            if version.record is not None and not version.same_bytes:
                place = version.record
                yield (
                    f"version {version.version} of {thing} reads otherwise in {place.topic} (partition "
                    f"{place.partition}, offset {place.offset}) than the log calls for. {hint}"
                )
    for place in explanation.not_called_for:
        yield (
            f"{place.topic} (partition {place.partition}, offset {place.offset}) says something of "
            f"{explanation.employee_id} that the log does not call for. {hint}"
        )


# -- for people -----------------------------------------------------------------------------------


def _tell(shown: _Shown, out: Console, *, all_evidence: bool) -> None:
    explanation = shown.explanation
    title = f"{explanation.employee_name} ({explanation.employee_id}) in “{explanation.cycle_title}”"
    out.print(Rule(Text(plain(title), style="bold"), align="left"))
    out.print(
        Text(
            f"{explanation.cycle_id}: opens {moment(explanation.opens_at)}, ends {moment(explanation.ends_at)}. Judged "
            f"as of {moment(explanation.now)}, the log's clock."
        )
    )
    log = explanation.log
    out.print(
        Text(
            f"From career-events, partition {log.partition}, up to offset {log.next_offset}: "
            f"{log.employee_records} records about them."
        )
    )
    for bad in log.not_understood:
        out.print(Text(plain(f"Not understood, and buried: {bad}"), style="red"))
    for prompt in shown.prompts:
        out.print()
        out.print(_prompt(prompt, all_evidence=all_evidence))
    if shown.gap is not None:
        out.print()
        if not explanation.prompts:
            out.print(Text("No prompt: nobody is or was their sponsor, as far as the log knows.", style="bold"))
        out.print(_gap(shown.gap))
    out.print()
    out.print(_facts(shown, all_evidence=all_evidence))


def _prompt(prompt: PromptExplained, *, all_evidence: bool) -> RenderableType:
    who = f"{prompt.sponsor_name} ({prompt.sponsor_id})" if prompt.sponsor_name else prompt.sponsor_id
    head = {
        "asked": f"{who} is asked",
        "spoken": f"{who} has spoken",
        "not_asked": f"{who} is not asked: {(prompt.reason or '').replace('_', ' ')}",
    }[prompt.verdict]
    if prompt.snoozed_until is not None:
        head += f" (put off until {moment(prompt.snoozed_until)})"
    parts: list[RenderableType] = [
        Text(plain(head), style="bold"),
        Text(f"prompt {prompt.prompt_id}", style="dim"),
        _indented(_conditions("judge", prompt.conditions)),
    ]
    if prompt.verdict == "asked":
        parts.append(_indented(_evidence(prompt, all_evidence=all_evidence)))
    parts.append(_indented(_versions(prompt.versions)))
    return Group(*parts)


def _gap(gap: GapExplained) -> RenderableType:
    head = "There is a gap" if gap.open else f"There is no gap: {(gap.reason or '').replace('_', ' ')}"
    parts: list[RenderableType] = [
        Text(head, style="bold"),
        Text(f"gap {gap.gap_id}", style="dim"),
        _indented(_conditions("has_gap", gap.conditions)),
    ]
    if gap.considered:
        table = Table("who came into question", "level", "why", "suggested", "facts", box=None)
        for person in gap.considered:
            suggested = "yes" if person.suggested else f"no: {person.objection}"
            name = f"{person.name} ({person.person_id})"
            table.add_row(*cells(name, str(person.level), person.why, suggested, _places(person.facts)))
        parts.append(_indented(table))
    elif gap.open:
        parts.append(_indented(Text("Nobody came into question as a sponsor.")))
    parts.append(_indented(_versions(gap.versions)))
    return Group(*parts)


def _conditions(rule: str, conditions: Iterable[Condition]) -> RenderableType:
    table = Table(f"{rule}, in services/correlator/rules.py", "", "because", "facts", box=None, padding=(0, 1))
    for condition in conditions:
        answer = Text("yes", style="green") if condition.holds else Text("no", style="red")
        because, places = cells(condition.because, _places(condition.facts))
        table.add_row(_QUESTIONS[condition.name], answer, because, places)
    return table


_QUESTIONS = {
    "opened": "has the cycle opened?",
    "not_cancelled": "does it take place?",
    "not_spoken_yet": "has the sponsor still to speak?",
    "not_over": "is it not over yet?",
    "with_the_company": "is the employee there?",
    "in_scope": "are they in scope?",
    "is_sponsor": "is this their sponsor?",
    "sponsor_is_there": "is the sponsor there?",
    "not_declined": "has the sponsor not declined?",
    "nobody_speaks": "does nobody speak for them?",
}


def _evidence(prompt: PromptExplained, *, all_evidence: bool) -> RenderableType:
    table = Table("evidence", "weight", "is the product of", "facts", box=None, padding=(0, 1))
    hidden = 0
    for piece in prompt.evidence:
        if not piece.shown and not all_evidence:
            hidden += 1
            continue
        place = f"{piece.place}. " if piece.shown else f"({piece.place}) "
        terms = [Text(plain(f"{term.factor:.2f} {term.name}: {term.because}")) for term in piece.terms]
        table.add_row(
            Text(plain(f"{place}{piece.title}"), style="" if piece.shown else "dim"),
            f"{piece.weight:.2f}\ngrade {piece.grade}",
            Group(*terms),
            _places(piece.facts),
        )
    parts: list[RenderableType] = [table] if prompt.evidence else [Text("No evidence lies in the cycle's window.")]
    if all_evidence:
        parts += [
            Text(plain(f"left out: {left.title} ({left.evidence_id}), for {left.because}; {_places(left.facts)}"))
            for left in prompt.left_out
        ]
    elif hidden or prompt.left_out:
        parts.append(
            Text(f"{hidden} weigh less, {len(prompt.left_out)} do not count here: --all-evidence", style="dim")
        )
    return Group(*parts)


def _versions(versions: Iterable[Version]) -> RenderableType:
    table = Table("said", "at", "because of", "written to", box=None, padding=(0, 1))
    rows = 0
    for version in versions:
        reason = f", {version.reason.replace('_', ' ')}" if version.reason else ""
        place = version.record
        written = f"{place.topic} {place.partition}/{place.offset}" if place is not None else "nowhere yet"
        said = f"{version.version}. {version.type}{reason}"
        because = version.because_of
        table.add_row(*cells(said, moment(version.at), f"{_place(because)}, {because.type}", written))
        rows += 1
    return table if rows else Text("Nothing was ever said of it.")


def _facts(shown: _Shown, *, all_evidence: bool) -> RenderableType:
    """Return the facts that are named above, each once, in the order of the log."""
    explanation, gap = shown.explanation, shown.gap
    named = [explanation.clock, *explanation.cycle_facts]
    for prompt in shown.prompts:
        named += [fact for condition in prompt.conditions for fact in condition.facts]
        named += [fact for piece in prompt.evidence if piece.shown or all_evidence for fact in piece.facts]
        named += [fact for left in prompt.left_out if all_evidence for fact in left.facts]
        named += [version.because_of for version in prompt.versions]
    if gap is not None:
        named += [fact for condition in gap.conditions for fact in condition.facts]
        named += [fact for person in gap.considered for fact in person.facts]
        named += [version.because_of for version in gap.versions]
    table = Table("fact", "written", "what it says, who told it, and the event's id", box=None, padding=(0, 1))
    for _, fact in sorted({fact.offset: fact for fact in named}.items()):
        told = Text(plain(f"{fact.type}: {fact.says}"))
        origin = Text(plain(f"{fact.source}, {fact.event_id}"), style="dim")
        table.add_row(*cells(_place(fact), moment(fact.written_at)), Group(told, origin))
    head = Text("The facts, as partition/offset in career-events", style="bold")
    return Group(head, _indented(table))


def _places(facts: Iterable[Fact]) -> str:
    return ", ".join(_place(fact) for fact in facts)


def _place(fact: Fact) -> str:
    return f"{fact.partition}/{fact.offset}"


def _indented(what: RenderableType) -> Padding:
    return Padding(what, (0, 0, 0, 2))
