"""How values travel through Temporal: ours as msgspec's JSON, by type hint; everything else as Temporal writes it.

Clients, workers and replays must all use `DATA_CONVERTER`. Its payloads are plain JSON, so Temporal's own tools show
them.
"""

import enum
import functools
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final, get_args

import msgspec
from temporalio.api.common.v1 import Payload
from temporalio.converter import (
    CompositePayloadConverter,
    DataConverter,
    DefaultPayloadConverter,
    JSONPlainPayloadConverter,
)

OURS: Final = (msgspec.Struct, enum.Enum, datetime, timedelta)
"""Types that msgspec brings back as they were, and Temporal's own JSON does not."""


class MsgspecJSONConverter(JSONPlainPayloadConverter):
    """``json/plain`` where values that hold `OURS`, at any depth of lists, tuples, sets and dicts, are msgspec's."""

    def to_payload(self, value: Any) -> Payload | None:
        """The payload; NaN and infinities become null, as in all of msgspec's JSON."""
        if not _holds_ours(value):
            return super().to_payload(value)
        return Payload(metadata={"encoding": self.encoding.encode()}, data=msgspec.json.encode(value))

    def from_payload(self, payload: Payload, type_hint: type | None = None) -> Any:
        """The value; raises `msgspec.ValidationError` where a hint that names `OURS` does not fit."""
        if type_hint is None or not _names_ours(type_hint):
            return super().from_payload(payload, type_hint)
        return _decoder(type_hint).decode(payload.data)


class SextantPayloadConverter(CompositePayloadConverter):
    """Temporal's converters, in their order, with msgspec's in the place of plain JSON."""

    def __init__(self) -> None:
        super().__init__(
            *(
                MsgspecJSONConverter() if isinstance(converter, JSONPlainPayloadConverter) else converter
                for converter in DefaultPayloadConverter.default_encoding_payload_converters
            )
        )


DATA_CONVERTER: Final = DataConverter(payload_converter_class=SextantPayloadConverter)


def _holds_ours(value: object) -> bool:
    if isinstance(value, OURS):
        return True
    if isinstance(value, Mapping):
        return any(_holds_ours(key) or _holds_ours(part) for key, part in value.items())
    return isinstance(value, list | tuple | set | frozenset) and any(map(_holds_ours, value))


def _names_ours(hint: object) -> bool:
    if isinstance(hint, type) and issubclass(hint, OURS):
        return True
    return any(map(_names_ours, get_args(hint)))


@functools.cache
def _decoder(hint: type) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(hint)
