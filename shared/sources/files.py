"""Reads sources' files. Every error names the file, the line and the key."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import Field, ValidationError

from shared.sources.declaration import Declaration
from shared.sources.mappers import mapper_of

_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The safe loader, in C where PyYAML was built with it: ten times as fast."""
_KEY: Final = re.compile(r"[a-z_]+(\.[a-z_]+)*")


class BadDeclaration(ValueError):
    """A source's file can't be used; the message has a line for each fault: file, line, key, what is wrong."""


def sources_dir() -> Any:
    """Return the field of a service's settings that says where the sources' files are."""
    return Field(
        Path("deploy/sources"), validation_alias="SOURCES_DIR", description="folder of the sources' files, *.yaml"
    )


def read_sources(folder: Path) -> Mapping[str, Declaration]:
    """Return every source that is declared in `folder`, by name.

    Raises:
        BadDeclaration: the folder is not there, or a file of it can't be used; all faults of all files are told.
    """
    if not folder.is_dir():
        raise BadDeclaration(f"{folder}: there is no such folder; SOURCES_DIR says where the sources' files are")
    found: dict[str, Declaration] = {}
    faults = []
    for path in sorted(folder.glob("*.yaml")):
        try:
            found[path.stem] = read_source(path)
        except BadDeclaration as exc:
            faults.append(str(exc))
    if faults:
        raise BadDeclaration("\n".join(faults))
    return found


def read_source(path: Path) -> Declaration:
    """Return the source that a file declares.

    Raises:
        BadDeclaration: it can't be used.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise BadDeclaration(f"{path}: can't be read: {exc}") from exc
    try:
        tree = yaml.compose(text, Loader=_LOADER)
        document = yaml.load(text, Loader=_LOADER)  # noqa: S506 - one of the safe loaders
    except yaml.MarkedYAMLError as exc:
        line = exc.problem_mark.line + 1 if exc.problem_mark is not None else 1
        raise BadDeclaration(f"{path}:{line}: is no YAML: {exc.problem}{_about_quotes(exc)}") from exc
    except (yaml.YAMLError, ValueError) as exc:  # a byte that YAML does not allow; a date that there is not
        raise BadDeclaration(f"{path}:1: is no YAML: {' '.join(str(exc).split())}") from exc
    if tree is None:
        raise BadDeclaration(f"{path}:1: is empty")
    _refuse_repeated_keys(path, tree)
    try:
        declaration = Declaration.model_validate(document)
    except ValidationError as exc:
        faults = [_fault(path, tree, error["loc"], error["msg"]) for error in exc.errors()]
        raise BadDeclaration("\n".join(faults)) from exc
    if declaration.name != path.stem:
        said = f"is {declaration.name!r}, and the file is {path.name}: a source is called as its file is"
        raise BadDeclaration(_fault(path, tree, ("name",), said))
    if declaration.mapper is not None:
        try:
            mapper_of(declaration)
        except LookupError as exc:
            raise BadDeclaration(_fault(path, tree, ("mapper",), str(exc.args[0]))) from exc
    return declaration


def _fault(path: Path, tree: yaml.Node, loc: Sequence[int | str], message: str) -> str:
    """Return a fault with the line of the key that it is about, or of what should hold that key."""
    message = message.removeprefix("Value error, ")
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


def _refuse_repeated_keys(path: Path, tree: yaml.Node) -> None:
    """PyYAML takes the last of two equal keys without a word."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, yaml.MappingNode):
            seen: set[str] = set()
            for key, value in node.value:
                if key.value in seen:
                    raise BadDeclaration(f"{path}:{key.start_mark.line + 1}: {key.value}: is there twice")
                seen.add(key.value)
                waiting.append(value)
        elif isinstance(node, yaml.SequenceNode):
            waiting.extend(node.value)


def _about_quotes(error: yaml.MarkedYAMLError) -> str:
    # The usual fault of a JMESPath in YAML: it begins with a quote or a backtick, or holds ": " or " #".
    return (
        "" if "quote" in str(error.problem) else "; an expression that begins with a quote or ` needs quotes around it"
    )
