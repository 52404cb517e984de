"""What all parts of a source's file have in common: no unknown keys, and expressions compiled as they are read."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict

from shared.contracts.base import Contract
from shared.sources.expressions import Expression


def _compiled(value: Any) -> Any:
    return Expression(value) if isinstance(value, str) else value


Jmes = Annotated[Expression, BeforeValidator(_compiled)]


class Declared(Contract):
    """A part of a source's file."""

    model_config = ConfigDict(arbitrary_types_allowed=True)
