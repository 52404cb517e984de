"""Whatever an identity system does, and in whatever order: what was told last of an employee is how they stand."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from services.scim.schema import ENTERPRISE
from tests.scim import Provider, a_user, patch

PEOPLE = ("ann", "bo", "cy")
NUMBERS = st.sampled_from(["E1", "E2", "E3"])
WHO = st.sampled_from(PEOPLE)
NAMED = st.tuples(WHO, st.sampled_from(["id", "userName", "externalId"]))
STEPS = st.one_of(
    st.tuples(st.just("create"), WHO, st.one_of(st.none(), NUMBERS)),
    st.tuples(st.just("active"), WHO, st.booleans()),
    st.tuples(st.just("number"), WHO, st.one_of(st.none(), NUMBERS)),
    st.tuples(st.just("manager"), WHO, st.one_of(st.none(), NAMED)),
    st.tuples(st.just("remove"), WHO, st.none()),
)


class Directory:
    """An identity system, and what it knows of its users."""

    def __init__(self) -> None:
        self.provider = Provider()
        self.ids: dict[str, str] = {}

    async def do(self, step: tuple[str, str, Any]) -> None:
        what, who, value = step
        if what == "create" and who not in self.ids:
            answer = await self.provider.ask("POST", "/Users", a_user(value, who))
            if answer.status_code == 201:
                self.ids[who] = answer.json()["id"]
            return
        if who not in self.ids:
            return
        path = f"/Users/{self.ids[who]}"
        if what == "remove":
            answer = await self.provider.ask("DELETE", path)
            del self.ids[who]
        elif what == "active":
            answer = await self.provider.ask("PATCH", path, patch({"op": "Replace", "path": "active", "value": value}))
        elif what in ("number", "manager"):
            attribute = f"{ENTERPRISE}:{'employeeNumber' if what == 'number' else 'manager'}"
            said = self.name_of(*value) if what == "manager" and value else value
            operation = {"op": "Remove"} if said is None else {"op": "Add", "value": said}
            answer = await self.provider.ask("PATCH", path, patch({**operation, "path": attribute}))
        else:
            return
        assert answer.status_code in (204, 409), answer.text

    def name_of(self, who: str, by: str) -> str | None:
        return {"id": self.ids.get(who), "userName": f"{who}@example.com", "externalId": who}[by]


async def told_after(steps: list[tuple[str, str, Any]]) -> None:
    directory = Directory()
    for step in steps:
        await directory.do(step)
    events = directory.provider.kafka.events()
    last = {event.data["employee_id"]: event for event in events}
    found = (await directory.provider.ask("GET", "/Users")).json()["Resources"]
    employment = {user["id"]: user.get(ENTERPRISE, {}) for user in found}
    works = {
        employment[user["id"]]["employeeNumber"]: user
        for user in found
        if user["active"] and "employeeNumber" in employment[user["id"]]
    }
    assert {number for number, event in last.items() if event.type != "employee.left"} == set(works)
    assert len({event.id for event in events}) == len(events)
    names = {name: user["id"] for user in found for name in (user["id"], user["userName"], user["externalId"])}
    for number, user in works.items():
        assert last[number].data["email"] == user["userName"]
        named = employment[user["id"]].get("manager", {}).get("value")
        manager = names.get(named)
        if named is None or manager == user["id"]:
            assert last[number].data["manager_id"] == ""
        elif manager is not None and "employeeNumber" in employment[manager]:
            assert last[number].data["manager_id"] == employment[manager]["employeeNumber"]


@given(st.lists(STEPS, max_size=14))
@settings(max_examples=30)
def test_the_last_that_is_told_of_an_employee_is_how_they_stand(steps: list[tuple[str, str, Any]]) -> None:
    asyncio.run(told_after(steps))
