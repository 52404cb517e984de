"""The operators' page and the alert rules speak of what exists, and of all that they should."""

from __future__ import annotations

import importlib
import importlib.util
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, get_args

import pytest
import yaml
from prometheus_client import REGISTRY
from prometheus_client.metrics import MetricWrapperBase

from deploy import operators_page
from deploy.broker import PROJECT
from deploy.lag import READS
from deploy.operators_page import (
    PAGE,
    Exported,
    PageError,
    guarded_metrics,
    metrics_of,
    names_of,
    settings_of,
    stream_metrics,
    written,
)
from deploy.stack import SERVICES
from services.portal import projection
from shared.service.main import STOP_GRACE_SECONDS
from shared.service.settings import KafkaSecuritySettings, environment_name
from shared.streaming import service as streaming
from shared.streaming.topics import (
    ALL_TOPICS,
    FEEDS,
    SCIM_RESOURCES,
    SOURCES_RECEIVED,
    attributed_topic,
    feed_topic,
    parked_topic,
)

TEXT: Final = PAGE.read_text()
ALERTS: Final = PROJECT / "deploy/prometheus/alerts.yml"
RULES: Final[list[dict[str, Any]]] = [
    rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]
]
COMPOSE: Final = yaml.safe_load((PROJECT / "docker-compose.yml").read_text())

SCRAPED: Final = frozenset({"service", "instance", "job"})
"""Labels that Prometheus adds: see deploy/prometheus/prometheus.yml."""
NOT_OURS: Final = (
    "up",
    "process_cpu_seconds_total",
    "process_resident_memory_bytes",
    "process_open_fds",
    "process_max_fds",
    "process_start_time_seconds",
)
PROMQL: Final = frozenset(
    "sum max min count by on or and unless offset rate increase deriv changes time histogram_quantile le".split()  # noqa: SIM905
)
"""Words of a query that are no metrics; `le` is every histogram's label."""


# -- the page and the code


def test_the_generated_tables_are_as_the_code_is_now() -> None:
    assert written(TEXT) == TEXT, "run: .venv/bin/python -m deploy.operators_page"


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
def test_every_setting_of_a_service_is_on_the_page(service: Any) -> None:
    settings = settings_of(service)
    for field, info in settings.model_fields.items():
        name = environment_name(settings, field)
        assert re.search(rf"^\| [^|]+ \| `{name}` \|", TEXT, re.M), name
        assert info.description, f"{name} has no description"


def test_a_page_without_a_marker_is_refused_and_not_emptied(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = TEXT.replace("<!-- end of settings -->", "")
    with pytest.raises(PageError, match="end of settings"):
        written(broken)
    page = tmp_path / "page.md"
    page.write_text(broken)
    assert operators_page.main([str(page)]) == 1
    assert page.read_text() == broken
    assert "end of settings" in capsys.readouterr().err


def test_the_table_of_services_is_that_of_the_stack() -> None:
    assert {name: row["port"] for name, row in services_told().items()} == {
        service.name: str(service.http_port) for service in SERVICES
    }


def test_the_table_says_what_each_consumer_group_reads() -> None:
    told = {name: ticked(row["reads"]) for name, row in services_told().items()}
    assert told.pop("gateway") == set()
    assert told.pop("portal") == set(projection.TOPICS)  # each process of it reads all, in no group
    assert told.pop("scim") == {SCIM_RESOURCES}  # likewise
    assert told == {group: set(topics) for group, topics in READS.items()}


def test_whatever_is_read_is_written_by_somebody() -> None:
    written_by_somebody = set().union(*(ticked(row["writes"]) for row in services_told().values()))
    never_parked = {parked_topic("cycles"), attributed_topic("cycles")}  # a cycle names nobody who could be unknown
    read = {topic for reads in READS.values() for topic in reads} | set(projection.TOPICS) | {SCIM_RESOURCES}
    assert written_by_somebody == read - never_parked
    assert written_by_somebody <= {topic.name for topic in ALL_TOPICS}
    feeds = {feed_topic(feed) for feed in FEEDS}
    assert ticked(services_told()["gateway"]["writes"]) == feeds | {SOURCES_RECEIVED}
    assert ticked(services_told()["sources"]["writes"]) == feeds


def test_the_page_names_no_variable_that_nothing_reads() -> None:
    ours = {
        environment_name(settings, field) for settings in map(settings_of, SERVICES) for field in settings.model_fields
    }
    values = {value for info in KafkaSecuritySettings.model_fields.values() for value in get_args(info.annotation)}
    named = set(re.findall(r"\b(?:[A-Z]+_)+[A-Z]+\b", TEXT)) - values
    assert named <= ours, named - ours


def test_the_page_names_no_metric_that_nobody_exports() -> None:
    known = {metric.name for metric in exported().values()} | set(NOT_OURS)
    prefixes = {name.split("_")[0] for name in known if "_" in name}
    named = {name for name in re.findall(r"`([a-z]+(?:_[a-z]+)+)`", TEXT) if name.split("_")[0] in prefixes}
    assert named <= known, named - known


def test_every_metric_that_a_service_registers_is_on_the_page() -> None:
    for service in SERVICES:
        importlib.import_module(f"{service.module}.app")
    registered = {
        collector.describe()[0].name
        for collector in set(REGISTRY._names_to_collectors.values())
        if isinstance(collector, MetricWrapperBase)
    }
    assert registered == {metric.name.removesuffix("_total") for metric in metrics()}


def test_what_the_page_quotes_from_the_logs_is_logged() -> None:
    quoted = [event for row in table("`event`") for event in ticked(row["`event`"])]
    source = "".join(path.read_text() for root in ("services", "shared") for path in (PROJECT / root).rglob("*.py"))
    assert len(quoted) > 5
    for event in quoted:
        assert f'("{event}"' in source or f'"{event}",\n' in source, event


def test_the_commands_of_the_page_exist() -> None:
    for module in set(re.findall(r"python -m (\w+(?:\.\w+)+)", TEXT)):
        assert importlib.util.find_spec(module), module
    targets = set(re.findall(r"^(\w+):", (PROJECT / "Makefile").read_text(), re.M))
    for line in re.findall(r"(?:^|`)make ([a-z ]+)", TEXT, re.M):
        assert set(line.split()) <= targets, line


def test_links_within_the_page_lead_somewhere() -> None:
    heads = {re.sub(r"[^a-z -]", "", head.lower()).replace(" ", "-") for head in re.findall(r"^#+ (.+)$", TEXT, re.M)}
    assert set(re.findall(r"\]\(#([^)]+)\)", TEXT)) <= heads
    for path in re.findall(r"\]\((?!#|http)([^)]+)\)", TEXT):
        assert (PAGE.parent / path.partition("#")[0]).exists(), path


def test_a_stop_has_the_time_that_the_page_says_and_containers_have_more() -> None:
    assert f"open HTTP requests have {STOP_GRACE_SECONDS} s, then the run of records in hand has " in TEXT
    assert f"the run of records in hand has {streaming._STOP_SECONDS} s" in TEXT
    for service in SERVICES:
        grace = COMPOSE["services"][service.name]["stop_grace_period"]
        assert int(grace.removesuffix("s")) > STOP_GRACE_SECONDS + streaming._STOP_SECONDS


# -- alerts


def test_prometheus_loads_the_rules_that_compose_mounts() -> None:
    config = yaml.safe_load((PROJECT / "deploy/prometheus/prometheus.yml").read_text())
    assert config["rule_files"] == [ALERTS.name]
    volumes = COMPOSE["services"]["prometheus"]["volumes"]
    assert f"./deploy/prometheus/{ALERTS.name}:/etc/prometheus/{ALERTS.name}:ro" in volumes


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_asks_for_metrics_and_labels_that_are_exported(rule: Mapping[str, Any]) -> None:
    check_query(rule["expr"])
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert set(rule["annotations"]) == {"summary", "description"}
    for said in rule["annotations"].values():
        for label in re.findall(r"\$labels\.(\w+)", said):
            assert re.search(rf"by \([^)]*\b{label}\b", rule["expr"]) or " by " not in rule["expr"], label


def test_the_page_tells_of_every_alert_and_of_no_other() -> None:
    assert set().union(*(ticked(row["alert"]) for row in table("watch"))) == {rule["alert"] for rule in RULES}


@pytest.mark.parametrize(
    "query", ["sum(stream_recods_total)", "sum by (topik) (stream_records_total)", 'up{sevice="people"} == 0']
)
def test_a_slip_of_the_pen_in_a_query_is_seen(query: str) -> None:
    with pytest.raises(AssertionError):
        check_query(query)


# -- helpers


def metrics() -> Iterator[Exported]:
    yield from stream_metrics()
    yield from guarded_metrics()
    for service in SERVICES:
        yield from metrics_of(service)


def exported() -> dict[str, Exported]:
    """Return every series that a service exports, by name."""
    return {name: metric for metric in metrics() for name in names_of(metric)}


def check_query(query: str) -> None:
    """Fail where a PromQL query names a metric or a label that nobody exports. It knows the PromQL that we use."""
    ours = exported()
    labels = {name: {*ours[name].labels, *SCRAPED} for name in ours} | {name: set(SCRAPED) for name in NOT_OURS}
    labels |= {name: {*of, "le"} for name, of in labels.items() if name.endswith("_bucket")}
    bare = re.sub(r'"[^"]*"', "", query)
    for name, selector in re.findall(r"(\w+)\s*\{([^}]*)\}", bare):
        assert name in labels, f"nobody exports {name}"
        assert set(re.findall(r"\w+", selector)) <= labels[name], f"{name}{{{selector}}}"
    grouped = re.findall(r"\b(?:by|on) \(([^)]*)\)", bare)
    rest = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\b(?:by|on) \([^)]*\)|\b\d+\w*", " ", bare)
    named = set(re.findall(r"[a-z_]+", rest)) - PROMQL
    assert named, query
    assert named <= set(labels), f"nobody exports {named - set(labels)}"
    for group in grouped:
        assert set(re.findall(r"\w+", group)) <= set().union(*(labels[name] for name in named)), group


def services_told() -> dict[str, dict[str, str]]:
    """Return what the page says of each service."""
    return {row["service"]: row for row in table("service", "port")}


def table(*head: str) -> list[dict[str, str]]:
    """Return the rows of the page's table that begins with these columns."""
    begin = "\n| " + " | ".join(head) + " |"
    assert TEXT.count(begin) == 1
    lines = TEXT[TEXT.index(begin) + 1 :].split("\n\n")[0].splitlines()
    columns, _, *rows = ([cell.strip() for cell in line[1:-1].split("|")] for line in lines)
    return [dict(zip(columns, row, strict=True)) for row in rows]


def ticked(text: str) -> set[str]:
    """Return what stands between backticks."""
    return set(re.findall(r"`([^`]+)`", text))
