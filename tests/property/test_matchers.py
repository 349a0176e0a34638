"""Label matchers against a plain-Python oracle."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.domain.errors import InvalidInput
from core.domain.matchers import (
    MATCHERS_MAX,
    PATTERN_CHARS_MAX,
    LabelMatcher,
    MatchOp,
    label_filter,
    parse_matcher,
    parse_matchers,
)

labels = st.sampled_from(["host", "region", "k8s.io/app"])
words = st.text("ab=!~\n.é", max_size=5)
label_sets = st.dictionaries(labels, words, max_size=3)


def joined(patterns: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Larger patterns made of smaller ones, in the syntax that RE2 and Python share."""
    return st.one_of(
        st.builds("{}{}".format, patterns, patterns),
        st.builds("(?:{}|{})".format, patterns, patterns),
        st.builds("(?:{}){}".format, patterns, st.sampled_from(["*", "+", "?", "{1,3}"])),
    )


patterns = st.recursive(st.sampled_from(["a", "b", ".", "[ab]", "[^a]", r"\.", "é", ""]), joined, max_leaves=6)


def holds(matcher: LabelMatcher, series: dict[str, str]) -> bool:
    """The oracle: a missing label reads as empty, patterns are anchored at both ends."""
    value = series.get(matcher.label, "")
    match matcher.op:
        case MatchOp.EQUAL:
            return value == matcher.value
        case MatchOp.NOT_EQUAL:
            return value != matcher.value
        case MatchOp.MATCHES:
            return re.fullmatch(matcher.value, value) is not None
        case MatchOp.NOT_MATCHES:
            return re.fullmatch(matcher.value, value) is None


plain = st.builds(LabelMatcher, labels, st.sampled_from([MatchOp.EQUAL, MatchOp.NOT_EQUAL]), words)
regular = st.builds(LabelMatcher, labels, st.sampled_from([MatchOp.MATCHES, MatchOp.NOT_MATCHES]), patterns)
matchers = st.one_of(plain, regular)


@given(matchers, label_sets)
def test_each_operator(matcher: LabelMatcher, series: dict[str, str]) -> None:
    """Each of the four operators decides as Python's own comparison and `re.fullmatch` do."""
    assert matcher.test()(series.get(matcher.label, "")) == holds(matcher, series)


@given(st.lists(matchers, max_size=4), st.lists(label_sets, max_size=6))
def test_filter(conditions: list[LabelMatcher], series: list[dict[str, str]]) -> None:
    """A series passes the filter exactly when every matcher holds; repeated values are answered alike."""
    passes = label_filter(conditions)
    for one in series + series:
        assert passes(one) == all(holds(matcher, one) for matcher in conditions)


@given(matchers)
def test_text_round_trip(matcher: LabelMatcher) -> None:
    """A matcher written as text is read as itself, operators inside the value included."""
    # A value that begins with ~ cannot follow a bare =: the two read as the operator =~.
    if matcher.op is MatchOp.EQUAL and matcher.value.startswith("~"):
        return
    assert parse_matcher(f"{matcher.label}{matcher.op.value}{matcher.value}") == matcher


@pytest.mark.parametrize(
    "text", ["", "host", "=a", "!=a", "host~a", "ho st=a", "1=a", "host=\x00", "host=~(", "host=~(?=a)"]
)
def test_not_a_matcher(text: str) -> None:
    """What is no matcher, or no RE2 pattern, is refused by name."""
    with pytest.raises(InvalidInput) as refusal:
        parse_matcher(text)
    assert refusal.value.field == "label"


def test_too_many_matchers() -> None:
    """One matcher more than allowed refuses the query."""
    texts = [f"l{n}=a" for n in range(MATCHERS_MAX)]
    assert len(parse_matchers(texts)) == MATCHERS_MAX
    with pytest.raises(InvalidInput):
        parse_matchers([*texts, "host=a"])


@pytest.mark.parametrize("pattern", ["a" * (PATTERN_CHARS_MAX + 1), "(((a{99}){99}){99}){99}", r"(a)\1"])
def test_pattern_that_costs_too_much(pattern: str) -> None:
    """A pattern that is too long, too large when compiled, or needs backtracking is refused."""
    with pytest.raises(InvalidInput):
        LabelMatcher("host", MatchOp.MATCHES, pattern)


def test_hostile_pattern_is_linear() -> None:
    """A pattern that makes a backtracking engine run for ages answers at once."""
    matcher = LabelMatcher("host", MatchOp.MATCHES, "(a*)*(a*)*b")
    started = time.process_time()
    assert not matcher.test()("a" * 2_000)
    assert time.process_time() - started < 1
