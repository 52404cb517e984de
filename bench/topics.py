"""Deletes topics on the benchmarks' broker."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from kafka.admin import KafkaAdminClient

from deploy.spawn import wait_until

_GONE_WITHIN_SECONDS: Final = 60.0


def delete_topics(admin: KafkaAdminClient, which: Callable[[str], bool]) -> None:
    """Delete the topics whose names are `which`, and return when the broker does not tell of them any more.

    One that is told of still is taken as there by whoever creates topics, and then it is not: seen where a broker had
    just started.

    Raises:
        TimeoutError: some are told of after a minute.
        kafka.errors.KafkaError: the broker refuses.
    """

    def left() -> list[str]:
        return [name for name in admin.list_topics() if which(name)]

    if names := left():
        admin.delete_topics(names)
        if not wait_until(lambda: not left(), within=_GONE_WITHIN_SECONDS):
            raise TimeoutError(f"still there {_GONE_WITHIN_SECONDS:.0f} s after they were deleted: {', '.join(left())}")
