"""Use against requests and limits, and requests against use."""

from datetime import UTC, datetime

import numpy as np
import pytest

from core.detection.drift_findings import Judged, Subject
from core.detection.drift_right_size import Surroundings, WorkloadUse, judged_oversized, right_size
from core.detection.drift_usage import judged_usage
from core.detection.right_sizing import Sizing
from core.domain.columns import Float64s
from core.domain.drift import DriftSeverity, FoundDrift
from core.domain.recommendations import target_of
from core.domain.resource_prices import ResourcePrices

MIB = float(1 << 20)
AROUND = Surroundings(
    subject=Subject(cluster_id="prod", namespace="shop", workload="checkout"),
    start=datetime(2026, 1, 31, 10, tzinfo=UTC),
    pods=2.0,
    prices=ResourcePrices(cpu_core_usd=10.0, memory_byte_usd=1.0 / (1 << 30)),
)
UNKNOWN = Sizing(request=None, observed=None, proposed=None)


def grid(*pods: float | list[float]) -> Float64s:
    """A row for each pod, of four buckets."""
    return np.array([pod if isinstance(pod, list) else [pod] * 4 for pod in pods])


def cpu(
    use: Float64s, request: float | None = 1.0, limit: float | None = None, sizing: Sizing = UNKNOWN
) -> WorkloadUse:
    """A workload's cpu, all its pods alike."""
    request_grid, limit_grid = (np.full(use.shape, np.nan if each is None else each) for each in (request, limit))
    return WorkloadUse(use=use, request=request_grid, limit=limit_grid, sizing=sizing)


def only(judged: Judged) -> FoundDrift:
    """The one that was found."""
    (found,) = (found for found in judged.values() if found is not None)
    return found


@pytest.mark.parametrize(
    ("use", "severity", "confidence"),
    [
        (0.89, None, 0.0),
        (0.9, DriftSeverity.MINOR, 1.0),
        (1.0, DriftSeverity.MAJOR, 1.0),
        ([0.5, 1.2, 1.2, 1.2], DriftSeverity.MAJOR, 0.75),
        ([0.1, 0.1, 9.0, 0.1], None, 0.0),
    ],
)
def test_use_against_requests(use: float | list[float], severity: DriftSeverity | None, confidence: float) -> None:
    """The median of the last two hours decides, and how many of them are above it is the confidence."""
    judged = judged_usage(AROUND, "cpu", cpu(grid(use)))
    assert judged.keys() == {"cpu-over-request/shop/checkout"}
    if severity is None:
        assert set(judged.values()) == {None}
    else:
        drift = only(judged).drift
        assert (drift.severity, drift.confidence_score) == (severity, confidence)


def test_one_busy_pod_among_idle_ones_asks_for_enough() -> None:
    """Pods that lack a request are left out on both sides."""
    told = cpu(grid(1.5, 0.1, 9.0))
    told.request[2] = np.nan
    assert set(judged_usage(AROUND, "cpu", told).values()) == {None}


def test_what_cannot_be_compared_is_not_judged() -> None:
    """No request, a request of nothing, or a pod that has just started."""
    short = grid([np.nan, np.nan, 9.0, 9.0])
    for told in (cpu(grid(9.0), None), cpu(grid(9.0), 0.0, 0.0), cpu(short, 1.0, 1.0), cpu(np.empty((0, 4)), 1.0)):
        assert judged_usage(AROUND, "cpu", told) == {}


def test_in_plain_words() -> None:
    """Names, numbers, units."""
    sizing = Sizing(request=0.5, observed=0.9, proposed=1.04)
    found = only(judged_usage(AROUND, "cpu", cpu(grid(1.0, 0.9), 0.5, sizing=sizing)))
    assert found.drift.message == (
        "checkout in shop uses 1.9 cores of the 1 core of cpu that it asks for (190 %), over the last 2 h"
    )
    memory = cpu(grid(490.0 * MIB), 256.0 * MIB, 512.0 * MIB)
    told = [found.drift.message for found in judged_usage(AROUND, "memory", memory).values() if found is not None]
    assert told == [
        "checkout in shop uses 490 MiB of the 256 MiB of memory that it asks for (191 %), over the last 2 h",
        "a pod of checkout in shop uses 96 % of its limit of 512 MiB of memory, over the last 2 h: it is killed when "
        "it has no more",
    ]


def test_the_worst_pod_meets_its_limit() -> None:
    """However idle the others are."""
    judged = judged_usage(AROUND, "cpu", cpu(grid(0.2, 1.9, 0.1), 2.0, 2.0))
    assert judged["cpu-over-request/shop/checkout"] is None
    drift = only(judged).drift
    assert (drift.severity, drift.evidence["ratio"]) == (DriftSeverity.CRITICAL, pytest.approx(0.95))


def test_a_larger_request_holds_what_is_used_now() -> None:
    """Though the whole range proposes less; it costs more, and the limit is raised where it would be below it."""
    sizing = Sizing(request=1.0, observed=0.5, proposed=0.58)
    found = judged_usage(AROUND, "cpu", cpu(grid(2.0), 1.0, 2.1, sizing))["cpu-over-request/shop/checkout"]
    assert found is not None
    assert found.recommendation is not None
    document = found.recommendation.recommendation_json
    assert document["current"] == {"cpu_request": "1", "cpu_limit": "2100m"}
    assert document["proposed"] == {"cpu_request": "2300m", "cpu_limit": "2880m"}
    assert found.recommendation.estimated_savings_usd == pytest.approx(-26.0)
    target = target_of(document)
    assert (target.namespace, target.workload, target.proposed.cpu_request) == ("shop", "checkout", "2300m")


def test_far_too_large_requests() -> None:
    """Half a day of samples, and half of what one resource asks for unused."""
    told = {
        "cpu": cpu(grid(0.1), sizing=Sizing(request=1.0, observed=0.2, proposed=0.23)),
        "memory": cpu(grid(MIB), sizing=Sizing(request=512.0 * MIB, observed=400.0 * MIB, proposed=480.0 * MIB)),
    }
    found = only(judged_oversized(AROUND, told, 24))
    assert found.drift.message == (
        "each pod of checkout in shop asks for far more than it uses; cpu: 1 core, where 0.23 cores would do"
    )
    assert found.drift.severity is DriftSeverity.MINOR
    assert found.recommendation is not None
    assert found.recommendation.recommendation_json["proposed"] == {"cpu_request": "230m"}
    assert found.recommendation.estimated_savings_usd == pytest.approx(15.4)
    assert judged_oversized(AROUND, told, 23) == {}
    little = {"cpu": cpu(grid(0.1), sizing=Sizing(request=0.4, observed=0.2, proposed=0.23)), "memory": cpu(grid(1.0))}
    assert judged_oversized(AROUND, little, 99) == {"oversized/shop/checkout": None}
    assert judged_oversized(AROUND, {"cpu": cpu(grid(0.1)), "memory": cpu(grid(1.0))}, 99) == {}


def test_nothing_is_recommended_that_changes_nothing() -> None:
    """No proposal, or what is asked for already."""
    same = Sizing(request=1.0, observed=0.9, proposed=1.0)
    assert right_size(AROUND, {"cpu": UNKNOWN, "memory": same}, {}) is None
