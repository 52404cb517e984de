"""What services have of others once a person has been erased."""

from __future__ import annotations

from datetime import timedelta

import msgspec

from services.people.forgetting import forget as forget_in_people
from services.people.history import in_force, timeline
from services.people.state import Contact, Fields, Patch, PersonState, Tie, TieFact, Watcher
from services.prompter.forgetting import forget as forget_in_prompter
from services.prompter.state import Choices, Held, Outgoing, Part, Sponsor
from shared.contracts.base import utc
from shared.contracts.ids import EmployeeId, EventId, Ref, RelationshipId, UnitId
from shared.streaming.intake import forget_parked
from shared.streaming.sealing import cleaned

T = utc(2026, 1, 1)
GONE = EmployeeId("S1")


# -- people ---------------------------------------------------------------------------------------


def a_patch(manager: str, day: int) -> Patch:
    fields = Fields(name="Ann", level=4, level_since=T.date(), unit_id=UnitId("eng"), manager_id=EmployeeId(manager))
    return Patch(T + timedelta(days=day), T, EventId(f"e{day}"), fields)


def a_tie(relationship: str, other: str) -> Tie:
    fact = TieFact(T, EventId(relationship), "mentoring", "sponsor", EmployeeId(other), T)
    return Tie(RelationshipId(relationship), started=fact)


def test_people_forgets_managers_ties_watchers_and_contacts() -> None:
    person = PersonState(
        EmployeeId("E1"),
        patches=(a_patch("M1", 0), a_patch("S1", 1)),
        base={"manager_id": a_patch("S1", 0)},
        ties=(a_tie("R1", "S1"), a_tie("R2", "T1")),
        watchers={EmployeeId("S1"): Watcher(tied=True), EmployeeId("T1"): Watcher(tied=True)},
        contacts=(Contact(GONE, "Sam", 9, False, 1), Contact(EmployeeId("C1"), "Cem", 8, False, 1)),
        manager_told=GONE,
    )
    left = forget_in_people(person, GONE)
    assert b"S1" not in msgspec.msgpack.encode(left)
    assert b"Sam" not in msgspec.msgpack.encode(left)
    assert [tie.relationship_id for tie in left.ties] == ["R2"]
    assert (list(left.watchers), [contact.employee_id for contact in left.contacts]) == (["T1"], ["C1"])
    now = in_force(timeline(left), T + timedelta(days=2))
    assert now is not None
    assert (now.name, now.manager_id) == ("Ann", None)
    assert forget_in_people(left, GONE) == left


# -- prompter -------------------------------------------------------------------------------------


def a_held(employee: str) -> Held:
    return Held(1, b"{}", 0, True, employee, T)


def test_the_prompter_forgets_prompts_about_them_and_a_message_that_tells_of_one() -> None:
    said = {"E1": (T, "e1"), "E2": (T, "e2")}
    choices = Choices(not_mine=said, mine=said)
    sponsor = Sponsor("S1", prompts={"p1": a_held("E1"), "p2": a_held("E2")}, choices=choices)
    digest = Outgoing("m", "digest", (Part("p1", 1, "r1"), Part("p2", 1, "r2")))
    other = Outgoing("m", "ask", (Part("p2", 1, "r2"),))
    left = forget_in_prompter(msgspec.structs.replace(sponsor, outgoing=digest), "E1")
    assert (list(left.prompts), list(left.choices.not_mine), left.outgoing) == (["p2"], ["E2"], None)
    assert list(left.choices.mine) == ["E2"]
    assert forget_in_prompter(msgspec.structs.replace(sponsor, outgoing=other), "E1").outgoing == other
    assert forget_in_prompter(sponsor, "E9") == sponsor


# -- parked events --------------------------------------------------------------------------------


def test_what_is_parked_under_their_name_goes_and_what_names_them_loses_the_name() -> None:
    def erased(ref: Ref) -> bool:
        return ref == "email:e@x.example"

    def clean(topic: str, key: bytes | None, value: bytes) -> bytes | None:
        return cleaned(topic, key, value, erased, lambda _: "erased-1")

    origin = msgspec.msgpack.encode({"key": b"u@x.example", "partition": 0, "offset": 1, "time": T})
    value = b'{"data":{"giver":{"email":"e@x.example"},"receiver":{"email":"u@x.example"}}}'
    kept = msgspec.msgpack.encode({"value": value, "headers": [("parked-from", origin)]})
    assert forget_parked("achievements", "0/email:e@x.example", kept, clean, erased) is None
    assert forget_parked("achievements", "n/email:e@x.example", b"1", clean, erased) is None
    assert forget_parked("achievements", "n/email:u@x.example", b"1", clean, erased) == b"1"
    left = forget_parked("achievements", "0/email:u@x.example", kept, clean, erased)
    assert left is not None
    assert b"e@x.example" not in left.replace(b"u@x.example", b"")
    assert b"erased-1@erased.invalid" in left
