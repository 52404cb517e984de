"""Knows which employee a ref names: reads the whole of `identities` into memory, and goes on reading."""

from __future__ import annotations

from datetime import datetime

import structlog

from shared.contracts.identities import read_identity
from shared.contracts.ids import EmployeeId, Ref
from shared.streaming.following import Follower
from shared.streaming.metrics import IDENTITIES_KNOWN
from shared.streaming.names import Names
from shared.streaming.person_keys import Keyring
from shared.streaming.topics import IDENTITIES

log = structlog.get_logger(__name__)


class Directory:
    """All refs that are known, in this process. A part of a `StreamService`: up to date before records flow.

    Args:
        bootstrap_servers: Kafka.
        keys: open what is sealed.
    """

    def __init__(self, bootstrap_servers: str, keys: Keyring) -> None:
        self._names = Names()
        self._follower = Follower(bootstrap_servers, IDENTITIES, self._learn, keys)

    def find(self, ref: Ref, at: datetime) -> EmployeeId | None:
        """Return the employee whom `ref`, said at `at`, names, or None."""
        return self._names.find(ref, at)

    async def start(self) -> None:
        """Read all that there is; return when the end, as it was at the start, has been reached."""
        await self._follower.start()
        log.info("directory read", refs=len(self._names))

    async def stop(self) -> None:
        """Stop reading."""
        await self._follower.stop()

    async def catch_up(self) -> None:
        """Return when all that had been written to `identities` at the time of the call is known here.

        Raises:
            KafkaError: it can't be read, or its ends can't be had for 40 s.
        """
        await self._follower.catch_up()

    def _learn(self, key: bytes, value: bytes | None) -> None:
        if value is None:
            return  # nobody writes tombstones here: a claim that has ended says so
        try:
            self._names.learn(read_identity(key, value))
        except ValueError:
            log.exception("a record of identities can't be read", key=key)
        IDENTITIES_KNOWN.set(len(self._names))
