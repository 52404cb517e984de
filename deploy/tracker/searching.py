"""Finds a person: in each record of each topic, opened where it is sealed, and in each row of the read model."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from typing import Any

from sqlalchemy import MetaData, select
from sqlalchemy.engine import make_url

from shared.contracts.identities import EmployeeMergedInto, RefClaimed, read_identity
from shared.database import open_database
from shared.streaming.person_keys import Keyring
from shared.streaming.reading import Progress, partitions_by_topic, read_to_the_end
from shared.streaming.records import Record
from shared.streaming.topics import IDENTITIES


class Marks:
    """How the systems name a person: the employee id, all refs, and what stands behind the scheme of each."""

    def __init__(self, employee_id: str, refs: list[str]) -> None:
        names = {employee_id, *refs, *(ref.partition(":")[2] for ref in refs)}
        self.names = sorted(filter(None, names), key=lambda name: (-len(name), name))
        # Whole words only, or E00036 would be found in E000361; case does not count, as it does not in an address.
        one_of = "|".join(re.escape(name) for name in self.names)
        self._pattern = re.compile(rf"(?<!\w)(?:{one_of})(?!\w)".encode(), re.IGNORECASE)

    def name(self, data: bytes | None) -> bool:
        """Tell whether one of them occurs in `data`."""
        return data is not None and self._pattern.search(data) is not None


def refs_of(bootstrap_servers: str, employee_id: str, keys: Keyring, watch: Callable[[str], Progress]) -> list[str]:
    """Return all refs that ever named a person, those of ids that were merged into theirs included.

    Raises:
        NotRead: Kafka is away.
    """
    progress = watch(IDENTITIES)
    records = read_to_the_end(bootstrap_servers, IDENTITIES, progress=progress, keys=keys, although_erased=True)
    said = [read_identity(record.key, record.value) for record in records if record.value is not None]
    ids = {employee_id}
    ids |= {one.employee_id for one in said if isinstance(one, EmployeeMergedInto) and one.into_id == employee_id}
    return sorted({one.ref for one in said if isinstance(one, RefClaimed) and one.employee_id in ids})


def records_naming(
    marks: Marks, bootstrap_servers: str, keys: Keyring, watch: Callable[[str], Progress]
) -> Iterator[tuple[Record, bool]]:
    """Yield each record that names a person and can be read, and whether its key does.

    Raises:
        NotRead: Kafka is away.
    """
    for topic, partitions in sorted(partitions_by_topic(bootstrap_servers).items()):
        if topic.startswith("__"):
            continue  # Kafka's own: offsets of groups, which hold nobody's name
        for record in read_to_the_end(
            bootstrap_servers, topic, partitions, progress=watch(topic), keys=keys, although_erased=True
        ):
            keyed = marks.name(record.key)
            if keyed or marks.name(record.value) or any(marks.name(value) for _, value in record.headers):
                yield record, keyed


def rows_naming(marks: Marks, database_url: str) -> Iterator[tuple[str, Any]]:
    """Yield each row that names a person, with its table.

    Raises:
        FileNotFoundError: there is no such file.
        sqlalchemy.exc.SQLAlchemyError: the database can't be read.
    """
    url = make_url(database_url)
    if url.get_backend_name() == "sqlite" and not os.path.exists(url.database or ""):  # noqa: PTH110 (it may be empty)
        raise FileNotFoundError(f"there is no file {url.database}")
    engine = open_database(database_url, "tracker")
    try:
        tables = MetaData()
        tables.reflect(engine)
        with engine.connect() as connection:
            for table in tables.sorted_tables:
                for row in connection.execution_options(yield_per=1000).execute(select(table)).mappings():
                    told = json.dumps(dict(row), default=str, ensure_ascii=False)
                    if marks.name(told.encode()):
                        yield table.name, json.loads(told)
    finally:
        engine.dispose()
