"""Holds what is provisioned, as the topic `scim.resources` has it, and finds in it. No I/O: whoever reads tells it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, Final, cast

from scim2_models import Resource, SearchRequest
from scim2_models.path import CompareOperator, Comparison
from scim2_server.storage import SearchPage

from services.scim.schema import Employee, EnterpriseUser, Kind, User

_INDEXED: Final = frozenset({"username", "externalid"})
"""Attributes, in lower case, that identity systems look somebody up by before each change."""


class View:
    """All resources. What it is given and gives is not to be changed by anybody."""

    def __init__(self) -> None:
        self._resources: dict[Kind, dict[str, Resource[Any]]] = {"User": {}, "Group": {}}
        self._by_value: dict[tuple[Kind, str, str], set[str]] = defaultdict(set)
        self._by_name: dict[str, set[str]] = defaultdict(set)
        self._reports: dict[str, set[str]] = defaultdict(set)

    def count(self, kind: Kind) -> int:
        """Return how many resources of a kind there are."""
        return len(self._resources[kind])

    def get(self, kind: Kind, resource_id: str) -> Resource[Any] | None:
        """Return a resource, or None."""
        return self._resources[kind].get(resource_id)

    def put(self, kind: Kind, resource_id: str, resource: Resource[Any] | None) -> None:
        """Hold a resource from now on, in the place of what had its id; None holds it no more."""
        before = self._resources[kind].pop(resource_id, None)
        if before is not None:
            self._index(kind, resource_id, before, held=False)
        if resource is not None:
            self._resources[kind][resource_id] = resource
            self._index(kind, resource_id, resource, held=True)

    def owner_of(self, user_name: str) -> str | None:
        """Return the id of the user who has this userName, in whatever case; None where nobody has."""
        return min(self._by_value.get(("User", "username", user_name.lower()), ()), default=None)

    def holders_of(self, number: str) -> list[str]:
        """Return the ids of the users who are active and have this employeeNumber."""
        named = self._named(number)
        return [str(one.id) for one in named if is_active(one) and _same(employee_number(one), number)]

    def manager_of(self, user: Employee) -> Employee | None:
        """Return the manager of a user, if they are provisioned.

        RFC 7643 names them by `id`. Okta sends what a directory has as the manager's name, so it may also be their
        userName, externalId or employeeNumber, where just one user has it; one who is active is preferred.
        """
        named = manager_named(user)
        if named is None:
            return None
        found = self._named(named)
        by_id = [one for one in found if one.id == named]
        active = [one for one in found if is_active(one)]
        return next((some[0] for some in (by_id, active, found) if len(some) == 1), None)

    def _named(self, name: str) -> list[Employee]:
        ids = sorted(self._by_name.get(name.lower(), ()))
        return [cast("Employee", self._resources["User"][one]) for one in ids]

    def reports_of(self, names: Iterable[str]) -> list[Employee]:
        """Return the users who name their manager by one of `names`, in the order of their ids."""
        ids = sorted(set().union(*(self._reports.get(name.lower(), set()) for name in names)))
        return [cast("Employee", self._resources["User"][one]) for one in ids]

    def candidates(self, kind: Kind, asked: SearchRequest[Any]) -> Sequence[Resource[Any]]:
        """Return those of a kind that can match: of a filter such as `userName eq "ann"`, who is indexed under it."""
        node = None if asked.filter is None else asked.filter.ast
        if isinstance(node, Comparison) and node.op == CompareOperator.eq and isinstance(node.value, str):
            attribute = str(node.attr_path).lower()
            if attribute in _INDEXED:
                ids = self._by_value.get((kind, attribute, node.value.lower()), set())
                return [self._resources[kind][one] for one in ids]
        return list(self._resources[kind].values())

    def _index(self, kind: Kind, resource_id: str, resource: Resource[Any], *, held: bool) -> None:
        for attribute, value in (
            ("username", getattr(resource, "user_name", None)),
            ("externalid", resource.external_id),
        ):
            if value:
                _note(self._by_value, (kind, attribute, value.lower()), resource_id, held=held)
        if isinstance(resource, User):
            for name in names_of(resource):
                _note(self._by_name, name.lower(), resource_id, held=held)
            named = manager_named(resource)
            if named is not None:
                _note(self._reports, named.lower(), resource_id, held=held)


def page_of(found: Iterable[Resource[Any]], asked: SearchRequest[Any]) -> SearchPage:
    """Return the page that was asked for of all that match; sorted by `sortBy`, then by id: pages are stable."""
    in_order = sorted(found, key=lambda one: str(one.id))
    if asked.sort_by is not None:
        valued = [(asked.sort_value(one), one) for one in in_order]
        known = sorted((pair for pair in valued if pair[0] is not None), key=lambda pair: pair[0])
        # RFC 7644, section 3.4.2.3: those without a value come last, and first where the order is descending.
        in_order = [one for _, one in known] + [one for value, one in valued if value is None]
        if asked.sort_order == SearchRequest.SortOrder.descending:
            in_order.reverse()
    start = asked.start_index_0 or 0
    stop = None if asked.count is None else start + asked.count
    return SearchPage(len(in_order), in_order[start:stop])


def employee_number(user: Employee) -> str | None:
    """Return the number that the company knows this user by as an employee; None for who has none."""
    employment = user[EnterpriseUser]
    return (employment.employee_number or None) if employment is not None else None


def is_active(user: Employee) -> bool:
    """Tell whether a user may sign in; who says nothing of it may."""
    return user.active is not False


def manager_named(user: Employee) -> str | None:
    """Return what a user names their manager by; None where they name none."""
    employment = user[EnterpriseUser]
    if employment is None or employment.manager is None:
        return None
    return employment.manager.value or None


def names_of(user: Employee) -> set[str]:
    """Return what others may name this user by."""
    return {name for name in (user.id, user.user_name, user.external_id, employee_number(user)) if name}


def _same(one: str | None, other: str) -> bool:
    return one is not None and one.lower() == other.lower()


def _note(index: dict[Any, set[str]], key: Any, resource_id: str, *, held: bool) -> None:
    if held:
        index[key].add(resource_id)
        return
    index[key].discard(resource_id)
    if not index[key]:
        del index[key]
