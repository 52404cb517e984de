"""What is sealed of a record, under whose keys, and what is left when one of them is gone."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shared.contracts.base import utc
from shared.contracts.ids import EventId, Ref
from shared.streaming.attribution import Attribution, write_attribution
from shared.streaming.sealing import (
    Broken,
    Content,
    cleaned,
    is_sealed,
    key_ids_of,
    names_in,
    open_sealed,
    others_in,
    piece_key_ids,
    seal,
    with_opened_pieces,
    with_sealed_pieces,
    without_pieces,
)
from shared.streaming.topics import (
    CAREER_EVENTS,
    GAPS,
    IDENTITIES,
    PEOPLE_CHANGES,
    PROMPTS,
    SCIM_RESOURCES,
    attributed_topic,
    dead_topic,
    feed_topic,
)

KEYS = {letter * 16: letter.lower() * 32 for letter in (b"A", b"B", b"C")}
IDS = {Ref("hris:E1"): b"A" * 16, Ref("hris:S1"): b"B" * 16, Ref("email:w@x.example"): b"C" * 16}


def named(topic: str, value: Any, key: bytes | None = None) -> set[str]:
    return set(names_in(topic, key, value if isinstance(value, bytes) else json.dumps(value).encode()))


def test_our_own_events_are_about_the_people_of_their_ids() -> None:
    assert named(CAREER_EVENTS, {"employee_id": "E1", "sponsor_id": "S1"}) == {"hris:E1", "hris:S1"}
    assert named(
        CAREER_EVENTS, {"employee_id": "E1", "person": {"person_id": "S1", "refs": ["email:s@x.example"]}}
    ) == {
        "hris:E1",
        "hris:S1",
    }
    assert named(PEOPLE_CHANGES, {"employee_id": "E1", "contact_id": "C1", "manager_id": "M1"}) == {
        "hris:E1",
        "hris:C1",
    }
    assert named(PROMPTS, {"employee_id": "E1", "sponsor_id": "S1"}) == {"hris:E1", "hris:S1"}
    assert named(IDENTITIES, b"E1", b"email:Ann@X.example") == {"hris:E1", "email:ann@x.example"}
    claim = {"type": "ref.claimed", "ref": "email:ann@x.example", "employee_id": "E1"}
    assert named(IDENTITIES, claim, b"email:ann@x.example E1") == {"hris:E1", "email:ann@x.example"}
    merge = {"type": "employee.merged_into", "employee_id": "E1", "into_id": "E2"}
    assert named(IDENTITIES, merge, b"E1") == {"hris:E1", "hris:E2"}
    note = write_attribution(Attribution(EventId("1"), utc(2026, 1, 1), 0, 7, (("hris:E1", "E1"), ("jira:s", "S1"))))
    assert named(attributed_topic("endorsements"), note, b"hris:E1") == {"hris:E1", "jira:s", "hris:S1"}
    assert named(CAREER_EVENTS, {"type": "clock.ticked", "employee_id": None}) == set()
    assert named(PEOPLE_CHANGES, {"type": "unit.stated", "unit_id": "U1"}, b"U1") == set()


def test_what_sources_send_is_about_everybody_whom_it_names() -> None:
    recognition = {"data": {"giver": {"email": "G@x.example"}, "receiver": {"email": "r@x.example"}, "reason": "a@ b"}}
    assert named(feed_topic("achievements"), recognition, b"r@x.example") == {"email:g@x.example", "email:r@x.example"}
    hired = {"data": {"employee_id": "E1", "manager_id": "M1", "email": "e@x.example"}}
    assert named(feed_topic("people"), hired, b"E1") == {"hris:E1", "hris:M1", "email:e@x.example"}
    said = {"data": {"employee": "E1", "other": "github:o", "witnesses": ["W1"]}}
    assert named(feed_topic("people"), said, b"ann") == {"hris:E1", "github:o", "hris:W1"}
    assert named(feed_topic("achievements"), {"data": {"assignee": "ann"}}, b"jira:ann") == {"jira:ann"}
    assert named(feed_topic("cycles"), {"data": {"cycle_id": "C1"}}, b"C1") == set()


def test_what_can_not_be_read_is_about_whom_it_still_names() -> None:
    torn = b'{"employee_id": "E1", "manager_id":"M1", mail w@x.example'
    assert named(dead_topic(feed_topic("people")), torn) == {"hris:E1", "hris:M1", "email:w@x.example"}
    assert named(dead_topic(CAREER_EVENTS), b"\xff\x00", b"E1") == {"hris:E1"}


def test_a_sealed_record_tells_nothing_and_opens_whole() -> None:
    content = Content(b"E1", b'{"title": "Checkout"}', (("parked-from", b"E1"),))
    value = seal(CAREER_EVENTS, content, [b"A" * 16, b"B" * 16], KEYS.get)
    assert is_sealed(value)
    assert not is_sealed(content.value)
    assert b"E1" not in value
    assert b"Checkout" not in value
    assert list(key_ids_of(value)) == [b"A" * 16, b"B" * 16]
    assert open_sealed(CAREER_EVENTS, value, KEYS.get) == content


@pytest.mark.parametrize("gone", [b"A" * 16, b"B" * 16])
def test_a_record_about_two_people_is_gone_with_the_key_of_either(gone: bytes) -> None:
    value = seal(CAREER_EVENTS, Content(b"E1", b"{}", ()), [b"A" * 16, b"B" * 16], KEYS.get)
    left = {key_id: key for key_id, key in KEYS.items() if key_id != gone}
    assert open_sealed(CAREER_EVENTS, value, left.get) is None


def test_what_was_altered_or_moved_to_another_topic_is_told() -> None:
    value = seal(CAREER_EVENTS, Content(b"E1", b"{}", ()), [b"A" * 16], KEYS.get)
    for broken, topic in ((value[:-1] + bytes((value[-1] ^ 1,)), CAREER_EVENTS), (value, PROMPTS), (value[:20], "x")):
        with pytest.raises(Broken):
            open_sealed(topic, broken, KEYS.get)


AN_ACHIEVEMENT = {"employee_id": "E1", "achievement": {"title": "T", "witnesses": ["email:w@x.example", "S1", "E1"]}}


def test_what_is_said_of_others_is_sealed_under_their_own_keys_and_falls_out_with_them() -> None:
    value = json.dumps(AN_ACHIEVEMENT, separators=(",", ":")).encode()
    assert others_in(CAREER_EVENTS, value) == {"email:w@x.example", "hris:S1"}
    sealed = with_sealed_pieces(CAREER_EVENTS, value, IDS.__getitem__, KEYS.get)
    assert b"w@x.example" not in sealed
    assert b'"S1"' not in sealed
    assert b'"E1"' in sealed  # whom it is about is sealed with the whole
    assert set(piece_key_ids(sealed)) == {b"B" * 16, b"C" * 16}
    assert json.loads(with_opened_pieces(CAREER_EVENTS, sealed, KEYS.get)) == AN_ACHIEVEMENT
    left = {key_id: key for key_id, key in KEYS.items() if key_id != b"C" * 16}
    opened = json.loads(with_opened_pieces(CAREER_EVENTS, sealed, left.get))
    assert opened["achievement"]["witnesses"] == ["S1", "E1"]
    gone = without_pieces(CAREER_EVENTS, value, lambda name: name == "hris:S1")
    assert json.loads(gone)["achievement"]["witnesses"] == ["email:w@x.example", "E1"]


def test_a_manager_becomes_nobody_and_people_who_are_suggested_fall_out() -> None:
    profile = {"employee_id": "E1", "profile": {"name": "Ann", "manager_id": "S1"}}
    gap = {"employee_id": "E1", "suggestions": [{"person_id": "S1", "name": "Sam"}]}
    for topic, said, left in (
        (CAREER_EVENTS, profile, {"employee_id": "E1", "profile": {"name": "Ann", "manager_id": None}}),
        (GAPS, gap, {"employee_id": "E1", "suggestions": []}),
    ):
        value = json.dumps(said, separators=(",", ":")).encode()
        sealed = with_sealed_pieces(topic, value, IDS.__getitem__, KEYS.get)
        assert b"Sam" not in sealed
        assert json.loads(with_opened_pieces(topic, sealed, KEYS.get)) == said
        assert json.loads(with_opened_pieces(topic, sealed, {}.get)) == left
        assert json.loads(without_pieces(topic, value, lambda _: True)) == left


def test_what_names_nobody_else_keeps_its_very_bytes() -> None:
    value = b'{ "employee_id":"E1","achievement":{"witnesses":["E1"]} }'
    assert with_sealed_pieces(CAREER_EVENTS, value, IDS.__getitem__, KEYS.get) is value
    assert with_opened_pieces(CAREER_EVENTS, value, KEYS.get) is value
    # what a source sends is not ours to take apart: it is gone with anybody whom it names
    assert others_in(feed_topic("achievements"), json.dumps(AN_ACHIEVEMENT).encode()) == set()


def test_of_what_sources_go_on_sending_an_erased_person_is_taken_out_by_a_pseudonym() -> None:
    def cleaned_of(value: Any, key: bytes | None, *gone: str) -> Any:
        raw = value if isinstance(value, bytes) else json.dumps(value).encode()
        left = cleaned(feed_topic("people"), key, raw, lambda name: name in gone, lambda _: "erased-1")
        return left if left is None or left is raw else json.loads(left)

    hired = {"data": {"employee_id": "E1", "manager_id": "M1", "email": "e@x.example"}}
    raw = json.dumps(hired).encode()
    assert cleaned_of(raw, b"E1", "hris:X") is raw
    assert cleaned_of(hired, b"E1", "hris:E1") is None
    assert cleaned_of(hired, b"E1", "hris:M1")["data"] == hired["data"] | {"manager_id": "erased-1"}
    tie = {"data": {"employee": "E1", "other": "m@x.example", "witnesses": ["M1"], "note": "M1 was there"}}
    assert cleaned_of(tie, b"E1", "hris:M1", "email:m@x.example")["data"] == {
        "employee": "E1",
        "other": "erased:erased-1",
        "witnesses": ["erased:erased-1"],
        "note": "M1 was there",
    }
    assert cleaned_of({"giver": {"email": "M@x.example"}}, b"E1", "email:m@x.example") == {
        "giver": {"email": "erased-1@erased.invalid"}
    }
    assert cleaned_of(b"torn m@x.example", None, "email:m@x.example") is None


def test_of_our_own_events_those_about_an_erased_person_are_nothing() -> None:
    value = b'{"employee_id":"E1","sponsor_id":"S1"}'
    assert cleaned(PROMPTS, b"S1", value, lambda name: name == "hris:S1", str) is None
    assert cleaned(PROMPTS, b"S1", value, lambda name: name == "hris:X", str) is value
    assert cleaned(IDENTITIES, b"email:s@x.example", b"S1", lambda name: name == "hris:S1", str) is None
    left = cleaned(
        CAREER_EVENTS, b"E1", json.dumps(AN_ACHIEVEMENT, separators=(",", ":")).encode(), lambda n: n == "hris:S1", str
    )
    assert left is not None
    assert b"S1" not in left


def test_what_an_identity_system_provisions_is_not_sealed_and_an_erased_user_is_not_taken() -> None:
    user = {"userName": "e@x.example", "name": {"familyName": "Lee"}}
    assert named(SCIM_RESOURCES, user, b"User/1") == set()
    value = json.dumps(user).encode()
    assert cleaned(SCIM_RESOURCES, b"User/1", value, lambda name: name == "email:e@x.example", str) is None
    assert cleaned(SCIM_RESOURCES, b"User/1", value, lambda name: name == "email:f@x.example", str) is value
