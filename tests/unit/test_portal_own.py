"""The page of one's own evidence: who gets in, what adding, correcting and hiding become, who was told what."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.portal import handlers, own
from services.portal.own import BadStatement
from services.portal.sessions import COOKIE, OWN_COOKIE
from services.portal.store import StoredAchievement
from services.portal.told import who_was_told
from shared import portal_links
from shared.contracts.career import SELF
from shared.contracts.ids import AchievementId, EmployeeId
from shared.contracts.outputs import Evidence, PromptBody, Reason
from shared.portal_links import BadLink, own_link, prompt_link, read_link, read_own_link, read_stop_link, stop_link
from shared.streaming.sink import Unacknowledged
from tests.identity_provider import CLIENT, ISSUER, IdentityProvider
from tests.portal import (
    KEY,
    OTHER_KEY,
    URL,
    Browser,
    Portal,
    a_disowning,
    a_hiding,
    a_person,
    a_piece,
    a_showing,
    heading,
    token_of,
)
from tests.prompt_events import NOW, a_body, fulfilled, opened, updated, withdrawn

MINA = EmployeeId("E2")
WEEK = timedelta(days=7)
FORM = {
    "title": "Mentored two interns",
    "outcome": "Both have stayed",
    "occurred_on": "2026-02-20",
    "impact": "1",
    "competencies": "Leadership, mentoring",
    "link": "https://example.com/interns",
}


@pytest.fixture
def portal(tmp_path: Path) -> Iterator[Portal]:
    made = Portal(tmp_path)
    made.reads_career(a_person("E1", "Priya Raman", level=8), a_person("E2", "Mina Okafor"), a_piece())
    made.knows("hris:E1", "E1")
    made.reads_prompt(opened())
    yield made
    made.store.close()


def a_token(link: str) -> str:
    return link.rpartition("/")[2]


def an_own_token(key: str = KEY) -> str:
    return a_token(own_link(URL, key, MINA, NOW + WEEK))


def on_record(portal: Portal, achievement_id: str = "A1") -> StoredAchievement:
    found = portal.store.achievement(MINA, AchievementId(achievement_id))
    assert found is not None
    return found


async def adds(browser: Browser, **changes: str) -> httpx.Response:
    return await browser.sends(await browser.sees("/me/add"), "/me/add", **(FORM | changes))


async def hides(browser: Browser, page: httpx.Response, achievement_id: str = "A1") -> httpx.Response:
    return await browser.sends(page, "/me/hide", achievement=achievement_id)


# -- who gets in


def test_a_link_lets_its_person_in_until_it_expires() -> None:
    assert read_own_link([OTHER_KEY, KEY], an_own_token(), NOW) == MINA
    with pytest.raises(BadLink, match="time is over"):
        read_own_link([KEY], an_own_token(), NOW + WEEK)
    with pytest.raises(BadLink, match="signed"):
        read_own_link([KEY], an_own_token(OTHER_KEY), NOW)


def test_what_one_kind_of_link_opens_no_other_does() -> None:
    of_prompt, of_stop = a_token(prompt_link(URL, KEY, opened())), a_token(stop_link(URL, KEY, MINA))
    for read, token in (
        (lambda t: read_own_link([KEY], t, NOW), of_prompt),
        (lambda t: read_own_link([KEY], t, NOW), of_stop),
        # what says the same, signed as those of prompts are
        (lambda t: read_own_link([KEY], t, NOW), portal_links._signer([KEY]).dumps([MINA, 2**40])),
        (lambda t: read_link([KEY], t, NOW), an_own_token()),
        (lambda t: read_stop_link([KEY], t), an_own_token()),
    ):
        with pytest.raises(BadLink, match="signed"):
            read(token)


async def test_a_sponsors_link_opens_nothing_of_a_protege_and_a_proteges_nothing_of_a_sponsor(portal: Portal) -> None:
    portal.reads_prompt(opened(sponsor="E2", employee="E7"))
    portal.reads_career(a_piece(employee="E1", achievement_id="A7"))
    sponsor, protege = portal.browser(), portal.browser()
    await sponsor.opens(opened())
    await protege.opens_own()
    own_pages = ("/me", "/me/told", "/me/add", "/me/correct?achievement=A7")
    assert [(await sponsor.sees(path)).status_code for path in own_pages] == [401] * 4
    sponsors_pages = ("/", "/preferences", f"/prompts/{opened().prompt_id}")
    assert [(await protege.sees(path)).status_code for path in sponsors_pages] == [401] * 3
    # nor under the other's name
    sponsor.http.cookies.set(OWN_COOKIE, sponsor.http.cookies[COOKIE], domain="portal.example")
    protege.http.cookies.set(COOKIE, protege.http.cookies[OWN_COOKIE], domain="portal.example")
    assert [(await sponsor.sees("/me")).status_code, (await protege.sees("/")).status_code] == [401, 401]
    assert (await sponsor.sees(f"/e/{a_token(prompt_link(URL, KEY, opened()))}")).status_code == 403
    assert (await protege.sees(f"/p/{an_own_token()}")).status_code == 403


async def test_a_browser_may_hold_both_and_signs_out_of_each_alone(portal: Portal) -> None:
    browser = portal.browser()
    await browser.opens(opened(sponsor="E2"))
    page = await browser.opens_own()
    assert "My protégés" not in page.text
    out = await browser.sends(page, "/me/sign-out")
    assert heading(out) == "You are signed out"
    assert [(await browser.sees(path)).status_code for path in ("/me", "/")] == [401, 200]


async def test_of_somebody_whom_nobody_knows_there_is_no_page(portal: Portal) -> None:
    assert (await portal.browser().opens_own("E77")).status_code == 404
    assert [note.what for note in portal.audit] == ["own_link_opened"]


async def test_where_people_sign_in_they_see_both_and_a_link_says_only_where_to_go(tmp_path: Path) -> None:
    company = IdentityProvider(email="mina@example.com", email_verified=True)
    portal = Portal(tmp_path, identity_provider=company.http, oidc_issuer=ISSUER, oidc_client_id=CLIENT)
    portal.reads_career(a_person("E1", "Priya Raman"), a_person("E2", "Mina Okafor"), a_piece())
    portal.knows("email:mina@example.com", "E2")
    browser = portal.browser()
    page = await browser.sees("/me")
    assert (heading(page), page.url.path) == ("What speaks for you", "/me")
    assert [note.what for note in portal.audit] == ["signed_in", "own_evidence_viewed"]
    assert "My protégés" in page.text
    assert (await browser.sees("/")).status_code == 200
    # another's link, in her hands, shows her own page
    hers = await portal.browser().opens_own("E1")
    assert ("Mina Okafor" in hers.text, "Priya Raman" in hers.text) == (True, False)
    portal.store.close()


# -- what is seen


async def test_all_that_is_on_record_is_shown_the_newest_first_with_source_and_witnesses(portal: Portal) -> None:
    portal.reads_career(
        a_piece("A2", title="Older", occurred_on=date(2025, 10, 1), witnesses=(), source="https://jira.acme.com/#4"),
        a_piece("A3", title="Another's", employee="E3"),
    )
    page = await portal.browser().opens_own()
    assert heading(page) == "What speaks for you"
    at = [page.text.index(text) for text in ("14 January 2026", "recognition", "Priya Raman", "Older", "jira.acme.com")]
    assert at == sorted(at)
    assert "Another" not in page.text
    assert [(note.what, note.person_id) for note in portal.audit] == [
        ("own_link_opened", MINA),
        ("own_evidence_viewed", MINA),
    ]


async def test_the_newest_statement_is_shown_and_nothing_that_was_taken_back(portal: Portal) -> None:
    portal.reads_career(a_piece(title="As it was", at=NOW), a_piece(title="As first said", at=NOW - WEEK))
    page = await portal.browser().opens_own()
    assert ("As it was" in page.text, "As first said" in page.text) == (True, False)


async def test_a_long_record_is_shown_in_pages_each_below_100_kb(portal: Portal) -> None:
    for n in range(60):
        portal.reads_career(a_piece(f"B{n:02}", title="田" * 200, outcome="田" * 2000, witnesses=("hris:E1",)))
    browser = portal.browser()
    await browser.opens_own()
    pages = [await browser.sees(f"/me?page={n}") for n in (1, 2, 3, "x", "9" * 5000)]
    assert [page.text.count('action="/me/hide"') for page in pages] == [25, 25, 11, 25, 25]
    assert all(len(page.content) < 90_000 for page in pages)
    assert "Page 2 of 3" in pages[1].text


def test_what_turns_out_to_be_about_somebody_else_is_on_nobodys_record_but_theirs(portal: Portal) -> None:
    portal.reads_career(a_disowning(a_piece().id), a_piece("A2"), a_hiding("A2"), a_disowning(a_hiding("A2").id))
    assert portal.store.achievement(MINA, AchievementId("A1")) is None
    assert not on_record(portal, "A2").hidden


# -- add


async def test_what_is_added_becomes_an_achievement_in_the_persons_own_words(portal: Portal) -> None:
    browser = portal.browser()
    await browser.opens_own()
    page = await adds(browser)
    assert "It is on record." in page.text
    assert "in your own words" in page.text
    (event,) = portal.own_statements
    assert (event.type, event.source, event.subject) == ("achievement.recorded", SELF, "hris:E2")
    assert {name: event.data[name] for name in FORM} == {
        "title": "Mentored two interns",
        "outcome": "Both have stayed",
        "occurred_on": "2026-02-20",
        "impact": 1,
        "competencies": ["leadership", "mentoring"],
        "link": "https://example.com/interns",
    }
    assert "witnesses" not in event.data  # nobody is made a witness by somebody's own word
    noted = portal.audit[-2]
    assert (noted.what, noted.person_id, noted.event_id) == ("achievement_added", MINA, event.id)


async def test_a_double_click_adds_once_and_a_form_filled_in_anew_adds_another(portal: Portal) -> None:
    browser = portal.browser()
    await browser.opens_own()
    form = await browser.sees("/me/add")
    await asyncio.gather(*(browser.sends(form, "/me/add", **FORM) for _ in range(2)))
    assert len(portal.own_statements) == 1
    await browser.sends(form, "/me/add", **(FORM | {"title": "Another one"}))
    assert len({event.data["achievement_id"] for event in portal.own_statements}) == 2


async def test_two_portals_that_have_not_heard_of_each_other_write_one_and_the_same_event(portal: Portal) -> None:
    assert own.add(MINA, {k: [v] for k, v in FORM.items()}, "one", NOW) == own.add(
        MINA, {k: [v] for k, v in FORM.items()}, "one", NOW
    )


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("title", " \x07 ", "no_title"),
        ("title", "x" * 201, "long_title"),
        ("outcome", "x" * 2001, "long_outcome"),
        ("occurred_on", "", "no_day"),
        ("occurred_on", "yesterday", "no_day"),
        ("occurred_on", "0001-01-01", "no_day"),
        ("occurred_on", "2026-03-04", "future_day"),
        ("competencies", ",".join("abcdefghijk"), "competencies"),
        ("competencies", "x" * 61, "competencies"),
        ("link", "javascript:alert(1)", "link"),
        ("link", "example.com", "link"),
        ("link", "https://example.com/" + "x" * 2000, "link"),
    ],
)
async def test_what_has_to_be_mended_is_said_and_what_was_written_is_kept(
    portal: Portal, field: str, value: str, code: str
) -> None:
    with pytest.raises(BadStatement) as mistake:
        own.add(MINA, {name: [text] for name, text in (FORM | {field: value}).items()}, "one", NOW)
    assert mistake.value.code == code
    browser = portal.browser()
    await browser.opens_own()
    page = await adds(browser, **{field: value})
    assert page.status_code == 422
    assert 'role="alert"' in page.text
    assert "Both have stayed" in page.text or field == "outcome"
    assert portal.own_statements == []


def test_today_is_no_future_wherever_one_sits() -> None:
    fields = {name: [text] for name, text in (FORM | {"occurred_on": "2026-03-03"}).items()}
    own.add(MINA, fields, "one", NOW.replace(hour=11))  # it is the third in Kiritimati


# -- correct


async def test_a_correction_is_the_whole_in_own_words_and_leaves_the_witnesses_alone(portal: Portal) -> None:
    browser = portal.browser()
    await browser.opens_own()
    form = await browser.sees("/me/correct?achievement=A1")
    assert 'value="Checkout answers in half the time"' in form.text
    page = await browser.sends(form, "/me/correct", achievement="A1", **(FORM | {"title": "As I would say it"}))
    assert "It is on record in your words." in page.text
    (event,) = portal.own_statements
    assert (event.type, event.data["achievement_id"], event.data["witnesses"]) == (
        "achievement.corrected",
        "A1",
        ["hris:E1"],
    )
    assert (on_record(portal).title, on_record(portal).own_words) == ("As I would say it", True)
    await browser.sends(form, "/me/correct", achievement="A1", **(FORM | {"title": "As I would say it"}))
    assert len(portal.own_statements) == 1
    portal.reads_career(a_piece(title="As the tool says it now", at=NOW + WEEK))
    assert (on_record(portal).title, on_record(portal).own_words) == ("As the tool says it now", False)


async def test_a_correction_holds_though_its_source_is_ahead_of_our_clock(portal: Portal) -> None:
    portal.reads_career(a_piece(title="From tomorrow", at=NOW + WEEK))
    browser = portal.browser()
    await browser.opens_own()
    await browser.sends(await browser.sees("/me/correct?achievement=A1"), "/me/correct", achievement="A1", **FORM)
    assert on_record(portal).title == "Mentored two interns"


# -- hide, and show again


async def test_what_is_hidden_says_so_and_comes_back_when_its_owner_wants_it(portal: Portal) -> None:
    browser = portal.browser()
    page = await browser.opens_own()
    hidden = await hides(browser, page)
    assert "No sponsor is shown it." in hidden.text
    portal.reads_career(a_piece(title="Said again by its source", at=NOW + WEEK))
    assert on_record(portal).hidden
    await hides(browser, page)  # the second click, or the other tab
    assert [event.type for event in portal.own_statements] == ["achievement.hidden"]
    shown = await browser.sends(hidden, "/me/show", achievement="A1")
    assert "No sponsor is shown it." not in shown.text
    # the clock stands still, and each word is newer than the one before it
    assert (await hides(browser, shown)).status_code == 200
    times = [event.time for event in portal.own_statements]
    assert times == sorted(set(times))
    assert on_record(portal).hidden
    assert [note.what for note in portal.audit if note.event_id] == [
        "achievement_hidden",
        "achievement_shown",
        "achievement_hidden",
    ]


def test_the_newest_word_holds_in_whatever_order_it_is_read(portal: Portal) -> None:
    portal.reads_career(a_showing("A1", at=NOW), a_hiding("A1", at=NOW - WEEK))
    assert not on_record(portal).hidden
    portal.reads_career(a_hiding("A2", at=NOW), a_piece("A2"))
    assert on_record(portal, "A2").hidden


async def test_a_sponsor_sees_what_is_hidden_no_more_also_where_the_prompt_has_ended(portal: Portal) -> None:
    portal.reads_prompt(fulfilled(2))
    sponsor = portal.browser()
    assert "Checkout answers" in (await sponsor.opens(opened())).text
    protege = portal.browser()
    await hides(protege, await protege.opens_own())
    assert "Checkout answers" not in (await sponsor.opens(opened())).text
    assert "Checkout answers" not in (await sponsor.sees("/")).text


async def test_what_is_anothers_is_not_found_by_any_of_the_pages(portal: Portal) -> None:
    portal.reads_career(a_person("E3", "Bo Lind"), a_piece("B1", employee="E3"))
    browser = portal.browser()
    page = await browser.opens_own()
    assert (await browser.sees("/me/correct?achievement=B1")).status_code == 404
    for action in ("hide", "show", "correct"):
        sent = await browser.http.post(f"/me/{action}", data={"form": token_of(page), "achievement": "B1", **FORM})
        assert sent.status_code == 404
    assert portal.own_statements == []


# -- who was told what


async def test_each_sponsor_who_was_asked_is_named_with_what_they_could_see_and_since_when(portal: Portal) -> None:
    more = (*a_body().evidence, a_bit("A2", "Led the rota"), a_bit("N1", "Endorsed by Bo Lind", kind="endorsement"))
    portal.reads_prompt(updated(2, body=a_body(evidence=more), at=NOW + WEEK))
    portal.reads_prompt(opened(sponsor="E9", body=a_body(sponsor_name="Tomás Ferreira", evidence=())))
    browser = portal.browser()
    evidence = await browser.opens_own()
    assert "Shown to Priya Raman" in evidence.text
    page = await browser.sees("/me/told")
    at = [
        page.text.index(text)
        for text in (
            "Spring promotions 2026",
            "closes on 27 March 2026",
            "Priya Raman",
            "asked on 2 March 2026",
            "Checkout answers in half the time",
            "Led the rota",
            "from 9 March 2026 on",
            "Tomás Ferreira",
        )
    ]
    assert at == sorted(at)
    # an endorsement's words, and whose they are, are for those who decide
    assert "An endorsement that another sponsor has given you" in page.text
    assert ("Bo Lind" in page.text, "Great work" in page.text) == (False, False)
    assert portal.audit[-1].what == "own_told_viewed"


@pytest.mark.parametrize(
    "answer",
    [
        ("/endorse", {"statement": "She is the best"}),
        ("/decline", {"reason": "too early"}),
        ("/snooze", {"until": "week"}),
        ("/not-me", {}),
    ],
)
@pytest.mark.parametrize(
    "end", [None, withdrawn(2, reason="declined"), fulfilled(2), updated(2, snoozed_until=NOW + WEEK)]
)
async def test_nothing_on_a_proteges_pages_tells_what_their_sponsor_answered(
    portal: Portal, answer: tuple[str, dict[str, str]], end: Any
) -> None:
    browser = portal.browser()
    await browser.opens_own()

    async def pages() -> list[str]:
        found = [await browser.sees("/me"), await browser.sees("/me/told")]
        return [re.sub(r'name="form" value="[^"]+"', "", page.text) for page in found]

    before = await pages()
    sponsor = portal.browser()
    form, fields = answer
    await sponsor.sends(await sponsor.opens(opened()), form, **fields)
    if end is not None:
        portal.reads_prompt(end)
    assert await pages() == before


def test_of_a_piece_it_is_told_since_when_it_could_first_be_seen_and_in_its_last_words(portal: Portal) -> None:
    first, second = a_bit("A2", "Led the rota"), a_bit("A2", "Led the rota all summer")
    for version, evidence in enumerate(((), (first,), (), (second,)), start=2):
        portal.reads_prompt(updated(version, body=a_body(evidence=evidence), at=NOW + version * WEEK))
    (cycle,) = who_was_told(portal.store.tellings_about(MINA))
    (sponsor,) = cycle.sponsors
    assert [(piece.title, piece.since) for piece in sponsor.pieces] == [
        ("Checkout answers in half the time", NOW),
        ("Led the rota all summer", NOW + 3 * WEEK),
    ]


def a_bit(evidence_id: str, title: str, *, kind: Any = "achievement") -> Evidence:
    because = Reason(code="recent", text="It is recent.")
    return Evidence(
        kind=kind,
        evidence_id=evidence_id,
        title=title,
        outcome="Great work",
        occurred_on=date(2026, 2, 2),
        reasons=(because,),
    )


async def test_a_sponsor_sees_that_a_piece_is_in_its_owners_own_words(portal: Portal) -> None:
    own_words = (
        a_body()
        .evidence[0]
        .model_copy(update={"reasons": (Reason(code="self_reported", text="They say so themselves."),)})
    )
    body: PromptBody = a_body(evidence=(own_words,))
    portal.reads_prompt(updated(2, body=body))
    page = await portal.browser().opens(opened())
    assert "They say so themselves." in page.text
    assert "reported by <bdi>Mina Okafor</bdi>" in page.text


# -- what can go wrong


async def test_with_kafka_away_nothing_is_called_safe_and_nothing_written_is_lost(portal: Portal) -> None:
    browser = portal.browser()
    page = await browser.opens_own()
    form = await browser.sees("/me/add")
    portal.fails_with = Unacknowledged("away")
    after = await browser.sends(form, "/me/add", **FORM)
    assert (after.status_code, "Both have stayed" in after.text) == (503, True)
    assert (await hides(browser, page)).status_code == 503
    assert (await browser.sees("/me")).status_code == 503  # nothing is looked at that can't be noted
    portal.fails_with = None
    await browser.sends(after, "/me/add", **FORM)
    assert len(portal.own_statements) == 1


async def test_what_is_safe_and_not_read_back_yet_is_said_to_be_on_its_way(
    portal: Portal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handlers, "_VISIBLE_WITHIN_SECONDS", 0.05)
    portal.intake_is_away = True
    browser = portal.browser()
    await browser.opens_own()
    page = await adds(browser)
    assert "It is safe with us, and will show here in a moment." in page.text
    assert "Mentored two interns" not in page.text


async def test_a_form_of_another_session_or_site_is_not_taken(portal: Portal) -> None:
    theirs = token_of(await portal.browser().opens_own("E1"))
    browser = portal.browser()
    page = await browser.opens_own()
    for token in ("", "nonsense", theirs):
        for action in ("add", "correct", "hide"):
            sent = await browser.http.post(f"/me/{action}", data={"form": token, "achievement": "A1", **FORM})
            assert sent.status_code == 403
    browser.http.headers["sec-fetch-site"] = "cross-site"
    assert (await hides(browser, page)).status_code == 403
    assert portal.own_statements == []


async def test_who_asks_too_much_is_told_to_wait(tmp_path: Path) -> None:
    portal = Portal(tmp_path, link_openings_per_minute=2, requests_per_minute=4)
    portal.reads_career(a_person("E2", "Mina Okafor"))
    browser = portal.browser()
    assert [(await browser.sees("/e/guess")).status_code, (await browser.opens_own()).status_code] == [403, 200]
    assert (await browser.opens_own()).status_code == 429
    assert [(await browser.sees("/me")).status_code for _ in range(4)] == [200, 200, 200, 429]
    portal.store.close()


async def test_what_was_written_is_text_and_never_a_page(portal: Portal) -> None:
    nasty = '"><script>alert(1)</script>\u202e'
    portal.reads_career(
        a_piece(nasty, title=nasty, outcome=nasty, competencies=(nasty,), source=f"{nasty}#1", link="javascript:x")
    )
    portal.reads_prompt(updated(2, body=a_body(evidence=(a_bit(nasty, nasty),), sponsor_name=nasty)))
    browser = portal.browser()
    pages = [
        await browser.opens_own(),
        await browser.sees("/me/told"),
        await browser.http.get("/me/correct", params={"achievement": nasty}),
        await adds(browser, title=nasty, link=nasty),
    ]
    assert [page.status_code for page in pages] == [200, 200, 200, 422]
    for page in pages:
        assert not re.search(r"<script|href=\"javascript:|\sstyle=|\son\w+=", page.text)
        assert page.headers["content-security-policy"].startswith("default-src 'none'")
        assert page.headers["cache-control"] == "no-store"
    hidden = await hides(browser, pages[0], nasty)
    assert "No sponsor is shown it." in hidden.text


@pytest.mark.parametrize("path", ["/me", "/me/told", "/me/add", "/me/correct?achievement=A1", "/me?done=hidden"])
async def test_a_german_page_has_no_english_of_ours(portal: Portal, path: str) -> None:
    portal.reads_career(a_hiding("A2"), a_piece("A2", title="Pilot", outcome=""))
    browser = portal.browser(**{"accept-language": "de"})
    await browser.opens_own()
    page = await browser.sees(path)
    assert '<html lang="de">' in page.text
    for english in ("What", "Your", "Who", "Add", "Hidden", "shown", "sponsors ", "asked"):
        assert english not in page.text


@pytest.mark.parametrize(("done", "told"), [("added", True), ("nonsense", False)])
async def test_an_address_makes_the_page_say_nothing_but_what_we_say(portal: Portal, done: str, told: bool) -> None:
    browser = portal.browser()
    await browser.opens_own()
    assert ('role="status"' in (await browser.sees(f"/me?done={done}")).text) is told
