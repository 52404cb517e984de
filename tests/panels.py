"""Asks the queries of Grafana's panels, as Grafana would: of a real Prometheus, and of a real PostgreSQL."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import yaml
from sqlalchemy import Connection, text

from deploy.broker import PROJECT
from deploy.dashboards import FOLDER
from deploy.spawn import LOOPBACK, free_ports, spawn, wait_until

Panel = Mapping[str, Any]

_SCRAPES_EVERY_SECONDS: Final = 1


def panels(kind: str) -> list[tuple[str, Panel]]:
    """Return the panels that ask a datasource of this kind, each with the name of its dashboard."""
    kept = {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}
    return [(name, panel) for name, of in kept.items() for panel in of["panels"] if panel["datasource"]["type"] == kind]


def wrong_units(panel: Panel, numbers: list[float], unit: str) -> list[str]:
    """Return what can't be so: a share beyond 1, a time before 0."""
    if unit == "percentunit" and panel["title"] not in ("Processor", "Difference in promotions: not cause"):
        return [f"{n} is no share" for n in numbers if not 0 <= n <= 1]
    return [f"{n} is below 0" for n in numbers if n < 0 and unit in ("s", "short", "bytes")]


# -- Prometheus -----------------------------------------------------------------------------------


class Prometheus:
    """A Prometheus that scrapes services on this machine, with the alert rules that compose mounts."""

    def __init__(self, services: Mapping[str, int], folder: Path) -> None:
        found = shutil.which("prometheus")
        if found is None:
            pytest.fail("no prometheus here: `make promtool` installs it (Debian, Ubuntu: apt-get install prometheus)")
        config = yaml.safe_load((PROJECT / "deploy/prometheus/prometheus.yml").read_text())
        config["global"] = dict.fromkeys(
            ("scrape_interval", "scrape_timeout", "evaluation_interval"), f"{_SCRAPES_EVERY_SECONDS}s"
        )
        config["rule_files"] = [str(PROJECT / "deploy/prometheus" / name) for name in config["rule_files"]]
        [job] = config["scrape_configs"]
        del job["relabel_configs"]  # the names of hosts are the services' in compose; here they get theirs as a label
        job["static_configs"] = [
            {"targets": [f"{LOOPBACK}:{port}"], "labels": {"service": name}} for name, port in services.items()
        ]
        folder.mkdir(parents=True)
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        [port] = free_ports(1)
        self._log = folder / "log"
        self._process = spawn(
            [
                found,
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address={LOOPBACK}:{port}",
            ],
            log=self._log,
            parent_death_signal=signal.SIGKILL,
        )
        self._http = httpx.Client(base_url=f"http://{LOOPBACK}:{port}", trust_env=False, timeout=20)

    def lines(self, query: str) -> dict[str, tuple[dict[str, str], list[float]]]:
        """Return the series that `query` has had in the last five minutes, with their labels."""
        now = time.time()
        asked = {"query": query, "start": now - 300, "end": now, "step": 5}
        answer = self._http.get("/api/v1/query_range", params=asked).json()
        assert answer["status"] == "success", f"{query}: {answer['error']}"
        found = answer["data"]["result"]
        return {
            json.dumps(one["metric"], sort_keys=True): (one["metric"], [float(n) for _, n in one["values"]])
            for one in found
        }

    def unhealthy_rules(self) -> list[str]:
        """Return what is wrong with alert rules, as Prometheus has evaluated them; all have to be by now."""
        groups = self._http.get("/api/v1/rules").json()["data"]["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        assert rules
        return [f"{rule['name']}: {rule.get('lastError')}" for rule in rules if rule["health"] != "ok"]

    def answers(self) -> bool:
        assert self._process.poll() is None, f"prometheus ended by itself: {self._log.read_text()[-2000:]}"
        try:
            return self._http.get("/-/ready").is_success
        except httpx.TransportError:
            return False

    def stop(self) -> None:
        self._http.close()
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()


@contextmanager
def a_prometheus(services: Mapping[str, int], folder: Path) -> Iterator[Prometheus]:
    server = Prometheus(services, folder)
    try:
        assert wait_until(server.answers, within=30), "Prometheus did not start"
        yield server
    finally:
        server.stop()


def faults_in_lines(prometheus: Prometheus) -> list[str]:
    """Return in words which panels show nothing, lines that are not told apart, or numbers that can't be so."""
    faults = []
    for name, panel in panels("prometheus"):
        for target in panel["targets"]:
            lines = prometheus.lines(target["expr"])
            legend = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
            told = {tuple(labels.get(label) for label in sorted(legend)) for labels, _ in lines.values()}
            numbers = [n for _, values in lines.values() for n in values if n == n]
            said = wrong_units(panel, numbers, panel["fieldConfig"]["defaults"]["unit"])
            if not numbers:
                said.append("shows nothing")
            if len(told) != len(lines) or any(None in names for names in told):
                said.append(f"names its lines {target['legendFormat']}, of {list(lines)}")
            faults += [f"{name}, {panel['title']}: {fault}" for fault in said]
    return faults


# -- PostgreSQL -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Shown:
    """Which panels show nothing, and what in others can't be so, in words."""

    empty: set[str]
    wrong: set[str]


def shown_of_rows(connection: Connection, cycles: Sequence[str]) -> Shown:
    """Look at each panel that asks by SQL; one of a chosen cycle has to show something of one of these."""
    shown = Shown(set(), set())
    for name, panel in panels("grafana-postgresql-datasource"):
        [target] = panel["targets"]
        rows: list[dict[str, Any]] = []
        columns: list[str] = []
        for cycle in cycles if "${cycle:" in target["rawSql"] else [""]:
            answer = connection.execute(text(_filled_in(target["rawSql"], cycle)))
            columns = list(answer.keys())
            rows += [dict(row) for row in answer.mappings()]
        title = f"{name}, {panel['title']}"
        if not any(value is not None and not isinstance(value, str) for row in rows for value in row.values()):
            shown.empty.add(title)
        shown.wrong.update(f"{title}: {fault}" for fault in _wrong(panel, target, columns, rows))
    return shown


def choices_of(connection: Connection, dashboard: str) -> list[tuple[str, str]]:
    """Return what a dashboard's cycle may be chosen from: titles and ids."""
    kept = json.loads((FOLDER / f"{dashboard}.json").read_text())
    [variable] = [one for one in kept["templating"]["list"] if one["name"] == "cycle"]
    return [(row[0], row[1]) for row in connection.execute(text(variable["query"]))]


def _filled_in(query: str, cycle: str) -> str:
    """Return the query as Grafana sends it, for a range that holds all."""
    query = re.sub(r"\$__timeFilter\((\w+)\)", r"\1 BETWEEN '1970-01-01T00:00:00Z' AND '9999-01-01T00:00:00Z'", query)
    return query.replace("${cycle:sqlstring}", "'" + cycle.replace("'", "''") + "'").replace(":", r"\:")


def _wrong(panel: Panel, target: Panel, columns: list[str], rows: list[dict[str, Any]]) -> Iterator[str]:
    defaults, overrides = panel["fieldConfig"]["defaults"], panel["fieldConfig"]["overrides"]
    units = {one["matcher"]["options"]: one["properties"][0]["value"] for one in overrides}
    if units.keys() - set(columns):
        yield f"gives units to columns that there are not: {units.keys() - set(columns)}"
    if target["format"] == "time_series" and not all(isinstance(row["time"], datetime) for row in rows):
        yield "has no times"
    x_field = panel.get("options", {}).get("xField")
    if x_field is not None and not all(isinstance(row[x_field], str) for row in rows):
        yield f"{x_field} is no name"
    if defaults["unit"] == "dateTimeAsIso":
        if not all(isinstance(value, datetime) for row in rows for value in row.values()):
            yield "shows no time"
        return
    for column in columns:
        numbers = [float(row[column]) for row in rows if isinstance(row[column], int | float)]
        yield from wrong_units(panel, numbers, units.get(column, "short" if units else defaults["unit"]))
