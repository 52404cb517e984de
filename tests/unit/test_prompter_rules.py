"""When a sponsor gets a prompt: the rules, one by one."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pytest

from services.prompter.letter import letter
from services.prompter.messages import message
from services.prompter.policy import HolidayCalendar, Policy, Reminders, policy_of, read_policy
from services.prompter.rules import Result
from services.prompter.state import decode, encode
from services.prompter.working_time import closed_at, next_open
from shared.contracts.choices import Leave
from shared.contracts.ids import CycleId, EmployeeId, prompt_id
from shared.contracts.outputs import Evidence, Opportunity, Reason
from shared.yaml_files import BadFile
from tests.prompt_events import CYCLE, a_body, fulfilled, opened, updated, withdrawn
from tests.prompter_world import (
    MONDAY,
    Message,
    World,
    a_digest,
    a_policy,
    at_night,
    mine,
    not_mine,
    prefers,
    resumed,
    stopped,
)

PROJECT = Path(__file__).parents[2]
CLOSES = datetime(2026, 3, 27, 17, tzinfo=UTC)
WEEKDAYS = (1, 2, 3, 4, 5)


def about(employee: str = "E2", version: int = 1) -> tuple[str, int]:
    return prompt_id(CYCLE, EmployeeId(employee), EmployeeId("E1")), version


def closing(at: datetime, reasons: int = 1) -> Any:
    body = a_body()
    evidence = [
        Evidence(
            kind="achievement",
            evidence_id=f"A{number}",
            title="It answers",
            occurred_on=date(2026, 1, 14),
            reasons=(Reason(code="impact", text="it mattered"),),
        )
        for number in range(reasons)
    ]
    opportunity = Opportunity(**(dict(body.opportunity) | {"closes_at": at}))
    return a_body(opportunity=opportunity, evidence=tuple(evidence))


# -- something to say -----------------------------------------------------------------------------


def test_a_prompt_that_opens_is_sent_under_the_id_of_its_event() -> None:
    world = World().hears(opened())
    assert [message.outgoing.id for message in world.messages] == [opened().id]
    assert world.said == []


def test_news_of_a_prompt_is_sent() -> None:
    world = World().hears(opened()).hears(updated(2))
    assert world.asked == [[about(version=1)], [about(version=2)]]


@pytest.mark.parametrize("again", [[opened()], [opened(), updated(2), opened()]])
def test_what_was_told_is_not_told_again(again: list[Any]) -> None:
    world = World().hears(opened(), updated(2)).hears(*again)
    assert world.asked == [[about(version=2)]]


def test_of_versions_that_come_together_only_the_newest_is_sent_and_the_others_are_recorded() -> None:
    world = World().hears(opened(), updated(2), updated(3))
    assert world.asked == [[about(version=3)]]
    assert [(said.version, said.outcome, said.reason) for said in world.said] == [
        (1, "skipped", "superseded"),
        (2, "skipped", "superseded"),
    ]
    assert world.said[0].words == "superseded by version 2, which came before this was sent"


def test_a_prompt_that_opens_and_ends_together_never_reaches_its_sponsor() -> None:
    world = World().hears(opened(), withdrawn(2))
    assert world.messages == []
    assert world.reasons == [("skipped", "superseded"), ("skipped", "ended_unseen")]


@pytest.mark.parametrize("end", [withdrawn(2), fulfilled(2)])
def test_the_end_of_a_prompt_is_sent_to_whom_it_was_shown_and_once(end: Any) -> None:
    world = World().hears(opened()).hears(end).hears(end)
    assert [message.outgoing.kind for message in world.messages] == ["ask", "end"]
    assert world.messages[1].outgoing.id == end.id
    assert world.hears(withdrawn(3)).reasons == [("skipped", "ended_unseen")]


def test_the_end_of_what_was_mailed_is_no_message_of_its_own() -> None:
    world = World(sends=lambda _: Result("delivered", "email")).hears(opened()).hears(withdrawn())
    assert len(world.messages) == 1
    assert world.reasons == [("skipped", "not_taken_down")]


def test_the_end_is_sent_when_the_answer_to_the_prompt_was_lost_for_the_receiver_may_have_it() -> None:
    lost = iter([Result("failed", "webhook", may_have_arrived=True), Result("delivered", "webhook")])
    world = World(sends=lambda _: next(lost)).hears(opened()).hears(withdrawn())
    assert [message.outgoing.kind for message in world.messages] == ["ask", "end"]


def test_a_version_that_failed_is_sent_again_when_it_comes_out_of_the_dead_letters_and_only_then() -> None:
    results = iter([Result("failed", "webhook"), Result("delivered", "webhook")])
    world = World(sends=lambda _: next(results)).hears(opened()).waits(days=9)
    assert len(world.messages) == 1
    world.hears(opened())
    assert [message.outgoing.id for message in world.messages] == [opened().id] * 2
    assert len(world.hears(opened()).messages) == 2


def test_a_snoozed_prompt_is_not_sent_and_the_record_says_until_when() -> None:
    world = World().hears(opened()).hears(updated(2, snoozed_until=MONDAY + timedelta(days=2))).waits(days=30)
    assert len(world.messages) == 1
    assert world.said[0].words == "the sponsor asked not to be reminded before 2026-03-04 09:00 UTC"
    assert world.hears(updated(3)).asked[-1] == [about(version=3)], "the correlator says when it is over"


# -- what the sponsor wants -----------------------------------------------------------------------


def test_nothing_reaches_a_sponsor_after_a_stop_and_each_prompt_is_recorded_once() -> None:
    world = World().hears(opened()).hears(stopped()).hears(updated(2), opened(employee="E3"))
    world.hears(withdrawn(3)).waits(days=40)
    assert world.asked == [[about()]]
    assert [message.outgoing.kind for message in world.messages] == ["ask"]
    assert sorted(world.reasons) == [
        ("skipped", "stopped"),
        ("skipped", "superseded"),
        ("suppressed", "stopped"),
        ("suppressed", "stopped"),
    ]


def test_who_resumes_gets_what_stands_then() -> None:
    world = World().hears(stopped()).hears(opened(), opened(employee="E3"), withdrawn(2, employee="E3"))
    assert world.hears(resumed(MONDAY + timedelta(minutes=1))).asked == [[about()]]


def test_the_later_choice_holds_in_whatever_order_they_come() -> None:
    later = MONDAY + timedelta(minutes=1)
    assert World().hears(resumed(later), stopped()).hears(opened()).messages
    assert not World().hears(stopped(later), resumed()).hears(opened()).messages


def test_a_stop_takes_effect_between_two_attempts_at_one_message() -> None:
    world = World(sends=lambda _: None).hears(opened())
    world.hears(stopped())
    assert (len(world.messages), world.sponsor.outgoing) == (1, None)
    assert world.reasons == [("suppressed", "stopped")]


def test_who_is_mine_after_all_is_asked_about_again_and_whichever_was_said_last_holds() -> None:
    later = MONDAY + timedelta(minutes=1)
    world = World().hears(not_mine("E2"), opened())
    assert world.messages == []
    assert world.hears(mine("E2", later)).asked == [[about("E2")]]
    assert World().hears(mine("E2", later), not_mine("E2"), opened()).asked == [[about("E2")]]
    assert World().hears(mine("E2"), not_mine("E2", later), opened()).messages == []


def test_not_mine_holds_for_one_person_in_every_cycle() -> None:
    world = World().hears(not_mine("E2"))
    world.hears(opened(), opened(employee="E3"), opened(cycle_id=CycleId("autumn-2026"), prompt_id="P9"))
    assert world.hears(resumed()).asked == [[about("E3")]]
    assert world.reasons == [("suppressed", "not_mine")] * 2


def test_a_sponsors_own_choices_go_above_the_companys() -> None:
    company = a_policy(quiet_hours=at_night(), working_days=WEEKDAYS, messages_per_week=3)
    chosen = prefers(quiet_to=time(7), working_days=(1, 2), prompts_per_week=1, timezone="Asia/Tokyo", channel="slack")
    policy = policy_of(company, chosen, "Europe/Berlin")
    assert (policy.quiet, policy.working_days) == ((time(18), time(7)), frozenset({1, 2}))
    assert (policy.messages_per_week, policy.zone.key) == (1, "Asia/Tokyo")
    assert policy.channels == ("slack", "webhook")


def test_what_a_sponsor_leaves_open_follows_the_company() -> None:
    company = a_policy(quiet_hours=at_night(), messages_per_week=3)
    policy = policy_of(company, prefers(), "Europe/Berlin")
    assert policy == policy_of(company, None, "Europe/Berlin")


@pytest.mark.parametrize("nonsense", ["Mars/Olympus", "", "../../etc/passwd"])
def test_a_time_zone_that_nobody_knows_is_passed_over(nonsense: str) -> None:
    assert policy_of(a_policy(), prefers(timezone=nonsense), "Europe/Berlin").zone.key == "Europe/Berlin"
    assert policy_of(a_policy(), None, nonsense).zone.key == "UTC"


# -- when they may be disturbed -------------------------------------------------------------------

BERLIN = "Europe/Berlin"


@pytest.mark.parametrize(
    ("arrives", "sent", "reason"),
    [
        ("2026-03-02T16:59", "2026-03-02T16:59", None),  # 17:59 in Berlin
        ("2026-03-02T17:00", "2026-03-03T07:00", "quiet_hours"),
        ("2026-03-03T06:59", "2026-03-03T07:00", "quiet_hours"),
        ("2026-03-06T17:00", "2026-03-09T07:00", "quiet_hours"),  # Friday evening to Monday
        ("2026-03-07T12:00", "2026-03-09T07:00", "day_off"),
        ("2026-04-03T08:00", "2026-04-07T06:00", "holiday"),  # Good Friday to Tuesday, in summer time
    ],
)
def test_what_comes_at_a_bad_time_waits_for_the_next_working_hour(arrives: str, sent: str, reason: str | None) -> None:
    german = HolidayCalendar(country="DE", timezones=(BERLIN,))
    policy = a_policy(quiet_hours=at_night(), working_days=WEEKDAYS, holidays=(german,))
    world = World(policy, now=datetime.fromisoformat(arrives + "Z")).hears(opened(sponsor_timezone=BERLIN))
    world.waits(days=7)
    assert [message.at for message in world.messages] == [datetime.fromisoformat(sent + "Z")]
    assert world.reasons == ([("delayed", reason)] if reason else [])
    if reason:
        assert world.said[0].until == datetime.fromisoformat(sent + "Z")


def test_a_calendar_holds_in_its_time_zones_and_with_the_companys_own_days() -> None:
    calendar = HolidayCalendar.model_validate(
        {"country": "DE", "timezones": [BERLIN], "also": ["2026-12-24"], "except": ["2026-05-01"]}
    )
    company = a_policy(holidays=(calendar,))
    here, there = policy_of(company, None, BERLIN), policy_of(company, None, "Europe/Paris")
    assert here.day_off(date(2026, 12, 24)) == ("holiday", "2026-12-24 is a holiday: a day off of the company")
    assert here.day_off(date(2026, 12, 25)) is not None
    assert here.day_off(date(2026, 5, 1)) is None
    assert there.day_off(date(2026, 12, 25)) is None


def test_nothing_is_sent_on_leave_and_what_came_meanwhile_is_sent_after_it() -> None:
    away = Leave(first=date(2026, 3, 2), last=date(2026, 3, 13))
    world = World(a_policy(quiet_hours=at_night(), working_days=WEEKDAYS)).hears(prefers(leave=(away,)))
    world.hears(opened()).waits(days=30)
    assert [message.at for message in world.messages] == [datetime(2026, 3, 16, 8, tzinfo=UTC)]
    assert world.reasons == [("delayed", "leave")]


@pytest.mark.parametrize(
    ("local", "is_quiet"),
    [("17:59", False), ("18:00", True), ("00:00", True), ("07:59", True), ("08:00", False)],
)
def test_quiet_hours_go_over_midnight(local: str, is_quiet: bool) -> None:
    policy = policy_of(a_policy(quiet_hours=at_night()), None, "UTC")
    assert (closed_at(datetime.fromisoformat(f"2026-03-02T{local}Z"), policy) is not None) == is_quiet


def test_quiet_hours_may_lie_within_a_day() -> None:
    policy = policy_of(a_policy(), prefers(quiet_from=time(12), quiet_to=time(14)), "UTC")
    assert next_open(datetime(2026, 3, 2, 12, 30, tzinfo=UTC), policy) == datetime(2026, 3, 2, 14, tzinfo=UTC)
    assert closed_at(datetime(2026, 3, 2, 11, 59, tzinfo=UTC), policy) is None


def test_quiet_hours_that_end_in_the_hour_that_summer_time_leaves_out_end_after_it() -> None:
    policy = policy_of(a_policy(), prefers(quiet_from=time(22), quiet_to=time(2, 30)), BERLIN)
    opens = next_open(datetime(2026, 3, 29, 0, 0, tzinfo=UTC), policy)
    assert opens == datetime(2026, 3, 29, 1, 30, tzinfo=UTC)  # 03:30 in Berlin: there is no 02:30
    assert closed_at(opens, policy) is None


def test_the_evening_takes_effect_between_two_attempts_and_the_morning_goes_on_with_the_same_message() -> None:
    results: list[Result | None] = [None, Result("delivered", "webhook")]
    world = World(a_policy(quiet_hours=at_night()), sends=lambda _: results.pop(0)).hears(opened())
    world.now = MONDAY.replace(hour=19)
    assert len(world.looks().messages) == 1
    world.waits(days=1)
    assert [(m.at.hour, m.outgoing.id) for m in world.messages] == [(9, opened().id), (8, opened().id)]


# -- enough is enough -----------------------------------------------------------------------------


def test_no_more_than_so_many_messages_reach_a_sponsor_within_seven_days() -> None:
    world = World(a_policy(messages_per_week=2))
    world.hears(*(opened(employee=f"E{number}") for number in range(2, 7)))
    assert len(world.messages) == 2
    assert world.reasons == [("delayed", "weekly_limit")] * 3
    world.waits(days=6, hours=23)
    assert len(world.messages) == 2
    world.waits(hours=1)
    assert len(world.messages) == 4


def test_an_end_is_no_message_too_many() -> None:
    world = World(a_policy(messages_per_week=1)).hears(opened()).hears(withdrawn())
    assert [message.outgoing.kind for message in world.messages] == ["ask", "end"]


def test_a_message_that_did_not_arrive_does_not_count() -> None:
    results = iter([Result("failed", "webhook"), Result("delivered", "webhook")])
    world = World(a_policy(messages_per_week=1), sends=lambda _: next(results)).hears(opened())
    assert len(world.hears(opened(employee="E3")).messages) == 2


def test_what_closes_first_goes_first_and_among_equals_what_has_the_stronger_evidence() -> None:
    soon, late = CLOSES - timedelta(days=3), CLOSES
    world = World().hears(
        opened(employee="E3", body=closing(late, 1)),
        opened(employee="E4", body=closing(late, 3)),
        opened(employee="E5", body=closing(soon, 1)),
    )
    assert world.asked == [[about("E5")], [about("E4")], [about("E3")]]


# -- several at once ------------------------------------------------------------------------------


def test_several_that_are_due_at_once_become_one_message_in_order_and_count_as_one() -> None:
    world = World(a_policy(digest=a_digest(), messages_per_week=1))
    world.hears(opened(employee="E3", body=closing(CLOSES)), opened(employee="E4", body=closing(CLOSES - timedelta(1))))
    assert world.asked == [[about("E4"), about("E3")]]
    assert world.messages[0].outgoing.kind == "digest"
    assert len(world.sponsor.told) == 1


def test_too_few_for_a_digest_go_one_by_one() -> None:
    world = World(a_policy(digest=a_digest(at_least=3))).hears(opened(employee="E3"), opened(employee="E4"))
    assert [message.outgoing.kind for message in world.messages] == ["ask", "ask"]


def test_what_comes_first_waits_for_what_follows() -> None:
    world = World(a_policy(digest=a_digest(gather_minutes=10))).hears(opened(employee="E3")).waits(minutes=5)
    assert world.messages == []
    assert world.reasons == [("delayed", "gathering")]
    world.hears(opened(employee="E4")).waits(minutes=5)
    assert [sorted(parts) for parts in world.asked] == [sorted([about("E3"), about("E4")])]


def test_a_digest_has_one_id_whatever_order_its_prompts_came_in() -> None:
    one, other = opened(employee="E3"), opened(employee="E4")
    ids = [
        World(a_policy(digest=a_digest())).hears(*events).messages[0].outgoing.id
        for events in ([one, other], [other, one])
    ]
    assert ids[0] == ids[1] not in (one.id, other.id)


def test_of_a_digest_under_way_what_is_not_wanted_any_more_is_left_out_under_the_same_id() -> None:
    world = World(a_policy(digest=a_digest()), sends=lambda _: None)
    world.hears(opened(employee="E3"), opened(employee="E4")).hears(not_mine("E3"))
    first, second = world.messages
    assert second.about == [about("E4")]
    assert first.outgoing.id == second.outgoing.id
    assert world.reasons == [("suppressed", "not_mine")]


# -- reminders ------------------------------------------------------------------------------------


REMINDS = a_policy(
    news="with_reminder", reminders=Reminders(days_before_close=(7, 2), urgent_days=3), messages_per_week=None
)


def test_who_has_not_answered_is_reminded_when_it_becomes_urgent_and_once() -> None:
    world = World(REMINDS).hears(opened()).waits(days=40)
    assert [message.at for message in world.messages] == [MONDAY, CLOSES - timedelta(days=2)]
    first, reminder = (message.outgoing for message in world.messages)
    assert reminder.parts[0].reminder
    assert first.id != reminder.id


def test_a_reminder_that_is_not_urgent_has_to_have_news_whatever_else_comes_that_day() -> None:
    world = World(REMINDS).hears(opened())
    world.waits(days=19).hears(opened(employee="E3"))  # 6 days before it closes
    assert world.asked == [[about()], [about("E3")]]


def test_news_waits_for_the_next_reminder_which_then_is_worth_having() -> None:
    world = World(REMINDS).hears(opened()).waits(days=1).hears(updated(2))
    assert world.reasons == [("delayed", "told_already")]
    assert world.said[0].until == CLOSES - timedelta(days=7)
    world.waits(days=40)
    assert [(m.at, m.about) for m in world.messages[1:]] == [
        (CLOSES - timedelta(days=7), [about(version=2)]),
        (CLOSES - timedelta(days=2), [about(version=2)]),
    ]


@pytest.mark.parametrize("end", [withdrawn(2), fulfilled(2)])
def test_who_has_answered_is_not_reminded(end: Any) -> None:
    world = World(REMINDS).hears(opened()).hears(end).waits(days=40)
    assert len(world.asked) == 1


@pytest.mark.parametrize("choice", [stopped(), not_mine("E2")])
def test_who_does_not_want_it_is_not_reminded_and_that_is_recorded(choice: Any) -> None:
    world = World(REMINDS).hears(opened()).hears(choice).waits(days=40)
    assert len(world.asked) == 1
    assert [outcome for outcome, _ in world.reasons] == ["suppressed"]


def test_who_was_asked_when_it_was_urgent_already_is_not_reminded_of_the_same_day() -> None:
    world = World(REMINDS, now=CLOSES - timedelta(days=1)).hears(opened()).waits(days=10)
    assert len(world.messages) == 1


def test_a_reminder_that_fails_is_not_tried_again_and_again() -> None:
    def only_first(message: Message) -> Result:
        return Result("failed" if message.outgoing.parts[0].reminder else "delivered", "webhook")

    assert len(World(REMINDS, sends=only_first).hears(opened()).waits(days=40).messages) == 2


# -- the file -------------------------------------------------------------------------------------


def test_the_files_in_deploy_are_policies() -> None:
    assert read_policy(PROJECT / "deploy" / "policy.yaml").quiet_hours == at_night()
    assert read_policy(PROJECT / "deploy" / "policy-at-once.yaml") == a_policy()


@pytest.mark.parametrize(
    ("line", "instead", "complaint"),
    [
        ("quiet_hours: off", "quiet_hours: {from: 18:00, too: 08:00}", "quiet_hours.too: is not known here"),
        (
            "quiet_hours: off",
            "quiet_hours: {from: 8:00, to: 8:00}",
            "quiet_hours.from: Input should be in a valid time",
        ),
        ("quiet_hours: off", "quiet_hours: {from: 18:00, to: 18:00}", "quiet_hours: begin and end at 18:00: write off"),
        ("messages_per_week: off", "messages_per_week: 0", "messages_per_week: Input should be greater than or equal"),
        ("news: at_once", "news: often", "news: Input should be 'at_once' or 'with_reminder'"),
        ("reminders: off", "reminders: {days_before_close: [0], urgent_days: 1}", "reminders.days_before_close.0: "),
        ("channels: [webhook]", "channels: [fax]", "channels.0: Input should be 'webhook', 'email'"),
        ("reminders: off", "reminders: off\nholidays: [{country: XX}]", "holidays.0: no calendar of a country 'XX'"),
        (
            "reminders: off",
            "reminders: off\nholidays: [{country: DE, subdivision: ZZ}]",
            "holidays.0: DE has no 'ZZ': it has BB, BE",
        ),
        (
            "reminders: off",
            "reminders: off\nholidays: [{country: DE, timezones: [Berlin]}]",
            "'Berlin' is no time zone",
        ),
        ("digest: off", "digest: off\ndigest: off", "digest: is there twice"),
        ("digest: off", "", "digest: Field required"),
    ],
)
def test_a_mistake_is_told_with_line_and_key(line: str, instead: str, complaint: str, tmp_path: Path) -> None:
    text = (PROJECT / "deploy" / "policy-at-once.yaml").read_text()
    assert line in text
    path = tmp_path / "policy.yaml"
    path.write_text(text.replace(line, instead))
    with pytest.raises(BadFile) as caught:
        read_policy(path)
    first, _, rest = str(caught.value).removeprefix(f"{path}:").partition(": ")
    if instead:
        assert path.read_text().splitlines()[int(first) - 1].strip() == instead.splitlines()[-1]
    assert complaint in rest


def test_norway_and_times_are_what_they_look_like(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    text = (PROJECT / "deploy" / "policy-at-once.yaml").read_text()
    path.write_text(
        text.replace("quiet_hours: off", "quiet_hours: {from: 18:00, to: 08:00}\nholidays: [{country: NO}]")
    )
    policy: Policy = read_policy(path)
    assert (policy.holidays[0].country, policy.quiet_hours) == ("NO", at_night())


@pytest.mark.parametrize(
    ("chosen", "recorded", "company", "language"),
    [
        (None, None, "en", "en"),
        (None, None, "de", "de"),
        ("de", None, "en", "de"),
        ("en", None, "de", "en"),
        ("de-AT", None, "en", "de"),
        ("fr", None, "de", "de"),
        ("no language, at all;", None, "de", "de"),
        (None, "de-CH", "en", "de"),
        (None, "de_CH", "en", "de"),
        (None, "fr-FR", "de", "de"),
        ("en", "de-CH", "de", "en"),
        ("fr", "de-CH", "en", "de"),
        (None, "da, de-CH;q=0.8, en;q=0.7", "en", "de"),
    ],
)
def test_a_sponsors_own_language_goes_above_their_records_and_those_above_the_companys(
    chosen: str | None, recorded: str | None, company: str, language: str
) -> None:
    world = World(a_policy(language=company)).hears(prefers(language=chosen), opened(sponsor_locale=recorded))
    assert [message.outgoing.language for message in world.messages] == [language]


def test_what_is_taken_down_and_what_comes_as_a_digest_is_in_the_sponsors_language_too() -> None:
    world = World(a_policy(digest=a_digest())).hears(prefers(language="de"), opened(), opened(employee="E3"))
    world.hears(withdrawn())
    kinds = [(message.outgoing.kind, message.outgoing.language) for message in world.messages]
    assert kinds == [("digest", "de"), ("end", "de")]


def test_times_are_written_in_the_zone_that_the_sponsor_chose_above_that_of_their_records() -> None:
    world = World().hears(prefers(timezone="Asia/Tokyo"), opened(sponsor_timezone="Europe/Berlin"))
    (item,) = letter(world.sponsor, world.messages[0].outgoing, None).items
    assert getattr(item.event, "sponsor_timezone", None) == "Asia/Tokyo"
    recorded = World().hears(opened(sponsor_timezone="Europe/Berlin"))
    (item,) = letter(recorded.sponsor, recorded.messages[0].outgoing, None).items
    assert getattr(item.event, "sponsor_timezone", None) == "Europe/Berlin"


def test_a_message_under_way_keeps_its_language_and_its_zone_for_what_is_sent_again_is_what_was_sent() -> None:
    world = World(sends=lambda _: None).hears(opened())
    before = letter(world.sponsor, world.messages[0].outgoing, None)
    world.hears(prefers(language="de", timezone="Asia/Tokyo"))
    assert world.sponsor.outgoing is not None
    again = letter(decode(encode(world.sponsor)), world.sponsor.outgoing, None)
    assert message(again) == message(before)


def test_a_company_language_without_a_catalogue_stops_the_start_and_names_those_there_are(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    text = (PROJECT / "deploy" / "policy.yaml").read_text()
    path.write_text(text.replace("language: en", "language: tlh"))
    with pytest.raises(BadFile, match=r"policy.yaml:\d+: language: messages can't be written in 'tlh': .*en, de"):
        read_policy(path)


def test_what_is_no_file_or_no_yaml_says_so(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="can't be read"):
        read_policy(tmp_path / "nowhere.yaml")
    path = tmp_path / "policy.yaml"
    path.write_text("a: [")
    with pytest.raises(BadFile, match=r"policy\.yaml:2: is no YAML"):
        read_policy(path)
