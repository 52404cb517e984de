"""Draws numbers that depend on nothing but what they are drawn for: the same in every process, version and order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeVar

T = TypeVar("T")

_MASK: Final = (1 << 64) - 1
_GOLDEN: Final = 0x9E3779B97F4A7C15


class Draws:
    """An endless row of numbers for one purpose, by SplitMix64 (Steele, Lea, Flood 2014).

    `random.Random` would do as well, but takes longer to seed than a whole employee takes to make.
    """

    __slots__ = ("_state",)

    def __init__(self, seed: int, *purpose: int) -> None:
        state = _mixed(seed & _MASK)
        for part in purpose:
            state = _mixed((state ^ part) + _GOLDEN & _MASK)
        self._state = state

    def below(self, bound: int) -> int:
        """Return a number from 0 to `bound` - 1."""
        self._state = self._state + _GOLDEN & _MASK
        return _mixed(self._state) * bound >> 64

    def between(self, low: int, high: int) -> int:
        """Return a number from `low` to `high`, both included."""
        return low + self.below(high - low + 1)

    def chance(self, percent: int) -> bool:
        """Return True in `percent` of 100 draws."""
        return self.below(100) < percent

    def one_of(self, things: Sequence[T]) -> T:
        """Return one of `things`."""
        return things[self.below(len(things))]

    def weighted(self, weights: Sequence[int]) -> int:
        """Return a position in `weights`, each as often as its weight says."""
        rest = self.below(sum(weights))
        for position, weight in enumerate(weights):
            rest -= weight
            if rest < 0:
                return position
        raise AssertionError("a draw below the sum of weights always falls on one of them")


def _mixed(state: int) -> int:
    state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & _MASK
    state = (state ^ state >> 27) * 0x94D049BB133111EB & _MASK
    return state ^ state >> 31
