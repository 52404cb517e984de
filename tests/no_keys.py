"""A keyring that does nothing, as a service has it where nobody can be erased."""

from __future__ import annotations

from shared.service.settings import PersonKeySettings
from shared.streaming.person_keys import Keyring


def no_keys() -> Keyring:
    return Keyring(PersonKeySettings(person_marks_key=None, person_master_keys=None), "nowhere:9")
