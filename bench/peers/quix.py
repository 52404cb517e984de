"""Quix Streams: a stateful apply over a JSON topic, RocksDB with a changelog."""

from __future__ import annotations

import os
from typing import Any

from quixstreams import Application, State


def tally(event: dict[str, Any], state: State) -> None:
    kept = state.get("tally")
    if kept is None:
        kept = {"count": 0, "impact": 0, "titles": []}
    achievement = event["achievement"]
    kept["count"] += 1
    kept["impact"] += achievement["impact"]
    kept["titles"] = [*kept["titles"][-4:], achievement["title"]]
    state.set("tally", kept)


def application() -> Application:
    """Return the application, as the benchmark's environment says."""
    return Application(
        broker_address=os.environ["BENCH_BOOTSTRAP_SERVERS"],
        consumer_group=os.environ["BENCH_GROUP"],
        auto_offset_reset="earliest",
        commit_interval=float(os.environ["BENCH_COMMIT_SECONDS"]),
        state_dir=os.environ["BENCH_STATE_DIR"],
        loglevel="WARNING",
    )


def main() -> None:
    app = application()
    topic = app.topic(os.environ["BENCH_TOPIC"], value_deserializer="json")
    app.dataframe(topic).update(tally, stateful=True)
    app.run()


if __name__ == "__main__":
    main()
