"""Evaluates JMESPath (https://jmespath.org) over a delivery, with the few functions that vendors' payloads call for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

import jmespath
from jmespath.exceptions import JMESPathError
from jmespath.functions import Functions, signature
from jmespath.visitor import TreeInterpreter

from shared.streaming.records import Poison

Scalar = str | int | float | bool
Tables = Mapping[str, Mapping[str, Scalar]]

_ACCESS: Final = ("subexpression", "index_expression", "projection", "filter_projection", "value_projection", "flatten")
_MILLISECONDS_FROM: Final = 100_000_000_000
"""Epoch numbers from here on are milliseconds: as seconds they would lie in the year 5138."""


class Unmappable(Poison):
    """A delivery of which no event can be made; the message says why, for whoever mends the declaration."""


class Expression:
    """A compiled expression.

    Raises:
        ValueError: the text is no JMESPath, or calls a function that there is none of.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        try:
            self._compiled = jmespath.compile(text)
        except JMESPathError as exc:
            raise ValueError(f"is no JMESPath: {' '.join(str(exc).split())}") from exc
        for node in _nodes(self._compiled.parsed):
            if node["type"] == "function_expression" and node["value"] not in FUNCTIONS:
                raise ValueError(f"calls {node['value']}(), which is none of {', '.join(sorted(FUNCTIONS))}")
            first = next(iter(node.get("children", ())), None)
            if node["type"] in _ACCESS and isinstance(first, dict) and first["type"] == "not_expression":
                raise ValueError("has ! before a path, and ! binds closer than the path's dots: write !(body.a.b)")

    def __repr__(self) -> str:
        return f"Expression({self.text!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Expression) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)

    def headers(self) -> set[str]:
        """Return the headers that the expression reads, in lower case."""
        found = set()
        for node in _nodes(self._compiled.parsed):
            children = node.get("children", [])
            if node["type"] == "subexpression" and children[0] == {"type": "field", "children": [], "value": "headers"}:
                found.add(str(children[1].get("value", "")).lower())
        return found

    def holds(self, seen: Mapping[str, Any], functions: SourceFunctions, where: str) -> bool:
        """Tell whether what the expression gives counts as true, which null, false and what is empty do not."""
        found = self.evaluate(seen, functions, where)
        return found is not None and found is not False and found not in ("", [], {})

    def evaluate(self, seen: Mapping[str, Any], functions: SourceFunctions, where: str) -> Any:
        """Return what the expression gives; None where it finds nothing.

        Args:
            seen: `body`, `item`, `headers` and `fetched`.
            functions: those of the source.
            where: the key of the declaration that holds the expression, for the error.

        Raises:
            Unmappable: it can't be evaluated over this payload.
        """
        try:
            return functions.interpreter.visit(self._compiled.parsed, seen)
        except Unmappable as exc:
            raise Unmappable(f"{where}: {exc}") from exc
        except (JMESPathError, ArithmeticError) as exc:
            # The library's words hold the value that it met, which may be personal; the kind says enough.
            raise Unmappable(f"{where}: {self.text!r} does not fit this payload ({type(exc).__name__})") from exc


class SourceFunctions(Functions):
    """JMESPath's functions and ours.

    Args:
        timezone: IANA name; of times that come without a zone, and of dates without a time.
        tables: what `lookup` looks up.
    """

    def __init__(self, timezone: str = "UTC", tables: Tables | None = None) -> None:
        super().__init__()
        self._zone = ZoneInfo(timezone)
        self._tables = tables or {}
        # The library's `search` makes an interpreter each time, which looks up its methods anew: half of what the
        # expressions of a webhook take.
        self.interpreter = TreeInterpreter(jmespath.Options(custom_functions=self))

    def time_of(self, said: str | float) -> datetime:
        """Return the time that `said` says, in UTC; see `read_time`."""
        return read_time(said, self._zone)

    def text_of(self, said: Any) -> str | None:
        """Return what `said` is as text, if it is text or a number; None for blanks."""
        return str(said).strip() or None if isinstance(said, str | int | float) and not isinstance(said, bool) else None

    @signature({"types": ["string", "number", "null"]})
    def _func_text(self, said: str | float | None) -> str | None:
        """``text(x)``: x as text; nothing for nothing and for blanks (where `to_string` gives "null")."""
        return self.text_of(said)

    @signature({"types": []})
    def _func_value(self, said: Any) -> Any:
        """``value(x)``: x, or its `value` where x is an object that has one; nothing for an empty text."""
        found = said["value"] if isinstance(said, dict) and "value" in said else said
        return None if found == "" else found

    @signature({"types": ["array"]})
    def _func_words(self, parts: list[Any]) -> str | None:
        """``words([x, y])``: x and y with a blank between; nothing if one is missing, as half a name is none."""
        texts = [self.text_of(part) for part in parts]
        return " ".join(text for text in texts if text) if all(texts) else None

    @signature({"types": ["string", "number", "null"]})
    def _func_time(self, said: str | float | None) -> str | None:
        """``time(x)``: the time that x says (ISO 8601, or seconds or milliseconds since 1970), as RFC 3339.

        It keeps the zone that x was said in, for that zone decides which day it was.
        """
        if said is None or said == "":
            return None
        found = _in_own_zone(said, self._zone)
        _in_utc(found)  # refuses what is no time there
        return found.isoformat()

    @signature({"types": ["string", "number", "null"]})
    def _func_date(self, said: str | float | None) -> str | None:
        """``date(x)``: the day of it, in the zone that x was said in; the source's where none was."""
        if said is None or said == "":
            return None
        return said if isinstance(said, str) and _is_date(said) else _in_own_zone(said, self._zone).date().isoformat()

    @signature({"types": ["string"]}, {"types": ["string", "number", "null"]})
    def _func_lookup(self, name: str, key: str | float | None) -> Scalar | None:
        """``lookup('t', x)``: what `tables.t` has for x. Nothing for nothing, and nothing while the table is empty."""
        if name not in self._tables:
            raise Unmappable(f"there is no table {name!r}; add tables.{name}")
        table = self._tables[name]
        if key in (None, "") or not table:
            return None
        if str(key) not in table:
            raise Unmappable(f"tables.{name} has nothing for {str(key)[:80]!r}; add it, then replay the source")
        return table[str(key)]

    @signature({"types": ["string", "null"]}, {"types": ["number"]})
    def _func_cut(self, text: str | None, characters: float) -> str | None:
        """``cut(x, n)``: x in one line of at most n characters."""
        if text is None:
            return None
        line = " ".join(text.split())
        return line if len(line) <= characters else line[: int(characters) - 1].rstrip() + "…"


FUNCTIONS: Final[Mapping[str, Any]] = SourceFunctions.FUNCTION_TABLE


def read_time(said: str | float, zone: ZoneInfo | None = None) -> datetime:
    """Return the time that `said` says, in UTC.

    Args:
        said: ISO 8601, or a number (of seconds, or of milliseconds, since 1970), also as text.
        zone: of what says none; UTC when None.

    Raises:
        Unmappable: it is no time.
    """
    return _in_utc(_in_own_zone(said, zone or ZoneInfo("UTC")))


def _in_utc(found: datetime) -> datetime:
    try:
        return found.astimezone(UTC)
    except OverflowError as exc:
        raise Unmappable("a time lies outside the years 1 to 9999") from exc


def _in_own_zone(said: str | float, zone: ZoneInfo) -> datetime:
    try:
        if not isinstance(said, str) or said.strip().lstrip("-").isdigit():
            number = float(said)
            return datetime.fromtimestamp(number / 1000 if abs(number) >= _MILLISECONDS_FROM else number, tz=zone)
        found = datetime.fromisoformat(said.strip())
    except (ValueError, OverflowError, OSError) as exc:
        raise Unmappable("a time is neither ISO 8601 nor a number of seconds or milliseconds since 1970") from exc
    return found if found.tzinfo is not None else found.replace(tzinfo=zone)


def _is_date(said: str) -> bool:
    try:
        date.fromisoformat(said)
    except ValueError:
        return False
    return len(said) == len("2026-02-27")


def _nodes(tree: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield every node of a parsed expression."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        waiting.extend(child for child in node.get("children", ()) if isinstance(child, dict))
