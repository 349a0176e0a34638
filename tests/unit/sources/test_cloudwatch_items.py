"""What CloudWatch's metrics are called, and which of them go into one call."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.driven.sources.cloudwatch_items import make_item, series_labels, series_name, snake_case, storable
from adapters.driven.sources.cloudwatch_queries import (
    POINTS_PER_ANSWER_MAX,
    QUERIES_PER_CALL_MAX,
    batches,
    whole_periods,
)
from core.domain.series import series_identity
from core.domain.source_configs import CloudWatchMetric
from core.domain.times import HOUR_US, MINUTE_US, TimeRange

REGION = "eu-central-1"


@pytest.mark.parametrize(
    ("metric", "name"),
    [
        (CloudWatchMetric(name="CPUUtilization"), "aws_ec2_cpuutilization_average"),
        (CloudWatchMetric(name="NetworkIn", statistic="Sum"), "aws_ec2_network_in_sum"),
        (CloudWatchMetric(namespace="CWAgent", name="mem_used_percent"), "cwagent_mem_used_percent_average"),
        (CloudWatchMetric(namespace="AWS/ELB", name="Latency", statistic="p99.9"), "aws_elb_latency_p99_9"),
        (CloudWatchMetric(namespace="5xx", name="4XX Count"), "_5xx_4_xx_count_average"),
    ],
)
def test_names(metric: CloudWatchMetric, name: str) -> None:
    """Namespace, metric and statistic in snake case."""
    assert series_name(metric) == name


def test_the_same_series_is_stored_once() -> None:
    """A metric that is configured twice is one item; one that differs only in what a name leaves out is a problem."""
    metrics = [CloudWatchMetric(name=name) for name in ("CPUUtilization", "CPUUtilization", "CPUutilization")]
    kept, problems = storable([make_item(metric, {"InstanceId": "i-1"}, REGION, {}) for metric in metrics])
    assert [item.metric.name for item in kept] == ["CPUUtilization"]
    assert [title for title, _ in problems] == ["AWS/EC2 CPUutilization Average of i-1"]


printable = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=255)


@given(printable, printable, printable, st.dictionaries(st.text(max_size=300), st.text(max_size=3_000), max_size=30))
def test_everything_can_be_stored(namespace: str, name: str, statistic: str, dimensions: dict[str, str]) -> None:
    """Any name that a configuration may hold, and any dimensions, become a series that Sextant takes."""
    metric = CloudWatchMetric(namespace=namespace, name=name, statistic=statistic)
    series_identity(series_name(metric), series_labels(tuple(sorted(dimensions.items())), REGION), None)


@given(st.text())
def test_snake_case_is_settled(text: str) -> None:
    """What is in snake case stays so."""
    assert snake_case(snake_case(text)) == snake_case(text)


@given(st.integers(0, 10**6), st.integers(1, 10**6), st.sampled_from([1, 5, 60, 1_440]))
def test_whole_periods(start_minute: int, minutes: int, period_minutes: int) -> None:
    """All periods that are over by the end are asked for, from the one that holds the start on, and no other."""
    period_us = period_minutes * MINUTE_US
    asked = TimeRange(start_minute * MINUTE_US, (start_minute + minutes) * MINUTE_US)
    whole = whole_periods(asked, period_us)
    if whole is None:
        assert asked.end_us - asked.start_us < 2 * period_us
        return
    assert whole.start_us % period_us == whole.end_us % period_us == 0
    assert whole.start_us <= asked.start_us < whole.start_us + period_us
    assert whole.end_us <= asked.end_us < whole.end_us + period_us


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)), max_size=30),
    st.integers(0, 1_100),
    st.sampled_from([MINUTE_US, HOUR_US]),
)
def test_batches_hold_everything_once(few: list[tuple[int, int]], many: int, period_us: int) -> None:
    """Items of equal windows share calls of at most 500 queries and one page; none is left out, none comes twice; what
    is wanted first comes in the first one."""
    ranges = [TimeRange(hour * HOUR_US, 24 * HOUR_US) for hour in range(4)]
    metrics = [CloudWatchMetric(name=f"m{number}") for number in range(3)]
    kinds = [*few, *((number % 3, 0) for number in range(many))]
    wanted = [
        (make_item(metrics[metric], {"InstanceId": f"i-{place}"}, REGION, {}), ranges[start])
        for place, (metric, start) in enumerate(kinds)
    ]
    made = list(batches(wanted, period_us))
    assert all(0 < len(batch.items) <= QUERIES_PER_CALL_MAX for batch in made)
    assert not wanted or wanted[0][0] in made[0].items
    assert sorted((id(item), batch.time_range.start_us) for batch in made for item in batch.items) == sorted(
        (id(item), time_range.start_us) for item, time_range in wanted
    )
    for time_range in ranges:
        count = sum(each == time_range for _, each in wanted)
        periods = (time_range.end_us - time_range.start_us) // period_us
        size = min(QUERIES_PER_CALL_MAX, POINTS_PER_ANSWER_MAX // periods)
        assert sum(batch.time_range == time_range for batch in made) == -(-count // size)
