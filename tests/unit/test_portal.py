"""The portal's rules, and its pages over HTTP as a browser without scripts sees them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import httpx
import itsdangerous.timed
import pytest
from babel.messages.pofile import read_po

from deploy import catalogues
from services.endorsements.normalise import normalise
from services.portal import answering, choosing, handlers
from services.portal.answering import BadAnswer, NotNow, standing
from services.portal.draft import draft
from services.portal.guards import LARGEST_FORM
from services.portal.sessions import Session, Sessions
from services.portal.settings import PortalSettings
from services.portal.store import Store, StoredPrompt
from shared.contracts.career import ClockTicked, EndorsementGiven, PromptDeclined, PromptSnoozed
from shared.contracts.choices import Leave, NotMine, PreferencesSet, Resumed, Stopped
from shared.contracts.cloudevents import write_feed_event
from shared.contracts.feeds import ENDORSEMENTS, read_payload
from shared.contracts.ids import EmployeeId, EventId
from shared.contracts.outputs import Evidence, PromptOpened, Reason
from shared.languages import choose, read_languages
from shared.portal_links import BadLink, prompt_link, read_keys, read_link
from shared.streaming.sink import Unacknowledged
from tests.portal import KEY, OTHER_KEY, URL, Portal, a_person, a_tie, a_tie_end, heading, token_of
from tests.prompt_events import NOW, a_body, fulfilled, opened, updated, withdrawn

LANGUAGES = read_languages(catalogues.SERVICES / "portal")
ENGLISH = LANGUAGES["en"]
SPONSOR, PROTEGE = EmployeeId("E1"), EmployeeId("E2")
CLOSES = a_body().opportunity.closes_at


@pytest.fixture
def portal(tmp_path: Path) -> Iterator[Portal]:
    made = Portal(tmp_path)
    made.reads_prompt(opened())
    yield made
    made.store.close()


def asked(portal: Portal, prompt: PromptOpened | None = None) -> StoredPrompt:
    found = portal.store.prompt((prompt or opened()).prompt_id)
    assert found is not None
    return found


def a_token(key: str = KEY, prompt: PromptOpened | None = None) -> str:
    return prompt_link(URL, key, prompt or opened()).rpartition("/")[2]


# -- links


def test_the_same_prompt_has_the_same_link_and_another_one_another() -> None:
    assert prompt_link(URL, KEY, opened()) == prompt_link(URL, KEY, opened(version=3))
    assert prompt_link(URL, KEY, opened()) != prompt_link(URL, KEY, opened(employee="E3"))


def test_a_link_says_whom_it_lets_in() -> None:
    link = read_link([KEY], a_token(), NOW)
    assert (link.sponsor_id, link.prompt_id) == (SPONSOR, opened().prompt_id)


def test_a_link_outlives_the_decision_by_two_weeks_and_no_more() -> None:
    end = CLOSES + timedelta(days=14)
    read_link([KEY], a_token(), end - timedelta(seconds=1))
    with pytest.raises(BadLink, match="time is over"):
        read_link([KEY], a_token(), end)


def test_of_two_keys_either_opens_and_a_third_does_not() -> None:
    assert read_link([OTHER_KEY, KEY], a_token(KEY), NOW) == read_link([OTHER_KEY, KEY], a_token(OTHER_KEY), NOW)
    with pytest.raises(BadLink, match="signed"):
        read_link([OTHER_KEY], a_token(KEY), NOW)


@pytest.mark.parametrize("spoil", [lambda t: t[:-1], lambda t: "x" + t, lambda t: "", lambda t: t.split(".")[0]])
def test_a_link_that_was_changed_opens_nothing(spoil: Any) -> None:
    with pytest.raises(BadLink):
        read_link([KEY], spoil(a_token()), NOW)


def test_a_session_cookie_is_no_link(portal: Portal) -> None:
    cookie = Sessions([KEY], 60).cookie(Session(SPONSOR, "one"))
    with pytest.raises(BadLink):
        read_link([KEY], cookie, NOW)


@pytest.mark.parametrize("keys", ["", " , ", "short", f"{KEY},short"])
def test_keys_that_are_none_or_too_short_are_refused_at_the_start(keys: str) -> None:
    with pytest.raises(ValueError, match="32 characters"):
        read_keys(keys)
    with pytest.raises(ValueError, match="32 characters") as refused:
        PortalSettings(url=URL, keys=keys)
    assert "short" not in str(refused.value)


# -- what is read


def test_the_newest_version_of_a_prompt_holds(portal: Portal) -> None:
    portal.reads_prompt(updated(2, body=a_body(why="news")))
    portal.reads_prompt(opened(1))
    prompt = asked(portal)
    assert prompt.body is not None
    assert prompt.body.why == "news"


def test_what_has_ended_still_shows_what_it_was_about(portal: Portal) -> None:
    portal.reads_prompt(withdrawn(2))
    prompt = asked(portal)
    assert (prompt.status, prompt.withdrawn_because) == ("withdrawn", "cycle_closed")
    assert prompt.body == opened().body


def test_a_file_of_another_kafka_or_one_that_is_ahead_is_filled_anew(portal: Portal, tmp_path: Path) -> None:
    again = Store(tmp_path / "portal.db")
    assert again.begin("a-kafka", {("prompts", 0): 2}) == {("prompts", 0): 2}
    assert again.prompt(opened().prompt_id) is not None
    assert again.begin("a-kafka", {("prompts", 0): 1}) == {}
    assert again.prompt(opened().prompt_id) is None
    again.begin("a-kafka", {})
    assert again.begin("another-kafka", {}) == {}
    again.close()


def test_proteges_are_those_whose_sponsor_one_is_now(portal: Portal) -> None:
    portal.reads_career(
        *(a_person(who, name) for who, name in (("E2", "Mina"), ("E3", "Bo"), ("E4", "Cem"), ("E5", "Dana"))),
        a_tie("E2"),
        a_tie("E3"),
        a_tie_end("E3", ended_at=NOW - timedelta(days=1)),
        a_tie("E4", started_at=NOW + timedelta(days=1)),
        a_tie("E5", sponsor="E9"),
    )
    assert [one.person.name for one in portal.store.proteges_of(SPONSOR, NOW)] == ["Mina"]
    assert [one.person.name for one in portal.store.proteges_of(SPONSOR, NOW + timedelta(days=2))] == ["Cem", "Mina"]


def test_a_profile_holds_from_its_day_on(portal: Portal) -> None:
    portal.reads_career(
        a_person("E2", "Mina Okafor"),
        a_person("E2", "Mina Raman", effective_at=NOW + timedelta(days=1), revision=2),
    )
    names = [portal.store.person(PROTEGE, NOW + timedelta(days=days)) for days in (-2000, 0, 2)]
    assert [person.name for person in names if person] == ["Mina Okafor", "Mina Okafor", "Mina Raman"]


def test_answers_of_other_sources_are_not_ours(portal: Portal) -> None:
    data = {"cycle_id": opened().cycle_id, "sponsor": "hris:E1", "employee": "hris:E2", "reason": ""}
    event = write_feed_event(
        event_id="1", source="urn:acme:hr", event_type="prompt.declined", subject="hris:E2", time=NOW, data=data
    )
    portal.read("feeds.endorsements", event)
    assert asked(portal).answers == ()


# -- what can be answered


def test_an_endorsement_is_one_however_often_it_is_given(portal: Portal) -> None:
    first = answering.endorse(asked(portal), "She is ready.", NOW)
    second = answering.endorse(asked(portal), "She is more than ready.", NOW + timedelta(seconds=5))
    assert first.event_id == second.event_id


def test_a_prompt_that_is_opened_again_can_be_answered_again(portal: Portal) -> None:
    given = answering.endorse(asked(portal), "She is ready.", NOW)
    portal.read(given.output.topic, given.output.value)
    portal.reads_prompt(fulfilled(2))
    portal.reads_prompt(opened(3))
    again = answering.endorse(asked(portal), "She is still ready.", NOW + timedelta(days=1))
    assert again.event_id != given.event_id


@pytest.mark.parametrize("end", [fulfilled(2), withdrawn(2), withdrawn(2, reason="declined")])
def test_what_has_ended_takes_no_answer(portal: Portal, end: Any) -> None:
    portal.reads_prompt(end)
    for answer in (
        lambda p: answering.endorse(p, "yes", NOW),
        lambda p: answering.decline(p, "", NOW),
        lambda p: answering.snooze(p, NOW + timedelta(days=1), "x", NOW),
        lambda p: answering.refuse(p, "", NOW),
    ):
        with pytest.raises(NotNow):
            answer(asked(portal))


def test_a_snooze_leaves_the_prompt_to_be_answered(portal: Portal) -> None:
    until = NOW + timedelta(days=3)
    given = answering.snooze(asked(portal), until, "a form", NOW)
    portal.read(given.output.topic, given.output.value)
    prompt = asked(portal)
    assert standing(prompt) == "open"
    assert answering.snoozed_until(prompt, NOW) == until
    assert answering.snoozed_until(prompt, until) is None
    answering.endorse(prompt, "yes", NOW)


@pytest.mark.parametrize(
    ("until", "code"),
    [(NOW, "past"), (CLOSES, "too_late"), (NOW - timedelta(days=1), "past"), (NOW + timedelta(days=400), "too_late")],
)
def test_a_snooze_ends_between_now_and_the_closing(portal: Portal, until: datetime, code: str) -> None:
    with pytest.raises(BadAnswer) as refused:
        answering.snooze(asked(portal), until, "a form", NOW)
    assert refused.value.code == code


@pytest.mark.parametrize(("words", "code"), [("  \r\n ", "empty"), ("x" * 2001, "too_long")])
def test_an_endorsement_has_words_and_not_too_many(portal: Portal, words: str, code: str) -> None:
    with pytest.raises(BadAnswer) as refused:
        answering.endorse(asked(portal), words, NOW)
    assert refused.value.code == code


def test_the_endorsements_service_understands_every_answer(portal: Portal) -> None:
    prompt = asked(portal)
    given = [
        answering.endorse(prompt, "Yes.\r\nReady.", NOW),
        answering.decline(prompt, "no time", NOW),
        answering.snooze(prompt, NOW + timedelta(days=2), "a form", NOW),
    ]
    portal.written += [one.output for one in given]
    said = []
    for event in portal.answers:
        payload = read_payload(ENDORSEMENTS, event.type, event.data)
        said.append(normalise(event, payload, lambda ref: EmployeeId(ref.removeprefix("hris:"))))
    endorsed, declined, snoozed = said
    assert isinstance(endorsed, EndorsementGiven)
    assert (endorsed.statement, endorsed.cycle_id, endorsed.given_at) == ("Yes.\nReady.", prompt.cycle_id, NOW)
    assert isinstance(declined, PromptDeclined)
    assert declined.reason == "no time"
    assert isinstance(snoozed, PromptSnoozed)
    assert {(one.employee_id, one.sponsor_id) for one in said} == {(PROTEGE, SPONSOR)}


# -- the draft


def test_the_draft_says_what_the_evidence_says_and_that_one_saw_it_only_where_one_did() -> None:
    seen, unseen = (
        Evidence(
            kind="achievement",
            evidence_id=title,
            title=title,
            outcome=f"outcome of {title}",
            occurred_on=date(2026, 1, 14),
            reasons=(Reason(code=code, text="-"),),  # type: ignore[arg-type]
        )
        for title, code in (("seen", "seen_by_you"), ("unseen", "not_yet_seen"))
    )
    paragraphs = draft(a_body(evidence=(seen, unseen)), ENGLISH).split("\n\n")
    assert paragraphs == [
        "I would like to speak for Mina Okafor in “Spring promotions 2026”.",
        "What stands out to me is “seen” (January 2026). outcome of seen. I saw this myself.",
        "Then there is “unseen” (January 2026). outcome of unseen.",
        "I am glad to answer questions about this.",
    ]


def test_a_draft_can_be_sent_as_it_is_however_much_evidence_there_is() -> None:
    long = Evidence(
        kind="achievement", evidence_id="1", title="t" * 1900, outcome="o" * 1900, occurred_on=NOW.date(), reasons=()
    )
    assert 0 < len(draft(a_body(evidence=(long, long, long)), ENGLISH)) <= answering.LONGEST_WORDS


# -- choices


def a_form(**fields: str | list[str]) -> dict[str, list[str]]:
    return {name: value if isinstance(value, list) else [value] for name, value in fields.items()}


def preferred(before: PreferencesSet | None = None, **fields: str | list[str]) -> PreferencesSet | None:
    return choosing.prefer(SPONSOR, a_form(**fields), before, ["en", "de"], NOW)


def test_an_empty_form_leaves_everything_to_the_company() -> None:
    chosen = preferred(
        timezone="", quiet_from="", quiet_to="", prompts_per_week="", language="", leave_first="", leave_last=""
    )
    assert chosen is not None
    assert chosen.model_dump(exclude={"id", "sponsor_id", "at", "type"}) == PreferencesSet(
        id=EventId("-"), sponsor_id=SPONSOR, at=NOW
    ).model_dump(exclude={"id", "sponsor_id", "at", "type"})


def test_a_full_form_is_understood() -> None:
    chosen = preferred(
        timezone="Europe/Berlin",
        quiet_from="18:30",
        quiet_to="08:00",
        working_days=["5", "1", "1", "9"],
        prompts_per_week="3",
        language="de",
        leave_first=["2026-08-01", ""],
        leave_last=["2026-08-14", ""],
    )
    assert chosen is not None
    assert (chosen.timezone, chosen.quiet_from, chosen.quiet_to) == ("Europe/Berlin", time(18, 30), time(8))
    assert (chosen.working_days, chosen.prompts_per_week, chosen.language) == ((1, 5), 3, "de")
    assert chosen.leave == (Leave(first=date(2026, 8, 1), last=date(2026, 8, 14)),)


def test_what_holds_already_is_not_chosen_again_and_what_replaces_another_has_an_id_of_its_own() -> None:
    first = preferred(prompts_per_week="3")
    assert preferred(first, prompts_per_week="3") is None
    assert first is not None
    second = preferred(first, prompts_per_week="4")
    assert second is not None
    back = preferred(second, prompts_per_week="3")
    assert back is not None
    assert len({first.id, second.id, back.id}) == 3


def test_a_channel_chosen_elsewhere_survives() -> None:
    before = PreferencesSet(id=EventId("x"), sponsor_id=SPONSOR, at=NOW, channel="slack")
    chosen = preferred(before, prompts_per_week="3")
    assert chosen is not None
    assert chosen.channel == "slack"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"timezone": "Mars/Base"}, "zone"),
        ({"quiet_from": "18:00"}, "quiet"),
        ({"quiet_from": "18:00", "quiet_to": "18:00"}, "quiet"),
        ({"quiet_from": "six", "quiet_to": "08:00"}, "quiet"),
        ({"prompts_per_week": "0"}, "per_week"),
        ({"prompts_per_week": "³"}, "per_week"),
        ({"prompts_per_week": "51"}, "per_week"),
        ({"leave_first": "2026-08-14", "leave_last": "2026-08-01"}, "leave"),
        ({"leave_first": "2026-08-14", "leave_last": ""}, "leave"),
    ],
)
def test_what_can_not_be_understood_is_named(fields: dict[str, str], code: str) -> None:
    with pytest.raises(BadAnswer) as refused:
        preferred(**fields)
    assert refused.value.code == code


def test_a_stop_holds_once_and_so_does_its_end() -> None:
    stopped = choosing.stop(SPONSOR, None, NOW)
    assert isinstance(stopped, Stopped)
    assert choosing.stop(SPONSOR, stopped, NOW) is None
    resumed = choosing.resume(SPONSOR, stopped, NOW)
    assert isinstance(resumed, Resumed)
    assert choosing.resume(SPONSOR, resumed, NOW) is None
    again = choosing.stop(SPONSOR, resumed, NOW)
    assert again is not None
    assert again.id != stopped.id


# -- pages: the way in


async def test_a_link_leads_to_the_prompt_at_an_address_that_says_nothing(portal: Portal) -> None:
    page = await portal.browser().opens(opened())
    assert page.status_code == 200
    assert heading(page) == "Will you speak for Mina Okafor?"
    assert str(page.url) == f"{URL}prompts/{opened().prompt_id}"
    for shown in (
        "Checkout answers in half the time",
        "https://example.com/checkout",
        "you saw it yourself",
        "27 March 2026, 17:00 (UTC)",
    ):
        assert shown in page.text
    assert [(note.what, note.person_id, note.prompt_id) for note in portal.audit] == [
        ("link_opened", SPONSOR, opened().prompt_id),
        ("prompt_viewed", SPONSOR, opened().prompt_id),
    ]
    assert len({note.session for note in portal.audit}) == 1


async def test_the_cookie_is_for_this_site_alone_and_scripts_do_not_see_it(tmp_path: Path) -> None:
    secure = Portal(tmp_path, url="https://portal.example/")
    secure.reads_prompt(opened())
    browser = secure.browser()
    answer = await browser.http.get(f"/p/{a_token()}", follow_redirects=False)
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("__Host-")
    assert {"HttpOnly", "Secure", "SameSite=lax", "Path=/"} <= set(cookie.split("; "))
    assert answer.headers["strict-transport-security"]


@pytest.mark.parametrize("token", ["nonsense", a_token(OTHER_KEY)])
async def test_a_link_that_is_not_ours_is_refused_with_a_plain_message(portal: Portal, token: str) -> None:
    page = await portal.browser().sees(f"/p/{token}")
    assert (page.status_code, heading(page)) == (403, "This link can't be used")
    assert [note.what for note in portal.audit] == ["link_refused"]


async def test_an_expired_link_is_refused(portal: Portal) -> None:
    portal.now = CLOSES + timedelta(days=15)
    assert (await portal.browser().opens(opened())).status_code == 403


async def test_nobody_sees_the_prompt_of_another(portal: Portal) -> None:
    theirs = opened(sponsor="E8", employee="E9")
    portal.reads_prompt(theirs)
    browser = portal.browser()
    page = await browser.opens(opened())
    assert (await browser.sees(f"/prompts/{theirs.prompt_id}")).status_code == 404
    sent = await browser.http.post(
        f"/prompts/{theirs.prompt_id}/endorse", data={"form": token_of(page), "statement": "x"}
    )
    assert sent.status_code == 404
    assert portal.answers == []


@pytest.mark.parametrize("path", ["/", "/preferences", f"/prompts/{opened().prompt_id}"])
async def test_without_a_link_nothing_is_shown(portal: Portal, path: str) -> None:
    page = await portal.browser().sees(path)
    assert page.status_code == 401
    assert "Mina" not in page.text


async def test_a_session_ends_and_so_does_one_that_was_signed_out(
    portal: Portal, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = portal.browser()
    page = await browser.opens(opened())
    kept = dict(browser.http.cookies)
    out = await browser.sends(page, "/sign-out")
    assert heading(out) == "You are signed out"
    assert (await browser.sees("/")).status_code == 401
    late = portal.browser()
    late.http.cookies.update(kept)
    assert (await late.sees("/")).status_code == 200
    now = itsdangerous.timed.time.time()
    monkeypatch.setattr(itsdangerous.timed.time, "time", lambda: now + 8 * 3600 + 1)
    assert (await late.sees("/")).status_code == 401


# -- pages: answers


async def test_an_endorsement_is_sent_as_it_was_edited_and_the_page_says_thank_you(portal: Portal) -> None:
    browser = portal.browser()
    page = await browser.opens(opened())
    thanks = await browser.sends(page, "/endorse", statement="She carried the checkout.\r\nI would bet on her.")
    assert [str(step.status_code) for step in thanks.history] == ["303"]
    assert heading(thanks) == "You have spoken for Mina Okafor. Thank you."
    assert "She carried the checkout." in thanks.text
    (answer,) = portal.answers
    assert answer.data["statement"] == "She carried the checkout.\nI would bet on her."
    (note,) = [note for note in portal.audit if note.what == "endorsed"]
    assert (note.event_id, note.employee_id) == (answer.id, PROTEGE)
    assert "checkout" not in note.model_dump_json()


async def test_a_double_click_is_one_answer(portal: Portal) -> None:
    browser = portal.browser()
    page = await browser.opens(opened())
    both = await asyncio.gather(*(browser.sends(page, "/endorse", statement="Yes.") for _ in range(2)))
    assert {heading(one) for one in both} == {"You have spoken for Mina Okafor. Thank you."}
    assert len(portal.answers) == 1


@pytest.mark.parametrize(("form", "fields"), [("/endorse", {"statement": "Yes."}), ("/decline", {"because": ""})])
async def test_a_second_tab_and_a_back_button_find_the_answer_given(
    portal: Portal, form: str, fields: dict[str, str]
) -> None:
    browser = portal.browser()
    tabs = [await browser.opens(opened()) for _ in range(2)]
    first = await browser.sends(tabs[0], form, **fields)
    for other in ("/endorse", "/decline", "/snooze", "/not-me"):
        again = await browser.sends(tabs[1], other, statement="Other.", until="week")
        assert (again.status_code, heading(again)) == (200, heading(first))
    assert len(portal.answers) == 1
    assert portal.choices == []


async def test_two_portals_that_have_not_heard_of_each_other_write_one_and_the_same_event(tmp_path: Path) -> None:
    ids = set()
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        portal = Portal(tmp_path / name)
        portal.reads_prompt(opened())
        browser = portal.browser()
        await browser.sends(await browser.opens(opened()), "/endorse", statement=f"Yes, by {name}.")
        ids.add(portal.answers[0].id)
    assert len(ids) == 1


@pytest.mark.parametrize(
    ("end", "said"),
    [
        (withdrawn(2, reason="cycle_closed"), "The decision is closed."),
        (withdrawn(2, reason="employee_left"), "This person has left the company."),
        (fulfilled(2), "Your endorsement has been taken down."),
    ],
)
async def test_a_prompt_that_ends_in_between_says_so_and_takes_nothing(portal: Portal, end: Any, said: str) -> None:
    browser = portal.browser()
    page = await browser.opens(opened())
    portal.reads_prompt(end)
    after = await browser.sends(page, "/endorse", statement="Yes.")
    assert after.status_code == 200
    assert said in after.text
    assert "<textarea" not in after.text
    assert portal.answers == []


@pytest.mark.parametrize(
    ("because", "reason"),
    [("", "no time"), ("unfamiliar", "I do not know this work well enough to speak for it. no time")],
)
async def test_a_no_needs_no_reason_and_can_have_one(portal: Portal, because: str, reason: str) -> None:
    browser = portal.browser()
    after = await browser.sends(await browser.opens(opened()), "/decline", because=because, reason="no time")
    assert heading(after) == "You will not speak for Mina Okafor this time"
    assert "no time" not in after.text
    (answer,) = portal.answers
    assert (answer.type, answer.data["reason"]) == ("prompt.declined", reason)


async def test_not_me_is_a_choice_and_is_said_on_the_page(portal: Portal) -> None:
    browser = portal.browser()
    after = await browser.sends(await browser.opens(opened()), "/not-me")
    assert heading(after) == "You are not the sponsor of Mina Okafor"
    (choice,) = portal.choices
    assert isinstance(choice, NotMine)
    assert (choice.sponsor_id, choice.employee_id) == (SPONSOR, PROTEGE)


async def test_a_decline_by_mistake_is_undone_from_the_page_of_all_and_can_be_answered_anew(portal: Portal) -> None:
    browser = portal.browser()
    declined = await browser.sends(await browser.opens(opened()), "/decline", because="", reason="")
    assert "Undo it, and you are asked again." in declined.text
    portal.reads_prompt(withdrawn(2, reason="declined"))
    everybody = await browser.sees("/")
    portal.on_take_back = opened(3)
    asked_again = await browser.takes_back(everybody, "/take-back")
    assert heading(asked_again) == "Will you speak for Mina Okafor?"
    endorsed = await browser.sends(asked_again, "/endorse", statement="I do, after all.")
    assert heading(endorsed) == "You have spoken for Mina Okafor. Thank you."
    assert [answer.type for answer in portal.answers] == [
        "prompt.declined",
        "prompt.decline_withdrawn",
        "endorsement.given",
    ]
    assert [one.what for one in portal.audit if one.event_id] == ["declined", "taken_back", "endorsed"]


async def test_an_endorsement_is_taken_back_and_the_page_says_what_is_on_its_way(
    portal: Portal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handlers, "_VISIBLE_WITHIN_SECONDS", 0.05)
    browser = portal.browser()
    await browser.sends(await browser.opens(opened()), "/endorse", statement="Yes.")
    given = portal.answers[0]
    portal.reads_prompt(fulfilled(2, endorsement_id=given.id))
    thanked = await browser.sees(f"/prompts/{opened().prompt_id}")
    assert heading(thanked).startswith("You have spoken")
    taken_back = await browser.takes_back(thanked, "/take-back")
    assert heading(taken_back) == "You have taken your answer back"
    assert "Take the endorsement back" not in taken_back.text
    assert portal.answers[1].type == "endorsement.withdrawn"
    assert portal.answers[1].data["endorsement_id"] == given.id
    assert "You have taken your answer back." in (await browser.sees("/")).text
    portal.reads_prompt(withdrawn(3))
    assert "The decision is closed." in (await browser.sees(f"/prompts/{opened().prompt_id}")).text


async def test_not_me_is_undone_and_can_be_said_again(portal: Portal) -> None:
    portal.reads_career(a_person("E2", "Mina Okafor"), a_tie("E2"))
    browser = portal.browser()
    for said in (1, 2):
        page = await browser.sends(await browser.opens(opened()), "/not-me")
        assert heading(page) == "You are not the sponsor of Mina Okafor"
        everybody = await browser.takes_back(await browser.sees("/"), "/take-back")
        assert "One answer is due." in everybody.text
        assert [choice.type for choice in portal.choices] == ["choice.not_mine", "choice.mine"] * said
    assert len({choice.id for choice in portal.choices}) == 4
    times = [choice.at for choice in portal.choices]
    assert times == sorted(set(times)), "of two choices the later holds, also where the clock stands still"


async def test_an_old_tab_takes_back_nothing_but_what_it_shows(portal: Portal) -> None:
    browser = portal.browser()
    tab = await browser.sends(await browser.opens(opened()), "/decline", because="", reason="")
    portal.on_take_back = opened(2)
    asked_again = await browser.takes_back(tab, "/take-back")
    endorsed = await browser.sends(asked_again, "/endorse", statement="Yes.")
    again = await browser.takes_back(tab, "/take-back")
    assert heading(again) == heading(endorsed)
    assert [answer.type for answer in portal.answers][2:] == ["endorsement.given"]


@pytest.mark.parametrize("end", [withdrawn(3), None])
def test_a_no_can_not_be_taken_back_once_nothing_would_come_of_it(portal: Portal, end: Any) -> None:
    given = answering.decline(asked(portal), "", NOW)
    portal.read(given.output.topic, given.output.value)
    portal.reads_prompt(withdrawn(2, reason="declined"))
    assert answering.undoable(asked(portal), NOW) == ("declined", given.event_id)
    now = CLOSES if end is None else NOW
    if end is not None:
        portal.reads_prompt(end)
    with pytest.raises(NotNow):
        answering.take_back(asked(portal), given.event_id, now)


def test_a_no_that_was_given_elsewhere_is_not_undone_here(portal: Portal) -> None:
    portal.reads_prompt(withdrawn(2, reason="declined"))
    assert standing(asked(portal)) == "withdrawn"
    assert answering.undoable(asked(portal), NOW) is None


async def test_a_snooze_says_until_when_and_one_can_answer_before(portal: Portal) -> None:
    browser = portal.browser()
    page = await browser.sends(await browser.opens(opened()), "/snooze", until="week")
    assert "You asked us to come back on Monday, 9 March 2026, 09:00 (UTC)." in page.text
    (answer,) = portal.answers
    assert answer.data["until"] == (NOW + timedelta(days=7)).isoformat()
    await browser.sends(page, "/endorse", statement="Now then.")
    assert [answer.type for answer in portal.answers] == ["prompt.snoozed", "endorsement.given"]


async def test_a_double_click_on_a_snooze_is_one_and_a_new_wish_is_another(portal: Portal) -> None:
    browser = portal.browser()
    page = await browser.opens(opened())
    await asyncio.gather(*(browser.sends(page, "/snooze", until="week") for _ in range(2)))
    assert len(portal.answers) == 1
    await browser.sends(page, "/snooze", until="three_days")
    assert len(portal.answers) == 2


async def test_what_has_to_be_mended_is_said_and_what_was_written_is_kept(portal: Portal) -> None:
    browser = portal.browser()
    page = await browser.sends(await browser.opens(opened()), "/endorse", statement="y" * 2500)
    assert page.status_code == 422
    assert 'role="alert"' in page.text
    assert "y" * 2500 in page.text
    assert portal.answers == []


async def test_with_kafka_away_nothing_is_called_safe_and_nothing_written_is_lost(portal: Portal) -> None:
    browser = portal.browser()
    page = await browser.opens(opened())
    portal.fails_with = Unacknowledged("away")
    after = await browser.sends(page, "/endorse", statement="Hers is the best work.")
    assert after.status_code == 503
    assert "Hers is the best work." in after.text
    assert (await browser.sees("/")).status_code == 503  # nothing is looked at that can't be noted
    portal.fails_with = None
    again = await browser.sends(after, "/endorse", statement="Hers is the best work.")
    assert heading(again).startswith("You have spoken")
    assert len(portal.answers) == 1


async def test_preferences_are_kept_shown_again_and_translate_the_pages(portal: Portal) -> None:
    browser = portal.browser()
    await browser.opens(opened())
    page = await browser.sees("/preferences")
    saved = await browser.sends(page, "/preferences", timezone="Asia/Tokyo", language="de", working_days=["1", "2"])
    assert saved.status_code == 200
    assert "Gespeichert." in saved.text
    assert "<option selected>Asia/Tokyo</option>" in saved.text
    assert saved.text.count(" checked>") == 2
    await browser.sends(page, "/preferences", timezone="Asia/Tokyo", language="de", working_days=["1", "2"])
    assert len(portal.choices) == 1
    prompt = await browser.sees(f"/prompts/{opened().prompt_id}")
    assert "28. März 2026, 02:00 (Tokio)" in prompt.text
    bad = await browser.sends(saved, "/preferences", quiet_from="18:00")
    assert bad.status_code == 422


async def test_a_stop_and_its_end_are_told_at_once(portal: Portal) -> None:
    browser = portal.browser()
    await browser.opens(opened())
    page = await browser.sees("/preferences")
    stopped = await browser.sends(page, "/stop")
    await browser.sends(page, "/stop")
    assert "You have stopped all messages" in stopped.text
    resumed = await browser.sends(stopped, "/resume")
    assert "You have stopped all messages" not in resumed.text
    assert [choice.type for choice in portal.choices] == ["choice.stopped", "choice.resumed"]


async def test_all_proteges_are_on_one_page_what_is_due_first(portal: Portal) -> None:
    portal.reads_career(
        a_person("E1", "Priya Raman"),
        a_person("E2", "Mina Okafor"),
        a_person("E3", "Bo Lind"),
        a_tie("E2"),
        a_tie("E3"),
    )
    portal.reads_prompt(
        opened(employee="E7", body=a_body(protege=a_body().protege.model_copy(update={"name": "Old One"})))
    )
    portal.reads_prompt(withdrawn(2, employee="E7"))
    browser = portal.browser()
    await browser.opens(opened())
    page = await browser.sees("/")
    at = [
        page.text.index(text)
        for text in (
            "Priya Raman",
            "One answer is due.",
            "Mina Okafor",
            "Bo Lind",
            "Old One",
            "The decision is closed.",
        )
    ]
    assert at == sorted(at)


# -- pages: what they keep to themselves


async def every_page(portal: Portal) -> list[httpx.Response]:
    browser = portal.browser()
    return [
        await browser.sees("/"),
        await browser.opens(opened()),
        await browser.sees("/"),
        await browser.sees("/preferences"),
        await browser.sees("/signed-out"),
        await browser.sees("/nowhere"),
        await browser.sees("/p/nonsense"),
        await browser.sends(await browser.opens(opened()), "/endorse", statement="Yes."),
    ]


async def test_every_page_keeps_to_itself_and_is_small(portal: Portal) -> None:
    for page in await every_page(portal):
        headers = page.headers
        assert headers["content-security-policy"] == (
            "default-src 'none'; style-src 'self'; img-src data:; form-action 'self'; base-uri 'none'; "
            "frame-ancestors 'none'"
        )
        assert headers["referrer-policy"] == "same-origin"
        assert headers["cache-control"] == "no-store"
        assert headers["x-frame-options"] == "DENY"
        assert not re.search(r"<script|\sstyle=|<style|\son\w+=", page.text)
        loaded = re.findall(r'(?:src|<link[^>]*href)="([^"]+)"', page.text)
        assert all(address.startswith(("/static/", "data:")) for address in loaded)
        (style,) = {address for address in loaded if address.startswith("/static/")}
        sheet = await portal.browser().sees(style)
        assert sheet.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert len(page.content) + len(sheet.content) < 100_000
        assert re.search(r'<html lang="en">', page.text)


async def test_what_sources_wrote_is_text_and_never_a_page(portal: Portal) -> None:
    nasty = Evidence(
        kind="achievement",
        evidence_id="1",
        title="<script>alert(1)</script>\u202e",
        outcome='"><img src=x onerror=alert(1)>',
        occurred_on=NOW.date(),
        link="javascript:alert(1)",
        reasons=(Reason(code="recent", text="<b>recent</b>"),),
    )
    portal.reads_prompt(
        updated(2, body=a_body(evidence=(nasty,), protege=a_body().protege.model_copy(update={"name": "<i>Mina</i>"})))
    )
    page = await portal.browser().opens(opened())
    assert not re.search(r"<script|<img|<b>recent|<i>Mina|javascript:|\u202e", page.text)
    assert "&lt;script&gt;" in page.text


async def test_a_form_without_its_token_or_with_that_of_another_session_is_not_taken(portal: Portal) -> None:
    portal.reads_prompt(opened(sponsor="E8"))
    theirs = token_of(await portal.browser().opens(opened(sponsor="E8")))
    browser = portal.browser()
    await browser.opens(opened())
    for token in ("", "nonsense", theirs):
        sent = await browser.http.post(
            f"/prompts/{opened().prompt_id}/endorse", data={"form": token, "statement": "Forged."}
        )
        assert sent.status_code == 403
        assert (await browser.http.post("/stop", data={"form": token})).status_code == 403
    assert portal.answers == []
    assert portal.choices == []


@pytest.mark.parametrize("headers", [{"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"}])
async def test_a_form_of_another_site_is_not_taken(portal: Portal, headers: dict[str, str]) -> None:
    browser = portal.browser()
    page = await browser.opens(opened())
    browser.http.headers.update(headers)
    sent = await browser.sends(page, "/endorse", statement="Forged.")
    assert (sent.status_code, portal.answers) == (403, [])


async def test_of_an_older_browser_the_origin_is_looked_at(portal: Portal) -> None:
    browser = portal.browser()
    page = await browser.opens(opened())
    del browser.http.headers["sec-fetch-site"]
    browser.http.headers["origin"] = "https://evil.example"
    assert (await browser.sends(page, "/endorse", statement="Forged.")).status_code == 403
    browser.http.headers["origin"] = URL.rstrip("/")
    assert (await browser.sends(page, "/endorse", statement="Mine.")).status_code == 200
    assert len(portal.answers) == 1


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"x" * (LARGEST_FORM + 1), "application/x-www-form-urlencoded"),
        (b"{}", "application/json"),
        (b"statement=%ff", "application/x-www-form-urlencoded"),
        ("statement=é".encode(), "application/x-www-form-urlencoded"),
        (b"&".join(b"a=1" for _ in range(200)), "application/x-www-form-urlencoded"),
    ],
)
async def test_what_is_no_form_of_ours_is_refused_and_takes_nobody_down(
    portal: Portal, content: bytes, kind: str
) -> None:
    browser = portal.browser()
    await browser.opens(opened())
    path = f"/prompts/{opened().prompt_id}/endorse"
    sent = await browser.http.post(path, content=content, headers={"content-type": kind})
    assert sent.status_code == 400
    assert (await browser.sees("/")).status_code == 200


async def test_who_asks_too_much_is_told_to_wait(tmp_path: Path) -> None:
    portal = Portal(tmp_path, link_openings_per_minute=3, requests_per_minute=4)
    portal.reads_prompt(opened())
    browser = portal.browser()
    assert [(await browser.sees("/p/guess")).status_code for _ in range(2)] == [403, 403]
    assert [(await browser.opens(opened())).status_code, (await browser.opens(opened())).status_code] == [200, 429]
    seen = [await browser.sees("/") for _ in range(4)]
    assert [page.status_code for page in seen] == [200, 200, 200, 429]
    assert seen[-1].headers["retry-after"] == "60"


async def test_the_time_can_be_that_of_the_log(tmp_path: Path) -> None:
    portal = Portal(tmp_path, now=CLOSES + timedelta(days=100), clock="log")
    portal.reads_prompt(opened())
    tick = ClockTicked(id=EventId("t"), at=NOW, source="test", employee_id=None, now=NOW)
    portal.reads_career(tick)
    page = await portal.browser().opens(opened())
    assert page.status_code == 200
    assert "Closes in 25 days" in page.text


# -- languages


def test_every_text_is_in_every_catalogue_and_nothing_else_is() -> None:
    found = list(catalogues.files())
    assert {file.name for file in found} == {"portal.po", "prompter.po", "shared.po"}
    for file in found:
        assert catalogues.updated(file) == file.read_bytes(), "run: .venv/bin/python -m deploy.catalogues"
        for message in read_po(file.open("rb"), file.parts[-3]):
            if message.id:
                said = message.string if isinstance(message.string, tuple) else (message.string,)
                assert all(said), message.id
                assert not list(message.check()), message.id


@pytest.mark.parametrize(
    ("wanted", "accepted", "tag"),
    [
        (None, "de-AT,de;q=0.9,en;q=0.8", "de"),
        (None, "fr,en;q=0.5", "en"),
        (None, "*", "en"),
        (None, "", "en"),
        (None, "x-,;;;=,,", "en"),
        ("de", "en", "de"),
        ("fr", "de", "de"),
    ],
)
def test_a_page_is_in_the_language_that_was_chosen_else_that_of_the_browser(
    wanted: str | None, accepted: str, tag: str
) -> None:
    assert choose(LANGUAGES, wanted, accepted).tag == tag


async def test_a_german_page_has_no_english_of_ours(portal: Portal) -> None:
    browser = portal.browser(**{"accept-language": "de"})
    page = await browser.opens(opened())
    assert '<html lang="de">' in page.text
    assert heading(page) == "Sprechen Sie sich für Mina Okafor aus?"
    for english in ("Why", "Your", "Closes", "Nothing", "You "):
        assert english not in page.text
