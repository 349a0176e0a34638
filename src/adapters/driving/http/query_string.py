"""Query strings, strictly: UTF-8, without NUL, no unknown name, and no repeat where one value is meant."""

from collections.abc import Collection, Mapping, Sequence
from typing import Final
from urllib.parse import parse_qsl

from adapters.driving.http.problem import MALFORMED_TARGET, RequestError
from core.domain.errors import InvalidInput

PARAMETERS_MAX: Final = 100
"""More than every parameter of a query with the most matchers."""


def parse_query(
    query_string: bytes, *, single: Collection[str], repeatable: Collection[str] = ()
) -> Sequence[tuple[str, str]]:
    """Names and values in the order sent; raises `RequestError`, or `InvalidInput` naming the parameter."""
    if not query_string:
        return ()
    try:
        pairs = parse_qsl(
            query_string.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=PARAMETERS_MAX
        )
    except UnicodeError:
        raise RequestError(MALFORMED_TARGET, "the query string is not percent-encoded UTF-8") from None
    except ValueError:
        raise RequestError(MALFORMED_TARGET, f"more than {PARAMETERS_MAX} query parameters") from None
    seen: set[str] = set()
    for name, value in pairs:
        if "\x00" in name or "\x00" in value:
            raise RequestError(MALFORMED_TARGET, "the query string contains a NUL character")
        if name in repeatable:
            continue
        if name not in single:
            known = ", ".join(sorted({*single, *repeatable})) or "none"
            raise InvalidInput(name[:64], f"is not a query parameter of this route; it knows: {known}")
        if name in seen:
            raise InvalidInput(name, "is given more than once")
        seen.add(name)
    return pairs


def parse_flag(pairs: Mapping[str, str], name: str) -> bool:
    """A parameter that is ``true`` or ``false``; absent means false."""
    match pairs.get(name, "false").lower():
        case "true" | "1":
            return True
        case "false" | "0":
            return False
        case other:
            raise InvalidInput(name, f"{other[:64]!r} is neither true nor false")
