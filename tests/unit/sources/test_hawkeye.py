"""Hawkeye by the contract of docs/hawkeye.md, against its double."""

import re
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import msgspec
import pytest

from adapters.driven.sources.hawkeye_replies import Clusters, Signals
from core.domain.collection import ProblemKind
from core.domain.source_configs import HawkeyeConfig
from core.domain.telemetry import CPU_USAGE, LATENCY_P95, STANDARD_METRICS
from core.domain.times import DAY_US, HOUR_US, MINUTE_US, SECOND_US, TimeRange
from ports.driven.metric_source import SeenInstance, SourceError
from tests.support.receiver import answer
from tests.support.vendors.gathered import Gathered, gather
from tests.support.vendors.hawkeye import KEY, HawkeyeDouble, Signal
from tests.support.vendors.opened import World

NOW_US = World().clock.now_us()
HOUR = TimeRange(NOW_US - HOUR_US, NOW_US)
DOCUMENT = Path(__file__).parents[3] / "docs" / "hawkeye.md"


def signal(
    name: str = "cpu",
    *,
    unit: str | None = None,
    cluster: str = "prod-1",
    namespace: str = "shop",
    pod: str = "cart-1",
    node: str | None = "n1",
    hours: int = 1,
) -> Signal:
    """One signal of a pod, each minute until now."""
    units = {metric.signal: metric.unit for metric in STANDARD_METRICS}
    values = {ts_s: ts_s % 977 / 100 for ts_s in range(NOW_US // SECOND_US - hours * 3_600, NOW_US // SECOND_US, 60)}
    return Signal(cluster, namespace, pod, name, unit or units[name], dict(values), "cart", node)


@pytest.fixture
async def world() -> World:
    """Return a clock and a network."""
    return World()


@pytest.fixture
async def hawkeye(world: World) -> AsyncIterator[HawkeyeDouble]:
    """Yield Hawkeye, with one pod."""
    double = HawkeyeDouble(world.clock)
    double.signals = [signal("cpu"), signal("latency_p95")]
    async with double.serving():
        yield double


async def collected(
    world: World,
    hawkeye: HawkeyeDouble,
    *,
    within: TimeRange = HOUR,
    key: str = KEY,
    configured: tuple[str | None, Sequence[str]] = (None, ()),
    asked: tuple[str | None, Sequence[str]] = (None, ()),
    calls_per_run_max: int = 1_000,
) -> Gathered:
    """What it has of the clusters and namespaces that are configured and asked for."""
    config = HawkeyeConfig(base_url=hawkeye.url, cluster_id=configured[0], namespaces=tuple(configured[1]))
    opened = world.opened(
        config, {"api_key": key}, cluster_id=asked[0], namespaces=asked[1], calls_per_run_max=calls_per_run_max
    )
    async with opened as source:
        return await gather(source, within)


class TestSignals:
    """What is stored."""

    async def test_come_by_their_standard_names(self, world: World, hawkeye: HawkeyeDouble) -> None:
        """With the labels of pods; the node is an instance; null is no value."""
        last_s = NOW_US // SECOND_US - 60
        hawkeye.signals[0].values[last_s] = None
        found = await collected(world, hawkeye)
        labels = {
            "cluster_id": "prod-1", "namespace": "shop", "workload": "cart", "pod": "cart-1", "node": "n1",
        }  # fmt: skip
        assert set(found.points) == {(name, frozenset(labels.items())) for name in (CPU_USAGE, LATENCY_P95)}
        values = {ts_s * SECOND_US: value for ts_s, value in hawkeye.signals[0].values.items() if value is not None}
        assert found.of(CPU_USAGE) == values
        assert len(found.of(LATENCY_P95)) == 60
        assert found.parts[0].series[0].instance == SeenInstance(
            external_id="prod-1/n1", kind="node", name="n1", tags={"cluster_id": "prod-1"}
        )
        assert found.complete == {"prod-1"}

    async def test_of_all_standard_metrics_can_come(self, world: World, hawkeye: HawkeyeDouble) -> None:
        """And signals that are not known yet are left out; so are a workload and a node that are not known."""
        hawkeye.signals = [signal(metric.signal, node=None) for metric in STANDARD_METRICS]
        hawkeye.signals.append(signal("saturation", unit="ratio"))
        found = await collected(world, hawkeye)
        assert {name for name, _ in found.points} == {metric.name for metric in STANDARD_METRICS}
        assert all("node" not in dict(labels) for _, labels in found.points)

    async def test_all_pages_are_read(self, world: World, hawkeye: HawkeyeDouble) -> None:
        """Of clusters and of signals."""
        hawkeye.page_max = 7
        hawkeye.signals = [signal(pod=f"p{index}", cluster=f"c{index % 10:02d}") for index in range(100)]
        found = await collected(world, hawkeye)
        assert len(found.points) == 100
        assert found.complete == {f"c{index:02d}" for index in range(10)}
        assert len(hawkeye.requests) == 2 + 10 * 2

    async def test_wide_windows_are_cut(self, world: World, hawkeye: HawkeyeDouble) -> None:
        """At a day; they reach back to the minute that holds their start."""
        hawkeye.signals = [signal(hours=60)]
        within = TimeRange(NOW_US - 2 * DAY_US - 7, NOW_US)
        found = await collected(world, hawkeye, within=within)
        assert list(found.of(CPU_USAGE)) == list(range(NOW_US - 2 * DAY_US - MINUTE_US, NOW_US, MINUTE_US))
        assert len(hawkeye.requests) == 1 + 3

    async def test_too_large_a_window_is_halved(self, world: World, hawkeye: HawkeyeDouble) -> None:
        """Where the service says so."""
        error = '{"error": {"code": "window_too_large", "message": "too much"}}'
        hawkeye.script[:] = [answer(400, error), answer(400, error)]
        found = await collected(world, hawkeye, configured=("prod-1", ()))
        assert len(found.of(CPU_USAGE)) == 60
        assert len(hawkeye.requests) == 2 + 4


class TestScope:
    """Which clusters and namespaces."""

    @pytest.mark.parametrize(
        ("configured", "asked", "items"),
        [
            ((None, ()), (None, ()), {"prod-1", "prod-2"}),
            (("prod-1", ()), (None, ()), {"prod-1"}),
            ((None, ()), ("prod-2", ()), {"prod-2"}),
            (("prod-1", ()), ("prod-1", ("shop",)), {"prod-1/shop"}),
            (("prod-1", ("shop", "pay")), (None, ()), {"prod-1/shop", "prod-1/pay"}),
            (("prod-1", ("shop", "pay")), (None, ("pay", "x")), {"prod-1/pay"}),
            (("prod-1", ("shop",)), (None, ("pay",)), set()),
            (("prod-1", ()), ("prod-2", ()), set()),
        ],
    )
    async def test_a_request_narrows_what_is_configured(
        self,
        world: World,
        hawkeye: HawkeyeDouble,
        configured: tuple[str | None, Sequence[str]],
        asked: tuple[str | None, Sequence[str]],
        items: set[str],
    ) -> None:
        """And never widens it."""
        hawkeye.signals = [
            signal(cluster=cluster, namespace=namespace)
            for cluster in ("prod-1", "prod-2")
            for namespace in ("shop", "pay")
        ]
        found = await collected(world, hawkeye, configured=configured, asked=asked)
        assert found.complete == items
        assert bool(found.discovery.problems) == (not items)

    async def test_without_clusters_the_key_may_see_none(self, world: World, hawkeye: HawkeyeDouble) -> None:
        """Which is said."""
        hawkeye.signals.clear()
        found = await collected(world, hawkeye)
        ((_, problem),) = found.discovery.problems
        assert problem.kind is ProblemKind.NO_DATA


class TestProblems:
    """What a person is told."""

    async def test_a_wrong_key(self, world: World, hawkeye: HawkeyeDouble) -> None:
        """Ends the run."""
        with pytest.raises(SourceError, match="does not know the key") as error:
            await collected(world, hawkeye, key="hawk-wrong-wrong")
        assert error.value.problem.kind is ProblemKind.CREDENTIALS
        assert "hawk-wrong" not in error.value.problem.message

    async def test_a_missing_permission_is_named(self, world: World, hawkeye: HawkeyeDouble) -> None:
        """By the contract the service says which."""
        hawkeye.permitted = False
        found = await collected(world, hawkeye)
        assert found.problems["prod-1"].kind is ProblemKind.PERMISSION
        assert "signals:read" in found.problems["prod-1"].message

    async def test_an_unknown_cluster(self, world: World, hawkeye: HawkeyeDouble) -> None:
        """Is the configuration's."""
        found = await collected(world, hawkeye, configured=("prod-9", ()))
        assert found.problems["prod-9"].kind is ProblemKind.BAD_QUERY
        assert "no cluster prod-9" in found.problems["prod-9"].message

    async def test_no_data_says_why_that_may_be(self, world: World, hawkeye: HawkeyeDouble) -> None:
        """Cluster, namespace, agent, clock."""
        hawkeye.skew_s = -3_600
        found = await collected(world, hawkeye, configured=("prod-1", ("shopp",)))
        assert "misspelt" in found.problems["prod-1/shopp"].message
        assert "3600 s behind" in found.problems["prod-1/shopp"].message
        assert found.complete == {"prod-1/shopp"}

    async def test_the_rate_limit_is_waited_for(self, world: World, hawkeye: HawkeyeDouble) -> None:
        """As long as Retry-After says."""
        hawkeye.limit = 1
        assert (await collected(world, hawkeye)).complete == {"prod-1"}
        assert world.pause.waits_s == [9]

    async def test_cursors_that_lead_nowhere_end(self, world: World, hawkeye: HawkeyeDouble) -> None:
        """The same one twice would go on for ever."""
        hawkeye.stuck = True
        found = await collected(world, hawkeye, configured=("prod-1", ()))
        assert "leads nowhere" in found.problems["prod-1"].message
        assert found.complete == set()

    async def test_cursors_that_ran_out(self, world: World, hawkeye: HawkeyeDouble) -> None:
        """Are the next run's."""
        hawkeye.page_max, hawkeye.expired = 1, True
        found = await collected(world, hawkeye)
        assert found.problems["prod-1"].kind is ProblemKind.UNREACHABLE
        assert "begins the window again" in found.problems["prod-1"].message

    async def test_the_budget_may_end_while_looking_for_clusters(self, world: World, hawkeye: HawkeyeDouble) -> None:
        """Then nothing can be collected."""
        hawkeye.page_max = 1
        hawkeye.signals = [signal(cluster="a"), signal(cluster="b")]
        with pytest.raises(SourceError) as error:
            await collected(world, hawkeye, calls_per_run_max=1)
        assert error.value.problem.kind is ProblemKind.BUDGET

    @pytest.mark.parametrize(
        ("wrong", "said"),
        [
            (signal("latency_p95", unit="milliseconds"), "in 'milliseconds', not in seconds"),
            (signal(pod=""), "without cluster_id, namespace or pod"),
            (signal(namespace=""), "without cluster_id, namespace or pod"),
        ],
    )
    async def test_what_breaks_the_contract(
        self, world: World, hawkeye: HawkeyeDouble, wrong: Signal, said: str
    ) -> None:
        """Is refused, not guessed at."""
        hawkeye.signals = [wrong]
        found = await collected(world, hawkeye)
        assert found.problems["prod-1"].kind is ProblemKind.BAD_ANSWER
        assert said in found.problems["prod-1"].message


class TestDocument:
    """docs/hawkeye.md says what the code does."""

    def test_its_table_of_signals_is_the_codes(self) -> None:
        """Names, units, and what they are stored as."""
        rows = re.findall(r"^\| `(\w+)` \| `([\w/]+)`[^|]*\| `(\w+)` \|$", DOCUMENT.read_text(), re.MULTILINE)
        assert rows == [(metric.signal, metric.unit, metric.name) for metric in STANDARD_METRICS]

    def test_its_examples_are_answers(self) -> None:
        """Both decode."""
        clusters, signals, _ = re.findall(r"```json\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
        assert msgspec.json.decode(clusters, type=Clusters).clusters[0].cluster_id == "prod-1"
        assert msgspec.json.decode(signals, type=Signals).series[0].signal == "latency_p95"
