"""The vendors' own variables: which source they describe, and what is said where they do not fit."""

import re
from pathlib import Path

import pytest

from adapters.runtime.settings import load_settings
from adapters.runtime.vendors import read_vendors
from core.domain.source_configs import CloudWatchConfig, DatadogConfig, EksConfig, NewRelicConfig, SourceKind


def test_each_vendor_is_read_from_its_own_variables(tmp_path: Path) -> None:
    """A secret may come from a file."""
    (tmp_path / "app").write_text("app-key\n")
    vendors = read_vendors(
        {
            "DATADOG_API_KEY": "api-key",
            "DATADOG_APP_KEY_FILE": str(tmp_path / "app"),
            "DATADOG_SITE": "datadoghq.eu",
            "AWS_REGION": "eu-central-1",
            "AWS_INSTANCE_IDS": "i-1, i-2",
            "NEWRELIC_API_KEY": "nr-key",
            "NEWRELIC_ACCOUNT_ID": "42",
            "HAWKEYE_BASE_URL": "https://hawkeye.example",
            "HAWKEYE_API_KEY": "hk",
            "PROMETHEUS_URL": "https://prometheus.example",
            "EKS_IN_CLUSTER": "true",
            "EKS_METRICS_ENDPOINT": "http://prometheus.monitoring:9090",
            "EKS_NODE_PRICES": "m5.large=0.107, m5.xlarge = 0.214,",
        }
    )
    datadog = vendors.sources[SourceKind.DATADOG]
    assert datadog.config == DatadogConfig(site="datadoghq.eu")
    assert datadog.credentials == {"api_key": "api-key", "app_key": "app-key"}
    assert vendors.sources[SourceKind.CLOUDWATCH].config == CloudWatchConfig(
        region="eu-central-1", instance_ids=("i-1", "i-2")
    )
    assert vendors.sources[SourceKind.CLOUDWATCH].credentials == {}
    assert vendors.sources[SourceKind.NEWRELIC].config == NewRelicConfig(account_id=42)
    assert vendors.sources[SourceKind.EKS].config == EksConfig(
        cluster_id="default",
        metrics_url="http://prometheus.monitoring:9090",
        node_prices_usd_per_hour={"m5.large": 0.107, "m5.xlarge": 0.214},
    )
    assert set(vendors.sources) == set(SourceKind) - {SourceKind.SYNTHETIC}
    assert vendors.in_cluster
    assert "api-key" not in repr(vendors)


def test_without_variables_there_is_nothing() -> None:
    """Empty ones, as compose files give, count as absent."""
    assert not read_vendors({"DATADOG_API_KEY": "", "AWS_REGION": "", "PATH": "/bin"}).sources


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"DATADOG_API_KEY": "k"}, "DATADOG_APP_KEY: is missing"),
        ({"DATADOG_API_KEY": "k\nk", "DATADOG_APP_KEY": "a"}, "DATADOG_API_KEY: must be printable"),
        ({"AWS_REGION": "mars"}, "AWS_REGION: 'mars' is no AWS region"),
        ({"AWS_REGION": "eu-west-1", "AWS_ACCESS_KEY_ID": "a"}, "AWS_ACCESS_KEY_ID: .* go together"),
        ({"NEWRELIC_API_KEY": "k"}, "NEWRELIC_ACCOUNT_ID: must be the number"),
        ({"HAWKEYE_BASE_URL": "ftp://x", "HAWKEYE_API_KEY": "k"}, "HAWKEYE_BASE_URL: must be an http"),
        ({"EKS_IN_CLUSTER": "perhaps"}, "EKS_IN_CLUSTER: must be true or false"),
        ({"EKS_IN_CLUSTER": "1", "EKS_NODE_PRICES": "0.107"}, "EKS_NODE_PRICES: must be such as m5.large="),
        ({"EKS_IN_CLUSTER": "1", "EKS_NODE_PRICES": "m5.large=-1"}, "EKS_NODE_PRICES: m5.large must cost 0 to"),
    ],
)
def test_what_does_not_fit_is_named_by_its_variable(environ: dict[str, str], said: str) -> None:
    """The variables may be meant for other programs, so the program's settings stand all the same."""
    [problem] = load_settings(environ).vendors.problems.values()
    assert re.match(said, problem)
