"""Brings the catalogues up to what is said to people: new texts come in, old ones go.

A new language: run `python -m deploy.catalogues <tag>`, translate what it names, run the tests. Nothing is compiled
into the repository: the services do that when they start.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, Final

from babel.messages import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po, write_po

from deploy.broker import PROJECT

SERVICES: Final = PROJECT / "services"
_FOLDERS: Final = {"portal": SERVICES / "portal", "prompter": SERVICES / "prompter", "shared": PROJECT / "shared"}
"""What has catalogues; that of `shared` holds what both services say."""
_METHODS: Final = [("**.py", "python"), ("**/templates/**.html", "jinja2"), ("templates/**.html", "jinja2")]
_JINJA: Final = {"trimmed": "false", "silent": "false", "newstyle_gettext": "true"}
_OPTIONS: Final = {"**/templates/**.html": _JINJA, "templates/**.html": _JINJA}
_LEFT_OUT: Final = (b"# ", b'"POT-', b'"PO-', b'"Report-', b'"Last-', b'"Language-Team', b'"Generated')
_KEYWORDS: Final[dict[str, Any]] = {"_": None, "gettext": None, "ngettext": (1, 2), "marked": None}


def said(name: str) -> Catalog:
    """Return all that a service says to people, untranslated, without what `shared` says; or that."""
    elsewhere = said("shared") if name != "shared" else ()
    catalogue = Catalog(project=f"sponsorship-tracker {name}", charset="utf-8")
    for file, _, text, comments, context in extract_from_dir(
        _FOLDERS[name], _METHODS, _OPTIONS, keywords=_KEYWORDS, comment_tags=()
    ):
        if text not in elsewhere:
            catalogue.add(text, None, [(file, 0)], auto_comments=comments, context=context)
    return catalogue


def files() -> Iterator[Path]:
    """Yield the catalogues that there are."""
    for name, folder in _FOLDERS.items():
        yield from sorted((folder / "locale").glob(f"*/LC_MESSAGES/{name}.po"))


def updated(file: Path) -> bytes:
    """Return a catalogue as it has to be, with what is translated of it."""
    tag = file.parts[-3]
    catalogue = Catalog(locale=tag, charset="utf-8")
    if file.exists():
        with file.open("rb") as before:
            catalogue = read_po(before, tag)
    catalogue.update(said(file.stem), no_fuzzy_matching=True)
    catalogue.obsolete.clear()
    written = BytesIO()
    write_po(written, catalogue, width=120, sort_output=True, omit_header=False, no_location=True)
    # Without the time of writing and what nobody fills in: the same texts are the same file.
    lines = written.getvalue().splitlines(keepends=True)
    kept = [line for line in lines if not line.startswith(_LEFT_OUT) and line not in (b"#\n", b"#, fuzzy\n")]
    return b"".join(kept)


def main(arguments: list[str] | None = None) -> int:
    """Write the catalogues; exit 0, or 1 where texts are left to be translated."""
    parser = argparse.ArgumentParser(prog="python -m deploy.catalogues", description=__doc__)
    parser.add_argument("tag", nargs="*", help="languages that have no catalogue yet")
    tags = parser.parse_args(arguments).tag
    new = (folder / "locale" / tag / "LC_MESSAGES" / f"{name}.po" for name, folder in _FOLDERS.items() for tag in tags)
    wanted = {*files(), *new}
    missing = 0
    for file in sorted(wanted):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(updated(file))
        with file.open("rb") as written:
            for message in read_po(written, file.parts[-3]):
                untranslated = not message.string or (isinstance(message.string, tuple) and not all(message.string))
                if message.id and untranslated:
                    missing += 1
                    print(f"{file.relative_to(PROJECT)}: not translated: {message.id!r}", file=sys.stderr)
    return 1 if missing else 0


if __name__ == "__main__":
    raise SystemExit(main())
