"""States without a broker or a disk: what settles goes into a dict."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import SimpleNamespace
from typing import Never

from shared.streaming.state import KeyedState


class Held:
    """What a write-back store does, in one dict for all partitions, as keys say their partition."""

    def __init__(self, held: dict[bytes, bytes]) -> None:
        self.held = held
        self.changed: list[bytes] = []
        """What the last run changed, in its order."""

    def load(self, partition: int, keys: Iterable[bytes]) -> None:
        """Do nothing: all is in memory."""

    def value(self, partition: int, key: bytes) -> bytes | None:
        return self.held.get(key)

    def scan(self, partition: int, after: bytes, most: int) -> list[tuple[bytes, bytes]]:
        return sorted(item for item in self.held.items() if item[0] > after and item[0].startswith(b"%d/" % partition))[
            :most
        ]

    def change(self, partition: int, changes: Mapping[bytes, bytes | None]) -> None:
        self.changed = list(changes)
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


def changed(state: KeyedState) -> list[bytes]:
    """Settle what a run has changed, and return its keys as they are stored."""
    store: Held = state._store
    store.changed = []
    state.settle()
    return store.changed


def never_kept(_outputs: object) -> Never:
    """Fail: nothing in this test is so large that it is made safe in the midst of a run."""
    raise AssertionError("kept in the midst of a run")
