"""The words of PromQL: numbers, durations, strings, names, operators.

Source: https://prometheus.io/docs/prometheus/latest/querying/basics/#float-literals-and-time-durations
"""

import re
from typing import Final

import msgspec

from core.domain.times import DAY_US, HOUR_US, MINUTE_US, SECOND_US

EXPRESSION_CHARS_MAX: Final = 20_000
"""Several times the longest that people write."""

_UNITS_US: Final = {
    "ms": 1_000,
    "s": SECOND_US,
    "m": MINUTE_US,
    "h": HOUR_US,
    "d": DAY_US,
    "w": 7 * DAY_US,
    "y": 365 * DAY_US,
}
_DURATION: Final = re.compile(r"(?:\d+(?:ms|[smhdwy]))+\Z", re.ASCII)
_PART: Final = re.compile(r"(\d+)(ms|[smhdwy])", re.ASCII)
_TOKEN: Final = re.compile(
    r"""
      (?P<space>(?:\s|\#[^\n]*)+)
    | (?P<range>\[[^\]\[]*\])
    | (?P<number>
          (?:\d+(?:ms|[smhdwy]))+(?![A-Za-z0-9_:.])
        | 0[xX][0-9a-fA-F_]+
        | (?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(?:[eE][-+]?\d+)?
        | (?i:inf|nan)(?![A-Za-z0-9_:])
      )
    | (?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`[^`]*`)
    | (?P<name>[A-Za-z_:][A-Za-z0-9_:]*)
    | (?P<operator>=~|!~|==|!=|>=|<=|[-+*/%^(){},=<>@])
    """,
    re.VERBOSE | re.ASCII,
)
_ESCAPE: Final = re.compile(
    r"\\(?:([abfnrtv\\'\"])|x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3})|(.|\Z))", re.DOTALL
)
_SIMPLE: Final = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


class Token(msgspec.Struct, frozen=True):
    """One word; `kind` is range, number, string, name, operator or end; `text` as written, of a range what is in it."""

    kind: str
    text: str

    @property
    def word(self) -> str:
        """The text as keywords are compared."""
        return self.text.lower()

    @property
    def number(self) -> float:
        """The value of a number; a duration's is its seconds."""
        text = self.text.replace("_", "")
        if text[:2] in ("0x", "0X"):
            return float(int(text, 16))
        if _DURATION.match(text):
            return duration_us(text) / SECOND_US
        return float(text)


def tokens(text: str) -> list[Token]:
    """All words of an expression and an end; raises `ValueError` with the reason."""
    if len(text) > EXPRESSION_CHARS_MAX:
        raise ValueError(f"is longer than {EXPRESSION_CHARS_MAX} characters")
    found = []
    place = 0
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None:
            raise ValueError(f"is not PromQL that can be read: unexpected {text[place : place + 20]!r}")
        place = match.end()
        kind = str(match.lastgroup)
        if kind != "space":
            found.append(Token(kind, match[0][1:-1] if kind == "range" else match[0]))
            _check_number(found[-1])
    return [*found, Token("end", "")]


def duration_us(text: str) -> int:
    """Microseconds of a duration such as ``5m`` or ``1h30m``; raises `ValueError`."""
    if not _DURATION.match(text):
        raise ValueError(f"{text[:40]!r} is not a duration such as 5m or 1h30m")
    total_us = sum(int(count[:12]) * _UNITS_US[unit] for count, unit in _PART.findall(text))
    if total_us == 0:
        raise ValueError("has a duration of nothing")
    return total_us


def quoted(text: str) -> str:
    """What a string in any of the three kinds of quotes says; raises `ValueError`."""
    if text[0] == "`":
        return text[1:-1]
    return _ESCAPE.sub(_unescaped, text[1:-1])


def _unescaped(match: re.Match[str]) -> str:
    simple, byte, short, long, octal, other = match.groups()
    if simple is not None:
        return _SIMPLE.get(simple, simple)
    if other is not None:
        raise ValueError(f"has an unknown escape \\{other} in a string")
    code = int(octal, 8) if octal is not None else int(byte or short or long, 16)
    if (byte is not None or octal is not None) and code > 127:
        raise ValueError("has bytes that are not text in a string")
    if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
        raise ValueError("has an escape in a string that is no character")
    return chr(code)


def _check_number(token: Token) -> None:
    if token.kind == "number":
        try:
            _ = token.number
        except (ValueError, OverflowError):
            raise ValueError(f"{token.text[:40]!r} is not a number") from None
