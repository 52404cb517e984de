"""What holds of the portal whatever is read twice, and in whatever order a sponsor's tabs are used."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from services.portal import answering
from services.portal.answering import BadAnswer, Given, NotNow, standing
from services.portal.projection import Row, project
from services.portal.store import Store
from services.portal.tables import metadata, origin
from shared.contracts.career import ClockTicked, write_contract
from shared.contracts.ids import EventId
from shared.streaming.records import Record
from shared.streaming.topics import CAREER_EVENTS, PROMPTS
from tests.portal import a_hiding, a_person, a_piece, a_showing, a_tie, a_tie_end
from tests.prompt_events import NOW, fulfilled, opened, updated, withdrawn

SETTINGS = settings(max_examples=25, deadline=None)
MAKERS = (opened, updated, withdrawn, fulfilled)


@contextmanager
def a_store() -> Iterator[Store]:
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "portal.db")
        store.begin("a-kafka", {})
        try:
            yield store
        finally:
            store.close()


def content(store: Store) -> dict[str, list[Any]]:
    """Return all rows of all tables."""
    with store._engine.connect() as connection:
        return {
            table.name: sorted(map(repr, connection.execute(select(table)).all()))
            for table in metadata.sorted_tables
            if table is not origin
        }


def rows_of(topic: str, value: bytes) -> list[Row]:
    return project(Record(topic, 0, 0, b"E1", value, (), NOW))


@st.composite
def logs(draw: st.DrawFn) -> list[list[Row]]:
    """Return the statements of each record of a log: prompts in the order of their versions, people, ties, the time."""
    records: list[list[Row]] = []
    versions = {"E2": 0, "E3": 0}
    for _ in range(draw(st.integers(1, 14))):
        what = draw(st.sampled_from(["prompt", "prompt", "tick", "person", "tie", "end", "piece", "hide", "show"]))
        who = draw(st.sampled_from(sorted(versions)))
        at = NOW + timedelta(days=draw(st.integers(-5, 5)))
        if what == "prompt":
            versions[who] += 1
            maker = opened if versions[who] == 1 else draw(st.sampled_from(MAKERS))
            records.append(rows_of(PROMPTS, write_contract(maker(versions[who], employee=who))))
            continue
        event: Any = {
            "tick": lambda at=at: ClockTicked(id=EventId("t"), at=NOW, source="test", employee_id=None, now=at),
            "person": lambda who=who, at=at: a_person(who, f"{who} from {at:%d}", effective_at=at),
            "tie": lambda who=who, at=at: a_tie(who, started_at=at),
            "end": lambda who=who, at=at: a_tie_end(who, ended_at=at),
            "piece": lambda who=who, at=at: a_piece(employee=who, at=at, title=f"From {at:%d}"),
            "hide": lambda who=who, at=at: a_hiding("A1", who, at=at),
            "show": lambda who=who, at=at: a_showing("A1", who, at=at),
        }[what]()
        records.append(rows_of(CAREER_EVENTS, write_contract(event)))
    return records


@SETTINGS
@given(logs(), st.data())
def test_what_is_read_again_from_anywhere_and_in_other_runs_changes_nothing(log: list[list[Row]], data: Any) -> None:
    with a_store() as once, a_store() as again:
        for offset, rows in enumerate(log):
            once.apply(rows, {(PROMPTS, 0): offset + 1})
        at = 0
        while at < len(log):
            until = data.draw(st.integers(at + 1, len(log)))
            again.apply([row for rows in log[at:until] for row in rows], {(PROMPTS, 0): until})
            # a crash, or a file put back from an older day: it goes on from an earlier place
            at = data.draw(st.integers(max(0, until - 2), until)) if data.draw(st.booleans()) else until
        assert content(again) == content(once)


STEPS = ("endorse", "decline", "snooze", "not me", "undo", "undo", "undo", "open again", "close")


@SETTINGS
@given(st.lists(st.sampled_from(STEPS), min_size=4, max_size=14))
@example(["decline", "undo", "endorse", "undo", "decline", "undo", "undo", "decline"])
@example(["not me", "undo", "not me", "undo", "undo"])
def test_each_opening_of_a_prompt_is_settled_once_at_most_or_once_more_for_each_undo(steps: list[str]) -> None:
    with a_store() as store:
        version, now, opening = 1, NOW, 0
        store.apply(rows_of(PROMPTS, write_contract(opened(1))), {(PROMPTS, 0): 1})
        settled: dict[int, list[Given]] = {}
        seen: set[str] = set()
        for number, step in enumerate(steps):
            now += timedelta(minutes=1)
            prompt = store.prompt(opened().prompt_id)
            assert prompt is not None
            undoable = answering.undoable(prompt, now)
            try:
                match step:
                    case "endorse":
                        given_now = answering.endorse(prompt, f"Words {number}.", now)
                    case "decline":
                        given_now = answering.decline(prompt, "", now)
                    case "snooze":
                        given_now = answering.snooze(prompt, now + timedelta(days=1), str(number), now)
                    case "not me":
                        given_now = answering.refuse(prompt, "", now)
                    case "undo":
                        given_now = answering.take_back(prompt, undoable[1] if undoable else "", now)
                    case _:
                        version += 1
                        event = opened(version) if step == "open again" else withdrawn(version)
                        opening += step == "open again"
                        store.apply(rows_of(PROMPTS, write_contract(event)), {(PROMPTS, 0): version})
                        continue
            except (NotNow, BadAnswer):
                assert undoable is None if step == "undo" else standing(prompt) != "open"
                continue
            assert step == "undo" or standing(prompt) == "open"
            assert given_now.event_id not in seen  # nothing that was said before is said again
            seen.add(given_now.event_id)
            settled.setdefault(opening, []).append(given_now)
            store.apply(rows_of(given_now.output.topic, given_now.output.value or b""), {(PROMPTS, 0): version})
            assert store.knows(given_now.event_id)
        for given_then in settled.values():
            kinds = [one.kind for one in given_then]
            assert kinds.count("endorsed") + kinds.count("declined") <= 1 + kinds.count("taken_back")
