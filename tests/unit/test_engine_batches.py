"""What is written to a partition together is one record batch, as long as there is room."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pytest
from aiokafka.errors import MessageSizeTooLargeError

from shared.engine.batches import Entry, _built, batches

LARGEST = 100_000


def records(sizes: Iterable[int], headers: Sequence[tuple[str, bytes]] = ()) -> list[Entry]:
    return [(b"key%d" % at, bytes(size), headers) for at, size in enumerate(sizes)]


def test_what_fits_is_one_batch_in_its_order() -> None:
    made = [*records(range(60)), (b"gone", None, ())]
    assert batches(made, LARGEST) == [made]
    assert batches([], LARGEST) == []


@pytest.mark.parametrize("headers", [(), [("ce_source", b"urn:x"), ("gr\u00f6\u00dfe", bytes(70))], [("e", b"")] * 40])
def test_only_what_is_larger_than_a_batch_becomes_several_and_each_fits(headers: Sequence[tuple[str, bytes]]) -> None:
    large = batches(records((24_000 for _ in range(7)), headers), LARGEST)
    assert [len(batch) for batch in large] == [4, 3]
    for batch in [*large, *batches(records((n % 40 for n in range(10_000)), headers), LARGEST)]:
        assert len(_built(batch, LARGEST)._build()) <= LARGEST


def test_a_record_that_no_batch_has_room_for_is_refused_with_its_size() -> None:
    made = records([10, LARGEST, 10])
    assert batches(made, LARGEST) == [made[:1], made[1:2], made[2:]]
    with pytest.raises(MessageSizeTooLargeError, match="100,036 bytes"):
        _built(made[1:2], LARGEST)
