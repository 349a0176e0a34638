"""New Relic's NerdGraph, against its double."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

import msgspec
import pytest

from core.domain import telemetry
from core.domain.collection import ProblemKind
from core.domain.source_configs import NewRelicConfig, NrqlQuery
from core.domain.times import DAY_US, HOUR_US, MINUTE_US, SECOND_US, TimeRange
from ports.driven.metric_source import SourceError
from tests.support.receiver import answer
from tests.support.vendors.gathered import Gathered, gather
from tests.support.vendors.newrelic import ACCOUNT_ID, KEY, Events, NewRelicDouble
from tests.support.vendors.opened import World

NOW_US = World().clock.now_us()
HOUR = TimeRange(NOW_US - HOUR_US, NOW_US)
P95 = NrqlQuery(
    metric="checkout.latency_p95",
    select="percentile(duration, 95) FROM Transaction WHERE `app.tier` IN ('web')",
    facet=("app.name", "host"),
)
P95_TITLE = f"{P95.metric}: {P95.select}"
CONTAINERS, RESERVED, REQUESTS, OUTSIDE = (
    "containers of pods",
    "requests and limits of pods",
    "requests to pods",
    "requests to applications outside of Kubernetes",
)
POD = {"cluster": "prod-1", "namespace": "shop", "deployment": "cart", "pod": "cart-7d4f9-x2x7l", "node": "n1"}
POD_LABELS = {
    telemetry.CLUSTER: "prod-1",
    telemetry.NAMESPACE: "shop",
    telemetry.WORKLOAD: "cart",
    telemetry.POD: "cart-7d4f9-x2x7l",
    telemetry.NODE: "n1",
}


def golden_value(expression: str, start_s: int) -> Any:
    """A number that tells the expression, in the form in which New Relic answers it."""
    minute = start_s // 60 % 60
    if expression.startswith("percentile"):
        percentage = expression.split(", ")[1].rstrip(")")
        return {percentage: int(percentage) + minute / 100}
    if "cpuUsedCores" in expression:
        return None if minute == 30 else minute / 10
    return float(len(expression))


def of_pod(namespace: str = "shop", pod: str = POD["pod"]) -> list[Events]:
    """What containers and the APM agent of one pod report."""
    container = {f"{name}Name": value for name, value in POD.items()}
    agent = {f"k8s.{name}": value for name, value in container.items()}
    return [
        Events("K8sContainerSample", {**container, "namespaceName": namespace, "podName": pod}, golden_value),
        Events("Transaction", {**agent, "k8s.namespaceName": namespace, "k8s.podName": pod}, golden_value),
    ]


@pytest.fixture
async def world() -> World:
    """Return a clock and a network."""
    return World()


@pytest.fixture
async def newrelic(world: World) -> AsyncIterator[NewRelicDouble]:
    """Yield New Relic, with one pod and one application on a host."""
    double = NewRelicDouble(world.clock)
    outside = {"appName": "billing", "host": "vm-1", "app.name": "billing", "app.tier": "web"}
    double.events = [*of_pod(), Events("Transaction", outside, golden_value)]
    async with double.serving():
        yield double


async def collected(
    world: World,
    newrelic: NewRelicDouble,
    *queries: NrqlQuery,
    within: TimeRange = HOUR,
    key: str = KEY,
    account_id: int = ACCOUNT_ID,
    bucket: str = "1m",
    narrowed: Mapping[str, Any] | None = None,
) -> Gathered:
    """What these queries give, or the golden signals."""
    config = NewRelicConfig(account_id=account_id, queries=queries, bucket=bucket)
    source = world.newrelic(newrelic.url, config, {"api_key": key}, **(narrowed or {}))
    return await gather(source, within)


class TestGoldenSignals:
    """What is asked for where nothing is configured."""

    async def test_come_by_their_standard_names(self, world: World, newrelic: NewRelicDouble) -> None:
        """With the labels of pods; absent values are left out."""
        found = await collected(world, newrelic)
        assert found.complete == {CONTAINERS, RESERVED, REQUESTS, OUTSIDE}
        standard = {metric.name for metric in telemetry.STANDARD_METRICS}
        of_the_pod = {name for name, labels in found.points if dict(labels) == POD_LABELS}
        assert of_the_pod == standard - {telemetry.IO_READ, telemetry.IO_WRITE}
        cpu = found.of(telemetry.CPU_USAGE)
        assert cpu == {
            ts_us: ts_us // MINUTE_US % 60 / 10
            for ts_us in range(HOUR.start_us, HOUR.end_us, MINUTE_US)
            if ts_us // MINUTE_US % 60 != 30
        }
        p99 = found.of(telemetry.LATENCY_P99, **POD_LABELS)
        assert p99[HOUR.start_us + 7 * MINUTE_US] == pytest.approx(99.07)

    async def test_of_applications_outside_of_kubernetes_have_their_workload(
        self, world: World, newrelic: NewRelicDouble
    ) -> None:
        """And their host; no cluster is made up."""
        found = await collected(world, newrelic)
        outside = {name for name, labels in found.points if dict(labels) == {"workload": "billing", "host": "vm-1"}}
        assert outside == {
            telemetry.THROUGHPUT,
            telemetry.ERROR_RATE,
            telemetry.LATENCY_P50,
            telemetry.LATENCY_P95,
            telemetry.LATENCY_P99,
        }

    async def test_can_be_narrowed(self, world: World, newrelic: NewRelicDouble) -> None:
        """To a cluster and namespaces, whose names may hold quotes."""
        odd = "it's \\ odd"
        newrelic.events += of_pod("other") + of_pod(odd, "odd-1")
        found = await collected(world, newrelic, narrowed={"cluster_id": "prod-1", "namespaces": ("shop", "x'")})
        assert {dict(labels)[telemetry.NAMESPACE] for _, labels in found.points} == {"shop"}
        assert OUTSIDE not in found.titles.values()
        assert all("`" in nrql and "= 'prod-1'" in nrql and r"'x\''" in nrql for nrql in newrelic.asked)


class TestQueries:
    """NRQL of one's own."""

    async def test_facets_are_labels_dots_and_all(self, world: World, newrelic: NewRelicDouble) -> None:
        """And the one value is the metric."""
        found = await collected(world, newrelic, P95)
        assert set(found.points) == {("checkout.latency_p95", frozenset({("app.name", "billing"), ("host", "vm-1")}))}
        assert len(found.of("checkout.latency_p95")) == 60
        assert "FACET `app.name`, `host` LIMIT MAX" in newrelic.asked[0]

    async def test_one_facet_and_none(self, world: World, newrelic: NewRelicDouble) -> None:
        """New Relic answers one facet as a text, not as a list."""
        one = NrqlQuery(metric="one", select="max(x) FROM Transaction", facet=("host",))
        none = NrqlQuery(metric="none", select="max(x) FROM Transaction WHERE host IN ('vm-1')")
        found = await collected(world, newrelic, one, none)
        assert ("one", frozenset({("host", "vm-1")})) in found.points
        assert ("none", frozenset()) in found.points

    async def test_wide_windows_are_cut(self, world: World, newrelic: NewRelicDouble) -> None:
        """TIMESERIES takes 366 buckets; they are whole ones since the epoch."""
        within = TimeRange(NOW_US - DAY_US - 5 * SECOND_US, NOW_US - 20 * SECOND_US)
        found = await collected(world, newrelic, P95, within=within)
        points = found.of("checkout.latency_p95")
        assert list(points) == list(range(NOW_US - DAY_US - MINUTE_US, NOW_US - MINUTE_US, MINUTE_US))
        assert len(newrelic.asked) == 4

    async def test_a_bucket_that_is_not_over_is_left_to_a_later_run(
        self, world: World, newrelic: NewRelicDouble
    ) -> None:
        """Which begins with it: its window reaches back into it."""
        first = TimeRange(NOW_US - 90 * MINUTE_US, NOW_US - 10 * MINUTE_US)
        then = TimeRange(NOW_US - 15 * MINUTE_US, NOW_US)
        begun = await collected(world, newrelic, P95, within=first, bucket="1h")
        assert list(begun.of("checkout.latency_p95")) == [NOW_US - 2 * HOUR_US]
        ended = await collected(world, newrelic, P95, within=then, bucket="1h")
        assert list(ended.of("checkout.latency_p95")) == [NOW_US - HOUR_US]
        within = TimeRange(NOW_US - 15 * MINUTE_US, NOW_US - MINUTE_US)
        later = await collected(world, newrelic, P95, within=within, bucket="1h")
        assert "a later run" in later.problems[P95_TITLE].message

    async def test_what_takes_too_long_is_asked_for_in_halves(self, world: World, newrelic: NewRelicDouble) -> None:
        """With the same points."""
        whole = await collected(world, newrelic, P95)
        newrelic.buckets_possible = 15
        assert (await collected(world, newrelic, P95)).points == whole.points
        newrelic.buckets_possible = 0
        found = await collected(world, newrelic, P95)
        assert "took too long" in found.problems[P95_TITLE].message

    async def test_more_facets_than_new_relic_gives_are_said(self, world: World, newrelic: NewRelicDouble) -> None:
        """Those that come are stored."""
        row = {"beginTimeSeconds": HOUR.start_us // SECOND_US, "max.x": 1.0}
        rows = [{**row, "facet": f"host-{index}"} for index in range(5_000)]
        reply = {"data": {"actor": {"account": {"nrql": {"results": rows}}}}}
        newrelic.script[:] = [answer(200, msgspec.json.encode(reply))]
        query = NrqlQuery(metric="m", select="max(x) FROM Transaction", facet=("host",))
        found = await collected(world, newrelic, query)
        assert len(found.points) == 5_000
        (problem,) = found.problems.values()
        assert problem.kind is ProblemKind.BAD_QUERY
        assert "5000 facets" in problem.message

    @pytest.mark.parametrize(
        "select", ["percentile(duration, 50), percentile(duration, 95) FROM Transaction", "average(host) FROM Twice"]
    )
    async def test_several_values_are_a_problem(self, world: World, newrelic: NewRelicDouble, select: str) -> None:
        """Which of them is meant cannot be known."""
        newrelic.events.append(Events("Twice", {}, lambda *_: {"50": 1.0, "95": 2.0}))
        found = await collected(world, newrelic, NrqlQuery(metric="m", select=select))
        (problem,) = found.problems.values()
        assert problem.kind is ProblemKind.BAD_ANSWER
        assert "a query selects one" in problem.message


class TestProblems:
    """What a person is told."""

    async def test_a_wrong_key(self, world: World, newrelic: NewRelicDouble) -> None:
        """Ends the run, and says what kind of key it must be."""
        with pytest.raises(SourceError, match=r"user key \(NRAK-…\)") as error:
            await collected(world, newrelic, key="NRII-0123456789")
        assert error.value.problem.kind is ProblemKind.CREDENTIALS
        assert "NRII" not in error.value.problem.message

    async def test_a_missing_permission_is_named(self, world: World, newrelic: NewRelicDouble) -> None:
        """With the account."""
        found = await collected(world, newrelic, P95, account_id=99)
        assert found.problems[P95_TITLE].kind is ProblemKind.PERMISSION
        assert "account 99" in found.problems[P95_TITLE].message
        assert "NRQL query data" in found.problems[P95_TITLE].message

    @pytest.mark.parametrize(
        ("error", "kind"),
        [
            ({"extensions": {"errorClass": "INVALID_INPUT"}, "message": "NRQL Syntax Error: …"}, ProblemKind.BAD_QUERY),
            ({"message": "External Service 'NRDB' execution resulted in 400 - cause: …"}, ProblemKind.BAD_QUERY),
            ({"extensions": None, "message": "Something went wrong"}, ProblemKind.UNREACHABLE),
            ({"extensions": {"errorClass": "SERVER_ERROR"}, "message": "oops"}, ProblemKind.UNREACHABLE),
            ({"extensions": {"errorClass": "TOO_MANY_REQUESTS"}, "message": "slow"}, ProblemKind.RATE_LIMITED),
            ({"message": "You have exceeded your query rate limit"}, ProblemKind.RATE_LIMITED),
            ({"extensions": {"error_code": "BAD_API_KEY"}, "message": "Bad API Key"}, ProblemKind.CREDENTIALS),
        ],
    )
    async def test_errors_of_status_200(
        self, world: World, newrelic: NewRelicDouble, error: dict[str, Any], kind: ProblemKind
    ) -> None:
        """What may pass is tried again first."""
        newrelic.errors = [error] * 4
        if kind is ProblemKind.CREDENTIALS:
            with pytest.raises(SourceError):
                await collected(world, newrelic, P95)
            return
        found = await collected(world, newrelic, P95)
        assert found.problems[P95_TITLE].kind is kind
        passing = kind in (ProblemKind.UNREACHABLE, ProblemKind.RATE_LIMITED)
        assert len(newrelic.requests) == (4 if passing else 1)

    async def test_one_wrong_query_does_not_stop_the_others(self, world: World, newrelic: NewRelicDouble) -> None:
        """Nor is it complete."""
        wrong = NrqlQuery(metric="wrong", select="count(* FORM Transaction")
        found = await collected(world, newrelic, wrong, P95)
        assert found.complete == {P95_TITLE}
        assert found.problems[f"wrong: {wrong.select}"].kind is ProblemKind.BAD_QUERY

    async def test_no_data_says_why_that_may_be(self, world: World, newrelic: NewRelicDouble) -> None:
        """Attribute, agent, account, region."""
        newrelic.events.clear()
        found = await collected(world, newrelic)
        assert {problem.kind for problem in found.problems.values()} == {ProblemKind.NO_DATA}
        assert found.complete == set(found.titles.values())
        assert "another account or region" in found.problems[CONTAINERS].message

    @pytest.mark.parametrize(
        "reply",
        [
            {"data": None},
            {"data": {"actor": {"account": {"nrql": None}}}},
            {"data": {"actor": {"account": {"nrql": {"results": [7]}}}}},
            {"data": {"actor": {"account": {"nrql": {"results": [{"facet": ["a"], "x": 1}]}}}}},
            {"data": {"actor": {"account": {"nrql": {"results": [{"facet": ["a", 2], "x": 1}]}}}}},
            {"data": {"actor": {"account": {"nrql": {"results": [{"facet": ["a", "b"], "x": 1}]}}}}},
        ],
    )
    async def test_another_shape(self, world: World, newrelic: NewRelicDouble, reply: dict[str, Any]) -> None:
        """Is refused as a whole."""
        newrelic.script[:] = [answer(200, msgspec.json.encode(reply))]
        found = await collected(world, newrelic, P95)
        assert found.problems[P95_TITLE].kind is ProblemKind.BAD_ANSWER
