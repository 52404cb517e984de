"""Turns one event of `feeds.achievements` into statements about achievements, whatever the tool it comes from."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from shared.contracts.base import Payload
from shared.contracts.career import (
    Achievement,
    AchievementCorrected,
    AchievementHidden,
    AchievementRecorded,
    AchievementRetracted,
    AchievementShown,
)
from shared.contracts.cloudevents import FeedEvent
from shared.contracts.competencies import normalised_competencies
from shared.contracts.feeds import (
    AchievementOwned,
    AchievementStated,
    AchievementTakenBack,
    IssueResolved,
    RecognitionGiven,
    ReviewCompleted,
)
from shared.contracts.ids import AchievementId, Ref, normalised_ref, stable_id
from shared.streaming.intake import Resolve
from shared.streaming.records import Poison

AchievementEvent = (
    AchievementRecorded | AchievementCorrected | AchievementRetracted | AchievementHidden | AchievementShown
)

TITLE_CHARACTERS: Final = 200
"""As much as `Achievement.title` holds."""
OUTCOME_CHARACTERS: Final = 2000
"""As much as `Achievement.outcome` holds."""

LOWEST_RATING: Final = 4
"""A highlight rated below is no evidence that a sponsor could use."""

IMPACT_OF_AMOUNT: Final = ((100, 3), (50, 2), (10, 1))
"""Points of a recognition, from which on, and the impact they are taken for; fewer say nothing about it (0).
A rule of thumb: points measure thanks, so it takes many of them to speak of more than the team."""
IMPACT_OF_RATING: Final[Mapping[int, int]] = {4: 1, 5: 2}
"""A rating says how well something was done, not how far it reached, so none is taken for the whole company."""
IMPACT_OF_PRIORITY: Final[Mapping[str, int]] = {"Highest": 3, "High": 2, "Medium": 1, "Low": 0, "Lowest": 0}
"""An issue's priority is how far its problem reached, as those who had it saw it."""


def normalise(event: FeedEvent, payload: Payload, resolve: Resolve) -> tuple[AchievementEvent, ...]:
    """Return what `event` says about achievements; the same event always gives the same.

    Witnesses stay the names that their source has for them: whoever reads the log matches them, and an achievement
    does not wait for a witness to be known.

    Args:
        event: the event that carried `payload`.
        payload: one of the shapes of `feeds.achievements`.
        resolve: says who the employee is.

    Raises:
        UnknownPerson: nobody knows the employee yet.
        Poison: the payload has a shape but no sense; the message names the field.
    """
    match payload:
        case AchievementStated():
            return (_stated(event, payload, resolve),)
        case AchievementTakenBack():
            fields = _common(event, payload.employee, resolve)
            return (AchievementRetracted(**fields, achievement_id=payload.achievement_id, reason=payload.reason),)
        case AchievementOwned():
            word = AchievementHidden if event.type == "achievement.hidden" else AchievementShown
            return (word(**_common(event, payload.employee, resolve), achievement_id=payload.achievement_id),)
        case RecognitionGiven():
            return (_recognition(event, payload, resolve),)
        case ReviewCompleted():
            return _review(event, payload, resolve)
        case IssueResolved():
            return (_issue(event, payload, resolve),)
        case _:
            raise TypeError(f"{type(payload).__name__} is no payload of feeds.achievements")


# -- our own shape --------------------------------------------------------------------------------


def _stated(
    event: FeedEvent, payload: AchievementStated, resolve: Resolve
) -> AchievementRecorded | AchievementCorrected:
    statement = AchievementCorrected if event.type == "achievement.corrected" else AchievementRecorded
    return statement(
        **_common(event, payload.employee, resolve),
        achievement=Achievement(
            achievement_id=payload.achievement_id,
            title=payload.title,
            outcome=payload.outcome,
            impact=payload.impact,
            occurred_on=payload.occurred_on,
            competencies=normalised_competencies(payload.competencies),
            link=payload.link,
            witnesses=tuple(dict.fromkeys(payload.witnesses)),
        ),
    )


# -- the shapes of tools --------------------------------------------------------------------------


def _recognition(event: FeedEvent, payload: RecognitionGiven, resolve: Resolve) -> AchievementRecorded:
    title, outcome = _headline(payload.reason, "reason")
    return AchievementRecorded(
        **_common(event, _mailbox(payload.receiver.email, "receiver.email"), resolve),
        achievement=Achievement(
            achievement_id=_tool_id(event, "recognition", payload.id),
            title=title,
            outcome=outcome,
            impact=next((impact for points, impact in IMPACT_OF_AMOUNT if payload.amount >= points), 0),
            occurred_on=payload.created_at.date(),
            competencies=normalised_competencies(payload.hashtags),
            witnesses=(_mailbox(payload.giver.email, "giver.email"),),
        ),
    )


def _review(event: FeedEvent, payload: ReviewCompleted, resolve: Resolve) -> tuple[AchievementRecorded, ...]:
    reviewer = _mailbox(payload.reviewer.email, "reviewer.email")
    reviewee = _mailbox(payload.reviewee.email, "reviewee.email")
    achievements = []
    for place, highlight in enumerate(payload.highlights):
        if highlight.rating < LOWEST_RATING:
            continue
        # The place counts all highlights, so a rating that is corrected later does not renumber the others.
        part = f"highlight-{place}"
        title, outcome = _headline(highlight.text, f"highlights.{place}.text")
        achievements.append(
            AchievementRecorded(
                **_common(event, reviewee, resolve, part),
                achievement=Achievement(
                    achievement_id=_tool_id(event, "review", payload.review_id, part),
                    title=title,
                    outcome=outcome,
                    impact=IMPACT_OF_RATING[highlight.rating],
                    occurred_on=payload.submitted_at.date(),
                    competencies=normalised_competencies((highlight.competency,)),
                    link=payload.link,
                    witnesses=(reviewer,),
                ),
            )
        )
    return tuple(achievements)


def _issue(event: FeedEvent, payload: IssueResolved, resolve: Resolve) -> AchievementRecorded:
    issue = payload.issue
    summary = _one_line(issue.fields.summary)
    if not summary:
        raise Poison("issue.fields.summary: is empty; send what was resolved in words")
    return AchievementRecorded(
        **_common(event, _ref(f"jira:{issue.fields.assignee}", "issue.fields.assignee"), resolve),
        achievement=Achievement(
            achievement_id=_tool_id(event, "issue", issue.key),
            title=_cut(summary, TITLE_CHARACTERS),
            outcome=_cut(summary, OUTCOME_CHARACTERS) if len(summary) > TITLE_CHARACTERS else "",
            impact=IMPACT_OF_PRIORITY[issue.fields.priority],
            occurred_on=issue.fields.resolutiondate.date(),
            competencies=normalised_competencies(issue.fields.labels),
            link=issue.self,
        ),
    )


# -- what they share ------------------------------------------------------------------------------


def _common(event: FeedEvent, employee: Ref, resolve: Resolve, part: str = "") -> dict[str, Any]:
    return {
        "id": event.career_event_id(part),
        "at": event.time,
        "source": f"{event.source}#{event.id}",
        "employee_id": resolve(employee),
    }


def _tool_id(event: FeedEvent, *parts: str) -> AchievementId:
    """Return an id that no other source can give, nor this one for another kind of thing.

    It rests on the thing's id in the tool and not on the event's: a tool that tells of the thing again, in a new
    event, speaks of the same achievement.
    """
    return AchievementId(stable_id("achievement", event.source, *parts))


def _mailbox(address: str, field: str) -> Ref:
    if "@" not in address:
        raise Poison(f"{field}: is not an email address; send one as ann@example.com")
    return _ref(f"email:{address}", field)


def _ref(text: str, field: str) -> Ref:
    try:
        return normalised_ref(text)
    except ValueError as exc:
        raise Poison(f"{field}: names nobody; send the account of the person whose achievement it is") from exc


# -- words ----------------------------------------------------------------------------------------

_END_OF_SENTENCE: Final = re.compile(
    r"[.!?\u2026][\"'\u201d\u2019)\]]*(?=\s++(?![a-z]))"  # not after an abbreviation ("approx. a third"), nor in "v2.0"
    r"|[\u3002\uff01\uff1f]"  # the same marks in CJK, where no space follows
    r"|(?=[\r\n])"
)
_FULL_STOPS: Final = ".\u3002"
_NOT_BEFORE_AN_ELLIPSIS: Final = " ,;:-\u2013\u2014"


def _headline(text: str, field: str) -> tuple[str, str]:
    """Return a title (the first sentence) and the rest, or all of the text where its first sentence is too long."""
    text = text.strip()
    end = found.end() if (found := _END_OF_SENTENCE.search(text)) else len(text)
    sentence = _one_line(text[:end])
    if not sentence:
        raise Poison(f"{field}: is empty; send what was achieved in words")
    if len(sentence) > TITLE_CHARACTERS:
        return _cut(sentence, TITLE_CHARACTERS), _cut(text, OUTCOME_CHARACTERS)
    return sentence.rstrip(_FULL_STOPS) or sentence, _cut(text[end:].strip(), OUTCOME_CHARACTERS)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _cut(text: str, characters: int) -> str:
    """Return `text` within its limit, cut at the end of a word and with an ellipsis if it has to be."""
    if len(text) <= characters:
        return text
    kept = text[: characters - 1]
    at_a_word = kept if text[characters - 1].isspace() else kept.rsplit(None, 1)[0]
    # A word that fills more than half the line (a path, a script without spaces) is cut inside.
    return (at_a_word if len(at_a_word) > characters // 2 else kept).rstrip(_NOT_BEFORE_AN_ELLIPSIS) + "…"
