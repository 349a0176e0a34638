"""Metric sources as they are asked for: what can be one, and when it is collected."""

from datetime import UTC, datetime, timedelta

import pytest

from core.domain.errors import InvalidInput
from core.domain.source_configs import (
    CloudWatchConfig,
    DatadogConfig,
    EksConfig,
    HawkeyeConfig,
    NewRelicConfig,
    PrometheusConfig,
    SourceConfig,
    SyntheticConfig,
)
from core.domain.sources import SourceSpec, following_run
from core.domain.times import DAY_US, HOUR_US

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://prometheus.example",
        "https://",
        "https://user:secret@prometheus.example/",
        "https://token@prometheus.example/",
        "https://prometheus.example/\x00",
        "https://prometheus.example/\nx",
        "https://prometheus.example/\ud800",
        "https://[::1/",
        "https://prometheus.example/" + "x" * 2_000,
    ],
)
def test_addresses_that_cannot_be(url: str) -> None:
    """In every field that holds one: also such as would show a password to whoever reads the source."""
    configs: list[SourceConfig] = [
        PrometheusConfig(url=url),
        HawkeyeConfig(base_url=url),
        EksConfig(cluster_id="a", metrics_url=url),
        CloudWatchConfig(region="eu-central-1", endpoint_url=url),
    ]
    for config in configs:
        with pytest.raises(InvalidInput, match=r"config\.(url|base_url|metrics_url|endpoint_url)"):
            SourceSpec(name="a", config=config)


@pytest.mark.parametrize("tags", [{"a": "\x00"}, {"\ud800": "a"}, {f"t{index}": "" for index in range(51)}])
def test_tags_that_cannot_be(tags: dict[str, str]) -> None:
    """Neither what no database holds nor more than a resource carries."""
    with pytest.raises(InvalidInput, match=r"config\.tags|tags"):
        SourceSpec(name="a", config=CloudWatchConfig(region="eu-central-1", tags=tags))


@pytest.mark.parametrize(
    "prices",
    [{"m5": -0.1}, {"m5": float("nan")}, {"m5": float("inf")}, {"": 1.0}, {f"m{index}": 1.0 for index in range(201)}],
)
def test_prices_that_cannot_be(prices: dict[str, float]) -> None:
    """Neither what is no amount of money nor more than a snapshot has node types."""
    with pytest.raises(InvalidInput, match=r"config\.node_prices_usd_per_hour"):
        SourceSpec(name="a", config=EksConfig(cluster_id="a", node_prices_usd_per_hour=prices))


@pytest.mark.parametrize(
    "labels",
    [{"a": "\x00"}, {"a": ""}, {"a": "x" * 51}, {"1a": "x"}, {f"l{index}": "x" for index in range(6)}],
)
def test_labels_of_a_source_that_cannot_be(labels: dict[str, str]) -> None:
    """Neither what no series can have nor what would leave no room for those it has."""
    with pytest.raises(InvalidInput, match="labels"):
        SourceSpec(name="a", config=PrometheusConfig(url="https://prometheus.example", labels=labels))


def test_what_is_read_again() -> None:
    """As long as the vendor may take, and two of CloudWatch's periods at least, unless the source says how long."""
    days = CloudWatchConfig(region="eu-central-1", period="1d")
    for config, settle_us in (
        (DatadogConfig(), HOUR_US),
        (NewRelicConfig(account_id=1), HOUR_US),
        (CloudWatchConfig(region="eu-central-1"), 3 * HOUR_US),
        (days, 2 * DAY_US),
    ):
        assert SourceSpec(name="a", config=config).settle_us == settle_us
    assert SourceSpec(name="a", config=days, settle="1h").settle_us == HOUR_US


def test_when_a_source_runs_by_itself() -> None:
    """At whole intervals after it was due, the next one after the present; not while it is disabled."""
    assert SourceSpec(name="a", config=SyntheticConfig()).interval_us == 300_000_000
    assert SourceSpec(name="a", config=SyntheticConfig(), enabled=False).interval_us is None
    assert SourceSpec(name="a", config=SyntheticConfig(), interval=None).interval_us is None
    minute = timedelta(minutes=1)
    for late, expected in ((0 * minute, 5), (4.9 * minute, 5), (5 * minute, 10), (1_001 * minute, 1_005)):
        assert following_run(NOON, 300_000_000, NOON + late) == NOON + expected * minute
