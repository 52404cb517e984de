"""What the correlator writes is what the contract's models would have written, and what they read."""

from __future__ import annotations

import types
import typing
import uuid
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.contracts import outputs, said
from shared.contracts.base import Contract
from shared.contracts.career import write_contract
from shared.contracts.ids import stable_id

FORMS = (
    "Reason",
    "Evidence",
    "Opportunity",
    "Protege",
    "PromptBody",
    "PromptOpened",
    "PromptUpdated",
    "PromptWithdrawn",
    "PromptFulfilled",
    "SuggestedSponsor",
    "GapOpened",
    "GapUpdated",
    "GapClosed",
)

times = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC))
words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)


def test_every_form_is_compared() -> None:
    structs = {name for name, form in vars(said).items() if isinstance(form, type) and issubclass(form, msgspec.Struct)}
    assert {name for name in structs if not name.startswith("_")} == set(FORMS)


@pytest.mark.parametrize("name", FORMS)
def test_a_form_has_the_fields_of_its_model_in_their_order(name: str) -> None:
    model: type[Contract] = getattr(outputs, name)
    assert getattr(said, name).__struct_fields__ == tuple(model.model_fields)


@pytest.mark.parametrize("name", FORMS)
@given(st.data())
def test_a_form_is_written_as_its_model_is(name: str, data: st.DataObject) -> None:
    form = data.draw(a_value(getattr(said, name)))
    model: type[Contract] = getattr(outputs, name)
    assert said.write(form) == write_contract(model.model_validate_json(said.write(form)))


@given(st.lists(st.text(), min_size=1, max_size=4))
def test_an_id_is_the_uuid_of_version_5(parts: list[str]) -> None:
    namespace = uuid.uuid5(uuid.NAMESPACE_URL, "urn:sponsorship-tracker")
    assert stable_id(*parts) == str(uuid.uuid5(namespace, "\x1f".join(parts)))


def a_value(of: Any) -> st.SearchStrategy[Any]:
    """Return any value of a field's type, within what the contract allows."""
    origin = typing.get_origin(of)
    if isinstance(of, type) and issubclass(of, msgspec.Struct):
        hints = typing.get_type_hints(of)
        return st.builds(of, **{name: a_value(hints[name]) for name in of.__struct_fields__})
    if origin is tuple:
        return st.lists(a_value(typing.get_args(of)[0]), max_size=3).map(tuple)
    if origin is typing.Literal:
        return st.sampled_from(typing.get_args(of))
    if origin in (typing.Union, types.UnionType):
        return st.one_of(*map(a_value, typing.get_args(of)))
    plain: dict[Any, st.SearchStrategy[Any]] = {
        str: words,
        int: st.integers(1, 30),
        datetime: times,
        date: st.dates(date(1, 1, 1), date(9999, 12, 31) - timedelta(days=1)),
        type(None): st.none(),
    }
    return plain[getattr(of, "__supertype__", of)]
