"""What a tally needs of an achievement in `career-events`; shared by the Python peers that decode by msgspec."""

from __future__ import annotations

import msgspec


class Achievement(msgspec.Struct):
    """What was done."""

    title: str
    impact: int


class Recorded(msgspec.Struct):
    """The event."""

    employee_id: str
    achievement: Achievement


class Tally(msgspec.Struct):
    """What is kept of an employee."""

    count: int
    impact: int
    titles: list[str]


read = msgspec.json.Decoder(Recorded).decode
