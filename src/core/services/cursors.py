"""Cursors: where a page ended, as a text that says nothing to who passes it on; and how long a page may be."""

import base64
import binascii
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Final, TypeVar
from uuid import UUID

import msgspec

from core.domain.drift import check_id
from core.domain.errors import InvalidInput
from core.domain.times import EPOCH, TIME_US_MAX

PAGE_MAX: Final = 1_000
"""One page is read into memory, and answered, whole."""
DOCUMENTS_PAGE_MAX: Final = 100
"""Of rows with documents of somebody else's, which take up to a megabyte each; who asks for more gets a cursor."""
NOT_OURS: Final = "is not one that this server gave; pass next_cursor as it came"

Position = TypeVar("Position")
Item = TypeVar("Item")

RowId = Annotated[int, msgspec.Meta(ge=1, le=(1 << 63) - 1)]
"""What a store can count up to."""


class Moment(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Where a page ended whose rows are ordered by an instant and a UUID."""

    at_us: Annotated[int, msgspec.Meta(ge=0, lt=TIME_US_MAX)]
    id: UUID


class NamedMoment(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Where a page ended whose rows are ordered by an instant and an id that somebody gave them."""

    at_us: Annotated[int, msgspec.Meta(ge=0, lt=TIME_US_MAX)]
    id: str


def encode_cursor(position: object) -> str:
    """The cursor of a position, which is anything that JSON can hold."""
    return base64.urlsafe_b64encode(msgspec.json.encode(position)).decode().rstrip("=")


def decode_cursor(cursor: str, position: type[Position]) -> Position:
    """The position that a cursor of `encode_cursor` holds; raises `InvalidInput` where it is of no such type."""
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)), type=position)
    except (msgspec.DecodeError, binascii.Error, ValueError):
        raise InvalidInput("cursor", NOT_OURS) from None


def decode_row_cursor(cursor: str | None) -> int | None:
    """The id that a page ended with; None for the first page."""
    if cursor is None:
        return None
    return decode_cursor(cursor, RowId)


def encode_moment(at: datetime, row_id: UUID) -> str:
    """The cursor of a row ordered by an instant and a UUID."""
    return encode_cursor(Moment((at - EPOCH) // timedelta(microseconds=1), row_id))


def decode_moment(cursor: str | None) -> tuple[datetime, UUID] | None:
    """What `encode_moment` encoded; None for the first page. Raises `InvalidInput`."""
    if cursor is None:
        return None
    moment = decode_cursor(cursor, Moment)
    return EPOCH + timedelta(microseconds=moment.at_us), moment.id


def encode_named_moment(at: datetime, row_id: str) -> str:
    """The cursor of a row ordered by an instant and an id that somebody gave it."""
    return encode_cursor(NamedMoment((at - EPOCH) // timedelta(microseconds=1), row_id))


def decode_named_moment(cursor: str | None) -> tuple[datetime, str] | None:
    """What `encode_named_moment` encoded; None for the first page. Raises `InvalidInput`."""
    if cursor is None:
        return None
    moment = decode_cursor(cursor, NamedMoment)
    try:
        check_id("cursor", moment.id)
    except InvalidInput:
        raise InvalidInput("cursor", NOT_OURS) from None
    return EPOCH + timedelta(microseconds=moment.at_us), moment.id


def check_page(limit: int) -> None:
    """Raises `InvalidInput` unless a page may be that long."""
    if not 1 <= limit <= PAGE_MAX:
        raise InvalidInput("limit", f"must be from 1 to {PAGE_MAX}")


def cut(rows: Sequence[Item], limit: int) -> tuple[Sequence[Item], bool]:
    """The first `limit` rows, and whether there are more."""
    return rows[:limit], len(rows) > limit
