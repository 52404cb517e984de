"""Whatever gaps a partition has and in whatever order its runs are finished, a commit never covers unfinished work."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from shared.engine.deliveries import Deliveries
from shared.engine.runs import RunLimits, cut


@dataclass
class Delivered:
    offsets: list[int]
    acked: bool = False

    @property
    def offset(self) -> int:
        return self.offsets[-1]


@st.composite
def partitions(draw: st.DrawFn) -> list[Delivered]:
    """Runs of a partition with gaps of any size between and within them."""
    steps = draw(st.lists(st.one_of(st.just(1), st.integers(1, 1000)), min_size=1, max_size=60))
    offsets = list(accumulate(steps, initial=draw(st.integers(0, 1000))))
    runs: list[Delivered] = []
    while offsets:
        size = draw(st.integers(1, 8))
        runs.append(Delivered(offsets[:size]))
        offsets = offsets[size:]
    return runs


@given(st.data())
def test_a_commit_covers_no_unfinished_record_and_reaches_the_end_when_all_is_finished(data: st.DataObject) -> None:
    runs = data.draw(partitions())
    deliveries: Deliveries[str] = Deliveries()
    waiting, in_hand, committed = list(runs), [], 0
    while waiting or in_hand:
        if waiting and (not in_hand or data.draw(st.booleans(), label="deliver")):
            in_hand.append(waiting.pop(0))
            deliveries.add("p", in_hand[-1])
        else:
            in_hand.pop(data.draw(st.integers(0, len(in_hand) - 1), label="finish")).acked = True
        if data.draw(st.booleans(), label="commit"):
            committed = deliveries.committable("p") or committed
        unfinished = [offset for run in runs if not run.acked for offset in run.offsets]
        assert not unfinished or committed <= min(unfinished)
    committed = deliveries.committable("p") or committed
    assert committed == runs[-1].offset + 1
    assert list(deliveries.pending()) == []


@given(st.data())
def test_what_was_acked_before_a_seek_back_counts_for_nothing_after_it(data: st.DataObject) -> None:
    deliveries: Deliveries[str] = Deliveries()
    before = data.draw(partitions())
    for run in before:
        deliveries.add("p", run)
    deliveries.forget({"p"})
    again = [Delivered(run.offsets) for run in before]
    for run in again:
        deliveries.add("p", run)
    for run in before:
        run.acked = True
    assert deliveries.committable("p") is None
    again[0].acked = True
    assert deliveries.committable("p") == again[0].offset + 1


@given(st.lists(st.binary(max_size=30), min_size=1, max_size=50), st.integers(1, 8), st.integers(1, 60))
def test_pieces_are_the_records_in_order_within_the_limits_and_never_smaller_than_needed(
    values: list[bytes], most: int, size: int
) -> None:
    fetched: list[Any] = [
        SimpleNamespace(offset=at, key=None, value=value or None, headers=()) for at, value in enumerate(values)
    ]
    pieces = list(cut(fetched, RunLimits(most, size)))
    assert [record for piece in pieces for record in piece] == fetched
    for piece, behind in zip(pieces, [*pieces[1:], None], strict=True):
        bytes_in = sum(len(record.value or b"") for record in piece)
        assert 1 <= len(piece) <= most
        assert bytes_in <= size or len(piece) == 1
        if behind is not None:  # it was full: the next record would not have fitted
            assert len(piece) == most or bytes_in + len(behind[0].value or b"") > size
