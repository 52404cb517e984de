"""The gateway's way to Kafka: what goes wrong on it becomes the problem that a sender is told."""

from __future__ import annotations

from collections.abc import Awaitable, Generator, Sequence
from contextlib import contextmanager
from typing import Any, Final, Protocol

from services.gateway.metrics import ACK_SECONDS, BYTES_IN_FLIGHT, RECORDS_IN_FLIGHT
from services.gateway.problems import Busy, TooLarge, Unavailable
from shared.streaming.person_keys import Keyring
from shared.streaming.records import Output
from shared.streaming.sink import KafkaSink, NoRoom, RecordTooLarge, SinkMetrics, Unacknowledged
from shared.streaming.topics import ATTRIBUTES_FEED, FEEDS, SOURCES_RECEIVED, dead_topic, feed_topic

METRICS: Final = SinkMetrics(RECORDS_IN_FLIGHT, BYTES_IN_FLIGHT, ACK_SECONDS)
_SEND_AGAIN = "send the request again; events that were written after all are recognised by source and id"


class Sink(Protocol):
    """Where records go."""

    async def send(self, records: Sequence[Output], *, patient: bool = False) -> Awaitable[None]:
        """Take `records`, in order; return what to await for their being safe, which raises a Problem if they are not.

        Args:
            records: what to write.
            patient: when there is no room, wait for some instead of raising.

        Raises:
            Busy: too much is under way.
            Unavailable: Kafka can't be reached.
        """


def kafka_sink(
    bootstrap_servers: str, keys: Keyring, *, ack_seconds: float, max_records: int, max_bytes: int
) -> KafkaSink:
    """Return the way to the feeds and their dead letters; see `KafkaSink`."""
    return KafkaSink(
        bootstrap_servers,
        name="gateway",
        topics=[
            *(name for feed in (*FEEDS, ATTRIBUTES_FEED) for name in (feed_topic(feed), dead_topic(feed_topic(feed)))),
            SOURCES_RECEIVED,
        ],
        metrics=METRICS,
        keys=keys,
        ack_seconds=ack_seconds,
        max_records=max_records,
        max_bytes=max_bytes,
    )


class FeedSink:
    """A `Sink` over Kafka."""

    def __init__(self, kafka: KafkaSink) -> None:
        self._kafka = kafka

    async def send(self, records: Sequence[Output], *, patient: bool = False) -> Awaitable[None]:
        """Take `records`; see `Sink`."""
        with _as_problems():
            return _Told(await self._kafka.send(records, patient=patient))


class _Told:
    """What is under way, its failure told as a problem. Not a coroutine: nobody may be left who awaits it."""

    def __init__(self, sending: Awaitable[None]) -> None:
        self._sending = sending

    def __await__(self) -> Generator[Any, None, None]:
        with _as_problems():
            yield from self._sending.__await__()


@contextmanager
def _as_problems() -> Generator[None, None, None]:
    try:
        yield
    except NoRoom as exc:
        raise Busy(str(exc)) from exc
    except RecordTooLarge as exc:
        raise TooLarge(f"{exc}; its message.max.bytes is below GATEWAY_MAX_EVENT_BYTES") from exc
    except Unacknowledged as exc:
        raise Unavailable(f"{exc}; {_SEND_AGAIN}") from exc
