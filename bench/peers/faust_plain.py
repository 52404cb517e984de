"""Plain Faust: an agent and a Table with its RocksDB store (rocksdict), as its user guide writes them."""

from __future__ import annotations

import os

import faust
from faust.types import StreamT

from bench.peers.faust_app import faust_app

app = faust_app()


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
