"""Bounds what one request may cost: the protocol is the library's, and the event loop is everybody's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from scim2_models import (
    InvalidFilterException,
    InvalidPathException,
    PatchOp,
    PayloadTooLargeException,
    Resource,
    ResourceType,
    SearchRequest,
)
from scim2_server.conditions import Conditions
from scim2_server.service import ScimService

LONGEST_FILTER: Final = 8000
"""Characters of a filter. It is parsed at about 20 us a character."""
LONGEST_PATH: Final = 1000
"""Characters of the path of an operation of a PATCH; a path may hold a filter."""
_MOST_STEPS: Final = 40_000
"""About a second of work."""
_STEPS_OF_AN_OPERATION: Final = 40
"""An operation takes about 1 ms, and as much as a step more for each value that it is compared with."""


class Protocol(ScimService):
    """The protocol, with bounds."""

    def read_search(self, resource_types: list[ResourceType], payload: Any) -> tuple[SearchRequest[Any], Any]:
        """Read what is searched for; refuse a filter that is too long."""
        for name, value in payload.items() if isinstance(payload, dict) else ():
            if name.lower() == "filter" and isinstance(value, str) and len(value) > LONGEST_FILTER:
                raise InvalidFilterException(detail=f"the filter has more than {LONGEST_FILTER} characters")
        return super().read_search(resource_types, payload)

    def read_patch(self, resource_type: ResourceType, body: bytes, content_type: str | None) -> PatchOp[Any]:
        """Read a PATCH; refuse one that would take long to read."""
        operations = list(_operations(self.decode_body(body, content_type)))
        if len(operations) * _STEPS_OF_AN_OPERATION > _MOST_STEPS:
            raise _too_many()
        if any(isinstance(path, str) and len(path) > LONGEST_PATH for one in operations for path in _paths(one)):
            raise InvalidPathException(detail=f"a path has more than {LONGEST_PATH} characters")
        return super().read_patch(resource_type, body, content_type)

    def apply_patch(
        self, current: Resource[Any], patch_op: PatchOp[Any], conditions: Conditions
    ) -> Resource[Any] | None:
        """Apply a PATCH; refuse one that would take long, as each operation looks at each value that there is."""
        operations = patch_op.operations or []
        values = len(getattr(current, "members", None) or ()) + sum(
            len(one.value) for one in operations if isinstance(one.value, list)
        )
        if len(operations) * (values + _STEPS_OF_AN_OPERATION) > _MOST_STEPS:
            raise _too_many()
        return super().apply_patch(current, patch_op, conditions)


def _operations(payload: Any) -> Iterator[dict[str, Any]]:
    for name, value in payload.items() if isinstance(payload, dict) else ():
        if name.lower() == "operations" and isinstance(value, list):
            yield from (one for one in value if isinstance(one, dict))


def _paths(operation: dict[str, Any]) -> Iterator[Any]:
    """Yield the paths of an operation: a value that is an object may have them as its keys."""
    for name, value in operation.items():
        if name.lower() == "path":
            yield value
        elif isinstance(value, dict):
            yield from value


def _too_many() -> PayloadTooLargeException:
    return PayloadTooLargeException(detail="these are too many operations; send all members in one, or send fewer")
