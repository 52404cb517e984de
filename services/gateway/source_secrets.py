"""Decides which sources are let in: those that have a secret, or two while one is being replaced."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from shared.service.secrets import pairs_of
from shared.sources.declaration import Declaration

_MOST = 2


class SourceSecrets:
    """The secrets of each source, by its name."""

    def __init__(self, secrets: Mapping[str, Sequence[str]]) -> None:
        self._secrets = secrets

    @classmethod
    def parse(cls, text: str, sources: Mapping[str, Declaration]) -> SourceSecrets:
        """Return the secrets that `text` lists: ``name=secret``, separated by commas; none lets no source in.

        Raises:
            ValueError: an entry is unfit, or names a source that is not declared; the message shows no secret.
        """
        secrets: dict[str, list[str]] = defaultdict(list)
        for number, name, secret in pairs_of(text, "name=secret, as bamboohr=9f86d081884c7d65"):
            if name not in sources:
                raise ValueError(f"entry {number}: there is no source {name}; there are {', '.join(sorted(sources))}")
            webhook = sources[name].webhook
            if webhook is None:
                raise ValueError(
                    f"entry {number}: {name} has no webhook, so nothing is sent here that a secret could let in"
                )
            try:
                webhook.signature.key(secret)
            except ValueError as exc:
                raise ValueError(f"entry {number}: {name}: {exc}") from exc
            secrets[name].append(secret)
            if len(secrets[name]) > _MOST:
                raise ValueError(f"entry {number}: {name} has more than {_MOST} secrets; the oldest can go")
        return cls(secrets)

    def of(self, name: str) -> Sequence[str]:
        """Return a source's secrets; none if it is not let in."""
        return self._secrets.get(name, ())

    def names(self) -> Sequence[str]:
        """Return the sources that are let in."""
        return sorted(self._secrets)
