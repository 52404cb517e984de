"""Renders the dashboard: what was measured, as charts with the same numbers in tables beside them. No script."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from html import escape
from typing import Final
from urllib.parse import urlencode

from services.insights import charts
from services.insights.measures import conversion, coverage, gaps, load, outcomes
from services.insights.measures.facts import CycleFacts
from services.insights.measures.grouping import LEVEL, LOCATION, TENURE, UNIT, UNIT_AND_LEVEL, natural
from services.insights.measures.keeping import Measured
from services.insights.measures.measure import WHOLE, Measure, Value
from services.insights.measures.taking import MEASURES
from services.insights.parts import HALF, NONE, Html, counted, days, document, figure, number, percent, table, words

_CHOSEN: Final = ' aria-current="true"'
_MOST_PLACES: Final = 8


@dataclass(frozen=True, slots=True)
class CycleShown:
    """A cycle that may be chosen on the page."""

    cycle_id: str
    title: str
    status: str


def in_order(cycles: Iterable[CycleFacts]) -> tuple[CycleShown, ...]:
    """Return the cycles that have opened, the open ones first, of each the newest first."""
    opened = [cycle for cycle in cycles if cycle.status in ("open", "closed")]
    opened.sort(key=lambda cycle: (cycle.status == "open", cycle.opens_at, cycle.cycle_id), reverse=True)
    return tuple(CycleShown(cycle.cycle_id, cycle.title, cycle.status) for cycle in opened)


class Dashboard:
    """Renders the page, and keeps it for as long as nothing else was measured.

    Args:
        read: returns what was measured last, and the cycles that have opened.
        compares: whether there is a page of comparisons by protected attributes to go to.
    """

    def __init__(self, read: Callable[[], tuple[Measured, tuple[CycleShown, ...]]], *, compares: bool = False) -> None:
        self._read = read
        self._compares = compares
        self._rendered: Callable[..., str] = lru_cache(maxsize=8)(_render)

    def page(self, cycle_id: str | None = None) -> str:
        """Return the page as HTML; of the first cycle where none is asked for, or one that has not opened.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: the database is away.
        """
        kept, cycles = self._read()
        chosen = next((cycle for cycle in cycles if cycle.cycle_id == cycle_id), cycles[0] if cycles else None)
        return self._rendered(_Page(kept), cycles, chosen, compares=self._compares)


class _Page:
    """What was measured, found by what it is about; equal to another of the same moment."""

    def __init__(self, kept: Measured) -> None:
        self._mark = (kept.clock, kept.records, kept.k)
        self.kept = kept

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Page) and other._mark == self._mark

    def __hash__(self) -> int:
        return hash(self._mark)

    def whole(self, measure: Measure, cycle_id: str = WHOLE) -> Value:
        """Return what the measure comes to; without a number where it was not taken, or is hidden."""
        found = [
            value
            for value in self.kept.taken.values
            if (value.measure, value.cycle_id, value.dimension) == (measure.name, cycle_id, WHOLE) and not value.hidden
        ]
        return found[0] if found else Value(measure.name, cycle_id, hidden=True)

    def by(self, measure: Measure, dimension: str, cycle_id: str = WHOLE) -> list[Value]:
        """Return the groups of a dimension in their order."""
        return [
            value
            for value in self.kept.taken.values
            if (value.measure, value.cycle_id, value.dimension) == (measure.name, cycle_id, dimension)
        ]

    def hidden(self, measure: Measure, dimension: str, cycle_id: str = WHOLE) -> int:
        """Return how many groups are not shown."""
        return self.kept.hidden.get((measure.name, cycle_id, dimension), 0)


def _render(page: _Page, cycles: Sequence[CycleShown], chosen: CycleShown | None, *, compares: bool) -> str:
    clock = page.kept.clock
    if clock is None:
        body = (
            "<p>Nothing is measured yet: the log has not told the time, or insights has just begun. Come back soon.</p>"
        )
    else:
        body = "".join(
            (
                _coverage(page),
                _heat_map(page),
                _groups(page),
                _cycle(page, cycles, chosen),
                f'<div class="two">{_gaps(page, cycles)}{_load(page)}</div>',
                _promoted(page, cycles),
                words(MEASURES, "What these numbers are, and where they mislead"),
            )
        )
    as_of = "" if clock is None else f"As of {clock:%-d %B %Y, %H:%M} UTC, by the clock of the log. "
    rule = (
        f"Groups below {page.kept.k} people, and those they could be worked out from, are not shown." if clock else ""
    )
    links = '<a href="/">Overview</a> &middot; <a href="/v1/measures">All of it as JSON</a>'
    if compares:
        links += ' &middot; <a href="/dashboard/comparisons">By protected attributes</a>'
    return document("Who is spoken for", as_of + rule, links, body)


# -- parts of the page ----------------------------------------------------------------------------


def _coverage(page: _Page) -> str:
    now = page.whole(coverage.SPONSOR_COVERAGE)
    if now.value is None:
        return "<section><h2>Sponsor coverage</h2><p>There are too few employees to tell.</p></section>"
    shares = [(moment.at, moment.value) for moment in page.kept.taken.moments if moment.value is not None]
    first, last = shares[0], shares[-1]
    said = f"From {percent(first[1])} on {first[0]:%-d %B %Y} to {percent(last[1])} on {last[0]:%-d %B %Y}."
    rows = [(f"{at:%Y-%m-%d}", percent(share)) for at, share in reversed(shares)]
    numbers = table(("Day", "Coverage"), rows, said)
    return f"""<section aria-labelledby="coverage"><h2 id="coverage">Sponsor coverage</h2>
<div class="lead"><div><div class="figure">{percent(now.value)}</div>
<p>{counted(now.part)} of {counted(now.whole)} active employees have an active sponsor.</p></div>
{figure(lambda width: charts.over_time(shares, width), said, numbers)}</div></section>"""


def _heat_map(page: _Page) -> str:
    cells = page.by(coverage.SPONSOR_COVERAGE, UNIT_AND_LEVEL)
    if all(cell.hidden for cell in cells):
        return """<section aria-labelledby="map"><h2 id="map">By unit and level</h2>
<p>No unit has enough people of one level for it to be shown.</p></section>"""
    levels = sorted({int(cell.across_id) for cell in cells})
    units = sorted({cell.group_id for cell in cells}, key=natural)
    found = {(cell.group_id, int(cell.across_id)): cell for cell in cells}
    drawn = [
        {
            "row": unit,
            "column": str(level),
            "share": cell.value,
            "label": "n/s" if cell.hidden else percent(cell.value),
        }
        for unit in units
        for level in levels
        if (cell := found.get((unit, level))) is not None
    ]
    rows = [(unit, *(_cell(found.get((unit, level))) for level in levels)) for unit in units]
    numbers = table(("Unit", *(f"Level {level}" for level in levels)), rows, "n/s: not shown. Empty: nobody.")
    shown = sum(not cell.hidden for cell in cells)
    said = f"Coverage of {len(units)} units by level; {shown} of {len(cells)} cells are shown."
    steps = "".join(
        f'<li><span class="s{n}"></span>{100 * n // charts.SHADES}&ndash;{100 * (n + 1) // charts.SHADES}%</li>'
        for n in range(charts.SHADES)
    )
    return f"""<section aria-labelledby="map"><h2 id="map">By unit and level</h2>
<p class="dim small">{said} A cell of few people, or one that would give such a cell away, is not shown (n/s).</p>
{figure(lambda width: charts.heat_map(drawn, width, "Level"), said, numbers, wide=1080)}
<ul class="key" aria-hidden="true">{steps}<li><span class="sh"></span>not shown (n/s)</li></ul></section>"""


def _groups(page: _Page) -> str:
    parts = [
        _by(
            coverage.SPONSOR_COVERAGE,
            dimension,
            ("Covered", "Active", "Coverage"),
            _groups_shown(page, coverage.SPONSOR_COVERAGE, dimension),
            level=2,
        )
        for dimension in (LEVEL, TENURE, LOCATION)
    ]
    return f'<div class="two">{"".join(parts)}{_work(page)}</div>'


_Groups = tuple[Sequence[Value], int]
"""Those of a dimension that have a part of the page, and how many are not shown."""


def _groups_shown(page: _Page, measure: Measure, dimension: str, cycle_id: str = WHOLE) -> _Groups:
    values = [value for value in page.by(measure, dimension, cycle_id) if not value.hidden and value.whole]
    if dimension != UNIT:
        return values, page.hidden(measure, dimension, cycle_id)
    # Those of the table: the rest of a tree of hundreds lies above these or below.
    rows_of_table = {cell.group_id for cell in page.by(measure, UNIT_AND_LEVEL, cycle_id)}
    values = sorted(
        (value for value in values if value.group_id in rows_of_table), key=lambda value: natural(value.group_id)
    )
    return values, len(rows_of_table) - len(values)


def _by(measure: Measure, dimension: str, heads: Sequence[str], groups: _Groups, *, level: int) -> str:
    """Return a share by the groups of one dimension; `heads` say what the part, the whole and the share are of."""
    values, left_out = groups
    shown = values
    if dimension == LOCATION:
        shown = sorted(values, key=lambda value: -(value.whole or 0))[:_MOST_PLACES]
    name = (lambda value: f"Level {value.group_id}") if dimension == LEVEL else (lambda value: value.group_id)
    drawn = [
        {"name": name(v), "length": v.value or 0, "label": f"{percent(v.value)} of {counted(v.whole)}"} for v in shown
    ]
    rows = [(name(v), counted(v.part), counted(v.whole), percent(v.value)) for v in values]
    notes = [f"{counted(left_out)} not shown"] if left_out else []
    notes += [f"the {len(shown)} largest of {counted(len(values))}"] if len(shown) < len(values) else []
    note = f'<p class="dim small">{", ".join(notes)}.</p>' if notes else ""
    title = f"By {dimension}"
    said = f"{measure.title} {title.lower()}"
    if drawn:
        numbers = table(("Group", *heads), rows, said)
        drawing = figure(lambda width: charts.bars(drawn, width), said, numbers, wide=HALF)
    else:
        drawing = "<p>No group is large enough.</p>"
    id_ = f"{measure.name.replace('_', '-')}-by-{dimension}"
    return f'<section aria-labelledby="{id_}"><h{level} id="{id_}">{title}</h{level}>{note}{drawing}</section>'


def _work(page: _Page) -> str:
    unseen, stepped = page.whole(outcomes.UNSEEN), page.whole(outcomes.MENTOR_TO_SPONSOR)
    time = page.whole(outcomes.MENTOR_TO_SPONSOR_TIME)
    return f"""<section aria-labelledby="ways"><h2 id="ways">Ways to a sponsor</h2>
<dl class="figures">
{number(percent(unseen.value), "of a year's achievements name no witness")}
{number(percent(stepped.value), "of mentors became the sponsor later")}
{number(days(time.value), "until then, half of them")}
</dl></section>"""


def _cycle(page: _Page, cycles: Sequence[CycleShown], chosen: CycleShown | None) -> str:
    if chosen is None:
        return '<section><h2>Cycles</h2><p class="dim">No cycle has opened yet.</p></section>'
    id_ = chosen.cycle_id
    choices = "".join(
        f'<li><a href="/dashboard?{escape(urlencode({"cycle": cycle.cycle_id}))}#cycle"'
        f"{_CHOSEN if cycle == chosen else ''}><bdi>{escape(cycle.title)}</bdi></a> "
        f'<span class="dim small">{cycle.status}</span></li>'
        for cycle in cycles[:12]
    )
    delivered = page.whole(conversion.PROMPTS_DELIVERED, id_)
    viewed, endorsed = page.whole(conversion.PROMPTS_VIEWED, id_), page.whole(conversion.PROMPTS_ENDORSED, id_)
    opened = delivered.whole or 0
    if not opened:
        funnel = "<p>No prompt was opened in it.</p>"
    else:
        steps: list[tuple[str, int, float | None]] = [("Opened", opened, 1.0)]
        steps += [("Delivered", delivered.part or 0, delivered.value)]
        # Of few sponsors the one is hidden, of few protégés the other.
        steps += [("Viewed", viewed.part or 0, viewed.value)] if not viewed.hidden else []
        steps += [("Endorsed", endorsed.part or 0, endorsed.value)] if not endorsed.hidden else []
        drawn = [
            {"name": name, "length": n, "label": f"{counted(n)}" + (f" ({percent(of)})" if name != "Opened" else "")}
            for name, n, of in steps
        ]
        said = "; ".join(f"{name.lower()}: {counted(n)}" for name, n, _ in steps)
        numbers = table(
            ("Step", "Prompts", "Of those opened"),
            [(name, counted(n), percent(of)) for name, n, of in steps],
            "Prompts",
        )
        funnel = figure(lambda width: charts.bars(drawn, width), f"Prompts {said}", numbers, wide=HALF)
    scope = page.whole(coverage.SPONSOR_COVERAGE, id_)
    first, took = page.whole(conversion.FIRST_ADVOCACY, id_), page.whole(conversion.ENDORSEMENT_TIME, id_)
    looked, answered = page.whole(conversion.VIEW_TIME, id_), page.whole(conversion.ANSWER_TIME, id_)
    pieces, bare = page.whole(conversion.EVIDENCE, id_), page.whole(conversion.WITHOUT_EVIDENCE, id_)
    spoken = page.whole(conversion.ENDORSEMENTS, id_)
    evidence = NONE if pieces.value is None else f"{pieces.value:.1f}"
    strong = page.whole(conversion.EVIDENCE_STRENGTH, id_)
    strength = NONE if strong.value is None else f"{strong.value:.1f}"
    by_group = []
    if viewed.part:  # where sponsors answer from the company's own tools, nobody views
        by_group.append(_by_group(page, conversion.PROMPTS_VIEWED, id_, part="Viewed", whose="sponsor"))
    if endorsed.whole:
        by_group.append(_by_group(page, conversion.PROMPTS_ENDORSED, id_, part="Endorsed", whose="protégé"))
    return f"""<section aria-labelledby="cycle"><h2 id="cycle"><bdi>{escape(chosen.title)}</bdi></h2>
<ul class="cycles" aria-label="Cycles">{choices}</ul>
<div class="two"><div>{funnel}</div>
<dl class="figures">
{number(percent(scope.value), "of those in scope have a sponsor")}
{number(counted(spoken.part), "endorsements for it")}
{number(days(first.value), "from opening to the first")}
{number(days(looked.value), "from delivered to viewed, half of them")}
{number(days(answered.value), "from viewed to endorsed, half of them")}
{number(days(took.value), "from prompt to endorsement, half of them")}
{number(evidence, "pieces of evidence in a prompt")}
{number(strength, "its strength, half of them (1: a piece that fits nothing)")}
{number(percent(bare.value), "of prompts without evidence")}
</dl></div>{"".join(by_group)}</section>"""


def _by_group(page: _Page, measure: Measure, cycle_id: str, *, part: str, whose: str) -> str:
    heads, dimensions = (part, "Opened", "Share"), (UNIT, LEVEL, TENURE, LOCATION)
    groups = {dimension: _groups_shown(page, measure, dimension, cycle_id) for dimension in dimensions}
    if any(values for values, _ in groups.values()):
        parts = "".join(_by(measure, dimension, heads, found, level=3) for dimension, found in groups.items())
        shown = f'<div class="two">{parts}</div>'
    else:
        shown = "<p>No group is large enough.</p>"
    return f"""<h3>{part}, of the prompts that were opened</h3>
<p class="dim small">By where the {whose} is now.</p>
{shown}"""


def _gaps(page: _Page, cycles: Sequence[CycleShown]) -> str:
    standing, age = page.whole(gaps.GAPS_STANDING), page.whole(gaps.GAP_AGE)
    rows = []
    for cycle in cycles:
        own, aged = page.whole(gaps.GAPS_STANDING, cycle.cycle_id), page.whole(gaps.GAP_AGE, cycle.cycle_id)
        if own.value:
            query = escape(urlencode({"cycle": cycle.cycle_id, "status": "open"}))
            link = f'<a href="/v1/gaps?{query}"><bdi>{escape(cycle.title)}</bdi></a>'
            rows.append((Html(link), counted(own.part or own.whole), days(aged.value), days(aged.high)))
    numbers = table(("Cycle", "Gaps", "Age, half of them", "Oldest"), rows, "Gaps of open cycles") if rows else ""
    return f"""<section aria-labelledby="gaps"><h2 id="gaps">Gaps</h2>
<p class="dim small">Employees in scope of an open cycle for whom nobody speaks.</p>
<dl class="figures">{number(counted(standing.whole), "gaps that stand")}
{number(days(age.value), "old, half of them")}
{number(days(age.high), "the oldest")}</dl>{numbers}</section>"""


def _load(page: _Page) -> str:
    mean, spread = page.whole(load.SPONSOR_LOAD), page.whole(load.SPONSOR_LOAD_GINI)
    if mean.value is None:
        return '<section><h2>Sponsor load</h2><p class="dim">Nobody sponsors anybody.</p></section>'
    drawn = [
        {
            "name": f"{value.group_id}+" if int(value.group_id) == load.MOST_SHOWN else value.group_id,
            "length": value.value or 0,
            "label": counted(int(value.value)) if value.value else "",
        }
        for value in page.by(load.SPONSOR_LOAD, load.PROTEGES)
    ]
    rows = [(str(bar["name"]), str(bar["label"] or 0)) for bar in drawn]
    said = "How many sponsors have how many protégés"
    gini = NONE if spread.value is None else f"{spread.value:.2f}"
    drawing = figure(
        lambda width: charts.columns(drawn, width, "protégés of one sponsor"),
        said,
        table(("Protégés", "Sponsors"), rows, said),
        wide=HALF,
    )
    return f"""<section aria-labelledby="load"><h2 id="load">Sponsor load</h2>
<p class="dim small">{said}.</p>
<dl class="figures">{number(f"{mean.value:.1f}", f"protégés, mean of {counted(mean.whole)} sponsors")}
{number(counted(int(mean.high or 0)), "the most")}
{number(gini, "Gini: 0 even, 1 all with one")}</dl>{drawing}</section>"""


def _promoted(page: _Page, cycles: Sequence[CycleShown]) -> str:
    parts = []
    for cycle in cycles:
        groups = [value for value in page.by(outcomes.PROMOTED, outcomes.ADVOCACY, cycle.cycle_id) if not value.hidden]
        if not groups:
            continue
        drawn = [
            {
                "name": group.group_id.capitalize(),
                "share": group.value,
                "low": group.low,
                "high": group.high,
                "label": percent(group.value, 1),
            }
            for group in groups
        ]
        rows = [
            (
                group.group_id.capitalize(),
                counted(group.part),
                counted(group.whole),
                percent(group.value, 1),
                f"{percent(group.low, 1)} to {percent(group.high, 1)}",
            )
            for group in groups
        ]
        difference = page.whole(outcomes.PROMOTION_DIFFERENCE, cycle.cycle_id)
        said = ""
        if difference.value is not None:
            low, high = difference.low or 0.0, difference.high or 0.0
            may = " The interval holds 0: chance alone may explain it." if low <= 0 <= high else ""
            said = (
                f"Difference: {_points(difference.value)} points "
                f"(95&nbsp;% interval {_points(low)} to {_points(high)}).{may}"
            )
        numbers = table(("", "Promoted", "In scope", "Share", "95 % interval"), rows, "Promoted since the opening")
        drawing = figure(
            lambda width, drawn=drawn: charts.intervals(drawn, width),  # type: ignore[misc]
            f"Promoted in {cycle.title}, with a sponsor and without",
            numbers,
        )
        parts.append(f"<h3><bdi>{escape(cycle.title)}</bdi></h3><p>{said}</p>{drawing}")
    if not parts:
        return ""
    return f"""<section aria-labelledby="promoted"><h2 id="promoted">Promoted, with a sponsor and without</h2>
<p class="warning"><strong>This is not cause.</strong> People whom others see a future for get sponsors, and might
have been promoted anyway. It shows that the two go together, or don't.</p>{"".join(parts[:3])}</section>"""


def _cell(value: Value | None) -> str:
    if value is None:
        return ""
    return "n/s" if value.hidden else f"{percent(value.value)} of {counted(value.whole)}"


def _points(share: float) -> str:
    return f"{100 * share:+.1f}"
