"""What the command says when it may not begin, and what of states it leaves."""

from __future__ import annotations

import contextlib
import json
from argparse import Namespace
from collections.abc import Iterator
from typing import Any

import pytest
from kafka import TopicPartition

from deploy.tracker import erasing
from deploy.tracker.__main__ import main
from deploy.tracker.erasing import Erasure
from deploy.tracker.searching import Marks
from services.correlator.state import EmployeeState, Person, decode_employee, encode_employee
from services.people.state import PersonState, Watcher, read_person, write_state
from services.prompter.state import Held, Sponsor, decode, encode
from shared.contracts.base import utc
from shared.contracts.ids import EmployeeId, EventId, Ref
from shared.streaming.attribution import Attribution, write_attribution
from shared.streaming.records import Record


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PERSON_MARKS_KEY", "PERSON_MASTER_KEYS"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("command", [["person", "erase", "E1"], ["keys", "rewrap"]])
def test_without_keys_nobody_is_erased_and_nothing_rewrapped(command: list[str], capsys: Any) -> None:
    assert main(command) == 2
    assert "set PERSON_MARKS_KEY" in capsys.readouterr().err


def test_unfit_keys_are_told(capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERSON_MARKS_KEY", "short")
    assert main(["person", "erase", "E1"]) == 1
    assert "PERSON_MARKS_KEY: is shorter" in capsys.readouterr().err


class Refusing:
    """A keyring that knows one erased person."""

    def is_erased(self, ref: Ref) -> bool:
        return ref == "hris:E1"

    def cleaned(self, _topic: str, _key: bytes | None, value: bytes) -> bytes:
        return value.replace(b"E1", b"nobody")


def left_of(topic: str, key: str, value: bytes) -> bytes | None:
    erasure = Erasure(Namespace(employee="E1"), Refusing(), None, frozenset({Ref("hris:E1")}), Marks("E1", []))  # type: ignore[arg-type]
    return erasure.left(topic, key, value)


def test_of_each_service_s_states_theirs_go_and_others_lose_them() -> None:
    t = utc(2026, 1, 1)
    tied = Person(1, "Ann", 5, "UTC", ("hris:E1",), None, ())
    employee = encode_employee(EmployeeState("E2", people={"E1": tied}))
    person = write_state(PersonState(EmployeeId("E2"), watchers={EmployeeId("E1"): Watcher(tied=True)}))
    sponsor = encode(Sponsor("E2", prompts={"p": Held(1, b"", 0, True, "E1", t)}))
    of_e2 = {
        ("correlator-standing-changelog", "employee/E2"): (employee, lambda left: decode_employee(left).people),
        ("people-people-changelog", "person/E2"): (person, lambda left: read_person(left).watchers),
        ("prompter-sponsors-changelog", "E2"): (sponsor, lambda left: decode(left).prompts),
    }
    for (topic, key), (value, named) in of_e2.items():
        left = left_of(topic, key, value)
        assert left is not None
        assert named(left) == {}
        assert left_of(topic, key, left) == left  # and again changes nothing
        assert left_of(topic, key.replace("E2", "E1"), value) is None
    assert left_of("achievements-parked-changelog", "n/hris:E1", b"1") is None
    mine, theirs = (
        write_attribution(Attribution(EventId("1"), t, 0, 7, ((Ref("hris:E2"), EmployeeId("E2")), (ref, who))))
        for ref, who in ((Ref("jira:ann"), EmployeeId("E1")), (Ref("hris:E3"), EmployeeId("E3")))
    )
    for kind in ("e", "l"):
        assert left_of("achievements-parked-changelog", f"{kind}/hris:E2\x1f1", mine) is None
        assert left_of("achievements-parked-changelog", f"{kind}/hris:E2\x1f1", theirs) == theirs
    assert left_of("achievements-parked-changelog", "e/hris:E1\x1f1", theirs) is None
    assert left_of("somebody-elses-changelog", "x", b"E1") == b"E1"  # told as what stays


class Fake:
    """An erasure of which a test says what is held before and after, and what Kafka has not compacted."""

    opaque = "0123"
    names: frozenset[Ref] = frozenset()

    def __init__(self, held: dict[str, int], left: dict[str, int], late: list[str], traces: list[str]) -> None:
        self._held, self._left, self._late, self._traces = held, left, late, traces
        self.steps: list[str] = []
        self.keys = self

    def held(self) -> dict[str, int]:
        return self._left if "compact" in self.steps else self._held

    def traces(self) -> list[str]:
        return self._traces

    def kept_until(self, places: dict[str, int]) -> dict[str, str]:
        return dict.fromkeys(places, "for ever")

    def erased_before(self) -> str:
        return " any more: erased at noon by ann" if "refuse" in self.steps else ""

    def cuts(self) -> dict[str, int]:
        self.steps.append("cuts")
        return {}

    def compact(self) -> list[str]:
        self.steps.append("compact")
        return self._late

    def __getattr__(self, step: str) -> Any:
        return lambda *_: self.steps.append(step) or 1


@contextlib.contextmanager
def an_erasure(monkeypatch: pytest.MonkeyPatch, **fields: Any) -> Iterator[Fake]:
    fake = Fake(**({"held": {"career-events": 7}, "left": {}, "late": [], "traces": []} | fields))
    monkeypatch.setattr(erasing.Erasure, "of", lambda *_: fake)
    monkeypatch.setattr(erasing, "person_keys", lambda _: contextlib.nullcontext(Namespace(is_on=True)))
    yield fake


def test_refused_first_and_found_out_last_so_that_a_second_run_finds_the_rest(
    monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    with an_erasure(monkeypatch) as fake:
        assert main(["person", "erase", "E1", "--yes", "--json"]) == 0
    steps = ["check_that_it_may_begin", "refuse", "states", "rows", "files", "tombstones", "destroy", "compact"]
    assert fake.steps == steps
    told = json.loads(capsys.readouterr().out)
    assert (told["person"], told["held"], told["stays"]) == ("0123", {"career-events": 7}, [])


def test_what_lies_unsealed_in_feeds_is_deleted_where_that_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    with an_erasure(monkeypatch, left={"feeds.people": 2}):
        assert main(["person", "erase", "E1", "--yes"]) == 4
    assert "--cut-feeds" in capsys.readouterr().err
    with an_erasure(monkeypatch) as fake:
        assert main(["person", "erase", "E1", "--yes", "--cut-feeds", "--json"]) == 0
    # looked at before anything changes, for it may be refused; done once nobody can be asked any more who they were
    assert (fake.steps.index("cuts") < fake.steps.index("refuse"), fake.steps[-2:]) == (True, ["cut", "compact"])
    assert json.loads(capsys.readouterr().out)["done"]["records of feeds"] == 1


def a_cutter(monkeypatch: pytest.MonkeyPatch, read_to: int) -> tuple[Erasure, dict[TopicPartition, int]]:
    erasure = Erasure(
        Namespace(employee="E1"),
        Refusing(),  # type: ignore[arg-type]
        None,  # type: ignore[arg-type]
        frozenset(),
        Marks("E1", ["email:e@x.example"]),
        {"feeds.people": [0, 1], "career-events": [0]},
    )
    deleted: dict[TopicPartition, int] = {}

    class Admin:
        def list_group_offsets(self, groups: list[str]) -> Any:
            return {"people": {TopicPartition("feeds.people", 1): Namespace(offset=read_to)}}

        def list_partition_offsets(self, places: Any) -> Any:
            return {place: Namespace(offset=2) for place in places}

        def delete_records(self, places: dict[TopicPartition, int]) -> None:
            deleted.update(places)

    values = [(0, b"sealed"), (1, b'"E1"'), (1, b"to e@x.example"), (1, b"E11")]
    records = [
        Record("feeds.people", p, n + 5, None, value, (), utc(2026, 1, 1)) for n, (p, value) in enumerate(values)
    ]
    monkeypatch.setattr(Erasure, "_as_they_lie", lambda *_: iter(records))
    monkeypatch.setattr(Erasure, "_admin", lambda _: contextlib.nullcontext(Admin()))
    return erasure, deleted


def test_a_feed_is_cut_behind_the_last_record_that_names_them(monkeypatch: pytest.MonkeyPatch) -> None:
    erasure, deleted = a_cutter(monkeypatch, read_to=8)
    assert erasure.cut(erasure.cuts()) == 6
    assert deleted == {TopicPartition("feeds.people", 1): 8}
    assert erasure.cut({}) == 0


def test_a_feed_is_not_cut_where_its_service_has_not_read_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    erasure, deleted = a_cutter(monkeypatch, read_to=7)
    with pytest.raises(erasing.NotErased, match=r"people has read feeds.people/1 to 7 only, and all before 8"):
        erasure.cuts()
    assert deleted == {}


def test_who_is_erased_twice_is_told_when_that_was(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    with an_erasure(monkeypatch, held={}) as fake:
        fake.steps.append("refuse")
        assert main(["person", "erase", "E1", "--yes"]) == 3
    assert "nothing is held on 'E1' any more: erased at noon by ann" in capsys.readouterr().err


def test_what_stays_is_told_with_where_and_until_when(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    with an_erasure(monkeypatch, left={"feeds.people": 2}, late=["identities"]):
        assert main(["person", "erase", "E1", "--yes"]) == 4
    told = capsys.readouterr()
    assert "STAYS in feeds.people: 2, for ever" in told.out
    assert "Kafka has not compacted identities yet" in told.err


def test_nothing_is_changed_by_a_dry_run_or_without_a_word_from_somebody(
    monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    with an_erasure(monkeypatch) as fake:
        assert main(["person", "erase", "E1", "--dry-run"]) == 0
        assert fake.steps == []
        assert main(["person", "erase", "E1"]) == 1
        assert fake.steps == ["check_that_it_may_begin"]
    assert "add --yes" in capsys.readouterr().err


def test_of_somebody_of_whom_nothing_is_held_traces_alone_are_erased(monkeypatch: pytest.MonkeyPatch) -> None:
    with an_erasure(monkeypatch, held={}):
        assert main(["person", "erase", "E1", "--yes"]) == 3
    with an_erasure(monkeypatch, held={}, traces=["identities"]) as fake:
        assert main(["person", "erase", "E1", "--yes"]) == 0
    assert "compact" in fake.steps
