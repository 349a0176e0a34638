"""What was judged of a cluster, and how a drift that was found is written down."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, TypeAlias

import msgspec
import numpy as np

from core.domain.columns import Bools
from core.domain.drift import (
    MESSAGE_CHARS_MAX,
    DetectionMethod,
    DriftCategory,
    DriftSeverity,
    DriftSpec,
    FoundDrift,
    ProposedRecommendation,
)

ENVIRONMENT: Final = "production"
"""Of all drift that is found: nothing that is collected says what a cluster is for."""
STEP_US: Final = 1_800_000_000
"""Telemetry is looked at in half hours: what is shorter than a few of them is an incident's, not drift."""
RECENT_BUCKETS: Final = 4
"""What is compared: the last two hours."""
RECENT_HOURS: Final = 2
APART_BUCKETS_MIN: Final = 2
"""The first and the last recent bucket with samples are an hour apart or more: a pod that has just started, or a
source that has just begun to report, shows nothing that lasts. Sources that report by the hour still do."""

Judged: TypeAlias = dict[str, FoundDrift | None]
"""By key everything that could be looked at; None where all is well. What is not in it could not be looked at."""


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """What a drift is of: a cluster, or a workload in it."""

    cluster_id: str
    namespace: str | None = None
    workload: str | None = None

    def key(self, what: str) -> str:
        """``cpu-over-request/shop/checkout``; of a whole cluster only what it is."""
        return "/".join(part for part in (what, self.namespace, self.workload) if part is not None)

    def __str__(self) -> str:
        return f"cluster {self.cluster_id}" if self.workload is None else f"{self.workload} in {self.namespace}"


def found_drift(
    subject: Subject,
    what: str,
    *,
    category: DriftCategory,
    severity: DriftSeverity,
    method: DetectionMethod,
    confidence: float,
    message: str,
    start: datetime,
    evidence: Mapping[str, Any],
    recommendation: ProposedRecommendation | None = None,
) -> FoundDrift:
    """A drift of `subject` that goes on. Its key is part of the evidence: by that it is known again."""
    key = subject.key(what)
    return FoundDrift(
        key=key,
        drift=DriftSpec(
            cluster_id=subject.cluster_id,
            env=ENVIRONMENT,
            drift_category=category,
            severity=severity,
            workload_name=subject.workload,
            namespace=subject.namespace,
            start_ts=start,
            detection_method=method,
            confidence_score=min(max(confidence, 0.0), 1.0),
            message=message[:MESSAGE_CHARS_MAX],
            evidence={"key": key, **evidence},
        ),
        recommendation=recommendation,
    )


def recent_buckets(newest: int) -> slice:
    """The recent ones, the newest last."""
    return slice(max(0, newest - RECENT_BUCKETS + 1), newest + 1)


def lasts(there: Bools) -> bool:
    """Whether the recent buckets with samples, shape (buckets,), are enough to judge by."""
    buckets = np.flatnonzero(there)
    return len(buckets) > 0 and int(buckets[-1] - buckets[0]) >= APART_BUCKETS_MIN


def cores_text(cores: float) -> str:
    """``0.25 cores``."""
    number = f"{cores:.3g}"
    return f"{number} core{'' if number == '1' else 's'}"


def bytes_text(size_bytes: float) -> str:
    """``820 MiB``."""
    for power, unit in ((4, "TiB"), (3, "GiB")):
        if size_bytes >= 1024.0**power:
            return f"{size_bytes / 1024.0**power:.3g} {unit}"
    return f"{size_bytes / 1024.0**2:.0f} MiB" if size_bytes >= 1024.0**2 else f"{size_bytes:.0f} bytes"


def seconds_text(seconds: float) -> str:
    """``120 ms``."""
    return f"{seconds:.3g} s" if seconds >= 1.0 else f"{seconds * 1_000.0:.3g} ms"


def share_text(share: float) -> str:
    """``190 %``."""
    percent = 100.0 * share
    return f"{percent:.0f} %" if percent >= 10.0 else f"{percent:.2g} %"
