"""Renders the page of comparisons by protected attributes: shares with their intervals, and how not to read them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from itertools import groupby
from typing import Any

from services.insights import charts
from services.insights.measures.comparing import CAUTION, COMPARISONS, COVERAGE, ENDORSED, Compared
from services.insights.measures.grouping import UNIT
from services.insights.measures.keeping import AttributeTold
from services.insights.parts import counted, document, figure, percent, table, words


def render(told: Sequence[AttributeTold], titles: Mapping[str, str]) -> str:
    """Return the page as HTML.

    Args:
        told: what is told of each attribute.
        titles: the cycles' titles, by id.
    """
    links = '<a href="/dashboard">Who is spoken for</a> &middot; <a href="/v1/comparisons">All of it as JSON</a>'
    caution = f'<p class="warning"><strong>This is not cause.</strong> {escape(CAUTION)}</p>'
    body = caution + "".join(_attribute(of, titles) for of in told)
    return document(
        "Compared by protected attributes",
        "Taken once a quarter, as of its first moment. A group is told only where nothing can be worked out about few "
        "people by setting it beside anything else that is told here, or was told before.",
        links,
        body + words(COMPARISONS, "What these numbers are, and where they mislead"),
    )


def _attribute(told: AttributeTold, titles: Mapping[str, str]) -> str:
    id_, title = escape(f"by-{told.attribute}"), escape(told.attribute.replace("_", " ").capitalize())
    if told.at is None:
        said = "<p>Not compared by yet: that is done once all that the log holds is known.</p>"
    elif not told.values:
        said = (
            f"<p>Nothing can be told as of {told.at:%-d %B %Y}: too few people have said, or too few have one of the "
            f"values, or the log knew of nobody when the quarter began.</p>"
        )
    else:
        of_views = groupby(
            told.values, key=lambda one: (one.at, one.measure, one.cycle_id, one.dimension, one.group_id)
        )
        views = [list(values) for _, values in of_views]
        said = "".join(
            (
                *(_view(values, titles) for values in views if values[0].dimension != UNIT),
                _units([values for values in views if values[0].dimension == UNIT]),
                f'<p class="dim small">As of {told.at:%-d %B %Y}; {told.hidden} breakdowns are not told.</p>',
            )
        )
    return f'<section aria-labelledby="{id_}"><h2 id="{id_}">{title}</h2>{said}</section>'


def _view(values: Sequence[Compared], titles: Mapping[str, str]) -> str:
    first = values[0]
    cycle = titles.get(first.cycle_id, first.cycle_id)
    if first.measure == COVERAGE.name:
        said = "Have a sponsor, of the active employees"
    elif first.measure == ENDORSED.name:
        said = f"Spoken for in {cycle}, of those about whom a sponsor was asked"
    else:
        said = f"Promoted in {cycle}, of those in scope {first.group_id}"
    drawn: list[dict[str, Any]] = [
        {"name": one.value_id, "share": one.value, "low": one.low, "high": one.high, "label": percent(one.value)}
        for one in values
    ]
    numbers = table(("Value", "Counted", "Of", "Share", "95 % interval"), _rows(values), said)
    return f"<h3><bdi>{escape(said)}</bdi></h3>" + figure(lambda width: charts.intervals(drawn, width), said, numbers)


def _units(views: Sequence[Sequence[Compared]]) -> str:
    if not views:
        return ""
    names = [one.value_id for one in views[0]]
    rows = [
        (values[0].group_id, *(f"{percent(one.value)} ({percent(one.low)} to {percent(one.high)})" for one in values))
        for values in views
    ]
    return "<h3>By unit</h3>" + table(("Unit", *names), rows, "Have a sponsor, with the 95 % interval")


def _rows(values: Iterable[Compared]) -> list[Sequence[str]]:
    return [
        (
            one.value_id,
            counted(one.part),
            counted(one.whole),
            percent(one.value),
            f"{percent(one.low)} to {percent(one.high)}",
        )
        for one in values
    ]
