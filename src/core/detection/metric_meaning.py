"""What a metric's name says about it, by the words that metric names are made of everywhere.

The vocabulary is that of the Prometheus naming practices, the OpenTelemetry semantic conventions and the cloud
providers' metrics. A name without any of these words is a resource's: something that a service uses, more of which
is worse.
"""

import re
from collections.abc import Mapping
from enum import StrEnum
from functools import lru_cache
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

SERVICE_LABEL: Final = "service"
CLIENT_LABEL: Final = "client"
SERVER_LABEL: Final = "server"
SIDE_LABEL: Final = "side"
"""Who measured a call edge: its `client` (which waits for the network too, and is assumed) or its `server`."""
INSTANCE_LABELS: Final = ("pod", "instance", "host", "container")
"""What tells a service's replicas apart; the first of these that a series has."""

_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[0-9]XX|[0-9]xx", re.ASCII)
_LATENCY = frozenset({"latency", "duration", "delay", "elapsed", "response", "rtt"})
_ERRORS = frozenset(
    {"error", "errors", "failed", "failure", "failures", "exception", "exceptions", "fault", "faults", "timeout"}
    | {"timeouts", "rejected", "dropped", "drops", "retransmits", "5xx", "throttled"}
)
_TRAFFIC = frozenset(
    {"request", "requests", "operation", "operations", "ops", "call", "calls", "query", "queries", "rps", "qps"}
    | {"throughput", "network", "receive", "received", "transmit", "transmitted", "sent", "packets", "syscall"}
    | {"syscalls", "messages", "connections"}
)
_LESS_IS_WORSE = frozenset({"success", "successful", "availability", "free", "available", "idle", "remaining"})
_SUCCESS = frozenset({"success", "successful", "availability"})
_OUTGOING = frozenset({"client", "outgoing", "egress", "upstream"})


class MetricKind(StrEnum):
    """What it means when a metric moves."""

    RESOURCE = "resource"
    """Used by the service itself; a callee does not use its caller's processor."""
    LATENCY = "latency"
    """A symptom: a caller waits for its callees."""
    ERRORS = "errors"
    """A symptom: a caller fails when its callees do."""
    TRAFFIC = "traffic"
    """Made by a service's callers, not by itself."""


class Meaning(msgspec.Struct, frozen=True):
    """What a metric's name says."""

    kind: MetricKind
    less_is_worse: bool
    outgoing: bool
    """Measured on the calls that the service makes, so it tells about its callees."""
    counter: bool
    """Ever growing (Prometheus: ends in ``_total``); its increments are looked at instead."""


class ObservedSeries(msgspec.Struct, frozen=True):
    """A series as it was measured; one of a service, or of a call edge where it has `client` and `server`."""

    name: str
    labels: Mapping[str, str]
    ts_us: NDArray[np.int64]
    """Shape (n,), microseconds since the Unix epoch, in any order."""
    values: NDArray[np.float64]
    """Shape (n,), in the metric's own unit."""

    @property
    def edge(self) -> tuple[str, str] | None:
        """(client, server) of a call edge's series, or None."""
        client, server = self.labels.get(CLIENT_LABEL), self.labels.get(SERVER_LABEL)
        return (client, server) if client and server else None

    @property
    def service(self) -> str | None:
        """The service that the series is measured on; None for an edge's, and where no label says it."""
        return None if self.edge else self.labels.get(SERVICE_LABEL)

    @property
    def instance(self) -> str:
        """The replica; empty where no label tells replicas apart."""
        return next((self.labels[label] for label in INSTANCE_LABELS if label in self.labels), "")


@lru_cache(maxsize=1_024)
def meaning_of(name: str) -> Meaning:
    """What the metric `name` says, for example ``http_server_request_duration_seconds``: latency."""
    words = [word.lower() for word in _WORD.findall(name)]
    said = frozenset(words)
    if said & _LATENCY:
        kind = MetricKind.LATENCY
    elif said & (_ERRORS | _SUCCESS):
        kind = MetricKind.ERRORS
    elif said & _TRAFFIC:
        kind = MetricKind.TRAFFIC
    else:
        kind = MetricKind.RESOURCE
    return Meaning(
        kind=kind,
        less_is_worse=kind in (MetricKind.ERRORS, MetricKind.RESOURCE) and bool(said & _LESS_IS_WORSE),
        outgoing=bool(said & _OUTGOING),
        counter=bool(words) and words[-1] == "total",
    )
