"""Decides whether what was written by an old JSON Schema can still be read by a new one.

It knows the JSON Schema that pydantic writes. Topics are kept for ever and senders do not change all at once, so
whatever fitted the old has to fit the new. One thing is let pass, or no shape could ever grow: a field that is declared
anew, where an open shape had let through anything of that name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

Schema = Mapping[str, Any]
_LOWER_BOUNDS: Final = ("minimum", "exclusiveMinimum", "minLength", "minItems")
_UPPER_BOUNDS: Final = ("maximum", "exclusiveMaximum", "maxLength", "maxItems")
_EXACT: Final = ("pattern", "format", "uniqueItems")
_ANY: Final[Schema] = {}


def breaks(old: Mapping[str, Schema], new: Mapping[str, Schema], names: Sequence[str]) -> list[str]:
    """Return what of the schemas `names` no longer accepts all that it did, as ``Name.field: why``; empty when all do.

    Args:
        old: all schemas as they were, by name; ``#/components/schemas/<name>`` refers to one.
        new: all schemas as they are.
        names: those to compare.
    """
    comparison = _Comparison(old, new)
    found: list[str] = []
    for name in names:
        if name not in new:
            found.append(f"{name}: is gone, and records of it are there")
        else:
            found.extend(comparison.compare(old[name], new[name], name))
    return found


class _Comparison:
    def __init__(self, old: Mapping[str, Schema], new: Mapping[str, Schema]) -> None:
        self._old, self._new = old, new
        self._open: set[tuple[str, str]] = set()

    def compare(self, old: Schema, new: Schema, where: str) -> Iterator[str]:
        """Yield why something that fits `old` may not fit `new`."""
        pair = (str(old.get("$ref")), str(new.get("$ref")))
        if "$ref" in old and "$ref" in new:
            if pair in self._open:  # a schema that holds itself
                return
            self._open.add(pair)
        try:
            yield from self._compare(_resolved(old, self._old), _resolved(new, self._new), where)
        finally:
            self._open.discard(pair)

    def _compare(self, old: Schema, new: Schema, where: str) -> Iterator[str]:
        if new == _ANY:
            return
        before, after = _branches(old), _branches(new)
        if len(before) > 1 or len(after) > 1:
            for branch in before:
                tried = [list(self.compare(branch, other, where)) for other in after]
                if all(tried):
                    yield min(tried, key=len)[0] if len(after) == 1 else f"{where}: {_named(branch)} is no longer taken"
            return
        yield from _values(old, new, where)
        yield from self._object(old, new, where)
        if "items" in new or "items" in old:
            yield from self.compare(_schema(old.get("items")), _schema(new.get("items")), f"{where}[]")

    def _object(self, old: Schema, new: Schema, where: str) -> Iterator[str]:
        was, is_now = old.get("properties", {}), new.get("properties", {})
        for name in sorted(set(new.get("required", ())) - set(old.get("required", ()))):
            yield f"{where}.{name}: is required now, and was not"
        for name, schema in was.items():
            if name in is_now:
                yield from self.compare(schema, is_now[name], f"{where}.{name}")
            elif new.get("additionalProperties") is False:
                yield f"{where}.{name}: is refused now, and was a field"
        if old.get("type") == "object" == new.get("type"):
            others, allowed = old.get("additionalProperties", True), new.get("additionalProperties", True)
            if allowed is False and others is not False:
                yield f"{where}: refuses further fields now, and let them pass"
            elif isinstance(allowed, Mapping) and others is not False:
                yield from self.compare(_schema(others), allowed, f"{where}.*")


def _values(old: Schema, new: Schema, where: str) -> Iterator[str]:
    types, allowed = _types(old), _types(new)
    if allowed and not types:
        yield f"{where}: has to be {' or '.join(sorted(allowed))} now, and could be anything"
    elif allowed and not types <= allowed | ({"integer"} if "number" in allowed else set()):
        yield f"{where}: has to be {' or '.join(sorted(allowed))} now, and was {' or '.join(sorted(types))}"
    choices = new.get("enum", [new["const"]] if "const" in new else None)
    if choices is not None:
        said = old.get("enum", [old["const"]] if "const" in old else None)
        if said is None:
            yield f"{where}: has to be one of {choices} now, and was free"
        elif gone := [choice for choice in said if choice not in choices]:
            yield f"{where}: {', '.join(map(str, gone))} is no longer taken"
    for bound in _LOWER_BOUNDS:
        if bound in new and (bound not in old or new[bound] > old[bound]):
            yield f"{where}: {bound} is {new[bound]} now, and was {old.get(bound, 'not limited')}"
    for bound in _UPPER_BOUNDS:
        if bound in new and (bound not in old or new[bound] < old[bound]):
            yield f"{where}: {bound} is {new[bound]} now, and was {old.get(bound, 'not limited')}"
    for rule in _EXACT:
        if rule in new and new[rule] != old.get(rule):
            yield f"{where}: {rule} is {new[rule]} now, and was {old.get(rule, 'free')}"


def _resolved(schema: Schema, schemas: Mapping[str, Schema]) -> Schema:
    while "$ref" in schema:
        schema = schemas[schema["$ref"].rpartition("/")[2]]
    return schema


def _branches(schema: Schema) -> Sequence[Schema]:
    found: Sequence[Schema] = schema.get("anyOf") or schema.get("oneOf") or [schema]
    return found


def _schema(value: Any) -> Schema:
    return value if isinstance(value, Mapping) else _ANY


def _types(schema: Schema) -> set[str]:
    said = schema.get("type")
    return set() if said is None else {said} if isinstance(said, str) else set(said)


def _named(schema: Schema) -> str:
    return str(schema.get("$ref", "").rpartition("/")[2] or schema.get("title") or schema.get("type") or schema)
