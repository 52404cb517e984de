"""Settings of the insights service: where its database is, and how much it projects at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator
from pydantic_settings import SettingsConfigDict
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from shared.processing import read_processing
from shared.service.access import AccessSettings
from shared.service.settings import AttributeSettings, http_port
from shared.streaming.service import StreamSettings


def _supported_url(text: str) -> str:
    try:
        url = make_url(text)
    except ArgumentError:
        # Not chained: SQLAlchemy repeats the text, and there may be a password in it.
        raise ValueError(
            "is not a database URL: write sqlite:///<file> or postgresql://user:password@host/db"
        ) from None
    if url.drivername not in ("sqlite", "postgresql", "postgresql+psycopg"):
        raise ValueError(f"{url.drivername} is not supported: use sqlite:///<file> or postgresql://…")
    if url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:"):
        raise ValueError("SQLite has to be in a file: in memory, each connection would see its own empty database")
    return text


def _processing(path: Path) -> Path:
    read_processing(path)
    return path


class InsightsSettings(StreamSettings, AccessSettings, AttributeSettings):
    """Settings of `python -m services.insights`."""

    model_config = SettingsConfigDict(env_prefix="INSIGHTS_", hide_input_in_errors=True)

    http_port: int = http_port(8090)
    database_url: Annotated[str, AfterValidator(_supported_url)] = Field(
        "sqlite:///.local/insights.db",
        repr=False,
        description="where the read model is: sqlite:///<file>, or postgresql://user:password@host:port/database",
    )
    max_run: int = Field(
        5000, ge=1, le=20_000, description="records that are projected in one transaction at most; bounds its length"
    )
    offsets_every_seconds: float = Field(
        5.0, gt=0, description="seconds between two looks at the ends of the topics, from which the lag is told"
    )
    measure_every_seconds: float = Field(
        15.0,
        gt=0,
        description="seconds between two measurings; longer where one takes long, so that it is a tenth of the time",
    )
    processing_file: Annotated[Path, AfterValidator(_processing)] = Field(
        Path("deploy/processing.yaml"),
        description="the record of processing: which data there are, why, on which legal basis, for how long",
    )
    least_group: int = Field(
        10, ge=5, le=1000, description="people whom a group has at least to be shown beside others (k)"
    )

    @model_validator(mode="after")
    def _comparisons_are_for_few(self) -> InsightsSettings:
        if self.protected_attributes and self.access_file is None:
            raise ValueError(
                "PROTECTED_ATTRIBUTES: needs ACCESS_FILE, for comparisons are for the people team, and each reading is "
                "noted"
            )
        return self
