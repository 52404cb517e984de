"""What the prompter remembers of each sponsor: prompts, their choices, what they were told and when.

Plain values and their encoding; what they mean is in `learning` and `rules`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

from shared.contracts.outputs import ChannelName, Outcome

Key = tuple[datetime, str]
"""When it was said, and the id of the event that said it: of two the greater holds."""


class Held(msgspec.Struct, frozen=True, omit_defaults=True):
    """One prompt, in its newest version.

    Attributes:
        event: the prompt event as it came; empty once nothing will be made of it any more.
        offset: where it lay, for a dead letter.
        asks: it asks something of the sponsor; else it has been withdrawn or fulfilled.
        closes_at: when the decision closes; None where it does not ask.
        strength: how many reasons its evidence has.
        snoozed_until: the sponsor's own wish, in force when the correlator decided this version.
        since: when this version came, by the clock on the wall.
        outcome: what became of this version; None while that is open.
        shown_version: the newest version that a channel has up, or may have: an answer was lost. 0 for none.
        shown_by: that channel.
        told_at: when the sponsor was told of it last.
        noted: why it waits, as it was last recorded.
    """

    version: int
    event: bytes
    offset: int
    asks: bool
    employee_id: str
    since: datetime
    closes_at: datetime | None = None
    strength: int = 0
    snoozed_until: datetime | None = None
    outcome: Outcome | None = None
    shown_version: int = 0
    shown_by: ChannelName | None = None
    told_at: datetime | None = None
    noted: str = ""


class Part(msgspec.Struct, frozen=True):
    """What a message says of one prompt.

    Attributes:
        record_id: the id under which its outcome is recorded: the prompt event's, or the reminder's own.
        reminder: this version has been told before.
    """

    prompt_id: str
    version: int
    record_id: str
    reminder: bool = False


class Outgoing(msgspec.Struct, frozen=True):
    """A message that is under way. It is kept before the first attempt, so that after a crash it goes on as it was.

    Attributes:
        id: the idempotency key, the same at each attempt and in each channel.
        may_have_arrived: an answer was lost, or may have been: the process died meanwhile.
        language: the tag of what it is written in. Kept, so that what is sent again is what was sent.
        timezone: in which its times are written, for the same reason; empty where it is that of each prompt.
    """

    id: str
    kind: Literal["ask", "digest", "end"]
    parts: tuple[Part, ...]
    may_have_arrived: bool = False
    language: str = "en"
    timezone: str = ""


class Choices(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the sponsor has chosen; of each kind the latest.

    Attributes:
        preferences: when, and the choice as it came.
    """

    stopped: Key | None = None
    resumed: Key | None = None
    not_mine: dict[str, Key] = {}
    mine: dict[str, Key] = {}
    preferences: tuple[Key, bytes] | None = None


class Sponsor(msgspec.Struct, frozen=True, omit_defaults=True):
    """All that is known of a sponsor.

    Attributes:
        described: the event that `timezone`, `locale` and `refs` are from.
        told: when messages that ask something reached them, within the last seven days.
    """

    sponsor_id: str
    prompts: dict[str, Held] = {}
    choices: Choices = Choices()
    described: Key | None = None
    timezone: str = "UTC"
    locale: str | None = None
    refs: tuple[str, ...] = ()
    told: tuple[datetime, ...] = ()
    outgoing: Outgoing | None = None


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Sponsor)


def encode(sponsor: Sponsor) -> bytes:
    """Return the sponsor as bytes."""
    return _encoder.encode(sponsor)


def decode(value: bytes) -> Sponsor:
    """Return the sponsor of these bytes.

    Raises:
        msgspec.ValidationError: they are none.
    """
    return _decoder.decode(value)
