"""Reads sources' files. Every error names the file, the line and the key."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from shared.sources.declaration import Declaration
from shared.sources.mappers import mapper_of
from shared.yaml_files import BadFile, fault_at, read_yaml


class BadDeclaration(BadFile):
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
        declaration = read_yaml(path, Declaration, typed=True)
        if declaration.name != path.stem:
            said = f"is {declaration.name!r}, and the file is {path.name}: a source is called as its file is"
            raise fault_at(path, "name", said)
        if declaration.mapper is not None:
            try:
                mapper_of(declaration)
            except LookupError as exc:
                raise fault_at(path, "mapper", str(exc.args[0])) from exc
    except BadFile as exc:
        raise BadDeclaration(str(exc)) from exc
    return declaration
