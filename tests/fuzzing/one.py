"""One parser under libFuzzer: `python -m tests.fuzzing.one TARGET CORPUS [libFuzzer's options]`."""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(
    include=["services", "shared", "scim2_models", "scim2_server", "jmespath", "xmltodict"]
):
    from tests.fuzzing.parsers import TARGETS, seeds

name, corpus = sys.argv[1:3]
for number, seed in enumerate(seeds(name)):
    (Path(corpus) / f"seed-{number}").write_bytes(seed)
atheris.Setup(sys.argv[1:], TARGETS[name])
atheris.Fuzz()
