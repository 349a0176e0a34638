"""Label matchers: ``host=a``, ``host!=a``, ``host=~a.*``, ``host!~a.*``; patterns are anchored RE2.

A label that a series lacks reads as the empty string, as in Prometheus.
Source: https://prometheus.io/docs/prometheus/latest/querying/basics/#instant-vector-selectors
"""

import enum
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Final

import msgspec
import re2

from core.domain.errors import InvalidInput
from core.domain.series import check_label_name, check_text

MATCHERS_MAX: Final = 20
"""More conditions than labels that a person tells apart."""
PATTERN_CHARS_MAX: Final = 1_000
"""RE2 is linear in the text, but a pattern's own compilation grows with it."""
PATTERN_MEMORY_BYTES_MAX: Final = 1 << 20
"""RE2 refuses a pattern whose program needs more, such as nested counted repeats."""

_MATCHER = re.compile(r"(?P<label>[^=!~]*)(?P<op>=~|!~|!=|=)(?P<value>.*)\Z", re.DOTALL)
_LITERAL = re.compile(r"(?:[A-Za-z0-9_/:-](?![*+?{]))+")
"""Characters that stand for themselves in a pattern, none of them repeated."""


class MatchOp(enum.Enum):
    """How a matcher compares."""

    EQUAL = "="
    NOT_EQUAL = "!="
    MATCHES = "=~"
    NOT_MATCHES = "!~"


class LabelMatcher(msgspec.Struct, frozen=True):
    """One condition on one label."""

    label: str
    op: MatchOp
    value: str

    def __post_init__(self) -> None:
        check_label_name(self.label, "label")
        check_text("label", self.value)
        if self.op in (MatchOp.MATCHES, MatchOp.NOT_MATCHES):
            _compiled(self.value)

    @property
    def prefix(self) -> str:
        """What every value that satisfies this matcher begins with, as far as that is plain to see."""
        if self.op is MatchOp.EQUAL:
            return self.value
        if self.op is not MatchOp.MATCHES or "|" in self.value:
            return ""
        literal = _LITERAL.match(self.value)
        return literal[0] if literal is not None else ""

    def test(self) -> Callable[[str], bool]:
        """A function from a label's value to whether it satisfies this matcher."""
        wanted = self.value
        match self.op:
            case MatchOp.EQUAL:
                return lambda value: value == wanted
            case MatchOp.NOT_EQUAL:
                return lambda value: value != wanted
            case MatchOp.MATCHES:
                # Held here: a thousand rules' patterns are more than the cache keeps, and compiling is what costs.
                matches, prefix = _compiled(wanted).fullmatch, self.prefix
                return lambda value: value.startswith(prefix) and matches(value) is not None
            case MatchOp.NOT_MATCHES:
                differs = _compiled(wanted).fullmatch
                return lambda value: differs(value) is None


def parse_matcher(text: str) -> LabelMatcher:
    """The matcher written as ``label=value`` with one of the four operators; else `InvalidInput`."""
    return LabelMatcher(*split_matcher(text))


def split_matcher(text: str) -> tuple[str, MatchOp, str]:
    """The label, operator and value of the same, of which nothing else is known to be right."""
    match = _MATCHER.match(text)
    if match is None or not match["label"]:
        raise InvalidInput("label", f"{text[:64]!r} is not a matcher: write host=a, host!=a, host=~a.* or host!~a.*")
    return match["label"], MatchOp(match["op"]), match["value"]


def parse_matchers(texts: Sequence[str]) -> tuple[LabelMatcher, ...]:
    """All of them, in the order given; every one must hold."""
    if len(texts) > MATCHERS_MAX:
        raise InvalidInput("label", f"{len(texts)} matchers; at most {MATCHERS_MAX} are allowed")
    return tuple(parse_matcher(text) for text in texts)


def label_filter(matchers: Sequence[LabelMatcher]) -> Callable[[Mapping[str, str]], bool]:
    """A function from labels to whether all `matchers` hold; each distinct value is tested once."""
    tests = [(matcher.label, lru_cache(maxsize=65_536)(matcher.test())) for matcher in matchers]

    def holds(labels: Mapping[str, str]) -> bool:
        return all(test(labels.get(label, "")) for label, test in tests)

    return holds


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> "re2._Regexp[str]":
    if len(pattern) > PATTERN_CHARS_MAX:
        raise InvalidInput("label", f"a pattern of {len(pattern)} characters; at most {PATTERN_CHARS_MAX} are allowed")
    options = re2.Options()
    options.max_mem = PATTERN_MEMORY_BYTES_MAX
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0]
        text = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        raise InvalidInput("label", f"{pattern[:64]!r} is not an RE2 pattern: {text}") from None
