"""How large fault tests are, and the figures that they print."""

from __future__ import annotations

import pytest

from tests.counting import Counting, assert_the_fold_of_the_log


class Figures:
    """What was done to a service, and what became of its events."""

    def __init__(self, node: pytest.Item) -> None:
        self._node = node

    def tell(self, fault: str, counting: Counting, *, kills: int) -> None:
        """Fail unless state and outputs are what the log says; else note the figures, for the end of the run."""
        counted = assert_the_fold_of_the_log(counting)
        events = sum(counting.ends().values())
        said = sum(len(set(values)) for values in counted.said.values())
        lost = events - said - len(counted.dead)
        line = (
            f"{fault}: {kills} kills, {events:,} events, {lost} lost, 0 counted twice; "
            f"{counted.twice():,} outputs said again, the same"
        )
        self._node.user_properties.append(("figures", line))
        assert lost == 0


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> Figures:
    return Figures(request.node)


@pytest.fixture(scope="session")
def full(request: pytest.FixtureRequest) -> bool:
    """Tell whether these are the long runs of `make test-faults`."""
    return bool(request.config.getoption("--full"))
