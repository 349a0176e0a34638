"""A cluster's capacity against its plan."""

from datetime import timedelta
from typing import Any

import pytest

from core.detection.drift_capacity import judged_capacity
from core.domain.capacity import CapacityPlan, CapacitySnapshot, NodeType, Resources
from core.domain.drift import DriftCategory, DriftSeverity, FoundDrift
from core.domain.recommendations import target_of
from tests.support.cluster_rows import NOON

GIB = float(1 << 30)
PLAN = CapacityPlan()


def snapshot(cpu: float = 0.5, days_ago: float = 0.0, nodes: int = 10, **changes: Any) -> CapacitySnapshot:
    """A cluster of 100 cores for 10 dollars an hour."""
    usual: dict[str, Any] = {
        "cluster_id": "prod",
        "ts": NOON - timedelta(days=days_ago),
        "nodes": (NodeType(instance_type="m", count=nodes),),
        "allocatable": Resources(cpu_cores=100.0, memory_bytes=400.0 * GIB, pods=1_000.0),
        "used": Resources(cpu_cores=100.0 * cpu, memory_bytes=40.0 * GIB, pods=10.0),
        "requested": Resources(cpu_cores=10.0, memory_bytes=40.0 * GIB, pods=10.0),
        "cost_usd_per_hour": 10.0,
    }
    return CapacitySnapshot(**{**usual, **changes})


def found_in(
    *snapshots: CapacitySnapshot, plan: CapacityPlan | None = PLAN, nodes_spare: int = 0
) -> dict[str, FoundDrift]:
    """What is drift."""
    judged = judged_capacity(snapshots, plan, nodes_spare)
    return {key: found for key, found in judged.items() if found is not None}


def proposed(found: FoundDrift) -> int | None:
    """How many nodes there should be."""
    recommended = found.recommendation
    return None if recommended is None else target_of(recommended.recommendation_json).proposed.nodes


@pytest.mark.parametrize(
    ("cpu", "plan", "severity", "nodes"),
    [
        (0.75, PLAN, None, None),
        (0.8, PLAN, DriftSeverity.MAJOR, 11),
        (0.95, PLAN, DriftSeverity.CRITICAL, 13),
        (0.94, None, None, None),
        (0.95, None, DriftSeverity.CRITICAL, None),
        (1.9, None, DriftSeverity.CRITICAL, 20),
        (0.96, CapacityPlan(utilisation_max={"memory": 0.5}), DriftSeverity.CRITICAL, 11),
        (0.8, CapacityPlan(nodes_max=10), DriftSeverity.MAJOR, None),
    ],
)
def test_a_cluster_that_is_too_full(
    cpu: float, plan: CapacityPlan | None, severity: DriftSeverity | None, nodes: int | None
) -> None:
    """By its plan, and in any case where it is full; as many nodes as would do, where the plan allows more."""
    found = found_in(snapshot(cpu), plan=plan)
    if severity is None:
        assert found == {}
    else:
        assert found.keys() == {"capacity-cpu"}
        assert (found["capacity-cpu"].drift.severity, proposed(found["capacity-cpu"])) == (severity, nodes)


def test_in_plain_words() -> None:
    """With what the plan says, and what the change costs."""
    found = found_in(snapshot(0.8))["capacity-cpu"]
    assert found.drift.message == "cluster prod uses 80 % of its cpu; its plan allows 75 %"
    assert found.drift.drift_category is DriftCategory.CAPACITY_DRIFT
    assert found.recommendation is not None
    assert found.recommendation.recommendation_type == "scale_nodes"
    assert found.recommendation.recommendation_json == {"current": {"nodes": 10}, "proposed": {"nodes": 11}}
    assert found.recommendation.estimated_savings_usd == pytest.approx(-730.0)


def test_full_too_soon() -> None:
    """A forecast that reaches the plan's limit within its runway, certainly (major) or in all likelihood (minor)."""
    steady = [snapshot(0.6 - 0.01 * day, day) for day in range(20, -1, -1)]
    assert found_in(*steady, plan=CapacityPlan(runway_days_min=10.0)) == {}
    assert found_in(*steady, plan=None) == {}
    assert found_in(*steady, plan=CapacityPlan(runway_days_min=None)) == {}
    found = found_in(*steady, plan=CapacityPlan(runway_days_min=20.0))
    assert found.keys() == {"runway-cpu"}
    assert found["runway-cpu"].drift.severity is DriftSeverity.MAJOR
    assert (found["runway-cpu"].drift.message or "").startswith("cpu reaches 75 % on 2026-02-15 ")
    assert proposed(found["runway-cpu"]) == 11
    scattered = [snapshot(0.6 - 0.01 * day + 0.08 * (-1) ** day, day) for day in range(20, -1, -1)]
    unsure = found_in(*scattered, plan=CapacityPlan(runway_days_min=16.0))
    assert unsure["runway-cpu"].drift.severity is DriftSeverity.MINOR


def requested(cpu: float, memory: float = 0.1) -> Resources:
    """These shares of the cluster."""
    return Resources(cpu_cores=100.0 * cpu, memory_bytes=400.0 * GIB * memory, pods=10.0)


@pytest.mark.parametrize("plan", [None, PLAN, CapacityPlan(utilisation_max={"cpu": 0.5})])
def test_full_by_requests(plan: CapacityPlan | None) -> None:
    """Pods wait for room though two fifths are used; it is drift of its own, whatever the plan says of use."""
    assert found_in(snapshot(0.4, requested=requested(0.94, 0.94)), plan=plan) == {}
    found = found_in(snapshot(0.4, requested=requested(0.99)), plan=plan)
    assert found.keys() == {"capacity-requested-cpu"}
    drift = found["capacity-requested-cpu"].drift
    assert (drift.drift_category, drift.severity) == (DriftCategory.CAPACITY_DRIFT, DriftSeverity.CRITICAL)
    assert drift.message == (
        "pods request 99 % of the cpu of cluster prod, so that more may have to wait for room; 40 % is used"
    )
    assert proposed(found["capacity-requested-cpu"]) == 11
    assert found_in(snapshot(0.4, requested=requested(0.1, 0.96)), plan=plan).keys() == {"capacity-requested-memory"}
    assert found_in(snapshot(0.4, requested=None), plan=plan) == {}


def test_full_by_requests_too_soon() -> None:
    """A forecast of what is requested, beside that of what is used."""
    rising = [snapshot(0.4, day, requested=requested(0.9 - 0.01 * day)) for day in range(20, -1, -1)]
    found = found_in(*rising)
    assert found.keys() == {"runway-requested-cpu"}
    assert (found["runway-requested-cpu"].drift.message or "").startswith("requested cpu reaches 95 % on 2026-02-05 ")
    assert proposed(found["runway-requested-cpu"]) == 11
    assert found_in(*rising, plan=CapacityPlan(runway_days_min=4.0)) == {}


def test_more_or_fewer_nodes_than_planned() -> None:
    """Back to the nearest that is."""
    plan = CapacityPlan(nodes_min=8, nodes_max=12)
    assert found_in(snapshot(nodes=8), plan=plan) == found_in(snapshot(nodes=12), plan=plan) == {}
    few, many = found_in(snapshot(nodes=7), plan=plan)["nodes"], found_in(snapshot(nodes=13), plan=plan)["nodes"]
    assert [proposed(few), proposed(many)] == [8, 12]
    assert few.drift.message == "cluster prod has 7 nodes; its plan wants at least 8"


def test_far_more_nodes_than_needed() -> None:
    """Three in ten, and two at least; only where requests are known, and of more than a day."""
    yesterday, now = snapshot(days_ago=1.0), snapshot()
    assert found_in(yesterday, now, nodes_spare=2) == {}
    assert found_in(snapshot(days_ago=0.9), now, nodes_spare=9) == {}
    assert found_in(yesterday, snapshot(requested=None), nodes_spare=9) == {}
    found = found_in(yesterday, now, nodes_spare=3)["spare-nodes"]
    assert (found.drift.drift_category, found.drift.severity) == (DriftCategory.COST_DRIFT, DriftSeverity.MINOR)
    assert found.drift.message == ("cluster prod could do without 3 of its 10 nodes, which cost 2,190 USD a month")
    assert found.recommendation is not None
    assert found.recommendation.estimated_savings_usd == pytest.approx(2_190.0)


def test_without_nodes_there_is_nothing_to_scale() -> None:
    """A cluster that tells of capacity alone, and one that has none."""
    assert proposed(found_in(snapshot(0.99, nodes=0))["capacity-cpu"]) is None
    nothing = Resources(cpu_cores=0.0, memory_bytes=0.0, pods=0.0)
    assert found_in(snapshot(allocatable=nothing)) == {}
