"""Makes the webhooks of the latency benchmark: issues that are resolved again and again, each time told in other words.

Each person has one issue, which stands as the evidence of one prompt, so every webhook changes a prompt.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

from shared.company.records import FeedRecord, feed_record

SOURCE: Final = "jira"
SECRET: Final = "a-secret-for-benchmarks"
HRIS: Final = "urn:example:hris"
_NUMBER: Final = re.compile(rb"Resolved for the (\d+)\. time")


def company(people: int, now: datetime) -> Iterator[FeedRecord]:
    """Yield what makes each of so many people somebody with a sponsor of their own, and a cycle that all are in."""
    long_ago = now - timedelta(days=1000)

    def hris(number: str, event_type: str, subject: str, **data: object) -> FeedRecord:
        return feed_record(
            "people", event_id=number, source="hris", event_type=event_type, subject=subject, time=long_ago, data=data
        )

    yield hris("unit", "unit.defined", "unit:U1", unit_id="U1", name="All")
    for n in range(people):
        for employee, level in ((f"P{n}", 4), (f"S{n}", 8)):
            yield hris(
                f"hired-{employee}",
                "employee.hired",
                f"hris:{employee}",
                employee_id=employee,
                name=f"Employee {employee}",
                email=f"{employee}@example.com",
                external_ids={"jira": employee},
                level=level,
                level_since="2020-01-01",
                unit_id="U1",
                timezone="UTC",
                effective_at="2020-01-01T00:00:00Z",
            )
        yield hris(
            f"sponsor-{n}",
            "relationship.started",
            f"hris:P{n}",
            relationship_id=f"sponsor-{n}",
            kind="sponsor",
            employee=f"hris:P{n}",
            other=f"hris:S{n}",
            started_at="2021-01-01T00:00:00Z",
        )
    yield feed_record(
        "cycles",
        event_id="opened",
        source="hris",
        event_type="cycle.opened",
        subject="cycle:bench",
        time=now,
        data={
            "cycle_id": "bench",
            "kind": "promotion",
            "title": "Spring promotions",
            "levels": [4],
            "competencies": ["delivery"],
            "evidence_from": "2020-01-01",
            "evidence_to": f"{now + timedelta(days=300):%Y-%m-%d}",
            "opens_at": f"{now - timedelta(days=1):%Y-%m-%dT%H:%M:%SZ}",
            "closes_at": f"{now + timedelta(days=300):%Y-%m-%dT%H:%M:%SZ}",
        },
    )


def webhook(number: int, people: int, at: float) -> tuple[bytes, str]:
    """Return the body of a webhook, and its signature as Jira Cloud sends it.

    Args:
        number: which one; they go round among the people.
        people: how many there are.
        at: when it was so, in seconds since 1970.
    """
    person = number % people
    resolved = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
    body = json.dumps(
        {
            "timestamp": int(at * 1000),
            "webhookEvent": "jira:issue_updated",
            "issue": {
                "key": f"BENCH-{person}",
                "self": f"https://example.com/browse/BENCH-{person}",
                "fields": {
                    "summary": f"Resolved for the {number}. time",
                    "resolutiondate": resolved,
                    "labels": ["delivery"],
                    "assignee": {"accountId": f"P{person}"},
                    "priority": {"name": "High"},
                },
            },
            "changelog": {"items": [{"field": "resolution", "from": None, "to": "10000", "toString": "Done"}]},
        }
    ).encode()
    return body, "sha256=" + hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()


def numbers_in(value: bytes) -> list[int]:
    """Return the numbers of the webhooks that a record or a message was made of."""
    return [int(found) for found in _NUMBER.findall(value)]
