"""What the command says when it may not begin, and what of states it leaves."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

import pytest

from deploy.tracker.__main__ import main
from deploy.tracker.erasing import Erasure
from deploy.tracker.searching import Marks
from services.correlator.state import EmployeeState, Person, decode_employee, encode_employee
from services.people.state import PersonState, Watcher, read_person, write_state
from services.prompter.state import Held, Sponsor, decode, encode
from shared.contracts.base import utc
from shared.contracts.ids import EmployeeId, Ref


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
    assert left_of("somebody-elses-changelog", "x", b"E1") == b"E1"  # told as what stays
