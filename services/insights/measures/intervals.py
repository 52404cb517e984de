"""Confidence intervals of shares, and of the difference of two."""

from __future__ import annotations

from math import sqrt
from typing import Final

Z_95: Final = 1.959963984540054
"""The standard normal's 97.5 % quantile."""


def wilson(part: int, whole: int) -> tuple[float, float]:
    """Return the 95 % score interval of a share.

    Wilson, E. B. (1927), "Probable inference, the law of succession, and statistical inference", JASA 22:209-212. It
    stays within 0 and 1, and is of use for few people and for shares near the ends, where the textbook's is not.

    Raises:
        ValueError: `whole` is 0 or `part` is no part of it.
    """
    if not 0 <= part <= whole or whole == 0:
        raise ValueError(f"{part} of {whole} is no share")
    p, z2 = part / whole, Z_95 * Z_95
    middle = (p + z2 / (2 * whole)) / (1 + z2 / whole)
    half = Z_95 / (1 + z2 / whole) * sqrt(p * (1 - p) / whole + z2 / (4 * whole * whole))
    return max(0.0, middle - half), min(1.0, middle + half)


def newcombe(part: int, whole: int, other_part: int, other_whole: int) -> tuple[float, float]:
    """Return the 95 % interval of the difference of two independent shares, the first less the other.

    Newcombe, R. G. (1998), "Interval estimation for the difference between independent proportions: comparison of
    eleven methods", Statistics in Medicine 17:873-890, method 10: the score intervals of both, combined.

    Raises:
        ValueError: one of the two is no share.
    """
    low, high = wilson(part, whole)
    other_low, other_high = wilson(other_part, other_whole)
    p, q = part / whole, other_part / other_whole
    return (
        p - q - sqrt((p - low) ** 2 + (other_high - q) ** 2),
        p - q + sqrt((high - p) ** 2 + (q - other_low) ** 2),
    )
