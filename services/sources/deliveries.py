"""Makes deliveries of what came by no webhook: records of lists that are polled, and of topics."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from services.sources.handlers import SERVICE
from shared.sources.declaration import Declaration
from shared.sources.delivery import Delivery, to_record
from shared.sources.mapping import key_of
from shared.sources.rows import LONGEST_ROW
from shared.streaming.records import Output, Record
from shared.streaming.service import dead_letter
from shared.streaming.topics import LARGEST_RECORD, SOURCES_RECEIVED

_NOWHERE: Final = -1
_LARGEST_LETTER: Final = LARGEST_RECORD - 64 * 1024
"""Bytes: beside the value, a dead letter has a reason and headers."""


def received(declaration: Declaration, delivery: Delivery) -> Output:
    """Return the record of `sources.received` that a delivery is, or a dead letter where it is too large for one."""
    if len(delivery.body) > LONGEST_ROW:
        reason = f"has {len(delivery.body)} bytes, and may have {LONGEST_ROW}: let the source give fewer fields"
        return unfit(declaration, delivery, reason)
    return to_record(declaration, delivery, key_of(declaration, delivery))


def unfit(declaration: Declaration, delivery: Delivery, reason: str) -> Output:
    """Return the dead letter of what can't be delivered, without its body where that is larger than a letter may be."""
    kept = delivery if len(delivery.body) <= _LARGEST_LETTER else replace(delivery, body=b"")
    output = to_record(declaration, kept, declaration.name)
    place = (SOURCES_RECEIVED, _NOWHERE, _NOWHERE)
    return dead_letter(Record(*place, output.key, output.value, output.headers, delivery.received_at), reason, SERVICE)
