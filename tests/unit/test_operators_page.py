"""The operators' page says what the code says: settings, metrics, who reads what, on which port."""

from __future__ import annotations

import re

import pytest

from deploy.lag import READS
from deploy.operators_page import PAGE, metrics_of, stream_metrics, written
from deploy.stack import SERVICES, Service


def test_the_generated_tables_are_those_of_the_code() -> None:
    page = PAGE.read_text()
    assert page == written(page), "run python -m deploy.operators_page"


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
def test_the_page_tells_each_services_port_and_what_it_reads(service: Service) -> None:
    row = next(line for line in PAGE.read_text().splitlines() if line.startswith(f"| {service.name} |"))
    assert f"| {service.http_port} |" in row
    reads = row.split("|")[3]
    for topic in READS.get(service.name, ()):
        assert topic.endswith(".parked") or f"`{topic}`" in reads


def test_what_operators_are_told_to_watch_is_exported() -> None:
    exported = {m.name for m in stream_metrics()} | {m.name for service in SERVICES for m in metrics_of(service)}
    watch = PAGE.read_text().split("## Watch")[1].split("## When")[0]
    named = set(re.findall(r"`((?:stream|intake|correlator)_[a-z_]+)", watch))
    assert named
    assert named <= exported
