"""From prompt to endorsement: what was delivered, viewed, endorsed, how long it took, with how much evidence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from statistics import fmean, median
from typing import Final

from services.insights.measures.facts import CycleFacts, Facts, PromptFacts
from services.insights.measures.grouping import Subject, broken_down, labels_of, table_rows
from services.insights.measures.measure import Measure, Value, share

PROMPTS_DELIVERED: Final = Measure(
    name="prompts_delivered",
    title="Prompts delivered",
    unit="share",
    definition="Prompts of which at least one version was delivered, of all prompts that were ever opened in the "
    "cycle.",
    pitfalls=(
        "Delivered means that the company's receiver took it, not that the sponsor saw it.",
        "A prompt that was overtaken before it was sent (withdrawn, snoozed) lowers it, and nothing is wrong with "
        "that.",
    ),
)
PROMPTS_VIEWED: Final = Measure(
    name="prompts_viewed",
    title="Prompts viewed",
    unit="share",
    definition="Prompts whose page the sponsor has opened on the portal at least once, of all prompts that were ever "
    "opened in the cycle. Hidden where they went to fewer than k sponsors. By group: of the sponsor as they are now.",
    pitfalls=(
        "A message may show all that the page shows: whoever answers from the company's own tools has read it, and has "
        "not viewed it.",
        "Viewed is not read; and a link that was passed on counts as the sponsor's.",
        "It is no step that all pass: more may be endorsed than viewed.",
    ),
)
PROMPTS_ENDORSED: Final = Measure(
    name="prompts_endorsed",
    title="Prompts endorsed",
    unit="share",
    definition="Prompts whose sponsor has spoken for the protégé (fulfilled), of all prompts that were ever opened "
    "in the cycle. By group: of the protégé as they are now.",
    pitfalls=(
        "While the cycle is open it can only rise: compare cycles when they are closed, or at the same day of each.",
        "Sponsors who spoke before they were asked are fulfilled without a prompt that was opened, and not in it.",
        "Whoever has two sponsors has two prompts; one who endorses may be enough.",
    ),
)
DELIVERY_TIME: Final = Measure(
    name="prompt_delivery_seconds",
    title="From opened to delivered, half of them",
    unit="seconds",
    definition="Time from a prompt's opening to its first delivery: the median over those delivered. Prompts that were "
    "taken back and opened again after it are left out.",
    pitfalls=(
        "Opened is by the log's clock, delivered by the prompter's wall clock: where the log's clock is not the "
        "wall's (the demo, a replay) it tells nothing.",
        "What was never delivered is not in it.",
    ),
)
VIEW_TIME: Final = Measure(
    name="prompt_view_seconds",
    title="From delivered to viewed, half of them",
    unit="seconds",
    definition="Time from a prompt's first delivery to the first time that the sponsor opened its page, by the wall "
    "clock of both: the median over those viewed after it. Hidden as prompts viewed.",
    pitfalls=(
        "Whoever has not looked yet is not in it: early in a cycle it shows the quick ones only.",
        "Nights and weekends count: a message that comes on Friday evening may well wait until Monday.",
        "Pages that were opened before any delivery, from the list of protégés, are left out.",
    ),
)
ANSWER_TIME: Final = Measure(
    name="prompt_answer_seconds",
    title="From viewed to endorsed, half of them",
    unit="seconds",
    definition="Time from the first time that a prompt's page was opened to the endorsement that fulfilled it, as its "
    "source dates it: the median over those viewed before they were endorsed. Hidden as prompts viewed.",
    pitfalls=(
        "It is how long the answer took, not how long somebody thought about it.",
        "A source that dates endorsements by the day only makes those of the same day fall out, and others wrong by "
        "hours.",
        "Who declined, or has not answered, is not in it.",
    ),
)
ENDORSEMENT_TIME: Final = Measure(
    name="prompt_endorsement_seconds",
    title="From opened to endorsed, half of them",
    unit="seconds",
    definition="Time from a prompt's last opening to the endorsement that fulfilled it, by the log's clock: the "
    "median over those fulfilled.",
    pitfalls=(
        "Whoever has not answered yet is not in it: early in a cycle it shows the quick ones only.",
        "To the minute, as the log's clock ticks.",
    ),
)
EVIDENCE: Final = Measure(
    name="evidence_pieces",
    title="Evidence in a prompt",
    unit="pieces",
    definition="Pieces of evidence in a prompt when it was opened last: the mean.",
    pitfalls=(
        "A prompt shows a few pieces at most: many and very many achievements look the same.",
        "Few pieces may be a quiet year or tools that are not connected.",
    ),
)
EVIDENCE_STRENGTH: Final = Measure(
    name="evidence_strength",
    title="Strength of a prompt's evidence",
    unit="weight",
    definition="What the pieces of evidence in a prompt weighed together when it was opened last, by the correlator's "
    "ranking: the median over prompts; a prompt without evidence is 0. A piece weighs 1 when it is of the evidence "
    "window's last day, shows none of the cycle's competencies, had no impact beyond its author, and the sponsor did "
    "not see it; one that shows a competency weighs 3, one whose impact was the company's twice as much, one that the "
    "sponsor saw 1.3 times, and half with each half-life of its age (`services/correlator/evidence.py`).",
    pitfalls=(
        "It is how well an achievement fits the cycle, not how good it was, and still less how good the person is.",
        "More than a few pieces are not shown and don't count: it can't grow for ever.",
        "It depends on CORRELATOR_EVIDENCE_PIECES and CORRELATOR_HALF_LIFE_DAYS, and on how many competencies a cycle "
        "looks for: compare cycles only where these are alike.",
        "Tools that name no witness, or no impact, make it small.",
        "Prompts that were opened before it was recorded are not in it.",
    ),
)
WITHOUT_EVIDENCE: Final = Measure(
    name="prompts_without_evidence",
    title="Prompts without evidence",
    unit="share",
    definition="Prompts that had no piece of evidence when they were opened last, of all that were ever opened.",
    pitfalls=("It tells of tools that are not connected as much as of people.",),
)
ENDORSEMENTS: Final = Measure(
    name="endorsements",
    title="Endorsements",
    unit="count",
    definition="Endorsements for this cycle that stand; for no cycle: those in general. Protégés whom they are for "
    "as `whole`.",
    pitfalls=(
        "More is not better: ten for one person count ten.",
        "It grows with the cycle's scope.",
    ),
)
FIRST_ADVOCACY: Final = Measure(
    name="first_advocacy_seconds",
    title="From the cycle's opening to the first endorsement",
    unit="seconds",
    definition="Time from the cycle's opening to the first endorsement for it that stands; 0 where somebody spoke "
    "before it opened.",
    pitfalls=("One quick sponsor makes it small: it tells when advocacy begins, not whether it spreads.",),
)


def conversion(facts: Facts, k: int) -> list[Value]:
    """Return all of these for each cycle that has opened."""
    prompts: dict[str, list[PromptFacts]] = {}
    for prompt in facts.prompts:
        if prompt.opened_at is not None:
            prompts.setdefault(prompt.cycle_id, []).append(prompt)
    values = _endorsements(facts)
    for cycle in facts.cycles:
        if cycle.status in ("open", "closed"):
            values += _of_cycle(facts, cycle, prompts.get(cycle.cycle_id, []), k)
    return values


def _of_cycle(facts: Facts, cycle: CycleFacts, opened: Sequence[PromptFacts], k: int) -> list[Value]:
    delivered = [prompt for prompt in opened if prompt.delivered_at is not None]
    endorsed = [prompt for prompt in opened if prompt.status == "fulfilled"]
    pieces = [prompt.pieces for prompt in opened if prompt.pieces is not None]
    bare = sum(n == 0 for n in pieces)
    weights = [prompt.strength / 100 for prompt in opened if prompt.strength is not None]
    of, id_ = len(opened), cycle.cycle_id
    return [
        *_viewed(facts, id_, opened, k),
        Value(PROMPTS_DELIVERED.name, id_, part=len(delivered), whole=of, value=share(len(delivered), of)),
        _half_of_them(DELIVERY_TIME, id_, ((prompt.opened_at, prompt.delivered_at) for prompt in delivered)),
        _half_of_them(ENDORSEMENT_TIME, id_, ((prompt.opened_at, prompt.changed_at) for prompt in endorsed)),
        Value(EVIDENCE.name, id_, part=sum(pieces), whole=len(pieces), value=fmean(pieces) if pieces else None),
        Value(EVIDENCE_STRENGTH.name, id_, whole=len(weights), value=median(weights) if weights else None),
        Value(WITHOUT_EVIDENCE.name, id_, part=bare, whole=len(pieces), value=share(bare, len(pieces))),
        *_by_group(
            PROMPTS_ENDORSED, facts, id_, ((prompt.employee_id, prompt.status == "fulfilled") for prompt in opened), k
        ),
    ]


def _viewed(facts: Facts, cycle_id: str, opened: Sequence[PromptFacts], k: int) -> list[Value]:
    # It tells what sponsors did, each of whom may have many prompts: so it is they who have to be k, in groups too.
    whole, *groups = _by_group(
        PROMPTS_VIEWED, facts, cycle_id, ((prompt.sponsor_id, prompt.viewed_at is not None) for prompt in opened), k
    )
    if whole.hidden:
        return [whole, *groups, *(Value(one.name, cycle_id, hidden=True) for one in (VIEW_TIME, ANSWER_TIME))]
    answered = ((prompt.viewed_at, prompt.endorsed_at) for prompt in opened if prompt.status == "fulfilled")
    return [
        whole,
        *groups,
        _half_of_them(VIEW_TIME, cycle_id, ((prompt.delivered_at, prompt.viewed_at) for prompt in opened)),
        _half_of_them(ANSWER_TIME, cycle_id, answered),
    ]


def _by_group(
    measure: Measure, facts: Facts, cycle_id: str, prompts: Iterable[tuple[str, bool]], k: int
) -> list[Value]:
    """Return the share of prompts for which something is so, by the groups that people are in now; the whole first.

    Args:
        prompts: of each, whose groups count, and whether it is so.
    """
    whole: Counter[str] = Counter()
    part: Counter[str] = Counter()
    for employee_id, is_so in prompts:
        whole[employee_id] += 1
        part[employee_id] += is_so
    subjects, paths = [], []
    for employee_id, of in whole.items():
        person = facts.people.get(employee_id)
        standing = person and (person.at(facts.now) or person.standings[0])
        labels = labels_of(person, standing, facts.now) if person and standing else frozenset()
        paths += [standing.unit_path] if standing else []
        subjects.append(Subject(labels, part[employee_id], of))
    if not subjects:
        return [Value(measure.name, cycle_id, part=0, whole=0)]
    return broken_down(measure.name, subjects, table_rows(paths, k), k, cycle_id=cycle_id)


def _endorsements(facts: Facts) -> list[Value]:
    given: dict[str, list[tuple[datetime, str]]] = {"": []}
    for endorsement in facts.endorsements:
        given.setdefault(endorsement.cycle_id or "", []).append((endorsement.given_at, endorsement.employee_id))
    known = {cycle.cycle_id: cycle for cycle in facts.cycles if cycle.status in ("open", "closed")}
    values = []
    for cycle_id in ("", *known):
        own = given.get(cycle_id, [])
        proteges = len({employee_id for _, employee_id in own})
        values.append(Value(ENDORSEMENTS.name, cycle_id, part=len(own), whole=proteges, value=float(len(own))))
        if cycle_id:
            first = min((at for at, _ in own), default=None)
            waited = None if first is None else max(0.0, (first - known[cycle_id].opens_at).total_seconds())
            values.append(Value(FIRST_ADVOCACY.name, cycle_id, whole=len(own), value=waited))
    return values


def _half_of_them(of: Measure, cycle_id: str, spans: Iterable[tuple[datetime | None, datetime | None]]) -> Value:
    """Return the median of the spans that have both ends, in this order."""
    waited = [
        (end - begin).total_seconds() for begin, end in spans if begin is not None and end is not None and end >= begin
    ]
    return Value(of.name, cycle_id, whole=len(waited), value=median(waited) if waited else None)
