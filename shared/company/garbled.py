"""The plainly bad payloads of the demo's story: each can be understood by nobody, for a reason of its own."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from shared.company.cycles import ROLE_CYCLE
from shared.company.records import Feed, FeedRecord, feed_record
from shared.contracts.base import utc


def garbled_records() -> Iterator[FeedRecord]:
    """Yield each of them once; none says anything about prompts or gaps that a good record does not."""
    yield FeedRecord("people", "E00003", b'{"specversion": "1.0", "id": "torn-off", "type": "employee.chan')
    yield _event("people", "employee.teleported", "E00004", {"employee_id": "E00004", "to": "Mars"})
    yield _event("people", "employee.changed", "E00005", {"employee_id": "E00005", "timezone": "Mars/Olympus_Mons"})
    yield _event("people", "employee.hired", "E99998", {"name": "Nobody Atall", "level": 2})

    yield FeedRecord("achievements", "E00006", b'{"kudos": 5, "to": "E00006"}')
    yield FeedRecord("achievements", "E00007", b"\x00\xff\xfe not even text")
    done = {"achievement_id": "bad-1", "employee": "E00008", "title": "Delivered Keelson", "occurred_on": "2026-08-01"}
    yield _event("achievements", "achievement.recorded", "E00008", done | {"occurred_on": "2026-02-30"})
    yield _event("achievements", "achievement.recorded", "E00008", {k: v for k, v in done.items() if k != "title"})
    yield _event("achievements", "achievement.rumoured", "E00008", done)

    no_zone = (ROLE_CYCLE.fact.opens_at - timedelta(days=1)).replace(tzinfo=None).isoformat()
    cycle = ROLE_CYCLE.payload() | {"cycle_id": "cycle-without-zone", "opens_at": no_zone}
    yield _event("cycles", "cycle.opened", "cycle-without-zone", cycle)

    sent = {"endorsement_id": "bad-2", "employee": "E00009", "statement": "Trust me."}
    yield _event("endorsements", "endorsement.given", "E00009", sent)
    yield _event("endorsements", "endorsement.given", "E00009", sent | {"sponsor": "E00001", "given_at": "last Friday"})


def _event(feed: Feed, event_type: str, subject: str, data: dict[str, Any]) -> FeedRecord:
    return feed_record(
        feed,
        event_id=f"garbled-{event_type}-{subject}-{len(data)}",
        source="legacy",
        event_type=event_type,
        subject=subject,
        time=utc(2026, 8, 30, 12),
        data=data,
    )
