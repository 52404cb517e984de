"""Tends the keys under which personal data is sealed: wraps them by a new master key, or tells who was erased."""

from __future__ import annotations

import argparse
import sys

from deploy.tracker.options import add_bootstrap_servers, person_keys
from shared.streaming.person_keys import BadKeys, KeysAway
from shared.streaming.reading import NotRead


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument(
        "what",
        choices=["rewrap", "erased"],
        help="rewrap: wrap every key by the first of PERSON_MASTER_KEYS; erased: list when each name was erased "
        "and by whom, under the mark that an erasure tells",
    )
    add_bootstrap_servers(parser)
    parser.epilog = (
        "Give all services the new key in front of the old one (PERSON_MASTER_KEYS=new,old) and restart them, rewrap, "
        "then take the old one away. Exit code 0: all are; 1: not all, run it again; 2: wrong settings."
    )


def run(asked: argparse.Namespace) -> int:
    """Rewrap, and say how many keys were wrapped by another master key."""
    try:
        with person_keys(asked.bootstrap_servers) as keys:
            if asked.what == "erased" and keys.is_on:
                for mark, told in sorted(keys.erased().items()):
                    print(f"{mark} {told}")
                return 0
            if not keys.seals:
                print("tracker keys: set PERSON_MARKS_KEY and PERSON_MASTER_KEYS", file=sys.stderr)
                return 2
            print(f"{keys.rewrap():,} keys are now wrapped by the first master key, which opens all")
    except (NotRead, KeysAway, BadKeys) as exc:
        print(f"tracker keys: {exc}", file=sys.stderr)
        return 1
    return 0
