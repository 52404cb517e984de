"""Decides what the sources service is told of a change: whom it is about, how they were, and who their manager is.

A delivery's body, which `deploy/sources/scim.yaml` maps, is

- `id`: names the change, however often it is told; `at`: when it was;
- `change`: `created`, `changed`, `removed`, or `manager` where nothing changed but who the manager is;
- `user`: the user as they are (as they were last, where they are removed), their enterprise extension as `enterprise`;
- `before`: the same before the change; null where there was nobody;
- `active`, `was_active`: whether the user is there and not inactive, now and before;
- `manager`: `userName`, `externalId` and `employeeNumber` of the manager. Each is empty where the user names none, or
  themselves, and null where the manager is not provisioned, or has none: then nothing is known;
- for a group `group` instead of `user`, without its members.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final, Literal

from scim2_models import Group, Resource

from services.scim.schema import ENTERPRISE, Employee, User, write_resource
from services.scim.view import View, employee_number, is_active, manager_named, names_of

Change = Literal["created", "changed", "removed", "manager"]
Body = dict[str, Any]

_NOBODY: Final = {"userName": "", "externalId": "", "employeeNumber": ""}
_UNKNOWN: Final = {"userName": None, "externalId": None, "employeeNumber": None}


def told(
    view: View, before: Resource[Any] | None, after: Resource[Any] | None, version: str, at: datetime
) -> list[Body]:
    """Return what is told of a change: of the resource itself, then of those whose manager it is now known to be.

    Args:
        view: what is provisioned, without the change.
        before: the resource as it was; None where it is new.
        after: as it is; None where it is removed.
        version: names the change.
        at: when it was.
    """
    change: Change = "created" if before is None else "removed" if after is None else "changed"
    resource = after or before
    if isinstance(resource, Group):
        return [_group(change, resource, version, at)]
    if not isinstance(resource, User) or (before is not None and not isinstance(before, User)):
        raise TypeError(f"{type(resource).__name__} is neither a user nor a group")
    bodies = [_user(change, before, resource, _manager(resource, view, resource), version, at)]
    if isinstance(after, User):
        bodies += [
            _user("manager", report, report, _manager(report, view, after), version, at)
            for report in view.reports_of(_names_newly_known(before, after))
            if report.id != after.id
        ]
    return bodies


def _names_newly_known(before: Employee | None, after: Employee) -> set[str]:
    """Return the names by which others may have named this user, of whom they now learn another number."""
    if before is not None and employee_number(before) == employee_number(after):
        return names_of(after) - names_of(before)
    return names_of(after)


def _manager(user: Employee, view: View, changing: Employee) -> dict[str, Any]:
    named = manager_named(user)
    if named is None:
        return _NOBODY
    known = {name.lower() for name in names_of(changing)}
    manager = changing if named.lower() in known else view.manager_of(user)
    if manager is None:
        return _UNKNOWN
    if manager.id == user.id:  # as some directories have it of who is at the top
        return _NOBODY
    return {
        "userName": manager.user_name,
        "externalId": manager.external_id,
        "employeeNumber": employee_number(manager),
    }


def _user(
    change: Change, before: Employee | None, user: Employee, manager: dict[str, Any], version: str, at: datetime
) -> Body:
    return {
        "id": f"{user.id}/{version}",
        "at": at.isoformat(),
        "change": change,
        "active": change != "removed" and is_active(user),
        "was_active": before is not None and is_active(before),
        "user": _shortened(write_resource(user)),
        "before": None if before is None else _shortened(write_resource(before)),
        "manager": manager,
    }


def _group(change: Change, group: Group, version: str, at: datetime) -> Body:
    content = write_resource(group)
    content.pop("members", None)
    return {"id": f"{group.id}/{version}", "at": at.isoformat(), "change": change, "group": content}


def _shortened(content: dict[str, Any]) -> dict[str, Any]:
    if ENTERPRISE in content:
        content["enterprise"] = content.pop(ENTERPRISE)
    return content
