"""Opening a metric source of any kind. A vendor's module is imported when one of its sources is opened: the libraries
of AWS and Kubernetes take a second and tens of megabytes that most servers never need.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

from adapters.driven.sources.surroundings import Surroundings
from core.domain.collection import ProblemKind
from core.domain.source_configs import SourceKind
from core.domain.sources import CREDENTIALS, SourceSpec
from ports.driven.metric_source import MetricSource, SourceError


class Open(Protocol):
    """What each vendor's module offers."""

    def __call__(
        self,
        spec: SourceSpec,
        credentials: Mapping[str, str],
        surroundings: Surroundings,
        *,
        trusted: bool,
        cluster_id: str | None,
        namespaces: Sequence[str],
    ) -> AbstractAsyncContextManager[MetricSource]:
        """See `SourceOpener.open`."""
        ...


class VendorSources:
    """Implements `SourceOpener`."""

    def __init__(self, surroundings: Surroundings) -> None:
        self._surroundings = surroundings

    @asynccontextmanager
    async def open(
        self,
        spec: SourceSpec,
        credentials: Mapping[str, str],
        *,
        trusted: bool,
        cluster_id: str | None,
        namespaces: Sequence[str],
    ) -> AsyncIterator[MetricSource]:
        """See `SourceOpener.open`."""
        missing = [name for name in CREDENTIALS[spec.kind].required if name not in credentials]
        if missing:
            raise SourceError(
                ProblemKind.CREDENTIALS, f"{spec.kind.value} needs the credential {' and '.join(missing)}"
            )
        opened = _opener(spec.kind)(
            spec, credentials, self._surroundings, trusted=trusted, cluster_id=cluster_id, namespaces=namespaces
        )
        async with opened as source:
            yield source


def _opener(kind: SourceKind) -> Open:
    match kind:
        case SourceKind.DATADOG:
            from adapters.driven.sources.datadog import open_datadog

            return open_datadog
        case SourceKind.CLOUDWATCH:
            from adapters.driven.sources.cloudwatch import open_cloudwatch

            return open_cloudwatch
        case SourceKind.NEWRELIC:
            from adapters.driven.sources.newrelic import open_newrelic

            return open_newrelic
        case SourceKind.HAWKEYE:
            from adapters.driven.sources.hawkeye import open_hawkeye

            return open_hawkeye
        case SourceKind.EKS:
            from adapters.driven.sources.eks import open_eks

            return open_eks
        case SourceKind.PROMETHEUS:
            from adapters.driven.sources.prometheus import open_prometheus

            return open_prometheus
        case SourceKind.SYNTHETIC:
            from adapters.driven.sources.synthetic import open_synthetic

            return open_synthetic
