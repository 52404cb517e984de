"""The portal in a real browser and on a real Kafka: from an HRIS event to the endorsement, and what a kill leaves."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import uvicorn
from kafka import KafkaConsumer, KafkaProducer
from playwright.sync_api import Browser, ConsoleMessage, Page, expect
from starlette.types import ASGIApp

from deploy.broker import PROJECT, Broker, ExternalBroker
from deploy.processes import Supervisor
from deploy.receiver import receiver_app
from deploy.spawn import LOOPBACK, free_ports, wait_until
from deploy.stack import service
from services.portal import projection
from shared.company.records import FeedRecord, feed_record
from shared.contracts.audit import read_audited
from shared.contracts.base import utc
from shared.contracts.career import write_contract
from shared.contracts.cloudevents import read_feed_event
from shared.contracts.ids import EmployeeId
from shared.contracts.outputs import Evidence, PromptFulfilled, PromptOpened, Reason, read_prompt_event
from shared.portal_links import own_link, prompt_link
from shared.streaming.reading import read_to_the_end
from shared.streaming.records import Record
from shared.streaming.topics import PORTAL_AUDIT, PROMPTS, create_topics, feed_topic
from shared.transport.webhooks import WebhookKey
from tests.chromium import a_chromium, barriers
from tests.portal import KEY, Portal, a_person, a_piece, a_tie
from tests.prompt_events import NOW, a_body, opened, withdrawn

pytestmark = pytest.mark.timeout(120)

WITHIN: Final = 30.0
SECRET = "whsec_" + "c3BvbnNv" * 5  # not a secret: for tests
Kafka = Broker | ExternalBroker


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with a_chromium() as browser:
        yield browser


@contextmanager
def serving(app: ASGIApp, port: int) -> Iterator[None]:
    server = uvicorn.Server(uvicorn.Config(app, host=LOOPBACK, port=port, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        assert wait_until(lambda: server.started, within=10)
        yield
    finally:
        server.should_exit = True
        thread.join()


# -- pages, in a browser


class Served:
    """A portal with a sponsor's autumn in it, at an address."""

    def __init__(self, folder: Path, port: int) -> None:
        self.url = f"http://{LOOPBACK}:{port}/"
        self.portal = Portal(folder, url=self.url, requests_per_minute=10_000)
        self.prompts = [
            opened(employee="E2", body=a_body(evidence=_EVIDENCE)),
            opened(employee="E3", body=_about("E3", "田中 美咲")),
            opened(employee="E4", body=_about("E4", "نور الهدى")),
            opened(employee="E5", body=_about("E5", "Maximiliane-Franziska Wolkenstein-Trostburg-Hohenlohe")),
        ]
        for prompt in self.prompts:
            self.portal.reads_prompt(prompt)
        self.portal.reads_career(a_person("E1", "Priya Raman"), a_person("E7", "Tomás Ferreira"), a_tie("E7"))
        self.portal.knows("hris:E1", "E1")
        self.portal.reads_career(
            a_person("E2", "Mina Okafor"), a_piece(), a_piece("A2", title=_EVIDENCE[-1].title, outcome="田" * 400)
        )

    def link(self, number: int = 0) -> str:
        return prompt_link(self.url, KEY, self.prompts[number])

    @property
    def own_link(self) -> str:
        return own_link(self.url, KEY, EmployeeId("E2"), NOW + timedelta(days=7))


def _about(employee: str, name: str) -> Any:
    protege = a_body().protege.model_copy(update={"employee_id": EmployeeId(employee), "name": name})
    return a_body(protege=protege, evidence=())


_EVIDENCE = (
    *a_body().evidence,
    Evidence(
        kind="achievement",
        evidence_id="A2",
        title="Led_the_payments_on_call_rota_through_the_summer_without_a_single_space_in_its_title",
        outcome="Pages at night went from 31 a month to 4",
        occurred_on=date(2026, 2, 2),
        reasons=(Reason(code="not_yet_seen", text="You are not among those named as having seen it."),),
    ),
)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    (port,) = free_ports(1)
    made = Served(tmp_path, port)
    with serving(made.portal.http, port):
        yield made


def watched(page: Page) -> list[str]:
    """Return a list that gets what the browser complains of: blocked content, scripts that fail, what isn't there."""
    complaints: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and "status of 4" not in message.text:
            complaints.append(message.text)

    page.on("console", note)
    return complaints


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 360)])
def test_no_page_puts_a_barrier_before_anybody(chromium: Browser, served: Served, scheme: Any, width: int) -> None:
    language = "de" if scheme == "dark" else "en"
    context = chromium.new_context(color_scheme=scheme, viewport={"width": width, "height": 800}, locale=language)
    page = context.new_page()
    complaints = watched(page)
    found: dict[str, list[str]] = {}

    def look(name: str) -> None:
        found[name] = barriers(page)

    for number in range(len(served.prompts)):
        page.goto(served.link(number))
        look(f"prompt {number}")
    page.goto(served.url)
    look("protégés")
    page.goto(f"{served.url}preferences")
    look("preferences")
    page.locator("input[name=quiet_from]").fill("18:00")
    page.locator("form.sheet button").click()
    look("preferences with a mistake")
    page.goto(served.link(1))
    page.locator("form[action$=snooze] button").click()
    look("snoozed")
    page.locator("form.endorse button").click()
    look("endorsed")
    page.goto(served.link(2))
    page.locator("form[action$=decline] button").first.click()
    look("declined")
    page.goto(served.link(3))
    page.locator("form[action$=not-me] button").click()
    look("not me")
    page.goto(served.url)
    look("protégés, answered")
    page.goto(f"{served.url}p/nonsense")
    look("a bad link")
    page.goto(served.own_link)
    look("own evidence")
    page.goto(f"{served.url}me/told")
    look("who was told what")
    page.goto(f"{served.url}me/add")
    look("a new achievement")
    page.locator("#title").fill("Trained the night shift")
    page.locator("#occurred_on").fill("2026-02-20")
    page.locator("#link").fill("ftp://example.com")
    page.locator("form.sheet button").click()
    look("a new achievement with a mistake")
    page.locator("#link").fill("")
    page.locator("form.sheet button").click()
    page.locator("form[action$=hide] button").first.click()
    look("own evidence, one hidden")
    page.locator("a[href^='/me/correct']").first.click()
    look("a correction")
    assert {name: said for name, said in found.items() if said} == {}
    assert len(found) == 19
    assert complaints == []
    context.close()


def test_a_keyboard_is_enough_and_scripts_are_not_needed(chromium: Browser, served: Served) -> None:
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(served.link())
    page.keyboard.press("Tab")
    expect(page.locator(":focus")).to_have_text("Skip to the content")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.locator(":focus")).to_have_text("Answer")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.locator(":focus")).to_have_attribute("name", "statement")
    page.keyboard.press("Control+End")
    page.keyboard.type(" Ask me anything.")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("You have spoken for Mina Okafor. Thank you.")
    (answer,) = served.portal.answers
    assert answer.data["statement"].startswith("I would like to speak for Mina Okafor")
    assert answer.data["statement"].endswith("Ask me anything.")
    context.close()


def test_back_button_old_tab_double_click_undo_and_an_end_meanwhile_go_well(chromium: Browser, served: Served) -> None:
    context = chromium.new_context(java_script_enabled=False)
    page, old_tab = context.new_page(), context.new_page()
    for tab in (old_tab, page):
        tab.goto(served.link())
    page.locator("form.endorse button").click()
    expect(page.locator("h1")).to_contain_text("You have spoken")
    page.go_back()  # the page is not kept by the browser, so it is asked for anew
    expect(page.locator("h1")).to_contain_text("You have spoken")
    old_tab.locator("form[action$=decline] button").first.click()
    expect(old_tab.locator("h1")).to_contain_text("You have spoken")
    old_tab.reload()
    expect(old_tab.locator("h1")).to_contain_text("You have spoken")
    assert [answer.type for answer in served.portal.answers] == ["endorsement.given"]

    page.goto(served.link(1))
    page.locator("form[action$=decline] button").first.dblclick()
    expect(page.locator("h1")).to_have_text("You will not speak for 田中 美咲 this time")
    page.locator("form[action$=take-back] button").dblclick()  # no clock has gone on, and nobody has heard of the "no"
    expect(page.locator("h1")).to_have_text("Will you speak for 田中 美咲?")
    kinds = [answer.type for answer in served.portal.answers[1:]]
    assert kinds == ["prompt.declined", "prompt.decline_withdrawn"]

    page.goto(served.link(2))
    old_tab.goto(served.link(2))
    served.portal.reads_prompt(withdrawn(2, employee="E4"))
    old_tab.locator("form.endorse button").click()
    expect(old_tab.locator("h1")).to_have_text("This is not asked any more")
    expect(old_tab.get_by_role("status")).to_have_text("The decision is closed. There is nothing to do.")
    page.locator("form[action$=not-me] button").click()
    expect(page.locator("h1")).to_have_text("This is not asked any more")
    assert len(served.portal.answers) == 3
    assert served.portal.choices == []
    context.close()


# -- the whole loop


SPONSOR, PROTEGE, CYCLE = "E-4711", "E-4712", "autumn-2026"
OPENS = utc(2026, 9, 7, 8)


def the_companys_events() -> list[FeedRecord]:
    """What the HRIS and the recognition tool say: two people, a tie, an achievement, a cycle, and the time."""
    people = [
        ("unit.defined", "payments", {"unit_id": "payments", "name": "Payments"}),
        *(
            (
                "employee.hired",
                who,
                {
                    "employee_id": who,
                    "name": name,
                    "email": f"{who.lower()}@example.com",
                    "level": level,
                    "level_since": "2023-01-01",
                    "unit_id": "payments",
                    "timezone": "Europe/Berlin",
                },
            )
            for who, name, level in ((SPONSOR, "Priya Raman", 8), (PROTEGE, "Mina Okafor", 4))
        ),
        (
            "relationship.started",
            PROTEGE,
            {"relationship_id": "R1", "kind": "sponsor", "employee": PROTEGE, "other": SPONSOR},
        ),
    ]
    done = {
        "achievement_id": "A1",
        "employee": PROTEGE,
        "title": "Checkout answers in half the time",
        "outcome": "From 900 ms to 430 ms at the busiest hour",
        "impact": 3,
        "occurred_on": "2026-07-14",
        "competencies": ["delivery"],
        "link": "https://example.com/checkout",
        "witnesses": [SPONSOR],
    }
    cycle = {
        "cycle_id": CYCLE,
        "kind": "promotion",
        "title": "Autumn promotions 2026",
        "unit_ids": ["payments"],
        "levels": [4],
        "competencies": ["delivery"],
        "evidence_from": "2025-09-01",
        "evidence_to": "2026-09-30",
        "opens_at": OPENS.isoformat(),
        "closes_at": (OPENS + timedelta(days=25)).isoformat(),
    }
    told: list[tuple[Any, str, str, dict[str, Any]]] = [
        *(("people", kind, subject, data) for kind, subject, data in people),
        ("achievements", "achievement.recorded", PROTEGE, done),
        ("cycles", "cycle.opened", CYCLE, cycle),
        ("cycles", "clock.ticked", "clock", {"now": (OPENS + timedelta(hours=1)).isoformat()}),
    ]
    return [
        feed_record(
            feed,
            event_id=f"{number}",
            source="hris",
            event_type=kind,
            subject=subject,
            time=OPENS - timedelta(days=700 - number),
            data=data,
        )
        for number, (feed, kind, subject, data) in enumerate(told)
    ]


@pytest.mark.kafka
def test_from_an_hris_event_to_the_endorsement_that_fulfils_the_prompt_and_back(
    chromium: Browser, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    names = ("people", "achievements", "cycles", "endorsements", "correlator", "prompter", "portal")
    port, controller_port, receiver_port, *ports = free_ports(3 + len(names))
    portal_url = f"http://{LOOPBACK}:{ports[-1]}/"
    with contextlib.ExitStack() as running:
        kafka = running.enter_context(
            Broker(tmp_path / "kafka", port=port, controller_port=controller_port, die_with_parent=True)
        )
        create_topics(kafka.bootstrap_servers)
        running.enter_context(serving(receiver_app(WebhookKey(SECRET)), receiver_port))
        running.enter_context(
            Supervisor(
                [service(name) for name in names],
                env={"KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers, "DATA_DIR": str(tmp_path / "faust")},
                ports=dict(zip(names, ports, strict=True)),
                service_env={
                    "cycles": {"CYCLES_CLOCK": "feed"},
                    "prompter": {
                        "PROMPTER_WEBHOOK_URL": f"http://{LOOPBACK}:{receiver_port}/",
                        "PROMPTER_WEBHOOK_SECRET": SECRET,
                        "PROMPTER_POLICY_FILE": str(PROJECT / "deploy" / "policy-at-once.yaml"),
                        "PROMPTER_PORTAL_URL": portal_url,
                        "PROMPTER_PORTAL_KEY": KEY,
                    },
                    "portal": {
                        "PORTAL_URL": portal_url,
                        "PORTAL_KEYS": KEY,
                        "PORTAL_CLOCK": "log",
                        "PORTAL_DATABASE": str(tmp_path / "portal.db"),
                    },
                },
                log_dir=tmp_path / "logs",
            )
        )
        producer = KafkaProducer(bootstrap_servers=kafka.bootstrap_servers, acks="all")
        running.callback(producer.close)
        for record in the_companys_events():
            producer.send(feed_topic(record.feed), key=record.key.encode(), value=record.value)
            producer.flush()
        prompts = Following(kafka, PROMPTS)
        running.callback(prompts.close)
        assert wait_until(lambda: prompts.has(PromptOpened), within=WITHIN)
        inbox = f"http://{LOOPBACK}:{receiver_port}/"
        assert wait_until(lambda: httpx.get(f"{inbox}received", trust_env=False).json()["accepted"] > 0, within=WITHIN)

        page = chromium.new_context(timezone_id="Europe/Berlin").new_page()
        complaints = watched(page)
        page.goto(inbox)
        page.get_by_role("link", name="Answer for Mina Okafor").click()  # the first click
        expect(page.locator("h1")).to_have_text("Will you speak for Mina Okafor?")
        expect(page.get_by_text("You saw it yourself.")).to_be_visible()
        what_a_protege_adds_and_hides(chromium, page, portal_url)
        page.get_by_label("Your endorsement of Mina Okafor").fill("She halved our checkout times. Promote her.")
        clicked_at = time.time()
        page.get_by_role("button", name="Endorse").click()  # the second
        expect(page.locator("h1")).to_have_text("You have spoken for Mina Okafor. Thank you.")
        assert wait_until(lambda: prompts.has(PromptFulfilled), within=WITHIN)
        took = prompts.written_at(PromptFulfilled) - clicked_at
        record_property("figures", f"portal: from the click to the prompt fulfilled in Kafka: {took * 1000:.0f} ms")

        # the page knows it from the log, and so does the page of all protégés
        taken_down = page.get_by_text("Your endorsement has been taken down.")
        assert wait_until(lambda: bool(page.reload()) and taken_down.is_visible(), within=WITHIN)
        page.get_by_role("link", name="My protégés").first.click()
        expect(page.get_by_text("No answer is due.")).to_be_visible()

        # taken back, it is asked again, and answered again
        page.get_by_role("button", name="Take the endorsement back").click()
        expect(page.locator("h1")).to_have_text("Will you speak for Mina Okafor?")
        page.get_by_label("Your endorsement of Mina Okafor").fill("She halved our checkout times.")
        page.get_by_role("button", name="Endorse").click()
        assert wait_until(lambda: prompts.has(PromptFulfilled, times=2), within=WITHIN)
        assert complaints == []
        answers = [read_feed_event(r.key, r.value, r.headers, NOW) for r in everything(kafka, projection.ANSWERS)]
        assert [answer.type for answer in answers] == [
            "endorsement.given",
            "endorsement.withdrawn",
            "endorsement.given",
        ]
        assert answers[0].data["statement"] == "She halved our checkout times. Promote her."
        notes = [read_audited(record.value) for record in everything(kafka, PORTAL_AUDIT)]
        noted = [note.what for note in notes if note.person_id == SPONSOR]
        assert noted[:2] == ["link_opened", "prompt_viewed"]
        assert noted[-4:] == ["taken_back", "prompt_viewed", "endorsed", "prompt_viewed"]
        assert [note.what for note in notes if note.person_id == PROTEGE and note.what != "own_evidence_viewed"] == [
            "own_link_opened",
            "own_form_viewed",
            "achievement_added",
            "achievement_hidden",
        ]


def what_a_protege_adds_and_hides(chromium: Browser, sponsors: Page, portal_url: str) -> None:
    """Add an achievement in the protégé's browser, and hide it; each shows in the prompt that the sponsor has open."""
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(own_link(portal_url, KEY, EmployeeId(PROTEGE), datetime.now(UTC) + timedelta(days=1)))
    expect(page.get_by_text("Checkout answers in half the time")).to_be_visible()
    expect(page.get_by_role("link", name="Shown to Priya Raman")).to_be_visible()
    page.get_by_role("link", name="Add an achievement").click()
    page.get_by_label("What did you do?").fill("Trained the night shift")
    page.get_by_label("When?").fill("2026-08-20")
    page.get_by_label("What does it show?").fill("Delivery")
    page.get_by_role("button", name="Add").click()
    piece = page.locator(".record > li", has_text="Trained the night shift")
    shown = sponsors.locator(".evidence > li", has_text="Trained the night shift")
    assert wait_until(lambda: bool(sponsors.reload()) and shown.count() == 1, within=WITHIN)
    expect(shown).to_contain_text("They say so themselves.")
    assert wait_until(lambda: bool(page.reload()) and piece.count() == 1, within=WITHIN)
    piece.get_by_role("button", name="Hide").click()
    assert wait_until(lambda: bool(sponsors.reload()) and shown.count() == 0, within=WITHIN)
    expect(sponsors.locator(".evidence > li")).to_have_count(1)
    context.close()


class Following:
    """What is on `prompts`, as it comes."""

    def __init__(self, kafka: Kafka, topic: str) -> None:
        self._consumer = KafkaConsumer(
            topic, bootstrap_servers=kafka.bootstrap_servers, auto_offset_reset="earliest", enable_auto_commit=False
        )
        self._seen: list[tuple[float, Any]] = []

    def has(self, kind: type, *, times: int = 1) -> bool:
        for records in self._consumer.poll(timeout_ms=100).values():
            self._seen += [(record.timestamp / 1000, read_prompt_event(record.value)) for record in records]
        return sum(isinstance(event, kind) for _, event in self._seen) >= times

    def written_at(self, kind: type) -> float:
        """Return when the first of this kind was written, in seconds of the epoch."""
        return min(at for at, event in self._seen if isinstance(event, kind))

    def close(self) -> None:
        self._consumer.close()


def everything(kafka: Kafka, topic: str) -> list[Record]:
    return sorted(read_to_the_end(kafka.bootstrap_servers, topic), key=lambda record: (record.time, record.offset))


# -- kills


def a_portal(kafka: Kafka, folder: Path, port: int) -> Supervisor:
    create_topics(kafka.bootstrap_servers)
    return Supervisor(
        [service("portal")],
        env={
            "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
            "PORTAL_URL": f"http://{LOOPBACK}:{port}/",
            "PORTAL_KEYS": KEY,
            "PORTAL_CLOCK": "log",  # of these prompts' own spring; tests beside this one move it on
            "PORTAL_DATABASE": str(folder / "portal.db"),
            "LOG_FORMAT": "json",
        },
        ports={"portal": port},
        log_dir=folder / "logs",
    )


@pytest.mark.kafka
@pytest.mark.fault
def test_a_killed_portal_goes_on_where_it_was_and_a_lost_file_is_filled_anew(kafka: Kafka, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    ends_late = a_body().opportunity.model_copy(update={"closes_at": utc(2100, 1, 1)})
    prompts = [
        opened(sponsor=f"S-{port}", employee=f"E-{port}-{number}", body=a_body(opportunity=ends_late))
        for number in range(300)
    ]
    producer = KafkaProducer(bootstrap_servers=kafka.bootstrap_servers, acks="all", linger_ms=5)
    with a_portal(kafka, tmp_path, port) as stack, httpx.Client(trust_env=False, follow_redirects=True) as browser:

        def shown() -> int:
            page = browser.get(f"http://{LOOPBACK}:{port}/")
            return page.text.count('<li class="card">')

        for number, prompt in enumerate(prompts):
            producer.send(PROMPTS, key=prompt.sponsor_id.encode(), value=write_contract(prompt))
            if number in (100, 200):
                producer.send(PROMPTS, key=prompt.sponsor_id.encode(), value=b"no prompt")
                producer.flush()
                stack.kill("portal")
                stack.restart("portal")
        producer.flush()
        producer.close()
        link = prompt_link(f"http://{LOOPBACK}:{port}/", KEY, prompts[0])
        assert wait_until(lambda: browser.get(link).status_code == 200, within=WITHIN)
        assert wait_until(lambda: shown() == 300, within=WITHIN)

        stack.kill("portal")
        for file in tmp_path.glob("portal.db*"):
            file.unlink()
        stack.restart("portal")  # ready again is who has read all that there is
        assert shown() == 300
        metrics = httpx.get(stack.url("portal", "/metrics"), trust_env=False).text
        assert 'portal_unreadable_records_total{topic="prompts"}' in metrics
        assert stack.terminate("portal") == 0
