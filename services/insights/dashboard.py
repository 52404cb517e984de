"""Renders the dashboard: what was measured, as charts with the same numbers in tables beside them. No script."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from html import escape
from typing import Final
from urllib.parse import urlencode

from services.insights import charts
from services.insights.measures import conversion, coverage, gaps, load, outcomes
from services.insights.measures.facts import CycleFacts
from services.insights.measures.grouping import LEVEL, LOCATION, TENURE, UNIT_AND_LEVEL, natural
from services.insights.measures.keeping import Measured
from services.insights.measures.measure import WHOLE, Measure, Value
from services.insights.measures.taking import MEASURES

_NONE: Final = "&ndash;"
_WIDE: Final = 700
_HALF: Final = 430
_NARROW: Final = 310
_DAY: Final = 86_400
_CHOSEN: Final = ' aria-current="true"'
_MOST_PLACES: Final = 8

_STYLE: Final = """
:root { color-scheme: light dark; --ink: #1b2230; --dim: #5d6878; --line: #e3e7ed; --paper: #fcfcfb; --card: #fff;
  --link: #0b5cad; --accent: #2f6f8f; --warn: #8f4e00; --warn-paper: #fdf5e8; --hidden: #eceef1;
  --shade-0: #e6eff3; --shade-1: #bcd6e1; --shade-2: #83b3c8; --shade-3: #457f9c; --shade-4: #1f556f;
  --shade-ink-0: #1b2230; --shade-ink-1: #1b2230; --shade-ink-2: #10202a; --shade-ink-3: #fff; --shade-ink-4: #fff; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8ecf1; --dim: #9ba7b6; --line: #2b333f; --paper: #11151b;
  --card: #171c24; --link: #86bdf5; --accent: #6db3d1; --warn: #f3bf74; --warn-paper: #2a2216; --hidden: #242b35;
  --shade-0: #1d2c36; --shade-1: #244656; --shade-2: #2f6a83; --shade-3: #5a9fbc; --shade-4: #a3d5ea;
  --shade-ink-0: #d4dde6; --shade-ink-1: #e8ecf1; --shade-ink-2: #fff; --shade-ink-3: #0b141a;
  --shade-ink-4: #0b141a; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 76rem; padding: 2.4rem 1.5rem 4rem; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, sans-serif; }
a { color: var(--link); text-underline-offset: .18em; text-decoration-thickness: .06em; }
:focus-visible { outline: 3px solid var(--link); outline-offset: 2px; border-radius: .2rem; }
.skip { position: absolute; left: -99rem; }
.skip:focus { left: 1rem; top: 1rem; background: var(--card); padding: .5rem; }
h1 { font-size: clamp(1.7rem, 4vw, 2.4rem); line-height: 1.15; letter-spacing: -.02em; margin: 0 0 .4rem; }
h2 { font-size: 1.3rem; letter-spacing: -.01em; margin: 0 0 .3rem; }
p { margin: .3rem 0; max-width: 46rem; } .dim { color: var(--dim); } .small { font-size: .9rem; }
header { margin-bottom: 2rem; }
section { border-top: 1px solid var(--line); padding: 1.8rem 0 1.6rem; }
.lead { display: grid; grid-template-columns: minmax(13rem, 1fr) 2.4fr; gap: 2rem; align-items: center; }
.two { display: grid; grid-template-columns: 1fr 1fr; gap: 0 2.5rem; }
.two > section { min-width: 0; }
.figure { font-size: clamp(3rem, 9vw, 4.6rem); line-height: 1; font-weight: 650; letter-spacing: -.04em;
  font-variant-numeric: tabular-nums; }
.figures { display: flex; flex-wrap: wrap; gap: .8rem 2.4rem; margin: .9rem 0 .4rem; padding: 0; }
.figures div { min-width: 6rem; } .figures dt { color: var(--dim); font-size: .9rem; }
.figures dd { margin: 0; font-size: 1.65rem; font-weight: 600; letter-spacing: -.02em; line-height: 1.2;
  font-variant-numeric: tabular-nums; }
figure { margin: .8rem 0 0; } figure svg { display: block; max-width: 100%; height: auto; overflow: visible; }
.narrow { display: none; }
@media (max-width: 60rem) { .two, .lead { grid-template-columns: minmax(0, 1fr); gap: 0; } .lead { gap: 1.2rem; } }
@media (max-width: 46rem) { .wide { display: none; } .narrow { display: block; } body { padding: 1.4rem 1rem 3rem; } }
details { margin-top: .5rem; } summary { cursor: pointer; color: var(--dim); font-size: .9rem; width: fit-content; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .92rem; }
caption { text-align: left; color: var(--dim); font-size: .9rem; padding: .3rem 0; }
th, td { text-align: left; padding: .3rem 1.2rem .3rem 0; border-bottom: 1px solid var(--line); font-weight: 400; }
thead th { color: var(--dim); font-size: .85rem; } .n { text-align: right; }
.warning { border-left: 3px solid var(--warn); background: var(--warn-paper); color: var(--ink); padding: .5rem .9rem;
  max-width: 46rem; }
.cycles { display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; margin: .5rem 0; padding: 0; list-style: none; }
.cycles [aria-current] { font-weight: 650; color: var(--ink); text-decoration: none; }
.key { display: flex; flex-wrap: wrap; gap: .2rem .9rem; margin: .5rem 0 0; padding: 0; list-style: none;
  font-size: .85rem; color: var(--dim); }
.key span { display: inline-block; width: .85rem; height: .85rem; border-radius: .2rem; vertical-align: -.1rem;
  margin-right: .3rem; }
.s0 { background: var(--shade-0); } .s1 { background: var(--shade-1); } .s2 { background: var(--shade-2); }
.s3 { background: var(--shade-3); } .s4 { background: var(--shade-4); } .sh { background: var(--hidden); }
dl.words dt { font-weight: 600; margin-top: 1rem; } dl.words dd { margin: 0; max-width: 46rem; }
ul.pitfalls { margin: .2rem 0; padding-left: 1.1rem; color: var(--dim); font-size: .92rem; }
"""

DASHBOARD_POLICY: Final = (
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; style-src 'sha256-"
    + base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    + "'"
)
"""Nothing but this one style: no script, no picture, nothing from elsewhere; charts are parts of the page."""


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
    """

    def __init__(self, read: Callable[[], tuple[Measured, tuple[CycleShown, ...]]]) -> None:
        self._read = read
        self._rendered: Callable[..., str] = lru_cache(maxsize=8)(_render)

    def page(self, cycle_id: str | None = None) -> str:
        """Return the page as HTML; of the first cycle where none is asked for, or one that has not opened.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: the database is away.
        """
        kept, cycles = self._read()
        chosen = next((cycle for cycle in cycles if cycle.cycle_id == cycle_id), cycles[0] if cycles else None)
        return self._rendered(_Page(kept), cycles, chosen)


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

    def hidden(self, measure: Measure, dimension: str) -> int:
        """Return how many groups are not shown."""
        return self.kept.hidden.get((measure.name, dimension), 0)


def _render(page: _Page, cycles: Sequence[CycleShown], chosen: CycleShown | None) -> str:
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
                _words(),
            )
        )
    as_of = "" if clock is None else f"As of {clock:%-d %B %Y, %H:%M} UTC, by the clock of the log. "
    rule = (
        f"Groups below {page.kept.k} people, and those they could be worked out from, are not shown." if clock else ""
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Who is spoken for</title>
<style>{_STYLE}</style>
</head>
<body>
<a class="skip" href="#content">Skip to the content</a>
<header>
<h1>Who is spoken for</h1>
<p class="dim">{as_of}{rule}</p>
<nav class="small" aria-label="Other pages"><a href="/">Overview</a> &middot;
<a href="/v1/measures">All of it as JSON</a></nav>
</header>
<main id="content">{body}</main>
</body>
</html>
"""


# -- parts of the page ----------------------------------------------------------------------------


def _coverage(page: _Page) -> str:
    now = page.whole(coverage.SPONSOR_COVERAGE)
    if now.value is None:
        return "<section><h2>Sponsor coverage</h2><p>There are too few employees to tell.</p></section>"
    shares = [(moment.at, moment.value) for moment in page.kept.taken.moments if moment.value is not None]
    first, last = shares[0], shares[-1]
    said = f"From {_percent(first[1])} on {first[0]:%-d %B %Y} to {_percent(last[1])} on {last[0]:%-d %B %Y}."
    rows = [(f"{at:%Y-%m-%d}", _percent(share)) for at, share in reversed(shares)]
    table = _table(("Day", "Coverage"), rows, said)
    return f"""<section aria-labelledby="coverage"><h2 id="coverage">Sponsor coverage</h2>
<div class="lead"><div><div class="figure">{_percent(now.value)}</div>
<p>{_n(now.part)} of {_n(now.whole)} active employees have an active sponsor.</p></div>
{_figure(lambda width: charts.over_time(shares, width), said, table)}</div></section>"""


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
            "label": "n/s" if cell.hidden else _percent(cell.value),
        }
        for unit in units
        for level in levels
        if (cell := found.get((unit, level))) is not None
    ]
    rows = [(unit, *(_cell(found.get((unit, level))) for level in levels)) for unit in units]
    table = _table(("Unit", *(f"Level {level}" for level in levels)), rows, "n/s: not shown. Empty: nobody.")
    shown = sum(not cell.hidden for cell in cells)
    said = f"Coverage of {len(units)} units by level; {shown} of {len(cells)} cells are shown."
    steps = "".join(
        f'<li><span class="s{n}"></span>{100 * n // charts.SHADES}&ndash;{100 * (n + 1) // charts.SHADES}%</li>'
        for n in range(charts.SHADES)
    )
    return f"""<section aria-labelledby="map"><h2 id="map">By unit and level</h2>
<p class="dim small">{said} A cell of few people, or one that would give such a cell away, is not shown (n/s).</p>
{_figure(lambda width: charts.heat_map(drawn, width, "Level"), said, table, wide=1080)}
<ul class="key" aria-hidden="true">{steps}<li><span class="sh"></span>not shown (n/s)</li></ul></section>"""


def _groups(page: _Page) -> str:
    parts = []
    for dimension, title in ((LEVEL, "By level"), (TENURE, "By tenure"), (LOCATION, "By location")):
        values = [value for value in page.by(coverage.SPONSOR_COVERAGE, dimension) if not value.hidden]
        left_out = page.hidden(coverage.SPONSOR_COVERAGE, dimension)
        shown = values
        if dimension == LOCATION:
            shown = sorted(values, key=lambda value: -(value.whole or 0))[:_MOST_PLACES]
        name = (lambda value: f"Level {value.group_id}") if dimension == LEVEL else (lambda value: value.group_id)
        drawn = [
            {"name": name(v), "length": v.value or 0, "label": f"{_percent(v.value)} of {_n(v.whole)}"} for v in shown
        ]
        rows = [(name(v), _n(v.part), _n(v.whole), _percent(v.value)) for v in values]
        notes = [f"{left_out} not shown"] if left_out else []
        notes += [f"the {len(shown)} largest of {len(values)}"] if len(shown) < len(values) else []
        note = f'<p class="dim small">{", ".join(notes)}.</p>' if notes else ""
        if drawn:
            table = _table(("Group", "Covered", "Active", "Coverage"), rows, f"Sponsor coverage {title.lower()}")
            figure = _figure(
                lambda width, drawn=drawn: charts.bars(drawn, width),  # type: ignore[misc]
                f"Sponsor coverage {title.lower()}",
                table,
                wide=_HALF,
            )
        else:
            figure = "<p>No group is large enough.</p>"
        id_ = dimension.replace(" ", "-")
        parts.append(f'<section aria-labelledby="by-{id_}"><h2 id="by-{id_}">{title}</h2>{note}{figure}</section>')
    return f'<div class="two">{"".join(parts)}{_work(page)}</div>'


def _work(page: _Page) -> str:
    unseen, stepped = page.whole(outcomes.UNSEEN), page.whole(outcomes.MENTOR_TO_SPONSOR)
    time = page.whole(outcomes.MENTOR_TO_SPONSOR_TIME)
    return f"""<section aria-labelledby="ways"><h2 id="ways">Ways to a sponsor</h2>
<dl class="figures">
{_number(_percent(unseen.value), "of a year's achievements name no witness")}
{_number(_percent(stepped.value), "of mentors became the sponsor later")}
{_number(_days(time.value), "until then, half of them")}
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
            {"name": name, "length": n, "label": f"{_n(n)}" + (f" ({_percent(of)})" if name != "Opened" else "")}
            for name, n, of in steps
        ]
        said = "; ".join(f"{name.lower()}: {_n(n)}" for name, n, _ in steps)
        table = _table(
            ("Step", "Prompts", "Of those opened"), [(name, _n(n), _percent(of)) for name, n, of in steps], "Prompts"
        )
        funnel = _figure(lambda width: charts.bars(drawn, width), f"Prompts {said}", table, wide=_HALF)
    scope = page.whole(coverage.SPONSOR_COVERAGE, id_)
    first, took = page.whole(conversion.FIRST_ADVOCACY, id_), page.whole(conversion.ENDORSEMENT_TIME, id_)
    looked, answered = page.whole(conversion.VIEW_TIME, id_), page.whole(conversion.ANSWER_TIME, id_)
    pieces, bare = page.whole(conversion.EVIDENCE, id_), page.whole(conversion.WITHOUT_EVIDENCE, id_)
    spoken = page.whole(conversion.ENDORSEMENTS, id_)
    evidence = _NONE if pieces.value is None else f"{pieces.value:.1f}"
    strong = page.whole(conversion.EVIDENCE_STRENGTH, id_)
    strength = _NONE if strong.value is None else f"{strong.value:.1f}"
    return f"""<section aria-labelledby="cycle"><h2 id="cycle"><bdi>{escape(chosen.title)}</bdi></h2>
<ul class="cycles" aria-label="Cycles">{choices}</ul>
<div class="two"><div>{funnel}</div>
<dl class="figures">
{_number(_percent(scope.value), "of those in scope have a sponsor")}
{_number(_n(spoken.part), "endorsements for it")}
{_number(_days(first.value), "from opening to the first")}
{_number(_days(looked.value), "from delivered to viewed, half of them")}
{_number(_days(answered.value), "from viewed to endorsed, half of them")}
{_number(_days(took.value), "from prompt to endorsement, half of them")}
{_number(evidence, "pieces of evidence in a prompt")}
{_number(strength, "its strength, half of them (1: a piece that fits nothing)")}
{_number(_percent(bare.value), "of prompts without evidence")}
</dl></div></section>"""


def _gaps(page: _Page, cycles: Sequence[CycleShown]) -> str:
    standing, age = page.whole(gaps.GAPS_STANDING), page.whole(gaps.GAP_AGE)
    rows = []
    for cycle in cycles:
        own, aged = page.whole(gaps.GAPS_STANDING, cycle.cycle_id), page.whole(gaps.GAP_AGE, cycle.cycle_id)
        if own.value:
            query = escape(urlencode({"cycle": cycle.cycle_id, "status": "open"}))
            link = f'<a href="/v1/gaps?{query}"><bdi>{escape(cycle.title)}</bdi></a>'
            rows.append((_Html(link), _n(own.part or own.whole), _days(aged.value), _days(aged.high)))
    table = _table(("Cycle", "Gaps", "Age, half of them", "Oldest"), rows, "Gaps of open cycles") if rows else ""
    return f"""<section aria-labelledby="gaps"><h2 id="gaps">Gaps</h2>
<p class="dim small">Employees in scope of an open cycle for whom nobody speaks.</p>
<dl class="figures">{_number(_n(standing.whole), "gaps that stand")}
{_number(_days(age.value), "old, half of them")}
{_number(_days(age.high), "the oldest")}</dl>{table}</section>"""


def _load(page: _Page) -> str:
    mean, spread = page.whole(load.SPONSOR_LOAD), page.whole(load.SPONSOR_LOAD_GINI)
    if mean.value is None:
        return '<section><h2>Sponsor load</h2><p class="dim">Nobody sponsors anybody.</p></section>'
    drawn = [
        {
            "name": f"{value.group_id}+" if int(value.group_id) == load.MOST_SHOWN else value.group_id,
            "length": value.value or 0,
            "label": _n(int(value.value)) if value.value else "",
        }
        for value in page.by(load.SPONSOR_LOAD, load.PROTEGES)
    ]
    rows = [(str(bar["name"]), str(bar["label"] or 0)) for bar in drawn]
    said = "How many sponsors have how many protégés"
    gini = _NONE if spread.value is None else f"{spread.value:.2f}"
    figure = _figure(
        lambda width: charts.columns(drawn, width, "protégés of one sponsor"),
        said,
        _table(("Protégés", "Sponsors"), rows, said),
        wide=_HALF,
    )
    return f"""<section aria-labelledby="load"><h2 id="load">Sponsor load</h2>
<p class="dim small">{said}.</p>
<dl class="figures">{_number(f"{mean.value:.1f}", f"protégés, mean of {_n(mean.whole)} sponsors")}
{_number(_n(int(mean.high or 0)), "the most")}{_number(gini, "Gini: 0 even, 1 all with one")}</dl>{figure}</section>"""


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
                "label": _percent(group.value, 1),
            }
            for group in groups
        ]
        rows = [
            (
                group.group_id.capitalize(),
                _n(group.part),
                _n(group.whole),
                _percent(group.value, 1),
                f"{_percent(group.low, 1)} to {_percent(group.high, 1)}",
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
        table = _table(("", "Promoted", "In scope", "Share", "95 % interval"), rows, "Promoted since the opening")
        figure = _figure(
            lambda width, drawn=drawn: charts.intervals(drawn, width),  # type: ignore[misc]
            f"Promoted in {cycle.title}, with a sponsor and without",
            table,
        )
        parts.append(f"<h3><bdi>{escape(cycle.title)}</bdi></h3><p>{said}</p>{figure}")
    if not parts:
        return ""
    return f"""<section aria-labelledby="promoted"><h2 id="promoted">Promoted, with a sponsor and without</h2>
<p class="warning"><strong>This is not cause.</strong> People whom others see a future for get sponsors, and might
have been promoted anyway. It shows that the two go together, or don't.</p>{"".join(parts[:3])}</section>"""


def _words() -> str:
    entries = "".join(
        f"<dt>{escape(measure.title)}</dt><dd>{escape(measure.definition)}"
        f'<ul class="pitfalls">{"".join(f"<li>{escape(pitfall)}</li>" for pitfall in measure.pitfalls)}</ul></dd>'
        for measure in MEASURES
    )
    return f"""<section aria-labelledby="words"><h2 id="words">What these numbers are, and where they mislead</h2>
<details><summary>All definitions</summary><dl class="words">{entries}</dl></details></section>"""


# -- pieces ---------------------------------------------------------------------------------------


class _Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def _figure(draw: Callable[[int], str], said: str, table: str, *, wide: int = _WIDE) -> str:
    return (
        f'<figure><div class="wide" role="img" aria-label="{escape(said)}">{draw(wide)}</div>'
        f'<div class="narrow" role="img" aria-label="{escape(said)}">{draw(_NARROW)}</div>'
        f"<details><summary>The numbers</summary>{table}</details></figure>"
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], caption: str) -> str:
    top = "".join(f'<th scope="col"{_right(n)}>{escape(name)}</th>' for n, name in enumerate(head))
    body = "".join("<tr>" + "".join(_data(n, cell) for n, cell in enumerate(row)) + "</tr>" for row in rows)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}"><table>'
        f"<caption>{escape(caption)}</caption><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _data(n: int, cell: str) -> str:
    shown = cell if isinstance(cell, _Html) or cell == _NONE else escape(cell)
    return f'<th scope="row"><bdi>{shown}</bdi></th>' if n == 0 else f'<td class="n">{shown}</td>'


def _right(n: int) -> str:
    return ' class="n"' if n else ""


def _number(number: str, of: str) -> str:
    return f"<div><dd>{number}</dd><dt>{escape(of)}</dt></div>"


def _cell(value: Value | None) -> str:
    if value is None:
        return ""
    return "n/s" if value.hidden else f"{_percent(value.value)} of {_n(value.whole)}"


def _percent(share: float | None, digits: int = 0) -> str:
    return _NONE if share is None else f"{share:.{digits}%}"


def _points(share: float) -> str:
    return f"{100 * share:+.1f}"


def _days(seconds: float | None) -> str:
    if seconds is None:
        return _NONE
    if seconds >= 2 * _DAY:
        return f"{seconds / _DAY:,.0f} days"
    return f"{seconds / 3600:.0f} h" if seconds >= 2 * 3600 else f"{seconds / 60:.0f} min"


def _n(number: int | None) -> str:
    return _NONE if number is None else f"{number:,}"
