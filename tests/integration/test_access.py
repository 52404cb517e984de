"""Insights behind its doors, and how long Kafka keeps what, with a real Kafka."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest

from deploy.broker import PROJECT
from deploy.processes import Supervisor
from deploy.spawn import free_ports
from deploy.stack import service
from deploy.topics import main as topics
from shared.contracts.audit import ReadAudited
from shared.processing import read_processing
from shared.streaming.reading import read_to_the_end
from shared.streaming.topics import ALL_TOPICS, READS_AUDIT, create_topics

TOKEN = "a token of the people team's"
WHO = f"""
readers:
  - {{name: "people team {{0}}", role: people-team, token_sha256: {sha256(TOKEN.encode()).hexdigest()}}}
"""


def notes(bootstrap_servers: str) -> list[ReadAudited]:
    records = read_to_the_end(bootstrap_servers, READS_AUDIT)
    return [ReadAudited.model_validate_json(record.value or b"") for record in records]


def test_who_reads_is_known_and_noted_in_kafka(kafka: Any, tmp_path: Path) -> None:
    create_topics(kafka.bootstrap_servers)
    name = f"people team {tmp_path.name}"
    access = tmp_path / "access.yaml"
    access.write_text(WHO.replace("people team {0}", name))
    env = {
        "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "DATA_DIR": str(tmp_path / "faust"),
        "INSIGHTS_DATABASE_URL": f"sqlite:///{tmp_path / 'insights.db'}",
        "ACCESS_FILE": str(access),
        "LOG_FORMAT": "json",
    }
    [port] = free_ports(1)
    with Supervisor([service("insights")], env=env, ports={"insights": port}, log_dir=tmp_path) as stack:
        assert httpx.get(stack.url("insights", "/v1/employees"), trust_env=False).status_code == 401
        with httpx.Client(headers={"Authorization": f"Bearer {TOKEN}"}, trust_env=False) as client:
            assert client.get(stack.url("insights", "/v1/employees?unit=ENG")).status_code == 200
        of_ours = [(read.asked, read.given) for read in notes(kafka.bootstrap_servers) if read.who == name]
        assert of_ours == [("/v1/employees?unit=ENG", True)]
        assert 'reads_total{outcome="refused",role="nobody"} 1.0' in httpx.get(stack.url("insights", "/metrics")).text


def test_kafka_keeps_records_for_as_long_as_the_record_of_processing_says(
    kafka: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shipped = PROJECT / "deploy" / "processing.yaml"
    record = tmp_path / "processing.yaml"
    record.write_text(shipped.read_text().replace("keep: for ever", "keep: 31 days"))
    where = ["--bootstrap-servers", kafka.bootstrap_servers]
    assert topics([*where, "--retention", str(record)]) == 2
    assert "career-events can't be kept for 31 days" in capsys.readouterr().err

    record.write_text(shipped.read_text().replace("keep: 1095 days", "keep: 1000 days"))
    create_topics(kafka.bootstrap_servers)
    made = {spec.name: int(spec.config["retention.ms"]) for spec in ALL_TOPICS if "retention.ms" in spec.config}
    differ = sum(ms != made[topic] for topic, ms in read_processing(record).retention_ms())
    assert topics([*where, "--retention", str(record), "--dry-run"]) == 0
    told = capsys.readouterr().out
    assert "feeds.endorsements: records would be kept for 1000 days; for ever before" in told
    assert f"records of {differ} topics would be kept" in told
    assert topics([*where, "--retention", str(record)]) == 0
    assert f"records of {differ} topics are kept" in capsys.readouterr().out
    assert topics([*where, "--retention", str(record), "--dry-run"]) == 0
    assert "records of 0 topics would be kept" in capsys.readouterr().out
