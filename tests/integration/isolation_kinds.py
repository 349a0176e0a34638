"""What a route can be to two tenants, and the things that requests to it name."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from core.domain.tenants import Scope

Route = tuple[str, str]
"""Method and path template."""


@dataclass(frozen=True)
class Subject:
    """Things that a request may name: a tenant's own, or ones that exist nowhere."""

    tenant: str
    tenant_id: int
    key_id: int
    metric: str
    label: str
    value: str
    alert_id: int
    rule_id: int
    silence_id: int
    inhibition_id: int
    channel_id: int
    notification_id: str
    policy_id: int
    remediation_id: int
    event_id: str
    anomaly_id: str
    incident_id: int
    purge_id: int
    channel: str
    policy: str
    source: str
    run_id: int
    instance_id: int
    cluster: str
    namespace: str
    workload: str
    pod: str
    change_id: str
    drift_id: str
    rec_id: str


@dataclass(frozen=True)
class Request:
    """What is sent to the route."""

    path: str
    params: Mapping[str, str]
    json: Any = None


@dataclass(frozen=True)
class Guarded:
    """A route that needs a key with one of `scopes`; `operator`: even then only the operator's."""

    scopes: frozenset[Scope]
    request: Callable[[str, Subject], Request]
    operator: bool = False


@dataclass(frozen=True)
class Linked:
    """A route that needs no key but a signed link, which is good for one thing of one tenant."""


@dataclass(frozen=True)
class Public:
    """A route that needs no key, and whose answer is the same whatever tenants have."""

    path: str


INGEST: Final = frozenset({Scope.INGEST})
QUERY: Final = frozenset({Scope.QUERY})
ALERTS: Final = frozenset({Scope.ALERTS})
READ_ALERTS: Final = frozenset({Scope.ALERTS, Scope.QUERY})
REMEDIATE: Final = frozenset({Scope.REMEDIATE})
READ_PURGE: Final = frozenset({Scope.ADMIN, Scope.ALERTS, Scope.QUERY})
READ_REMEDIATION: Final = frozenset({Scope.REMEDIATE, Scope.ALERTS, Scope.QUERY})
ADMIN: Final = frozenset({Scope.ADMIN})
ANY: Final = frozenset(Scope)


def named(path: str, subject: Subject) -> str:
    return path.format(name=subject.metric, file="start.js", **asdict(subject))


def plain(path: str, subject: Subject) -> Request:
    return Request(named(path, subject), {})
