"""Reads a YAML file that people edit into a pydantic model; every fault names the file, the line and the key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

M = TypeVar("M", bound=BaseModel)


class BadFile(ValueError):
    """The file is not what it should be; each line of the message names the line and the key, and what is wrong."""


def read_yaml(path: Path, model: type[M]) -> M:
    """Return what the file holds, as `model` takes it.

    Every scalar is text to begin with, and the model makes of it what it needs: as YAML 1.1 says, 18:00 would be the
    number 1080, and Norway's code the word false.

    Raises:
        BadFile: it can't be read, a key is there twice, or the model refuses it.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise BadFile(f"{path}: can't be read: {exc}") from exc
    try:
        document = yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506 (builds nothing but text, lists and mappings)
        root = yaml.compose(text, Loader=yaml.BaseLoader)
    except yaml.YAMLError as exc:
        raise BadFile(f"{path}: not YAML: {exc}") from exc
    lines = dict(_lines(root)) if root is not None else {}
    if twice := [f"{path}:{line}: {'.'.join(key)}: is there twice" for key, line in _twice(root)]:
        raise BadFile("\n".join(twice))
    try:
        return model.model_validate(document)
    except ValidationError as exc:
        errors = exc.errors()
        within = {error["loc"][:depth] for error in errors for depth in range(1, len(error["loc"]))}
        told = [error for error in errors if error["loc"] not in within]  # a list is too short for what is wrong in it
        raise BadFile("\n".join(f"{path}:{_complaint(error, lines)}" for error in told)) from exc


_Key = tuple[str, ...]


def _lines(node: yaml.Node, key: _Key = ()) -> Iterator[tuple[_Key, int]]:
    """Yield where each key of the document is, by its path."""
    yield key, node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            yield from _lines(value, (*key, str(name.value)))
            yield (*key, str(name.value)), name.start_mark.line + 1
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            yield from _lines(value, (*key, str(number)))


def _twice(node: yaml.Node | None, key: _Key = ()) -> Iterator[tuple[_Key, int]]:
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


def _complaint(error: Any, lines: Mapping[_Key, int]) -> str:
    key = tuple(str(part) for part in error["loc"])
    known = key
    while known and known not in lines:  # a key that is missing has the line of what it is missing from
        known = known[:-1]
    said = "is not known here: is it misspelt?" if error["type"] == "extra_forbidden" else error["msg"]
    return f"{lines.get(known, 1)}: {'.'.join(key) or 'the file'}: {said.removeprefix('Value error, ')}"
