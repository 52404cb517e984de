"""Decides whether a sponsor gets a prompt, when, and together with which others. The rule is `judge`.

Pure: what is known of a sponsor, the company's policy and the time in; what is sent, recorded, and when it is looked at
again out. There is no clock in here, no random, no I/O.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from msgspec.structs import replace

from services.prompter.policy import Policy, SponsorPolicy, policy_of
from services.prompter.state import Held, Outgoing, Part, Sponsor
from services.prompter.working_time import closed_at, next_open
from shared.contracts.choices import PreferencesSet
from shared.contracts.ids import PromptId, stable_id, version_event_id
from shared.contracts.outputs import ChannelName, NotSentBecause, Outcome

WEEK: Final = timedelta(days=7)
LARGEST_DIGEST: Final = 20
"""Prompts in one message; those after it come in the next."""

CAN_TAKE_DOWN: Final[frozenset[ChannelName]] = frozenset({"webhook"})
"""Channels in which a prompt can be taken down without disturbing anybody. A mail can't be called back, and a second
one that says "never mind" would be one message more."""


@dataclass(frozen=True, slots=True)
class Ask:
    """It is sent now. `record_id` is that of the prompt's version, or of the reminder."""

    record_id: str
    reminder: bool


@dataclass(frozen=True, slots=True)
class TakeDown:
    """The sponsor's receiver is told that it is not asked any more."""


@dataclass(frozen=True, slots=True)
class Wait:
    """It is delayed: looked at again at `until`, and recorded with its reason."""

    record_id: str
    reason: NotSentBecause
    words: str
    until: datetime | None


@dataclass(frozen=True, slots=True)
class Suppress:
    """It is not sent for as long as the sponsor's choice holds, and recorded with its reason."""

    record_id: str
    reason: NotSentBecause
    words: str


@dataclass(frozen=True, slots=True)
class Skip:
    """This version is never sent, and recorded with its reason."""

    reason: NotSentBecause
    words: str


@dataclass(frozen=True, slots=True)
class Nothing:
    """There is nothing to say, at least until `until`."""

    until: datetime | None = None


Verdict = Ask | TakeDown | Wait | Suppress | Skip | Nothing


@dataclass(frozen=True, slots=True)
class Said:
    """What is to be recorded about one version of a prompt."""

    prompt_id: str
    version: int
    record_id: str
    outcome: Outcome
    reason: NotSentBecause
    words: str
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What follows now.

    Attributes:
        sponsor: what is known then; its `outgoing` is to be sent if `send`.
        said: what is to be recorded.
        send: the message of `sponsor.outgoing` goes out now.
        look_at: when it is to be planned again, if nothing comes before; None where time alone changes nothing.
    """

    sponsor: Sponsor
    said: tuple[Said, ...]
    send: bool
    look_at: datetime | None


def judge(sponsor: Sponsor, prompt_id: str, held: Held, policy: SponsorPolicy, now: datetime) -> Verdict:
    """Decide whether this sponsor is told of this prompt now. This is the rule.

    In this order: is there something to say; does the sponsor want it; may they be disturbed now; have they had enough.
    """
    if not held.asks:
        return _end(sponsor, held)
    something = _something_to_say(prompt_id, held, policy, now)
    if isinstance(something, Nothing):
        return something
    if is_stopped(sponsor):
        return Suppress(something.record_id, "stopped", "the sponsor wants no messages")
    if is_not_mine(sponsor, held.employee_id):
        return Suppress(something.record_id, "not_mine", "the sponsor says that they are not this person's sponsor")
    if held.snoozed_until is not None:
        return Skip("snoozed", f"the sponsor asked not to be reminded before {held.snoozed_until:%Y-%m-%d %H:%M} UTC")
    if isinstance(something, Wait):
        return something
    if (closed := closed_at(now, policy)) is not None:
        return Wait(something.record_id, closed.reason, closed.words, next_open(now, policy))
    if (free_at := _free_at(sponsor, policy, now)) is not None:
        limit = f"the sponsor has had {policy.messages_per_week} messages within seven days"
        return Wait(something.record_id, "weekly_limit", limit, next_open(free_at, policy))
    if (gathered_at := _gathered_at(held, policy)) > now:
        return Wait(something.record_id, "gathering", "waits for others that may follow at once", gathered_at)
    return something


def plan(sponsor: Sponsor, company: Policy, now: datetime) -> Plan:
    """Return what follows for a sponsor now. Nothing else of theirs is under way while a message is."""
    policy = policy_for(sponsor, company)
    if sponsor.outgoing is not None:
        sponsor, dropped, held_until = reconsider(sponsor, policy, now)
        if sponsor.outgoing is not None:
            return Plan(sponsor, dropped, send=held_until is None, look_at=held_until)
        rest = plan(sponsor, company, now)
        return Plan(rest.sponsor, (*dropped, *rest.said), rest.send, rest.look_at)
    verdicts = {
        prompt_id: judge(sponsor, prompt_id, held, policy, now) for prompt_id, held in sorted(sponsor.prompts.items())
    }
    outgoing = _outgoing(sponsor, verdicts, policy)
    on_its_way = {part.prompt_id for part in outgoing.parts} if outgoing is not None else set()
    prompts = dict(sponsor.prompts)
    said: list[Said] = []
    for prompt_id, verdict in verdicts.items():
        if prompt_id not in on_its_way:
            prompts[prompt_id] = _noted(prompt_id, prompts[prompt_id], verdict, said)
    return Plan(
        sponsor=replace(sponsor, prompts=prompts, outgoing=outgoing, told=_within_a_week(sponsor.told, now)),
        said=tuple(said),
        send=outgoing is not None,
        look_at=min((at for verdict in verdicts.values() if (at := _again(verdict)) is not None), default=None),
    )


def reconsider(
    sponsor: Sponsor, policy: SponsorPolicy, now: datetime
) -> tuple[Sponsor, tuple[Said, ...], datetime | None]:
    """Return what of the message under way still is to be sent, what is recorded of the rest, and until when it waits.

    Asked before each attempt: a stop, an answer and the evening take effect between two attempts too. What remains
    keeps its id, for the receiver may have had it.
    """
    outgoing = sponsor.outgoing
    if outgoing is None:
        return sponsor, (), None
    prompts = dict(sponsor.prompts)
    kept: list[Part] = []
    said: list[Said] = []
    for part in outgoing.parts:
        held = prompts[part.prompt_id]
        if (why := _not_wanted(sponsor, held, part, outgoing)) is None:
            kept.append(part)
            continue
        maybe = "; it may have been received" if outgoing.may_have_arrived else ""
        outcome: Outcome = "suppressed" if why[0] in ("stopped", "not_mine") else "skipped"
        said.append(Said(part.prompt_id, part.version, part.record_id, outcome, why[0], why[1] + maybe))
        prompts[part.prompt_id] = _dropped(held, part, outgoing, why[0])
    if not kept:
        return replace(sponsor, prompts=prompts, outgoing=None), tuple(said), None
    remaining = replace(sponsor, prompts=prompts, outgoing=replace(outgoing, parts=tuple(kept)))
    if outgoing.kind == "end":
        return remaining, tuple(said), None
    begins = next_open(_free_at(sponsor, policy, now) or now, policy)
    return remaining, tuple(said), begins if begins > now else None


def is_stopped(sponsor: Sponsor) -> bool:
    """Tell whether the sponsor has said that nothing is to reach them, and not taken it back since."""
    stopped, resumed = sponsor.choices.stopped, sponsor.choices.resumed
    return stopped is not None and (resumed is None or stopped > resumed)


def is_not_mine(sponsor: Sponsor, employee_id: str) -> bool:
    """Tell whether they have said that they are not this employee's sponsor, and not taken it back since."""
    refused, taken_back = sponsor.choices.not_mine.get(employee_id), sponsor.choices.mine.get(employee_id)
    return refused is not None and (taken_back is None or refused > taken_back)


def policy_for(sponsor: Sponsor, company: Policy) -> SponsorPolicy:
    """Return the policy that holds for a sponsor, their own choices above the company's."""
    kept = sponsor.choices.preferences
    chosen = PreferencesSet.model_validate_json(kept[1]) if kept is not None else None
    return policy_of(company, chosen, sponsor.timezone, sponsor.locale)


# -- is there something to say --------------------------------------------------------------------


def _something_to_say(prompt_id: str, held: Held, policy: SponsorPolicy, now: datetime) -> Ask | Wait | Nothing:
    """Return what there is to say, the sponsor's wishes aside: a prompt, its news, or that it closes soon."""
    version_id = version_event_id(PromptId(prompt_id), held.version)
    if held.outcome is None and (held.shown_version == 0 or policy.company.news == "at_once"):
        return Ask(version_id, reminder=False)
    due, coming = _reminders(held, policy, now)
    if held.outcome is None:  # news of a prompt that they have
        if due is not None:
            return Ask(version_id, reminder=False)
        following = min(coming, default=None)
        words = "the sponsor has this prompt; what is new is told with the next reminder"
        return Wait(version_id, "told_already", words, following)
    if held.outcome != "delivered":
        return Nothing()
    urgent = [moment for moment in coming if _is_urgent(held, moment, policy)]
    if due is not None and _is_urgent(held, due, policy):
        return Ask(stable_id("reminder", version_id, due.isoformat()), reminder=True)
    return Nothing(min(urgent, default=None))


def _reminders(held: Held, policy: SponsorPolicy, now: datetime) -> tuple[datetime | None, list[datetime]]:
    """Return the reminder that is due: the last whose time has come since they were told; and those that come."""
    reminders, closes_at, told_at = policy.company.reminders, held.closes_at, held.told_at
    if reminders is None or closes_at is None or told_at is None or now >= closes_at:
        return None, []
    moments = [closes_at - timedelta(days=days) for days in reminders.days_before_close]
    due = max((moment for moment in moments if told_at < moment <= now), default=None)
    return due, [moment for moment in moments if moment > now]


def _is_urgent(held: Held, moment: datetime, policy: SponsorPolicy) -> bool:
    reminders, closes_at = policy.company.reminders, held.closes_at
    return reminders is not None and closes_at is not None and closes_at - moment <= timedelta(reminders.urgent_days)


def _end(sponsor: Sponsor, held: Held) -> Verdict:
    if held.outcome is not None:
        return Nothing()
    if held.shown_version == 0:
        return Skip("ended_unseen", "there is nothing to take down: no version of this prompt had reached the receiver")
    if is_stopped(sponsor):
        return Skip("stopped", "the sponsor wants no messages")
    if held.shown_by not in CAN_TAKE_DOWN:
        return Skip("not_taken_down", f"what was sent by {held.shown_by} is not called back, and its end is no news")
    return TakeDown()


# -- have they had enough -------------------------------------------------------------------------


def _free_at(sponsor: Sponsor, policy: SponsorPolicy, now: datetime) -> datetime | None:
    """Return when the sponsor may have another message, None if now."""
    most = policy.messages_per_week
    recent = sorted(_within_a_week(sponsor.told, now))
    return None if most is None or len(recent) < most else recent[-most] + WEEK


def _within_a_week(told: Iterable[datetime], now: datetime) -> tuple[datetime, ...]:
    return tuple(at for at in told if at > now - WEEK)


def _gathered_at(held: Held, policy: SponsorPolicy) -> datetime:
    digest = policy.company.digest
    if digest is None or held.shown_version > 0:
        return held.since
    return held.since + timedelta(minutes=digest.gather_minutes)


# -- which together -------------------------------------------------------------------------------


def _outgoing(sponsor: Sponsor, verdicts: dict[str, Verdict], policy: SponsorPolicy) -> Outgoing | None:
    written = (policy.language, policy.zone.key)
    for prompt_id, verdict in verdicts.items():
        if isinstance(verdict, TakeDown):
            version = sponsor.prompts[prompt_id].version
            record_id = version_event_id(PromptId(prompt_id), version)
            return Outgoing(record_id, "end", (Part(prompt_id, version, record_id),), False, *written)
    asks = [part for part, verdict in _parts(sponsor, verdicts) if isinstance(verdict, Ask)]
    if not asks:
        return None
    together = [part for part, _ in _parts(sponsor, verdicts)][:LARGEST_DIGEST]
    if policy.company.digest is None or len(together) < policy.company.digest.at_least:
        return Outgoing(asks[0].record_id, "ask", (asks[0],), False, *written)
    digest_id = stable_id("digest", *sorted(part.record_id for part in together))
    return Outgoing(digest_id, "digest", tuple(together), False, *written)


def _parts(sponsor: Sponsor, verdicts: dict[str, Verdict]) -> Iterator[tuple[Part, Ask | Wait]]:
    """Yield what may go out now, by deadline and strength of evidence; what gathers goes along if others go."""

    def order(prompt_id: str) -> tuple[datetime, int, str]:
        held = sponsor.prompts[prompt_id]
        return held.closes_at or held.since, -held.strength, prompt_id

    for prompt_id in sorted(verdicts, key=order):
        version = sponsor.prompts[prompt_id].version
        match verdicts[prompt_id]:
            case Ask(record_id, reminder) as verdict:
                yield Part(prompt_id, version, record_id, reminder), verdict
            case Wait(record_id, "gathering") as verdict:
                yield Part(prompt_id, version, record_id), verdict


def _noted(prompt_id: str, held: Held, verdict: Verdict, said: list[Said]) -> Held:
    """Return the prompt with what is recorded of it; what has been recorded already is not recorded again."""
    match verdict:
        case Wait(record_id, reason, words, until):
            note = f"{record_id} {reason} {until}"
            if note != held.noted:
                said.append(Said(prompt_id, held.version, record_id, "delayed", reason, words, until))
            return replace(held, noted=note)
        case Suppress(record_id, reason, words):
            note = f"{record_id} {reason}"
            if note != held.noted:
                said.append(Said(prompt_id, held.version, record_id, "suppressed", reason, words))
            return replace(held, noted=note)
        case Skip(reason, words):
            record_id = version_event_id(PromptId(prompt_id), held.version)
            said.append(Said(prompt_id, held.version, record_id, "skipped", reason, words))
            return replace(held, outcome="skipped", event=b"", noted="")
        case _:
            return held


def _again(verdict: Verdict) -> datetime | None:
    return verdict.until if isinstance(verdict, Wait | Nothing) else None


# -- a message under way --------------------------------------------------------------------------


def _not_wanted(sponsor: Sponsor, held: Held, part: Part, outgoing: Outgoing) -> tuple[NotSentBecause, str] | None:
    if is_stopped(sponsor):
        return "stopped", "the sponsor wants no messages"
    if held.version > part.version:
        return "superseded", f"superseded by version {held.version}, which came before this was delivered"
    if outgoing.kind != "end" and is_not_mine(sponsor, held.employee_id):
        return "not_mine", "the sponsor says that they are not this person's sponsor"
    return None


def _dropped(held: Held, part: Part, outgoing: Outgoing, reason: NotSentBecause) -> Held:
    arrived = outgoing.may_have_arrived and outgoing.kind != "end"
    shown = max(held.shown_version, part.version) if arrived else held.shown_version
    held = replace(held, shown_version=shown, shown_by=held.shown_by or ("webhook" if arrived else None))
    if held.version != part.version or part.reminder:
        return held
    if outgoing.kind == "end":
        return replace(held, outcome="skipped", event=b"")
    return replace(held, noted=f"{part.record_id} {reason}")


Sent = Literal["delivered", "failed"]


@dataclass(frozen=True, slots=True)
class Result:
    """What became of the message under way.

    Attributes:
        by: the channel of the last attempt.
        may_have_arrived: of a failed one: some answer was lost.
    """

    outcome: Sent
    by: ChannelName
    may_have_arrived: bool = False


def after(sponsor: Sponsor, result: Result, now: datetime) -> Sponsor:
    """Return what is known once the message under way has been delivered, or given up."""
    outgoing = sponsor.outgoing
    if outgoing is None:
        return sponsor
    told = result.outcome == "delivered" or result.may_have_arrived
    prompts = dict(sponsor.prompts)
    for part in outgoing.parts:
        prompts[part.prompt_id] = _after(prompts[part.prompt_id], part, outgoing, result, now)
    times = (*sponsor.told, now) if told and outgoing.kind != "end" else sponsor.told
    return replace(sponsor, prompts=prompts, outgoing=None, told=_within_a_week(times, now))


def _after(held: Held, part: Part, outgoing: Outgoing, result: Result, now: datetime) -> Held:
    if outgoing.kind == "end":
        if held.version == part.version:
            held = replace(held, outcome=result.outcome, event=b"" if result.outcome == "delivered" else held.event)
        return replace(held, shown_version=0) if result.outcome == "delivered" else held
    if result.outcome == "delivered" or result.may_have_arrived:
        held = replace(held, shown_version=max(held.shown_version, part.version), shown_by=result.by, told_at=now)
    elif part.reminder:
        held = replace(held, told_at=now)  # its time is over; the next reminder has its own
    if held.version == part.version and not part.reminder:
        held = replace(held, outcome=result.outcome, noted="")
    return held
