"""Which PromQL expressions are plain thresholds: as many as mean the same here, and none that do not."""

import contextlib
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.driving.cli.promql import Untranslatable
from adapters.driving.cli.promql_threshold import FOLDS, PlainThreshold, Watched, threshold_of
from core.domain.definitions import Aggregation
from core.domain.matchers import MatchOp
from core.domain.rules import Condition
from core.domain.times import HOUR_US, MINUTE_US, SECOND_US, format_duration

FIVE_MINUTES_US = 5 * MINUTE_US


def plain(
    condition: str = ">",
    value: float = 5.0,
    *,
    metric: str = "m",
    matchers: tuple[tuple[str, MatchOp, str], ...] = (),
    aggregation: Aggregation = Aggregation.LAST,
    window_us: int | None = None,
    group_by: tuple[str, ...] | None = None,
) -> PlainThreshold:
    watched = Watched(metric=metric, matchers=matchers, aggregation=aggregation, window_us=window_us, group_by=group_by)
    return PlainThreshold(watched=watched, condition=Condition(condition), value=value)


TRANSLATED = [
    ("m > 5", plain()),
    ("(m) >= (5)", plain(">=")),
    ("m < -5", plain("<", -5.0)),
    ("m <= +5.5e-1", plain("<=", 0.55)),
    ("m == 0", plain("==", 0.0)),
    ("m != 0x1F", plain("!=", 31.0)),
    ("5 < m", plain()),
    ("5 >= m", plain("<=")),
    ("5 == m", plain("==")),
    ("m > 5 * 60", plain(value=300.0)),
    ("m > 2 ^ 3 ^ 0", plain(value=2.0)),
    ("m > -2 ^ 2", plain(value=-4.0)),
    ("m > (1 + 2) * 1024 / 2 - 7 % 4", plain(value=1533.0)),
    ("m > 1h30m", plain(value=5400.0)),
    ("m > 1_000", plain(value=1000.0)),
    ("m:n_total > 5", plain(metric="m:n_total")),
    ("m{} > 5", plain()),
    ('m{a="b",} > 5', plain(matchers=(("a", MatchOp.EQUAL, "b"),))),
    (
        "m{a!='b', c=~`d\\.e`, f!~\"g|h\"} > 5",
        plain(
            matchers=(
                ("a", MatchOp.NOT_EQUAL, "b"),
                ("c", MatchOp.MATCHES, "d\\.e"),
                ("f", MatchOp.NOT_MATCHES, "g|h"),
            )
        ),
    ),
    ('m{a="\\"\\n\\x41\\u00e9\\101"} > 5', plain(matchers=(("a", MatchOp.EQUAL, '"\nAéA'),))),
    ('{__name__="m", a="}"} > 5', plain(matchers=(("a", MatchOp.EQUAL, "}"),))),
    ('{"my.metric", "a.b"="c"} > 5', plain(metric="my.metric", matchers=(("a.b", MatchOp.EQUAL, "c"),))),
    ("avg_over_time(m[5m]) > 5", plain(aggregation=Aggregation.AVG, window_us=FIVE_MINUTES_US)),
    ("min_over_time(m[1h30m]) > 5", plain(aggregation=Aggregation.MIN, window_us=HOUR_US + 30 * MINUTE_US)),
    ("max_over_time(m[5m]) > 5", plain(aggregation=Aggregation.MAX, window_us=FIVE_MINUTES_US)),
    ("sum_over_time(m[5m]) < 5", plain("<", aggregation=Aggregation.SUM, window_us=FIVE_MINUTES_US)),
    ("count_over_time(m[5m]) > 5", plain(aggregation=Aggregation.COUNT, window_us=FIVE_MINUTES_US)),
    ("last_over_time(m[5m]) > 5", plain(window_us=FIVE_MINUTES_US)),
    ("rate(m[300s]) > 5", plain(aggregation=Aggregation.RATE, window_us=FIVE_MINUTES_US)),
    ("increase( m{} [5m] ) > 5", plain(aggregation=Aggregation.INCREASE, window_us=FIVE_MINUTES_US)),
    ("quantile_over_time(0.95, m[5m]) > 5", plain(aggregation=Aggregation.P95, window_us=FIVE_MINUTES_US)),
    (
        "sum by (a, b) (rate(m[5m])) > 5",
        plain(aggregation=Aggregation.RATE, window_us=FIVE_MINUTES_US, group_by=("a", "b")),
    ),
    ("SUM(rate(m[5m])) BY (a) > 5", plain(aggregation=Aggregation.RATE, window_us=FIVE_MINUTES_US, group_by=("a",))),
    ("sum(increase(m[5m])) > 5", plain(aggregation=Aggregation.INCREASE, window_us=FIVE_MINUTES_US, group_by=())),
    ("max(max_over_time(m[5m])) > 5", plain(aggregation=Aggregation.MAX, window_us=FIVE_MINUTES_US, group_by=())),
    ("min(min_over_time(m[5m])) < 5", plain("<", aggregation=Aggregation.MIN, window_us=FIVE_MINUTES_US, group_by=())),
    ("m # as measured\n > 5 # percent", plain()),
]  # fmt: skip
REFUSED = [
    ("", "unexpected the end"),
    ("m", "compares nothing with a number"),
    ("5", "is a constant"),
    ('"x"', "is a constant"),
    ("1 > 2", "compares two numbers"),
    ("m > n", "compares two expressions"),
    ("m > bool 5", "bool"),
    ("m > Inf", "not finite"),
    ("m > 1 / 0", "not finite"),
    ("m > NaN", "not finite"),
    ("m > 5 and n > 3", "joins conditions with 'and'"),
    ("m > 5 or n > 3", "joins conditions with 'or'"),
    ("m > 5 unless n", "joins conditions with 'unless'"),
    ("m > on(host) n", "matches two sets of series with on()"),
    ("m / n > 5", "calculates"),
    ("m * 100 > 5", "calculates"),
    ("-m > 5", "calculates"),
    ("5 < m < 7", "compares the result of '<'"),
    ("m offset 5m > 5", "offset"),
    ("rate(m[5m] offset 1h) > 5", "offset"),
    ("m @ 1609746000 > 5", "@"),
    ("avg_over_time(m[5m:1m]) > 5", "subquery"),
    ("m[5m] > 5", "compares what is no set of series"),
    ("rate(m) > 5", "needs a metric over a range"),
    ("avg_over_time(rate(m[5m])) > 5", "needs a metric over a range"),
    ("rate(m[5x]) > 5", "is not a duration"),
    ("rate(m[0s]) > 5", "duration of nothing"),
    ("irate(m[5m]) > 5", "irate()"),
    ("time() - m > 5", "calculates"),
    ("abs(m) > 5", "abs()"),
    ("histogram_quantile(0.9, m) > 5", "histogram_quantile()"),
    ("quantile_over_time(0.75, m[5m]) > 5", "another quantile"),
    ("absent(m)", "no_data: alert"),
    ("absent(m) == 1", "absent()"),
    ("count_over_time(m[5m]) < 5", "waits for samples to stay away"),
    ("sum(m) > 5", "several series' latest samples"),
    ("avg by (a) (m) > 5", "several series' latest samples"),
    ("max(m) > 5", "several series' latest samples"),
    ("avg by (a) (avg_over_time(m[5m])) > 5", "not the same as one aggregation"),
    ("sum by (a) (avg_over_time(m[5m])) > 5", "not the same as one aggregation"),
    ("avg by (a) (rate(m[5m])) > 5", "not the same as one aggregation"),
    ("max by (a) (rate(m[5m])) > 5", "not the same as one aggregation"),
    ("sum by (a) (last_over_time(m[5m])) > 5", "not the same as one aggregation"),
    ("sum without (a) (rate(m[5m])) > 5", "without"),
    ("topk(5, m) > 5", "topk()"),
    ("sum(m > 3) > 5", "takes the sum of an expression"),
    ('{__name__=~"m.*"} > 5', "several metrics"),
    ('{a="b"} > 5', "names no metric"),
    ("m{a=b} > 5", "unexpected 'b'"),
    ('m{a="\\q"} > 5', "unknown escape"),
    ("m > 5 6", "unexpected '6'"),
    ("m > (5", "unexpected the end"),
    ("$m > 5", "unexpected"),
    ("(" * 500 + "m" + ")" * 500 + " > 5", "nested"),
    ("m > " + "1+" * 5_000 + "1", "operators"),
    ("m > " + "-" * 5_000 + "1", "nested"),
    ("m > " + "1" * 30_000, "longer"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "wanted"), TRANSLATED, ids=[text for text, _ in TRANSLATED])
def test_a_plain_threshold_is_recognised(text: str, wanted: PlainThreshold) -> None:
    """With its metric, matchers, aggregation, window, groups, condition and number."""
    assert threshold_of(text) == wanted


@pytest.mark.parametrize(("text", "reason"), REFUSED, ids=[text[:40] for text, _ in REFUSED])
def test_anything_else_is_refused_with_the_reason(text: str, reason: str) -> None:
    """So that nobody gets an alert that means something else."""
    with pytest.raises(Untranslatable) as refused:
        threshold_of(text)
    assert reason in str(refused.value)


WORDS = """m n{ } ( ) [5m] [5m:] , > < == != >= bool and or unless on by without sum( rate( avg_over_time( 5 0x 1e9 .5 -
+ * / ^ % offset @ "a" 'b' `c` a="b" =~ !~ # $ \\ inf nan absent( quantile_over_time( 1h30m"""
PIECES = st.sampled_from([*WORDS.split(), "\n"])


@given(st.one_of(st.text(), st.lists(PIECES).map(" ".join), st.lists(PIECES).map("".join)))
def test_no_text_breaks_the_parser(text: str) -> None:
    """It is a threshold, or it is refused."""
    with contextlib.suppress(Untranslatable):
        assert math.isfinite(threshold_of(text).value)


LABELS = st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True).filter(lambda label: not label.startswith("__"))
VALUES = st.text(st.characters(codec="utf-8"), max_size=12)
OVER_TIME = {
    Aggregation.AVG: "avg_over_time",
    Aggregation.MIN: "min_over_time",
    Aggregation.MAX: "max_over_time",
    Aggregation.SUM: "sum_over_time",
    Aggregation.COUNT: "count_over_time",
    Aggregation.LAST: "last_over_time",
    Aggregation.RATE: "rate",
    Aggregation.INCREASE: "increase",
}


@st.composite
def thresholds(draw: st.DrawFn) -> tuple[str, PlainThreshold]:
    """A threshold and one way to write it."""
    matchers = tuple(draw(st.lists(st.tuples(LABELS, st.sampled_from(MatchOp), VALUES), max_size=3)))
    inside = ", ".join(f'{label}{op.value}"{_escaped(value)}"' for label, op, value in matchers)
    text = f"metric{{{inside}}}"
    aggregation, window_us, group_by = Aggregation.LAST, None, None
    if draw(st.booleans()):
        aggregation = draw(st.sampled_from(sorted(OVER_TIME, key=lambda one: one.value)))
        window_us = draw(st.integers(1, 10_000)) * SECOND_US
        text = f"{OVER_TIME[aggregation]}({text}[{format_duration(window_us)}])"
        folds = [fold for fold, inner in sorted(FOLDS, key=str) if inner is aggregation]
        if draw(st.booleans()) and folds:
            group_by = tuple(draw(st.lists(LABELS, max_size=3, unique=True)))
            text = f"{folds[0]} by ({', '.join(group_by)}) ({text})"
    conditions = [">", ">="] if aggregation is Aggregation.COUNT else [">", ">=", "<", "<=", "==", "!="]
    condition = draw(st.sampled_from(conditions))
    value = draw(st.floats(allow_nan=False, allow_infinity=False))
    wanted = plain(
        condition, value, metric="metric", matchers=matchers, aggregation=aggregation, window_us=window_us,
        group_by=group_by,
    )  # fmt: skip
    return f"{text} {condition} {value!r}", wanted


@given(thresholds())
def test_what_is_written_is_read_back(pair: tuple[str, PlainThreshold]) -> None:
    """Whatever stands in a label's value, and however small or large the number."""
    text, wanted = pair
    assert threshold_of(text) == wanted


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
