"""Offers webhooks at a rate, whatever becomes of them: a process of its own, so that nobody else delays it.

Each is due at a time that was fixed beforehand, and latencies count from that time. One that can't be sent then, as
all connections wait for answers, goes out as soon as it can, late: what a caller would have waited is not left out.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Final, Self

from aiokafka import AIOKafkaProducer

from bench.http_load import Connection, Unanswered, post
from bench.issues import SOURCE, webhook

_CONNECTIONS: Final = 150
"""To a gateway, which lets 200 in at a time. What is offered while all are busy waits here, and its time counts."""
_AGAIN_SECONDS: Final = 0.1


@dataclass(frozen=True, slots=True)
class Offer:
    """What is offered.

    Attributes:
        first: the number of the first webhook.
        count: how many.
        rate: how many a second.
        begin: when the first is due, in seconds since 1970.
        people: whom they are about, in turn.
        port: of the gateway; or else
        topic: where their bodies are written to, without a gateway.
    """

    first: int
    count: int
    rate: int
    begin: float
    people: int
    port: int = 0
    topic: str = ""

    def due(self, number: int) -> float:
        """Return when a webhook is due."""
        return self.begin + (number - self.first) / self.rate

    def argument(self) -> str:
        """Return it as this program's argument."""
        return json.dumps(asdict(self))

    @classmethod
    def read(cls, argument: str) -> Self:
        """Return what an argument says."""
        return cls(**json.loads(argument))


@dataclass(frozen=True, slots=True)
class Offered:
    """What became of it.

    Attributes:
        accepted: how many were taken in the end: all.
        refused: answers that told to come back later.
        latest_seconds: how late one was sent at worst.
        took_seconds: from when the first was due until the last was taken.
        cpu_seconds: what the sending itself took.
    """

    accepted: int
    refused: int
    latest_seconds: float
    took_seconds: float
    cpu_seconds: float

    @property
    def per_second(self) -> float:
        """How many were taken a second."""
        return self.accepted / self.took_seconds


async def offer(what: Offer) -> Offered:
    """Send each when it is due, until all are taken."""
    return await (_to_gateway(what) if what.port else _to_kafka(what))


def _offered(what: Offer, refused: int, latest: float, cpu_before: float) -> Offered:
    return Offered(what.count, refused, latest, time.time() - what.begin, time.process_time() - cpu_before)


async def _to_gateway(what: Offer) -> Offered:
    ready = [_request(what, number) for number in range(what.first, what.first + what.count)]
    due: asyncio.Queue[int] = asyncio.Queue()
    refused, latest, cpu_before = 0, 0.0, time.process_time()

    async def send() -> None:
        nonlocal refused, latest
        with Connection(what.port) as connection:
            while True:
                number = await due.get()
                latest = max(latest, time.time() - what.due(number))
                while True:
                    try:
                        answer = await connection.ask(ready[number - what.first])
                    except Unanswered:
                        await asyncio.sleep(_AGAIN_SECONDS)
                        continue
                    if answer.status == 200:
                        break
                    if answer.status != 503:
                        raise RuntimeError(f"answered {answer.status}: {answer.body[:500]!r}")
                    refused += 1
                    await asyncio.sleep(int(answer.headers["retry-after"]))
                due.task_done()

    async def all_taken() -> None:
        await _each_when_due(what, due.put)
        await due.join()

    senders = [asyncio.create_task(send()) for _ in range(_CONNECTIONS)]
    try:
        done, _ = await asyncio.wait([asyncio.create_task(all_taken()), *senders], return_when="FIRST_COMPLETED")
        for task in done:
            task.result()
    finally:
        for task in senders:
            task.cancel()
    return _offered(what, refused, latest, cpu_before)


def _request(what: Offer, number: int) -> bytes:
    body, signature = webhook(number, what.people, what.due(number))
    headers = {"Content-Type": "application/json", "X-Hub-Signature": signature}
    return post(f"/v1/sources/{SOURCE}", headers, body)


async def _to_kafka(what: Offer) -> Offered:
    ready = [webhook(number, what.people, what.due(number))[0] for number in range(what.first, what.first + what.count)]
    latest, cpu_before = 0.0, time.process_time()
    sent = []
    producer = AIOKafkaProducer(bootstrap_servers=os.environ["BENCH_BOOTSTRAP_SERVERS"], acks="all")
    await producer.start()
    try:

        async def send(number: int) -> None:
            nonlocal latest
            latest = max(latest, time.time() - what.due(number))
            key = b"%d" % (number % what.people)
            sent.append(await producer.send(what.topic, ready[number - what.first], key))

        await _each_when_due(what, send)
        await asyncio.gather(*sent)
    finally:
        await producer.stop()
    return _offered(what, 0, latest, cpu_before)


async def _each_when_due(what: Offer, send: Callable[[int], Awaitable[None]]) -> None:
    for number in range(what.first, what.first + what.count):
        if (ahead := what.due(number) - time.time()) > 0:
            await asyncio.sleep(ahead)
        await send(number)


if __name__ == "__main__":
    print(json.dumps(asdict(asyncio.run(offer(Offer.read(sys.argv[1]))))))
