"""Reads a YAML file that people edit into a pydantic model; every fault names the file, the line and the key."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

M = TypeVar("M", bound=BaseModel)

_TEXTS: Final = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
_TYPED: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""Loaders that build nothing but what YAML has; in C where PyYAML was built with it: ten times as fast."""
_KEY: Final = re.compile(r"[a-z_]+(\.[a-z_]+)*")


class BadFile(ValueError):
    """The file is not what it should be; the message has a line for each fault: file, line, key, what is wrong."""


def read_yaml(path: Path, model: type[M], *, typed: bool = False) -> M:
    """Return what the file holds, as `model` takes it.

    Args:
        path: the file.
        model: what it is.
        typed: take numbers and truth values as YAML 1.1 has them. Else every scalar is text to begin with, and the
            model makes of it what it needs: 18:00 would be the number 1080, and Norway's code the word false.

    Raises:
        BadFile: it can't be read, a key is there twice, or the model refuses it.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise BadFile(f"{path}: can't be read: {exc}") from exc
    loader = _TYPED if typed else _TEXTS
    try:
        tree = yaml.compose(text, Loader=loader)
        document = yaml.load(text, Loader=loader)  # noqa: S506 - neither builds objects
    except yaml.MarkedYAMLError as exc:
        line = exc.problem_mark.line + 1 if exc.problem_mark is not None else 1
        raise BadFile(f"{path}:{line}: is no YAML: {exc.problem}{_about_quotes(exc)}") from exc
    except (yaml.YAMLError, ValueError) as exc:  # a byte that YAML does not allow; a date that there is not
        raise BadFile(f"{path}:1: is no YAML: {' '.join(str(exc).split())}") from exc
    if tree is None:
        raise BadFile(f"{path}:1: is empty")
    if twice := [f"{path}:{line}: {'.'.join(key)}: is there twice" for key, line in _twice(tree)]:
        raise BadFile("\n".join(twice))
    try:
        return model.model_validate(document)
    except ValidationError as exc:
        errors = exc.errors()
        within = {error["loc"][:depth] for error in errors for depth in range(1, len(error["loc"]))}
        told = [error for error in errors if error["loc"] not in within]  # a list is too short for what is wrong in it
        raise BadFile("\n".join(_fault(path, tree, error["loc"], _said(error)) for error in told)) from exc


def fault_at(path: Path, key: str, message: str) -> BadFile:
    """Return the fault that a file which could be read has at a key of its first level."""
    tree = yaml.compose(path.read_text(encoding="utf-8"), Loader=_TEXTS)
    assert tree is not None  # noqa: S101 - it could be read
    return BadFile(_fault(path, tree, (key,), message))


def _said(error: Any) -> str:
    if error["type"] == "extra_forbidden":
        return "is not known here: is it misspelt?"
    return str(error["msg"]).removeprefix("Value error, ")


def _fault(path: Path, tree: yaml.Node, loc: Sequence[int | str], message: str) -> str:
    """Return a fault with the line of the key that it is about, or of what should hold that key."""
    # A validator of several fields says in its words which key it means.
    head, colon, rest = message.partition(": ")
    named = head.split(".") if colon and _KEY.fullmatch(head) else []
    node: yaml.Node | None = tree
    line = tree.start_mark.line
    keys: list[str] = []
    for part in (*loc, *named):
        if node is not None and part == _kind(node):
            continue  # pydantic puts in which of several models it took
        keys.append(str(part))
        found = _child(node, part)
        line, node = found or (line, None)
    return f"{path}:{line + 1}: {'.'.join(keys) or 'the file'}: {rest if named else message}"


def _kind(node: yaml.Node) -> str | None:
    found = _child(node, "kind")
    return found[1].value if found is not None and isinstance(found[1], yaml.ScalarNode) else None


def _child(node: yaml.Node | None, part: int | str) -> tuple[int, yaml.Node] | None:
    """Return the line of a key or an entry of `node`, and its value."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == str(part):
                return key.start_mark.line, value
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part].start_mark.line, node.value[part]
    return None


def _twice(node: yaml.Node, key: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], int]]:
    """Yield keys that a mapping has twice, of which PyYAML takes the last without a word."""
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for name, value in node.value:
            here = (*key, str(name.value))
            if name.value in seen:
                yield here, name.start_mark.line + 1
            seen.add(name.value)
            yield from _twice(value, here)
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            yield from _twice(value, (*key, str(number)))


def _about_quotes(error: yaml.MarkedYAMLError) -> str:
    # The usual faults of an expression in YAML.
    if "quote" in str(error.problem):
        return ""
    if "expected ','" in str(error.problem):
        return "; within { } or [ ] a text that holds a comma or a bracket needs quotes around it"
    return "; an expression that begins with a quote or ` needs quotes around it"
