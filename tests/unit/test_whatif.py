"""What-if: the numbers of a cycle before it opens, the cycle's file, the snapshot's file, and what a person sees."""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from deploy.tracker import simulate
from deploy.tracker import snapshot as snapshot_command
from deploy.tracker.__main__ import main
from deploy.tracker.folding import BadSnapshot, Fold, opened_snapshot, write_snapshot
from deploy.tracker.whatif import TooLate, load_of, question
from shared.contracts.base import utc
from shared.contracts.career import CareerEvent, write_contract
from shared.streaming.reading import NotRead, Progress, unwatched
from shared.streaming.records import Record
from tests.career import (
    IN_CYCLE,
    OPENS,
    a_cycle,
    a_relationship,
    a_tick,
    a_tied_person,
    an_achievement,
    an_employee_joined,
    an_endorsement,
)

CLOCK = utc(2026, 2, 1)
PAYLOAD: dict[str, Any] = a_cycle().cycle.model_dump(mode="json")


def a_small_company() -> list[CareerEvent]:
    """E1 and E2 have the sponsor S1, E2 also S2; E3 nobody; E4 is out of scope."""
    events: list[CareerEvent] = [a_tick(CLOCK)]
    for who, level in (("E1", 5), ("E2", 5), ("E3", 5), ("E4", 3)):
        events.append(an_employee_joined(employee_id=who, name=f"Name {who}", level=level))
    for who, sponsor in (("E1", "S1"), ("E2", "S1"), ("E2", "S2")):
        events.append(a_relationship(employee_id=who, relationship_id=f"{who}-{sponsor}", other_id=sponsor))
        events.append(a_tied_person(sponsor, employee_id=who, name=f"[b]Sam[/b] {sponsor}"))
    events += [an_achievement(f"A{n}", employee_id="E1", competencies=("delivery",)) for n in range(5)]
    events += [
        a_relationship(employee_id="E3", kind="mentor", other_id="T1"),
        a_tied_person("T1", employee_id="E3", level=6),
    ]
    return [*events, an_endorsement(employee_id="E1", cycle_id=None, given_at=utc(2025, 6, 1), sponsor_id="S9")]


def a_fold(events: list[CareerEvent], until: datetime | None = None, poison: bytes | None = None) -> Fold:
    fold = Fold(until)
    values = [write_contract(event) for event in events] + ([poison] if poison is not None else [])
    for offset, value in enumerate(values):
        fold.take(Record("career-events", 0, offset, None, value, (), IN_CYCLE))
    return fold


@pytest.fixture(autouse=True)
def _without_kafka(monkeypatch: pytest.MonkeyPatch) -> None:
    def folded(
        _servers: str, _keys: object, until: datetime | None, _watch: Callable[[str], Progress]
    ) -> Iterator[Fold]:
        yield a_fold(a_small_company(), until, poison=b"{")

    monkeypatch.setattr(simulate, "folded", folded)
    monkeypatch.setattr(snapshot_command, "folded", folded)


@pytest.fixture
def cycle_file(tmp_path: Path) -> Path:
    path = tmp_path / "cycle.json"
    path.write_text(json.dumps(PAYLOAD))
    return path


def ran(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


# -- the numbers ----------------------------------------------------------------------------------


def test_prompts_load_and_gaps_are_counted(capsys: pytest.CaptureFixture[str], cycle_file: Path) -> None:
    code, out, err = ran(capsys, "simulate", "--cycle", cycle_file, "--json")
    told = json.loads(out)
    assert (code, err) == (0, "")
    assert [told[n] for n in ("employees", "in_scope", "spoken_for", "prompts", "gaps")] == [4, 3, 2, 3, 1]
    assert [told[n] for n in ("pieces", "without_evidence", "gaps_without_suggestion")] == [5, 2, 1]
    assert [(s["person_id"], s["prompts"]) for s in told["sponsors"]] == [("S1", 2), ("S2", 1)]
    assert told["by_level"] == [{"name": "5", "in_scope": 3, "prompts": 3, "gaps": 1}]
    assert told["by_unit"] == [{"name": "eng", "in_scope": 3, "prompts": 3, "gaps": 1}]
    assert told["as_of"] == "2026-03-01T00:00:00Z"


def test_a_person_sees_them_in_tables(capsys: pytest.CaptureFixture[str], cycle_file: Path) -> None:
    code, out, _ = ran(capsys, "simulate", "--cycle", cycle_file, "--top", "1")
    assert code == 0
    for pattern in (
        "If “Spring promotions” opened",
        r"of them in scope +3\b",
        r"would be asked +2 \(67 %\)",
        r"gaps +1 \(33 %\)",
        r"\[b\]Sam\[/b\] S1 +S1 +2",
        "and 1 more sponsors",
    ):
        assert re.search(pattern, out), pattern


def test_other_settings_are_compared(capsys: pytest.CaptureFixture[str], cycle_file: Path) -> None:
    code, out, _ = ran(capsys, "simulate", "--cycle", cycle_file, "--set", "CORRELATOR_EVIDENCE_PIECES=2")
    assert code == 0
    assert "What evidence_pieces 5 → 2 would change" in out
    assert "1 prompts would show other evidence, or the same in another order: 3 pieces go, 0 come" in out
    assert re.search(r"pieces of evidence in each +1.67 +0.67", out)


def test_other_suggestions_are_counted(capsys: pytest.CaptureFixture[str], cycle_file: Path) -> None:
    _, out, _ = ran(capsys, "simulate", "--cycle", cycle_file, "--json", "--set", "CORRELATOR_LEVELS_ABOVE=1")
    told = json.loads(out)
    assert told["change"]["gaps_with_other_suggestions"] == 1
    assert (told["gaps_without_suggestion"], told["with_other_settings"]["gaps_without_suggestion"]) == (1, 0)


def test_who_is_asked_already_counts_as_of_now_where_the_cycle_is_open() -> None:
    assert question(a_cycle().cycle, CLOCK).as_of == OPENS
    assert question(a_cycle().cycle, IN_CYCLE).as_of == IN_CYCLE
    assert question(a_cycle().cycle, None).as_of == OPENS


def test_a_cycle_that_would_be_over_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(TooLate, match="later closes_at"):
        question(a_cycle().cycle, utc(2026, 3, 31))
    path = tmp_path / "old.json"
    path.write_text(json.dumps({**PAYLOAD, "opens_at": "2026-01-01T00:00:00Z", "closes_at": "2026-01-31T00:00:00Z"}))
    code, _, err = ran(capsys, "simulate", "--cycle", path)
    assert (code, "nobody would be asked" in err) == (2, True)


@pytest.mark.parametrize(
    ("prompts", "gini", "nine_tenths"), [([3, 3, 3], 0.0, 3), ([1, 0], 0.5, 1), ([*([1] * 9), 91], 0.81, 1)]
)
def test_the_spread_of_the_load(prompts: list[int], gini: float, nine_tenths: int) -> None:
    load = load_of(prompts)
    assert load.gini == pytest.approx(gini)
    assert (load.nine_tenths, load.most, load.sponsors) == (nine_tenths, max(prompts), len(prompts))


# -- the cycle's file -----------------------------------------------------------------------------


def test_the_file_may_be_the_event_as_it_would_be_sent(capsys: pytest.CaptureFixture[str], cycle_file: Path) -> None:
    cycle_file.write_text(json.dumps({"specversion": "1.0", "type": "cycle.opened", "id": "1", "data": PAYLOAD}))
    assert ran(capsys, "simulate", "--cycle", cycle_file)[0] == 0


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "is no JSON"),
        ('{"cycle_id": "x"}', "kind: Field required"),
        ("[]", "Input should be"),
        (json.dumps({**PAYLOAD, "closes_at": PAYLOAD["opens_at"]}), "closes_at: .* is not after opens_at"),
    ],
)
def test_a_wrong_file_is_told_with_the_field(
    capsys: pytest.CaptureFixture[str], cycle_file: Path, content: str, says: str
) -> None:
    cycle_file.write_text(content)
    code, out, err = ran(capsys, "simulate", "--cycle", cycle_file)
    assert (code, out) == (2, "")
    assert re.search(f"{cycle_file.name}.*{says}", err), err


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("HALF_LIFE=3", "NAME is one of CORRELATOR_EVIDENCE_PIECES"),
        ("CORRELATOR_HALF_LIFE_DAYS", "write NAME=VALUE"),
        ("CORRELATOR_HALF_LIFE_DAYS=0", "half_life_days: Input should be greater"),
    ],
)
def test_a_wrong_setting_is_told(capsys: pytest.CaptureFixture[str], cycle_file: Path, change: str, says: str) -> None:
    code, _, err = ran(capsys, "simulate", "--cycle", cycle_file, "--set", change)
    assert (code, says in err) == (2, True), err


# -- the log and the snapshot ---------------------------------------------------------------------


def test_the_log_may_be_read_as_it_stood_then() -> None:
    later = [*a_small_company(), a_tick(OPENS), an_employee_joined(employee_id="E9"), a_tick(IN_CYCLE)]
    fold = a_fold(later, until=OPENS)
    assert ("E9" in fold.employees, fold.calendar.now) == (True, OPENS)
    fold = a_fold(later, until=utc(2026, 2, 15))
    assert ("E9" in fold.employees, fold.calendar.now) == (False, CLOCK)


def test_a_record_that_is_not_understood_is_left_out_and_counted() -> None:
    fold = a_fold(a_small_company(), poison=b"{")
    assert (len(fold.employees), fold.not_understood) == (4, 1)


def test_a_snapshot_gives_the_same_and_only_its_owner_reads_it(
    capsys: pytest.CaptureFixture[str], cycle_file: Path, tmp_path: Path
) -> None:
    path = tmp_path / "company.snapshot"
    code, out, err = ran(capsys, "snapshot", path)
    assert (code, "4 employees" in out, "2026-02-01" in out) == (0, True, True)
    assert "1 records were not understood" in err
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.glob("*.half")) == []
    for secret in (b"Checkout", b"Name E1", b"Ready for more"):
        assert secret not in path.read_bytes()
    from_snapshot = ran(capsys, "simulate", "--cycle", cycle_file, "--json", "--snapshot", path)
    assert from_snapshot == ran(capsys, "simulate", "--cycle", cycle_file, "--json")


@pytest.mark.parametrize("damage", [lambda whole: whole[:-1], lambda whole: b"x" + whole, lambda _: b""])
def test_a_file_that_is_no_whole_snapshot_is_refused(
    capsys: pytest.CaptureFixture[str], cycle_file: Path, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / "company.snapshot"
    write_snapshot(path, [(CLOCK, a_fold(a_small_company()).employees.values())])
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(BadSnapshot, match="make it anew"), opened_snapshot(path, unwatched("")):
        pass
    assert ran(capsys, "simulate", "--cycle", cycle_file, "--snapshot", path)[0] == 1


def test_a_snapshot_that_could_not_be_finished_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "company.snapshot"
    path.write_bytes(b"the old one")

    def breaks() -> Iterator[Any]:
        yield CLOCK, a_fold(a_small_company()).employees.values()
        raise NotRead("Kafka went away")

    with pytest.raises(NotRead):
        write_snapshot(path, breaks())
    assert path.read_bytes() == b"the old one"
    assert list(tmp_path.glob("*.half")) == []


def test_until_does_not_go_with_a_snapshot(capsys: pytest.CaptureFixture[str], cycle_file: Path) -> None:
    until = ("--until", "2026-01-01T00:00Z")
    code, _, err = ran(capsys, "simulate", "--cycle", cycle_file, "--snapshot", cycle_file, *until)
    assert (code, "tracker snapshot --until" in err) == (2, True)


@pytest.mark.parametrize(("text", "says"), [("soon", "is no time"), ("2026-01-01T00:00", "has no time zone")])
def test_a_wrong_time_is_told(capsys: pytest.CaptureFixture[str], cycle_file: Path, text: str, says: str) -> None:
    with pytest.raises(SystemExit) as ended:
        ran(capsys, "simulate", "--cycle", cycle_file, "--until", text)
    assert (ended.value.code, says in capsys.readouterr().err) == (2, True)


def test_an_empty_log_is_told(
    capsys: pytest.CaptureFixture[str], cycle_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simulate, "folded", lambda *_: iter([Fold(None)]))
    code, _, err = ran(capsys, "simulate", "--cycle", cycle_file)
    assert (code, "nobody is known" in err) == (0, True)


def test_without_kafka_the_reason_is_told(
    capsys: pytest.CaptureFixture[str], cycle_file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def away(*_: object) -> Iterator[Fold]:
        raise NotRead("Kafka is away")
        yield  # pragma: no cover

    for module in (simulate, snapshot_command):
        monkeypatch.setattr(module, "folded", away)
    assert ran(capsys, "simulate", "--cycle", cycle_file) == (1, "", "tracker simulate: Kafka is away\n")
    assert ran(capsys, "snapshot", tmp_path / "x") == (1, "", "tracker snapshot: Kafka is away\n")
