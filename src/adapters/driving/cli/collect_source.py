"""The metric source that a command line and this machine's environment describe."""

import os
import re
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from adapters.driving.cli.api import UsageError
from adapters.driving.cli.display import clean
from adapters.runtime.environment import FILE_SUFFIX
from adapters.runtime.vendors import SECRETS, Vendors, read_vendors, variable_of
from core.domain.collection import OneOffSource
from core.domain.errors import InvalidInput
from core.domain.source_configs import (
    DatadogConfig,
    PrometheusConfig,
    PromQuery,
    SourceConfig,
    SourceKind,
    SyntheticConfig,
    check_config,
)
from core.domain.sources import check_credentials

WANTED: Final[Mapping[SourceKind, str]] = {
    SourceKind.DATADOG: "DATADOG_API_KEY and DATADOG_APP_KEY (and DATADOG_SITE, unless it is datadoghq.com)",
    SourceKind.CLOUDWATCH: "AWS_REGION, and credentials as the AWS command line finds them",
    SourceKind.NEWRELIC: "NEWRELIC_API_KEY and NEWRELIC_ACCOUNT_ID",
    SourceKind.HAWKEYE: "HAWKEYE_BASE_URL and HAWKEYE_API_KEY",
    SourceKind.PROMETHEUS: "PROMETHEUS_URL",
}
"""What a kind is configured by."""


TAKES_QUERIES: Final = (SourceKind.DATADOG, SourceKind.PROMETHEUS)
_NAMED = re.compile(r"\s*([a-zA-Z_:][\w:.-]*)\s*=(?![=~])(.*)\Z", re.ASCII | re.DOTALL)
"""``load=avg(node_load1)``: no PromQL begins like this, whose ``=`` stands in braces."""
_SELECTOR = re.compile(r"\s*([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(\{.*\})?\s*\Z", re.DOTALL)


def source_here(kind: SourceKind, *, queries: Sequence[str] = (), instances: int | None = None) -> OneOffSource | None:
    """The source of that kind, with its credentials; None where nothing here describes one.

    EKS is never described here: it is the cluster of the server. Raises `UsageError` saying what is missing or wrong.
    """
    if queries and kind not in TAKES_QUERIES:
        raise UsageError(
            "--query is for datadog and prometheus; other sources' metrics are set with `sextant sources apply`"
        )
    vendors = read_vendors(os.environ)
    if kind is SourceKind.SYNTHETIC:
        found = OneOffSource(config=SyntheticConfig() if instances is None else SyntheticConfig(instances=instances))
    elif kind is SourceKind.EKS or (kind not in vendors.sources and kind not in vendors.problems):
        return None
    else:
        found = _of_vendor(kind, vendors)
    try:
        config = _with_queries(found.config, queries)
        check_config(config)
        credentials = found.credentials or (_aws_credentials() if kind is SourceKind.CLOUDWATCH else {})
        check_credentials(kind, credentials)
    except InvalidInput as error:
        place = "--query" if error.field.startswith("config.queries") else variable_of(kind, error.field)
        raise UsageError(f"{place}: {error.reason}") from error
    return OneOffSource(config=config, credentials=credentials)


def sources_here() -> tuple[Sequence[SourceKind], Mapping[SourceKind, str]]:
    """The kinds that this machine's environment describes, and why it describes others only in part.

    Variables of those may be meant for other programs: a Datadog agent has an API key and no application key.
    """
    vendors = read_vendors(os.environ)
    whole = [kind for kind in SourceKind if kind in vendors.sources and kind is not SourceKind.EKS]
    return whole, {kind: _mended(kind, why) for kind, why in vendors.problems.items() if kind is not SourceKind.EKS}


def credentials_from(kind: SourceKind) -> Sequence[str]:
    """Where this machine has a kind's credentials from."""
    variables = SECRETS.get(kind, {}).values()
    found = [name for each in variables for name in (each, each + FILE_SUFFIX) if os.environ.get(name)]
    return found or (["AWS's own configuration"] if kind is SourceKind.CLOUDWATCH else [])


def _of_vendor(kind: SourceKind, vendors: Vendors) -> OneOffSource:
    problem = vendors.problems.get(kind)
    if problem is not None:
        raise UsageError(_mended(kind, problem))
    return vendors.sources[kind]


def _mended(kind: SourceKind, problem: str) -> str:
    """The problem, with the variables of what is missing instead of the fields."""
    what, missing, _ = problem.partition(": is missing;")
    return f"{what} is missing; {kind.value} needs {WANTED[kind]}" if missing else problem


def _with_queries(config: SourceConfig, queries: Sequence[str]) -> SourceConfig:
    match config:
        case DatadogConfig() if queries:
            return msgspec.structs.replace(config, queries=tuple(queries))
        case PrometheusConfig() if queries:
            return msgspec.structs.replace(config, queries=tuple(_prom_query(text) for text in queries))
        case _:
            return config


def _prom_query(text: str) -> PromQuery:
    """``load=avg(node_load1)`` is stored as ``load``, a plain selector under its own name; raises `UsageError`."""
    named = _NAMED.match(text)
    if named is not None:
        return PromQuery(metric=named[1], promql=named[2].strip())
    selector = _SELECTOR.match(text)
    if selector is None:
        raise UsageError(f"--query {text!r}: say what to store it as, such as --query 'load={text.strip()}'")
    return PromQuery(metric=selector[1], promql=text.strip())


def _aws_credentials() -> dict[str, str]:
    """What AWS's own chain finds on this machine: profiles, single sign-on, a role; none where it finds nothing."""
    import botocore.session  # half a second, for this one source
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        credentials = botocore.session.get_session().get_credentials()
        frozen = credentials.get_frozen_credentials() if credentials is not None else None
    except (BotoCoreError, ClientError, OSError, ValueError) as error:
        raise UsageError(f"AWS credentials on this machine cannot be used: {clean(str(error))}") from error
    if frozen is None:
        return {}
    found = {
        "access_key_id": frozen.access_key,
        "secret_access_key": frozen.secret_key,
        "session_token": frozen.token,
    }
    return {name: text for name, text in found.items() if text}
