"""The Faust app of the peers that are plain Faust: its RocksDB store (rocksdict), its defaults for the rest."""

from __future__ import annotations

import os
from typing import Any

import faust


def faust_app(**more: Any) -> faust.App:
    """Return the app, as the benchmark's environment says.

    Args:
        more: settings beside those that all these peers have.
    """
    return faust.App(
        os.environ["BENCH_GROUP"],
        broker=f"kafka://{os.environ['BENCH_BOOTSTRAP_SERVERS']}",
        store="rocksdb://?driver=rocksdict",
        datadir=os.environ["BENCH_STATE_DIR"],
        topic_partitions=4,
        topic_disable_leader=True,
        consumer_auto_offset_reset="earliest",
        broker_commit_interval=float(os.environ["BENCH_COMMIT_SECONDS"]),
        web_enabled=False,
        **more,
    )
