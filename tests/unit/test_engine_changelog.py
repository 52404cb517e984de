"""A checkpoint's changes in a partition are one record batch, as long as there is room."""

from __future__ import annotations

from collections.abc import Iterable

from aiokafka.producer.message_accumulator import BatchBuilder

from shared.engine.changelog import Change, batches

LARGEST = 100_000


def changes(sizes: Iterable[int]) -> list[Change]:
    return [(b"key%d" % at, bytes(size)) for at, size in enumerate(sizes)]


def test_what_fits_is_one_batch_in_its_order() -> None:
    made = [*changes(range(60)), (b"gone", None)]
    assert batches(made, LARGEST) == [made]
    assert batches([], LARGEST) == []


def test_only_what_is_larger_than_a_batch_becomes_several_and_each_fits() -> None:
    large = batches(changes(24_000 for _ in range(7)), LARGEST)
    assert [len(batch) for batch in large] == [4, 3]
    for batch in [*large, *batches(changes(n % 40 for n in range(30_000)), LARGEST)]:
        builder = BatchBuilder(LARGEST, compression_type=0)
        assert all(builder.append(timestamp=None, key=key, value=value) for key, value in batch)
        assert len(builder._build()) <= LARGEST


def test_a_change_that_is_larger_than_a_batch_is_alone_in_it_for_the_broker_to_refuse() -> None:
    made = changes([10, LARGEST, 10])
    assert batches(made, LARGEST) == [made[:1], made[1:2], made[2:]]
