"""A real browser for tests: Debian's Chromium, driven by Playwright, with nobody to call home to."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

NAMES: Final = ("chromium", "chromium-browser", "google-chrome")
_FLAGS: Final = [
    "--no-sandbox",  # CI runs as root, where Chromium's own sandbox can't be made
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@contextmanager
def a_chromium() -> Iterator[Browser]:
    """Start a browser; it ends with the block."""
    program = next((found for name in NAMES if (found := shutil.which(name))), None)
    if program is None:
        raise RuntimeError("no Chromium here: `make chromium` installs it (Debian, Ubuntu: apt-get install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=_FLAGS)
        try:
            yield browser
        finally:
            browser.close()


def barriers(page: Page) -> list[str]:
    """Return what axe-core holds against a page, by rule and place; and whether one has to scroll sideways."""
    found: list[dict[str, Any]] = Axe().run(page).response["violations"]
    said = [f"{one['id']}: {node['target']}" for one in found for node in one["nodes"]]
    root = "document.documentElement"
    if page.evaluate(f"{root}.scrollWidth > {root}.clientWidth"):
        said.append("wider than the window")
    return said
