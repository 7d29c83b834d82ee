"""Names and ids of runs: a name is any text and never part of a path; an id is."""

from __future__ import annotations

import secrets
import string

from unlearning.errors import SettingsError

LONGEST_NAME = 255
_ID_LETTERS = string.ascii_lowercase + string.digits


def new_id() -> str:
    """Eight letters and digits: short enough to type, and no two alike among millions."""
    return "".join(secrets.choice(_ID_LETTERS) for _ in range(8))


def one_line(words: str) -> str:
    """`words` without line breaks and without characters that control a terminal or turn the writing round."""
    joiner = "\u200d"  # holds together what is drawn as one sign
    return " ".join("".join(letter if letter.isprintable() or letter == joiner else " " for letter in words).split())


def checked_name(name: str) -> str:
    """`name` on one line and without control characters.

    Raises:
        SettingsError: longer than 255 characters.
    """
    name = one_line(name)
    if len(name) > LONGEST_NAME:
        raise SettingsError(f"The name has {len(name)} characters.", f"Use at most {LONGEST_NAME}.")
    return name
