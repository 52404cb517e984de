"""Feeds a made-up company's records in, as its sources would: one by one, in batches, in bulk, straight to Kafka."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Final

import httpx
from kafka import KafkaProducer

from shared.company.records import Feed, FeedRecord
from shared.streaming.connection import security
from shared.streaming.topics import feed_topic

STRUCTURED: Final = "application/cloudevents+json"
BATCH: Final = "application/cloudevents-batch+json"
BULK: Final = "application/x-ndjson"
BATCH_SIZE: Final = 100

ON_KAFKA_ALREADY: Final = frozenset({"urn:example:jira", "urn:example:legacy", ""})
"""Sources that write to `feeds.*` themselves, as a company's own Kafka would; what is no CloudEvent comes that way too,
for the gateway would not let it in."""
IN_BATCHES: Final = frozenset({"urn:example:recognition"})
ONE_BY_ONE: Final = frozenset({"cycles", "endorsements"})


class NotTaken(Exception):
    """The gateway did not take what it should have; the message is its answer."""


def source_of(record: FeedRecord) -> str:
    """Return the CloudEvent's source, or nothing where the record is no CloudEvent."""
    return str(json.loads(record.value)["source"]) if record.id else ""


class Feeder:
    """Sends records the way their source does, in the order in which they are given for each feed and source."""

    def __init__(self, gateway: str, tokens: Mapping[str, str], bootstrap_servers: str) -> None:
        self._tokens = tokens
        self._http = httpx.Client(base_url=gateway, timeout=60.0, trust_env=False)
        self._producer = KafkaProducer(bootstrap_servers=bootstrap_servers, **security(), acks="all", linger_ms=5)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()
        self._producer.close()

    def feed(self, records: Iterable[FeedRecord], fed: Callable[[int], None]) -> None:
        """Send all records; `fed` is told how many have been taken, each time some have.

        Raises:
            NotTaken: the gateway refused some.
            httpx.HTTPError: it could not be reached.
            kafka.errors.KafkaError: Kafka could not.
        """
        sorted_out: dict[tuple[Feed, str], list[FeedRecord]] = defaultdict(list)
        for record in records:
            sorted_out[record.feed, source_of(record)].append(record)
        for (feed, source), theirs in sorted_out.items():
            if source in ON_KAFKA_ALREADY:
                self._straight_to_kafka(feed, theirs)
                fed(len(theirs))
            elif feed in ONE_BY_ONE:
                for number, record in enumerate(theirs):
                    self._one(feed, source, record, binary=number % 2 == 1)
                    fed(1)
            elif source in IN_BATCHES:
                for batch in _batches(theirs, BATCH_SIZE):
                    self._post(feed, source, BATCH, b"[" + b",".join(record.value for record in batch) + b"]")
                    fed(len(batch))
            else:
                self._post(feed, source, BULK, b"\n".join(record.value for record in theirs))
                fed(len(theirs))

    def _one(self, feed: Feed, source: str, record: FeedRecord, *, binary: bool) -> None:
        if not binary:
            self._post(feed, source, STRUCTURED, record.value)
            return
        event = json.loads(record.value)
        data = event.pop("data")
        headers = {f"ce-{name}": str(value) for name, value in event.items() if name != "datacontenttype"}
        self._post(feed, source, event["datacontenttype"], json.dumps(data).encode(), headers)

    def _post(
        self, feed: Feed, source: str, content_type: str, body: bytes, headers: Mapping[str, str] | None = None
    ) -> None:
        answer = self._http.post(
            f"/v1/feeds/{feed}",
            content=body,
            headers={
                "content-type": content_type,
                "authorization": f"Bearer {self._tokens[source]}",
                **(headers or {}),
            },
        )
        if answer.status_code != httpx.codes.ACCEPTED or answer.json().get("rejected"):
            raise NotTaken(f"POST /v1/feeds/{feed} from {source}: {answer.status_code} {answer.text[:1000]}")

    def _straight_to_kafka(self, feed: Feed, records: Sequence[FeedRecord]) -> None:
        sent = [self._producer.send(feed_topic(feed), key=r.key.encode(), value=r.value) for r in records]
        self._producer.flush()
        for one in sent:
            one.get(timeout=30)


def _batches(records: Sequence[FeedRecord], size: int) -> Iterator[list[FeedRecord]]:
    left = iter(records)
    while batch := list(islice(left, size)):
        yield batch
