"""The synthetic source: the same for the same seed and instant, and worth looking at."""

import numpy as np
import pytest

from adapters.driven.memory.clock import FakeClock
from adapters.driven.sources.synthetic import open_synthetic
from adapters.driven.sources.synthetic_fleet import CPU, FLEET_METRICS
from core.domain.collection import ProblemKind
from core.domain.columns import Float64s
from core.domain.configurations import ConfigKind
from core.domain.source_configs import SyntheticConfig
from core.domain.sources import SourceSpec
from core.domain.telemetry import (
    CPU_REQUEST,
    CPU_USAGE,
    LATENCY_P95,
    MEMORY_REQUEST,
    MEMORY_USAGE,
    STANDARD_METRICS,
)
from core.domain.times import DAY_US, HOUR_US, MINUTE_US, TimeRange
from ports.driven.metric_source import Collected, Discovery, ItemWindow, SeriesPoints
from tests.support.vendors.passing import PassingPause, loopback_surroundings

NOW_US = 1_795_372_200_000_000
SPEC = SourceSpec(name="made-up", config=SyntheticConfig())


class Answers:
    """What the source says about one range."""

    def __init__(self, discovery: Discovery, parts: list[Collected]) -> None:
        self.discovery = discovery
        self.parts = parts

    def series(self, name: str, **labels: str) -> list[SeriesPoints]:
        """Those of a metric that carry these labels."""
        return [
            one
            for part in self.parts
            for one in part.series
            if one.name == name and labels.items() <= dict(one.labels).items()
        ]

    def total(self, name: str, **labels: str) -> Float64s:
        """Their sum at each instant."""
        total: Float64s = np.sum([one.values for one in self.series(name, **labels)], axis=0)
        return total


async def ask(
    time_range: TimeRange,
    *,
    spec: SourceSpec = SPEC,
    cluster_id: str | None = None,
    namespaces: tuple[str, ...] = (),
) -> Answers:
    """Opens the source and asks it for everything."""
    clock = FakeClock(NOW_US)
    surroundings = loopback_surroundings(clock, PassingPause(clock))
    async with open_synthetic(
        spec, {}, surroundings, trusted=False, cluster_id=cluster_id, namespaces=namespaces
    ) as source:
        discovery = await source.discover(time_range)
        parts = [part async for part in source.collect([ItemWindow(item, time_range) for item in discovery.items])]
        assert source.usage().calls == len([part for part in parts if part.complete])
    return Answers(discovery, parts)


def last(hours: int) -> TimeRange:
    """So many hours until now."""
    return TimeRange(NOW_US - hours * HOUR_US, NOW_US)


async def test_the_same_instants_have_the_same_values_in_every_window() -> None:
    """Windows that overlap agree, at once and later; points lie on whole steps inside the window."""
    whole, part = await ask(last(48)), await ask(TimeRange(NOW_US - 7 * HOUR_US - 1, NOW_US - 3 * HOUR_US + 1))
    for name in (CPU, CPU_USAGE):
        for one, other in zip(whole.series(name), part.series(name), strict=True):
            assert one.labels == other.labels
            at = dict(zip(one.ts_us.tolist(), one.values.tolist(), strict=True))
            assert [at[ts_us] for ts_us in other.ts_us.tolist()] == other.values.tolist()
            assert len(other.ts_us) == 4 * 12 + 1
            assert not (one.ts_us % (5 * MINUTE_US)).any()
    other_seed = SourceSpec(name="made-up", config=SyntheticConfig(seed=2))
    [first, *_], [second, *_] = whole.series(CPU), (await ask(last(48), spec=other_seed)).series(CPU)
    assert first.labels["instance_id"] != second.labels["instance_id"]


async def test_a_fleet_and_a_cluster() -> None:
    """Every instance has its three metrics and every pod all standard ones, all marked as synthetic."""
    answers = await ask(last(2))
    instances = answers.discovery.instances
    assert len({one.external_id for one in instances}) == 6
    assert all(one.kind == "ec2" and one.external_id.startswith("i-") for one in instances)
    for name in FLEET_METRICS:
        assert [one.instance for one in answers.series(name)] == list(instances)
    pods = {one.labels["pod"] for one in answers.series(CPU_USAGE)}
    assert len(pods) == 14
    for metric in STANDARD_METRICS:
        assert {one.labels["pod"] for one in answers.series(metric.name)} == pods
    everything = [one for part in answers.parts for one in part.series]
    assert {one.labels["synthetic"] for one in everything} == {"true"}
    assert all(np.isfinite(one.values).all() and (one.values >= 0).all() for one in everything)
    assert {part.key for part in answers.parts if part.complete} == {item.key for item in answers.discovery.items}


async def test_checkout_drifts_and_search_is_oversized() -> None:
    """Checkout uses more than it asks for, more each day, and becomes slower; search uses a tenth."""
    answers = await ask(last(48))
    for use, request in ((CPU_USAGE, CPU_REQUEST), (MEMORY_USAGE, MEMORY_REQUEST)):
        checkout = answers.total(use, workload="checkout") / answers.total(request, workload="checkout")
        assert checkout.min() > 1.1
        half = len(checkout) // 2
        assert checkout[half:].mean() > 1.25 * checkout[:half].mean()
        search = answers.total(use, workload="search") / answers.total(request, workload="search")
        assert search.mean() == pytest.approx(0.1, rel=0.1)
        cart = answers.total(use, workload="cart") / answers.total(request, workload="cart")
        assert 0.4 < cart.min() < cart.max() < 0.8
    latency = answers.total(LATENCY_P95, workload="checkout")
    assert latency[-12:].mean() > 1.2 * latency[:12].mean()


async def test_capacity_runs_out() -> None:
    """There is a snapshot each hour; more cpu is used in each, and its cost is known."""
    snapshots = (await ask(last(48))).discovery.snapshots
    assert len(snapshots) == 48
    used = [snapshot.utilisation("cpu") for snapshot in snapshots]
    assert None not in used
    slope = np.polyfit(np.arange(48), np.array(used, np.float64), 1)[0]
    assert 0.01 < 24 * slope < 0.02
    assert all(snapshot.allocatable == snapshots[0].allocatable for snapshot in snapshots)
    assert snapshots[0].hourly_cost_usd == pytest.approx(3 * 0.384)
    assert {snapshot.synthetic for snapshot in snapshots} == {True}


async def test_checkout_was_released_once_in_two_days() -> None:
    """A range that holds the release tells both images, the older one first; a later one only what runs now."""
    discovery = (await ask(last(48))).discovery
    images = [one for one in discovery.configurations if one.workload == "checkout" and one.kind is ConfigKind.IMAGE]
    documents = [one.document or {} for one in images]
    before, after = [one["containers"]["checkout"]["image"].rpartition(":v") for one in documents]
    assert int(after[2]) == int(before[2]) + 1
    assert all(one.changed_at is not None for one in images)
    recent = (await ask(TimeRange(NOW_US - MINUTE_US, NOW_US))).discovery.configurations
    assert [one for one in recent if one.workload == "checkout" and one.kind is ConfigKind.IMAGE] == images[1:]


async def test_a_named_cluster_is_all_there_is() -> None:
    """It is called so, and has no fleet beside it; namespaces narrow it further, to nothing where there is none."""
    answers = await ask(last(1), cluster_id="prod", namespaces=("shop",))
    everything = [one for part in answers.parts for one in part.series]
    assert {(one.labels["cluster_id"], one.labels["namespace"]) for one in everything} == {("prod", "shop")}
    assert not answers.discovery.instances
    assert {snapshot.cluster_id for snapshot in answers.discovery.snapshots} == {"prod"}
    assert not (await ask(last(1), namespaces=("nowhere",))).discovery.items


async def test_the_budget_of_the_run_holds() -> None:
    """What is beyond it is left for the next run."""
    spec = SourceSpec(name="made-up", config=SyntheticConfig(), calls_per_run_max=2)
    parts = (await ask(TimeRange(NOW_US - HOUR_US, NOW_US), spec=spec)).parts
    problems = [part.problem.kind for part in parts if part.problem is not None]
    assert problems == [ProblemKind.BUDGET] * (3 + len(STANDARD_METRICS) - 2)


async def test_parts_are_bounded() -> None:
    """Of ten days too, of which no part holds more than ten thousand points."""
    answers = await ask(TimeRange(NOW_US - 10 * DAY_US, NOW_US), namespaces=("data",))
    assert max(sum(len(one.ts_us) for one in part.series) for part in answers.parts) == 10_000
