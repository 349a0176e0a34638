"""JSON of a vendor, read strictly: what two readers could understand differently is refused.

msgspec alone would take the last of two equal keys in silence, so the text is read by the standard library first.
"""

import json
from typing import Any, Final, NoReturn, TypeVar

import msgspec

T = TypeVar("T")

VALUES_MAX: Final = 2_000_000
"""Commas in one answer: about a million points. A body of the allowed size that is all brackets would take gigabytes
once decoded."""
KEY_CHARS_SHOWN: Final = 64


class NotAsDocumented(ValueError):
    """The text is not what the vendor documents; the message says why, and repeats little of it."""


class TooManyValues(NotAsDocumented):
    """It holds more values than are decoded at once."""


def decoded(body: bytes, model: type[T]) -> T:
    """The JSON `body` as a `model`, whose unknown fields are left out; raises `NotAsDocumented`."""
    if body.count(b",") > VALUES_MAX:
        raise TooManyValues(f"more than {VALUES_MAX:,} values")
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise NotAsDocumented(f"not UTF-8 at byte {error.start}") from None
    try:
        plain = json.loads(text, object_pairs_hook=_distinct, parse_constant=_no_constant)
    except NotAsDocumented:
        raise
    except json.JSONDecodeError as error:
        raise NotAsDocumented(f"no JSON: {error.msg} at character {error.pos}") from None
    except RecursionError:
        raise NotAsDocumented("JSON nested too deeply") from None
    except ValueError:
        # Only a number of thousands of digits, which int() refuses.
        raise NotAsDocumented("JSON with a number of too many digits") from None
    try:
        return msgspec.convert(plain, model)
    except msgspec.ValidationError as error:
        raise NotAsDocumented(f"another shape: {error}") from None


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise NotAsDocumented(f"JSON with the key {key[:KEY_CHARS_SHOWN]!a} twice in one object")
            seen.add(key)
    return found


def _no_constant(name: str) -> NoReturn:
    raise NotAsDocumented(f"no JSON: {name} is not a JSON number")
