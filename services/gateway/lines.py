"""Cuts a stream of bytes into lines, holding never more than one line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Line:
    """A line of an upload.

    Attributes:
        number: counted from 1, as editors do; blank lines count.
        content: the bytes without the line's end; None when the line was longer than allowed and so not kept.
    """

    number: int
    content: bytes | None


class LineCutter:
    """Takes chunks as they come, gives lines as they end; a line ends with LF or CR LF, the last one with the stream.

    Args:
        longest: how many bytes a line may have, its end not counted.
    """

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._begun = bytearray()
        self._too_long = False
        self._number = 0

    def feed(self, chunk: bytes) -> Iterator[Line]:
        """Give the lines that end in `chunk`; blank ones are left out. Exhaust before the next call."""
        start = 0
        while (end := chunk.find(b"\n", start)) >= 0:
            self._keep(chunk, start, end)
            start = end + 1
            yield from self._line()
        self._keep(chunk, start, len(chunk))

    def finish(self) -> Iterator[Line]:
        """Give the last line, where the stream did not end with a line's end."""
        if self._begun or self._too_long:
            yield from self._line()

    def _keep(self, chunk: bytes, start: int, end: int) -> None:
        # One byte more than the longest line: the CR of its end may be among them.
        if not self._too_long and len(self._begun) + end - start <= self._longest + 1:
            self._begun += chunk[start:end]
        else:
            self._too_long = True
            self._begun.clear()

    def _line(self) -> Iterator[Line]:
        content = bytes(self._begun).removesuffix(b"\r")
        too_long = self._too_long or len(content) > self._longest
        self._begun.clear()
        self._too_long = False
        self._number += 1
        if too_long:
            yield Line(self._number, None)
        elif content.strip():
            yield Line(self._number, content)
