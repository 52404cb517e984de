"""Names of things: which id an employee, an event, a prompt or a gap has, the same however often it is computed.

Ids are UUIDs of version 5 (RFC 9562, section 5.5) over the parts that make a thing what it is, so a source that
sends an event twice, or a service that replays its log, arrives at the same id.
"""

from __future__ import annotations

import uuid
from hashlib import sha1
from typing import NewType

EmployeeId = NewType("EmployeeId", str)
"""The canonical id of a person: the id of the primary HRIS."""
CycleId = NewType("CycleId", str)
UnitId = NewType("UnitId", str)
AchievementId = NewType("AchievementId", str)
EndorsementId = NewType("EndorsementId", str)
RelationshipId = NewType("RelationshipId", str)
EventId = NewType("EventId", str)
PromptId = NewType("PromptId", str)
GapId = NewType("GapId", str)
Ref = NewType("Ref", str)
"""How a source names a person: ``scheme:value``, as ``hris:E00017``, ``email:ann@example.com``, ``github:ann``."""

_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:sponsorship-tracker").bytes
_SEPARATOR = "\x1f"  # cannot occur in an id that came as text, so ("a", "bc") and ("ab", "c") stay apart


def prompt_id(cycle_id: CycleId, protege_id: EmployeeId, sponsor_id: EmployeeId) -> PromptId:
    """Return the id of the one prompt for this cycle, protégé and sponsor."""
    return PromptId(stable_id("prompt", cycle_id, protege_id, sponsor_id))


def gap_id(cycle_id: CycleId, employee_id: EmployeeId) -> GapId:
    """Return the id of the one gap for this cycle and employee."""
    return GapId(stable_id("gap", cycle_id, employee_id))


def version_event_id(thing_id: str, version: int) -> EventId:
    """Return the id of the event that brings a prompt or a gap to `version`; it is the idempotency key downstream."""
    return EventId(stable_id("version", thing_id, str(version)))


def feed_event_id(source: str, event_id: str, part: str = "") -> EventId:
    """Return the id of the career event made of a feed event.

    CloudEvents 1.0 ("id", section Required Attributes): `source` + `id` identify an event; a producer that sends it
    again keeps both. `part` tells apart the several career events that one feed event may become.
    """
    return EventId(stable_id("feed", source, event_id, part))


def normalised_ref(text: str) -> Ref:
    """Return `text` as a `Ref`: a bare value with an @ is an email, another bare value an HRIS id.

    Emails are folded to lower case, for sources do not agree on case; other schemes keep theirs.

    Raises:
        ValueError: the text is empty or has an empty scheme or value.
    """
    text = text.strip()
    scheme, colon, value = text.partition(":")
    if not colon:
        scheme, value = ("email" if "@" in text else "hris"), text
    scheme, value = scheme.strip().lower(), value.strip()
    if not scheme or not value:
        raise ValueError(f"{text!r} names nobody: write scheme:value, as hris:E00017 or email:ann@example.com")
    return Ref(f"{scheme}:{value.lower() if scheme == 'email' else value}")


def stable_id(*parts: str) -> str:
    """Return the UUID (version 5) over `parts`, in order."""
    # As `uuid.uuid5` does it, without its object: an opened prompt has two ids, which were a tenth of its cost.
    digest = sha1(_NAMESPACE + _SEPARATOR.join(parts).encode(), usedforsecurity=False).digest()
    number = bytearray(digest[:16])
    number[6] = number[6] & 0x0F | 0x50
    number[8] = number[8] & 0x3F | 0x80
    text = number.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
