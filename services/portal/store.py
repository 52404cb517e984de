"""Keeps the portal's read model: takes statements in with the offsets that they came from, and answers what pages ask.

The file is a copy and no source: where it is missing, of another Kafka, or of another shape, it is filled anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, RowMapping, Table, and_, func, or_, select, tuple_
from sqlalchemy.dialects.sqlite import insert

from services.portal.projection import ASKING, PREFERENCES, Row, being_sponsor_of, taking_back
from services.portal.tables import (
    NEWER_BY,
    SCHEMA,
    achievements,
    answers,
    choices,
    claims,
    clock,
    disowned,
    merges,
    metadata,
    origin,
    own_statements,
    owners_words,
    people,
    progress,
    prompts,
    taken_back,
    tellings,
    tie_ends,
    tie_starts,
)
from shared.contracts.career import SELF
from shared.contracts.choices import Mine, NotMine, PreferencesSet, Resumed, Stopped
from shared.contracts.identities import EmployeeMergedInto, RefClaimed
from shared.contracts.ids import AchievementId, EmployeeId, EventId, PromptId, Ref
from shared.contracts.outputs import PromptBody
from shared.database import open_database
from shared.streaming.names import Names

Partition = tuple[str, int]
"""Topic and partition."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the sponsor answered here: endorsed, declined or snoozed, in which words, and when they took it back."""

    event_id: EventId
    kind: str
    at: datetime
    words: str
    taken_back_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class StoredPrompt:
    """A prompt as it stands or stood last, with what was answered here.

    Attributes:
        status: open, withdrawn or fulfilled.
        opened_by: the version by which it was opened last; what was answered before that is of an earlier asking.
        endorsement_id: what fulfilled it; None where nothing has.
        body: what was shown last; None where only its end is known.
        answers: newest first; of snoozes only the newest.
        said_of_tie: what the sponsor said last of being this person's sponsor; None where nothing.
    """

    prompt_id: PromptId
    sponsor_id: EmployeeId
    employee_id: EmployeeId
    cycle_id: str
    status: str
    changed_at: datetime
    opened_by: int
    withdrawn_because: str | None
    endorsement_id: str | None
    body: PromptBody | None
    timezone: str
    snoozed_until: datetime | None
    answers: tuple[Answer, ...]
    said_of_tie: NotMine | Mine | None


@dataclass(frozen=True, slots=True)
class KnownPerson:
    """Somebody's profile as it holds now."""

    employee_id: EmployeeId
    name: str
    level: int
    unit_id: str | None
    active: bool


@dataclass(frozen=True, slots=True)
class Protege:
    """Somebody for whom a person is sponsor, since when."""

    person: KnownPerson
    since: datetime
    said_of_tie: NotMine | Mine | None


@dataclass(frozen=True, slots=True)
class StoredAchievement:
    """An achievement as it was last stated, and its owner's word.

    Attributes:
        said_at: when its source said so.
        said_by: the event that said so.
        source: who said so, as it names itself.
        own_words: whether that was the person whose it is.
        hidden: whether they have hidden it.
        word_at: when they last hid it or let it be shown; None where they never did.
        word_by: the event that said so; empty where there is none.
    """

    employee_id: EmployeeId
    achievement_id: AchievementId
    said_at: datetime
    said_by: EventId
    source: str
    own_words: bool
    title: str
    outcome: str
    impact: int
    occurred_on: date
    competencies: tuple[str, ...]
    link: str
    witnesses: tuple[Ref, ...]
    hidden: bool
    word_at: datetime | None
    word_by: str


@dataclass(frozen=True, slots=True)
class Telling:
    """A version of a prompt in which it stood: what its sponsor could see from then on."""

    prompt_id: PromptId
    version: int
    cycle_id: str
    at: datetime
    body: PromptBody


class Store:
    """The read model in a file.

    Args:
        file: where it is, or is to be.
    """

    def __init__(self, file: Path) -> None:
        self._engine = open_database(f"sqlite:///{file}", "portal")

    def close(self) -> None:
        """Close the file."""
        self._engine.dispose()

    # -- taking in --------------------------------------------------------------------------------

    def begin(self, cluster: str, ends: Mapping[Partition, int]) -> dict[Partition, int]:
        """Make the file ready for this Kafka, emptied where it is not a copy of it; return where to read on.

        Args:
            cluster: the Kafka's own id.
            ends: the ends of the topics: a copy that is ahead of them is one of another log.
        """
        with self._engine.begin() as connection:
            metadata.create_all(connection, tables=[origin, progress])
            here = connection.execute(select(origin.c.schema_number, origin.c.cluster)).all()
            reached = self._reached(connection)
            ahead = any(offset > ends.get(at, 0) for at, offset in reached.items())
            if list(map(tuple, here)) != [(SCHEMA, cluster)] or ahead:
                metadata.drop_all(connection)
                metadata.create_all(connection)
                connection.execute(insert(origin).values(schema_number=SCHEMA, cluster=cluster))
                return {}
            return reached

    def apply(self, rows: Iterable[Row], reached: Mapping[Partition, int]) -> None:
        """Take in `rows`, and that the log is read up to `reached`; both or neither.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: the file can't be written.
        """
        with self._engine.begin() as connection:
            for (table, names), same in groupby(rows, key=lambda row: (row.table, tuple(row.values))):
                connection.execute(_statement(table, names), [dict(row.values) for row in same])
            statement = insert(progress)
            connection.execute(
                statement.on_conflict_do_update(
                    index_elements=["topic", "partition"], set_={"next_offset": statement.excluded.next_offset}
                ),
                [{"topic": t, "partition": p, "next_offset": offset} for (t, p), offset in reached.items()],
            )

    def _reached(self, connection: Connection) -> dict[Partition, int]:
        return {(t, p): offset for t, p, offset in connection.execute(select(progress)).tuples()}

    # -- what pages ask ---------------------------------------------------------------------------

    def now(self) -> datetime | None:
        """Return the time as the log tells it; None where it has told none."""
        with self._engine.connect() as connection:
            return connection.scalar(select(clock.c.now))

    def knows(self, event_id: EventId) -> bool:
        """Return whether an answer, a choice or what somebody said of themselves, of this id, has been taken in."""
        with self._engine.connect() as connection:
            return any(
                connection.scalar(select(table.c.event_id).where(table.c.event_id == event_id)) is not None
                for table in (answers, taken_back, choices, own_statements)
            )

    def prompt(self, prompt_id: PromptId) -> StoredPrompt | None:
        """Return a prompt; None where it is not known."""
        with self._engine.connect() as connection:
            found = _prompts(connection, prompts.c.prompt_id == prompt_id)
        return found[0] if found else None

    def prompts_of(self, sponsor_id: EmployeeId) -> list[StoredPrompt]:
        """Return all prompts that a sponsor ever had."""
        with self._engine.connect() as connection:
            return _prompts(connection, prompts.c.sponsor_id == sponsor_id)

    def person(self, employee_id: EmployeeId, now: datetime) -> KnownPerson | None:
        """Return who somebody is; None where nobody has said."""
        with self._engine.connect() as connection:
            return _people(connection, {employee_id}, now).get(employee_id)

    def proteges_of(self, sponsor_id: EmployeeId, now: datetime) -> list[Protege]:
        """Return for whom somebody is sponsor now, by name."""
        ended = tie_ends.c.ended_at
        started = tie_starts.c.started_at
        # As the correlator has it: what began again after its end holds.
        holds = and_(started <= now, or_(ended.is_(None), ended > now, started > ended))
        with self._engine.connect() as connection:
            since: dict[EmployeeId, datetime] = {
                EmployeeId(employee): at
                for employee, at in connection.execute(
                    select(tie_starts.c.employee_id, func.min(started, type_=started.type))
                    .outerjoin(tie_ends, tie_ends.c.relationship_id == tie_starts.c.relationship_id)
                    .where(tie_starts.c.sponsor_id == sponsor_id, holds)
                    .group_by(tie_starts.c.employee_id)
                ).tuples()
            }
            known = _people(connection, since, now)
            said = _said_of_ties(connection, sponsor_id)
        found = [
            Protege(known[who], at, said.get(being_sponsor_of(who)))
            for who, at in since.items()
            if who in known and known[who].active
        ]
        return sorted(found, key=lambda protege: (protege.person.name.casefold(), protege.person.employee_id))

    def said_of_tie(self, sponsor_id: EmployeeId, employee_id: EmployeeId) -> NotMine | Mine | None:
        """Return what a sponsor said last of being somebody's sponsor; None where nothing."""
        with self._engine.connect() as connection:
            return _said_of_ties(connection, sponsor_id).get(being_sponsor_of(employee_id))

    def whom(self, ref: Ref, now: datetime) -> EmployeeId | None:
        """Return the employee whom `ref` names now; None where nobody is known by it."""
        with self._engine.connect() as connection:
            return _names(connection, [ref]).find(ref, now)

    def achievements_of(self, employee_id: EmployeeId) -> list[StoredAchievement]:
        """Return what is on record about somebody, the newest first; without what was taken back."""
        with self._engine.connect() as connection:
            return _achievements(connection, achievements.c.employee_id == employee_id)

    def achievement(self, employee_id: EmployeeId, achievement_id: AchievementId) -> StoredAchievement | None:
        """Return one achievement of somebody's; None where there is none, or it was taken back."""
        one = and_(achievements.c.employee_id == employee_id, achievements.c.achievement_id == achievement_id)
        with self._engine.connect() as connection:
            return next(iter(_achievements(connection, one)), None)

    def tellings_about(self, employee_id: EmployeeId) -> list[Telling]:
        """Return all that sponsors could see of somebody, in no order that matters."""
        with self._engine.connect() as connection:
            rows = connection.execute(select(tellings).where(tellings.c.employee_id == employee_id)).mappings()
            return [
                Telling(
                    PromptId(row["prompt_id"]),
                    row["version"],
                    row["cycle_id"],
                    row["at"],
                    PromptBody.model_validate(row["body"]),
                )
                for row in rows
            ]

    def names_of(self, refs: Sequence[Ref], now: datetime) -> dict[Ref, str]:
        """Return the names of those whom these refs mean now, as far as they are known."""
        with self._engine.connect() as connection:
            names = _names(connection, refs)
            whom = {ref: employee for ref in refs if (employee := names.find(ref, now)) is not None}
            known = _people(connection, whom.values(), now)
        return {ref: known[employee].name for ref, employee in whom.items() if employee in known}

    def preferences(self, sponsor_id: EmployeeId) -> PreferencesSet | None:
        """Return what a sponsor chose about being asked; None where they left it to the company."""
        with self._engine.connect() as connection:
            chosen = _latest(connection, sponsor_id, PREFERENCES)
        return None if chosen is None else PreferencesSet.model_validate(chosen)

    def asking(self, sponsor_id: EmployeeId) -> Stopped | Resumed | None:
        """Return whether a sponsor has last stopped or resumed being asked; None where neither."""
        with self._engine.connect() as connection:
            chosen = _latest(connection, sponsor_id, ASKING)
        if chosen is None:
            return None
        return (Stopped if chosen["type"] == "choice.stopped" else Resumed).model_validate(chosen)


@lru_cache
def _statement(table: Table, names: Sequence[str]) -> Any:
    statement = insert(table)
    keys = [column.name for column in table.primary_key]
    newer_by = NEWER_BY[table]
    if not newer_by:
        return statement.on_conflict_do_nothing()
    excluded = statement.excluded
    return statement.on_conflict_do_update(
        index_elements=keys,
        set_={name: excluded[name] for name in names if name not in keys},
        where=tuple_(*(excluded[name] for name in newer_by)) > tuple_(*(table.c[name] for name in newer_by)),
    )


def _prompts(connection: Connection, which: Any) -> list[StoredPrompt]:
    rows = connection.execute(select(prompts).where(which).order_by(prompts.c.prompt_id)).mappings().all()
    said = connection.execute(
        select(answers)
        .where(answers.c.prompt_id.in_(select(prompts.c.prompt_id).where(which)))
        .order_by(answers.c.at.desc(), answers.c.event_id)
    ).mappings()
    given: dict[str, list[RowMapping]] = {row["prompt_id"]: [] for row in rows}
    for answer in said:
        of_prompt = given[answer["prompt_id"]]
        if answer["kind"] != "snoozed" or all(one["kind"] != "snoozed" for one in of_prompt):
            of_prompt.append(answer)
    undone = _taken_back(connection, [one["event_id"] for some in given.values() for one in some])
    ties = {who: _said_of_ties(connection, who) for who in {EmployeeId(row["sponsor_id"]) for row in rows}}
    hidden = _hidden(connection, {EmployeeId(row["employee_id"]) for row in rows})
    return [
        _prompt(
            row,
            [_answer(one, undone) for one in given[row["prompt_id"]]],
            ties[EmployeeId(row["sponsor_id"])],
            hidden.get(row["employee_id"], set()),
        )
        for row in rows
    ]


def _taken_back(connection: Connection, given: Sequence[EventId]) -> dict[EventId, datetime]:
    """Return when each of the answers that were taken back was."""
    by_taking_back = {taking_back(answer): answer for answer in given}
    rows = connection.execute(
        select(taken_back.c.event_id, taken_back.c.at).where(taken_back.c.event_id.in_(list(by_taking_back)))
    )
    return {by_taking_back[EventId(event_id)]: at for event_id, at in rows.tuples()}


def _answer(row: RowMapping, undone: Mapping[EventId, datetime]) -> Answer:
    event_id = EventId(row["event_id"])
    return Answer(event_id, row["kind"], row["at"], row["words"], undone.get(event_id))


def _prompt(
    row: RowMapping, given: Sequence[Answer], ties: Mapping[str, NotMine | Mine], hidden: set[str]
) -> StoredPrompt:
    employee = EmployeeId(row["employee_id"])
    body = None if row["body"] is None else PromptBody.model_validate(row["body"])
    if body is not None and hidden:
        # Of a prompt that stands the correlator takes it away, in a moment; one that has ended is never written again.
        kept = tuple(piece for piece in body.evidence if piece.evidence_id not in hidden)
        body = body.model_copy(update={"evidence": kept})
    return StoredPrompt(
        prompt_id=PromptId(row["prompt_id"]),
        sponsor_id=EmployeeId(row["sponsor_id"]),
        employee_id=employee,
        cycle_id=row["cycle_id"],
        status=row["status"],
        changed_at=row["changed_at"],
        opened_by=row["opened_by"] or 1,
        withdrawn_because=row["withdrawn_because"],
        endorsement_id=row["endorsement_id"],
        body=body,
        timezone=row["timezone"] or "UTC",
        snoozed_until=row["snoozed_until"],
        answers=tuple(given),
        said_of_tie=ties.get(being_sponsor_of(employee)),
    )


def _achievements(connection: Connection, which: Any) -> list[StoredAchievement]:
    word = owners_words
    same = and_(
        word.c.employee_id == achievements.c.employee_id, word.c.achievement_id == achievements.c.achievement_id
    )
    rows = connection.execute(
        select(achievements, word.c.hidden, word.c.said_at.label("word_at"), word.c.said_by.label("word_by"))
        .select_from(achievements)
        .outerjoin(word, and_(same, word.c.said_by.not_in(select(disowned.c.event_id))))
        .where(
            which,
            achievements.c.retracted.is_(False),
            achievements.c.said_by.not_in(select(disowned.c.event_id)),
        )
        .order_by(achievements.c.occurred_on.desc(), achievements.c.achievement_id)
    ).mappings()
    return [
        StoredAchievement(
            employee_id=EmployeeId(row["employee_id"]),
            achievement_id=AchievementId(row["achievement_id"]),
            said_at=row["said_at"],
            said_by=EventId(row["said_by"]),
            source=row["source"],
            own_words=row["source"] == SELF,
            title=row["title"],
            outcome=row["outcome"],
            impact=row["impact"],
            occurred_on=row["occurred_on"],
            competencies=tuple(row["competencies"]),
            link=row["link"],
            witnesses=tuple(map(Ref, row["witnesses"])),
            hidden=bool(row["hidden"]),
            word_at=row["word_at"],
            word_by=row["word_by"] or "",
        )
        for row in rows
    ]


def _names(connection: Connection, refs: Sequence[Ref]) -> Names:
    """Return what is known of whom these refs mean."""
    names = Names()
    for claim in connection.scalars(select(claims.c.claim).where(claims.c.ref.in_(refs))):
        names.learn(RefClaimed.model_validate(claim))
    for merged in connection.execute(select(merges)).mappings():
        names.learn(EmployeeMergedInto(**merged))
    return names


def _hidden(connection: Connection, employees: Iterable[EmployeeId]) -> dict[str, set[str]]:
    """Return which achievements their owners have hidden."""
    found: dict[str, set[str]] = {}
    for employee, achievement in connection.execute(
        select(owners_words.c.employee_id, owners_words.c.achievement_id).where(
            owners_words.c.employee_id.in_(list(employees)),
            owners_words.c.hidden,
            owners_words.c.said_by.not_in(select(disowned.c.event_id)),
        )
    ).tuples():
        found.setdefault(employee, set()).add(achievement)
    return found


def _said_of_ties(connection: Connection, sponsor_id: EmployeeId) -> dict[str, NotMine | Mine]:
    """Return what a sponsor said last of being the sponsor of each person that they said such a thing of."""
    rows = connection.execute(
        select(choices.c.about, choices.c.choice)
        .where(choices.c.sponsor_id == sponsor_id, choices.c.about.not_in([ASKING, PREFERENCES]))
        .order_by(choices.c.at, choices.c.event_id)
    )
    return {
        about: (NotMine if said["type"] == "choice.not_mine" else Mine).model_validate(said)
        for about, said in rows.tuples()
    }


def _latest(connection: Connection, sponsor_id: EmployeeId, about: str) -> dict[str, Any] | None:
    return connection.scalar(
        select(choices.c.choice)
        .where(choices.c.sponsor_id == sponsor_id, choices.c.about == about)
        .order_by(choices.c.at.desc(), choices.c.event_id.desc())
        .limit(1)
    )


def _people(connection: Connection, who: Iterable[EmployeeId], now: datetime) -> dict[EmployeeId, KnownPerson]:
    """Return the profiles in force: the newest that has begun to hold; before the first one known, the first."""
    known: dict[EmployeeId, RowMapping] = {}
    rows = connection.execute(
        select(people).where(people.c.employee_id.in_(list(who))).order_by(people.c.effective_at)
    ).mappings()
    for row in rows:
        employee = EmployeeId(row["employee_id"])
        if employee not in known or row["effective_at"] <= now:
            known[employee] = row
    return {
        employee: KnownPerson(employee, row["name"], row["level"], row["unit_id"], row["active"])
        for employee, row in known.items()
    }
