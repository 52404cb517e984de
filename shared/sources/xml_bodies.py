"""Reads XML into the document that expressions see: elements by their local names, `@name` for attributes, `#text`.

An element that stands once is itself, one that is repeated is a list; all text is text, and what is empty is null.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any, Final, NoReturn, cast
from xml.parsers import expat
from xml.parsers.expat import XMLParserType

import xmltodict

from shared.sources.expressions import Unmappable

_MARKS: Final = (b"\xff\xfe", b"\xfe\xff")
"""How UTF-16 begins, in which nobody sends JSON."""
_BLANKS: Final = b" \t\r\n\xef\xbb\xbf"
_LOOKED_AT: Final = 64


def is_xml(body: bytes) -> bool:
    """Tell whether a body is meant as XML, which no JSON begins like."""
    return body[:_LOOKED_AT].lstrip(_BLANKS)[:1] == b"<" or body[:2] in _MARKS


def read_xml(body: bytes) -> Any:
    """Return the document.

    Namespaces only tell who named an element, and prefixes are the sender's whim, so neither is kept. Comments are
    dropped. Nothing is fetched or expanded: a document type (SOAP allows none) is refused before anything it declares.

    Raises:
        Unmappable: it is not well-formed, or has a document type.
    """
    try:
        return xmltodict.parse(
            body,
            expat=_NoDocumentTypes,
            process_namespaces=True,
            namespaces=defaultdict(str),
            postprocessor=cast(Any, _without_prefixes),  # its stub knows nothing of None, which drops a name
        )
    except (expat.ExpatError, ValueError, LookupError) as exc:  # the latter two of encodings
        raise Unmappable(f"the body is no XML that can be read: {str(exc)[:200]}") from exc


class _NoDocumentTypes:
    """Expat as xmltodict wants it given."""

    @staticmethod
    def ParserCreate(encoding: str | None, separator: str | None) -> XMLParserType:  # noqa: N802 - expat's name
        parser = expat.ParserCreate(encoding, separator)
        parser.StartDoctypeDeclHandler = _refuse
        return parser


def _refuse(*_: object) -> NoReturn:
    raise Unmappable("the body has a document type (<!DOCTYPE …>), which may declare what grows without end: refused")


def _without_prefixes(_: object, key: str, value: Any) -> tuple[str, Any] | None:
    return None if key == "@xmlns" else (key, value)
