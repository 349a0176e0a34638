"""Whether current metrics satisfy a remediation's conditions, and whether what an alert was about is good again.

Theory of operation. A value is an aggregate over the last window, of each matching series by itself or, where the rule
groups, of all of the alert's group together. What proves a repair is newer than the last action: the window then begins
no earlier than that. Over such a part of a window an average or a rate is as good as over all of it, but a sum or a
count would only seem small, so these are judged once the whole window lies behind the action.
"""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec
import numpy as np

from core.domain.action_text import alert_values, pattern_text, plain_text
from core.domain.aggregation import (
    PERCENTILES,
    Buckets,
    finish,
    increases_of,
    lines_of,
    partials_of,
    percentiles_of,
)
from core.domain.alerts import Alert
from core.domain.columns import Int32s, overriding
from core.domain.definitions import Aggregation
from core.domain.matchers import LabelMatcher, MatchOp, parse_matchers, split_matcher
from core.domain.remediation import MetricCheck
from core.domain.rules import AlertRule, Condition, Threshold, holds
from core.domain.series import Series
from core.domain.times import DAY_US, SECOND_US, TIME_US_MAX, TimeRange, format_duration, format_time, parse_duration
from core.services.newest import newest_in
from ports.driven.sample_reader import Snapshot
from ports.driving.remediation_work import Verdict

FUTURE_US: Final = DAY_US
"""Samples may be ahead of our clock, by less than this."""
NAMED_MAX: Final = 5
"""Values that a verdict tells; the rest are counted."""
NAME_CHARS_MAX: Final = 200
"""A series' labels can be longer than any sentence."""
GROWING: Final = frozenset({Aggregation.COUNT, Aggregation.SUM, Aggregation.INCREASE})
"""What is less over a part of a window than over all of it."""


class _Question(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Which values are looked at, and what they must be like."""

    metric: str
    matchers: Sequence[LabelMatcher]
    selects: Callable[[Series], bool]
    """Which of the series that match are meant."""
    grouped: bool
    """Whether they make one value together."""
    aggregation: Aggregation
    window_us: int | None
    """None: the newest sample counts, however old."""
    wanted: Callable[[float], bool]
    said: str
    """What is wanted, for a person: ``< 90``."""


async def check(snapshot: Snapshot, asked: MetricCheck, alert: Alert, *, now_us: int, since_us: int = -1) -> Verdict:
    """Whether `asked` holds, on samples newer than `since_us`. Raises `InvalidInput` where a matcher cannot be filled
    in from the alert, and `TooExpensive`."""
    question = _Question(
        metric=asked.metric,
        matchers=[_filled(matcher, alert) for matcher in asked.matchers],
        selects=lambda _: True,
        grouped=False,
        aggregation=asked.aggregation,
        window_us=parse_duration(asked.window, "window"),
        wanted=lambda value: holds(asked.condition, value, asked.value),
        said=f"{asked.condition.value} {_shown(asked.value)}",
    )
    return await _answer(snapshot, question, now_us=now_us, since_us=since_us)


async def recovered(snapshot: Snapshot, rule: AlertRule, alert: Alert, *, now_us: int, since_us: int) -> Verdict:
    """Whether the alert's own target is good by its own rule, on samples newer than `since_us`; to be good is not to
    be past the threshold that clears, or else the lowest one. Raises `TooExpensive`."""
    threshold = next(each for each in (rule.clear, rule.warning, rule.critical) if each is not None)
    own = {label: value for label, value in alert.labels.items() if label not in rule.labels}
    if rule.group_by is not None:
        own = {label: alert.labels.get(label, "") for label in rule.group_by if label not in rule.labels}

    def is_target(series: Series) -> bool:
        """A series' alert has all of its labels, so another one with more labels is another target."""
        return rule.group_by is not None or series.labels.keys() - rule.labels.keys() == own.keys()

    question = _Question(
        metric=rule.metric,
        matchers=[*parse_matchers(rule.matchers), *_equal(own)],
        selects=is_target,
        grouped=rule.group_by is not None,
        aggregation=rule.aggregation,
        window_us=None if rule.window is None else parse_duration(rule.window, "window"),
        wanted=lambda value: not holds(rule.condition, value, threshold),
        said=_opposite(rule.condition, threshold),
    )
    return await _answer(snapshot, question, now_us=now_us, since_us=since_us)


async def _answer(snapshot: Snapshot, question: _Question, *, now_us: int, since_us: int) -> Verdict:
    subject = f"{question.aggregation.value} of {question.metric}"
    after_us = since_us
    if question.window_us is not None:
        window = format_duration(question.window_us)
        subject += f" over {window}"
        after_us = max(since_us, now_us - question.window_us)
        if question.aggregation in GROWING and now_us - question.window_us < since_us:
            return Verdict(holds=False, reason=f"{subject} is judged once {window} have passed since the last action")
    table = await snapshot.find(question.metric, question.matchers)
    rows = [row for row, series in enumerate(table.series) if question.selects(series)]
    if not rows:
        return Verdict(holds=False, reason=f"there is no such series of {question.metric}")
    names = [_name(table.series[row]) for row in rows]
    found = await _values(snapshot, question, table.series_ids[rows], after_us, now_us)
    if not len(found.values):
        since = format_time(max(after_us, 0))
        return Verdict(holds=False, reason=f"there is no sample of {question.metric} newer than {since}")
    if question.grouped:
        names = [f"{len(rows)} series"]
    return _judged(subject, question, [names[line] for line in found.lines.tolist()], found.values.tolist())


def _judged(subject: str, question: _Question, names: Sequence[str], values: Sequence[float]) -> Verdict:
    """The verdict on values, by their names; those that are not as wanted are told first."""
    wrong = [row for row, value in enumerate(values) if not question.wanted(value)]
    told = (wrong or range(len(values)))[:NAMED_MAX]
    said = ", ".join(f"{_shown(values[row])} for {names[row]}" for row in told)
    count = len(wrong) or len(values)
    more = f" and {count - len(told)} more" if count > len(told) else ""
    should = f"; it should be {question.said}" if wrong else f", as it should be: {question.said}"
    reason = f"{subject} is {said}{more}{should}"
    return Verdict(holds=not wrong, reason=reason, facts={names[row]: values[row] for row in told})


async def _values(snapshot: Snapshot, question: _Question, series_ids: Int32s, after_us: int, now_us: int) -> Buckets:
    """One value for each line that has samples after `after_us`; a line is a series' row, or 0 for all of a group."""
    aggregation = question.aggregation
    lines = np.zeros(len(series_ids), np.int32) if question.grouped else np.arange(len(series_ids), dtype=np.int32)
    time_range = TimeRange(after_us + 1, now_us + FUTURE_US)
    if aggregation is Aggregation.LAST:
        points = await newest_in(snapshot, series_ids, time_range)
        return finish(partials_of(points, lines_of(points, series_ids, lines), None), aggregation)
    settled = await snapshot.settled_points(series_ids, time_range)
    points = overriding(settled, snapshot.head(series_ids, time_range))
    if aggregation in (Aggregation.RATE, Aggregation.INCREASE):
        window_us = question.window_us or 0
        before = await newest_in(snapshot, series_ids, TimeRange(after_us + 1 - window_us, after_us + 1))
        points = overriding(before, points)
        found = increases_of(points, series_ids, lines, TIME_US_MAX, start_us=after_us + 1)
        seconds = (now_us - after_us) / SECOND_US if aggregation is Aggregation.RATE else 1.0
        return Buckets(found.lines, found.buckets_us, found.values / seconds)
    line_of = lines_of(points, series_ids, lines)
    if aggregation in PERCENTILES:
        return percentiles_of(points, line_of, None, [PERCENTILES[aggregation]])[0]
    return finish(partials_of(points, line_of, None), aggregation)


def _filled(matcher: str, alert: Alert) -> LabelMatcher:
    """The matcher with the alert's values in it; a value is never taken for an operator or a pattern."""
    label, op, template = split_matcher(matcher)
    fill = pattern_text if op in (MatchOp.MATCHES, MatchOp.NOT_MATCHES) else plain_text
    return LabelMatcher(label, op, fill(f"matchers.{label}", template, alert_values(alert)))


def _equal(labels: dict[str, str]) -> list[LabelMatcher]:
    return [LabelMatcher(label, MatchOp.EQUAL, value) for label, value in labels.items()]


def _name(series: Series) -> str:
    labels = ", ".join(f"{label}={value}" for label, value in series.labels.items())
    return labels[:NAME_CHARS_MAX] or series.name


def _opposite(condition: Condition, threshold: Threshold) -> str:
    return f"not {condition.value} {_shown(threshold)}"


def _shown(value: Threshold) -> str:
    return f"[{value[0]:g}, {value[1]:g}]" if isinstance(value, tuple) else f"{value:g}"
