"""Series identity: a metric name, labels and a source, validated and made canonical."""

import hashlib
import re
from collections.abc import Mapping
from typing import Final

import msgspec

from core.domain.errors import InvalidInput

NAME_CHARS_MAX: Final = 200
"""Longer names are generated text, not names; indexes and screens stay usable."""
LABELS_MAX: Final = 40
"""Kubernetes workloads carry about 20; more is a sign of data in the labels."""
LABEL_NAME_CHARS_MAX: Final = 128
"""The longest Kubernetes label keys in the field are about 120."""
LABEL_VALUE_BYTES_MAX: Final = 2_048
"""Room for an ARN or a path; a value past this is a payload."""

_NAME = re.compile(r"[A-Za-z_:][A-Za-z0-9_:.\-]*\Z", re.ASCII)
_LABEL_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-/]*\Z", re.ASCII)

Labels = Mapping[str, str]


class SeriesIdentity(msgspec.Struct, frozen=True):
    """What makes a series one series; `labels` are in ascending order of their names."""

    name: str
    labels: tuple[tuple[str, str], ...]
    source: str
    """Empty where the sender named none."""

    @property
    def digest(self) -> bytes:
        """16 bytes (BLAKE2b) that stand for the identity in the catalog's unique index."""
        return hashlib.blake2b(msgspec.json.encode((self.name, self.labels, self.source)), digest_size=16).digest()


class Series(msgspec.Struct, frozen=True):
    """A catalogued series of one tenant."""

    series_id: int
    name: str
    labels: dict[str, str]
    source: str


def series_identity(name: str, labels: Labels, source: str | None) -> SeriesIdentity:
    """The canonical identity; raises `InvalidInput` naming the field and the rule it breaks."""
    check_name(name)
    if len(labels) > LABELS_MAX:
        raise InvalidInput("labels", f"{len(labels)} labels; at most {LABELS_MAX} are kept")
    for label, value in labels.items():
        check_label(label, value)
    if source is not None:
        check_text("source", source)
    return SeriesIdentity(name, tuple(sorted(labels.items())), source or "")


def check_name(name: str, field: str = "name") -> None:
    """Raises `InvalidInput` unless `name` can be a metric's name."""
    if len(name) > NAME_CHARS_MAX:
        raise InvalidInput(field, f"{len(name)} characters; at most {NAME_CHARS_MAX} are allowed")
    if not _NAME.match(name):
        raise InvalidInput(
            field, f"{name[:64]!r} is not a metric name: letters, digits and _ : . - only, no digit, '.' or '-' first"
        )


def check_label_name(label: str, field: str = "labels") -> None:
    """Raises `InvalidInput` unless `label` can be a label's name."""
    if len(label) > LABEL_NAME_CHARS_MAX:
        raise InvalidInput(field, f"a label name of {len(label)} characters; at most {LABEL_NAME_CHARS_MAX} may be")
    if not _LABEL_NAME.match(label):
        raise InvalidInput(
            field, f"{label[:64]!r} is not a label name: letters, digits and _ . - / only, a letter or _ first"
        )


def check_label(label: str, value: str) -> None:
    """Raises `InvalidInput` unless the pair can be a label."""
    check_label_name(label)
    check_text(f"labels.{label}", value)


def check_text(field: str, value: str) -> None:
    """Raises `InvalidInput` where a label value or a source is too long or cannot be stored."""
    if "\x00" in value:
        raise InvalidInput(field, "contains a NUL character, which PostgreSQL cannot store")
    try:
        size_bytes = len(value.encode())
    except UnicodeEncodeError:
        raise InvalidInput(field, "contains half of a surrogate pair, which is not Unicode text") from None
    if size_bytes > LABEL_VALUE_BYTES_MAX:
        raise InvalidInput(field, f"{size_bytes} bytes; at most {LABEL_VALUE_BYTES_MAX} are allowed")
