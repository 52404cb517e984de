"""An attacker with all pages at once tries to work out what they were not shown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from itertools import combinations

import hypothesis.strategies as st
from hypothesis import given, settings

from services.insights.measures.suppression import Labels, shown

K = 4
TREE = {"co": ("co",), "a": ("co", "a"), "b": ("co", "b"), "a1": ("co", "a", "a1"), "a2": ("co", "a", "a2")}
PLACES, LEVELS, TENURES = ("lyon", "oslo"), ("3", "4", "5"), ("new", "old")


def labels_of(unit: str, place: str, level: str, tenure: str) -> Labels:
    return frozenset(
        (
            *(("unit", one) for one in TREE[unit]),
            ("own", unit),
            ("location", place),
            ("level", level),
            ("tenure", tenure),
        )
    )


persons = st.builds(
    labels_of, st.sampled_from(sorted(TREE)), st.sampled_from(PLACES), st.sampled_from(LEVELS), st.sampled_from(TENURES)
)
crowds = st.tuples(persons, st.integers(1, 9)).map(lambda one: [one[0]] * one[1])
companies = st.lists(crowds, min_size=1, max_size=9).map(lambda some: [one for crowd in some for one in crowd])

GROUPS: list[Labels] = [
    frozenset(),
    *(frozenset((("unit", unit),)) for unit in TREE),
    *(frozenset((("level", level),)) for level in LEVELS),
    *(frozenset((("location", place),)) for place in PLACES),
    *(frozenset((("tenure", tenure),)) for tenure in TENURES),
    *(frozenset((("unit", unit), ("level", level))) for unit in ("a", "b") for level in LEVELS),
]


class Attacker:
    """Knows of each person where they are in every list of the company, and the numbers of all groups shown.

    Any number that follows from those for certain, whatever the numbers are, is a linear combination of them: people
    who have the same groups shown can't be told apart, and a set of classes comes out if it lies in the span.
    """

    def __init__(self, people: Sequence[Labels], groups: Sequence[Labels]) -> None:
        self.people = people
        columns = Counter(tuple(group <= person for group in groups) for person in people)
        self.sizes = list(columns.values())
        self._columns = list(columns)
        self._rows: list[tuple[int, list[Fraction]]] = []
        for n in range(len(groups)):
            self._learn([Fraction(column[n]) for column in self._columns])
        self._groups = groups

    def works_out(self, classes: Sequence[int]) -> bool:
        return not any(self._rest([Fraction(n in classes) for n in range(len(self.sizes))]))

    def class_of(self, person: Labels) -> int:
        return self._columns.index(tuple(group <= person for group in self._groups))

    def named(self) -> set[frozenset[int]]:
        """Every group that any number of labels name together, as far as it is made of whole classes."""
        found: set[frozenset[int]] = set()
        for labels in set(self.people):
            for count in range(1, 5):
                for name in combinations(sorted(labels), count):
                    group = [person for person in self.people if set(name) <= person]
                    classes = frozenset(self.class_of(person) for person in group)
                    if len(group) < K and sum(self.sizes[n] for n in classes) == len(group):
                        found.add(classes)
        return found

    def _learn(self, row: list[Fraction]) -> None:
        row = self._rest(row)
        at = next((n for n, value in enumerate(row) if value), None)
        if at is None:
            return
        row = [value / row[at] for value in row]
        self._rows = [
            (pivot, [a - known[at] * b for a, b in zip(known, row, strict=True)]) for pivot, known in self._rows
        ]
        self._rows.append((at, row))

    def _rest(self, row: list[Fraction]) -> list[Fraction]:
        for pivot, known in self._rows:
            row = [a - row[pivot] * b for a, b in zip(row, known, strict=True)] if row[pivot] else row
        return row


def shown_of(people: Sequence[Labels]) -> list[Labels]:
    may = shown(Counter(people), GROUPS, K, tree="unit")
    return [group for group, may_be in zip(GROUPS, may, strict=True) if may_be]


@settings(max_examples=120, deadline=None)
@given(companies)
def test_no_group_of_few_people_can_be_worked_out_from_all_that_is_shown(people: list[Labels]) -> None:
    attacker = Attacker(people, shown_of(people))
    for classes in attacker.named():
        assert not attacker.works_out(sorted(classes)), [attacker.sizes[n] for n in classes]


@settings(max_examples=120, deadline=None)
@given(companies)
def test_nor_can_one_or_two_classes_of_few_whatever_they_have_in_common(
    people: list[Labels],
) -> None:
    attacker = Attacker(people, shown_of(people))
    small = [n for n, size in enumerate(attacker.sizes) if size < K]
    for count in (1, 2):  # of three, once in some thousand small companies, one comes out: decision 013
        for classes in combinations(small, count):
            sizes = [attacker.sizes[n] for n in classes]
            assert sum(sizes) >= K or not attacker.works_out(classes), sizes


def test_the_attacker_works_out_what_only_small_groups_hidden_leaves_open() -> None:
    """An attacker who never succeeds would prove nothing."""
    people = [labels_of("co", "oslo", "5", "old")] + [labels_of(unit, "oslo", "3", "old") for unit in "aaaaabbbbb"]
    large = [group for group in GROUPS if sum(group <= person for person in people) >= K]
    careless = Attacker(people, large)
    assert careless.works_out([careless.class_of(people[0])]), "the one at the top is the company less its divisions"
    assert frozenset((("unit", "a"),)) in large
    assert len(shown_of(people)) < len(large)


def test_what_tells_about_many_is_shown() -> None:
    people = [labels_of(unit, "lyon", level, "old") for unit in "aaaaabbbbb" for level in LEVELS]
    assert set(shown_of(people)) == {group for group in GROUPS if any(group <= person for person in people)}


def test_an_office_that_is_one_unit_and_few_others_is_not_shown_beside_the_unit() -> None:
    people = [labels_of("a", "lyon", "3", "old")] * 9 + [labels_of("b", "lyon", "3", "old")] * 2
    people += [labels_of("b", "oslo", "3", "old")] * 9
    visible = shown_of(people)
    assert frozenset() in visible
    pages = {next(iter(group))[0] for group in visible if len(group) == 1}
    assert not {"unit", "location"} <= pages


def test_what_lies_in_a_hidden_unit_is_hidden_too() -> None:
    people = [labels_of("co", "lyon", "3", "old")] + [labels_of("a1", "lyon", "3", "old")] * 5
    people += [labels_of("b", "lyon", "3", "old")] * 9
    visible = shown_of(people)
    assert frozenset((("unit", "a"),)) not in visible
    assert frozenset((("unit", "a1"),)) not in visible


def test_a_company_of_few_is_not_shown_at_all() -> None:
    assert shown_of([labels_of("a", "lyon", "3", "old")] * (K - 1)) == []


# -- each way in which something comes out, alone -------------------------------------------------


def told(*labels: str) -> Labels:
    return frozenset(tuple(label.split(":")) for label in labels)  # type: ignore[misc]


def test_a_chain_of_heads_does_not_come_out_through_what_lies_below_a_hidden_unit() -> None:
    # Without the rule for trees: company - b - a2 - a11 - a12 = the heads of the company, of a and of a1.
    sizes = {"co": 1, "co a": 1, "co a a1": 1, "co a a1 a11": 9, "co a a1 a12": 10, "co a a2": 30, "co b": 60}
    people = {told(*(f"unit:{unit}" for unit in path.split()), f"own:{path}"): n for path, n in sizes.items()}
    groups = [told(), *(told(f"unit:{unit}") for unit in ("a", "b", "a1", "a2", "a11", "a12"))]
    assert shown(people, groups, K, tree="unit") == [True, False, True, False, False, False, False]


def test_a_named_group_of_several_classes_does_not_come_out_as_what_remains() -> None:
    # Three directly at the top, of three levels: no two classes, and the rest of no one group.
    people = {told("unit:co", "own:co", f"level:{n}"): 1 for n in (1, 2, 3)}
    people |= {told("unit:co", f"unit:{unit}", f"level:{n}"): 8 for unit in "ab" for n in (1, 2, 3)}
    levels = [told(f"level:{n}") for n in (1, 2, 3)]
    may = shown(people, [told(), told("unit:a"), told("unit:b"), *levels], K, tree="unit")
    assert may == [True, False, True, True, True, True]


def test_the_rest_of_a_group_does_not_come_out_though_it_has_no_name() -> None:
    people = {told("unit:a", "location:lyon"): 9}
    people |= {told(f"unit:{unit}", f"level:{n}", "location:lyon"): 1 for unit, n in (("b", 1), ("c", 2), ("d", 3))}
    people |= {told(f"unit:{unit}", f"level:{n}", "location:oslo"): 9 for unit in "bcd" for n in (1, 2, 3)}
    groups = [told("location:lyon"), told("unit:a"), *(told(f"level:{n}") for n in (1, 2, 3))]
    groups += [told(f"unit:{unit}") for unit in "bcd"]
    assert shown(people, groups, K, tree="unit")[:2] == [True, False]


def test_two_people_without_a_common_name_do_not_come_out_together() -> None:
    people = {told("unit:a", "level:3"): 8, told("unit:b", "level:3"): 8}
    people |= {told("unit:a", "level:4"): 1, told("unit:b", "level:5"): 1}
    people |= {told("unit:c", "level:4"): 9, told("unit:c", "level:5"): 9}
    assert not all(shown(people, [told("unit:a"), told("unit:b"), told("level:3")], K, tree="unit"))


def test_one_who_shares_every_name_does_not_come_out() -> None:
    people = {told("x:1", "y:1"): 1, told("x:1", "y:1", "v:1"): 6, told("u:1", "v:1"): 6}
    assert not all(shown(people, [told("x:1", "y:1"), told("u:1"), told("v:1")], K, tree="unit"))
