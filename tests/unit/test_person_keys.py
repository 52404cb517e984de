"""What a process does with keys: seals, opens, refuses the erased, and tells a destroyed key from one not known yet."""

from __future__ import annotations

import base64
import json
from typing import Any

import msgspec
import pytest
from pydantic import ValidationError

from shared.contracts.base import utc
from shared.contracts.ids import Ref
from shared.service.settings import PersonKeySettings
from shared.streaming.person_keys import BadKeys, Keyring
from shared.streaming.records import Output, Record
from shared.streaming.sealing import is_sealed
from shared.streaming.topics import CAREER_EVENTS, IDENTITIES, dead_topic, feed_topic, partition_of
from tests.no_keys import no_keys

T = utc(2026, 1, 1)
FIRST, SECOND = (base64.b64encode(letter * 32).decode() for letter in (b"1", b"2"))


class Shared(Keyring):
    """A keyring whose topic is a dict that several may have in common."""

    def __init__(self, topic: dict[bytes, bytes | None], *masters: str, marks: str = "m" * 32) -> None:
        super().__init__(
            PersonKeySettings(PERSON_MARKS_KEY=marks, PERSON_MASTER_KEYS=",".join(masters) or None), "nowhere:9"
        )
        self.topic = topic
        self.catch_up()

    def _write(self, records: Any) -> None:
        self.topic.update(records)
        self.catch_up()

    def catch_up(self) -> None:
        for place, value in self.topic.items():
            self._learn(place, value)

    def _newest(self) -> dict[bytes, bytes | None]:
        return dict(self.topic)


def an_output(value: Any, key: bytes | None = b"E1", topic: str = CAREER_EVENTS) -> Output:
    return Output(topic, key, value if value is None else msgspec.json.encode(value))


def as_record(output: Output) -> Record:
    return Record(output.topic, output.partition or 0, 0, output.key, output.value, output.headers, T)


def opened_by(keys: Keyring, *outputs: Output) -> list[Any]:
    return [json.loads(r.value or b"null") for r in keys.open_all([as_record(output) for output in outputs])]


def test_empty_keys_are_none() -> None:
    settings = PersonKeySettings(PERSON_MARKS_KEY="", PERSON_MASTER_KEYS="")
    assert (settings.person_marks_key, settings.person_master_keys) == (None, None)


def test_without_settings_nothing_is_touched() -> None:
    outputs = [an_output({"employee_id": "E1"})]
    keys = no_keys()
    assert keys.seal_all(outputs) is outputs
    assert not keys.is_erased(Ref("hris:E1"))


def test_what_one_process_seals_another_opens_and_its_place_is_that_of_its_key() -> None:
    topic: dict[bytes, bytes | None] = {}
    said = Output(CAREER_EVENTS, b"E1", b'{"employee_id":"E1"}', headers=(("parked-from", b"E1"),))
    (sealed,) = Shared(topic, FIRST).seal_all([said])
    assert is_sealed(sealed.value)
    assert sealed.partition == partition_of(b"E1")
    assert sealed.headers == ()
    assert b"E1" not in (sealed.key or b"") + (sealed.value or b"")
    (record,) = Shared(topic, FIRST).open_all([as_record(sealed)])
    assert (record.key, record.value, record.headers) == (said.key, said.value, said.headers)
    # dead letter topics have one partition
    (letter,) = Shared(topic, FIRST).seal_all([an_output({"employee_id": "E1"}, topic=dead_topic(CAREER_EVENTS))])
    assert letter.partition is None


def test_what_is_about_nobody_stays_as_it_is() -> None:
    tick, tombstone = an_output({"type": "clock.ticked", "employee_id": None}, None), an_output(None)
    assert list(Shared({}, FIRST).seal_all([tick, tombstone])) == [tick, tombstone]


def test_a_destroyed_key_takes_its_records_and_no_others() -> None:
    topic: dict[bytes, bytes | None] = {}
    keys = Shared(topic, FIRST)
    outputs = keys.seal_all(
        [
            an_output({"employee_id": "E1", "other_id": "S1"}),
            an_output({"employee_id": "E2", "profile": {"manager_id": "E1"}}, b"E2"),
            an_output({"employee_id": "E2"}, b"E2"),
        ]
    )
    assert keys.destroy([Ref("hris:E1")]) == 1
    assert keys.destroy([Ref("hris:E1")]) == 0
    for who in (keys, Shared(topic, FIRST)):
        assert opened_by(who, *outputs) == [
            {"employee_id": "E2", "profile": {"manager_id": None}},
            {"employee_id": "E2"},
        ]
    compacted = {place: value for place, value in topic.items() if value is not None}
    assert len(opened_by(Shared(compacted, FIRST), *outputs)) == 2


def test_two_keys_of_one_name_both_open_and_are_destroyed_together() -> None:
    one: dict[bytes, bytes | None] = {}
    other: dict[bytes, bytes | None] = {}
    first, second = Shared(one, FIRST), Shared(other, FIRST)
    outputs = [keys.seal_all([an_output({"employee_id": "E1"})])[0] for keys in (first, second)]
    both = Shared(one | other, FIRST)
    assert len(opened_by(both, *outputs)) == 2
    assert both.destroy([Ref("hris:E1")]) == 2
    assert opened_by(both, *outputs) == []


def test_an_erased_person_is_refused_for_good_by_any_of_their_names_sealed_or_not() -> None:
    for masters in ((), (FIRST,)):
        topic: dict[bytes, bytes | None] = {}
        keys = Shared(topic, *masters)
        keys.refuse([Ref("hris:E1"), Ref("email:e@x.example")], T, "ann")
        assert all(b"E1" not in place and b"x.example" not in place for place in topic)
        assert {json.loads(value or b"")["by"] for value in topic.values()} == {"ann"}
        late = [
            an_output({"employee_id": "E1"}),
            an_output({"data": {"employee": "e@x.example"}}, b"e@x.example", feed_topic("achievements")),
            Output(IDENTITIES, b"github:e", b"E1"),
            an_output({"employee_id": "E2"}, b"E2"),
        ]
        assert set(keys.erased()) == {keys.opaque(Ref("hris:E1")), keys.opaque(Ref("email:e@x.example"))}
        again = Shared(topic, *masters)
        assert opened_by(again, *again.seal_all(late)) == [{"employee_id": "E2"}]
        # written by somebody who knows nothing of it
        assert opened_by(again, *late) == [{"employee_id": "E2"}]


def test_a_master_key_is_replaced_by_wrapping_anew() -> None:
    topic: dict[bytes, bytes | None] = {}
    outputs = Shared(topic, FIRST).seal_all([an_output({"employee_id": "E1"})])
    with pytest.raises(BadKeys, match="PERSON_MASTER_KEYS"):
        opened_by(Shared(topic, SECOND), *outputs)
    assert Shared(topic, SECOND, FIRST).rewrap() == 1
    assert Shared(topic, SECOND, FIRST).rewrap() == 0
    assert opened_by(Shared(topic, SECOND), *outputs) == [{"employee_id": "E1"}]


def test_sealed_records_without_master_keys_are_an_error_and_no_silence() -> None:
    topic: dict[bytes, bytes | None] = {}
    outputs = Shared(topic, FIRST).seal_all([an_output({"employee_id": "E1"})])
    with pytest.raises(BadKeys, match="PERSON_MASTER_KEYS"):
        opened_by(Shared(topic), *outputs)


def test_what_was_altered_comes_as_it_lies_for_its_reader_to_bury() -> None:
    keys = Shared({}, FIRST)
    (sealed,) = keys.seal_all([an_output({"employee_id": "E1"})])
    altered = Output(sealed.topic, sealed.key, (sealed.value or b"")[:-1] + b"!", sealed.partition)
    assert [record.value for record in keys.open_all([as_record(altered)])] == [altered.value]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"PERSON_MARKS_KEY": "short"}, "PERSON_MARKS_KEY: is shorter"),
        ({"PERSON_MASTER_KEYS": FIRST}, "needs PERSON_MARKS_KEY"),
        ({"PERSON_MARKS_KEY": "m" * 32, "PERSON_MASTER_KEYS": f"{FIRST},c2hvcnQ="}, "key 2 is not 32 bytes"),
    ],
)
def test_unfit_keys_are_refused_and_not_shown(given: dict[str, str], said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        PersonKeySettings(**given)
    (error,) = caught.value.errors()
    assert said in error["msg"]
    assert "short" not in error["msg"].replace("shorter", "")
