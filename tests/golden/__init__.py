"""Messages as people have looked at them, kept so that a change of them is seen: GOLDEN=write writes them anew."""

from __future__ import annotations

import os
from pathlib import Path

FOLDER = Path(__file__).parent


def looks_as_before(name: str, text: str) -> bool:
    """Tell whether `text` is what the file of that name holds."""
    path = FOLDER / name
    if os.environ.get("GOLDEN") == "write":
        path.write_text(text, encoding="utf-8", newline="\n")
    return path.read_text(encoding="utf-8") == text
