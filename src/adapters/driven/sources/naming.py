"""Vendors' names as Sextant's: the same text always gives the same name, and different ones do not meet.

A name that Sextant takes stays as it is, dots and all.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Final

from core.domain.series import LABEL_NAME_CHARS_MAX, LABEL_VALUE_BYTES_MAX, NAME_CHARS_MAX

_NAME = re.compile(r"[A-Za-z_:][A-Za-z0-9_:.\-]*\Z", re.ASCII)
_NOT_NAME = re.compile(r"[^A-Za-z0-9_:.\-]+", re.ASCII)
_LABEL = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-/]*\Z", re.ASCII)
_NOT_LABEL = re.compile(r"[^A-Za-z0-9_.\-/]+", re.ASCII)
_FIRST = re.compile(r"[A-Za-z_]", re.ASCII)
MARK_CHARS: Final = 8
"""Of a hash, to tell apart what would become one name: 32 bits among the names of one tenant."""


def metric_name(text: str) -> str:
    """A metric's name; an expression such as ``a / b`` becomes ``a_b_`` and a mark of its own."""
    if _NAME.match(text) and len(text) <= NAME_CHARS_MAX:
        return text
    return _marked(_NOT_NAME.sub("_", text).strip("_"), text, NAME_CHARS_MAX)


def label_set(labels: Mapping[str, str] | Iterable[tuple[str, str]]) -> dict[str, str]:
    """The labels with names and values that can be stored; empty values are left out, as an absent label is.

    A name that had to be changed into one that is there already gets a mark.
    """
    pairs = sorted(labels.items() if isinstance(labels, Mapping) else labels)
    kept = {name: label_value(value) for name, value in pairs if value and _is_label(name)}
    for name, value in pairs:
        if value and not _is_label(name):
            plain = _NOT_LABEL.sub("_", name)
            plain = plain if _FIRST.match(plain) else f"_{plain}"
            taken = plain in kept or len(plain) > LABEL_NAME_CHARS_MAX
            kept[_marked(plain, name, LABEL_NAME_CHARS_MAX) if taken else plain] = label_value(value)
    return kept


def label_value(text: str) -> str:
    """The value as it can be stored: no NUL, no half surrogate pair; a long one is cut and marked."""
    size_bytes = len(text.encode("utf-8", "replace"))
    if size_bytes <= LABEL_VALUE_BYTES_MAX and "\x00" not in text and text.isprintable():
        return text
    clean = text.replace("\x00", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    encoded = clean.encode()
    if len(encoded) <= LABEL_VALUE_BYTES_MAX:
        return clean
    kept = encoded[: LABEL_VALUE_BYTES_MAX - MARK_CHARS - 1].decode("utf-8", "ignore")
    return f"{kept}~{_mark(text)}"


def item_key(*parts: str) -> str:
    """A short key that is the same for the same parts in every run."""
    return hashlib.blake2b("\x00".join(parts).encode("utf-8", "replace"), digest_size=12).hexdigest()


def _is_label(name: str) -> bool:
    return len(name) <= LABEL_NAME_CHARS_MAX and _LABEL.match(name) is not None


def _marked(plain: str, text: str, chars_max: int) -> str:
    plain = plain if _FIRST.match(plain) else f"_{plain}"
    return f"{plain[: chars_max - MARK_CHARS - 1]}_{_mark(text)}"


def _mark(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=MARK_CHARS // 2).hexdigest()
