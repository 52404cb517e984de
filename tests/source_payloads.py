"""Payloads of our own in the shape that each vendor publishes, and what they have to become."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

FOLDER: Final = Path(__file__).parents[1] / "deploy/sources"


@dataclass(frozen=True)
class Example:
    """A delivery of a source.

    Attributes:
        payload: what is sent as JSON; bytes are sent as they are.
        becomes: feed, type, subject, time and payload of each event.
        ignored: how many entries nothing is made of.
    """

    source: str
    what: str
    payload: Any
    becomes: tuple[tuple[str, str, str, str, Mapping[str, Any]], ...] = ()
    ignored: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    fetched: Any = None

    @property
    def body(self) -> bytes:
        return self.payload if isinstance(self.payload, bytes) else json.dumps(self.payload).encode()

    def written_otherwise(self) -> bytes:
        """The same as another library would write it: keys in another order, other prefixes, other blanks."""
        if not isinstance(self.payload, bytes):
            return json.dumps(_reversed_keys(self.payload), indent=2).encode()
        body = re.sub(rb"(</?|\sxmlns:|\s)(ns3|wd|soap|env)([:=])", rb"\1other-\2\3", self.payload)
        return body.replace(b"><", b">\n  <")


def bamboohr(*, number: str = "101", action: str = "Updated", fields: Any = None) -> dict[str, Any]:
    return {
        "id": number,
        "action": action,
        "timestamp": "2026-01-31T18:42:00+0000",
        "changedFields": list(fields or {}),
        "fields": fields or {},
    }


def hibob(event_type: str, **data: str) -> dict[str, Any]:
    return {
        "companyId": 636192,
        "type": event_type,
        "triggeredBy": "3332883804594373380",
        "triggeredAt": "2026-01-08T13:06:26.915906",
        "version": "v2",
        "data": {"employeeId": "3332883854254932743", **data},
    }


def merge(event: str = "Employee.changed", **data: Any) -> dict[str, Any]:
    return {
        "hook": {"id": "5b1", "event": event, "target": "https://tracker.example.com/v1/sources/merge"},
        "linked_account": {"id": "a36", "integration": "Example HR", "category": "hris"},
        "data": {
            "id": "0958cbc6",
            "remote_id": "19202938",
            "first_name": "Dirna",
            "last_name": "Emanuel",
            "display_full_name": "Dirna Emanuel",
            "work_email": "dirna@example.com",
            "manager": "0048ea5b",
            "team": "249c9faa",
            "employment_status": "ACTIVE",
            "termination_date": None,
            "remote_was_deleted": False,
            "modified_at": "2026-02-16T00:00:00Z",
            **data,
        },
    }


def github(*, action: str = "closed", merged: bool = True, user_type: str = "User") -> dict[str, Any]:
    return {
        "action": action,
        "number": 42,
        "repository": {"full_name": "acme/payments"},
        "pull_request": {
            "title": "Retry failed payouts " + "without double payment " * 12,
            "html_url": "https://github.example.com/acme/payments/pull/42",
            "merged": merged,
            "merged_at": "2026-02-12T23:30:00Z" if merged else None,
            "user": {"login": "ann", "type": user_type},
            "labels": [{"name": "reliability"}],
            "requested_reviewers": [{"login": "bo"}],
        },
    }


def jira(*, to: str | None = "10000", assignee: Any = ..., event: str = "jira:issue_updated") -> dict[str, Any]:
    return {
        "timestamp": 1770890400123,
        "webhookEvent": event,
        "issue": {
            "key": "PAY-311",
            "self": "https://acme.example.com/rest/api/2/issue/311",
            "fields": {
                "summary": "Retry failed payouts without double payment",
                "resolutiondate": "2026-02-12T11:00:00.000+0100" if to else None,
                "labels": ["reliability"],
                "assignee": {"accountId": "5b10a", "displayName": "Ann"} if assignee is ... else assignee,
                "priority": {"name": "High"},
            },
        },
        "changelog": {"items": [{"field": "resolution", "from": None, "to": to}]},
    }


_CYCLE: Final = {
    "id": "C-2026H1",
    "name": "Promotions, first half of 2026",
    "cycleType": "promotion",
    "competencies": ["delivery"],
    "periodStart": "2025-04-01",
    "periodEnd": "2026-03-31",
    "startsAt": "2026-03-01T08:00:00Z",
    "endsAt": "2026-03-31T18:00:00Z",
}
_CYCLE_SAID: Final = {
    "cycle_id": "C-2026H1",
    "kind": "promotion",
    "title": "Promotions, first half of 2026",
    "competencies": ["delivery"],
    "evidence_from": "2025-04-01",
    "evidence_to": "2026-03-31",
    "opens_at": "2026-03-01T08:00:00+00:00",
    "closes_at": "2026-03-31T18:00:00+00:00",
}


def lattice(event_type: str, data: Any) -> dict[str, Any]:
    return {"type": event_type, "timestamp": "2026-03-01T08:00:00Z", "data": data}


BONUS: Final = {
    "id": "b88",
    "created_at": "2026-02-27T14:05:00Z",
    "amount": 50,
    "reason": "Kept the migration on track",
    "giver": {"email": "bo@example.com"},
    "receivers": [{"email": "ann@example.com"}, {"email": "cy@example.com"}],
    "hashtag": "#teamwork",
}


def _bonus_for(email: str) -> Mapping[str, Any]:
    return {
        "id": f"b88/{email}",
        "created_at": "2026-02-27T14:05:00+00:00",
        "giver": {"email": "bo@example.com"},
        "receiver": {"email": email},
        "amount": 50,
        "reason": "Kept the migration on track",
        "hashtags": ["#teamwork"],
    }


_EVENT: Final = {
    "specversion": "1.0",
    "id": "u1",
    "source": "urn:example:events/hr",
    "type": "unit.defined",
    "subject": "unit:U1",
    "time": "2026-03-01T08:00:00Z",
}
_UNIT: Final = {"unit_id": "U1", "name": "Acme"}
_UNIT_EVENT: Final = ("people", "unit.defined", "unit:U1", "2026-03-01T08:00:00+00:00", _UNIT)
_AT: Final = "2026-01-31T18:42:00+00:00"
_BOB: Final = ("hris:3332883854254932743", "2026-01-08T13:06:26.915906+00:00", {"employee_id": "3332883854254932743"})
HIBOB_RECORD: Final = {
    "id": "3332883854254932743",
    "displayName": "Ann Lee",
    "email": "ann@example.com",
    "work": {"department": "Payments", "site": "Berlin", "reportsTo": {"id": "77"}, "title": "Engineer"},
}
_BOB_FETCHED: Final = {
    "employee_id": "3332883854254932743",
    "name": "Ann Lee",
    "email": "ann@example.com",
    "unit_id": "Payments",
    "manager_id": "77",
    "location": "Berlin",
}
BAMBOOHR_RECORD: Final = {
    "id": "101",
    "firstName": "Bryony",
    "lastName": "Hale",
    "department": "Engineering",
    "status": "Active",
}
_BRYONY: Final = {"employee_id": "101", "name": "Bryony Hale", "unit_id": "Engineering"}
_MERGED_AT: Final = "2026-02-16T00:00:00+00:00"


def scim(
    *, number: str | None = "E1", was: str | None = "E1", active: bool = True, was_active: bool = True
) -> dict[str, Any]:
    """A delivery that the scim service makes of a user; `was` is their number before."""

    def user(employee_number: str | None) -> dict[str, Any]:
        return {
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
            "id": "2819c223",
            "externalId": "ann",
            "userName": "ann@example.com",
            "name": {"givenName": "Ann", "familyName": "Lee"},
            "emails": [
                {"type": "home", "value": "lee@example.org"},
                {"type": "work", "value": "ann@example.com"},
            ],
            "addresses": [{"type": "work", "locality": "Berlin"}],
            "timezone": "Europe/Berlin",
            "preferredLanguage": "de-DE",
            "enterprise": {"employeeNumber": employee_number, "department": "Payments"},
        }

    return {
        "id": "2819c223/9f86d081",
        "at": "2026-03-01T08:00:00+00:00",
        "change": "changed",
        "active": active,
        "was_active": was_active,
        "user": user(number),
        "before": user(was),
        "manager": {"userName": "bo@example.com", "externalId": None, "employeeNumber": "E9"},
    }


_SCIM_SAID: Final = {
    "employee_id": "E1",
    "name": "Ann Lee",
    "email": "ann@example.com",
    "external_ids": {"username": "ann@example.com", "directory": "ann"},
    "unit_id": "Payments",
    "manager_id": "E9",
    "location": "Berlin",
    "timezone": "Europe/Berlin",
    "locale": "de-DE",
}
_SCIM_HIRED: Final = ("people", "employee.hired", "hris:E1", "2026-03-01T08:00:00+00:00", _SCIM_SAID)
_SCIM_CHANGED: Final = ("people", "employee.changed", "hris:E1", "2026-03-01T08:00:00+00:00", _SCIM_SAID)


def _scim_left(number: str) -> tuple[str, str, str, str, Mapping[str, Any]]:
    return ("people", "employee.left", f"hris:{number}", "2026-03-01T08:00:00+00:00", {"employee_id": number})


def personio_record(status: str = "ACTIVE", **employment: Any) -> dict[str, Any]:
    """A person and their newest employment, as Personio's API v2 has them."""
    return {
        "person": {
            "id": "77",
            "email": "ann@example.com",
            "first_name": "Annabel",
            "preferred_name": "Ann",
            "last_name": "Lee",
            "status": status,
            "updated_at": "2026-01-08T13:06:20Z",
            "employments": [{"id": "2306b77a"}],
        },
        "employments": {
            "_data": [
                {
                    "id": "2306b77a",
                    "status": status,
                    "position": {"title": "Engineer"},
                    "supervisor": {"id": "12"},
                    "office": {"id": "3"},
                    "org_units": [{"type": "department", "id": "900"}, {"type": "team", "id": "901"}],
                    **employment,
                }
            ],
            "_meta": {"links": {"self": {"href": "https://api.personio.de/v2/persons/77/employments"}}},
        },
    }


PERSONIO_RECORD: Final = personio_record()
_PERSON_SAID: Final = {
    "employee_id": "77",
    "name": "Ann Lee",
    "email": "ann@example.com",
    "unit_id": "901",
    "manager_id": "12",
    "location": "3",
}
_FINCH_ID: Final = "5d0b3c32-9d1b-4b0a-8f4e-1c2d3e4f5a6b"


def finch(event_type: str) -> dict[str, Any]:
    return {
        "company_id": "720be419",
        "account_id": "dadfd9d7",
        "connection_id": "1f3a4b5c",
        "event_type": event_type,
        "data": {"individual_id": _FINCH_ID},
    }


def finch_record(**employment: Any) -> dict[str, Any]:
    """An individual and their employment, as Finch answers to a question about one."""
    individual = {
        "id": _FINCH_ID,
        "first_name": "Annabel",
        "preferred_name": "Ann",
        "last_name": "Lee",
        "emails": [{"data": "ann@home.example", "type": "personal"}, {"data": "ann@example.com", "type": "work"}],
    }
    said = {
        "id": _FINCH_ID,
        "title": "Engineer",
        "department": {"name": "Payments"},
        "manager": {"id": "0aa7"},
        "employment_status": "active",
        "location": {"city": "Berlin"},
        "source_id": "W17",
        **employment,
    }
    return {
        name: {"responses": [{"individual_id": _FINCH_ID, "code": 200, "body": body}]}
        for name, body in (("individual", individual), ("employment", said))
    }


_FINCH_SAID: Final = {
    "employee_id": _FINCH_ID,
    "name": "Ann Lee",
    "email": "ann@example.com",
    "external_ids": {"source": "W17"},
    "unit_id": "Payments",
    "manager_id": "0aa7",
    "location": "Berlin",
}

PAGES: Final[Mapping[tuple[str, str], tuple[Any, str | None, Any]]] = {
    ("finch", "directory"): (
        {"paging": {"count": 2, "offset": 0}, "individuals": [{"id": _FINCH_ID, "is_active": True}]},
        "1",
        finch_record(),
    ),
    ("merge", "employees"): ({"next": "cD0y", "previous": None, "results": [merge()["data"]]}, "cD0y", None),
    ("merge", "teams"): ({"next": None, "results": [{"id": "249c9faa", "name": "Payments"}]}, None, None),
    ("personio", "persons"): (
        {
            "_data": [PERSONIO_RECORD["person"]],
            "_meta": {"links": {"next": {"href": "https://api.personio.de/v2/persons?limit=50&cursor=cur_82s"}}},
        },
        "https://api.personio.de/v2/persons?limit=50&cursor=cur_82s",
        PERSONIO_RECORD,
    ),
    ("workday-report", "workers"): ({"Report_Entry": [{"Employee_ID": "E1", "Worker": "Ann Lee"}]}, None, None),
}
"""By source and list, what the API answers: a page, where the next is, and the record that is fetched then."""

PASSWORD: Final = "for-this-door-only"


def successfactors(kind: str = "ChangeInTitle", *events: bytes) -> bytes:
    """A message of Intelligent Services; of one event unless others are given."""
    name = f"com.successfactors.Employment.AssignmentInformation.{kind}".encode()
    return (
        b'<?xml version="1.0" encoding="UTF-8" standalone="yes"?>'
        b'<soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/"><soap:Body>'
        b'<ns3:ExternalEvent xmlns:ns3="http://notification.event.successfactors.com"><ns3:externalEventMeta>'
        b"<ns3:externalEventId>6b1f</ns3:externalEventId><ns3:type>" + name + b"</ns3:type>"
        b"<ns3:publishedAt>1772442000244</ns3:publishedAt><ns3:publishedBy>admin</ns3:publishedBy>"
        b"<ns3:effective>current</ns3:effective><ns3:repost>false</ns3:repost></ns3:externalEventMeta>"
        b"<ns3:events>" + b"".join(events or (successfactors_event(),)) + b"</ns3:events>"
        b"</ns3:ExternalEvent></soap:Body></soap:Envelope>"
    )


def successfactors_event(user: str = "103", keys: str = "entityKey", event_id: str = "c143") -> bytes:
    named = f"<name>userId</name><value>{user}</value>"
    entity_keys = f"<ns3:entityKey>{named}</ns3:entityKey>" if keys == "entityKey" else ""
    params = f"<ns3:param>{named}</ns3:param>" if keys == "param" else ""
    return (
        f"<ns3:event><ns3:eventId>{event_id}</ns3:eventId><ns3:entityType>EmpJob</ns3:entityType>"
        "<ns3:effectiveStartDate>2026-03-15</ns3:effectiveStartDate><ns3:publishedAt>1772442000145</ns3:publishedAt>"
        "<ns3:publishedBy>admin</ns3:publishedBy><ns3:repost>false</ns3:repost><ns3:entityKeys>"
        f"<ns3:entityKey><name>seqNumber</name><value>1</value></ns3:entityKey>{entity_keys}</ns3:entityKeys>"
        f"<ns3:params><ns3:param><name>perPersonUuid</name><value>9F0A</value></ns3:param>{params}</ns3:params>"
        "</ns3:event>"
    ).encode()


def successfactors_record(status: str = "t", user: str = "103") -> dict[str, Any]:
    return {
        "d": {
            "__metadata": {"type": "SFOData.User"},
            "userId": user,
            "firstName": "Ann",
            "lastName": "Lee",
            "email": "ann@example.com",
            "department": "Payments (5000)",
            "location": None,
            "jobCode": "ENG",
            "status": status,
            "manager": {"__metadata": {"type": "SFOData.User"}, "userId": "77"},
        }
    }


_SF_AT: Final = "2026-03-02T09:00:00.145000+00:00"
_SF_SAID: Final = {
    "employee_id": "103",
    "name": "Ann Lee",
    "email": "ann@example.com",
    "unit_id": "Payments (5000)",
    "manager_id": "77",
}
_SF_EFFECTIVE: Final = {"effective_at": "2026-03-15T00:00:00+00:00"}


def workday(*targets: tuple[str, str], trigger: str = "Completed", password: str = PASSWORD) -> bytes:
    """An outbound notification about what `targets` name, by kind of id and id; an employee unless others are given."""
    named = "".join(
        f'<wd:Transaction_Target_Reference wd:Descriptor="x"><wd:ID wd:type="WID">e7dc{number}</wd:ID>'
        f'<wd:ID wd:type="{kind}">{value}</wd:ID></wd:Transaction_Target_Reference>'
        for number, (kind, value) in enumerate(targets or (("Position_ID", "P-17"), ("Employee_ID", "E1")))
    )
    return (
        '<env:Envelope xmlns:env="http://schemas.xmlsoap.org/soap/envelope/" xmlns:wd="urn:com.workday/bsvc">'
        "<env:Header><wd:Integration_Correlation_ID>d52c</wd:Integration_Correlation_ID>"
        '<wsse:Security xmlns:wsse="http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"'
        ' env:mustUnderstand="1"><wsse:UsernameToken><wsse:Username>tracker</wsse:Username><wsse:Password Type="'
        'http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-username-token-profile-1.0#PasswordText">'
        f"{password}</wsse:Password></wsse:UsernameToken></wsse:Security></env:Header><env:Body>"
        '<wd:Notification_Data wd:version="v33.0"><wd:Event_Data>'
        '<wd:Event_Reference wd:Descriptor="Change Job: Ann Lee">'
        '<wd:ID wd:type="WID">d52c01</wd:ID></wd:Event_Reference><wd:Event_Name>Change Job</wd:Event_Name>'
        f"<wd:Notification_Trigger>{trigger}</wd:Notification_Trigger>"
        "<wd:Event_Completion_Date>2026-03-01T11:10:27.835-07:00</wd:Event_Completion_Date>"
        "<wd:Event_Effective_Date>2026-03-15-07:00</wd:Event_Effective_Date><wd:Tenant_Name>acme</wd:Tenant_Name>"
        f"<wd:System_ID>tracker</wd:System_ID>{named}"
        "</wd:Event_Data></wd:Notification_Data></env:Body></env:Envelope>"
    ).encode()


_WORKER: Final = {"Employee_ID": "E1", "Worker": "Ann Lee", "Supervisory_Organization_ID": "U1", "Manager_ID": "E9"}
_WORKDAY_AT: Final = "2026-03-01T18:10:27.835000+00:00"

EXAMPLES: Final[tuple[Example, ...]] = (
    Example(
        "bamboohr",
        "several employees at once, values in both of the forms that BambooHR writes them in",
        {
            "employees": [
                bamboohr(
                    fields={
                        "firstName": {"value": "Bryony"},
                        "lastName": {"value": "Hale"},
                        "workEmail": {"value": "bryony@example.com"},
                        "supervisorEId": {"value": 7},
                        "location": {"value": ""},
                    }
                ),
                bamboohr(number="102", fields={"department": "Engineering", "firstName": "Cy"}),
                bamboohr(number="103", action="Created"),
                bamboohr(number="104", action="Deleted"),
                bamboohr(number="105", fields={"status": {"value": "Inactive"}}),
            ]
        },
        (
            (
                "people",
                "employee.changed",
                "hris:101",
                _AT,
                {"employee_id": "101", "name": "Bryony Hale", "email": "bryony@example.com", "manager_id": "7"},
            ),
            ("people", "employee.changed", "hris:102", _AT, {"employee_id": "102", "unit_id": "Engineering"}),
            ("people", "employee.hired", "hris:103", _AT, {"employee_id": "103"}),
            ("people", "employee.left", "hris:104", _AT, {"employee_id": "104"}),
            ("people", "employee.left", "hris:105", _AT, {"employee_id": "105"}),
        ),
    ),
    Example(
        "hibob",
        "somebody joined",
        hibob("employee.joined"),
        (("people", "employee.hired", *_BOB[:2], _BOB_FETCHED),),
        fetched=HIBOB_RECORD,
    ),
    Example(
        "hibob",
        "fields changed, whose values are fetched",
        hibob("employee.updated", fieldUpdates="x"),
        (("people", "employee.changed", *_BOB[:2], _BOB_FETCHED),),
        fetched=HIBOB_RECORD,
    ),
    *(
        Example(
            "bamboohr-events",
            f"{what}, fetched",
            {
                "type": what,
                "timestamp": "2026-01-31T18:42:00+0000",
                "data": {"companyId": "12345", "employeeId": "101", "changedFields": ["firstName"]},
            },
            (("people", becomes, "hris:101", _AT, payload),),
            fetched=record,
        )
        for what, becomes, payload, record in (
            ("employee.created", "employee.hired", _BRYONY, BAMBOOHR_RECORD),
            ("employee.updated", "employee.changed", _BRYONY, BAMBOOHR_RECORD),
            ("employee.updated", "employee.left", {"employee_id": "101"}, {**BAMBOOHR_RECORD, "status": "Inactive"}),
            ("employee.deleted", "employee.left", {"employee_id": "101"}, None),
        )
    ),
    Example("hibob", "somebody left", hibob("employee.left"), (("people", "employee.left", *_BOB),)),
    Example("hibob", "a row of a table", hibob("table.entry.created", tableId="lifecycle"), ignored=1),
    Example("hibob", "time off", hibob("timeoff.request.approved"), ignored=1),
    *(
        Example(
            "personio",
            f"{event}, fetched",
            {"company_id": "1", "event_name": event, "occurred_at": "2026-01-08T13:06:26Z", "payload": payload},
            (("people", becomes, "hris:77", "2026-01-08T13:06:26+00:00", data),),
            fetched=record,
        )
        for event, payload, becomes, data, record in (
            ("person.created", {"person_id": "77"}, "employee.hired", _PERSON_SAID, PERSONIO_RECORD),
            ("person.updated", {"id": "77"}, "employee.changed", _PERSON_SAID, PERSONIO_RECORD),
            (
                "employment.updated",
                {"id": "2306b77a", "person": {"id": "77"}},
                "employee.changed",
                _PERSON_SAID,
                PERSONIO_RECORD,
            ),
            (
                "employment.terminated",
                {"id": "2306b77a", "person": {"id": "77"}},
                "employee.left",
                {"employee_id": "77", "effective_at": "2026-01-31T00:00:00+00:00"},
                personio_record(status="INACTIVE", termination={"last_working_day": "2026-01-31"}),
            ),
            ("person.deleted", {"person_id": "77"}, "employee.left", {"employee_id": "77"}, None),
        )
    ),
    *(
        Example(
            "finch",
            what,
            payload,
            ignored=ignored,
            becomes=tuple(("people", type_, f"hris:{_FINCH_ID}", at, data) for type_, at, data in becomes),
            headers={"finch-event-id": "msg_1", "finch-timestamp": "1767877586"} if "event_type" in payload else {},
            fetched=record,
        )
        for what, payload, becomes, ignored, record in (
            (
                "an employment changed",
                finch("employment.updated"),
                [("employee.changed", "2026-01-08T13:06:26+00:00", _FINCH_SAID)],
                0,
                finch_record(),
            ),
            (
                "somebody in the directory",
                {"row": {"id": _FINCH_ID, "is_active": True}, "as_of": "2026-03-02T02:00:00+00:00"},
                [("employee.changed", "2026-03-02T02:00:00+00:00", _FINCH_SAID)],
                0,
                finch_record(),
            ),
            (
                "somebody's employment ended",
                finch("employment.updated"),
                [
                    (
                        "employee.left",
                        "2026-01-08T13:06:26+00:00",
                        {"employee_id": _FINCH_ID, "effective_at": "2026-01-31T00:00:00+00:00"},
                    )
                ],
                0,
                finch_record(employment_status="terminated", end_date="2026-01-31"),
            ),
            (
                "somebody is in the directory no more",
                finch("directory.deleted"),
                [("employee.left", "2026-01-08T13:06:26+00:00", {"employee_id": _FINCH_ID})],
                0,
                None,
            ),
            ("data went", finch("individual.deleted"), [], 1, None),
            ("pay", finch("pay_statement.created"), [], 1, None),
        )
    ),
    Example(
        "workday-report",
        "a worker of the report",
        {
            "row": {"Employee_ID": "E1", "Worker": "Ann Lee", "Manager_ID": "E7"},
            "as_of": "2026-03-02T02:00:00+00:00",
        },
        (
            (
                "people",
                "employee.changed",
                "hris:E1",
                "2026-03-02T02:00:00+00:00",
                {"employee_id": "E1", "name": "Ann Lee", "manager_id": "E7"},
            ),
        ),
    ),
    Example(
        "workday-report",
        "a worker who has left",
        {"row": {"Employee_ID": "E1", "Termination_Date": "2026-02-28"}, "as_of": "2026-03-02T02:00:00+00:00"},
        (
            (
                "people",
                "employee.left",
                "hris:E1",
                "2026-03-02T02:00:00+00:00",
                {"employee_id": "E1", "effective_at": "2026-02-28T00:00:00+00:00"},
            ),
        ),
    ),
    Example(
        "personio",
        "an absence",
        {
            "company_id": "1",
            "event_name": "absence-period.created",
            "occurred_at": "2026-01-08T13:06:26Z",
            "payload": {},
        },
        ignored=1,
    ),
    Example(
        "merge",
        "an employee changed",
        merge(),
        (
            (
                "people",
                "employee.changed",
                "hris:0958cbc6",
                _MERGED_AT,
                {
                    "employee_id": "0958cbc6",
                    "name": "Dirna Emanuel",
                    "email": "dirna@example.com",
                    "external_ids": {"remote": "19202938"},
                    "unit_id": "249c9faa",
                    "manager_id": "0048ea5b",
                },
            ),
        ),
    ),
    Example(
        "merge",
        "an employee who left, on a day without a time",
        merge(employment_status="INACTIVE", termination_date="2026-02-28"),
        (
            (
                "people",
                "employee.left",
                "hris:0958cbc6",
                _MERGED_AT,
                {"employee_id": "0958cbc6", "effective_at": "2026-02-28T00:00:00+00:00"},
            ),
        ),
    ),
    Example(
        "merge",
        "a team",
        {
            "hook": {"event": "Team.changed"},
            "data": {"id": "249c9faa", "name": "Payments", "parent_team": None, "modified_at": "2026-02-16T00:00:00Z"},
        },
        (("people", "unit.defined", "unit:249c9faa", _MERGED_AT, {"unit_id": "249c9faa", "name": "Payments"}),),
    ),
    Example(
        "workday",
        "a row of the report",
        {
            "row": {"Employee ID": "E1", "Worker": "Ann Lee", "Termination Date": ""},
            "as_of": "2026-03-02T02:00:00+00:00",
        },
        (
            (
                "people",
                "employee.changed",
                "hris:E1",
                "2026-03-02T02:00:00+00:00",
                {"employee_id": "E1", "name": "Ann Lee"},
            ),
        ),
    ),
    Example(
        "successfactors",
        "a row of the export",
        {"row": {"userId": "S1", "status": "f", "endDate": "2026-02-28"}, "as_of": "2026-03-02T02:00:00+00:00"},
        (
            (
                "people",
                "employee.left",
                "hris:S1",
                "2026-03-02T02:00:00+00:00",
                {"employee_id": "S1", "effective_at": "2026-02-28T00:00:00+00:00"},
            ),
        ),
    ),
    Example("merge", "a linked account", {"hook": {"event": "LinkedAccount.linked"}, "data": {}}, ignored=1),
    Example(
        "github",
        "a merged pull request",
        github(),
        (
            (
                "achievements",
                "achievement.recorded",
                "github:ann",
                "2026-02-12T23:30:00+00:00",
                {
                    "achievement_id": "github:acme/payments#42",
                    "employee": "github:ann",
                    "title": ("Retry failed payouts " + "without double payment " * 12)[:199].rstrip() + "…",
                    "occurred_on": "2026-02-12",
                    "competencies": ["reliability"],
                    "link": "https://github.example.com/acme/payments/pull/42",
                    "witnesses": ["github:bo"],
                },
            ),
        ),
        headers={"x-github-event": "pull_request"},
    ),
    *(
        Example("github", what, payload, ignored=1, headers={"x-github-event": event})
        for what, payload, event in (
            ("the ping of a new webhook", {"zen": "Keep it logically awesome.", "hook_id": 1}, "ping"),
            ("a pull request that was closed without a merge", github(merged=False), "pull_request"),
            ("a pull request that was opened", github(action="opened", merged=False), "pull_request"),
            ("a bot's pull request", github(user_type="Bot"), "pull_request"),
        )
    ),
    Example(
        "jira",
        "an issue was resolved",
        jira(),
        (
            (
                "achievements",
                "issue.resolved",
                "jira:5b10a",
                "2026-02-12T10:00:00.123000+00:00",
                {
                    "issue": {
                        "key": "PAY-311",
                        "self": "https://acme.example.com/rest/api/2/issue/311",
                        "fields": {
                            "summary": "Retry failed payouts without double payment",
                            "resolutiondate": "2026-02-12T11:00:00+01:00",
                            "labels": ["reliability"],
                            "assignee": "5b10a",
                            "priority": "High",
                        },
                    }
                },
            ),
        ),
    ),
    Example("jira", "an issue was opened again", jira(to=None), ignored=1),
    Example("jira", "an issue of nobody", jira(assignee=None), ignored=1),
    Example("jira", "another event", jira(event="jira:issue_created"), ignored=1),
    Example(
        "bonusly",
        "a bonus with two receivers",
        {"event_type": "bonus.created", "data": BONUS},
        tuple(
            ("achievements", "recognition.given", f"email:{email}", "2026-02-27T14:05:00+00:00", _bonus_for(email))
            for email in ("ann@example.com", "cy@example.com")
        ),
    ),
    Example(
        "lattice",
        "a review was submitted",
        lattice(
            "review.submitted",
            {
                "id": "rev-17",
                "submittedAt": "2026-01-20T16:00:00Z",
                "reviewee": {"email": "ann@example.com"},
                "reviewer": {"email": "cy@example.com"},
                "url": "https://reviews.example.com/17",
                "responses": [
                    {"type": "strength", "answer": "Led the redesign", "competency": "leadership", "rating": 5},
                    {"type": "growth", "answer": "Delegate more", "competency": "leadership", "rating": 3},
                ],
            },
        ),
        (
            (
                "achievements",
                "review.completed",
                "email:ann@example.com",
                "2026-03-01T08:00:00+00:00",
                {
                    "review_id": "rev-17",
                    "submitted_at": "2026-01-20T16:00:00+00:00",
                    "reviewee": {"email": "ann@example.com"},
                    "reviewer": {"email": "cy@example.com"},
                    "highlights": [{"text": "Led the redesign", "competency": "leadership", "rating": 5}],
                    "link": "https://reviews.example.com/17",
                },
            ),
        ),
    ),
    *(
        Example(
            "lattice",
            f"a cycle: {said}",
            lattice(said, data),
            (("cycles", becomes, "cycle:C-2026H1", "2026-03-01T08:00:00+00:00", payload),),
        )
        for said, data, becomes, payload in (
            ("reviewCycle.launched", _CYCLE, "cycle.opened", _CYCLE_SAID),
            ("reviewCycle.updated", _CYCLE, "cycle.amended", _CYCLE_SAID),
            (
                "reviewCycle.ended",
                {"id": "C-2026H1", "endedAt": "2026-04-07T18:00:00Z"},
                "cycle.closed",
                {"cycle_id": "C-2026H1", "closed_at": "2026-04-07T18:00:00+00:00"},
            ),
        )
    ),
    Example(
        "cloudevents",
        "structured",
        {**_EVENT, "data": _UNIT},
        (_UNIT_EVENT,),
        headers={"content-type": "application/cloudevents+json"},
    ),
    Example(
        "cloudevents",
        "a batch",
        [{**_EVENT, "data": _UNIT}, {**_EVENT, "id": "u2", "data": _UNIT}],
        (_UNIT_EVENT, _UNIT_EVENT),
        headers={"content-type": "application/cloudevents-batch+json; charset=utf-8"},
    ),
    Example(
        "cloudevents",
        "binary",
        _UNIT,
        (_UNIT_EVENT,),
        headers={"content-type": "application/json", **{f"ce-{name}": value for name, value in _EVENT.items()}},
    ),
    *(
        Example(
            "successfactors-events",
            what,
            successfactors(kind, successfactors_event(keys=keys)),
            (("people", becomes, "hris:103", _SF_AT, said),),
            fetched=record,
        )
        for what, kind, keys, record, becomes, said in (
            ("a title", "ChangeInTitle", "entityKey", successfactors_record(), "employee.changed", _SF_SAID),
            ("named among the parameters", "X", "param", successfactors_record(), "employee.changed", _SF_SAID),
            ("hired", "Hire", "entityKey", successfactors_record(), "employee.hired", _SF_SAID | _SF_EFFECTIVE),
            ("again", "ReHire", "entityKey", successfactors_record(), "employee.hired", _SF_SAID | _SF_EFFECTIVE),
            ("is gone", "X", "entityKey", successfactors_record("f"), "employee.left", {"employee_id": "103"}),
            ("leaves", "Termination", "entityKey", None, "employee.left", {"employee_id": "103"} | _SF_EFFECTIVE),
        )
    ),
    Example(
        "successfactors-events",
        "two events in a message",
        successfactors("Termination", successfactors_event(), successfactors_event("104", event_id="c144")),
        tuple(
            ("people", "employee.left", f"hris:{user}", _SF_AT, {"employee_id": user} | _SF_EFFECTIVE)
            for user in ("103", "104")
        ),
    ),
    Example(
        "workday-events",
        "a job was changed",
        workday(),
        (
            (
                "people",
                "employee.changed",
                "hris:E1",
                _WORKDAY_AT,
                {"employee_id": "E1", "name": "Ann Lee", "unit_id": "U1", "manager_id": "E9"},
            ),
        ),
        fetched={"Report_Entry": [_WORKER]},
    ),
    Example(
        "workday-events",
        "somebody leaves",
        workday(),
        (
            (
                "people",
                "employee.left",
                "hris:E1",
                _WORKDAY_AT,
                {"employee_id": "E1", "effective_at": "2026-03-31T00:00:00+00:00"},
            ),
        ),
        fetched={"Report_Entry": [_WORKER | {"Termination_Date": "2026-03-31"}]},
    ),
    Example("workday-events", "of a requisition", workday(("Job_Requisition_ID", "R-8")), ignored=1),
    Example("scim", "a user was changed", scim(), (_SCIM_CHANGED,)),
    Example("scim", "a user was activated", scim(was_active=False), (_SCIM_HIRED,)),
    Example("scim", "a user has a number now", scim(was=None), (_SCIM_HIRED,)),
    Example("scim", "a user has another number now", scim(was="E0"), (_SCIM_HIRED, _scim_left("E0"))),
    Example("scim", "a user was deactivated", scim(active=False), (_scim_left("E1"),)),
    Example("scim", "a user has no number any more", scim(number=None), (_scim_left("E1"),)),
    Example("scim", "a user was activated with a number", scim(was=None, was_active=False), (_SCIM_HIRED,)),
    *(
        Example("scim", f"of no employee: {what}", said, ignored=1)
        for what, said in (
            ("inactive", scim(active=False, was_active=False)),
            ("without a number", scim(number=None, was=None)),
            ("activated without a number", scim(number=None, was_active=False)),
            ("deactivated, and had no number", scim(active=False, was=None)),
            ("a group", {"id": "e9/1", "at": "2026-03-01T08:00:00+00:00", "change": "created", "group": {"id": "e9"}}),
        )
    ),
)


def _reversed_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _reversed_keys(value[key]) for key in reversed(list(value))}
    return [_reversed_keys(one) for one in value] if isinstance(value, list) else value
