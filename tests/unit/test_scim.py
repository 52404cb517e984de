"""The SCIM provider without Kafka: what identity systems send, what they are answered, and what is told of it."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Awaitable, Callable
from datetime import timedelta
from random import Random
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from services.scim.openapi import document
from services.scim.protocol import LONGEST_FILTER
from services.scim.schema import ENTERPRISE
from services.scim.settings import ScimSettings
from shared.streaming.sink import NoRoom, RecordTooLarge, Unacknowledged
from shared.streaming.topics import SCIM_RESOURCES, SOURCES_RECEIVED
from tests.scim import CLAIM, CORE, GROUP, TOKEN, Provider, a_group, a_user, patch
from tests.source_payloads import FOLDER

ERROR = "urn:ietf:params:scim:api:messages:2.0:Error"
SEARCH = "urn:ietf:params:scim:api:messages:2.0:SearchRequest"


@pytest.fixture
def provider() -> Provider:
    return Provider()


# -- the life of a user


async def test_a_user_is_told_as_an_employee_with_what_a_decision_needs(provider: Provider) -> None:
    fields = {"timezone": "Europe/Berlin", "preferredLanguage": "de-DE", "phoneNumbers": [{"value": "+49 30 1"}]}
    await provider.created(a_user(title="Engineer", **fields))
    (event,) = provider.kafka.events()
    assert (event.feed, event.type, event.subject) == ("people", "employee.hired", "hris:E1")
    assert event.data == {
        "employee_id": "E1",
        "name": "Ann Lee",
        "email": "ann@example.com",
        "external_ids": {"username": "ann@example.com", "directory": "ann"},
        "unit_id": "Payments",
        "manager_id": "",
        "timezone": "Europe/Berlin",
        "locale": "de-DE",
    }
    assert all(b"+49" not in (record.value or b"") for record in provider.kafka.records)


async def test_a_user_is_answered_as_created_and_found_again(provider: Provider) -> None:
    answer = await provider.ask("POST", "/Users", a_user())
    created = answer.json()
    assert answer.status_code == 201
    assert answer.headers["location"] == created["meta"]["location"]
    assert created["meta"]["location"] == f"https://scim.example.com/scim/v2/Users/{created['id']}"
    assert answer.headers["content-type"] == "application/scim+json"
    assert answer.headers["etag"] == created["meta"]["version"]
    again = await provider.ask("GET", f"/Users/{created['id']}")
    assert again.json() == created


async def test_who_is_deactivated_leaves_and_comes_back(provider: Provider) -> None:
    user = await provider.created(a_user())
    for active in ("False", "True"):
        answer = await provider.patched(user, {"op": "Replace", "path": "active", "value": active})
        assert answer.status_code == 204
    assert [event.type for event in provider.kafka.events()] == ["employee.hired", "employee.left", "employee.hired"]
    assert (await provider.ask("GET", f"/Users/{user}")).json()["active"] is True


async def test_who_is_removed_leaves_once(provider: Provider) -> None:
    user = await provider.created(a_user())
    await provider.patched(user, {"op": "replace", "value": {"active": False}})
    assert (await provider.ask("DELETE", f"/Users/{user}")).status_code == 204
    assert (await provider.ask("GET", f"/Users/{user}")).status_code == 404
    assert (await provider.ask("DELETE", f"/Users/{user}")).status_code == 404
    assert [event.type for event in provider.kafka.events()] == ["employee.hired", "employee.left"]


async def test_a_user_without_a_number_is_nobody_until_they_have_one(provider: Provider) -> None:
    user = await provider.created(a_user(number=None))
    (told,) = provider.kafka.told()
    assert told.ignored == ("has no employeeNumber, so it is no employee, or not yet",)
    await provider.patched(user, {"op": "Add", "path": f"{ENTERPRISE}:employeeNumber", "value": "E1"})
    await provider.patched(user, {"op": "Replace", "path": f"{ENTERPRISE}:employeeNumber", "value": "E2"})
    said = [(event.type, event.subject) for event in provider.kafka.events()]
    assert said == [
        ("employee.hired", "hris:E1"),
        ("employee.hired", "hris:E2"),
        ("employee.left", "hris:E1"),
    ]


async def test_what_changes_nothing_is_told_nobody_and_keeps_its_version(provider: Provider) -> None:
    user = await provider.created(a_user())
    before = (await provider.ask("GET", f"/Users/{user}")).headers["etag"]
    told = len(provider.kafka.records)
    answer = await provider.patched(user, {"op": "Replace", "path": "displayName", "value": "Ann Lee"})
    put = await provider.ask("PUT", f"/Users/{user}", a_user())
    unknown = await provider.patched(user, {"op": "Add", "path": 'phoneNumbers[type eq "work"].value', "value": "1"})
    assert (answer.status_code, put.status_code, unknown.status_code) == (204, 200, 204)
    assert answer.headers["etag"] == put.headers["etag"] == before
    assert len(provider.kafka.records) == told


async def test_a_password_is_neither_kept_nor_told(provider: Provider) -> None:
    user = await provider.created(a_user(password="correct horse"))
    await provider.patched(user, {"op": "replace", "path": "password", "value": "battery staple"})
    kept = b"".join(record.value or b"" for record in provider.kafka.records)
    assert b"horse" not in kept
    assert b"staple" not in kept


# -- Entra ID's and Okta's manners


@pytest.mark.parametrize(
    ("operation", "field", "becomes"),
    [
        ({"op": "Replace", "path": "displayName", "value": "Ann Ray"}, "name", "Ann Ray"),
        ({"op": "Add", "path": "title", "value": "Lead"}, "unit_id", "Payments"),
        (
            {"op": "Replace", "path": 'emails[type eq "work"].value', "value": "ann@new.example.com"},
            "email",
            "ann@new.example.com",
        ),
        ({"op": "Add", "path": 'addresses[type eq "work"].locality', "value": "Berlin"}, "location", "Berlin"),
        ({"op": "Add", "path": f"{ENTERPRISE}:department", "value": "Cards"}, "unit_id", "Cards"),
        ({"op": "replace", "value": {"displayName": "Ann Ray"}}, "name", "Ann Ray"),
        ({"op": "replace", "value": {f"{ENTERPRISE}:department": "Cards"}}, "unit_id", "Cards"),
        ({"op": "replace", "value": {ENTERPRISE: {"department": "Cards"}}}, "unit_id", "Cards"),
        (
            {"op": "replace", "value": {"externalId": "a2"}},
            "external_ids",
            {"username": "ann@example.com", "directory": "a2"},
        ),
    ],
)
async def test_a_patch_as_entra_id_or_okta_sends_it(
    provider: Provider, operation: dict[str, Any], field: str, becomes: Any
) -> None:
    user = await provider.created(a_user())
    answer = await provider.patched(user, operation)
    assert answer.status_code == 204, answer.text
    last = provider.kafka.events()[-1]
    assert last.type == "employee.changed"
    assert last.data[field] == becomes


@pytest.mark.parametrize("value", ["False", "false", False])
async def test_active_may_be_a_text(provider: Provider, value: Any) -> None:
    user = await provider.created(a_user(active="True"))
    await provider.patched(user, {"op": "Replace", "path": "active", "value": value})
    assert (await provider.ask("GET", f"/Users/{user}")).json()["active"] is False


@pytest.mark.parametrize("form", ["bare", "object", "list", "sub-attribute"])
async def test_a_manager_may_be_sent_in_any_of_the_ways_that_are_met(provider: Provider, form: str) -> None:
    boss = await provider.created(a_user("E9", "bo"))
    user = await provider.created(a_user())
    sent: dict[str, Any] = {
        "bare": boss,
        "object": {"value": boss},
        "list": [{"$ref": f"../Users/{boss}", "value": boss}],
    }
    path = f"{ENTERPRISE}:manager" + (".value" if form == "sub-attribute" else "")
    answer = await provider.patched(user, {"op": "Add", "path": path, "value": sent.get(form, boss)})
    assert answer.status_code == 204, answer.text
    assert provider.kafka.events()[-1].data["manager_id"] == "E9"
    await provider.patched(user, {"op": "Remove", "path": f"{ENTERPRISE}:manager"})
    assert provider.kafka.events()[-1].data["manager_id"] == ""


async def test_the_manager_is_told_when_they_come_to_be_known(provider: Provider) -> None:
    """Okta names a manager by what its directory has; they may be provisioned after those who report to them."""
    await provider.created(a_user(manager={"value": "bo@example.com"}))
    assert "manager_id" not in provider.kafka.events()[-1].data
    boss = await provider.created(a_user(None, "bo"))
    assert "manager_id" not in provider.kafka.events()[-1].data
    await provider.patched(boss, {"op": "Add", "path": f"{ENTERPRISE}:employeeNumber", "value": "E9"})
    boss_said, report_said = provider.kafka.events()[-2:]
    assert (boss_said.subject, report_said.subject) == ("hris:E9", "hris:E1")
    assert (report_said.type, report_said.data["manager_id"]) == ("employee.changed", "E9")
    told = len(provider.kafka.events())
    await provider.patched(boss, {"op": "Replace", "path": "title", "value": "Head"})
    assert len(provider.kafka.events()) == told + 1


async def test_who_names_themselves_as_their_manager_has_none(provider: Provider) -> None:
    user = await provider.created(a_user())
    await provider.patched(user, {"op": "Add", "path": f"{ENTERPRISE}:manager", "value": user})
    assert provider.kafka.events()[-1].data["manager_id"] == ""


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ('userName eq "ANN@example.com"', 1),  # userName is compared without its case
        ('externalId eq "ann"', 1),
        ('externalId eq "Ann"', 0),
        ('emails[type eq "work"].value eq "bo@example.com"', 1),
        ('emails[type eq "work" and value co "example"]', 3),
        (f'{ENTERPRISE}:employeeNumber eq "E2"', 1),
        ('userName sw "a" or userName sw "b"', 2),
        ("not (active eq true)", 1),
        ('id eq "nobody"', 0),
        ('meta.lastModified gt "2011-05-13T04:42:34Z"', 3),
    ],
)
async def test_users_are_found_by_a_filter(provider: Provider, asked: str, found: int) -> None:
    for number, name in (("E1", "ann"), ("E2", "bo"), ("E3", "cy")):
        await provider.created(a_user(number, name, active=name != "cy"))
    answer = await provider.ask("GET", "/Users", params={"filter": asked})
    assert (answer.status_code, answer.json()["totalResults"]) == (200, found)
    by_body = await provider.ask("POST", "/Users/.search", {"schemas": [SEARCH], "filter": asked})
    assert by_body.json() == answer.json()


async def test_pages_hold_everybody_once(provider: Provider) -> None:
    names = [f"p{number}" for number in range(7)]
    for name in names:
        await provider.created(a_user(name, name))
    seen = []
    for start in (1, 4, 7):
        page = (await provider.ask("GET", "/Users", params={"startIndex": start, "count": 3})).json()
        assert (page["totalResults"], page["startIndex"]) == (7, start)
        seen += [one["externalId"] for one in page["Resources"]]
    assert sorted(seen) == names
    last_first = {"sortBy": "userName", "sortOrder": "descending", "attributes": "userName"}
    page = (await provider.ask("GET", "/Users", params=last_first)).json()
    assert [one["userName"] for one in page["Resources"]] == [f"{name}@example.com" for name in reversed(names)]
    assert set(page["Resources"][0]) == {"schemas", "id", "userName"}


async def test_a_group_is_kept_with_its_members_and_nothing_is_made_of_it(provider: Provider) -> None:
    user = await provider.created(a_user())
    group = await provider.created(a_group())
    added = await provider.ask(
        "PATCH", f"/Groups/{group}", patch({"op": "Add", "path": "members", "value": [{"value": user}]})
    )
    assert added.status_code == 204
    assert (await provider.ask("GET", f"/Groups/{group}")).json()["members"] == [{"value": user}]
    removed = await provider.ask(
        "PATCH", f"/Groups/{group}", patch({"op": "Remove", "path": f'members[value eq "{user}"]'})
    )
    assert removed.status_code == 204
    without = await provider.ask("GET", f"/Groups/{group}", params={"excludedAttributes": "members"})
    assert without.json()["displayName"] == "Engineers"
    why = "is a group, which says what somebody may do; the unit is the department"
    assert [told.ignored for told in provider.kafka.told()[1:]] == [(why,)] * 3


# -- what is refused, and how


async def test_errors_are_scims(provider: Provider) -> None:
    user = await provider.created(a_user())
    bo = await provider.created(a_user("E2", "bo"))
    for answer, status, scim_type in (
        (await provider.ask("POST", "/Users", a_user("E5")), 409, "uniqueness"),
        (await provider.ask("POST", "/Users", a_user("e1", "cy")), 409, "uniqueness"),
        (await provider.ask("PUT", f"/Users/{bo}", a_user("E2")), 409, "uniqueness"),
        (await provider.ask("POST", "/Users", b"{"), 400, "invalidSyntax"),
        (await provider.ask("POST", "/Users", b"[" * 9000), 400, "invalidSyntax"),
        (await provider.ask("POST", "/Users", [a_user()]), 400, "invalidSyntax"),
        (await provider.ask("POST", "/Users", {"schemas": [CORE]}), 400, "invalidValue"),
        (await provider.ask("POST", "/Users", a_user("E3", "cy", timezone="Mars/Base")), 400, "invalidValue"),
        (await provider.ask("POST", "/Users", a_user("E3", "cy", emails=[{"value": "cy"}])), 400, "invalidValue"),
        (await provider.ask("POST", "/Users", a_user("E3", "cy", displayName="x" * 201)), 400, "invalidValue"),
        (await provider.ask("POST", "/Users", b"<user/>", headers={"Content-Type": "text/xml"}), 415, None),
        (await provider.patched(user, {"op": "replace", "path": "active", "value": "perhaps"}), 400, "invalidValue"),
        (await provider.patched(user, {"op": "replace", "path": "emails[type eq", "value": "x"}), 400, "invalidPath"),
        (await provider.patched(user, {"op": "remove"}), 400, "noTarget"),
        (await provider.patched(user, {"op": "replace", "path": "id", "value": "x"}), 400, "mutability"),
        (await provider.patched(user, {"op": "raise", "path": "title", "value": "x"}), 400, "invalidValue"),
        (await provider.patched("nobody", {"op": "replace", "path": "title", "value": "x"}), 404, None),
        (await provider.ask("GET", "/Users", params={"filter": "userName eq"}), 400, "invalidFilter"),
        (await provider.ask("GET", "/Users", params={"filter": 'shoe eq "x"'}), 400, "invalidFilter"),
        (await provider.ask("GET", "/Users", params={"filter": "(" * LONGEST_FILTER + "x"}), 400, "invalidFilter"),
        (await provider.ask("GET", "/Users", params={"count": "many"}), 400, "invalidValue"),
        (await provider.ask("GET", "/Shoes"), 404, None),
        (await provider.ask("GET", "/Users/a/b"), 404, None),
        (await provider.ask("GET", "/Users/a%0Ab%00%E2%80%A8"), 404, None),
        (await provider.ask("PUT", "/Users", a_user()), 405, None),
        (await provider.ask("GET", "/Schemas", params={"filter": 'id eq "x"'}), 403, None),
        (await provider.ask("POST", "/Bulk", {}), 501, None),
        (await provider.ask("GET", "/Me"), 501, None),
    ):
        said = answer.json()
        assert (answer.status_code, said.get("scimType")) == (status, scim_type), answer.text
        assert (said["schemas"], said["status"]) == ([ERROR], str(status))
        assert said["detail"]
        assert answer.headers["content-type"] == "application/scim+json"
    assert len(provider.kafka.events()) == 2


async def test_an_employee_has_one_active_user_and_who_is_gone_does_not_count(provider: Provider) -> None:
    old = await provider.created(a_user())
    await provider.patched(old, {"op": "Replace", "path": "active", "value": "False"})
    await provider.created(a_user(name="ann2"))
    back = await provider.patched(old, {"op": "Replace", "path": "active", "value": "True"})
    assert (back.status_code, back.json()["scimType"]) == (409, "uniqueness")
    assert [event.type for event in provider.kafka.events()] == ["employee.hired", "employee.left", "employee.hired"]


@pytest.mark.parametrize("token", [None, "", "x" * 16, TOKEN + "0", f" {TOKEN} {TOKEN}"])
async def test_without_a_known_token_nobody_is_let_in(provider: Provider, token: str | None) -> None:
    for method, path in (("GET", "/Users"), ("POST", "/Users"), ("GET", "/Schemas"), ("GET", "/nothing")):
        answer = await provider.ask(method, path, a_user() if method == "POST" else None, token=token)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Bearer")
    assert (await provider.ask("GET", "/ServiceProviderConfig", token=token)).status_code == 200
    assert provider.kafka.records == []


async def test_while_there_is_no_token_nobody_is_let_in_and_two_hold_at_once() -> None:
    closed = Provider(tokens="")
    assert (await closed.ask("GET", "/Users", token="")).status_code == 401
    both = Provider(tokens=f"entra={TOKEN},entra={TOKEN[::-1]}")
    for token in (TOKEN, TOKEN[::-1]):
        assert (await both.ask("GET", "/Users", token=token)).status_code == 200


async def test_what_is_too_large_is_refused_before_it_is_read_whole() -> None:
    provider = Provider(max_body_bytes=4096)
    announced = await provider.ask("POST", "/Users", b"{" + b" " * 5000)

    async def endless() -> Any:
        while True:
            yield b" " * 1000

    streamed = await provider.ask("POST", "/Users", endless())
    assert (announced.status_code, streamed.status_code) == (413, 413)
    group = await provider.created(a_group())
    members = [{"value": f"{number:036}"} for number in range(60)]
    for _ in range(2):
        answer = await provider.ask(
            "PATCH", f"/Groups/{group}", patch({"op": "add", "path": "members", "value": members})
        )
        members = [{"value": f"{number:036}"} for number in range(100, 160)]
    assert (answer.status_code, answer.json()["status"]) == (413, "413")


async def test_a_patch_that_would_hold_everybody_up_is_refused(provider: Provider) -> None:
    group = await provider.created(a_group(*(str(number) for number in range(2000))))
    one_by_one = patch(*({"op": "add", "path": "members", "value": [{"value": f"n{n}"}]} for n in range(50)))
    at_once = patch({"op": "add", "path": "members", "value": [{"value": f"n{n}"} for n in range(50)]})
    long_path = patch({"op": "replace", "value": {f'emails[type eq "{"x" * 1000}"].value': "x"}})
    assert (await provider.ask("PATCH", f"/Groups/{group}", one_by_one)).status_code == 413
    assert (await provider.ask("PATCH", f"/Groups/{group}", at_once)).status_code == 204
    assert (await provider.ask("PATCH", f"/Groups/{group}", long_path)).json()["scimType"] == "invalidPath"


async def test_a_search_that_takes_too_long_is_ended(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    await provider.created(a_user())
    seconds = itertools.count(step=10)
    monkeypatch.setattr("services.scim.storage.monotonic", lambda: next(seconds))
    answer = await provider.ask("GET", "/Users", params={"filter": 'title eq "x"'})
    assert (answer.status_code, answer.json().get("scimType")) == (400, "tooMany")


# -- versions


async def test_a_change_of_what_has_changed_meanwhile_is_refused(provider: Provider) -> None:
    user = await provider.created(a_user())
    read = (await provider.ask("GET", f"/Users/{user}")).headers["etag"]
    first = await provider.patched(user, {"op": "replace", "path": "title", "value": "A"}, headers={"If-Match": read})
    second = await provider.patched(user, {"op": "replace", "path": "title", "value": "B"}, headers={"If-Match": read})
    gone = await provider.ask("DELETE", f"/Users/{user}", headers={"If-Match": read})
    unchanged = await provider.ask("GET", f"/Users/{user}", headers={"If-None-Match": first.headers["etag"]})
    assert [a.status_code for a in (first, second, gone, unchanged)] == [204, 412, 412, 304]
    assert (await provider.ask("GET", f"/Users/{user}")).json()["title"] == "A"


# -- Kafka


@pytest.mark.parametrize("topic", [SOURCES_RECEIVED, SCIM_RESOURCES, CLAIM])
@pytest.mark.parametrize("fault", [Unacknowledged("Kafka did not acknowledge in time"), NoRoom("too many wait")])
async def test_what_is_not_safe_is_not_answered_as_done(provider: Provider, topic: str, fault: Exception) -> None:
    provider.kafka.fails_with = {topic: fault}
    answer = await provider.ask("POST", "/Users", a_user())
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert (await provider.ask("GET", "/Users")).json()["totalResults"] == 0
    provider.kafka.fails_with = {}
    assert (await provider.ask("POST", "/Users", a_user())).status_code == 201
    # Told before it is written: what was told and not written is told again, and what was written has been told.
    assert {event.subject for event in provider.kafka.events()} == {"hris:E1"}


async def test_a_change_that_was_written_though_no_answer_came_is_known_before_the_next(provider: Provider) -> None:
    lost = {SCIM_RESOURCES: Unacknowledged("Kafka did not acknowledge in time")}
    provider.kafka.loses = lost
    assert (await provider.ask("POST", "/Users", a_user())).status_code == 503
    provider.kafka.loses = {}
    assert (await provider.ask("POST", "/Users", a_user())).status_code == 409
    (found,) = (await provider.ask("GET", "/Users")).json()["Resources"]
    provider.kafka.loses = lost
    assert (await provider.ask("DELETE", f"/Users/{found['id']}")).status_code == 503
    provider.kafka.loses = {}
    assert (await provider.ask("DELETE", f"/Users/{found['id']}")).status_code == 404


# -- two processes


def pausing(seed: int) -> Callable[[], Awaitable[None]]:
    """Return what lets others go on for a while, as long as chance has it."""
    chance = Random(seed)

    async def pause() -> None:
        for _ in range(chance.randrange(6)):
            await asyncio.sleep(0)

    return pause


@pytest.mark.parametrize("seed", range(40))
async def test_of_two_who_ask_two_processes_for_one_name_or_number_one_has_it_and_is_told(
    provider: Provider, seed: int
) -> None:
    other = Provider(provider.kafka)
    for one in (provider, other):
        one.kafka.pause = pausing(seed)
    bodies = (a_user("E1", "ann"), (a_user("E2", "ann"), a_user("E1", "bo"), a_user("E1", "ann"))[seed % 3])
    answers = await asyncio.gather(provider.ask("POST", "/Users", bodies[0]), other.ask("POST", "/Users", bodies[1]))
    statuses = sorted(answer.status_code for answer in answers)
    if statuses == [503, 503]:  # each had one of name and number: both let go
        answers = [await provider.ask("POST", "/Users", bodies[0]), await other.ask("POST", "/Users", bodies[1])]
        statuses = sorted(answer.status_code for answer in answers)
    assert statuses in ([201, 409], [201, 503])
    hired = [event for event in provider.kafka.events() if event.type == "employee.hired"]
    assert len(hired) == 1
    for one in (provider, other):
        await one.kafka.catch_up()
        (found,) = (await one.ask("GET", "/Users")).json()["Resources"]
        assert found[ENTERPRISE]["employeeNumber"] == hired[0].data["employee_id"]
    again = await asyncio.gather(*(one.ask("POST", "/Users", bodies[1]) for one in (provider, other)))
    assert {answer.status_code for answer in again} == {409}


async def test_what_a_process_has_claimed_that_died_is_free_after_a_while_and_its_own_claim_at_once(
    provider: Provider,
) -> None:
    provider.kafka.fails_with = {SOURCES_RECEIVED: Unacknowledged("it dies here")}
    assert (await provider.ask("POST", "/Users", a_user())).status_code == 503
    other = Provider(provider.kafka)
    assert (await other.ask("POST", "/Users", a_user())).status_code == 503
    assert "another process gives this userName" in (await other.ask("POST", "/Users", a_user())).json()["detail"]
    other.late = timedelta(seconds=4 * provider.settings.ack_timeout_seconds + 1)
    assert (await other.ask("POST", "/Users", a_user())).status_code == 201
    provider.kafka.fails_with = {SOURCES_RECEIVED: Unacknowledged("once more")}
    assert (await provider.ask("POST", "/Users", a_user("E9", "cy"))).status_code == 503
    provider.kafka.fails_with = {}
    assert (await provider.ask("POST", "/Users", a_user("E9", "cy"))).status_code == 201


async def test_who_stood_still_between_claim_and_user_does_not_go_on(provider: Provider) -> None:
    caught_up = provider.kafka.catch_up

    async def stands_still() -> None:
        await caught_up()
        if provider.kafka.records:  # the claim
            provider.late = timedelta(minutes=1)

    provider.kafka.catch_up = stands_still  # type: ignore[method-assign]
    answer = await provider.ask("POST", "/Users", a_user())
    assert (answer.status_code, provider.kafka.events()) == (503, [])


async def test_a_change_of_what_is_no_name_claims_nothing(provider: Provider) -> None:
    user = await provider.created(a_user())
    written = len(provider.kafka.records)
    assert (await provider.patched(user, {"op": "replace", "path": "title", "value": "Engineer"})).status_code == 204
    assert len(provider.kafka.records) == written + 2  # a delivery and the user


async def test_a_record_that_kafka_does_not_take_is_too_large(provider: Provider) -> None:
    provider.kafka.fails_with = {SCIM_RESOURCES: RecordTooLarge("1048577 bytes")}
    assert (await provider.ask("POST", "/Groups", a_group())).status_code == 413


async def test_before_the_log_is_read_nothing_is_answered_as_known(provider: Provider) -> None:
    provider.kafka.trouble = "reading the log"
    for method, path, body in (("GET", "/Users", None), ("GET", "/Users/x", None), ("POST", "/Users", a_user())):
        answer = await provider.ask(method, path, body)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert provider.kafka.records == []


async def test_a_log_that_does_not_answer_is_not_waited_for_longer_than_said() -> None:
    provider = Provider(ack_timeout_seconds=0.5)
    provider.kafka.hangs = True
    assert (await provider.ask("POST", "/Users", a_user())).status_code == 503


async def test_more_requests_than_may_be_open_are_told_to_come_again() -> None:
    provider = Provider(max_requests=1)
    answers: list[int] = []

    async def body() -> Any:
        answers.append((await provider.ask("GET", "/Users")).status_code)
        yield json.dumps(a_user()).encode()

    assert (await provider.ask("POST", "/Users", body())).status_code == 201
    assert answers == [503]


async def test_a_record_of_the_log_that_cannot_be_read_holds_up_nobody(provider: Provider) -> None:
    await provider.created(a_user())
    for value in (b"{", b"[]", b'{"userName": 1}'):
        provider.kafka.records.append(type(provider.kafka.records[0])(SCIM_RESOURCES, b"User/x", value))
    await provider.created(a_user("E2", "bo"))
    assert (await provider.ask("GET", "/Users")).json()["totalResults"] == 2


# -- what it says of itself


async def test_what_it_can_do_is_said(provider: Provider) -> None:
    config = (await provider.ask("GET", "/ServiceProviderConfig", token=None)).json()
    supported = {name for name, said in config.items() if isinstance(said, dict) and said.get("supported")}
    assert supported == {"patch", "filter", "sort", "etag"}
    kinds = (await provider.ask("GET", "/ResourceTypes")).json()["Resources"]
    assert [(kind["id"], kind["endpoint"]) for kind in kinds] == [("User", "/Users"), ("Group", "/Groups")]
    schemas = (await provider.ask("GET", "/Schemas")).json()["Resources"]
    assert [schema["id"] for schema in schemas] == [CORE, ENTERPRISE, GROUP]
    assert (await provider.ask("GET", f"/Schemas/{CORE}")).json()["id"] == CORE
    taken = {attribute["name"] for attribute in schemas[0]["attributes"]}
    assert "phoneNumbers" not in taken
    assert "userName" in taken


async def test_behind_a_proxy_locations_are_the_proxys() -> None:
    provider = Provider(url="https://people.example.com/sponsorship/")
    user = (await provider.ask("POST", "/Users", a_user())).json()
    assert user["meta"]["location"] == f"https://people.example.com/sponsorship/scim/v2/Users/{user['id']}"


async def test_answers_are_as_the_document_says(provider: Provider) -> None:
    user = (await provider.ask("POST", "/Users", a_user())).json()
    listed = (await provider.ask("GET", "/Users")).json()
    refused = (await provider.ask("GET", "/Users/x")).json()
    schemas = document()["components"]["schemas"]
    for name, said in (("User", user), ("ListOfUser", listed), ("Error", refused)):
        resolved = {"$ref": f"#/components/schemas/{name}", "components": {"schemas": schemas}}
        Draft202012Validator(resolved).validate(said)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"tokens": "entra"}, "entry 1 is not sender=token"),
        ({"tokens": "entra=short"}, "shorter than 16 characters"),
        ({"sources_dir": FOLDER / "nowhere"}, "SOURCES_DIR: .*scim.yaml: can't be read"),
    ],
)
def test_a_setting_that_cannot_be_used_says_why(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        ScimSettings(**{"tokens": f"entra={TOKEN}", "sources_dir": FOLDER, **changes})
