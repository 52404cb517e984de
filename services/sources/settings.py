"""The settings of the sources service."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import SettingsConfigDict

from shared.service.secrets import pairs_of
from shared.service.settings import AttributeSettings, http_port
from shared.sources.declaration import Declaration
from shared.sources.files import BadDeclaration, read_sources, sources_dir
from shared.streaming.service import StreamSettings


class SourcesSettings(StreamSettings, AttributeSettings):
    """Where the sources' files are."""

    model_config = SettingsConfigDict(env_prefix="SOURCES_")

    http_port: int = http_port(8107)
    sources_dir: Path = sources_dir()
    credentials: SecretStr = Field(
        SecretStr(""),
        description="with what vendors' APIs are asked, where a source's file has `api`: name=credentials, separated "
        "by commas; credentials are what its `auth` says: user:password, a token, client_id:client_secret. A source "
        "without any fetches nothing and is not polled",
    )
    fetch_timeout_seconds: float = Field(10, gt=0, le=30, description="how long a vendor's API may take, in seconds")
    fetch_give_up_after_seconds: float = Field(
        120,
        ge=0,
        le=240,
        description="how long the records of a run of deliveries are tried for, in seconds; those that are not had by "
        "then leave a dead letter. A page of a list that is polled is tried for as long, and then again later",
    )

    @model_validator(mode="after")
    def _files_can_be_used(self) -> SourcesSettings:
        try:
            sources = read_sources(self.sources_dir)
        except BadDeclaration as exc:
            raise ValueError(f"SOURCES_DIR: {exc}") from exc
        try:
            read_credentials(self.credentials.get_secret_value(), sources)
        except ValueError as exc:
            raise ValueError(f"SOURCES_CREDENTIALS: {exc}") from exc
        return self


def read_credentials(text: str, sources: Mapping[str, Declaration]) -> Mapping[str, str]:
    """Return the credentials of each source that has some.

    Raises:
        ValueError: an entry is unfit, or of a source that asks no API; the message shows none of them.
    """
    found: dict[str, str] = {}
    for number, name, credentials in pairs_of(text, "name=credentials, as hibob=SERVICE-1234:0f6f"):
        api = sources[name].api if name in sources else None
        if api is None:
            raise ValueError(f"entry {number}: {name} is no source with `api` in its file")
        if (wrong := api.auth.refuses(credentials)) is not None:
            raise ValueError(f"entry {number}: {name} {wrong}")
        found[name] = credentials
    return found
