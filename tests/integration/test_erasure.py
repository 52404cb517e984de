"""Erases a person from a running system, and looks for what is left in every byte of every file, and with every key."""

from __future__ import annotations

import base64
import contextlib
import errno
import io
import json
import os
import shutil
from collections import defaultdict
from pathlib import Path

import pytest

from deploy.feeding import Feeder
from deploy.lag import LagReader
from deploy.outcome import Insights, differences
from deploy.stack import SERVICES
from deploy.system import System, wait_until_quiet
from deploy.tracker.__main__ import main as tracker
from services.insights import forgetting as insights_forgetting
from shared.company.records import FeedRecord, feed_record
from shared.company.scenario import Scenario, demo_scenario
from shared.contracts.base import utc
from shared.service.settings import PersonKeySettings
from shared.streaming.person_keys import Keyring, opened_keyring
from shared.streaming.reading import partitions_by_topic, read_to_the_end
from shared.streaming.records import Record
from shared.streaming.topics import CAREER_EVENTS, IDENTITIES, PROMPTS, dead_topic, feed_topic, parked_topic
from tests.integration.test_whole_path import (
    a_feeder,
    a_running_system,
    an_open_cycle_is_simulated_as_it_stands,
    the_command_and_the_api_explain,
)

pytestmark = pytest.mark.kafka

SEALED = {"PERSON_MARKS_KEY": "m" * 40, "PERSON_MASTER_KEYS": base64.b64encode(b"k" * 32).decode()}
TITLE = "Zwiebelturm"
STATEMENT = "Kraxelhuber"
NAME = "Ottilie Quastenflosser"
MAIL = "ottilie.q@acme.example"
STRANGER = "E99999"
"""Somebody whom no source has told of: what names them is parked."""
READ_MODELS = {"insights.db", "portal.db"}
"""Where a person lies unsealed: what is made anew of Kafka, and needs no backup."""
BACKED_UP = ("kafka", "faust")
PLACES = {
    feed_topic("people"),
    feed_topic("achievements"),
    parked_topic("achievements"),
    dead_topic(feed_topic("people")),
    CAREER_EVENTS,
    PROMPTS,
    IDENTITIES,
    "people-people-changelog",
    "correlator-standing-changelog",
    "prompter-sponsors-changelog",
    "achievements-parked-changelog",
}
"""Topics that a person is in, for who has the keys."""


@pytest.mark.timeout(600)
def test_of_an_erased_person_no_byte_is_left_and_nothing_comes_back(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The company's autumn, sealed; then somebody unmistakable leaves, is erased, and their sources go on."""
    scenario = demo_scenario()
    for name, value in SEALED.items():
        monkeypatch.setenv(name, value)  # for the commands
    with contextlib.ExitStack() as running:
        system = running.enter_context(a_running_system(tmp_path, scenario, SEALED))
        feeder, lag, insights = a_feeder(running, system)
        for phase in scenario.phases:
            feeder.feed(phase.records, lambda _: None)
            assert wait_until_quiet(system, lag, within=60) == {}
        assert differences(insights, scenario) == []
        the_command_and_the_api_explain(system, insights)
        an_open_cycle_is_simulated_as_it_stands(system, insights, tmp_path_factory.mktemp("snapshot"))
        a_person_is_erased_everywhere(system, scenario, feeder, lag, insights, tmp_path)


def a_person_is_erased_everywhere(
    system: System, scenario: Scenario, feeder: Feeder, lag: LagReader, insights: Insights, tmp_path: Path
) -> None:
    # of somebody with a jira account events lie in Kafka unsealed: that source writes there itself
    who, sponsor, jira = next(
        (prompt["employee_id"], prompt["sponsor_id"], account)
        for prompt in insights.all("/v1/prompts", status="open")
        if (account := scenario.company.person(int(prompt["employee_id"][1:]) - 1).jira) is not None
    )
    last_words = last_words_of(who, sponsor)
    feeder.feed(last_words, lambda _: None)
    assert wait_until_quiet(system, lag, within=60) == {}
    code, told = erasing(system, who, tmp_path, "--yes")
    assert (code, "stop these first" in told) == (1, True), told
    services = [service.name for service in SERVICES if service.name != "gateway"]
    system.stack.terminate_all(services)

    # before: topics and states tell them to who has the keys, and read models to anybody
    kept = a_copy_of_everything(system, tmp_path)
    marks = [who, MAIL, *NAME.split(), TITLE, STATEMENT]
    found = files_with(tmp_path, *marks)
    assert {file.split("/")[0] for files in found.values() for file in files} == READ_MODELS, found
    with opened_keyring(PersonKeySettings(), system.bootstrap_servers) as keys:
        opened = {topic: told_by(keys, records) for topic, records in kept.items()}
    assert {topic for topic, said in opened.items() if who.encode() in said} >= PLACES, opened.keys()
    for mark in marks:
        assert any(mark.encode() in said for said in opened.values()), mark

    # it dies in the midst, and is run again
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(insights_forgetting, "scrub", dies)
        code, told = erasing(system, who, tmp_path, "--yes", "--json")
    assert (code, "Run it again" in told) == (1, True), told
    assert any("feeds.achievements" in file for file in files_with(tmp_path, jira)[jira])
    code, told = erasing(system, who, tmp_path, "--yes", "--json", "--cut-feeds")
    assert code == 0, told
    done = json.loads(told)
    assert done["stays"] == []
    assert done["done"]["records of feeds"] > 0
    assert done["held"].keys() >= PLACES
    assert done["done"]["keys"] >= 3
    left = files_with(tmp_path, *marks)  # the backup's among them
    assert left == {}, left
    with opened_keyring(PersonKeySettings(), system.bootstrap_servers) as keys:
        opened = {topic: told_by(keys, records) for topic, records in kept.items()}  # the backup, by the keys of today
    assert min(map(len, (opened[topic] for topic in PLACES if "dead" not in topic))) > 0
    left = {mark: topics for mark in marks if (topics := [t for t, said in opened.items() if mark.encode() in said])}
    assert left == {}, left

    # the services go on without them, whatever their sources still say
    system.stack.restart_all(services)
    feeder.feed(last_words, lambda _: None)
    assert wait_until_quiet(system, lag, within=60) == {}
    code, told = erasing(system, who, tmp_path, "--dry-run")
    assert (code, f"nothing is held on {who!r} any more: erased at 20" in told) == (3, True), told
    assert system.stack.dead() == {}


def dies(_: object) -> None:
    raise OSError("the power is gone")


def last_words_of(who: str, sponsor: str) -> list[FeedRecord]:
    at = utc(2026, 10, 12, 9)

    def say(feed: str, source: str, of_type: str, number: int, data: dict[str, object]) -> FeedRecord:
        return feed_record(
            feed, event_id=f"last-{number}", source=source, event_type=of_type, subject=who, time=at, data=data
        )

    achieved = {
        "achievement_id": "last-of-all",
        "employee": who,
        "title": f"Built the {TITLE}",
        "occurred_on": "2026-09-30",
    }
    seen = achieved | {"achievement_id": "seen-by-them", "employee": STRANGER}
    endorsed = {"endorsement_id": "the-last", "employee": who, "sponsor": sponsor, "statement": f"A true {STATEMENT}"}
    return [
        say("people", "hris", "employee.changed", 1, {"employee_id": who, "name": NAME, "email": MAIL}),
        say("achievements", "recognition", "achievement.recorded", 2, achieved | {"witnesses": [sponsor]}),
        say("endorsements", "portal", "endorsement.given", 3, endorsed),
        say("people", "hris", "employee.changed", 4, {"employee_id": who, "email": MAIL, "timezone": "Nowhere/At All"}),
        say("achievements", "recognition", "achievement.recorded", 5, seen | {"witnesses": [who, MAIL]}),
        say("people", "hris", "employee.left", 6, {"employee_id": who}),
    ]


def erasing(system: System, who: str, tmp_path: Path, *more: str) -> tuple[int, str]:
    """Return the command's exit code and what it said."""
    places = ["--database-url", f"sqlite:///{tmp_path}/insights.db", "--portal-database", str(tmp_path / "portal.db")]
    places += ["--data-dir", str(tmp_path / "faust")]
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = tracker(["person", "erase", who, "--bootstrap-servers", system.bootstrap_servers, *places, *more])
    return code, said.getvalue()


def a_copy_of_everything(system: System, folder: Path) -> dict[str, list[Record]]:
    """Back up what an operator does, beside the files themselves; return the records as they lie, by topic."""
    for name in BACKED_UP:
        shutil.copytree(folder / name, folder / "backup" / name, copy_function=copy_data)
    topics = partitions_by_topic(system.bootstrap_servers)
    return {
        topic: list(read_to_the_end(system.bootstrap_servers, topic, partitions))
        for topic, partitions in topics.items()
        if not topic.startswith("__")
    }


def told_by(keys: Keyring, records: list[Record]) -> bytes:
    """Return all that somebody who has the keys can read of these."""
    opened = keys.open_all(records, although_erased=True)
    return b"\n".join(part for r in opened for part in (r.key or b"", r.value or b"", *(v for _, v in r.headers)))


def copy_data(source: str, target: str) -> None:
    with contextlib.suppress(FileNotFoundError):  # Kafka has deleted it meanwhile
        Path(target).write_bytes(data_of(Path(source)))


def files_with(folder: Path, *marks: str) -> dict[str, list[str]]:
    """Return the files in which each mark lies, of those that are found."""
    found: dict[str, list[str]] = defaultdict(list)
    for file in sorted(folder.rglob("*")):
        try:
            data = data_of(file) if file.is_file() else b""
        except FileNotFoundError:  # Kafka has deleted it meanwhile
            continue
        for mark in marks:
            if mark.encode() in data:
                found[mark].append(str(file.relative_to(folder)))
    return dict(found)


def data_of(file: Path) -> bytes:
    """Return the bytes of a file without its holes: a broker's indexes have gigabytes, which take minutes to read."""
    parts: list[bytes] = []
    with file.open("rb") as opened:
        at, end = 0, os.fstat(opened.fileno()).st_size
        while at < end:
            try:
                at = os.lseek(opened.fileno(), at, os.SEEK_DATA)
            except OSError as exc:
                if exc.errno != errno.ENXIO:  # nothing but a hole from here on
                    raise
                break
            hole = os.lseek(opened.fileno(), at, os.SEEK_HOLE)
            parts.append(os.pread(opened.fileno(), hole - at, at))
            at = hole
    return b"\x00".join(parts)
