"""Metric sources as they are asked for: what can be one, and when it is collected."""

from datetime import UTC, datetime, timedelta

import pytest

from core.domain.errors import InvalidInput
from core.domain.source_configs import (
    CloudWatchConfig,
    EksConfig,
    HawkeyeConfig,
    PrometheusConfig,
    SourceConfig,
    SyntheticConfig,
)
from core.domain.sources import SourceSpec, following_run

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


def test_when_a_source_runs_by_itself() -> None:
    """At whole intervals after it was due, the next one after the present; not while it is disabled."""
    assert SourceSpec(name="a", config=SyntheticConfig()).interval_us == 300_000_000
    assert SourceSpec(name="a", config=SyntheticConfig(), enabled=False).interval_us is None
    assert SourceSpec(name="a", config=SyntheticConfig(), interval=None).interval_us is None
    minute = timedelta(minutes=1)
    for late, expected in ((0 * minute, 5), (4.9 * minute, 5), (5 * minute, 10), (1_001 * minute, 1_005)):
        assert following_run(NOON, 300_000_000, NOON + late) == NOON + expected * minute
