"""Bodies that are one thing or a list of them: every refusal says which one it is about."""

from collections.abc import Sequence
from typing import Final, TypeVar

import msgspec

from adapters.driving.http.guards import ApiRequest
from adapters.driving.http.json_text import UNREADABLE, check_utf8, decode_body, malformed
from adapters.driving.http.media_type import check_json
from core.domain.errors import InvalidInput, TooLarge

T = TypeVar("T")

ITEMS_MAX: Final = 1_000
"""What one transaction adds within a second or so; more is sent in several requests."""

_list = msgspec.json.Decoder(list[msgspec.Raw])


async def one_or_many(request: ApiRequest, decoder: msgspec.json.Decoder[T]) -> Sequence[T]:
    """The values of the request's body, at least one, all of them good; raises `RequestError`, `InvalidInput` naming
    the field as ``[2].ts``, and `TooLarge` for more than `ITEMS_MAX`."""
    check_json(dict(request.scope["headers"]))
    body = await request.body()
    if body.lstrip()[:1] != b"[":
        return (decode_body(decoder, body),)
    return [_item(decoder, raw, index) for index, raw in enumerate(_items(body))]


def _items(body: bytes) -> Sequence[msgspec.Raw]:
    check_utf8(body)
    try:
        raws = _list.decode(body)
    except UNREADABLE as error:
        raise malformed(body, error) from None
    if len(raws) > ITEMS_MAX:
        raise TooLarge(f"more than {ITEMS_MAX} in one request; send them in several", limit=ITEMS_MAX)
    if not raws:
        raise InvalidInput("body", "the list is empty; at least one is needed")
    return raws


def _item(decoder: msgspec.json.Decoder[T], raw: msgspec.Raw, index: int) -> T:
    try:
        return decode_body(decoder, bytes(raw))
    except InvalidInput as error:
        inside = "" if error.field == "body" else f".{error.field}"
        raise InvalidInput(f"[{index}]{inside}", error.reason) from None
