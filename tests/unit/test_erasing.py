"""What the command says when it may not begin, and what of states it leaves."""

from __future__ import annotations

from typing import Any

import pytest

from deploy.tracker.__main__ import main


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PERSON_MARKS_KEY", "PERSON_MASTER_KEYS"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("command", [["person", "erase", "E1"], ["keys", "rewrap"]])
def test_without_keys_nobody_is_erased_and_nothing_rewrapped(command: list[str], capsys: Any) -> None:
    assert main(command) == 2
    assert "set PERSON_MARKS_KEY" in capsys.readouterr().err


def test_unfit_keys_are_told(capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERSON_MARKS_KEY", "short")
    assert main(["person", "erase", "E1"]) == 1
    assert "PERSON_MARKS_KEY: is shorter" in capsys.readouterr().err
