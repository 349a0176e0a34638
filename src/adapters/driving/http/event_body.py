"""Bytes → events and refusals: one event, a list of them, or ``{"events": […]}``.

Each event is decoded by itself, so that a bad one is refused by index, field and reason, and costs the others nothing.
"""

from collections.abc import Sequence
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from adapters.driving.http.json_text import UNREADABLE, check_utf8, element_count, explained, malformed, repeated_key
from adapters.driving.http.problem import Kind, RequestError
from core.domain.errors import InvalidInput, TooLarge
from core.domain.events import EVENTS_PER_REQUEST_MAX, EventSpec
from core.domain.points import Rejection

COMMAS_PER_EVENT_MAX: Final = 50
"""More than an event with the most labels has; a body with more commas than this allows is counted first."""
EVENT_BYTES_MAX: Final = 1 << 20
"""Twice what 40 labels of the greatest length take with every byte of them written as an escape."""
NO_EVENTS: Final = Kind(422, "no-events", "The request holds no events")
_FIELDS: Final = tuple(f'"{field}"'.encode() for field in EventSpec.__struct_fields__)


class EventBatch(msgspec.Struct, frozen=True):
    """Events to be kept; one that is refused costs the others nothing."""

    events: Annotated[tuple[EventSpec, ...], Meta(min_length=1, max_length=EVENTS_PER_REQUEST_MAX)]


class _Batch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    events: msgspec.Raw


class _Outline(msgspec.Struct, frozen=True):
    events: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_outline = msgspec.json.Decoder(_Outline)
_batch = msgspec.json.Decoder(_Batch)
_list = msgspec.json.Decoder(list[msgspec.Raw])
_event = msgspec.json.Decoder(EventSpec)


def raw_events(body: bytes) -> Sequence[bytes | msgspec.Raw]:
    """Each event's own bytes.

    Raises `RequestError` for what is not JSON or holds none, `InvalidInput` for another shape, `TooLarge` for more than
    `EVENTS_PER_REQUEST_MAX`.
    """
    check_utf8(body)
    try:
        if body.lstrip()[:1] == b"[":
            return _elements(body)
        if isinstance(_outline.decode(body).events, msgspec.Raw):
            if body.count(b'"events"') > 1 and repeated_key(body) is not None:
                raise InvalidInput("events", "appears more than once")
            return _elements(bytes(_batch.decode(body).events))
    except msgspec.ValidationError as error:
        field, reason = explained(error)
        what = reason if field else f"the body {reason}"
        raise InvalidInput(field or "events", f'{what}; send one event, a list of them, or {{"events": […]}}') from None
    except UNREADABLE as error:
        raise malformed(body, error) from None
    return (body,)


def decode_event(raw: bytes | msgspec.Raw, index: int) -> EventSpec | Rejection:
    """The event, or why it is none."""
    content = bytes(raw)
    if len(content) > EVENT_BYTES_MAX:
        return Rejection(index, "event", f"{len(content)} bytes; at most {EVENT_BYTES_MAX} are read")
    try:
        event = _event.decode(content)
        repeated = _repeated_key(content)
    except msgspec.ValidationError as error:
        field, reason = explained(error, EventSpec)
        return Rejection(index, field or "event", reason)
    except InvalidInput as error:
        return Rejection(index, error.field, error.reason)
    except UNREADABLE as error:
        raise malformed(content, error) from None
    return event if repeated is None else Rejection(index, repeated, "appears more than once in this event")


def _elements(array: bytes) -> Sequence[msgspec.Raw]:
    if array.count(b",") > COMMAS_PER_EVENT_MAX * EVENTS_PER_REQUEST_MAX and array.lstrip().startswith(b"["):
        # Decoding would make far more objects than a request may hold events.
        _check_count(element_count(array, count_max=EVENTS_PER_REQUEST_MAX))
    raws = _list.decode(array)
    if not raws:
        raise RequestError(NO_EVENTS, "the list of events is empty; at least one is needed")
    _check_count(len(raws))
    return raws


def _check_count(count: int) -> None:
    if count > EVENTS_PER_REQUEST_MAX:
        raise TooLarge(
            f"more than {EVENTS_PER_REQUEST_MAX} events in one request; send them in several",
            limit=EVENTS_PER_REQUEST_MAX,
        )


def _repeated_key(event: bytes) -> str | None:
    """A key that stands twice; only an event where one may is looked at closely. An escape can spell a key, too."""
    if b"\\" in event or any(event.count(field) > 1 for field in _FIELDS):
        return repeated_key(event)
    return None
