"""What came from elsewhere as it is shown to people: short, printable, without secrets."""

import hashlib
import json
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

from core.domain.configurations import MASK

TARGET_CHARS_MAX: Final = 200
"""Limits are counted by targets; a longer one is told apart by its digest."""
_TARGET_KEPT_CHARS: Final = 160


def shown(text: str, *, chars_max: int) -> str:
    """`text` with control characters replaced, and cut off where it is longer; line ends and tabs stay."""
    kept = "".join(
        character if character.isprintable() or character in "\n\t" else "�" for character in text[:chars_max]
    )
    return kept if len(text) <= chars_max else f"{kept}… ({len(text) - chars_max} more characters)"


def masked(text: str, secrets: Mapping[str, str]) -> str:
    """`text` without the values of `secrets`, also as JSON and percent-encoding spell them."""
    spellings = {
        spelling for value in secrets.values() for spelling in (value, json.dumps(value)[1:-1], quote(value, safe=""))
    }
    for spelling in sorted(spellings, key=len, reverse=True):
        text = text.replace(spelling, MASK)
    return text


def target_name(text: str) -> str:
    """`text` as an action's target: of bounded length, the same for the same text."""
    if len(text) <= TARGET_CHARS_MAX and text.isprintable():
        return text
    beginning = "".join(character if character.isprintable() else "�" for character in text[:_TARGET_KEPT_CHARS])
    return f"{beginning}…{hashlib.sha256(text.encode()).hexdigest()[:16]}"
