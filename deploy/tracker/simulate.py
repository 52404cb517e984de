"""Tells what a cycle would bring if it opened: prompts, to whom, sponsors' load, gaps; also under other settings."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from deploy.tracker.folding import BadSnapshot, Stretch, folded, opened_snapshot
from deploy.tracker.options import Watched, add_bootstrap_servers, add_until, cells, output, person_keys, plain, watched
from deploy.tracker.whatif import Change, Comparison, Share, Simulation, Tally, TooLate, question
from services.correlator.policy import Policy
from services.correlator.settings import CorrelatorSettings
from services.cycles.normalise import cycle_stated_by
from shared.contracts.career import Cycle
from shared.contracts.feeds import CycleStated
from shared.service.settings import environment_name
from shared.streaming.reading import NotRead
from shared.streaming.records import Poison


class WrongUse(Exception):
    """What was asked can't be done; the message says what would be right."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument(
        "--cycle",
        type=Path,
        required=True,
        metavar="FILE",
        help="the cycle as it would be sent to feeds.cycles: JSON, the payload of cycle.opened or the whole CloudEvent",
    )
    parser.add_argument("--snapshot", type=Path, metavar="FILE", help="of `tracker snapshot` (default: read the log)")
    add_until(parser)
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        dest="settings",
        help="another setting of the correlator, as CORRELATOR_HALF_LIFE_DAYS=90, to see what it would change; several "
        "may be given",
    )
    parser.add_argument("--top", type=int, default=10, metavar="N", help="sponsors and units to show (%(default)s)")
    parser.add_argument("--json", action="store_true", help="one JSON object, with all sponsors and units")
    add_bootstrap_servers(parser)
    parser.epilog = (
        "All is judged as of the cycle's opening or, where that has passed, of the log's clock, by what is known now. "
        "Exit code 0: done; 1: Kafka or the snapshot could not be read; 2: the cycle or an option is wrong."
    )


def run(asked: argparse.Namespace) -> int:
    """Work out what the cycle would bring, and tell it."""
    if asked.snapshot is not None and asked.until is not None:
        print("tracker simulate: --until goes with the log; for a snapshot: tracker snapshot --until", file=sys.stderr)
        return 2
    try:
        cycle = _cycle(asked.cycle)
        settings = CorrelatorSettings()
        policies = [settings.policy]
        if asked.settings:
            policies.append(_with(settings, asked.settings))
        before, after, change = _worked_out(asked, cycle, policies)
    except (WrongUse, TooLate, ValidationError) as exc:
        print(f"tracker simulate: {_in_words(exc)}", file=sys.stderr)
        return 2
    except (NotRead, BadSnapshot, OSError) as exc:
        print(f"tracker simulate: {exc}", file=sys.stderr)
        return 1
    if asked.json:
        print(json.dumps(_as_json(before, after, change), ensure_ascii=False))
    else:
        _tell(output(), before, after, change, asked.top)
    if before.employees == 0:
        print(
            "tracker simulate: nobody is known: is this the right Kafka, and has the people feed run?", file=sys.stderr
        )
    return 0


def _worked_out(
    asked: argparse.Namespace, cycle: Cycle, policies: Sequence[Policy]
) -> tuple[Simulation, Simulation | None, Change | None]:
    comparison: Comparison | None = None
    tallies: list[Tally] = []
    with watched() as watch, _stretches(asked, watch) as stretches:
        for clock, employees in stretches:
            if not tallies:
                # Each partition has its clock; they are told together, and so are minutes apart at most.
                about = question(cycle, clock)
                tallies = [Tally(about, policy) for policy in policies]
                comparison = Comparison(about, *policies) if len(policies) > 1 else None
            for employee in employees:
                outcomes = [tally.add(employee) for tally in tallies]
                if comparison is not None:
                    comparison.add(employee, *outcomes)
    simulations = [tally.simulation() for tally in tallies]
    if comparison is not None:
        return simulations[0], simulations[1], comparison.change()
    return simulations[0], None, None


@contextmanager
def _stretches(asked: argparse.Namespace, watch: Watched) -> Iterator[Iterable[Stretch]]:
    """Give clock and employees: of the snapshot, or of each of the log's partitions."""
    if asked.snapshot is not None:
        with opened_snapshot(asked.snapshot, watch(str(asked.snapshot))) as snapshot:
            yield [snapshot]
    else:
        with person_keys(asked.bootstrap_servers) as keys:
            folds = folded(asked.bootstrap_servers, keys, asked.until, watch)
            yield ((fold.calendar.now, fold.employees.values()) for fold in folds)


def _cycle(path: Path) -> Cycle:
    try:
        told: Any = json.loads(path.read_bytes())
    except ValueError as exc:
        raise WrongUse(f"{path} is no JSON: {exc}") from None
    if isinstance(told, dict) and "specversion" in told:
        told = told.get("data")
    try:
        return cycle_stated_by(CycleStated.model_validate(told))
    except (ValidationError, Poison) as exc:
        raise WrongUse(f"{path}: {_in_words(exc)}") from None


def _with(settings: CorrelatorSettings, changes: Sequence[str]) -> Policy:
    """Return the numbers of `settings` with some others."""
    names = {environment_name(CorrelatorSettings, field): field for field in vars(Policy())}
    values = {field: getattr(settings, field) for field in vars(Policy())}
    for change in changes:
        name, equals, value = change.partition("=")
        if name not in names or not equals:
            raise WrongUse(f"--set {change}: write NAME=VALUE, where NAME is one of {', '.join(names)}")
        values[names[name]] = value
    return CorrelatorSettings(**values).policy


def _in_words(exc: Exception) -> str:
    if isinstance(exc, ValidationError):
        return "; ".join(f"{'.'.join(map(str, error['loc']))}: {error['msg']}" for error in exc.errors())
    return str(exc)


def _as_json(before: Simulation, after: Simulation | None, change: Change | None) -> dict[str, Any]:
    told = before.model_dump(mode="json")
    if after is not None and change is not None:
        told["with_other_settings"] = after.model_dump(mode="json")
        told["change"] = change.model_dump(mode="json")
    return told


# -- for people -----------------------------------------------------------------------------------


def _tell(out: Console, before: Simulation, after: Simulation | None, change: Change | None, top: int) -> None:
    out.print(Rule(Text(plain(f"If “{before.cycle_title}” opened"), style="bold"), align="left"))
    out.print(
        Text(
            f"{before.cycle_id}: judged as of {before.as_of:%Y-%m-%d %H:%M} UTC, by what is known now. Nothing is sent."
        )
    )
    out.print()
    out.print(_numbers(before, after))
    if change is not None and after is not None:
        out.print()
        out.print(_change(before, after, change))
    if before.sponsors:
        out.print()
        out.print(_sponsors(before, top))
    out.print()
    out.print(_shares("level", before.by_level, len(before.by_level)))
    out.print()
    out.print(_shares("unit", sorted(before.by_unit, key=lambda s: (-s.in_scope, s.name)), top))


def _numbers(before: Simulation, after: Simulation | None) -> RenderableType:
    heads = ["", "would be"] if after is None else ["", "with the settings as they are", "with the others"]
    table = Table(*heads, box=None, padding=(0, 2))
    for column in table.columns[1:]:
        column.justify = "right"
    columns = [_column(simulation) for simulation in (before, after) if simulation is not None]
    for name in columns[0]:
        table.add_row(*cells(name, *(column[name] for column in columns)))
    return table


def _column(s: Simulation) -> dict[str, str]:
    return {
        "employees known": f"{s.employees:,}",
        "  of them in scope": f"{s.in_scope:,}",
        "  for whom somebody speaks or would be asked": f"{s.spoken_for:,}{_percent(s.spoken_for, s.in_scope)}",
        "prompts": f"{s.prompts:,}",
        "  with nothing to show": f"{s.without_evidence:,}",
        "  pieces of evidence in each": f"{s.pieces / s.prompts:.2f}" if s.prompts else "-",
        "sponsors asked": f"{s.load.sponsors:,}" if s.load else "0",
        "  prompts each, median": f"{s.load.median:g}" if s.load else "-",
        "  nine of ten get at most": f"{s.load.nine_tenths:,}" if s.load else "-",
        "  the busiest gets": f"{s.load.most:,}" if s.load else "-",
        "  spread (Gini, 0 is even)": f"{s.load.gini:.2f}" if s.load else "-",
        "gaps": f"{s.gaps:,}{_percent(s.gaps, s.in_scope)}",
        "  without anybody to suggest": f"{s.gaps_without_suggestion:,}",
    }


def _change(before: Simulation, after: Simulation, change: Change) -> RenderableType:
    old, new = before.settings.model_dump(), after.settings.model_dump()
    settings = ", ".join(f"{name} {old[name]} → {new[name]}" for name in old if old[name] != new[name])
    told = [
        f"{change.prompts_with_other_evidence:,} prompts would show other evidence, or the same in another order: "
        f"{change.pieces_that_go:,} pieces go, {change.pieces_that_come:,} come",
        f"{change.gaps_with_other_suggestions:,} gaps would suggest other people",
    ]
    if change.prompts_only_before or change.prompts_only_after:
        told.append(f"{change.prompts_only_before:,} prompts would go, {change.prompts_only_after:,} would come")
    head = Text(f"What {settings or 'the same settings again'} would change", style="bold")
    return Group(head, *(Padding(Text(line), (0, 0, 0, 2)) for line in told))


def _sponsors(simulation: Simulation, top: int) -> RenderableType:
    table = Table("sponsors with most prompts", "", "prompts", box=None, padding=(0, 2))
    table.columns[2].justify = "right"
    for sponsor in simulation.sponsors[:top]:
        table.add_row(*cells(sponsor.name, sponsor.person_id, f"{sponsor.prompts:,}"))
    return _and_more(table, len(simulation.sponsors) - top, "sponsors")


def _shares(what: str, shares: Sequence[Share], top: int) -> RenderableType:
    table = Table(what, "in scope", "prompts", "gaps", "", box=None, padding=(0, 2))
    for column in table.columns[1:]:
        column.justify = "right"
    for share in shares[:top]:
        gaps = _percent(share.gaps, share.in_scope)
        table.add_row(
            *cells(share.name or "(no unit)", f"{share.in_scope:,}", f"{share.prompts:,}", f"{share.gaps:,}", gaps)
        )
    return _and_more(table, len(shares) - top, f"{what}s")


def _and_more(table: Table, more: int, what: str) -> RenderableType:
    return Group(table, Text(f"  and {more:,} more {what} (--top, --json)", style="dim")) if more > 0 else table


def _percent(part: int, whole: int) -> str:
    return f" ({100 * part / whole:.0f} %)" if whole else ""
