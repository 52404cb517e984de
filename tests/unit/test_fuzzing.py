"""A bounded part of `make fuzz`: a little of anything to each parser, and to each operation of the HTTP APIs."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzzing.apis import APIS, fuzz_api
from tests.fuzzing.parsers import TARGETS, seeds


@st.composite
def spoilt(draw: st.DrawFn, name: str) -> bytes:
    """What a target is sent when all is well, with something else in the place of some of it; or anything."""
    data = draw(st.sampled_from(seeds(name)) | st.binary(max_size=200))
    for _ in range(draw(st.integers(0, 3))):
        at, cut = draw(st.integers(0, len(data))), draw(st.integers(0, 8))
        data = data[:at] + draw(st.binary(max_size=6)) + data[at + cut :]
    return data


@pytest.mark.parametrize("name", TARGETS)
def test_whatever_comes_is_read_or_refused_as_it_should(name: str) -> None:
    @given(spoilt(name))
    @settings(max_examples=25)
    def target(data: bytes) -> None:
        TARGETS[name](data)

    for seed in seeds(name):
        TARGETS[name](seed)
    target()


@pytest.mark.parametrize("name", APIS)
def test_whatever_is_asked_is_answered_as_the_document_says_and_with_no_5xx(name: str) -> None:
    answered: Counter[str] = Counter()
    fuzz_api(name, 4, answered)
    assert len(answered) >= 3
