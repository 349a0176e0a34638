"""JSON documents of others, to jsonb and back without a change.

jsonb keeps numbers in decimal: what is written with an exponent comes back as digits alone, an integer. A large float
is therefore written out with its point, so that it comes back as the float it was.
"""

from typing import Any, Final

import msgspec

from core.domain.configurations import Document

EXPONENT_FROM: Final = 1e16
"""From here on a float's shortest form has an exponent."""

_DOCUMENT: Final = msgspec.json.Decoder(dict[str, Any])


def document_json(document: Document) -> str:
    """A document as jsonb takes it."""
    return msgspec.json.encode(storable(document)).decode()


def optional_json(document: Document | None) -> str | None:
    """The same; NULL for no document."""
    return document_json(document) if document is not None else None


def document_of(text: str) -> Document:
    """The document in a column."""
    return _DOCUMENT.decode(text)


def optional_document(text: str | None) -> Document | None:
    """The same; None for NULL."""
    return document_of(text) if text is not None else None


def storable(value: Any) -> Any:
    """A JSON value that, once encoded, jsonb gives back equal."""
    if isinstance(value, float) and abs(value) >= EXPONENT_FROM:
        return msgspec.Raw(f"{value:.1f}".encode())
    if isinstance(value, dict):
        return {name: storable(member) for name, member in value.items()}
    if isinstance(value, list):
        return [storable(item) for item in value]
    return value
