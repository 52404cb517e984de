"""Writes who read what to `reads-audit`, before it is shown."""

from __future__ import annotations

from typing import Final

from shared.contracts.audit import ReadAudited
from shared.contracts.career import write_contract
from shared.service.access import NotNoted
from shared.streaming.records import Output
from shared.streaming.service import StreamService, Unwritten
from shared.streaming.topics import READS_AUDIT

_WITHIN_SECONDS: Final = 5.0


async def note_reading(service: StreamService, read: ReadAudited) -> None:
    """Return when Kafka has acknowledged the note.

    Raises:
        NotNoted: it has not, in time.
    """
    try:
        await service.write_within(_WITHIN_SECONDS, [Output(READS_AUDIT, read.who.encode(), write_contract(read))])
    except Unwritten as exc:
        raise NotNoted(str(exc)) from exc
