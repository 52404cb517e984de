"""Faust that reads runs: an agent gets what was fetched of a partition as one object, not a record at a time."""

from shared.engine.app import RunApp
from shared.engine.runs import FetchedRecord, Run

__all__ = ["FetchedRecord", "Run", "RunApp"]
