"""What the pages of measures are made of: one style, figures with their numbers in a table, and no script."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable, Sequence
from html import escape
from typing import Final

from services.insights.measures.measure import Measure

NONE: Final = "&ndash;"
WIDE: Final = 700
HALF: Final = 430
NARROW: Final = 310
_DAY: Final = 86_400

STYLE: Final = """
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

POLICY: Final = (
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; style-src 'sha256-"
    + base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    + "'"
)
"""Nothing but this one style: no script, no picture, nothing from elsewhere; charts are parts of the page."""


def document(title: str, lead: str, links: str, body: str) -> str:
    """Return a page; all of it is HTML."""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{STYLE}</style>
</head>
<body>
<a class="skip" href="#content">Skip to the content</a>
<header>
<h1>{title}</h1>
<p class="dim">{lead}</p>
<nav class="small" aria-label="Other pages">{links}</nav>
</header>
<main id="content">{body}</main>
</body>
</html>
"""


def words(measures: Iterable[Measure], heading: str) -> str:
    """Return the definitions of measures, with where they mislead."""
    entries = "".join(
        f"<dt>{escape(measure.title)}</dt><dd>{escape(measure.definition)}"
        f'<ul class="pitfalls">{"".join(f"<li>{escape(pitfall)}</li>" for pitfall in measure.pitfalls)}</ul></dd>'
        for measure in measures
    )
    return f"""<section aria-labelledby="words"><h2 id="words">{heading}</h2>
<details><summary>All definitions</summary><dl class="words">{entries}</dl></details></section>"""


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def figure(draw: Callable[[int], str], said: str, numbers: str, *, wide: int = WIDE) -> str:
    """Return a chart, drawn for wide and for narrow pages, with its numbers in a table below."""
    return (
        f'<figure><div class="wide" role="img" aria-label="{escape(said)}">{draw(wide)}</div>'
        f'<div class="narrow" role="img" aria-label="{escape(said)}">{draw(NARROW)}</div>'
        f"<details><summary>The numbers</summary>{numbers}</details></figure>"
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]], caption: str) -> str:
    """Return a table that scrolls by itself where it is too wide; what is no `Html` is escaped."""
    top = "".join(f'<th scope="col"{_right(n)}>{escape(name)}</th>' for n, name in enumerate(head))
    body = "".join("<tr>" + "".join(_data(n, cell) for n, cell in enumerate(row)) + "</tr>" for row in rows)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}"><table>'
        f"<caption>{escape(caption)}</caption><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _data(n: int, cell: str) -> str:
    shown = cell if isinstance(cell, Html) or cell == NONE else escape(cell)
    return f'<th scope="row"><bdi>{shown}</bdi></th>' if n == 0 else f'<td class="n">{shown}</td>'


def _right(n: int) -> str:
    return ' class="n"' if n else ""


def number(is_: str, of: str) -> str:
    """Return a figure of a list of figures: what it is, as HTML, and of what."""
    return f"<div><dd>{is_}</dd><dt>{escape(of)}</dt></div>"


def percent(share: float | None, digits: int = 0) -> str:
    """Return a share in percent, a dash of none; what is not quite nobody or everybody does not look so: 0.04%."""
    if share is None:
        return NONE
    shown = f"{share:.{digits}%}"
    return percent(share, digits + 1) if 0 < share < 1 and float(shown[:-1]) in (0, 100) else shown


def days(seconds: float | None) -> str:
    """Return a time in the unit that suits it; a dash of none."""
    if seconds is None:
        return NONE
    if seconds >= 2 * _DAY:
        return f"{seconds / _DAY:,.0f} days"
    return f"{seconds / 3600:.0f} h" if seconds >= 2 * 3600 else f"{seconds / 60:.0f} min"


def counted(n: int | None) -> str:
    """Return a number with its thousands apart; a dash of none."""
    return NONE if n is None else f"{n:,}"
