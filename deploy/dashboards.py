"""Writes Grafana's dashboards, `deploy/grafana/dashboards`: run `python -m deploy.dashboards`.

Words and units of a measure are those of `services.insights.measures`, so that a panel can't say otherwise than the
API. SQL asks only for what whoever sees a dashboard may see: measures, without the groups that are hidden, and cycles.
tests/integration/test_whole_path.py asks every query of a real Prometheus and a real PostgreSQL.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from deploy.broker import PROJECT
from services.insights.measures import conversion, coverage, gaps, load, outcomes
from services.insights.measures.grouping import LEVEL, LOCATION, TENURE, UNIT, UNIT_AND_LEVEL
from services.insights.measures.measure import WHOLE, Measure

FOLDER: Final = PROJECT / "deploy" / "grafana" / "dashboards"

Json = dict[str, Any]

_COLUMNS: Final = 24
"""Grafana's grid is so wide."""
_PROMETHEUS: Final[Json] = {"type": "prometheus", "uid": "${metrics}"}
_READ_MODEL: Final[Json] = {"type": "grafana-postgresql-datasource", "uid": "${readmodel}"}
_UNITS: Final[Mapping[str, str]] = {
    "share": "percentunit",
    "seconds": "s",
    "people": "short",
    "count": "short",
    "pieces": "short",
    "weight": "short",
    "index": "short",
}


def dashboards() -> dict[str, Json]:
    """Return each dashboard by the name of its file."""
    return {
        "people.json": _dashboard("people", "People", _people(), "now-1y", reads=("readmodel",)),
        "prompts.json": _dashboard(
            "prompts", "Sponsors and prompts", _prompts(), "now-30d", reads=("readmodel", "metrics"), cycle=True
        ),
        "feeds.json": _dashboard("feeds", "Feeds", _feeds(), "now-6h", reads=("metrics",)),
        "services.json": _dashboard("services", "Services", _services(), "now-1h", reads=("metrics",)),
    }


def written(dashboard: Json) -> str:
    """Return a dashboard as it stands in its file."""
    return json.dumps(dashboard, indent=2, ensure_ascii=False) + "\n"


# -- people: by SQL, of what may be shown ---------------------------------------------------------


def _people() -> list[Json]:
    return [
        _measure_stat(coverage.SPONSOR_COVERAGE, 5),
        _stat(
            "Without a sponsor",
            "Active employees for whom no active sponsor speaks.",
            f"SELECT whole - part AS employees {_whole(coverage.SPONSOR_COVERAGE)}",
            5,
        ),
        _measure_stat(gaps.GAPS_STANDING, 5),
        _measure_stat(gaps.GAP_AGE, 5),
        _stat(
            "As of",
            "The log's clock when the measures were taken.",
            "SELECT clock FROM measured",
            4,
            unit="dateTimeAsIso",
            column="clock",
        ),
        _panel(
            "timeseries",
            "Sponsor coverage over time",
            _words(coverage.SPONSOR_COVERAGE),
            [
                _sql(
                    'SELECT at AS "time", value AS "Coverage" FROM measurements_over_time '
                    f"WHERE measure = '{coverage.SPONSOR_COVERAGE.name}' AND $__timeFilter(at) ORDER BY at",
                    "time_series",
                )
            ],
            (16, 9),
            unit="percentunit",
            bounds=(0, 1),
        ),
        _by_group(coverage.SPONSOR_COVERAGE, LEVEL, "Coverage by level", 8),
        _heat_map(),
        _by_group(coverage.SPONSOR_COVERAGE, TENURE, "Coverage by tenure", 8),
        _by_group(coverage.SPONSOR_COVERAGE, LOCATION, "Coverage by location", 8),
        _by_group(coverage.SPONSOR_COVERAGE, UNIT, "Coverage by unit, the largest", 8),
        _panel(
            "table",
            "Promoted, with a sponsor and without: not cause",
            _words(outcomes.PROMOTED),
            [_sql(_promoted())],
            (16, 8),
            columns={"Promoted": "percentunit", "Low": "percentunit", "High": "percentunit"},
        ),
        _panel(
            "table",
            "Difference in promotions: not cause",
            _words(outcomes.PROMOTION_DIFFERENCE),
            [
                _sql(
                    'SELECT c.title AS "Cycle", m.value AS "Difference", m.low AS "Low", m.high AS "High" '
                    f"FROM measurements m JOIN cycles c USING (cycle_id) WHERE m.measure = "
                    f"'{outcomes.PROMOTION_DIFFERENCE.name}' AND NOT m.hidden ORDER BY c.opens_at DESC"
                )
            ],
            (8, 8),
            columns={"Difference": "percentunit", "Low": "percentunit", "High": "percentunit"},
        ),
        _measure_stat(outcomes.MENTOR_TO_SPONSOR, 6),
        _measure_stat(outcomes.MENTOR_TO_SPONSOR_TIME, 6),
        _measure_stat(outcomes.UNSEEN, 6),
        _panel(
            "table",
            "Groups not shown",
            "So many groups have fewer than k people, or would give such a group away.",
            [
                _sql(
                    'SELECT dimension AS "By", count(*) AS "Groups" FROM measurements '
                    f"WHERE measure = '{coverage.SPONSOR_COVERAGE.name}' AND hidden GROUP BY dimension ORDER BY 1"
                )
            ],
            (6, 6),
        ),
    ]


def _by_group(of: Measure, dimension: str, title: str, width: int) -> Json:
    by = "whole DESC" if dimension in (LOCATION, UNIT) else "place"
    return _panel(
        "barchart",
        title,
        f"{_words(of)}\n\nGroups of few people, and those that would give them away, are not shown.",
        [
            _sql(
                f'SELECT group_id AS "Group", value AS "{of.title}" FROM measurements WHERE measure = \'{of.name}\' '
                f"AND cycle_id = '' AND dimension = '{dimension}' AND NOT hidden ORDER BY {by} LIMIT 12"
            )
        ],
        (width, 9),
        unit=_UNITS[of.unit],
        bounds=(0, 1),
        options={"xField": "Group", "orientation": "horizontal", "legend": {"showLegend": False}},
    )


def _heat_map() -> Json:
    return _panel(
        "table",
        "Coverage by unit and level",
        "n/s: not shown, for the cell is of few people or would give such a cell away; or there is nobody.",
        [
            _sql(
                'SELECT group_id AS "Unit", across_id AS "Level", value FROM measurements '
                f"WHERE measure = '{coverage.SPONSOR_COVERAGE.name}' AND cycle_id = '' "
                f"AND dimension = '{UNIT_AND_LEVEL}' ORDER BY place"
            )
        ],
        (24, 12),
        unit="percentunit",
        bounds=(0, 1),
        custom={"align": "center", "cellOptions": {"type": "color-background"}},
        color="continuous-blues",
        no_value="n/s",
        transformations=[
            {
                "id": "groupingToMatrix",
                "options": {"rowField": "Unit", "columnField": "Level", "valueField": "value", "emptyValue": "null"},
            }
        ],
    )


def _promoted() -> str:
    return (
        'SELECT c.title AS "Cycle", m.group_id AS "Advocacy", m.whole AS "In scope", m.value AS "Promoted", '
        'm.low AS "Low", m.high AS "High" FROM measurements m JOIN cycles c USING (cycle_id) '
        f"WHERE m.measure = '{outcomes.PROMOTED.name}' AND m.dimension = '{outcomes.ADVOCACY}' AND NOT m.hidden "
        "ORDER BY c.opens_at DESC, m.place"
    )


# -- sponsors and prompts: a cycle by SQL, what goes on by Prometheus ------------------------------


def _prompts() -> list[Json]:
    return [
        _panel(
            "barchart",
            "From prompt to endorsement",
            "Prompts of the cycle that were ever opened; of these delivered, viewed on the portal, and endorsed. "
            "Viewed is no step that all pass: who answers from the company's own tools has not viewed it. It is not "
            "shown where the prompts went to few sponsors.",
            [
                _sql(
                    'SELECT step AS "Step", n AS "Prompts" FROM (SELECT 1 AS place, \'opened\' AS step, whole AS n '
                    f"{_whole(conversion.PROMPTS_DELIVERED, '$cycle')} UNION ALL "
                    + " UNION ALL ".join(
                        f"SELECT {place}, '{step}', part {_whole(of, '$cycle')}"
                        for place, step, of in (
                            (2, "delivered", conversion.PROMPTS_DELIVERED),
                            (3, "viewed", conversion.PROMPTS_VIEWED),
                            (4, "endorsed", conversion.PROMPTS_ENDORSED),
                        )
                    )
                    + ") AS steps ORDER BY place"
                )
            ],
            (12, 9),
            options={"xField": "Step", "orientation": "horizontal", "legend": {"showLegend": False}},
        ),
        _panel(
            "barchart",
            "How many sponsors have how many protégés",
            _words(load.SPONSOR_LOAD),
            [
                _sql(
                    'SELECT group_id AS "Protégés", value AS "Sponsors" FROM measurements '
                    f"WHERE measure = '{load.SPONSOR_LOAD.name}' AND dimension = '{load.PROTEGES}' ORDER BY place"
                )
            ],
            (12, 9),
            options={"xField": "Protégés", "orientation": "vertical", "legend": {"showLegend": False}},
        ),
        *(
            _measure_stat(of, 4, "$cycle")
            for of in (
                conversion.DELIVERY_TIME,
                conversion.VIEW_TIME,
                conversion.ANSWER_TIME,
                conversion.ENDORSEMENT_TIME,
                conversion.FIRST_ADVOCACY,
                conversion.ENDORSEMENTS,
                conversion.EVIDENCE,
                conversion.EVIDENCE_STRENGTH,
                conversion.WITHOUT_EVIDENCE,
            )
        ),
        _measure_stat(load.SPONSOR_LOAD, 4),
        _stat("Most of one sponsor", _words(load.SPONSOR_LOAD), f"SELECT high {_whole(load.SPONSOR_LOAD)}", 4),
        _measure_stat(load.SPONSOR_LOAD_GINI, 4),
        _panel(
            "table",
            "Gaps of open cycles",
            _words(gaps.GAP_AGE),
            [
                _sql(
                    'SELECT c.title AS "Cycle", n.whole AS "Gaps", a.value AS "Age, half of them", a.high AS "Oldest" '
                    "FROM measurements n JOIN measurements a USING (cycle_id) JOIN cycles c USING (cycle_id) "
                    f"WHERE n.measure = '{gaps.GAPS_STANDING.name}' AND a.measure = '{gaps.GAP_AGE.name}' "
                    "ORDER BY c.opens_at DESC"
                )
            ],
            (12, 8),
            columns={"Age, half of them": "s", "Oldest": "s"},
        ),
        _panel(
            "table",
            "Endorsed by level",
            f"{_words(conversion.PROMPTS_ENDORSED)}\n\nLevels of few people are not shown.",
            [
                _sql(
                    'SELECT group_id AS "Level", whole AS "Prompts", value AS "Endorsed" FROM measurements '
                    f"WHERE measure = '{conversion.PROMPTS_ENDORSED.name}' AND cycle_id = ${{cycle:sqlstring}} "
                    f"AND dimension = '{LEVEL}' AND NOT hidden ORDER BY place"
                )
            ],
            (12, 8),
            columns={"Endorsed": "percentunit"},
        ),
        _over_time(
            "Endorsed, by cycle",
            _words(conversion.PROMPTS_ENDORSED),
            "max by (cycle) (insights_prompts_endorsed_ratio)",
            "{{cycle}}",
            12,
            unit="percentunit",
        ),
        _over_time(
            "Gaps that stand, by cycle",
            _words(gaps.GAPS_STANDING),
            'max by (cycle) (insights_gaps_standing{cycle!=""})',
            "{{cycle}}",
            12,
        ),
        _over_time(
            "Prompts and gaps said",
            "What the correlator has said in the last hour: prompts and gaps opened, updated, withdrawn and so on.",
            "sum by (type) (increase(correlator_outputs_total[1h]))",
            "{{type}}",
            12,
        ),
        _over_time(
            "Deliveries",
            "What became of versions of prompts that were to be sent, in the last hour.",
            "sum by (outcome) (increase(prompter_deliveries_total[1h]))",
            "{{outcome}}",
            12,
        ),
        _over_time(
            "Not sent, or not yet",
            "Why the company's policy did not let messages out, in the last hour.",
            "sum by (reason) (increase(prompter_not_sent_total[1h]))",
            "{{reason}}",
            12,
        ),
        _over_time(
            "Attempts by channel",
            "What receivers answered, in the last hour.",
            "sum by (channel, result) (increase(prompter_attempts_total[1h]))",
            "{{channel}} {{result}}",
            12,
        ),
        _over_time(
            "Time of an attempt",
            "In 95 of 100 attempts a channel's receiver took no longer to answer.",
            "histogram_quantile(0.95, sum by (channel, le) (rate(prompter_attempt_seconds_bucket[1h])))",
            "{{channel}}",
            12,
            unit="s",
        ),
        _over_time(
            "Sponsors who wait",
            "Sponsors who are looked at again at a time that is known: their morning, say, or the end of a snooze.",
            "sum(prompter_sponsors_due_later)",
            "sponsors",
            12,
        ),
    ]


# -- feeds ----------------------------------------------------------------------------------------


def _feeds() -> list[Json]:
    return [
        _over_time(
            "Since the last event",
            "Age of the newest event of each feed; cycles and endorsements may be silent for months.",
            "time() - max by (feed) (intake_last_event_timestamp_seconds)",
            "{{feed}}",
            12,
            unit="s",
        ),
        _over_time(
            "Feed events a minute",
            "What became of them: accepted, repeated, parked until their person is known, dead.",
            "sum by (feed, outcome) (rate(intake_events_total[5m])) * 60",
            "{{feed}} {{outcome}}",
            12,
        ),
        _over_time(
            "Gateway: events a second",
            "By feed and outcome: rejected is the sender's fault, unavailable ours.",
            "sum by (feed, outcome) (rate(gateway_events_total[1m]))",
            "{{feed}} {{outcome}}",
            12,
        ),
        _over_time(
            "Gateway: time of a request",
            "95 of 100 requests took no longer, from their head to their answer.",
            "histogram_quantile(0.95, sum by (feed, mode, le) (rate(gateway_request_duration_seconds_bucket[5m])))",
            "{{feed}} {{mode}}",
            12,
            unit="s",
        ),
        _over_time(
            "Gateway: until Kafka has acknowledged",
            "95 of 100 took no longer, of records that were handed over together.",
            "histogram_quantile(0.95, sum by (le) (rate(gateway_kafka_ack_seconds_bucket[5m])))",
            "gateway",
            12,
            unit="s",
        ),
        _over_time(
            "Gateway: records under way",
            "Records handed to Kafka and not acknowledged yet; at GATEWAY_MAX_IN_FLIGHT_RECORDS senders have to wait.",
            "sum(gateway_in_flight_records)",
            "records",
            12,
        ),
        _over_time(
            "Refs that are waited for",
            "Keys held by those that name somebody whom the people feed does not know. If it only grows, a source "
            "names people whom nobody tells us of.",
            'sum by (service) (stream_state_keys{state="parked"})',
            "{{service}}",
            12,
        ),
        _over_time(
            "Dead letters",
            "Records that could not be dealt with in the last hour, by the topic that they came from.",
            "sum by (topic) (increase(stream_dead_letters_total[1h]))",
            "{{topic}}",
            12,
        ),
        _over_time(
            "Sources: requests",
            "Vendors' webhooks in the last hour: refused is a signature or an address that is not known.",
            "sum by (source, outcome) (increase(gateway_source_deliveries_total[1h]))",
            "{{source}} {{outcome}}",
            12,
        ),
        _over_time(
            "Sources: deliveries read",
            "What the sources' files made of deliveries, in the last hour: mapped, ignored, dead.",
            "sum by (source, outcome) (increase(sources_deliveries_total[1h]))",
            "{{source}} {{outcome}}",
            12,
        ),
        _over_time(
            "Sources: events made",
            "Events written to their feeds in the last hour; duplicate: its id had been seen.",
            "sum by (source, outcome) (increase(sources_events_total[1h]))",
            "{{source}} {{outcome}}",
            12,
        ),
        _over_time(
            "Sources: since the last delivery",
            "Age of the newest delivery of each source.",
            "time() - max by (source) (sources_last_delivery_timestamp_seconds)",
            "{{source}}",
            12,
            unit="s",
        ),
        _over_time(
            "Achievements stated",
            "Statements that went to the log in the last hour, by the feed event's type.",
            "sum by (type) (increase(achievements_stated_total[1h]))",
            "{{type}}",
            12,
        ),
        _over_time(
            "Sponsors' answers",
            "What sponsors said in the last hour, by the feed event's type.",
            "sum by (type) (increase(endorsements_answers_total[1h]))",
            "{{type}}",
            12,
        ),
    ]


# -- services -------------------------------------------------------------------------------------


def _services() -> list[Json]:
    return [
        _panel(
            "stat",
            "Up",
            "Whether Prometheus could read the service's metrics at the last scrape.",
            [_promql('up{job="services"}', "{{service}}", instant=True)],
            (24, 4),
            mappings=[
                {
                    "type": "value",
                    "options": {"0": {"text": "down", "color": "red"}, "1": {"text": "up", "color": "green"}},
                }
            ],
            options={
                "reduceOptions": {"calcs": ["lastNotNull"]},
                "colorMode": "background",
                "graphMode": "none",
                "textMode": "value_and_name",
            },
        ),
        _over_time(
            "Records handled a second",
            "Records that a service has handled and whose effects are safe.",
            "sum by (service) (rate(stream_records_total[1m]))",
            "{{service}}",
            12,
        ),
        _over_time(
            "Consumer lag",
            "Records written and not read yet. What a service has read and not handled is not in it: "
            "python -m deploy.lag counts that too.",
            'sum by (service) (stream_consumer_lag_records{topic!~".+-changelog"})',
            "{{service}}",
            12,
        ),
        _over_time(
            "Insights: not in the database",
            "Records that the read model does not have yet.",
            "sum by (topic) (insights_projection_lag_records)",
            "{{topic}}",
            12,
        ),
        _over_time(
            "Portal: not in its read model",
            "Records that the portal's process has not read yet.",
            "sum by (instance) (portal_lag_records)",
            "{{instance}}",
            12,
        ),
        _over_time(
            "Age of the log's clock",
            "How far the correlator's time lies behind ours. Where CYCLES_CLOCK is feed it means nothing.",
            "time() - max by (partition) (correlator_clock_timestamp_seconds)",
            "partition {{partition}}",
            12,
            unit="s",
        ),
        _over_time(
            "Time of a run",
            "95 of 100 runs of records took no longer until their offsets might be committed.",
            "histogram_quantile(0.95, sum by (service, le) (rate(stream_run_seconds_bucket[5m])))",
            "{{service}}",
            12,
            unit="s",
        ),
        _over_time(
            "Time of a checkpoint",
            "95 of 100 took no longer: changelog acknowledged, local state written.",
            "histogram_quantile(0.95, sum by (service, le) (rate(stream_checkpoint_seconds_bucket[5m])))",
            "{{service}}",
            12,
            unit="s",
        ),
        _over_time(
            "Insights: time of a transaction",
            "95 of 100 transactions that project a run took no longer.",
            "histogram_quantile(0.95, sum by (le) (rate(insights_transaction_seconds_bucket[5m])))",
            "insights",
            12,
            unit="s",
        ),
        _over_time(
            "Insights: time to take all measures",
            "Mean of the last hour; /dashboard and the measures are as old as the last one.",
            "sum(increase(insights_measuring_seconds_sum[1h])) / sum(increase(insights_measuring_seconds_count[1h]))",
            "insights",
            12,
            unit="s",
        ),
        _panel(
            "timeseries",
            "Writes tried again",
            "Writes to Kafka, and transactions of insights, that failed in the last five minutes and were tried again.",
            [
                _promql("sum by (service) (increase(stream_write_retries_total[5m]))", "{{service}} to Kafka"),
                _promql("sum by (service) (increase(insights_database_failures_total[5m]))", "{{service}} to SQL"),
            ],
            (12, 9),
            bounds=(0, None),
        ),
        _over_time(
            "Processor",
            "Cores that a process keeps busy.",
            'sum by (service) (rate(process_cpu_seconds_total{job="services"}[1m]))',
            "{{service}}",
            12,
            unit="percentunit",
        ),
        _over_time(
            "Memory",
            "Resident memory of each process.",
            'sum by (service) (process_resident_memory_bytes{job="services"})',
            "{{service}}",
            12,
            unit="bytes",
        ),
        _over_time(
            "Open files",
            "Of those that the process may have.",
            'max by (service) (process_open_fds{job="services"} / process_max_fds{job="services"})',
            "{{service}}",
            12,
            unit="percentunit",
        ),
        _over_time(
            "Age of the process",
            "Where it falls to nothing again and again, the service does not stay up.",
            'min by (service) (time() - process_start_time_seconds{job="services"})',
            "{{service}}",
            12,
            unit="s",
        ),
    ]


# -- pieces ---------------------------------------------------------------------------------------


def _dashboard(
    uid: str, title: str, panels: Sequence[Json], since: str, *, reads: Sequence[str], cycle: bool = False
) -> Json:
    variables = [_datasource(name) for name in reads] + ([_cycle_variable()] if cycle else [])
    return {
        "uid": uid,
        "title": title,
        "tags": ["sponsorship-tracker"],
        "schemaVersion": 39,
        "editable": False,
        "refresh": "1m" if "readmodel" in reads else "10s",
        "time": {"from": since, "to": "now"},
        "links": [{"type": "dashboards", "title": "All", "tags": ["sponsorship-tracker"], "asDropdown": False}],
        "templating": {"list": variables},
        "panels": [*_placed(panels)],
    }


def _placed(panels: Sequence[Json]) -> Iterator[Json]:
    """Yield the panels with numbers and places, from left to right in lines as high as their highest."""
    x = y = height = 0
    for number, panel in enumerate(panels, start=1):
        at = panel["gridPos"]
        if x + at["w"] > _COLUMNS:
            x, y, height = 0, y + height, 0
        yield {"id": number, **panel, "gridPos": {"x": x, "y": y, **at}}
        x, height = x + at["w"], max(height, at["h"])


def _datasource(name: str) -> Json:
    of = {"metrics": _PROMETHEUS, "readmodel": _READ_MODEL}[name]
    label = {"metrics": "Prometheus", "readmodel": "Read model"}[name]
    return {"name": name, "label": label, "type": "datasource", "query": of["type"], "hide": 0, "refresh": 1}


def _cycle_variable() -> Json:
    return {
        "name": "cycle",
        "label": "Cycle",
        "type": "query",
        "datasource": _READ_MODEL,
        # those of which something was measured: the ones that have opened, the newest first
        "query": "SELECT c.title AS __text, c.cycle_id AS __value FROM cycles c WHERE c.cycle_id IN "
        f"(SELECT cycle_id FROM measurements WHERE measure = '{conversion.PROMPTS_DELIVERED.name}') "
        "ORDER BY c.opens_at DESC, c.cycle_id",
        "hide": 0,
        "refresh": 1,
        "multi": False,
        "includeAll": False,
    }


def _panel(
    kind: str,
    title: str,
    description: str,
    targets: Sequence[Json],
    size: tuple[int, int],
    *,
    unit: str = "short",
    bounds: tuple[float | None, float | None] = (None, None),
    columns: Mapping[str, str] | None = None,
    options: Json | None = None,
    custom: Json | None = None,
    mappings: Sequence[Json] = (),
    color: str | None = None,
    no_value: str | None = None,
    transformations: Sequence[Json] = (),
) -> Json:
    """Return a panel without its place; `size` is width and height, `columns` the units of a table's own columns."""
    defaults: Json = {"unit": unit}
    defaults |= {name: bound for name, bound in zip(("min", "max"), bounds, strict=True) if bound is not None}
    defaults |= {"custom": custom} if custom else {}
    defaults |= {"mappings": list(mappings)} if mappings else {}
    defaults |= {"color": {"mode": color}} if color else {}
    defaults |= {"noValue": no_value} if no_value else {}
    overrides = [
        {
            "matcher": {"id": "byName", "options": column},
            "properties": [{"id": "unit", "value": of}, {"id": "decimals", "value": 1}],
        }
        for column, of in (columns or {}).items()
    ]
    panel: Json = {
        "title": title,
        "description": description,
        "type": kind,
        "datasource": targets[0]["datasource"],
        "gridPos": {"w": size[0], "h": size[1]},
        "targets": [{"refId": chr(ord("A") + n), **target} for n, target in enumerate(targets)],
        "fieldConfig": {"defaults": defaults, "overrides": overrides},
    }
    panel |= {"options": options} if options else {}
    panel |= {"transformations": list(transformations)} if transformations else {}
    return panel


def _over_time(title: str, description: str, expr: str, legend: str, width: int, *, unit: str = "short") -> Json:
    return _panel("timeseries", title, description, [_promql(expr, legend)], (width, 9), unit=unit, bounds=(0, None))


def _measure_stat(of: Measure, width: int, cycle: str = WHOLE) -> Json:
    title = of.title[0].upper() + of.title[1:]
    return _stat(title, _words(of), f"SELECT value {_whole(of, cycle)}", width, unit=_UNITS[of.unit])


def _stat(title: str, description: str, query: str, width: int, *, unit: str = "short", column: str = "") -> Json:
    # Values of the one row, whatever type they have: Grafana's default takes numbers only, and a time is none.
    reduce = {"calcs": ["lastNotNull"], "fields": f"/^{column}$/" if column else "", "values": False}
    return _panel(
        "stat",
        title,
        description,
        [_sql(query)],
        (width, 5),
        unit=unit,
        no_value="none",
        options={"reduceOptions": reduce, "colorMode": "none", "graphMode": "none"},
    )


def _whole(of: Measure, cycle: str = WHOLE) -> str:
    """Return the rest of a query that begins with SELECT: of the one row of what is not broken down."""
    which = "${cycle:sqlstring}" if cycle else "''"
    return f"FROM measurements WHERE measure = '{of.name}' AND cycle_id = {which} AND dimension = ''"


def _words(of: Measure) -> str:
    return "\n".join([of.definition, "", *(f"- {pitfall}" for pitfall in of.pitfalls)])


def _sql(query: str, form: str = "table") -> Json:
    return {"datasource": _READ_MODEL, "rawQuery": True, "editorMode": "code", "format": form, "rawSql": query}


def _promql(expr: str, legend: str, *, instant: bool = False) -> Json:
    return {"datasource": _PROMETHEUS, "expr": expr, "legendFormat": legend, "instant": instant, "range": not instant}


def main(folder: Path = FOLDER) -> None:
    """Write the dashboards."""
    for name, dashboard in dashboards().items():
        (folder / name).write_text(written(dashboard))


if __name__ == "__main__":
    main()
