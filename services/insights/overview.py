"""Renders the overview page: what happened, the cycles, the gaps that stand, and where to read on. No script."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from datetime import datetime
from html import escape
from urllib.parse import quote, urlencode

from services.insights.answers import Cycle, DeliveryTotals, Gap, Page, Share, Summary

_NONE = "&ndash;"
_NOTHING = '<span class="dim">0</span>'
GAPS_SHOWN = 25
"""Gaps on the page; the rest is a link away."""

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2330; --dim: #5b6675; --line: #dde2e9; --paper: #fff; --card: #f5f7fa;
  --link: #0b5cad; --good: #1b7a43; --warn: #a15c00; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6eaf0; --dim: #9aa5b4; --line: #2e3643; --paper: #12161d;
  --card: #1a202a; --link: #7ab8ff; --good: #63cf8f; --warn: #f0b35a; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 72rem; padding: 2rem 1.25rem 3rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
a { color: var(--link); text-decoration: none; } a:hover { text-decoration: underline; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.1rem; margin: 2.2rem 0 .6rem; }
p { margin: .3rem 0; } .dim { color: var(--dim); } .small { font-size: .87rem; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(11rem, 1fr)); gap: .9rem; margin: 1.4rem 0 0; }
@media (max-width: 34rem) { .cards { grid-template-columns: 1fr 1fr; } }
.card { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; padding: .85rem 1rem; }
.card h3 { margin: 0; font-size: .87rem; font-weight: 600; color: var(--dim); }
.card .big { font-size: 1.75rem; font-weight: 650; line-height: 1.3; font-variant-numeric: tabular-nums; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .45rem .8rem .45rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { font-size: .82rem; font-weight: 600; color: var(--dim); white-space: nowrap; }
.n { text-align: right; } .day { white-space: nowrap; }
.open { color: var(--good); font-weight: 600; } .behind { color: var(--warn); }
details { margin-top: .6rem; } summary { cursor: pointer; color: var(--dim); }
nav { display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; margin-top: .6rem; }
"""

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; style-src 'sha256-"
    + base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    + "'"
)
"""Nothing but this one style: no script, no picture, nothing from elsewhere."""


def render(summary: Summary, covered: Share | None, cycles: Page[Cycle], gaps: Page[Gap]) -> str:
    """Return the page as HTML."""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Sponsorship insights</title>
<style>{_STYLE}</style>
</head>
<body>
<header>
<h1>Sponsorship insights</h1>
<p class="dim">{_clock(summary.clock)} · {_behind(summary)}</p>
</header>
<section class="cards" aria-label="In numbers">{_cards(summary, covered)}</section>
<h2>Cycles</h2>
{_cycles(cycles)}
<h2>Gaps that stand</h2>
<p class="dim small">Employees in scope of an open cycle for whom no active sponsor speaks, and who could.</p>
{_gaps(gaps, summary)}
<h2>Read on</h2>
<nav>
<a href="/dashboard">dashboard</a> <a href="/v1/measures">measures</a>
<a href="/v1/summary">summary</a> <a href="/v1/coverage">coverage</a> <a href="/v1/cycles">cycles</a>
<a href="/v1/prompts">prompts</a> <a href="/v1/gaps">gaps</a> <a href="/v1/employees">employees</a>
<a href="/v1/progress">progress</a> <a href="/openapi.json">OpenAPI</a> <a href="/metrics">metrics</a>
<a href="/readyz">readiness</a>
</nav>
{_events(summary)}
</body>
</html>
"""


def _cards(summary: Summary, covered: Share | None) -> str:
    prompts, gaps, sent = summary.prompts, summary.gaps, summary.deliveries
    share = _NONE if covered is None or covered.share is None else f"{covered.share:.0%}"
    of = (
        "not measured, or too few to tell"
        if covered is None
        else f"{_n(covered.covered)} of {_n(covered.active)} active employees"
    )
    return "".join(
        (
            _card(
                "Prompts standing", _n(prompts.standing), f"{_n(prompts.opened)} opened, {_n(prompts.updated)} updated"
            ),
            _card("Prompts fulfilled", _n(prompts.fulfilled), f"{_n(prompts.withdrawn)} withdrawn"),
            _card("Gaps standing", _n(gaps.standing), f"{_n(gaps.opened)} opened, {_n(gaps.closed)} closed"),
            _card("Covered by a sponsor", share, of),
            _card("Deliveries made", _n(sent.delivered), _not_made(sent)),
        )
    )


def _not_made(sent: DeliveryTotals) -> str:
    counts = {"failed": sent.failed, "skipped": sent.skipped, "delayed": sent.delayed, "held back": sent.suppressed}
    return ", ".join(f"{_n(count)} {what}" for what, count in counts.items() if count or what in ("failed", "skipped"))


def _card(title: str, number: str, below: str) -> str:
    return (
        f'<div class="card"><h3>{title}</h3><div class="big">{number}</div><div class="dim small">{below}</div></div>'
    )


def _cycles(page: Page[Cycle]) -> str:
    if not page.items:
        return '<p class="dim">No cycle has been announced yet.</p>'
    rows = [
        f'<tr><td><a href="/v1/cycles/{_path(cycle.cycle_id)}">{escape(cycle.title or cycle.cycle_id)}</a>'
        f"<br><span class='dim small'>{escape(cycle.kind or '')}</span></td>"
        f'<td class="{cycle.status}">{cycle.status}</td>'
        f'<td class="day">{_day(cycle.opens_at)}</td><td class="day">{_day(cycle.closed_at or cycle.closes_at)}</td>'
        f'<td class="n">{_prompts_link(cycle, "open", cycle.funnel.prompts_standing)}</td>'
        f'<td class="n">{_prompts_link(cycle, "fulfilled", cycle.funnel.prompts_fulfilled)}</td>'
        f'<td class="n">{_prompts_link(cycle, "withdrawn", cycle.funnel.prompts_withdrawn)}</td>'
        f'<td class="n">{_gaps_link(cycle)}</td></tr>'
        for cycle in _open_first(page.items)
    ]
    more = "" if page.next is None else f"<p>{_link('/v1/cycles', 'the cycles that follow', cursor=page.next)}</p>"
    head = (
        "<th>Cycle</th><th>Status</th><th>Opens</th><th>Closes</th>"
        '<th class="n">Prompts standing</th><th class="n">fulfilled</th><th class="n">withdrawn</th>'
        '<th class="n">Gaps standing</th>'
    )
    return _table(head, rows) + more


def _gaps(page: Page[Gap], summary: Summary) -> str:
    if not page.items:
        return '<p class="dim">None.</p>'
    rows = [
        f'<tr><td><a href="/v1/employees/{_path(gap.employee_id)}">'
        f"<bdi>{escape(gap.employee_name or gap.employee_id)}</bdi></a></td>"
        f"<td>{_NONE if gap.level is None else gap.level}</td>"
        f'<td class="day">{escape(gap.unit_id) if gap.unit_id else _NONE}</td>'
        f"<td>{escape(gap.cycle_title or gap.cycle_id)}</td><td>{_suggestions(gap)}</td></tr>"
        for gap in page.items
    ]
    shown = f"{_n(len(page.items))} of {_n(summary.gaps.standing)} shown."
    every = (
        "" if page.next is None else f'<p class="small">{shown} {_link("/v1/gaps", "All of them", status="open")}</p>'
    )
    return _table("<th>Employee</th><th>Level</th><th>Unit</th><th>Cycle</th><th>Could sponsor</th>", rows) + every


def _suggestions(gap: Gap) -> str:
    if not gap.suggestions:
        return '<span class="dim">nobody suggested</span>'
    return "<br>".join(
        # A name in another direction must not turn round what stands beside it.
        f"<bdi>{escape(person.name)}</bdi> (level {person.level})"
        f' <span class="dim small" dir="ltr">&middot; {escape(person.why)}</span>'
        for person in gap.suggestions
    )


def _events(summary: Summary) -> str:
    if not summary.career_events:
        return ""
    rows = [
        f'<tr><td>{escape(name)}</td><td class="n">{_n(count)}</td></tr>'
        for name, count in summary.career_events.items()
    ]
    total = _n(sum(summary.career_events.values()))
    return f"<details><summary>{total} career events, by type</summary>{_table('', rows)}</details>"


def _table(head: str, rows: Iterable[str]) -> str:
    top = f"<thead><tr>{head}</tr></thead>" if head else ""
    return f'<div class="scroll"><table>{top}<tbody>{"".join(rows)}</tbody></table></div>'


def _clock(clock: datetime | None) -> str:
    return "no clock event yet" if clock is None else f"as of {clock:%Y-%m-%d %H:%M} UTC, by the clock of the log"


def _behind(summary: Summary) -> str:
    lags = [topic.lag for topic in summary.progress]
    known = [lag for lag in lags if lag is not None]
    if not known:
        return "how far behind is not known yet"
    lag = sum(known)
    return "up to date" if lag == 0 else f'<span class="behind">{_n(lag)} records behind</span>'


def _open_first(cycles: Iterable[Cycle]) -> list[Cycle]:
    order = {"open": 0, "announced": 1, "closed": 2, "cancelled": 3}
    return sorted(cycles, key=lambda cycle: (order[cycle.status], cycle.cycle_id))


def _prompts_link(cycle: Cycle, status: str, count: int) -> str:
    if count == 0:
        return _NOTHING
    return _link("/v1/prompts", _n(count), cycle=cycle.cycle_id, status=status)


def _gaps_link(cycle: Cycle) -> str:
    if cycle.funnel.gaps_standing == 0:
        return _NOTHING
    return _link("/v1/gaps", _n(cycle.funnel.gaps_standing), cycle=cycle.cycle_id, status="open")


def _link(path: str, text: str, **query: str) -> str:
    return f'<a href="{path}?{escape(urlencode(query))}">{escape(text)}</a>'


def _path(part: str) -> str:
    return escape(quote(part, safe=""))


def _day(when: datetime | None) -> str:
    return _NONE if when is None else f"{when:%Y-%m-%d}"


def _n(number: int) -> str:
    return f"{number:,}"
