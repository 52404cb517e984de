"""Decides what a person is told about who was told what of them: by decision, which sponsor could see which evidence.

What counts is what a sponsor could see, from when on: a prompt's page shows it from the moment it stands, whatever
messages do. That is all that is said. Whether, when and by which way a message went out, and that a prompt has ended,
would tell what the sponsor has answered or chosen, which is theirs; so it is not said until when, either.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from services.portal.store import Telling
from shared.contracts.career import CycleKind


@dataclass(frozen=True, slots=True)
class ShownPiece:
    """A piece of evidence that a sponsor could see.

    Attributes:
        title: as it was shown last; None for an endorsement, whose words are its sponsor's.
        since: when it could first be seen.
    """

    evidence_id: str
    title: str | None
    since: datetime


@dataclass(frozen=True, slots=True)
class ToldSponsor:
    """A sponsor who was asked, since when, with what."""

    name: str
    since: datetime
    pieces: tuple[ShownPiece, ...]


@dataclass(frozen=True, slots=True)
class ToldInCycle:
    """All sponsors who were asked in one decision, the one asked first first."""

    kind: CycleKind
    title: str
    closes_at: datetime
    sponsors: tuple[ToldSponsor, ...]


def who_was_told(tellings: Sequence[Telling]) -> list[ToldInCycle]:
    """Return what sponsors were told, the decision that closes last first."""
    by_cycle: dict[str, dict[str, list[Telling]]] = {}
    for telling in sorted(tellings, key=lambda one: (one.prompt_id, one.version)):
        by_cycle.setdefault(telling.cycle_id, {}).setdefault(telling.prompt_id, []).append(telling)
    found = [_in_cycle(list(prompts.values())) for prompts in by_cycle.values()]
    return sorted(found, key=lambda cycle: (cycle.closes_at, cycle.title), reverse=True)


def shown_to(told: Iterable[ToldInCycle]) -> dict[str, list[str]]:
    """Return the names of the sponsors who could see a piece of evidence, by its id."""
    found: dict[str, dict[str, None]] = {}
    for cycle in told:
        for sponsor in cycle.sponsors:
            for piece in sponsor.pieces:
                found.setdefault(piece.evidence_id, {})[sponsor.name] = None
    return {evidence_id: sorted(names) for evidence_id, names in found.items()}


def _in_cycle(prompts: Sequence[Sequence[Telling]]) -> ToldInCycle:
    newest = max((versions[-1] for versions in prompts), key=lambda one: (one.at, one.prompt_id)).body.opportunity
    sponsors = sorted((_sponsor(versions) for versions in prompts), key=lambda one: (one.since, one.name))
    return ToldInCycle(newest.kind, newest.title, newest.closes_at, tuple(sponsors))


def _sponsor(versions: Sequence[Telling]) -> ToldSponsor:
    pieces: dict[str, ShownPiece] = {}
    for telling in versions:
        for piece in telling.body.evidence:
            title = piece.title if piece.kind == "achievement" else None
            before = pieces.get(piece.evidence_id)
            since = before.since if before is not None else telling.at
            pieces[piece.evidence_id] = ShownPiece(piece.evidence_id, title, since)
    return ToldSponsor(versions[-1].body.sponsor_name, versions[0].at, tuple(pieces.values()))
