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

People may be counted in several ways at once, and a group is small then when it has fewer than k by any of them: where
what is shown of a group is how many of it have each value of a protected attribute, "few" is few of one value.

How it is worked out: numbers of classes which are such that every shown group's sum is 0 are drawn at random. A group
comes out if its sum is 0 for these, too: what is a combination of zeros is zero, and for any other a random draw is not
(modulo a prime near 2^20, three draws: one error in 10^18, by which a group would be hidden in vain).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, combinations
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


def shown(
    people: Mapping[Labels, int | Sequence[int]], groups: Sequence[Labels], k: int, *, tree: str = "", told: int = 0
) -> list[bool]:
    """Tell of each group whether it may be shown.

    Args:
        people: how many there are of each set of labels; a person's set holds all that they are told by. Where they are
            counted in several ways, each time in as many.
        groups: each is all whose labels include its own, one or two; no label at all is everybody.
        k: the fewest people, by each count, about whom something may be told.
        tree: the dimension whose groups lie in each other; empty for none.
        told: the first so many groups are known already, and can't be hidden any more.
    """
    kinds = [labels for labels, n in people.items() if np.any(n)]
    if not kinds:
        return [False] * len(groups)
    sizes = np.array([people[labels] for labels in kinds], dtype=np.int64).reshape(len(kinds), -1)
    candidates, members = _large(kinds, sizes, groups, k, told)
    if not candidates:
        return [False] * len(groups)
    # From here on there are only classes of people whom no candidate tells apart, and small groups made of them.
    members, class_of = _classes(members)
    small = _Named(_named(kinds, sizes, class_of, k))
    company = _Company(members, _summed(class_of, sizes, members.shape[1]), k, np.array(candidates) < told)
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

    A class is in a few groups of hundreds, so what is added up goes over the places where one lies in the other.

    Attributes:
        lies_in: of each group, whether it lies in each other.
    """

    def __init__(self, members: Flags, sizes: Matrix, k: int, told: Flags) -> None:
        self._members = members
        self._packed = np.packbits(members, axis=0)
        self._sizes = sizes
        self._k = k
        self._told = told
        self._class_of, self._group_of = np.nonzero(members.T)
        self._totals: Matrix = self._summed_by_group(sizes)
        self._whole: Matrix = self._totals.sum(axis=1)
        chance = np.random.default_rng(0)
        # With random weights, for modulo a prime a matrix times its own transpose may have a lesser rank than it.
        self._weights: Matrix = chance.integers(1, _PRIME, (members.shape[1],), dtype=np.int64)
        self._draws: Matrix = chance.integers(0, _PRIME, (members.shape[1], _DRAWS), dtype=np.int64)
        self._drawn = self._summed_by_group(self._draws) % _PRIME
        common, products = self._in_both(sizes.sum(axis=1), self._weights)
        self.lies_in: Flags = common == self._whole[:, None]
        self._products = products % _PRIME

    def to_hide(self, left: Flags, named: _Named) -> set[int]:
        """Return groups to hide of those that are left, so that less comes out; none when nothing comes out."""
        rows: Matrix = np.flatnonzero(left)
        products = self._products[np.ix_(rows, rows)]
        factors = np.zeros((len(left), _DRAWS), dtype=np.int64)
        factors[rows] = _solved(products, self._drawn[rows])
        zero_sum = (self._draws - self._summed_by_class(factors) % _PRIME * self._weights[:, None]) % _PRIME
        come_out = list(self._coming_out(rows, zero_sum, named))
        if not come_out:
            return set()
        weighted = [
            _modulo(self._members[:, group][rows].astype(np.float64) @ self._weights[group].astype(np.float64))
            for group in come_out
        ]
        made_of = _solved(products, np.stack(weighted, axis=1))
        hide: set[int] = set()
        for factors_of in made_of.T:
            makes_it = rows[(factors_of != 0) & ~self._told[rows]].tolist()
            if makes_it and hide.isdisjoint(makes_it):
                # The smallest is the least loss; the whole is the greatest and goes last.
                hide.add(min(makes_it, key=self._whole.tolist().__getitem__))
        return hide

    def _coming_out(self, rows: Matrix, zero_sum: Matrix, named: _Named) -> Iterator[Sequence[int]]:
        yield from named.with_sum_zero(zero_sum)
        for group in self._rests(rows):
            if not (zero_sum[group].sum(axis=0) % _PRIME).any():
                yield group
        # Classes as they now are: the fewer groups are shown, the fewer people are told apart.
        shown = np.zeros(len(self._members), dtype=bool)
        shown[rows] = True
        packed = self._packed & np.packbits(shown)[:, None]
        _, first, class_of = np.unique(_as_keys(packed), return_index=True, return_inverse=True)
        class_of, in_some = class_of.reshape(-1), packed[:, first].any(axis=0)
        sizes = _summed(class_of, self._sizes, len(first))
        sums = _summed(class_of, zero_sum, len(sizes)) % _PRIME
        # Those who are in no group that is shown are a class too; nothing comes out about them.
        small = np.flatnonzero((sizes.min(axis=1) < self._k) & in_some)
        waiting: dict[bytes, list[int]] = {}
        # The smallest first. Of those that cancel the same, the smallest by each count are kept: what two are together
        # may be few by one count and enough by another.
        for at in small[np.argsort(sizes[small].sum(axis=1), kind="stable")].tolist():
            if not sums[at].any():
                yield np.flatnonzero(class_of == at).tolist()
                continue
            for other in waiting.get((-sums[at] % _PRIME).tobytes(), ()):
                if (sizes[at] + sizes[other]).min() < self._k:
                    yield np.flatnonzero((class_of == at) | (class_of == other)).tolist()
            alike = waiting.setdefault(sums[at].tobytes(), [])
            if not alike or (sizes[at] < sizes[alike].min(axis=0)).any():
                alike.append(at)

    def _rests(self, rows: Matrix) -> Iterator[Sequence[int]]:
        whole, few = self._whole[rows], np.zeros((len(rows), len(rows)), dtype=bool)
        for totals in self._totals[rows].T:
            few |= totals[None, :] - totals[:, None] < self._k
        some = whole[None, :] > whole[:, None]
        for inner, outer in np.argwhere(self.lies_in[np.ix_(rows, rows)] & some & few).tolist():
            yield np.flatnonzero(self._members[rows[outer]] & ~self._members[rows[inner]]).tolist()

    def _summed_by_group(self, numbers: Matrix) -> Matrix:
        return _summed(self._group_of, numbers[self._class_of], len(self._members))

    def _summed_by_class(self, numbers: Matrix) -> Matrix:
        return _summed(self._class_of, numbers[self._group_of], len(self._sizes))

    def _in_both(self, *numbers: Matrix) -> Iterator[Matrix]:
        """Yield of each number of the classes its sum over those that lie in both of two groups, for each two."""
        groups = len(self._members)
        in_groups = np.bincount(self._class_of, minlength=len(self._sizes))
        # Each place beside each of the same class; places of a class stand together.
        beside = in_groups[self._class_of]
        place = np.repeat(np.arange(len(beside)), beside)
        first = (np.cumsum(in_groups) - in_groups)[self._class_of]
        other = np.arange(len(place)) - np.repeat(np.cumsum(beside) - beside, beside) + first[place]
        pair = self._group_of[place] * groups + self._group_of[other]
        for number in numbers:
            summed = np.bincount(pair, weights=number[self._class_of[place]], minlength=groups * groups)
            yield summed.astype(np.int64).reshape(groups, groups)


class _Named:
    """Small groups that have a name, each as its classes."""

    def __init__(self, groups: Sequence[Sequence[int]]) -> None:
        self._groups = groups
        self._classes = np.fromiter(chain.from_iterable(groups), dtype=np.int64)
        self._group_of = np.repeat(np.arange(len(groups)), [len(group) for group in groups])

    def with_sum_zero(self, numbers: Matrix) -> Iterator[Sequence[int]]:
        """Yield those over which all of the classes' numbers add up to 0, modulo the prime."""
        sums = _summed(self._group_of, numbers[self._classes], len(self._groups)) % _PRIME
        for group in np.flatnonzero(~sums.any(axis=1)).tolist():
            yield self._groups[group]


def _summed(of: Matrix, numbers: Matrix, length: int) -> Matrix:
    """Return the sums of the rows of `numbers` by what they are `of`; exact below 2^53."""
    columns = [np.bincount(of, weights=column, minlength=length) for column in numbers.T]
    return np.stack(columns, axis=1).astype(np.int64)


def _large(
    kinds: Sequence[Labels], sizes: Matrix, groups: Sequence[Labels], k: int, told: int
) -> tuple[list[int], Flags]:
    """Return the groups of at least k people and those that are told already, and which kinds are in each."""
    having: dict[Label, list[int]] = {}
    for n, labels in enumerate(kinds):
        for label in labels:
            having.setdefault(label, []).append(n)
    everybody = list(range(len(kinds)))
    candidates, members = [], []
    for group, labels in enumerate(groups):
        lists = [having.get(label, []) for label in labels] or [everybody]
        of = lists[0] if len(lists) == 1 else sorted(set(lists[0]).intersection(*lists[1:]))
        if of and (group < told or sizes[of].sum(axis=0).min() >= k):
            row = np.zeros(len(kinds), dtype=bool)
            row[of] = True
            candidates.append(group)
            members.append(row)
    return candidates, np.array(members, dtype=bool).reshape(len(members), len(kinds))


def _classes(members: Flags) -> tuple[Flags, Matrix]:
    """Return the columns that differ, and which of them each column is."""
    _, first, of = np.unique(_as_keys(np.packbits(members, axis=0)), return_index=True, return_inverse=True)
    return members[:, first], of.reshape(-1)


def _as_keys(packed: NDArray[np.uint8]) -> NDArray[np.void]:
    """Return each column as one value."""
    columns = np.ascontiguousarray(packed.T)
    return columns.view(np.dtype((np.void, columns.shape[1]))).reshape(-1)


def _named(kinds: Sequence[Labels], sizes: Matrix, class_of: Matrix, k: int) -> list[list[int]]:
    """Return the groups of fewer than k people that one or two labels name and that hold whole classes, as classes."""
    numbers: dict[Label, int] = {}
    own = [sorted(numbers.setdefault(label, len(numbers) + 1) for label in labels) for labels in kinds]
    width = max(map(len, own), default=0)
    if not width:
        return []
    padded = np.array([[0] * (width - len(labels)) + labels for labels in own], dtype=np.int64)
    # A name is two labels, or none and one; a column of nothing stands before the labels.
    columns = [np.zeros(len(kinds), dtype=np.int64), *padded.T]
    names, people, at = [], [], []
    for one, other in combinations(columns, 2):
        named = np.flatnonzero((other > 0) & ((one > 0) | (one is columns[0])))
        names.append(one[named] * (len(numbers) + 1) + other[named])
        people.append(sizes[named])
        at.append(class_of[named])
    _, name_of = np.unique(np.concatenate(names), return_inverse=True)
    classes = int(class_of.max()) + 1
    parts, part_of = np.unique(name_of.reshape(-1) * classes + np.concatenate(at), return_inverse=True)
    in_part = _summed(part_of.reshape(-1), np.concatenate(people), len(parts))
    whole_class = _summed(class_of, sizes, classes)[parts % classes]
    in_name = _summed(parts // classes, in_part, int(name_of.max()) + 1)
    torn = np.bincount(parts // classes, weights=(in_part != whole_class).any(axis=1)) > 0
    found: dict[int, list[int]] = {}
    for part in parts[((in_name.min(axis=1) < k) & ~torn)[parts // classes]].tolist():
        found.setdefault(part // classes, []).append(part % classes)
    return [list(group) for group in {tuple(sorted(group)) for group in found.values()}]


def _solved(matrix: Matrix, right: Matrix) -> Matrix:
    """Return X with `matrix` X = `right` modulo the prime, of which each column has to have a solution."""
    n = len(matrix)
    # Only what is divided or multiplied by is brought below the prime: each step adds less than 2^40 to a number, so
    # that 4,096 steps stay exact in a double, and to divide with a remainder costs more than all the rest.
    rows = np.hstack([matrix, right]).astype(np.float64)
    pivots: list[int] = []
    for column in range(n):
        at = len(pivots)
        rows[at:, column] %= _PRIME
        filled = np.flatnonzero(rows[at:, column])
        if not len(filled):
            continue
        rows[[at, at + int(filled[0])]] = rows[[at + int(filled[0]), at]]
        by = pow(int(rows[at, column]), -1, _PRIME)
        rows[at, column:] = rows[at, column:] % _PRIME * by % _PRIME
        rows[at + 1 :, column + 1 :] -= rows[at + 1 :, column, None] * rows[at, None, column + 1 :]
        pivots.append(column)
    reduced: Matrix = (rows % _PRIME).astype(np.int64)
    solution = np.zeros_like(right)
    for at in range(len(pivots) - 1, -1, -1):
        known = pivots[at + 1 :]
        solution[pivots[at]] = (reduced[at, n:] - _times(reduced[at : at + 1, known], solution[known])[0]) % _PRIME
    return solution


def _times(left: Matrix, right: Matrix) -> Matrix:
    """Return the product modulo the prime, exact as long as no more than 4,096 products other than by 0 are added."""
    return _modulo(left.astype(np.float64) @ right.astype(np.float64))


def _modulo(exact: NDArray[np.float64]) -> Matrix:
    return (np.rint(exact) % _PRIME).astype(np.int64)
