"""How entries of each service's state lie on disk where they are sealed, and what is left when a key is gone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from services.people.forgetting import PEOPLE
from services.people.forgetting import forget as forget_in_people
from services.people.state import (
    Contact,
    Fields,
    Merge,
    Patch,
    PersonState,
    Tie,
    TieFact,
    Watcher,
    read_person,
    write_state,
)
from services.prompter.forgetting import SPONSORS
from services.prompter.forgetting import forget as forget_in_prompter
from services.prompter.state import Choices, Held, Outgoing, Part, Sponsor, decode, encode
from shared.contracts.base import utc
from shared.contracts.ids import EmployeeId, EventId, Ref, RelationshipId
from shared.streaming.attribution import Attribution, write_attribution
from shared.streaming.intake import parked_shape
from shared.streaming.person_keys import BadKeys, Keyring
from shared.streaming.records import Poison, Record
from shared.streaming.sealing import is_sealed
from shared.streaming.state import KeyedState, SealedAtRest
from tests.sealed import Keys
from tests.states import a_state
from tests.unit.test_engine_store import Stores
from tests.unit.test_person_keys import FIRST, SECOND, Shared

T = utc(2026, 1, 1)


# -- whose is what --------------------------------------------------------------------------------


def a_person() -> PersonState:
    def a_patch(manager: str, day: int) -> Patch:
        return Patch(utc(2026, 1, day), T, EventId(f"e{day}"), Fields(name="Annabel", manager_id=EmployeeId(manager)))

    def a_tie(relationship: str, other: str, ended_by: str | None = None) -> Tie:
        started = TieFact(T, EventId(relationship), "mentoring", "sponsor", EmployeeId(other), T)
        ended = None if ended_by is None else msgspec.structs.replace(started, other_id=EmployeeId(ended_by))
        return Tie(RelationshipId(relationship), started, ended)

    return PersonState(
        EmployeeId("E1"),
        patches=(a_patch("S1", 1), a_patch("M1", 2), a_patch("", 3)),
        base={"manager_id": a_patch("S1", 1), "name": a_patch("M1", 1)},
        refs=(Ref("email:ann@x.example"),),
        merged=Merge(T, EventId("m"), EmployeeId("S1")),
        ties=(a_tie("of-S1", "S1"), a_tie("of-T1", "T1"), a_tie("of-both", "T1", "S1")),
        watchers={EmployeeId("T1"): Watcher(tied=True), EmployeeId("S1"): Watcher(tied=True)},
        contacts=(Contact(EmployeeId("S1"), "Sam", 9, False, 1), Contact(EmployeeId("C1"), "Cem", 8, False, 1)),
        manager_told=EmployeeId("S1"),
    )


def test_of_a_person_the_ties_to_somebody_whose_key_is_gone_fall_out() -> None:
    person, keys = a_person(), Keys()
    sealed = keys.seal("people-people-changelog", PEOPLE, "person/E1", write_state(person))
    for mark in (b"ann@x.example", b"of-both", b"mentoring"):
        assert mark not in sealed
    assert read_person(keys.open("people-people-changelog", PEOPLE, sealed) or b"") == person
    left = Keys(but="S1", like=keys).open("people-people-changelog", PEOPLE, sealed) or b""
    assert read_person(left) == forget_in_people(person, EmployeeId("S1"))
    assert b"S1" not in left
    assert Keys(but="E1", like=keys).open("people-people-changelog", PEOPLE, sealed) is None


def test_of_a_sponsor_the_prompts_about_somebody_whose_key_is_gone_fall_out() -> None:
    said = {"E1": (T, "e1"), "E2": (T, "e2")}
    held = {f"p{n}": Held(1, b'{"name":"Annabel"}', n, True, f"E{n}", T) for n in (1, 2)}
    digest = Outgoing("m", "digest", (Part("p1", 1, "r1"), Part("p2", 1, "r2")))
    sponsor = Sponsor("S1", prompts=held, choices=Choices(not_mine=said, mine=said), outgoing=digest)
    keys = Keys()
    sealed = keys.seal("prompter-sponsors-changelog", SPONSORS, "S1", encode(sponsor))
    assert b"Annabel" not in sealed
    assert decode(keys.open("prompter-sponsors-changelog", SPONSORS, sealed) or b"") == sponsor
    left = Keys(but="E1", like=keys).open("prompter-sponsors-changelog", SPONSORS, sealed) or b""
    assert decode(left) == forget_in_prompter(sponsor, "E1")


def test_what_is_parked_and_notes_of_it_are_gone_with_anybody_whom_they_name() -> None:
    shape, changelog = parked_shape("achievements"), "achievements-parked-changelog"
    origin = msgspec.msgpack.encode({"key": b"u@x.example", "partition": 0, "offset": 1, "time": T})
    value = b'{"data":{"giver":{"email":"g@x.example"},"receiver":{"email":"u@x.example"}}}'
    kept = msgspec.msgpack.encode({"value": value, "headers": [("parked-from", origin)]})
    note = write_attribution(Attribution(EventId("1"), T, 0, 7, ((Ref("email:g@x.example"), EmployeeId("E2")),)))
    keys = Keys()
    for key, entry, gone in (
        ("0/email:u@x.example", kept, ("u@x.example", "g@x.example")),
        ("n/email:u@x.example", b"1", ("u@x.example",)),
        ("m/email:u@x.example", b"1", ("u@x.example",)),
        ("e/email:u@x.example\x1f1", note, ("u@x.example", "g@x.example", "E2")),
        ("l/email:u@x.example\x1f1", note, ("u@x.example", "g@x.example", "E2")),
    ):
        sealed = keys.seal(changelog, shape, key, entry)
        assert b"x.example" not in sealed
        assert keys.open(changelog, shape, sealed) == entry
        for who in gone:
            assert Keys(but=who, like=keys).open(changelog, shape, sealed) is None
        assert Keys(but="else@x.example", like=keys).open(changelog, shape, sealed) == entry
        marked = shape.sealed_key(key, lambda name: b"mark-of-" + bytes(reversed(name)))
        assert marked == "\x02" + key.replace("email:u@x.example", "mark-of-elpmaxe.x@u:liame")


@pytest.mark.parametrize(
    ("shape", "key"), [(PEOPLE, "person/"), (PEOPLE, "unit/U1"), (PEOPLE, "clock/now"), (SPONSORS, "")]
)
def test_what_is_about_nobody_is_not_sealed(shape: Any, key: str) -> None:
    assert (shape.whose(key), shape.sealed_key(key, lambda _: b"mark")) == (None, key)


# -- a state at rest ------------------------------------------------------------------------------


class States:
    """A state of sponsors on a real folder, opened again and again, with these settings or others."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.topic: dict[bytes, bytes | None] = {}
        self.changelogs: dict[int, list[tuple[bytes, bytes | None]]] = {}
        self.stores: Stores | None = None

    async def opened(self, keys: Keyring | None) -> KeyedState:
        """Return the state as after a start; None for keys is a service that seals nothing."""
        await self.close()
        sealed = None if keys is None else SealedAtRest(keys, "prompter-sponsors-changelog", SPONSORS, patiently)
        self.stores = Stores(self.folder, at_rest=sealed)
        self.stores.changelogs = self.changelogs
        store = await self.stores.opened(0)
        return KeyedState(SimpleNamespace(name="sponsors", changelog_topic_name="x", data=store), sealed)

    def keys(self, *masters: str, marks: str = "m" * 32) -> Keyring:
        return Shared(self.topic, *masters or (FIRST,), marks=marks)

    async def close(self) -> None:
        if self.stores is not None:
            await self.stores.store.on_stop()

    def bytes_on_disk(self) -> bytes:
        return b"".join(file.read_bytes() for file in self.folder.rglob("*") if file.is_file())

    def in_changelog(self) -> bytes:
        return b"".join(key + (value or b"") for key, value in self.changelogs[0])


async def patiently(work: Callable[[], list[bytes]]) -> list[bytes]:
    return await asyncio.to_thread(work)


@pytest.fixture
async def states(tmp_path: Path) -> Any:
    made = States(tmp_path)
    yield made
    await made.close()


async def saved(state: KeyedState) -> None:
    state.settle()
    for partition, offset in (await state.write_changelog()).items():
        state.saved(partition, offset)


def a_sponsor(name: str, version: int = 1) -> bytes:
    return encode(Sponsor(name, prompts={"p": Held(version, b"{}", 0, True, "Protege", T)}))


async def test_a_sealed_entry_is_found_again_and_nothing_on_disk_or_in_the_changelog_tells_of_it(
    states: States,
) -> None:
    state = await states.opened(states.keys())
    state.put(0, "Annabel", a_sponsor("Annabel"))
    state.take("prompts", 0, 7)
    assert state.get(0, "Annabel") == a_sponsor("Annabel")
    await saved(state)
    state = await states.opened(states.keys())
    assert state.get(0, "Annabel") == a_sponsor("Annabel")
    assert state.taken("prompts", 0) == 7
    assert [value for _, value in state.items(0)] == [a_sponsor("Annabel")]
    state.put(0, "Benjamin", a_sponsor("Benjamin"))  # unsaved ones are among them
    assert {value for _, value in state.items(0)} == {a_sponsor("Annabel"), a_sponsor("Benjamin")}
    state.put(0, "Annabel", None)
    assert [value for _, value in state.items(0)] == [a_sponsor("Benjamin")]
    await saved(state)
    await states.close()
    states.stores = None
    for lies in (states.bytes_on_disk(), states.in_changelog()):
        assert not any(mark in lies for mark in (b"Annabel", b"Benjamin", b"Protege"))
        assert lies


async def test_entries_from_before_sealing_are_read_and_sealed_when_they_next_change(states: States) -> None:
    state = await states.opened(None)
    for name in ("Annabel", "Benjamin"):
        state.put(0, name, a_sponsor(name))
    await saved(state)
    assert b"Annabel" in states.in_changelog()
    states.changelogs[0].clear()

    state = await states.opened(states.keys())
    assert state.get(0, "Annabel") == a_sponsor("Annabel")
    state.put(0, "Annabel", a_sponsor("Annabel", version=2))
    assert state.get(0, "Annabel") == a_sponsor("Annabel", version=2)
    assert [value for _, value in state.items(0)] == [a_sponsor("Annabel", version=2), a_sponsor("Benjamin")]
    await saved(state)
    state = await states.opened(states.keys())
    assert state.get(0, "Annabel") == a_sponsor("Annabel", version=2)
    assert [value for _, value in state.items(0)] == [a_sponsor("Annabel", version=2), a_sponsor("Benjamin")]
    written = dict(states.changelogs[0])
    assert written.pop(b"0/Annabel") is None
    assert [is_sealed(value) for value in written.values()] == [True]
    state.put(0, "Annabel", None)
    state.put(0, "Benjamin", None)
    assert (list(state.items(0)), state.get(0, "Annabel"), state.get(0, "Benjamin")) == ([], None, None)


async def test_with_other_settings_than_it_was_sealed_by_a_state_is_refused_and_not_begun_anew(states: States) -> None:
    state = await states.opened(states.keys())
    state.put(0, "Annabel", a_sponsor("Annabel"))
    await saved(state)
    for keys, said in (
        (None, "set PERSON_MARKS_KEY and PERSON_MASTER_KEYS"),
        (states.keys(marks="n" * 32), "is PERSON_MARKS_KEY what it was?"),
        (states.keys(SECOND), "no key of PERSON_MASTER_KEYS"),
    ):
        state = await states.opened(keys)
        with pytest.raises(BadKeys, match=said.replace("?", r"\?")):
            state.taken("prompts", 0)
    assert (await states.opened(states.keys(SECOND, FIRST))).get(0, "Annabel") == a_sponsor("Annabel")


async def test_of_a_restored_state_an_erased_sponsor_is_gone_and_who_knew_an_erased_protege_has_the_rest(
    states: States,
) -> None:
    state, keys = await states.opened(states.keys()), states.keys()
    for name in ("Annabel", "Benjamin"):
        state.put(0, name, a_sponsor(name))
    await saved(state)
    keys.destroy([Ref("hris:Annabel"), Ref("hris:Protege")])
    state = await states.opened(states.keys())
    assert state.get(0, "Annabel") is None
    assert decode(state.get(0, "Benjamin") or b"") == Sponsor("Benjamin")
    assert [decode(value) for _, value in state.items(0)] == [Sponsor("Benjamin")]


async def test_what_changes_while_earlier_changes_are_written_is_sealed_too(states: States) -> None:
    state = await states.opened(states.keys())
    state.put(0, "Annabel", a_sponsor("Annabel"))
    state.settle()
    state.put(
        0, "Annabel", a_sponsor("Annabel", version=2)
    )  # of the run in hand, for which the earlier one has to make room
    for partition, offset in (await state.write_changelog()).items():
        state.saved(partition, offset)
    await saved(state)
    assert b"Annabel" not in states.in_changelog()
    assert (await states.opened(states.keys())).get(0, "Annabel") == a_sponsor("Annabel", version=2)


async def test_of_what_grows_when_it_is_sealed_less_has_room(states: States) -> None:
    state = await states.opened(states.keys())
    large = b"x" * (2 << 20)
    with pytest.raises(Poison, match="is something sent again and again"):
        state.put(0, "Annabel", large)
    a_state().put(0, "Annabel", large)


def test_who_reads_a_changelog_gets_keys_and_values_as_the_service_knows_them() -> None:
    topic: dict[bytes, bytes | None] = {}
    keys = Shared(topic, FIRST)
    (value,) = keys.seal_entries(
        "prompter-sponsors-changelog", SPONSORS, [(b"2/Annabel", "Annabel", a_sponsor("Annabel"))]
    )
    record = Record("prompter-sponsors-changelog", 2, 7, b"2/\x02mark", value, (), T)
    (opened,) = keys.open_all([record])
    assert (opened.key, decode(opened.value or b""), opened.offset) == (b"2/Annabel", decode(a_sponsor("Annabel")), 7)
    assert opened.headers == ()
    keys.destroy([Ref("hris:Protege")])
    (opened,) = Shared(topic, FIRST).open_all([record])
    assert decode(opened.value or b"") == Sponsor("Annabel")
