"""Keys of people without a topic: one for each name, made when it is first asked for, or gone."""

from __future__ import annotations

from hashlib import sha256

from shared.contracts.ids import Ref
from shared.streaming.sealed_states import Shape, seal_entry, with_opened_parts
from shared.streaming.sealing import open_sealed


class Keys:
    """The keys of everybody.

    Args:
        but: whose keys are gone: somebody's of whom this is part of a name.
        like: keys that these are those of.
    """

    def __init__(self, *, but: str | None = None, like: Keys | None = None) -> None:
        self._names: dict[bytes, Ref] = {} if like is None else like._names
        self._but = but

    def id_of(self, name: Ref) -> bytes:
        """Return the id of a name's key."""
        key_id = sha256(name.encode()).digest()[:16]
        self._names[key_id] = name
        return key_id

    def key_of(self, key_id: bytes) -> bytes | None:
        """Return a key; None for one that is gone."""
        name = self._names[key_id]
        return None if self._but is not None and self._but in name else sha256(b"key of " + name.encode()).digest()

    def seal(self, changelog: str, shape: Shape, key: str, value: bytes) -> bytes:
        """Return a state's entry as it lies."""
        about = shape.people_in(key, value)
        return seal_entry(changelog, b"0/" + key.encode(), value, about, shape, self.id_of, self.key_of)

    def open(self, changelog: str, shape: Shape, value: bytes) -> bytes | None:
        """Return it as its service knows it; None where nothing is left of it."""
        content = open_sealed(changelog, value, self.key_of)
        if content is None:
            return None
        return with_opened_parts(changelog, content.value, content.headers, shape, self.key_of)
