"""Cuts text to what a receiver has room for."""

from __future__ import annotations


def cut(text: str, most: int) -> str:
    """Return `text`, with an ellipsis as its end where it is longer than `most` characters."""
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"
