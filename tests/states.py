"""States without a broker or a disk: what settles goes into a dict."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace

from shared.streaming.state import KeyedState


class Held:
    """What a write-back store does, in one dict for all partitions, as keys say their partition."""

    def __init__(self, held: dict[bytes, bytes]) -> None:
        self.held = held

    def value(self, partition: int, key: bytes) -> bytes | None:
        return self.held.get(key)

    def scan(self, partition: int, after: bytes, most: int) -> list[tuple[bytes, bytes]]:
        return sorted(item for item in self.held.items() if item[0] > after and item[0].startswith(b"%d/" % partition))[
            :most
        ]

    def change(self, partition: int, changes: Mapping[bytes, bytes | None]) -> None:
        for key, value in changes.items():
            if value is None:
                self.held.pop(key, None)
            else:
                self.held[key] = value

    def dirty_bytes(self, partition: int) -> int:
        return 0

    def estimated_keys(self) -> int:
        return len(self.held)


def a_state(held: dict[bytes, bytes] | None = None, *, name: str = "test") -> KeyedState:
    """Return a state whose settled values are these, and go there."""
    store = Held({} if held is None else held)
    return KeyedState(SimpleNamespace(name=name, changelog_topic_name=f"{name}-changelog", data=store))
