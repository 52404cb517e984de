"""Each alert fires when it should, says what it should, and is else silent: asked of Prometheus' own promtool.

The rules are those of deploy/prometheus/alerts.yml, whole; series are in promtool's notation, a sample a minute
from the epoch on: `0x5 0+1x10` is five minutes of nothing and then one a minute, `_x20` is no sample for twenty.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from deploy.broker import PROJECT

ALERTS: Final = PROJECT / "deploy/prometheus/alerts.yml"
RULES: Final[dict[str, Any]] = {
    rule["alert"]: rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]
}


@dataclass(frozen=True)
class Case:
    """What Prometheus has scraped, and what it then says.

    Attributes:
        alert: the rule.
        when: what has happened, in words.
        series: samples by series.
        at: when it is looked at.
        fires: the labels, besides severity, by summary; empty where the rule is to be silent.
    """

    alert: str
    when: str
    series: Mapping[str, str]
    at: str
    fires: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


PEOPLE: Final = 'job="services",service="people",instance="people:8101"'
SCRAPED: Final = {"job": "services", "service": "people", "instance": "people:8101"}


def labelled_counter(alert: str, name: str, other: str, summary: str, **labels: str) -> list[Case]:
    """The cases of a counter with labels, which is not there before it has counted something."""
    fires = {summary: labels}
    return [
        Case(alert, "it counts for the first time", {name: "_x20 1x20"}, "25m", fires),
        Case(alert, "it counts again", {name: "1x20 2x20"}, "25m", fires),
        Case(alert, "what it counted is long ago", {name: "1x60"}, "50m"),
        Case(alert, "something else is counted", {other: "0+1x60"}, "50m"),
    ]


CASES: Final = [
    Case(
        "ServiceDown",
        "a service does not answer",
        {f"up{{{PEOPLE}}}": "1x5 0x10"},
        "10m",
        {"people does not answer": SCRAPED},
    ),
    Case("ServiceDown", "one scrape fails", {f"up{{{PEOPLE}}}": "1x5 0 1x10"}, "8m"),
    Case("ServiceDown", "another job's target is away", {'up{job="node"}': "0x10"}, "10m"),
    Case(
        "ServiceRestartsAgainAndAgain",
        "three starts in a row",
        {f"process_start_time_seconds{{{PEOPLE}}}": "0 60 120 180x10"},
        "10m",
        {"people was started 3 times in 15 minutes": SCRAPED},
    ),
    Case(
        "ServiceRestartsAgainAndAgain",
        "an update and a second try",
        {f"process_start_time_seconds{{{PEOPLE}}}": "0 60 120x10"},
        "10m",
    ),
    Case(
        "WritesToKafkaFail",
        "writes are tried again",
        {f"stream_write_retries_total{{{PEOPLE}}}": "0x5 1x10"},
        "9m",
        {"people can't write to Kafka and tries again": SCRAPED},
    ),
    Case("WritesToKafkaFail", "that is over", {f"stream_write_retries_total{{{PEOPLE}}}": "0x5 1x30"}, "25m"),
    *labelled_counter(
        "SendersAreTurnedAway",
        'gateway_events_total{feed="people",outcome="unavailable"}',
        'gateway_events_total{feed="people",outcome="rejected"}',
        "the gateway could not take events for people",
        feed="people",
    ),
    *labelled_counter(
        "ProvisioningIsTurnedAway",
        'scim_request_duration_seconds_count{operation="patch",status="503"}',
        'scim_request_duration_seconds_count{operation="bulk",status="501"}',
        "the scim service could not do what an identity system asked",
    ),
    Case(
        "ConsumerLagGrows",
        "more comes in than is handled",
        {'stream_consumer_lag_records{service="people",topic="feeds.people",partition="0"}': "0+200x40"},
        "30m",
        {"people falls behind on feeds.people: 6000 records": {"service": "people", "topic": "feeds.people"}},
    ),
    Case(
        "ConsumerLagGrows",
        "it catches up",
        {'stream_consumer_lag_records{service="people",topic="feeds.people",partition="0"}': "20000-200x40"},
        "30m",
    ),
    Case(
        "ConsumerLagGrows",
        "a few records wait",
        {'stream_consumer_lag_records{service="people",topic="feeds.people",partition="0"}': "0+10x40"},
        "30m",
    ),
    Case(
        "ConsumerLagGrows",
        "a changelog was read at the start",
        {'stream_consumer_lag_records{service="people",topic="people-state-changelog",partition="0"}': "0+200x40"},
        "30m",
    ),
    *labelled_counter(
        "DeadLetters",
        'stream_dead_letters_total{service="people",topic="feeds.people"}',
        'stream_records_total{service="people",topic="feeds.people"}',
        "people could not deal with records of feeds.people",
        service="people",
        topic="feeds.people",
    ),
    Case(
        "SourceSilent",
        "a source is quiet for longer than its file allows",
        {
            'gateway_source_quiet_since_timestamp_seconds{source="hibob"}': "0x200",
            'gateway_source_silent_after_seconds{source="hibob"}': "7200x200",
        },
        "3h",
        {"hibob has told nothing new for 3h 0m 0s": {"source": "hibob"}},
    ),
    Case(
        "SourceSilent",
        "a source that is polled has had no news for longer than its file allows, though its API answers",
        {
            'sources_quiet_since_timestamp_seconds{source="personio",origin="persons"}': "0x200",
            'sources_silent_after_seconds{source="personio"}': "7200x200",
            'sources_last_poll_timestamp_seconds{source="personio",poll="persons"}': "0+60x200",
        },
        "3h",
        {"personio has told nothing new for 3h 0m 0s": {"source": "personio"}},
    ),
    Case(
        "SourceSilent",
        "one of a source's lists has news",
        {
            'sources_quiet_since_timestamp_seconds{source="merge",origin="teams"}': "0x200",
            'sources_quiet_since_timestamp_seconds{source="merge",origin="employees"}': "0+60x200",
            'sources_silent_after_seconds{source="merge"}': "7200x200",
        },
        "3h",
    ),
    Case(
        "SourceSilent",
        "a source's webhook is quiet, and what is polled of it is not",
        {
            'gateway_source_quiet_since_timestamp_seconds{source="merge"}': "0x200",
            'gateway_source_silent_after_seconds{source="merge"}': "7200x200",
            'sources_quiet_since_timestamp_seconds{source="merge",origin="employees"}': "0+60x200",
        },
        "3h",
    ),
    Case(
        "PollsFail",
        "no page is had for longer than three rounds",
        {
            'sources_last_poll_timestamp_seconds{source="personio",poll="persons"}': "0x60",
            'sources_poll_overdue_after_seconds{source="personio",poll="persons"}': "2700x60",
        },
        "55m",
        {
            "no page of personio's persons could be had for 55m 0s": {"source": "personio", "poll": "persons"},
        },
    ),
    Case(
        "PollsFail",
        "the service was away for hours, and polls again",
        {
            'sources_last_poll_timestamp_seconds{source="personio",poll="persons"}': "_x240 0 0 14520+60x20",
            'sources_poll_overdue_after_seconds{source="personio",poll="persons"}': "_x240 2700x22",
        },
        "4h4m",
    ),
    Case(
        "PollsFail",
        "another worker polls it now, and finds nothing new",
        {
            'sources_last_poll_timestamp_seconds{source="personio",poll="persons",instance="a"}': "0x60",
            'sources_last_poll_timestamp_seconds{source="personio",poll="persons",instance="b"}': "0+60x60",
            'sources_quiet_since_timestamp_seconds{source="personio",origin="persons"}': "0x60",
            'sources_poll_overdue_after_seconds{source="personio",poll="persons"}': "2700x60",
        },
        "50m",
    ),
    Case(
        "SourceSilent",
        "one of two gateways has heard from it",
        {
            'gateway_source_quiet_since_timestamp_seconds{source="hibob",instance="a"}': "0x200",
            'gateway_source_quiet_since_timestamp_seconds{source="hibob",instance="b"}': "0+60x200",
            'gateway_source_silent_after_seconds{source="hibob"}': "7200x200",
        },
        "3h",
    ),
    Case(
        "SourceSilent",
        "its file says nothing of how quiet it may be",
        {'gateway_source_quiet_since_timestamp_seconds{source="hibob"}': "0x200"},
        "3h",
    ),
    *labelled_counter(
        "SourceRefused",
        'gateway_source_deliveries_total{source="hibob",outcome="refused"}',
        'gateway_source_deliveries_total{source="unknown",outcome="refused"}',
        "requests in the name of hibob are refused",
        source="hibob",
    ),
    *labelled_counter(
        "RecordsNotFetched",
        'sources_fetches_total{source="merge",outcome="failed"}',
        'sources_fetches_total{source="merge",outcome="fetched"}',
        "records of merge could not be fetched from its API",
        source="merge",
    ),
    Case(
        "FeedSilent",
        "the last event is four days old",
        {'intake_last_event_timestamp_seconds{service="people",feed="people"}': "-345600x20"},
        "10m",
        {"nothing has come in for people in three days": {"service": "people", "feed": "people"}},
    ),
    Case(
        "FeedSilent",
        "a process that is four days old has seen no event",
        {'process_start_time_seconds{service="achievements"}': "-345600x20"},
        "10m",
        {"nothing has come in for achievements in three days": {"service": "achievements"}},
    ),
    Case(
        "FeedSilent",
        "an old process had an event today",
        {
            'process_start_time_seconds{service="people"}': "-345600x20",
            'intake_last_event_timestamp_seconds{service="people",feed="people"}': "0x20",
        },
        "10m",
    ),
    Case(
        "FeedSilent",
        "no cycle has been told for weeks",
        {'intake_last_event_timestamp_seconds{service="cycles",feed="cycles"}': "-3000000x20"},
        "10m",
    ),
    Case(
        "TheLogsClockStands",
        "no tick for ten minutes",
        {"cycles_clock_timestamp_seconds": "0x20"},
        "10m",
        {"the log has not been told the time for 10m 0s": {}},
    ),
    Case(
        "TheLogsClockStands",
        "another process ticks",
        {
            'cycles_clock_timestamp_seconds{instance="a"}': "0x20",
            'cycles_clock_timestamp_seconds{instance="b"}': "0+60x20",
        },
        "10m",
    ),
    Case(
        "CorrelatorBehind",
        "one partition stands",
        {
            "cycles_clock_timestamp_seconds": "0+60x40",
            'correlator_clock_timestamp_seconds{partition="0"}': "0+60x40",
            'correlator_clock_timestamp_seconds{partition="1"}': "0x40",
        },
        "20m",
        {"the correlator is 20m 0s behind the log": {}},
    ),
    Case(
        "CorrelatorBehind",
        "another worker has taken the partition over",
        {
            "cycles_clock_timestamp_seconds": "0+60x40",
            'correlator_clock_timestamp_seconds{partition="0",instance="a"}': "0x40",
            'correlator_clock_timestamp_seconds{partition="0",instance="b"}': "0+60x40",
        },
        "20m",
    ),
    *labelled_counter(
        "DeliveriesFail",
        'prompter_deliveries_total{outcome="failed"}',
        'prompter_deliveries_total{outcome="delivered"}',
        "prompts were given up: no channel took them",
    ),
    Case(
        "ChannelAway",
        "a receiver answers busy or not at all",
        {
            'prompter_attempts_total{channel="slack",result="busy"}': "0+1x30",
            'prompter_attempts_total{channel="mail",result="delivered"}': "0+1x30",
        },
        "20m",
        {"channel slack has taken nothing for ten minutes, and answers busy or not at all": {"channel": "slack"}},
    ),
    Case(
        "ChannelAway",
        "it takes some all the same",
        {
            'prompter_attempts_total{channel="slack",result="busy"}': "0+1x30",
            'prompter_attempts_total{channel="slack",result="delivered"}': "0+1x30",
        },
        "20m",
    ),
    Case(
        "InsightsDatabaseFails",
        "transactions fail",
        {"insights_database_failures_total": "0x5 0+1x20"},
        "20m",
        {"insights can't write to its database and tries again": {}},
    ),
    Case("InsightsDatabaseFails", "one failed, long ago", {"insights_database_failures_total": "0x5 1x40"}, "30m"),
    Case(
        "MeasuringFails",
        "measuring fails again and again",
        {"insights_measuring_failures_total": "0x5 0+1x20"},
        "20m",
        {"the measures can't be taken: /dashboard and /v1/measures show older ones": {}},
    ),
    Case("MeasuringFails", "it failed an hour ago", {"insights_measuring_failures_total": "0x5 1x80"}, "65m"),
    Case(
        "InsightsBehind",
        "the log grows faster than the database",
        {
            'insights_projection_lag_records{topic="career-events"}': "900x40",
            'insights_projection_lag_records{topic="prompts"}': "200x40",
        },
        "30m",
        {"insights has 1100 records of the log not in its database": {}},
    ),
    Case(
        "InsightsBehind",
        "a burst is worked off",
        {'insights_projection_lag_records{topic="career-events"}': "5000x10 0x30"},
        "30m",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.alert}: {case.when}")
def test_an_alert_fires_when_it_should_and_only_then(case: Case, tmp_path: Path) -> None:
    asked = promtool(tmp_path, case)
    assert asked.returncode == 0, asked.stdout + asked.stderr


def test_every_alert_is_seen_to_fire_and_seen_to_be_silent() -> None:
    assert {case.alert for case in CASES if case.fires} == set(RULES)
    assert {case.alert for case in CASES if not case.fires} == set(RULES)


def test_a_case_that_is_wrong_fails(tmp_path: Path) -> None:
    up = {f"up{{{PEOPLE}}}": "0x10"}
    for wrong in (
        Case("ServiceDown", "", up, "10m"),
        Case("ServiceDown", "", up, "10m", {"people is well": SCRAPED}),
        Case("ServiceDown", "", up, "10m", {"people does not answer": {"service": "people"}}),
    ):
        assert promtool(tmp_path, wrong).returncode == 1, wrong


def promtool(folder: Path, case: Case) -> subprocess.CompletedProcess[str]:
    """Let promtool compare what fires, with its labels and texts, to what the case says."""
    program = shutil.which("promtool")
    if program is None:
        pytest.fail("no promtool here: `make promtool` installs it (Debian, Ubuntu: apt-get install prometheus)")
    rule = RULES[case.alert]
    expected = [
        {
            "exp_labels": {**rule["labels"], **labels},
            "exp_annotations": {
                "summary": summary,
                "description": filled_in(rule["annotations"]["description"], labels),
            },
        }
        for summary, labels in case.fires.items()
    ]
    test = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in case.series.items()],
        "alert_rule_test": [{"eval_time": case.at, "alertname": case.alert, "exp_alerts": expected}],
    }
    file = folder / "case.yml"
    file.write_text(yaml.safe_dump({"rule_files": [str(ALERTS)], "evaluation_interval": "1m", "tests": [test]}))
    return subprocess.run(
        [program, "test", "rules", str(file)], capture_output=True, text=True, timeout=30, check=False
    )


def filled_in(description: str, labels: Mapping[str, str]) -> str:
    """Return the text as Prometheus makes it of the template; descriptions name labels and no values."""
    return re.sub(r"\{\{ \$labels\.(\w+) \}\}", lambda found: labels[found[1]], description)
