"""Sponsor coverage: of the employees, the share for whom an active sponsor speaks; now, by group, and over time."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import accumulate
from typing import Final

from services.insights.measures.facts import END_OF_TIME, CycleFacts, Facts
from services.insights.measures.grouping import SCOPE, Subject, broken_down, labels_of, table_rows
from services.insights.measures.measure import Measure, Moment, Value, share

SPONSOR_COVERAGE: Final = Measure(
    name="sponsor_coverage",
    title="Sponsor coverage",
    unit="share",
    definition="Active employees for whom at least one active sponsor speaks, of all active employees. A sponsor is "
    "active when the relationship holds now and they are an active employee themselves. For a cycle that is open: "
    "the same, of those who are in its scope now.",
    pitfalls=(
        "It tells that a sponsor is named, not that the sponsor does anything: set it beside what was endorsed.",
        "One sponsor may be named for forty people, and all forty count: set it beside the sponsors' load.",
        "Whoever is at the top has nobody above to be sponsored by, and lowers the share of their unit for ever.",
        "New joiners come in without a sponsor: a unit that hires looks worse than one that does not.",
        "A sponsor whom the HRIS does not know counts for nobody.",
        "A unit holds its sub-units: units must not be added up.",
        "Earlier moments are told by what is known of them today: a relationship that was entered late counts from "
        "its start, and one that was taken up again counts from then only.",
    ),
)

_WEEKS: Final = 52


def sponsor_coverage(facts: Facts, k: int) -> list[Value]:
    """Return coverage of the company, of each group, and of each open cycle's scope."""
    open_cycles = [cycle for cycle in facts.cycles if cycle.status == "open"]
    sponsored = facts.sponsored_by
    subjects = []
    for employee_id, standing in facts.employed.items():
        labels = labels_of(facts.people[employee_id], standing, facts.now)
        scopes = frozenset((SCOPE, cycle.cycle_id) for cycle in open_cycles if cycle.holds(standing))
        subjects.append(Subject(labels | scopes, int(employee_id in sponsored), 1))
    rows = table_rows((standing.unit_path for standing in facts.employed.values()), k)
    scoped = [cycle.cycle_id for cycle in open_cycles]
    return broken_down(SPONSOR_COVERAGE.name, subjects, rows, k, scopes=scoped)


def sponsor_coverage_over_time(facts: Facts, k: int) -> list[Moment]:
    """Return coverage of the company a week apart for a year back, and now; moments with fewer than k people left out.

    A person is covered from when to when one of their sponsors' ties held while both were with the company.
    """
    times = [facts.now - timedelta(weeks=weeks) for weeks in range(_WEEKS, -1, -1)]
    active, covered = [0] * (len(times) + 1), [0] * (len(times) + 1)
    spans = {employee_id: person.active_spans() for employee_id, person in facts.people.items()}
    for own in spans.values():
        _count(times, own, active)
    held: dict[str, list[tuple[datetime, datetime]]] = {}
    for tie in facts.sponsors:
        if tie.other_id != tie.employee_id and tie.ends > times[0]:
            both = list(_common(spans.get(tie.employee_id, []), spans.get(tie.other_id, [])))
            held.setdefault(tie.employee_id, []).extend(_common(both, [(tie.begins, tie.ends)]))
    for together in held.values():
        _count(times, _merged(together), covered)
    return [
        Moment(SPONSOR_COVERAGE.name, at, part, whole, share(part, whole))
        for at, part, whole in zip(times, accumulate(covered), accumulate(active), strict=False)
        if whole >= k
    ]


def in_scope_at_opening(facts: Facts, cycle: CycleFacts) -> list[str]:
    """Return the employees who were in the cycle's scope when it opened."""
    return [person.employee_id for person in facts.people.values() if cycle.holds(person.at(cycle.opens_at))]


Spans = Sequence[tuple[datetime, datetime]]


def _common(ours: Spans, theirs: Spans) -> Iterator[tuple[datetime, datetime]]:
    for begin, end in ours:
        for other_begin, other_end in theirs:
            if max(begin, other_begin) < min(end, other_end):
                yield max(begin, other_begin), min(end, other_end)


def _merged(spans: Spans) -> list[tuple[datetime, datetime]]:
    merged: list[tuple[datetime, datetime]] = []
    for begin, end in sorted(spans):
        if merged and begin <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((begin, end))
    return merged


def _count(times: Sequence[datetime], spans: Spans, differences: list[int]) -> None:
    """Add 1 from each span's begin on and take it back at its end, in differences between one time and the next."""
    for begin, end in spans:
        differences[bisect_left(times, begin)] += 1
        differences[len(times) if end == END_OF_TIME else bisect_left(times, end)] -= 1
