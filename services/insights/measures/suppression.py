"""Decides which groups of people may be shown beside each other, so that nothing can be worked out about few of them.

A group is hidden when it has fewer than k people (primary suppression), and so are others with whose help such a group
would come out by adding and subtracting what is shown (complementary suppression; Hundepool et al., "Handbook on
Statistical Disclosure Control", chapter 4: sdctools.github.io/HandbookSDC).

What an attacker gets from shown sums by adding and subtracting is the linear span of the shown groups: a group's number
comes out if, and only if, the group's members (1 for a member, 0 for anybody else) are a linear combination of the
members of shown groups. So that is what is looked for, over all that is shown of one kind of number: totals, nested
units, breakdowns by other things, tables. People whom no shown group tells apart form a class, and nothing smaller than
a class can come out. Looked for are

- each class with fewer than k people, and each union of two classes that has fewer;
- each group below k that has a name: one label, or two together (directly in a unit, of a level, in a place ...);
- the rest of a shown group that holds another: all but a few of an office may be one unit.

Within one tree of groups (units), what lies in a hidden group is hidden with it.

How it is worked out: numbers of classes which are such that every shown group's sum is 0 are drawn at random. A group
comes out if its sum is 0 for these, too: what is a combination of zeros is zero, and for any other a random draw is not
(modulo a prime near 2^20, three draws: one error in 10^18, by which a group would be hidden in vain).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Final

import numpy as np
from numpy.typing import NDArray

Label = tuple[str, str]
"""Something that a person is told by: a dimension and a value of it."""
Labels = frozenset[Label]
Matrix = NDArray[np.int64]
Flags = NDArray[np.bool_]

_PRIME: Final = 1_048_573
"""Below 2^20: sums of 4,096 products stay exact in a double, which is what makes the check quick."""
_DRAWS: Final = 3


def shown(people: Mapping[Labels, int], groups: Sequence[Labels], k: int, *, tree: str) -> list[bool]:
    """Tell of each group whether it may be shown.

    Args:
        people: how many there are of each set of labels; a person's set holds all that they are told by.
        groups: each is all whose labels include its own, one or two; no label at all is everybody.
        k: the fewest people about whom something may be told.
        tree: the dimension whose groups lie in each other.
    """
    kinds = [labels for labels, n in people.items() if n > 0]
    sizes = np.array([people[labels] for labels in kinds], dtype=np.int64)
    candidates, members = _large(kinds, sizes, groups, k)
    if not candidates:
        return [False] * len(groups)
    # From here on there are only classes of people whom no candidate tells apart, and small groups made of them.
    members, class_of = _classes(members)
    small = _named(kinds, sizes, class_of, k)
    sizes = np.bincount(class_of, weights=sizes, minlength=members.shape[1]).astype(np.int64)
    company = _Company(members, sizes, k)
    in_tree = np.array([{dimension for dimension, _ in groups[group]} == {tree} for group in candidates])
    left = np.ones(len(candidates), dtype=bool)
    while left.any():
        guilty = company.to_hide(left, small)
        if not guilty:
            break
        left[list(guilty)] = False
        # In one tree, what lies in a hidden group is hidden with it.
        hidden = in_tree & ~left
        left &= ~(in_tree & company.lies_in[:, hidden].any(axis=1))
    may = {group for row, group in enumerate(candidates) if left[row]}
    return [group in may for group in range(len(groups))]


class _Company:
    """Classes of people, the groups made of them, and what comes out when some of the groups are shown.

    Attributes:
        lies_in: of each group, whether it lies in each other.
    """

    def __init__(self, members: Flags, sizes: Matrix, k: int) -> None:
        self._members = members
        self._numbers: NDArray[np.float64] = members.astype(np.float64)
        self._sizes = sizes
        self._totals: Matrix = (self._numbers @ sizes).astype(np.int64)
        self._k = k
        common = np.rint((self._numbers * sizes) @ self._numbers.T).astype(np.int64)
        self.lies_in: Flags = common == self._totals[:, None]
        chance = np.random.default_rng(0)
        # With random weights, for modulo a prime a matrix times its own transpose may have a lesser rank than it.
        self._weights: Matrix = chance.integers(1, _PRIME, (members.shape[1],), dtype=np.int64)
        self._draws: Matrix = chance.integers(0, _PRIME, (members.shape[1], _DRAWS), dtype=np.int64)
        self._products = (np.rint((self._numbers * self._weights) @ self._numbers.T) % _PRIME).astype(np.int64)

    def to_hide(self, left: Flags, named: Sequence[Sequence[int]]) -> set[int]:
        """Return groups to hide of those that are left, so that less comes out; none when nothing comes out."""
        rows: Matrix = np.flatnonzero(left)
        numbers = self._numbers[rows]
        products = self._products[np.ix_(rows, rows)]
        factors = _solved(products, _modulo(numbers @ self._draws))
        zero_sum = (self._draws - _modulo(numbers.T @ factors) * self._weights[:, None]) % _PRIME
        come_out = list(self._coming_out(rows, zero_sum, named))
        if not come_out:
            return set()
        weighted = [_modulo(numbers[:, group] @ self._weights[group].astype(np.float64)) for group in come_out]
        made_of = _solved(products, np.stack(weighted, axis=1))
        hide: set[int] = set()
        for factors_of in made_of.T:
            makes_it = rows[factors_of != 0].tolist()
            if hide.isdisjoint(makes_it):
                # The smallest is the least loss; the whole is the greatest and goes last.
                hide.add(min(makes_it, key=self._totals.tolist().__getitem__))
        return hide

    def _coming_out(self, rows: Matrix, zero_sum: Matrix, named: Sequence[Sequence[int]]) -> Iterator[Sequence[int]]:
        for group in (*named, *self._rests(rows)):
            if not (zero_sum[group].sum(axis=0) % _PRIME).any():
                yield group
        # Classes as they now are: the fewer groups are shown, the fewer people are told apart.
        together, class_of = _classes(self._members[rows])
        sizes = np.bincount(class_of, weights=self._sizes).astype(np.int64)
        sums = np.zeros((len(sizes), _DRAWS), dtype=np.int64)
        np.add.at(sums, class_of, zero_sum)
        sums %= _PRIME
        # Those who are in no group that is shown are a class too; nothing comes out about them.
        small = np.flatnonzero((sizes < self._k) & together.any(axis=0))
        waiting: dict[bytes, int] = {}
        # The smallest first: of those that cancel the same, the first one is kept.
        for at in small[np.argsort(sizes[small], kind="stable")].tolist():
            if not sums[at].any():
                yield np.flatnonzero(class_of == at).tolist()
                continue
            other = waiting.get((-sums[at] % _PRIME).tobytes())
            if other is not None and sizes[at] + sizes[other] < self._k:
                yield np.flatnonzero((class_of == at) | (class_of == other)).tolist()
            waiting.setdefault(sums[at].tobytes(), at)

    def _rests(self, rows: Matrix) -> Iterator[Sequence[int]]:
        totals = self._totals[rows]
        rest = totals[None, :] - totals[:, None]
        for inner, outer in np.argwhere(self.lies_in[np.ix_(rows, rows)] & (rest > 0) & (rest < self._k)).tolist():
            yield np.flatnonzero(self._members[rows[outer]] & ~self._members[rows[inner]]).tolist()


def _large(kinds: Sequence[Labels], sizes: Matrix, groups: Sequence[Labels], k: int) -> tuple[list[int], Flags]:
    """Return the groups of at least k people, and which kinds are in each."""
    having: dict[Label, list[int]] = {}
    for n, labels in enumerate(kinds):
        for label in labels:
            having.setdefault(label, []).append(n)
    everybody = list(range(len(kinds)))
    candidates, members = [], []
    for group, labels in enumerate(groups):
        lists = [having.get(label, []) for label in labels] or [everybody]
        of = lists[0] if len(lists) == 1 else sorted(set(lists[0]).intersection(*lists[1:]))
        if sizes[of].sum() >= k:
            row = np.zeros(len(kinds), dtype=bool)
            row[of] = True
            candidates.append(group)
            members.append(row)
    return candidates, np.array(members, dtype=bool).reshape(len(members), len(kinds))


def _classes(members: Flags) -> tuple[Flags, Matrix]:
    """Return the columns that differ, and which of them each column is."""
    packed = np.ascontiguousarray(np.packbits(members, axis=0).T)
    keys = packed.view(np.dtype((np.void, packed.shape[1]))).reshape(-1)
    _, first, of = np.unique(keys, return_index=True, return_inverse=True)
    return members[:, first], of.reshape(-1)


def _named(kinds: Sequence[Labels], sizes: Matrix, class_of: Matrix, k: int) -> list[list[int]]:
    """Return the groups of fewer than k people that one or two labels name and that hold whole classes, as classes."""
    numbers: dict[Label, int] = {}
    names, people, at = [], [], []
    for labels, n, own_class in zip(kinds, sizes.tolist(), class_of.tolist(), strict=True):
        own = sorted(numbers.setdefault(label, len(numbers) + 1) for label in labels)
        these = [(0, one) for one in own] + list(combinations(own, 2))
        names += these
        people += [n] * len(these)
        at += [own_class] * len(these)
    if not names:
        return []
    pairs = np.array(names, dtype=np.int64)
    _, name_of = np.unique(pairs[:, 0] * (len(numbers) + 1) + pairs[:, 1], return_inverse=True)
    classes = int(class_of.max()) + 1
    parts, part_of = np.unique(name_of.reshape(-1) * classes + np.array(at, dtype=np.int64), return_inverse=True)
    in_part = np.bincount(part_of.reshape(-1), weights=people)
    whole_class = np.bincount(class_of, weights=sizes)[parts % classes]
    in_name = np.bincount(parts // classes, weights=in_part)
    torn = np.bincount(parts // classes, weights=in_part != whole_class) > 0
    found: dict[int, list[int]] = {}
    for part in parts[((in_name < k) & ~torn)[parts // classes]].tolist():
        found.setdefault(part // classes, []).append(part % classes)
    return [list(group) for group in {tuple(sorted(group)) for group in found.values()}]


def _solved(matrix: Matrix, right: Matrix) -> Matrix:
    """Return X with `matrix` X = `right` modulo the prime, of which each column has to have a solution."""
    n = len(matrix)
    rows = np.hstack([matrix, right])
    pivots: list[int] = []
    for column in range(n):
        at = len(pivots)
        filled = np.flatnonzero(rows[at:, column])
        if not len(filled):
            continue
        rows[[at, at + int(filled[0])]] = rows[[at + int(filled[0]), at]]
        rows[at, column:] = rows[at, column:] * pow(int(rows[at, column]), -1, _PRIME) % _PRIME
        below = at + 1 + np.flatnonzero(rows[at + 1 :, column])
        rows[below, column:] = (rows[below, column:] - rows[below, column, None] * rows[at, column:]) % _PRIME
        pivots.append(column)
    solution = np.zeros_like(right)
    for at in range(len(pivots) - 1, -1, -1):
        known = pivots[at + 1 :]
        solution[pivots[at]] = (rows[at, n:] - _times(rows[at : at + 1, known], solution[known])[0]) % _PRIME
    return solution


def _times(left: Matrix, right: Matrix) -> Matrix:
    """Return the product modulo the prime, exact as long as no more than 4,096 products other than by 0 are added."""
    return _modulo(left.astype(np.float64) @ right.astype(np.float64))


def _modulo(exact: NDArray[np.float64]) -> Matrix:
    return (np.rint(exact) % _PRIME).astype(np.int64)
