"""What an export of a person finds, and how it tells it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import create_engine, text

from deploy.tracker import searching
from deploy.tracker.__main__ import main
from deploy.tracker.searching import Marks
from services.correlator.state import EmployeeState, encode_employee
from shared.contracts.base import utc
from shared.portal_links import BadLink, read_own_link
from shared.streaming.reading import NotRead
from shared.streaming.records import Headers, Record

T = utc(2026, 1, 1)


def a_record(topic: str, key: bytes | None, value: bytes | None, headers: Headers = ()) -> Record:
    return Record(topic, 0, 7, key, value, headers, T)


LOG = {
    "identities": [
        a_record("identities", b"hris:E00036", b"E00036"),
        a_record("identities", b"email:ann.lee36@example.com", b"E00036"),
        a_record("identities", b"github:annlee", b"E00036"),
        a_record("identities", b"hris:E000361", b"E000361"),
    ],
    "career-events": [
        a_record("career-events", b"E00036", b'{"type": "employee.joined"}'),
        a_record("career-events", b"E00099", b'{"sponsor_id": "E00036"}'),
        a_record("career-events", b"E000361", b'{"employee_id": "E000361"}'),
    ],
    "feeds.achievements": [a_record("feeds.achievements", b"x", b'{"receiver": "Ann.Lee36@Example.com"}')],
    "feeds.people.dead": [a_record("feeds.people.dead", None, b"\xff garbled E00036", (("dead-reason", b"no JSON"),))],
    "c-standing-changelog": [
        a_record("c-standing-changelog", b"3/employee/E00036", encode_employee(EmployeeState("E00036"))),
        a_record(
            "c-standing-changelog", b"3/employee/E00099", msgspec.msgpack.encode({"sponsor": "E00036", "n": b"\x00"})
        ),
        a_record("c-standing-changelog", b"3/employee/E00036", None),
        a_record("c-standing-changelog", b"E00036", b"\xc1\x00"),
    ],
    "noted": [a_record("noted", b"1", b"{}", (("parked-from", b"E00036"),)), a_record("noted", b"2", b"{}")],
    "__consumer_offsets": [a_record("__consumer_offsets", b"E00036", b"E00036")],
}


@pytest.fixture(autouse=True)
def _a_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(_servers: str, topic: str, _partitions: Sequence[int] = (0,), **_: Any) -> Iterator[Record]:
        return iter(LOG[topic])

    monkeypatch.setattr(searching, "read_to_the_end", read)
    monkeypatch.setattr(searching, "partitions_by_topic", lambda _: {topic: [0] for topic in LOG})


def exported(capsys: pytest.CaptureFixture[str], *more: str) -> tuple[int, list[dict[str, Any]], str]:
    code = main(["person", "export", "E00036", *(more or ("--no-read-model",))])
    printed = capsys.readouterr()
    return code, [json.loads(line) for line in printed.out.splitlines()], printed.err


def test_a_person_is_looked_for_by_all_their_names_and_by_whole_words() -> None:
    marks = Marks("E00036", ["email:ann.lee36@example.com", "github:annlee"])
    assert marks.names == [
        "email:ann.lee36@example.com",
        "ann.lee36@example.com",
        "github:annlee",
        "E00036",
        "annlee",
    ]
    assert all(
        marks.name(told) for told in (b'"E00036"', b"end-E00036-E00099", b"mailto:Ann.Lee36@EXAMPLE.com", b"annlee")
    )
    assert not any(marks.name(told) for told in (b"E000361", b"annleed", b"ann.lee36@example.community", b"", None))


def test_each_record_that_names_them_is_there_and_no_other(capsys: pytest.CaptureFixture[str]) -> None:
    code, lines, err = exported(capsys)
    assert code == 0
    assert [(line["topic"], line["key"]) for line in lines] == [
        ("c-standing-changelog", "3/employee/E00036"),
        ("c-standing-changelog", "3/employee/E00099"),
        ("c-standing-changelog", "3/employee/E00036"),
        ("c-standing-changelog", "E00036"),
        ("career-events", "E00036"),
        ("career-events", "E00099"),
        ("feeds.achievements", "x"),
        ("feeds.people.dead", None),
        ("identities", "hris:E00036"),
        ("identities", "email:ann.lee36@example.com"),
        ("identities", "github:annlee"),
        ("noted", "1"),
    ]
    assert "looked for: email:ann.lee36@example.com" in err
    assert "career-events" in err


def test_events_states_texts_and_bytes_are_told_as_json_can_hold_them(capsys: pytest.CaptureFixture[str]) -> None:
    _, lines, _ = exported(capsys)
    state, others, gone, odd = (line["value"] for line in lines[:4])
    assert (state, gone) == ({"employee_id": "E00036"}, None)
    assert others == "a state of another's that names them; what it was made of is above"
    assert odd == {"base64": "wQA="}
    values = {(line["topic"], line["key"]): line["value"] for line in lines}
    assert values["career-events", "E00099"] == {"sponsor_id": "E00036"}
    assert values["identities", "hris:E00036"] == "E00036"
    assert [line["keyed_by_them"] for line in lines[4:6]] == [True, False]


def test_a_link_lets_its_person_in_to_their_own_page_for_as_many_days(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PORTAL_URL", "https://sponsorship.example.com/")
    monkeypatch.setenv("PORTAL_KEYS", f"{'n' * 32},{'o' * 32}")
    assert main(["person", "link", "E00036", "--days", "3"]) == 0
    printed = capsys.readouterr()
    before, token = printed.out.strip().rsplit("/", 1)
    assert before == "https://sponsorship.example.com/e"
    assert read_own_link(["n" * 32], token, datetime.now(UTC) + timedelta(days=2.9)) == "E00036"
    with pytest.raises(BadLink):
        read_own_link(["n" * 32], token, datetime.now(UTC) + timedelta(days=3.1))
    assert "as E00036, until" in printed.err


@pytest.mark.parametrize(("url", "keys"), [("", "n" * 32), ("https://x.example", ""), ("https://x.example", "short")])
def test_a_link_without_an_address_or_a_key_is_none(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, url: str, keys: str
) -> None:
    monkeypatch.setenv("PORTAL_URL", url)
    monkeypatch.setenv("PORTAL_KEYS", keys)
    assert main(["person", "link", "E00036"]) == 1
    assert ("PORTAL_KEYS" if url else "PORTAL_URL") in capsys.readouterr().err


@pytest.mark.parametrize("days", ["0", "91", "many", "-1"])
def test_a_link_for_ever_is_not_made(days: str) -> None:
    with pytest.raises(SystemExit):
        main(["person", "link", "E00036", "--days", days])


def test_rows_of_the_read_model_are_there(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'insights.db'}"
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("create table people (id text, name text)"))
        connection.execute(text("insert into people values ('E00036', 'Ann Lee'), ('E000361', 'Bo')"))
    engine.dispose()
    code, lines, err = exported(capsys, "--database-url", url)
    assert (code, lines[-1]) == (0, {"table": "people", "row": {"id": "E00036", "name": "Ann Lee"}})
    assert "people" in err


def test_a_read_model_that_is_not_there_is_told_and_not_made(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, _, err = exported(capsys, "--database-url", f"sqlite:///{tmp_path / 'none.db'}")
    assert (code, "--no-read-model" in err, list(tmp_path.iterdir())) == (1, True, [])


def test_nothing_held_and_kafka_away_are_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["person", "export", "E12345", "--no-read-model"]) == 3
    assert "nothing is held on 'E12345'" in capsys.readouterr().err

    def away(*_: object, **__: object) -> Iterator[Record]:
        raise NotRead("Kafka is away")

    monkeypatch.setattr(searching, "read_to_the_end", away)
    assert exported(capsys) == (1, [], "tracker person export: Kafka is away\n")
