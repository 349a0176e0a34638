"""Names that Kubernetes has (RFC 1123), which stand in paths of its API."""

import re
from typing import Final

from core.domain.errors import InvalidInput

NAME_CHARS_MAX: Final = 253
_LABEL: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\Z", re.ASCII)


def check_label(field: str, name: str) -> None:
    """Raises `InvalidInput` unless `name` can be a namespace's or a container's."""
    if not _LABEL.match(name):
        raise InvalidInput(field, f"{name[:64]!r} is not a name that Kubernetes has (RFC 1123)")


def check_object_name(field: str, name: str) -> None:
    """Raises `InvalidInput` unless `name` can be another object's: such labels with dots between."""
    if len(name) > NAME_CHARS_MAX or not all(_LABEL.match(part) for part in name.split(".")):
        raise InvalidInput(field, f"{name[:64]!r} is not a name that Kubernetes has (RFC 1123)")
