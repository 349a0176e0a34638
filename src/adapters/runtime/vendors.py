"""What the vendors' own environment variables configure: one metric source of each kind that has them.

A secret may come from a file instead: ``DATADOG_API_KEY_FILE=/run/secrets/datadog``.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from adapters.runtime.environment import FILE_SUFFIX, secret_text
from core.domain.collection import OneOffSource
from core.domain.errors import InvalidInput
from core.domain.source_configs import (
    CloudWatchConfig,
    DatadogConfig,
    EksConfig,
    HawkeyeConfig,
    NewRelicConfig,
    PrometheusConfig,
    SourceConfig,
    SourceKind,
    check_config,
)
from core.domain.sources import check_credentials

EKS_CLUSTER_ID: Final = "EKS_CLUSTER_ID"
EKS_CLUSTER_DEFAULT: Final = "default"
"""What the cluster is called where ``EKS_CLUSTER_ID`` does not say."""
EKS_NODE_PRICES: Final = "EKS_NODE_PRICES"


class Vendors(msgspec.Struct, frozen=True, kw_only=True):
    """Sources by kind, and which cluster is at hand; its repr leaves credentials out."""

    sources: dict[SourceKind, OneOffSource] = {}
    problems: dict[SourceKind, str] = {}
    """Why a kind whose variables are there cannot be used. They may be meant for other programs: no error by itself."""
    kubeconfig: Path | None = None
    in_cluster: bool = False

    def __repr__(self) -> str:
        kinds = ", ".join(kind.value for kind in self.sources)
        return f"{type(self).__name__}(sources of {kinds or 'no kind'}, kubeconfig={self.kubeconfig})"


def read_vendors(environ: Mapping[str, str]) -> Vendors:
    """The sources that `environ` describes."""
    sources: dict[SourceKind, OneOffSource] = {}
    problems: dict[SourceKind, str] = {}
    for kind, read in _READERS.items():
        try:
            config = read(environ)
            if config is None:
                continue
            check_config(config)
            credentials = credentials_of(kind, environ)
            check_credentials(kind, credentials)
            sources[kind] = OneOffSource(config=config, credentials=credentials)
        except InvalidInput as error:
            problems[kind] = f"{variable_of(kind, error.field)}: {error.reason}"
        except ValueError as error:
            problems[kind] = str(error)
    return Vendors(
        sources=sources, problems=problems, kubeconfig=_kubeconfig(environ), in_cluster=_in_cluster(environ) is True
    )


SECRETS: Final[Mapping[SourceKind, Mapping[str, str]]] = {
    SourceKind.DATADOG: {"api_key": "DATADOG_API_KEY", "app_key": "DATADOG_APP_KEY"},
    SourceKind.CLOUDWATCH: {
        "access_key_id": "AWS_ACCESS_KEY_ID",
        "secret_access_key": "AWS_SECRET_ACCESS_KEY",
        "session_token": "AWS_SESSION_TOKEN",
    },
    SourceKind.NEWRELIC: {"api_key": "NEWRELIC_API_KEY"},
    SourceKind.HAWKEYE: {"api_key": "HAWKEYE_API_KEY"},
    SourceKind.PROMETHEUS: {
        "bearer_token": "PROMETHEUS_BEARER_TOKEN",
        "username": "PROMETHEUS_USERNAME",
        "password": "PROMETHEUS_PASSWORD",
    },
    SourceKind.EKS: {"metrics_token": "EKS_METRICS_TOKEN"},
}
"""Credential → variable."""
_FIELDS: Final[Mapping[SourceKind, Mapping[str, str]]] = {
    SourceKind.DATADOG: {"site": "DATADOG_SITE"},
    SourceKind.CLOUDWATCH: {
        "region": "AWS_REGION",
        "instance_ids": "AWS_INSTANCE_IDS",
        "endpoint_url": "AWS_ENDPOINT_URL",
    },
    SourceKind.NEWRELIC: {"account_id": "NEWRELIC_ACCOUNT_ID", "region": "NEWRELIC_REGION"},
    SourceKind.HAWKEYE: {"base_url": "HAWKEYE_BASE_URL"},
    SourceKind.PROMETHEUS: {"url": "PROMETHEUS_URL"},
    SourceKind.EKS: {
        "cluster_id": EKS_CLUSTER_ID,
        "metrics_url": "EKS_METRICS_ENDPOINT",
        "node_prices_usd_per_hour": EKS_NODE_PRICES,
    },
}
"""Field of the configuration → variable."""


def variable_of(kind: SourceKind, field: str) -> str:
    """The variable that a field of `InvalidInput` comes from; the field where there is none."""
    place, _, name = field.partition(".")
    known = SECRETS if place == "credentials" else _FIELDS
    return known.get(kind, {}).get(name, field)


def credentials_of(kind: SourceKind, environ: Mapping[str, str]) -> dict[str, str]:
    """The credentials that `environ` holds for a kind, if any; raises ValueError with a line for a person."""
    found = {name: secret_text(variable, environ) for name, variable in SECRETS.get(kind, {}).items()}
    return {name: text for name, text in found.items() if text is not None}


def _datadog(environ: Mapping[str, str]) -> SourceConfig | None:
    if not _any_set(environ, SECRETS[SourceKind.DATADOG].values()):
        return None
    site = environ.get("DATADOG_SITE")
    return DatadogConfig(site=site) if site else DatadogConfig()


def _cloudwatch(environ: Mapping[str, str]) -> SourceConfig | None:
    region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION")
    if not region:
        return None
    instances = tuple(part.strip() for part in environ.get("AWS_INSTANCE_IDS", "").split(",") if part.strip())
    return CloudWatchConfig(region=region, instance_ids=instances, endpoint_url=environ.get("AWS_ENDPOINT_URL") or None)


def _newrelic(environ: Mapping[str, str]) -> SourceConfig | None:
    account = environ.get("NEWRELIC_ACCOUNT_ID", "").strip()
    if not account and not _any_set(environ, SECRETS[SourceKind.NEWRELIC].values()):
        return None
    if not account.isdecimal():
        raise ValueError("NEWRELIC_ACCOUNT_ID: must be the number of a New Relic account")
    return NewRelicConfig(account_id=int(account), region=environ.get("NEWRELIC_REGION", "").lower() or "us")


def _hawkeye(environ: Mapping[str, str]) -> SourceConfig | None:
    url = environ.get("HAWKEYE_BASE_URL")
    return HawkeyeConfig(base_url=url) if url else None


def _prometheus(environ: Mapping[str, str]) -> SourceConfig | None:
    url = environ.get("PROMETHEUS_URL")
    return PrometheusConfig(url=url) if url else None


def _eks(environ: Mapping[str, str]) -> SourceConfig | None:
    in_cluster = _in_cluster(environ)
    if in_cluster is None:
        raise ValueError("EKS_IN_CLUSTER: must be true or false")
    if not in_cluster and _kubeconfig(environ) is None:
        return None
    return EksConfig(
        cluster_id=environ.get(EKS_CLUSTER_ID) or EKS_CLUSTER_DEFAULT,
        metrics_url=environ.get("EKS_METRICS_ENDPOINT") or None,
        node_prices_usd_per_hour=_node_prices(environ.get(EKS_NODE_PRICES, "")),
    )


def _node_prices(text: str) -> dict[str, float]:
    prices = {}
    for part in filter(str.strip, text.split(",")):
        instance_type, _, price = part.partition("=")
        try:
            prices[instance_type.strip()] = float(price)
        except ValueError:
            raise ValueError(f"{EKS_NODE_PRICES}: must be such as m5.large=0.107,m5.xlarge=0.214") from None
    return prices


_READERS: Final[Mapping[SourceKind, Callable[[Mapping[str, str]], SourceConfig | None]]] = {
    SourceKind.DATADOG: _datadog,
    SourceKind.CLOUDWATCH: _cloudwatch,
    SourceKind.NEWRELIC: _newrelic,
    SourceKind.HAWKEYE: _hawkeye,
    SourceKind.EKS: _eks,
    SourceKind.PROMETHEUS: _prometheus,
}


def _in_cluster(environ: Mapping[str, str]) -> bool | None:
    """None where it is neither true nor false."""
    return {"": False, "false": False, "0": False, "true": True, "1": True}.get(
        environ.get("EKS_IN_CLUSTER", "").strip().lower()
    )


def _kubeconfig(environ: Mapping[str, str]) -> Path | None:
    text = environ.get("EKS_KUBECONFIG_PATH", "").strip()
    return Path(text).expanduser().absolute() if text else None


def _any_set(environ: Mapping[str, str], names: Iterable[str]) -> bool:
    return any(environ.get(name) or environ.get(name + FILE_SUFFIX) for name in names)
