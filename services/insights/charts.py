"""Draws charts as SVG on the server, by Vega-Lite; colours are the page's own variables, so that they follow its theme.

Vega writes attributes and no styles or scripts, which is what the page's content security policy allows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

import vl_convert

Spec = dict[str, Any]
Row = Mapping[str, Any]

SHADES: Final = 5
"""Steps of the heat map's colour, from none covered to all."""

_FONT: Final = "system-ui, sans-serif"
_SHADES: Final = [f"var(--shade-{n})" for n in range(SHADES)]
_INKS: Final = [f"var(--shade-ink-{n})" for n in range(SHADES)]
_HIDDEN: Final = "hidden"
_CONFIG: Final[Spec] = {
    "aria": False,
    "background": "transparent",
    "font": _FONT,
    "view": {"stroke": None},
    "axis": {
        "labelColor": "var(--dim)",
        "titleColor": "var(--dim)",
        "gridColor": "var(--line)",
        "domain": False,
        "ticks": False,
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "labelPadding": 8,
        "labelLimit": 150,
    },
    "text": {"font": _FONT, "fontSize": 12, "color": "var(--ink)"},
}


def over_time(moments: Sequence[tuple[datetime, float]], width: int) -> str:
    """Return a line of shares over time, with the last one named."""
    rows = [{"at": at.isoformat(), "share": share} for at, share in moments]
    top = max(0.1, min(1.0, max((share for _, share in moments), default=1.0) * 1.25))
    x = {"field": "at", "type": "temporal", "title": None}
    y = {"field": "share", "type": "quantitative", "title": None, "scale": {"domain": [0, top]}}
    shown_x = x | {"axis": {"format": "%b %y", "tickCount": 6 if width > 400 else 3, "grid": False}}
    return _svg(
        {
            "width": width,
            "height": 190,
            "data": {"values": rows},
            "layer": [
                {
                    "mark": {"type": "area", "color": "var(--accent)", "opacity": 0.13},
                    "encoding": {"x": shown_x, "y": y | {"axis": {"format": ".0%", "tickCount": 4}}},
                },
                {"mark": {"type": "line", "color": "var(--accent)", "strokeWidth": 2.5}, "encoding": {"x": x, "y": y}},
                {
                    "data": {"values": rows[-1:]},
                    "mark": {"type": "point", "filled": True, "size": 70, "opacity": 1, "color": "var(--accent)"},
                    "encoding": {"x": x, "y": y},
                },
            ],
        }
    )


def bars(rows: Sequence[Row], width: int) -> str:
    """Return bars from the left: `name`, `length`, and `label` at the end of each; lengths are of one unit."""
    y = {
        "field": "name",
        "type": "nominal",
        "sort": None,
        "title": None,
        "axis": {"grid": False, "labelColor": "var(--ink)", "labelLimit": width // 3 + 40},
    }
    most = max((row["length"] for row in rows), default=0) or 1
    x = {"field": "length", "type": "quantitative", "axis": None, "scale": {"domain": [0, most * 1.32]}}
    return _svg(
        {
            "width": width,
            "height": {"step": 34},
            "data": {"values": list(rows)},
            "layer": [
                {
                    "mark": {"type": "bar", "color": "var(--accent)", "cornerRadiusEnd": 3, "height": 20},
                    "encoding": {"x": x, "y": y},
                },
                {
                    "mark": {"type": "text", "align": "left", "dx": 7},
                    "encoding": {"x": x, "y": y, "text": {"field": "label"}},
                },
            ],
        }
    )


def columns(rows: Sequence[Row], width: int, title: str) -> str:
    """Return upright bars: `name`, `length`, and `label` on top of each."""
    x = {
        "field": "name",
        "type": "nominal",
        "sort": None,
        "title": title,
        "axis": {"grid": False, "labelAngle": 0, "labelColor": "var(--ink)"},
    }
    most = max((row["length"] for row in rows), default=0) or 1
    y = {"field": "length", "type": "quantitative", "axis": None, "scale": {"domain": [0, most * 1.12]}}
    return _svg(
        {
            "width": width,
            "height": 170,
            "data": {"values": list(rows)},
            "layer": [
                {
                    "mark": {"type": "bar", "color": "var(--accent)", "cornerRadiusEnd": 3, "width": {"band": 0.72}},
                    "encoding": {"x": x, "y": y},
                },
                {"mark": {"type": "text", "dy": -8}, "encoding": {"x": x, "y": y, "text": {"field": "label"}}},
            ],
        }
    )


def heat_map(cells: Sequence[Row], width: int, columns_title: str) -> str:
    """Return a table of shares: `row`, `column`, `share` (None: hidden), `label`."""
    rows = [
        cell | {"shade": _HIDDEN if cell["share"] is None else str(min(SHADES - 1, int(cell["share"] * SHADES)))}
        for cell in map(dict, cells)
    ]
    shades = [str(n) for n in range(SHADES)]
    x = {
        "field": "column",
        "type": "nominal",
        "sort": None,
        "title": columns_title,
        "axis": {"orient": "top", "grid": False, "labelAngle": 0},
    }
    y = {
        "field": "row",
        "type": "nominal",
        "sort": None,
        "title": None,
        "axis": {"grid": False, "labelColor": "var(--ink)", "labelLimit": width // 4 + 40},
    }

    def coloured(by_shade: Sequence[str], hidden: str) -> Spec:
        scale = {"domain": [*shades, _HIDDEN], "range": [*by_shade, hidden]}
        return {"field": "shade", "type": "nominal", "legend": None, "scale": scale}

    return _svg(
        {
            "width": width,
            "height": {"step": 30},
            "data": {"values": rows},
            "encoding": {"x": x, "y": y},
            "resolve": {"scale": {"color": "independent"}},
            "layer": [
                {
                    "mark": {"type": "rect", "stroke": "var(--paper)", "strokeWidth": 2, "cornerRadius": 4},
                    "encoding": {"color": coloured(_SHADES, "var(--hidden)")},
                },
                {
                    "mark": {"type": "text", "fontSize": 11},
                    "encoding": {"text": {"field": "label"}, "color": coloured(_INKS, "var(--dim)")},
                },
            ],
        }
    )


def intervals(rows: Sequence[Row], width: int) -> str:
    """Return shares as points with their intervals: `name`, `share`, `low`, `high`, `label`."""
    y = {
        "field": "name",
        "type": "nominal",
        "sort": None,
        "title": None,
        "axis": {"grid": False, "labelColor": "var(--ink)"},
    }
    most = max((row["high"] for row in rows), default=1.0) or 1.0
    axis = {"format": ".0%" if most > 0.05 else ".1%", "tickCount": 5}
    x = {"type": "quantitative", "title": None, "scale": {"domain": [0, min(1.0, most * 1.1)]}, "axis": axis}
    return _svg(
        {
            "width": width,
            "height": {"step": 48},
            "data": {"values": list(rows)},
            "layer": [
                {
                    "mark": {"type": "rule", "color": "var(--accent)", "strokeWidth": 3, "opacity": 0.45},
                    "encoding": {"y": y, "x": x | {"field": "low"}, "x2": {"field": "high"}},
                },
                {
                    "mark": {"type": "point", "filled": True, "size": 110, "opacity": 1, "color": "var(--accent)"},
                    "encoding": {"y": y, "x": x | {"field": "share"}},
                },
                {
                    "mark": {"type": "text", "dy": -15},
                    "encoding": {"y": y, "x": x | {"field": "share"}, "text": {"field": "label"}},
                },
            ],
        }
    )


def _svg(spec: Spec) -> str:
    whole = {**spec, "config": _CONFIG, "padding": 4, "autosize": {"type": "fit-x", "contains": "padding"}}
    return _drawn(json.dumps(whole, sort_keys=True))


@lru_cache(maxsize=128)
def _drawn(spec: str) -> str:
    # Kept: to draw one takes some 30 ms, and most are the same on the pages of all cycles.
    return str(vl_convert.vegalite_to_svg(json.loads(spec)))
