"""JSON as clients get it wrong: where a body is malformed, which field does not fit, which key stands twice.

msgspec decodes; this module says in plain words what it, or a stricter look, objected to.
"""

import json
import re
from collections.abc import Sequence
from typing import Any, Final, TypeVar

import msgspec

from adapters.driving.http.json_choices import choices_at
from adapters.driving.http.problem import MALFORMED, RequestError
from core.domain.errors import InvalidInput

T = TypeVar("T")

UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that are not JSON; its `ValidationError`, a subclass, must be caught before."""

_BYTE = re.compile(r"\(byte (\d+)\)")
_NON_FINITE = re.compile(rb"-?(NaN|Inf)", re.IGNORECASE)
_HALF_PAIR = re.compile(rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])")
_EXPECTED = re.compile(r"Expected `(?P<expected>[^`]+)`, got `(?P<got>[^`]+)`")
_BOUND = re.compile(r"Expected `(?:int|float)` (?P<how>>=|<=|>|<) (?P<limit>\S+)")
_NOT_A_CHOICE = re.compile(r"Invalid (?:enum )?value (?P<value>.*)\Z", re.DOTALL)
_LENGTH = re.compile(r"Expected `array` of length (?P<length>\d+)")
_AT = re.compile(r" - at `(?P<path>[^`]*)`\Z")
_FIELD = re.compile(r"Object (?:missing required|contains unknown) field `(?P<field>.*)`\Z", re.DOTALL)

_KINDS: Final = {
    "str": "a string",
    "float": "a number",
    "int": "a whole number",
    "bool": "true or false",
    "null": "null",
    "object": "an object",
    "array": "a list",
    "datetime": "an RFC 3339 timestamp",
}
_BOUNDS: Final = {">=": "at least", "<=": "at most", ">": "more than", "<": "less than"}

# Numbers stay text: a number of a million digits is refused elsewhere, not converted here.
_pairs = json.JSONDecoder(object_pairs_hook=list, parse_int=str, parse_float=str)


def decode_body(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    """The value; raises `RequestError` for what is not JSON, `InvalidInput` for a field that does not fit."""
    check_utf8(body)
    try:
        value = decoder.decode(body)
        repeated = repeated_key(body)
    except msgspec.ValidationError as error:
        field, reason = explained(error, decoder.type)
        raise InvalidInput(field or "body", reason) from None
    except UNREADABLE as error:
        raise malformed(body, error) from None
    if repeated is not None:
        raise InvalidInput(repeated, "appears more than once")
    return value


def check_utf8(body: bytes) -> None:
    """Raises `RequestError` naming the first byte that is not UTF-8."""
    if body.isascii():
        return
    try:
        body.decode()
    except UnicodeDecodeError as error:
        detail = f"the body is not UTF-8 at byte {error.start}: {error.reason}"
        raise RequestError(MALFORMED, detail) from None


def malformed(body: bytes, error: Exception) -> RequestError:
    """What to raise for `error`, one of `UNREADABLE`, which decoding `body` met."""
    if isinstance(error, RecursionError):
        return RequestError(MALFORMED, "the JSON is nested too deeply")
    if not body.strip():
        return RequestError(MALFORMED, "the body is empty; a JSON object is needed")
    if half := _HALF_PAIR.search(body):
        detail = f"the escape at byte {half.start()} is half of a surrogate pair, which is not Unicode text"
        return RequestError(MALFORMED, detail)
    match = _BYTE.search(str(error))
    if match is None:
        return RequestError(MALFORMED, f"the JSON ends too early, after byte {len(body)}")
    at = int(match[1])
    if _NON_FINITE.match(body, at) or _NON_FINITE.match(body, max(0, at - 1)):
        return RequestError(MALFORMED, f"JSON has no NaN or Infinity, as at byte {at}; leave the metric out")
    return RequestError(MALFORMED, str(error).replace("(byte ", "(at byte "))


def explained(error: msgspec.ValidationError, expected: Any = None) -> tuple[str, str]:
    """The field, as a path without the leading ``$.``, and what is wrong with it in plain words.

    `expected` is the type that was decoded to; with it, a field of a closed set is told what there is.
    """
    message = str(error)
    at = _AT.search(message)
    path = "" if at is None else at["path"].removeprefix("$").removeprefix(".")
    message = message[: at.start()] if at else message
    if match := _FIELD.match(message):
        field = f"{path}.{match['field']}" if path else match["field"]
        if "unknown" in message:
            return field, "is not a field that is known here"
        choices = _choices(expected, field)
        return field, f"is missing; give {choices}" if choices else "is missing"
    if match := _EXPECTED.match(message):
        wanted = " or ".join(_KINDS.get(kind, kind) for kind in match["expected"].split(" | "))
        if path == "timestamp":
            wanted = 'an RFC 3339 string such as "2026-01-31T12:00:00Z"'
        return path, f"must be {wanted}, not {_KINDS.get(match['got'], match['got'])}"
    if match := _BOUND.match(message):
        return path, f"must be {_BOUNDS[match['how']]} {match['limit']}"
    if match := _NOT_A_CHOICE.match(message):
        return path, f"{match['value']} is not {_choices(expected, path) or 'known here'}"
    if match := _LENGTH.match(message):
        return path, f"must be a list of {match['length']}"
    if message == "Expected `str`":
        return path, f"must be {_choices(expected, path) or 'a string'}"
    if "timezone component" in message:
        return path, "has no time zone; add Z or an offset such as +02:00"
    if message == "Number out of range":
        return path, "is beyond what a 64-bit floating-point number holds"
    return path, message[:1].lower() + message[1:]


def _choices(expected: Any, path: str) -> str:
    """``one of a, b``, or nothing where `path` takes no closed set."""
    choices = choices_at(expected, path) if expected is not None else ()
    return f"one of {', '.join(choices)}" if choices else ""


def repeated_key(document: bytes) -> str | None:
    """A key that stands more than once in the object that `document` is; objects inside it are not looked at.

    `document` must be well-formed JSON.
    """
    text = document.decode().strip()
    if not text.startswith("{"):
        return None
    pairs: Sequence[tuple[str, Any]] = _pairs.decode(text)
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            return key
        seen.add(key)
    return None


def element_count(array: bytes, *, count_max: int) -> int:
    """How many elements a well-formed JSON array has, none of them kept; counts no further than one past the max."""
    text = array.decode().strip()
    count, at = 0, 1
    while count <= count_max:
        at = _skip_space(text, at)
        if text[at] == "]":
            break
        _, at = _pairs.raw_decode(text, at)
        count += 1
        at = _skip_space(text, at)
        at += text[at] == ","
    return count


def _skip_space(text: str, at: int) -> int:
    while text[at] in " \t\r\n":
        at += 1
    return at
