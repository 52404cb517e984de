"""Merges a prompt event or a choice into what is known of its sponsor; neither order nor repetition matters.

Pure: what was known and an event give what is known.
"""

from __future__ import annotations

from datetime import datetime

from msgspec.structs import replace

from services.prompter.rules import Said
from services.prompter.state import Choices, Held, Key, Sponsor
from shared.contracts.career import write_contract
from shared.contracts.choices import Mine, NotMine, PreferencesSet, Resumed, SponsorChoice, Stopped
from shared.contracts.ids import PromptId, version_event_id
from shared.contracts.outputs import PromptBody, PromptEvent, PromptOpened, PromptUpdated


def learn_prompt(
    sponsor: Sponsor, event: PromptEvent, raw: bytes, offset: int, now: datetime
) -> tuple[Sponsor, tuple[Said, ...]] | None:
    """Return what is known now, and what is to be recorded of the version that this one overtakes; None if it is old.

    Old is an older version, and one that has been dealt with. A version that failed is news when it comes again, out
    of the dead letters.

    Args:
        sponsor: what is known so far.
        event: the event.
        raw: the same, as it came.
        offset: where it lay.
        now: the clock on the wall.
    """
    held = sponsor.prompts.get(event.prompt_id)
    if held is not None and not (
        event.version > held.version or (event.version == held.version and held.outcome == "failed")
    ):
        return None
    said: tuple[Said, ...] = ()
    if (
        held is not None
        and event.version > held.version
        and held.outcome is None
        and not _is_under_way(sponsor, event.prompt_id, held.version)
    ):
        words = f"superseded by version {event.version}, which came before this was sent"
        said = (
            Said(event.prompt_id, held.version, _id(event.prompt_id, held.version), "skipped", "superseded", words),
        )
    known = replace(sponsor, prompts=sponsor.prompts | {event.prompt_id: _held(held, event, raw, offset, now)})
    return _described(known, event), said


def learn_choice(sponsor: Sponsor, choice: SponsorChoice) -> Sponsor:
    """Return what is known once a sponsor has chosen; of two choices of one kind the later holds."""
    key = (choice.at, str(choice.id))
    before = sponsor.choices
    match choice:
        case Stopped():
            after = replace(before, stopped=_later(before.stopped, key))
        case Resumed():
            after = replace(before, resumed=_later(before.resumed, key))
        case NotMine():
            later = _later(before.not_mine.get(choice.employee_id), key)
            after = replace(before, not_mine=before.not_mine | {str(choice.employee_id): later})
        case Mine():
            later = _later(before.mine.get(choice.employee_id), key)
            after = replace(before, mine=before.mine | {str(choice.employee_id): later})
        case PreferencesSet():
            after = _preferring(before, key, choice)
    return sponsor if after == before else replace(sponsor, choices=after)


def _held(held: Held | None, event: PromptEvent, raw: bytes, offset: int, now: datetime) -> Held:
    asks = event if isinstance(event, PromptOpened | PromptUpdated) else None
    snoozed_until = asks.snoozed_until if asks is not None else None
    return Held(
        version=event.version,
        event=raw,
        offset=offset,
        asks=asks is not None,
        employee_id=event.employee_id,
        since=now,
        closes_at=asks.body.opportunity.closes_at if asks is not None else None,
        strength=_strength(asks.body) if asks is not None else 0,
        # By the event's own time and not by a clock: the correlator says so when it is over.
        snoozed_until=snoozed_until if snoozed_until is not None and snoozed_until > event.at else None,
        shown_version=held.shown_version if held is not None else 0,
        shown_by=held.shown_by if held is not None else None,
        told_at=held.told_at if held is not None else None,
    )


def _strength(body: PromptBody) -> int:
    return sum(len(piece.reasons) for piece in body.evidence)


def _described(sponsor: Sponsor, event: PromptEvent) -> Sponsor:
    key = (event.at, str(event.id))
    if not isinstance(event, PromptOpened | PromptUpdated) or (
        sponsor.described is not None and sponsor.described > key
    ):
        return sponsor
    return replace(
        sponsor, described=key, timezone=event.sponsor_timezone, locale=event.sponsor_locale, refs=event.sponsor_refs
    )


def _preferring(before: Choices, key: Key, choice: PreferencesSet) -> Choices:
    if before.preferences is not None and before.preferences[0] >= key:
        return before
    return replace(before, preferences=(key, write_contract(choice)))


def _is_under_way(sponsor: Sponsor, prompt_id: str, version: int) -> bool:
    parts = sponsor.outgoing.parts if sponsor.outgoing is not None else ()
    return any((part.prompt_id, part.version) == (prompt_id, version) for part in parts)


def _later(before: Key | None, key: Key) -> Key:
    return key if before is None or key > before else before


def _id(prompt_id: str, version: int) -> str:
    return version_event_id(PromptId(prompt_id), version)
