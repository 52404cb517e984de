"""Answers questions from the read model: queries in, answers out; each answer is of one moment of the database."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, get_args

from sqlalchemy import ColumnElement, Connection, Engine, FromClause, RowMapping, Select, and_, func, select

from services.insights.answers import (
    AttributeCompared,
    ComparedValue,
    Comparisons,
    Coverage,
    CoverageOfLevel,
    CoverageOfUnit,
    Cycle,
    CycleDetail,
    CycleTotals,
    Delivery,
    DeliveryTotals,
    Employee,
    EmployeeDetail,
    Funnel,
    Gap,
    GapDetail,
    GapTotals,
    MeasureCompared,
    MeasureDefinition,
    MeasureDetail,
    MeasureMoment,
    MeasureOfAll,
    Measures,
    MeasureValue,
    Page,
    PartitionProgress,
    Progress,
    Prompt,
    PromptDetail,
    PromptTotals,
    Scope,
    Share,
    Sponsor,
    Summary,
    TopicProgress,
    Version,
)
from services.insights.applying import UNREADABLE, Partition
from services.insights.dashboard import CycleShown, in_order
from services.insights.holding import cycle_status, endorsement_stands, in_force, tie_holds
from services.insights.limiting import NO_LIMIT, Limit
from services.insights.measures.comparing import CAUTION, COMPARISONS, Compared
from services.insights.measures.coverage import SPONSOR_COVERAGE
from services.insights.measures.grouping import LEVEL, UNIT
from services.insights.measures.keeping import AttributeTold, Measured, read_comparisons, read_measured
from services.insights.measures.loading import load_cycles
from services.insights.measures.measure import WHOLE, Measure, Value
from services.insights.measures.outcomes import ADVOCACY
from services.insights.measures.taking import MEASURES
from services.insights.offsets import Offsets, lag_of
from services.insights.paging import cut, read_cursor, write_cursor
from services.insights.projection import topics_of
from services.insights.tables import (
    achievements,
    clock,
    cycles,
    deliveries,
    endorsements,
    event_counts,
    gap_history,
    gaps,
    progress,
    prompt_history,
    prompts,
    relationships,
)
from shared.contracts.career import EverybodysEvent
from shared.streaming.topics import CAREER_EVENTS

_EVERYBODYS_TYPES = frozenset(event.model_fields["type"].default for event in get_args(EverybodysEvent))


class NotKnown(LookupError):
    """There is nothing of that id."""


class Reader:
    """Reads the read model.

    Args:
        engine: the database, with transactions that see one moment.
        ends: tells where the partitions end, as far as that was looked at.
        attributes: the protected attributes that the company compares by; none by default.
    """

    def __init__(self, engine: Engine, ends: Callable[[], Offsets], attributes: Sequence[str] = ()) -> None:
        self._engine = engine
        self._ends = ends
        self._attributes = attributes

    # -- the whole --------------------------------------------------------------------------------

    def summary(self) -> Summary:
        """Return what happened, in numbers."""
        with self._engine.connect() as connection:
            now = _now(connection)
            counts = connection.execute(select(event_counts)).mappings().all()
            by_prompt_event = _counts(connection, prompt_history.c.type)
            by_gap_event = _counts(connection, gap_history.c.type)
            by_cycle_status = _counts(connection, cycle_status(now), cycles)
            by_outcome = _counts(connection, deliveries.c.outcome)
            standing_prompts = _count(connection, prompts, prompts.c.status == "open")
            standing_gaps = _count(connection, gaps, gaps.c.status == "open")
            projected = _projected(connection)
        return Summary(
            clock=now,
            career_events=_career_events(counts),
            cycles=CycleTotals(**{name: by_cycle_status.get(name, 0) for name in CycleTotals.model_fields}),
            prompts=PromptTotals(
                opened=by_prompt_event.get("prompt.opened", 0),
                updated=by_prompt_event.get("prompt.updated", 0),
                fulfilled=by_prompt_event.get("prompt.fulfilled", 0),
                withdrawn=by_prompt_event.get("prompt.withdrawn", 0),
                standing=standing_prompts,
            ),
            gaps=GapTotals(
                opened=by_gap_event.get("gap.opened", 0),
                updated=by_gap_event.get("gap.updated", 0),
                closed=by_gap_event.get("gap.closed", 0),
                standing=standing_gaps,
            ),
            deliveries=DeliveryTotals(**{name: by_outcome.get(name, 0) for name in DeliveryTotals.model_fields}),
            progress=_topic_progress(counts, lag_of(projected, self._ends()), topics_of(self._attributes)),
        )

    def measured(self) -> Measured:
        """Return what was measured last, as it is kept."""
        with self._engine.connect() as connection:
            return read_measured(connection)

    def for_dashboard(self) -> tuple[Measured, tuple[CycleShown, ...]]:
        """Return what was measured last, and the cycles that have opened."""
        with self._engine.connect() as connection:
            kept = read_measured(connection)
            now = _now(connection)
            return kept, () if now is None else in_order(load_cycles(connection, now))

    def measures(self) -> Measures:
        """Return every measure with what it comes to for the whole company and for each cycle."""
        kept = self.measured()
        return Measures(
            clock=kept.clock,
            k=kept.k,
            items=[
                MeasureOfAll(
                    **_definition(measure),
                    values=[
                        _value(value)
                        for value in kept.taken.values
                        if value.measure == measure.name and value.dimension in (WHOLE, ADVOCACY)
                    ],
                )
                for measure in MEASURES
            ],
        )

    def measure(self, name: str) -> MeasureDetail:
        """Return one measure with all groups that may be shown.

        Raises:
            NotKnown: there is none of that name.
        """
        measure = next((one for one in MEASURES if one.name == name), None)
        if measure is None:
            raise NotKnown(f"there is no measure of this name; there are {', '.join(one.name for one in MEASURES)}")
        kept = self.measured()
        own = [value for value in kept.taken.values if value.measure == name]
        hidden: Counter[str] = Counter()
        for (of, _, dimension), n in kept.hidden.items():
            if of == name:
                hidden[dimension] += n
        return MeasureDetail(
            **_definition(measure),
            clock=kept.clock,
            k=kept.k,
            values=[_value(value) for value in own],
            hidden=dict(sorted(hidden.items())),
            over_time=[
                MeasureMoment(at=moment.at, part=moment.part, whole=moment.whole, value=moment.value)
                for moment in kept.taken.moments
                if moment.measure == name
            ],
        )

    def comparisons(self) -> Comparisons:
        """Return what is told by protected attributes.

        Raises:
            NotKnown: the company compares by none.
        """
        told, _ = self.for_comparisons()
        return Comparisons(
            caution=CAUTION,
            attributes=[
                AttributeCompared(
                    attribute=of.attribute,
                    as_of=of.at,
                    k=of.k,
                    hidden=of.hidden,
                    items=[
                        MeasureCompared(
                            **_definition(measure),
                            values=[_compared(one) for one in of.values if one.measure == measure.name],
                        )
                        for measure in COMPARISONS
                    ],
                )
                for of in told
            ],
        )

    def for_comparisons(self) -> tuple[list[AttributeTold], dict[str, str]]:
        """Return what is told by protected attributes, and the cycles' titles.

        Raises:
            NotKnown: the company compares by none.
        """
        if not self._attributes:
            raise NotKnown("nothing is compared by protected attributes here (PROTECTED_ATTRIBUTES is empty)")
        with self._engine.connect() as connection:
            titles = connection.execute(select(cycles.c.cycle_id, cycles.c.title).where(cycles.c.title.is_not(None)))
            return read_comparisons(connection, self._attributes), dict(titles.tuples().all())

    def coverage(self) -> Coverage:
        """Return the share of active employees with an active sponsor; see `services.insights.measures.coverage`."""
        kept = self.measured()
        own = [of for of in kept.taken.values if of.measure == SPONSOR_COVERAGE.name and not of.cycle_id]
        shown = [of for of in own if not of.hidden]
        overall = [Share(**_share(of)) for of in shown if of.dimension == WHOLE]
        return Coverage(
            clock=kept.clock,
            overall=overall[0] if overall else None,
            by_unit=[CoverageOfUnit(unit_id=of.group_id, **_share(of)) for of in shown if of.dimension == UNIT],
            by_level=[CoverageOfLevel(level=int(of.group_id), **_share(of)) for of in shown if of.dimension == LEVEL],
            hidden=sum(kept.hidden.get((SPONSOR_COVERAGE.name, WHOLE, dimension), 0) for dimension in (UNIT, LEVEL)),
        )

    def progress(self) -> Progress:
        """Return how far each partition is projected."""
        with self._engine.connect() as connection:
            projected = _projected(connection)
        ends = self._ends()
        lag = lag_of(projected, ends)
        partitions = [
            PartitionProgress(
                topic=topic,
                partition=partition,
                next_offset=projected.get((topic, partition), 0),
                end_offset=ends.get((topic, partition)),
                lag=lag.get((topic, partition)),
            )
            for topic, partition in sorted(projected.keys() | ends.keys())
        ]
        return Progress(partitions=partitions, lag=sum(lag.values()) if ends else None)

    # -- employees --------------------------------------------------------------------------------

    def employees(
        self,
        *,
        limit: int,
        cursor: str | None = None,
        unit: str | None = None,
        level: int | None = None,
        manager: str | None = None,
        active: bool | None = None,
        seen: Limit = NO_LIMIT,
    ) -> Page[Employee]:
        """Return employees by id. `unit` is their own unit; `seen` is what who asks may see.

        Raises:
            BadCursor: the cursor is none of this list.
        """
        with self._engine.connect() as connection:
            now = _now(connection)
            person = in_force(now, "person")
            query = _where(
                select(person).where(seen.person(person.c.employee_id, connection, now)),
                {
                    person.c.unit_id: unit,
                    person.c.level: level,
                    person.c.manager_id: manager,
                    person.c.active: active,
                },
            )
            rows, following = _page(connection, query, "employees", person.c.employee_id, cursor, limit)
        return Page(items=[_employee(row) for row in rows], next=following)

    def employee(self, employee_id: str, seen: Limit = NO_LIMIT) -> EmployeeDetail:
        """Return one employee, with who speaks for them.

        Raises:
            NotKnown: no profile of anybody of that id is known, or not to who asks.
        """
        with self._engine.connect() as connection:
            now = _now(connection)
            person = in_force(now, "person")
            may_be_seen = seen.person(person.c.employee_id, connection, now)
            found = _one(connection, select(person).where(person.c.employee_id == employee_id, may_be_seen), "employee")
            sponsor = in_force(now, "sponsor")
            sponsors = connection.execute(
                select(
                    relationships.c.other_id,
                    # Two relationships may name the same sponsor; the longer one tells since when.
                    func.min(relationships.c.started_at).label("since"),
                    sponsor.c.name,
                    sponsor.c.level,
                    sponsor.c.active,
                )
                .select_from(
                    relationships.outerjoin(sponsor, sponsor.c.employee_id == relationships.c.other_id),
                )
                .where(relationships.c.employee_id == employee_id, relationships.c.kind == "sponsor", tie_holds(now))
                .group_by(relationships.c.other_id, sponsor.c.name, sponsor.c.level, sponsor.c.active)
                .order_by(relationships.c.other_id)
            ).all()
            asked = connection.execute(
                _prompts()
                .where(prompts.c.employee_id == employee_id, prompts.c.status == "open", seen.prompt(connection, now))
                .order_by(prompts.c.prompt_id)
            ).mappings()
            standing_prompts = [_prompt(row) for row in asked]
            missing = connection.execute(
                _gaps(now).where(gaps.c.employee_id == employee_id, gaps.c.status == "open").order_by(gaps.c.gap_id)
            ).mappings()
            standing_gaps = [_gap(row) for row in missing]
            done = _count(
                connection,
                achievements,
                and_(achievements.c.employee_id == employee_id, achievements.c.retracted.is_(False)),
            )
            spoken = _count(
                connection, endorsements, and_(endorsements.c.employee_id == employee_id, endorsement_stands())
            )
        return EmployeeDetail(
            **dict(_employee(found)),
            sponsors=[
                Sponsor(person_id=person_id, name=name, level=level, active=bool(active), since=since)
                for person_id, since, name, level, active in sponsors
            ],
            achievements=done,
            endorsements=spoken,
            standing_prompts=standing_prompts,
            standing_gaps=standing_gaps,
        )

    # -- cycles -----------------------------------------------------------------------------------

    def cycles(self, *, limit: int, cursor: str | None = None, status: str | None = None) -> Page[Cycle]:
        """Return cycles by id.

        Raises:
            BadCursor: the cursor is none of this list.
        """
        with self._engine.connect() as connection:
            at_present = cycle_status(_now(connection))
            query = select(cycles, at_present.label("status"))
            if status is not None:
                query = query.where(at_present == status)
            rows, following = _page(connection, query, "cycles", cycles.c.cycle_id, cursor, limit)
            funnels = _funnels(connection, [row["cycle_id"] for row in rows])
        return Page(items=[Cycle(**_cycle(row, funnels)) for row in rows], next=following)

    def cycle(self, cycle_id: str) -> CycleDetail:
        """Return one cycle with its scope and funnel.

        Raises:
            NotKnown: there is none of that id.
        """
        with self._engine.connect() as connection:
            query = select(cycles, cycle_status(_now(connection)).label("status"))
            row = _one(connection, query.where(cycles.c.cycle_id == cycle_id), "cycle")
            funnels = _funnels(connection, [cycle_id])
        return CycleDetail(
            **_cycle(row, funnels),
            scope=Scope(
                unit_ids=row["unit_ids"] or [],
                levels=row["levels"] or [],
                min_months_in_level=row["min_months_in_level"] or 0,
            ),
            competencies=row["competencies"] or [],
            evidence_from=row["evidence_from"],
            evidence_to=row["evidence_to"],
            cancelled_because=row["cancelled_because"],
        )

    # -- prompts ----------------------------------------------------------------------------------

    def prompts(
        self,
        *,
        limit: int,
        cursor: str | None = None,
        cycle: str | None = None,
        sponsor: str | None = None,
        employee: str | None = None,
        status: str | None = None,
        seen: Limit = NO_LIMIT,
    ) -> Page[Prompt]:
        """Return prompts by id. `seen` is what who asks may see.

        Raises:
            BadCursor: the cursor is none of this list.
        """
        query = _where(
            _prompts(),
            {
                prompts.c.cycle_id: cycle,
                prompts.c.sponsor_id: sponsor,
                prompts.c.employee_id: employee,
                prompts.c.status: status,
            },
        )
        with self._engine.connect() as connection:
            query = query.where(seen.prompt(connection, _now(connection)))
            rows, following = _page(connection, query, "prompts", prompts.c.prompt_id, cursor, limit)
        return Page(items=[_prompt(row) for row in rows], next=following)

    def prompt(self, prompt_id: str, seen: Limit = NO_LIMIT) -> PromptDetail:
        """Return one prompt with its body, history and deliveries.

        Raises:
            NotKnown: there is none of that id, or not for who asks.
        """
        with self._engine.connect() as connection:
            may_be_seen = seen.prompt(connection, _now(connection))
            row = _one(connection, _prompts().where(prompts.c.prompt_id == prompt_id, may_be_seen), "prompt")
            history = _history(connection, prompt_history, prompt_history.c.prompt_id == prompt_id)
            sent = connection.execute(
                select(deliveries)
                .where(deliveries.c.prompt_id == prompt_id)
                .order_by(deliveries.c.version, deliveries.c.at, deliveries.c.outcome)
            ).mappings()
            attempts = [Delivery.model_validate(dict(delivery)) for delivery in sent]
        return PromptDetail(
            **dict(_prompt(row)),
            because_of=row["because_of"],
            sponsor_timezone=row["sponsor_timezone"],
            body_version=row["body_version"],
            body=row["body"],
            history=history,
            deliveries=attempts,
        )

    # -- gaps -------------------------------------------------------------------------------------

    def gaps(
        self,
        *,
        limit: int,
        cursor: str | None = None,
        cycle: str | None = None,
        employee: str | None = None,
        status: str | None = None,
        seen: Limit = NO_LIMIT,
    ) -> Page[Gap]:
        """Return gaps by id. `seen` is what who asks may see.

        Raises:
            BadCursor: the cursor is none of this list.
        """
        with self._engine.connect() as connection:
            now = _now(connection)
            query = _where(
                _gaps(now).where(seen.gap(connection, now)),
                {gaps.c.cycle_id: cycle, gaps.c.employee_id: employee, gaps.c.status: status},
            )
            rows, following = _page(connection, query, "gaps", gaps.c.gap_id, cursor, limit)
        return Page(items=[_gap(row) for row in rows], next=following)

    def gap(self, gap_id: str, seen: Limit = NO_LIMIT) -> GapDetail:
        """Return one gap with its history.

        Raises:
            NotKnown: there is none of that id, or not for who asks.
        """
        with self._engine.connect() as connection:
            now = _now(connection)
            row = _one(connection, _gaps(now).where(gaps.c.gap_id == gap_id, seen.gap(connection, now)), "gap")
            history = _history(connection, gap_history, gap_history.c.gap_id == gap_id)
        return GapDetail(**dict(_gap(row)), because_of=row["because_of"], history=history)


# -- queries --------------------------------------------------------------------------------------


def _now(connection: Connection) -> datetime | None:
    return connection.execute(select(clock.c.now)).scalar()


def _projected(connection: Connection) -> dict[Partition, int]:
    found = connection.execute(select(progress.c.topic, progress.c.partition, progress.c.next_offset))
    return {(topic, partition): offset for topic, partition, offset in found}


def _prompts() -> Select[Any]:
    mine = prompt_history.c.prompt_id == prompts.c.prompt_id
    updates = select(func.count()).where(mine, prompt_history.c.type == "prompt.updated").scalar_subquery()
    first = select(func.min(prompt_history.c.at)).where(mine, prompt_history.c.version == 1).scalar_subquery()
    return select(prompts, updates.label("updates"), first.label("first_opened_at"))


def _gaps(now: datetime | None) -> Select[Any]:
    person = in_force(now, "person")
    return select(gaps, person.c.name, person.c.level, person.c.unit_id, cycles.c.title).select_from(
        gaps.outerjoin(person, person.c.employee_id == gaps.c.employee_id).outerjoin(
            cycles, cycles.c.cycle_id == gaps.c.cycle_id
        )
    )


def _funnels(connection: Connection, cycle_ids: list[str]) -> dict[str, Funnel]:
    counted: dict[str, Counter[str]] = {cycle_id: Counter() for cycle_id in cycle_ids}
    for name, table in (("prompt", prompts), ("gap", gaps)):
        found = connection.execute(
            select(table.c.cycle_id, table.c.status, func.count())
            .where(table.c.cycle_id.in_(cycle_ids))
            .group_by(table.c.cycle_id, table.c.status)
        )
        for cycle_id, status, n in found:
            counted[cycle_id][f"{name}.{status}"] = n
    return {
        cycle_id: Funnel(
            prompts_standing=of["prompt.open"],
            prompts_fulfilled=of["prompt.fulfilled"],
            prompts_withdrawn=of["prompt.withdrawn"],
            gaps_standing=of["gap.open"],
            gaps_closed=of["gap.closed"],
        )
        for cycle_id, of in counted.items()
    }


def _history(connection: Connection, table: Any, mine: ColumnElement[bool]) -> list[Version]:
    found = connection.execute(
        select(table.c.event_id, table.c.version, table.c.type, table.c.at)
        .where(mine)
        .order_by(table.c.version, table.c.event_id)
    ).mappings()
    return [Version.model_validate(dict(row)) for row in found]


def _where(query: Select[Any], wanted: Mapping[ColumnElement[Any], Any]) -> Select[Any]:
    return query.where(*(column == value for column, value in wanted.items() if value is not None))


def _page(
    connection: Connection, query: Select[Any], of: str, key: ColumnElement[Any], cursor: str | None, limit: int
) -> tuple[list[RowMapping], str | None]:
    if cursor is not None:
        query = query.where(key > read_cursor(of, cursor))
    found = connection.execute(query.order_by(key).limit(limit + 1)).mappings().all()
    rows, last = cut(found, limit)
    return list(rows), None if last is None else write_cursor(of, last[key.name])


def _one(connection: Connection, query: Select[Any], what: str) -> RowMapping:
    row = connection.execute(query).mappings().first()
    if row is None:
        raise NotKnown(f"there is no {what} of this id")
    return row


def _count(connection: Connection, table: FromClause, which: ColumnElement[bool]) -> int:
    return connection.execute(select(func.count()).select_from(table).where(which)).scalar_one()


def _counts(connection: Connection, by: ColumnElement[str], table: FromClause | None = None) -> dict[str, int]:
    labelled = by.label("counted_by")
    query = select(labelled, func.count()).group_by(labelled)
    found = connection.execute(query if table is None else query.select_from(table))
    return dict(found.tuples().all())


# -- rows to answers ------------------------------------------------------------------------------


def _definition(measure: Measure) -> dict[str, Any]:
    return {name: getattr(measure, name) for name in MeasureDefinition.model_fields}


def _value(value: Value) -> MeasureValue:
    return MeasureValue(**{name: getattr(value, name) for name in MeasureValue.model_fields})


def _compared(one: Compared) -> ComparedValue:
    own = {name: getattr(one, name) for name in ComparedValue.model_fields if name != "as_of"}
    return ComparedValue(as_of=one.at, **own)


def _share(value: Value) -> dict[str, Any]:
    share = None if value.value is None else round(value.value, 4)
    return {"active": value.whole, "covered": value.part, "share": share}


def _employee(row: RowMapping) -> Employee:
    return Employee(**{name: row[name] for name in Employee.model_fields if name != "since"}, since=row["effective_at"])


def _cycle(row: RowMapping, funnels: Mapping[str, Funnel]) -> dict[str, Any]:
    own = {name: row[name] for name in Cycle.model_fields if name != "funnel"}
    return {**own, "funnel": funnels[row["cycle_id"]]}


_OF_A_PROMPT = frozenset(Prompt.model_fields) & frozenset((*prompts.c.keys(), "updates", "first_opened_at"))


def _prompt(row: RowMapping) -> Prompt:
    body = row["body"] or {}
    return Prompt(
        **{name: row[name] for name in _OF_A_PROMPT},
        cycle_title=body.get("opportunity", {}).get("title"),
        sponsor_name=body.get("sponsor_name"),
        employee_name=body.get("protege", {}).get("name"),
        pieces_of_evidence=len(body.get("evidence", ())),
    )


_OF_A_GAP = frozenset(Gap.model_fields) - {"cycle_title", "employee_name", "suggestions"}


def _gap(row: RowMapping) -> Gap:
    return Gap(
        **{name: row[name] for name in _OF_A_GAP},
        cycle_title=row["title"],
        employee_name=row["name"],
        suggestions=row["suggestions"] or [],
    )


def _career_events(counts: Iterable[RowMapping]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for row in counts:
        if row["topic"] != CAREER_EVENTS or row["type"] == UNREADABLE:
            continue
        if row["type"] in _EVERYBODYS_TYPES:
            total[row["type"]] = max(total[row["type"]], row["events"])
        else:
            total[row["type"]] += row["events"]
    return dict(sorted(total.items()))


def _topic_progress(
    counts: Iterable[RowMapping], lag: Mapping[Partition, int], topics: Iterable[str]
) -> list[TopicProgress]:
    projected: Counter[str] = Counter()
    unreadable: Counter[str] = Counter()
    for row in counts:
        projected[row["topic"]] += row["records"]
        if row["type"] == UNREADABLE:
            unreadable[row["topic"]] += row["records"]
    return [
        TopicProgress(
            topic=topic,
            projected=projected[topic],
            unreadable=unreadable[topic],
            lag=sum(records for (name, _), records in lag.items() if name == topic) if lag else None,
        )
        for topic in topics
    ]
