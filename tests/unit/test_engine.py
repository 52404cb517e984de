"""What the engine's consumer delivers and commits, on a Faust app whose fetches are made up here."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import IllegalStateError
from faust.transport.drivers import aiokafka as aiokafka_driver
from faust.types import TP

from shared.engine import Run, RunApp
from shared.engine.app import _Consumer
from shared.engine.runs import RunLimits, cut

RUNS, SINGLE, CHANGELOG = TP("runs", 0), TP("single", 0), TP("table-changelog", 0)


class Fed(_Consumer):
    """A consumer that fetches what it is told to, and seeks nowhere."""

    def __init__(self, app: RunApp) -> None:
        super().__init__(app.transport, _nobody, _nobody, _nobody)
        self.fetches: list[dict[TP, list[Any]]] = []
        self.sought = 0
        self._active_partitions = {RUNS, SINGLE, CHANGELOG}

    async def _wait_next_records(self, timeout: float) -> tuple[Any, Any]:  # noqa: ASYNC109
        fetched = self.fetches.pop(0)
        if "a seek overtakes this" in fetched:
            self._seeks += 1
            fetched = fetched["a seek overtakes this"]
        return fetched, self._active_partitions

    async def perform_seek(self) -> None:
        self.sought += 1
        self._lost_place = False

    def _is_changelog_tp(self, tp: TP) -> bool:
        return tp == CHANGELOG

    def highwater(self, tp: TP) -> int:
        return 1000

    async def delivered(self, *fetches: dict[Any, list[Any]]) -> list[Any]:
        self.fetches += fetches
        return [message for _ in fetches async for _, message in self.getmany(1.0)]


async def _nobody(*_: Any) -> None: ...


@pytest.fixture
def consumer() -> Fed:
    app = RunApp("engine-test", broker="kafka://localhost:1", web_enabled=False)
    app.run_topic("runs", max_records=3, max_bytes=1000)
    app.topics._acking_topics.update({"runs", "single"})
    return Fed(app)


def records(tp: TP, *offsets: int, value: bytes = b"v") -> list[Any]:
    return [
        SimpleNamespace(
            topic=tp.topic,
            partition=tp.partition,
            offset=offset,
            timestamp=1_700_000_000_000,
            timestamp_type=0,
            headers=(("trace", b"1"),),
            key=b"k",
            value=value,
            checksum=None,
            serialized_key_size=1,
            serialized_value_size=len(value),
        )
        for offset in offsets
    ]


def offsets(run: Run) -> Sequence[int]:
    return [record.offset for record in run.records]


async def test_a_topic_of_runs_comes_in_runs_and_another_record_by_record(consumer: Fed) -> None:
    messages = await consumer.delivered({RUNS: records(RUNS, 1, 2, 3, 7), SINGLE: records(SINGLE, 5, 6)})
    runs = [message.value for message in messages if message.tp == RUNS]
    assert [offsets(run) for run in runs] == [[1, 2, 3], [7]]
    assert (runs[0].topic, runs[0].partition, runs[0].first_offset, runs[0].last_offset) == ("runs", 0, 1, 3)
    assert [message.offset for message in messages if message.tp == RUNS] == [3, 7]
    assert [(m.offset, m.value) for m in messages if m.tp == SINGLE] == [(5, b"v"), (6, b"v")]


async def test_a_run_comes_through_the_decoding_of_its_channel_as_it_is(consumer: Fed) -> None:
    (message,) = await consumer.delivered({RUNS: records(RUNS, 1, 2)})
    event = await consumer.app.run_topic("runs", max_records=3, max_bytes=1000).decode(message, propagate=True)
    assert event.value is message.value


async def test_the_offset_behind_the_longest_finished_prefix_is_committed(consumer: Fed) -> None:
    first, second, third = await consumer.delivered({RUNS: records(RUNS, 10, 13, 14, 50, 51, 52, 90)})
    for message in (first, second, third):
        message.incref()
    second.ack(consumer)
    assert consumer._filter_committable_offsets([RUNS]) == {}
    first.ack(consumer)
    assert consumer._filter_committable_offsets([RUNS]) == {RUNS: 53}
    third.ack(consumer)
    assert list(consumer._filter_tps_with_pending_acks()) == [RUNS]
    assert consumer._filter_committable_offsets([RUNS]) == {RUNS: 91}
    assert list(consumer._filter_tps_with_pending_acks()) == []


async def test_single_records_are_committed_by_the_same_order(consumer: Fed) -> None:
    one, two = await consumer.delivered({SINGLE: records(SINGLE, 5, 9)})
    one.incref(2)  # two agents
    two.incref()
    two.ack(consumer)
    one.ack(consumer)
    assert consumer._filter_committable_offsets([SINGLE]) == {}
    one.ack(consumer)
    assert consumer._filter_committable_offsets([SINGLE]) == {SINGLE: 10}


async def test_nothing_is_delivered_when_flow_has_stopped_and_the_place_is_found_anew(consumer: Fed) -> None:
    got = []
    consumer.fetches = [{RUNS: records(RUNS, 1, 2, 3, 4, 5, 6, 7)}, {RUNS: records(RUNS, 1)}]
    async for _, message in consumer.getmany(1.0):
        got.append(message.offset)
        consumer.flow_active = False
    assert got == [3]
    consumer.flow_active = True
    assert [message.offset async for _, message in consumer.getmany(1.0)] == [1]
    assert consumer.sought == 1


async def test_what_a_seek_has_overtaken_is_dropped_and_sought_again(consumer: Fed) -> None:
    overtaken: dict[Any, Any] = {"a seek overtakes this": {RUNS: records(RUNS, 1)}}
    messages = await consumer.delivered(overtaken, {RUNS: records(RUNS, 1)})
    assert ([message.offset for message in messages], consumer.sought) == ([1], 1)


async def test_a_paused_source_that_was_fetched_all_the_same_is_sought_again(consumer: Fed) -> None:
    consumer._active_partitions = {SINGLE}
    messages = await consumer.delivered({RUNS: records(RUNS, 1), SINGLE: records(SINGLE, 1)}, {})
    assert ([message.tp for message in messages], consumer.sought) == ([SINGLE], 1)


class Thread:
    """Where the consumer seeks to."""

    def __init__(self) -> None:
        self.seeks: list[dict[TP, int]] = []
        self.in_a_rebalance = False

    async def seek_wait(self, partitions: dict[TP, int]) -> None:
        if self.in_a_rebalance:
            raise IllegalStateError
        self.seeks.append(dict(partitions))


@pytest.fixture
def thread(consumer: Fed) -> Thread:
    consumer._thread = thread = Thread()  # type: ignore[assignment]
    return thread


async def test_what_a_seek_has_overtaken_of_a_changelog_is_read_again_from_what_has_not_been_delivered(
    consumer: Fed, thread: Thread
) -> None:
    await consumer.seek_wait({CHANGELOG: 3})
    overtaken: dict[Any, Any] = {"a seek overtakes this": {CHANGELOG: records(CHANGELOG, 6, 7)}}
    messages = await consumer.delivered({CHANGELOG: records(CHANGELOG, 4, 5)}, overtaken, {})
    assert [message.offset for message in messages] == [4, 5]
    assert thread.seeks == [{CHANGELOG: 3}, {CHANGELOG: 6}]
    assert consumer.sought == 0  # of sources there was nothing
    await consumer.delivered({CHANGELOG: records(CHANGELOG, 6, 7)}, {})
    assert len(thread.seeks) == 2


async def test_a_recovery_that_begins_while_the_last_ones_fetch_is_delivered_has_it_from_where_it_wants_it(
    consumer: Fed, thread: Thread
) -> None:
    await consumer.seek_wait({CHANGELOG: 0})
    consumer.fetches = [{CHANGELOG: records(CHANGELOG, 4, 5, 6)}, {CHANGELOG: records(CHANGELOG, 2, 3)}]
    got = []
    async for _, message in consumer.getmany(1.0):
        got.append(message.offset)
        await consumer.seek_wait({CHANGELOG: 2})
    assert got == [4]
    assert [message.offset async for _, message in consumer.getmany(1.0)] == [2, 3]
    assert thread.seeks == [{CHANGELOG: 0}, {CHANGELOG: 2}, {CHANGELOG: 2}]


async def test_a_changelog_is_sought_again_until_that_is_possible_and_not_after_it_was_revoked(
    consumer: Fed, thread: Thread
) -> None:
    await consumer.seek_wait({CHANGELOG: 3})
    overtaken: dict[Any, Any] = {"a seek overtakes this": {CHANGELOG: records(CHANGELOG, 3)}}
    await consumer.delivered(overtaken)
    thread.in_a_rebalance = True
    await consumer.delivered({})
    thread.in_a_rebalance = False
    await consumer.delivered({}, {})
    assert thread.seeks == [{CHANGELOG: 3}, {CHANGELOG: 3}]
    await consumer.delivered(overtaken)
    await consumer.on_partitions_revoked({CHANGELOG})
    await consumer.delivered({}, {})
    assert len(thread.seeks) == 2


async def test_what_is_fetched_is_of_the_partitions_that_were_active_when_it_was_asked_for(
    consumer: Fed, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[set[TP]] = []

    async def fetch(_: Any, active_partitions: set[TP], timeout: float) -> dict[TP, list[Any]]:  # noqa: ASYNC109
        asked.append(active_partitions)
        return {}

    monkeypatch.setattr(aiokafka_driver.Consumer, "_getmany", fetch)
    active = {RUNS}
    await consumer._getmany(active_partitions=active, timeout=1.0)
    active.clear()  # a recovery begins while the fetch waits; to aiokafka an empty set would mean all
    assert asked == [{RUNS}]


async def test_a_full_queue_does_not_take_a_partition_of_runs_out_of_what_is_fetched(consumer: Fed) -> None:
    consumer.on_buffer_full(RUNS)
    consumer.on_buffer_full(SINGLE)
    assert consumer._get_active_partitions() == {RUNS, CHANGELOG}


async def test_a_topic_of_runs_has_one_size_of_run(consumer: Fed) -> None:
    with pytest.raises(ValueError, match="read in runs of at most"):
        consumer.app.run_topic("runs", max_records=4)
    with pytest.raises(ValueError, match="room for a record"):
        RunLimits(0, 1)


def test_headers_keys_and_values_count_as_bytes_of_a_run() -> None:
    fetched = records(RUNS, 1, 2, 3, value=b"0123456789")  # 10, the key 1, the header 6
    assert [len(piece) for piece in cut(fetched, RunLimits(10, 34))] == [2, 1]
    assert [len(piece) for piece in cut(fetched, RunLimits(10, 33))] == [1, 1, 1]


class Seeking(_Consumer):
    """A consumer of two sources and a changelog: the first source has been committed at 5, the second never."""

    sources = (TP("runs", 0), TP("runs", 1))
    changelog = TP("table-changelog", 0)

    def __init__(self, app: RunApp) -> None:
        super().__init__(app.transport, _nobody, _nobody, _nobody)
        app.tables._changelogs[self.changelog.topic] = object()
        self.did: list[Any] = []

    def assignment(self) -> set[TP]:
        return {*self.sources, self.changelog}

    async def seek_to_committed(self) -> dict[TP, Any]:
        self.did.append(("read", set(self._active_partitions)))
        return {self.sources[0]: 5, self.sources[1]: None, self.changelog: None}

    async def earliest_offsets(self, *tps: TP) -> dict[TP, int]:
        return dict.fromkeys(tps, 3)

    async def seek_wait(self, partitions: Any) -> None:
        self.did.append(("sought", dict(partitions)))


@pytest.fixture
def seeking(consumer: Fed) -> Seeking:
    return Seeking(consumer.app)


async def test_a_source_is_not_read_before_it_has_been_sought(seeking: Seeking) -> None:
    seeking.resume_partitions(seeking.assignment())
    assert seeking._active_partitions == {seeking.changelog}
    await seeking.perform_seek()
    assert seeking.did[0] == ("read", {seeking.changelog})
    assert seeking._active_partitions == seeking.assignment()


async def test_what_is_fetched_in_the_midst_of_a_seek_is_overtaken_by_it(seeking: Seeking) -> None:
    before = seeking._seeks
    seen: list[int] = []

    async def earliest(*tps: TP) -> dict[TP, int]:
        seen.append(seeking._seeks)
        return dict.fromkeys(tps, 3)

    seeking.earliest_offsets = earliest  # type: ignore[method-assign]
    await seeking.perform_seek()
    assert before < seen[0] < seeking._seeks


async def test_a_source_that_was_paused_again_is_not_resumed_by_a_seek(seeking: Seeking) -> None:
    seeking.resume_partitions(seeking.sources)
    seeking.pause_partitions(seeking.sources[:1])
    await seeking.perform_seek()
    assert seeking._active_partitions == set(seeking.sources[1:])


async def test_a_source_without_a_commit_begins_at_its_beginning_each_time(seeking: Seeking) -> None:
    for _ in range(2):
        await seeking.perform_seek()
        assert seeking.did[-1] == ("sought", {seeking.sources[1]: 3})


async def test_what_was_delivered_is_forgotten_by_a_seek_back(seeking: Seeking) -> None:
    message = seeking._to_message(RUNS, Run("runs", 0, records(RUNS, 5, 6)))
    seeking._deliveries.add(RUNS, message)
    await seeking.perform_seek()
    message.ack(seeking)
    assert seeking._filter_committable_offsets([RUNS]) == {}


async def test_what_is_in_hand_can_be_committed_in_a_revocation_and_not_after_it(seeking: Seeking) -> None:
    first, second = (seeking._to_message(RUNS, Run("runs", 0, records(RUNS, at))) for at in (5, 6))
    seeking._deliveries.add(RUNS, first)
    seeking._deliveries.add(RUNS, second)
    during: list[Any] = []

    async def the_app_ends_the_first(_: Any) -> None:
        first.ack(seeking)
        during.append(seeking._filter_committable_offsets([RUNS]))

    seeking._on_partitions_revoked = the_app_ends_the_first
    await seeking.on_partitions_revoked({RUNS})
    second.ack(seeking)
    assert (during, seeking._filter_committable_offsets([RUNS])) == ([{RUNS: 6}], {})


async def test_what_waits_in_the_queues_stays_when_flow_is_resumed(consumer: Fed) -> None:
    queue = consumer.app.FlowControlQueue(maxsize=0, clear_on_resume=True)
    queue.put_nowait("fetched")
    consumer.app.flow_control.suspend()
    consumer.app.flow_control.resume()
    assert (queue.qsize(), consumer.app.flow_control.is_active()) == (1, True)
