"""Plain Faust: an agent and a Table with its RocksDB store (rocksdict), as its user guide writes them."""

from __future__ import annotations

import os

import faust
from faust.types import StreamT

app = faust.App(
    os.environ["BENCH_GROUP"],
    broker=f"kafka://{os.environ['BENCH_BOOTSTRAP_SERVERS']}",
    store="rocksdb://?driver=rocksdict",
    datadir=os.environ["BENCH_STATE_DIR"],
    topic_partitions=4,
    topic_disable_leader=True,
    consumer_auto_offset_reset="earliest",
    broker_commit_interval=float(os.environ["BENCH_COMMIT_SECONDS"]),
    web_enabled=False,
)


class Achievement(faust.Record):
    title: str
    impact: int


class Recorded(faust.Record):
    employee_id: str
    achievement: Achievement


class Tally(faust.Record):
    count: int = 0
    impact: int = 0
    titles: list[str] = []  # noqa: RUF012 (Faust copies it)


recorded = app.topic(os.environ["BENCH_TOPIC"], value_type=Recorded)
tallies = app.Table("tallies", default=Tally, partitions=4)


@app.agent(recorded)
async def tally(events: StreamT[Recorded]) -> None:
    async for event in events:
        kept = tallies[event.employee_id]
        tallies[event.employee_id] = Tally(
            kept.count + 1, kept.impact + event.achievement.impact, [*kept.titles[-4:], event.achievement.title]
        )


if __name__ == "__main__":
    app.main()
