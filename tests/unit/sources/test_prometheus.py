"""Prometheus' range queries, against their double."""

from collections.abc import AsyncIterator, Mapping

import numpy as np
import pytest

from core.domain.collection import ProblemKind
from core.domain.source_configs import PrometheusConfig, PromQuery
from core.domain.times import DAY_US, HOUR_US, MINUTE_US, SECOND_US, TimeRange
from ports.driven.metric_source import SeenInstance, SourceError
from tests.support.receiver import answer
from tests.support.vendors.gathered import Gathered, gather
from tests.support.vendors.opened import World
from tests.support.vendors.prometheus import PrometheusDouble, Scraped

NOW_US = World().clock.now_us()
HOUR = TimeRange(NOW_US - HOUR_US, NOW_US)
UP = PromQuery(metric="service_up", promql="up")


def scraped(days: float = 0.25, **labels: str) -> Scraped:
    """A counter, scraped every 15 s."""
    ts_s = np.arange(NOW_US // SECOND_US - int(days * 86_400), NOW_US // SECOND_US, 15, dtype=np.int64)
    return Scraped({"__name__": "up", **labels}, ts_s, np.arange(len(ts_s), dtype=np.float64) / 4)


@pytest.fixture
async def world() -> World:
    """Return a clock and a network."""
    return World()


@pytest.fixture
async def prometheus(world: World) -> AsyncIterator[PrometheusDouble]:
    """Yield a server that scrapes two targets."""
    double = PrometheusDouble(world.clock)
    double.scraped = [scraped(job="api", instance=f"10.0.0.{each}:9100") for each in (1, 2)]
    async with double.serving():
        yield double


async def collected(
    world: World,
    prometheus: PrometheusDouble,
    *queries: PromQuery,
    within: TimeRange = HOUR,
    step: str = "1m",
    credentials: Mapping[str, str] | None = None,
) -> Gathered:
    """What these queries give, by default `up`."""
    config = PrometheusConfig(url=prometheus.url + "/", queries=queries or (UP,), step=step)
    async with world.opened(config, credentials or {}) as source:
        return await gather(source, within)


class TestPoints:
    """What is stored."""

    async def test_labels_pass_through(self, world: World, prometheus: PrometheusDouble) -> None:
        """Without the metric's own name, and with nothing else; `instance` is a target."""
        found = await collected(world, prometheus)
        assert set(found.points) == {
            ("service_up", frozenset({("job", "api"), ("instance", f"10.0.0.{each}:9100")})) for each in (1, 2)
        }
        instance = found.parts[0].series[0].instance
        assert instance == SeenInstance(
            external_id="10.0.0.1:9100", kind="target", name="10.0.0.1:9100", tags={"job": "api"}
        )
        points = found.of("service_up", instance="10.0.0.1:9100")
        assert list(points) == list(range(HOUR.start_us, HOUR.end_us, MINUTE_US))
        np.testing.assert_array_equal(list(points.values()), prometheus.scraped[0].values[-240::4])

    async def test_servers_that_scrape_the_same_names_are_told_apart(
        self, world: World, prometheus: PrometheusDouble
    ) -> None:
        """By labels of the source's own, which stand over those that were scraped, and are part of the instance."""
        prometheus.scraped = [scraped(job="prometheus", instance="localhost:9090", region="?")]
        config = PrometheusConfig(url=prometheus.url, queries=(UP,), labels={"region": "eu", "cluster": "a"})
        async with world.opened(config, {}) as source:
            found = await gather(source, HOUR)
        labels = {"job": "prometheus", "instance": "localhost:9090", "region": "eu", "cluster": "a"}
        assert set(found.points) == {("service_up", frozenset(labels.items()))}
        instance = found.parts[0].series[0].instance
        assert instance == SeenInstance(
            external_id="localhost:9090{cluster=a,region=eu}",
            kind="target",
            name="localhost:9090",
            tags={"job": "prometheus", "region": "eu", "cluster": "a"},
        )

    async def test_wide_windows_are_cut(self, world: World, prometheus: PrometheusDouble) -> None:
        """Prometheus refuses more than 11,000 points a series; the points are those of one query."""
        prometheus.scraped = [scraped(days=2, instance="a")]
        within = TimeRange(NOW_US - DAY_US + 7, NOW_US)
        found = await collected(world, prometheus, within=within, step="5s")
        (points,) = found.points.values()
        assert list(points) == list(range(NOW_US - DAY_US + 5 * SECOND_US, NOW_US, 5 * SECOND_US))
        assert len(prometheus.requests) == 18
        assert found.complete == {"service_up: up"}

    async def test_points_do_not_depend_on_the_window(self, world: World, prometheus: PrometheusDouble) -> None:
        """They stand at multiples of the step; both ends are half-open."""
        whole = (await collected(world, prometheus)).of("service_up", instance="10.0.0.1:9100")
        for shift_us in (0, 1, 30 * SECOND_US, 59_999_999):
            some = TimeRange(HOUR.start_us + shift_us, HOUR.end_us - 10 * MINUTE_US - shift_us)
            part = (await collected(world, prometheus, within=some)).of("service_up", instance="10.0.0.1:9100")
            assert part == {ts: value for ts, value in whole.items() if some.start_us <= ts < some.end_us}

    async def test_odd_steps_are_exact(self, world: World, prometheus: PrometheusDouble) -> None:
        """To the millisecond."""
        found = await collected(world, prometheus, step="1500ms", within=TimeRange(NOW_US - MINUTE_US, NOW_US))
        points = list(found.of("service_up", instance="10.0.0.1:9100"))
        assert len(points) == 40
        assert set(np.diff(points)) == {1_500_000}

    async def test_numbers_that_are_none_come_as_they_are(self, world: World, prometheus: PrometheusDouble) -> None:
        """What cannot be stored is refused, and counted, by who stores."""
        prometheus.scraped = [scraped(instance="a")]
        prometheus.scraped[0].values[-8:-4] = np.nan
        prometheus.scraped[0].values[-4:] = np.inf
        found = await collected(world, prometheus, within=TimeRange(NOW_US - 2 * MINUTE_US, NOW_US))
        ((first, second),) = [points.values() for points in found.points.values()]
        assert np.isnan(first)
        assert second == np.inf

    async def test_histograms_are_left_out(self, world: World, prometheus: PrometheusDouble) -> None:
        """Native ones have no values."""
        body = (
            '{"status": "success", "data": {"resultType": "matrix", "result": '
            '[{"metric": {"a": "b"}, "histograms": [[1767225540, {"count": "1", "sum": "1", "buckets": []}]]}]}}'
        )
        prometheus.script[:] = [answer(200, body)]
        found = await collected(world, prometheus)
        assert found.problems["service_up: up"].kind is ProblemKind.NO_DATA

    async def test_a_step_that_is_not_over_is_no_loss(self, world: World, prometheus: PrometheusDouble) -> None:
        """The message does not blame the query."""
        within = TimeRange(NOW_US - 40 * MINUTE_US, NOW_US - 10 * MINUTE_US)
        found = await collected(world, prometheus, step="1h", within=within)
        assert "a later run" in found.problems["service_up: up"].message
        assert prometheus.requests == []


class TestCutting:
    """What is too much at once."""

    @pytest.mark.parametrize("first", ["too many values", "too many samples", "too slow"])
    async def test_is_asked_for_in_halves(self, world: World, prometheus: PrometheusDouble, first: str) -> None:
        """And so on, until it is not; nothing is lost or comes twice."""
        whole = await collected(world, prometheus)
        prometheus.requests.clear()
        match first:
            case "too many values":
                prometheus.script[:] = [answer(200, b"[" + b"1," * 2_000_001)]
            case "too many samples":
                prometheus.samples_max = 60
            case _:
                error = '{"status": "error", "errorType": "timeout", "error": "query timed out in expression"}'
                prometheus.script[:] = [answer(503, error)]
        found = await collected(world, prometheus)
        assert found.points == whole.points
        assert found.complete == {"service_up: up"}
        assert len(prometheus.requests) == 3

    async def test_until_one_step_is_left(self, world: World, prometheus: PrometheusDouble) -> None:
        """Then it is the query's problem."""
        prometheus.samples_max = 1
        found = await collected(world, prometheus)
        assert found.problems["service_up: up"].kind is ProblemKind.BAD_QUERY
        assert "too many samples" in found.problems["service_up: up"].message


class TestProblems:
    """What a person is told."""

    async def test_a_query_that_does_not_parse(self, world: World, prometheus: PrometheusDouble) -> None:
        """In Prometheus' words; the others go on."""
        wrong = PromQuery(metric="wrong", promql="rate(up[5m")
        found = await collected(world, prometheus, wrong, UP)
        assert found.problems["wrong: rate(up[5m"].kind is ProblemKind.BAD_QUERY
        assert "bad_data" in found.problems["wrong: rate(up[5m"].message
        assert "parse error" in found.problems["wrong: rate(up[5m"].message
        assert found.complete == {"service_up: up"}

    @pytest.mark.parametrize(
        ("credentials", "good"),
        [
            ({"bearer_token": "t0ken-of-a-tenant"}, True),
            ({"bearer_token": "another-token"}, False),
            ({}, False),
        ],
    )
    async def test_a_token(
        self, world: World, prometheus: PrometheusDouble, credentials: Mapping[str, str], good: bool
    ) -> None:
        """Goes along, and is not repeated where it is wrong."""
        prometheus.token = "t0ken-of-a-tenant"
        if good:
            assert (await collected(world, prometheus, credentials=credentials)).complete
            return
        with pytest.raises(SourceError) as error:
            await collected(world, prometheus, credentials=credentials)
        assert error.value.problem.kind is ProblemKind.CREDENTIALS
        assert "another-token" not in error.value.problem.message

    async def test_a_user_and_a_password(self, world: World, prometheus: PrometheusDouble) -> None:
        """By basic authentication."""
        prometheus.user = ("sextant", "pass:word-of-a-tenant")
        credentials = {"username": "sextant", "password": "pass:word-of-a-tenant"}
        assert (await collected(world, prometheus, credentials=credentials)).complete

    async def test_a_wrong_address(self, world: World, prometheus: PrometheusDouble) -> None:
        """As where a prefix is missing."""
        config = PrometheusConfig(url=prometheus.url + "/prometheus", queries=(UP,))
        async with world.opened(config, {}) as source:
            with pytest.raises(SourceError, match="no such API at this address"):
                await gather(source, HOUR)

    async def test_an_answer_in_part_is_not_complete(self, world: World, prometheus: PrometheusDouble) -> None:
        """What came is stored, and the window is asked for again."""
        prometheus.warnings = ["No StoreAPIs matched for this query"]
        found = await collected(world, prometheus)
        assert len(found.points) == 2
        assert found.complete == set()
        assert "answered in part only: No StoreAPIs" in found.problems["service_up: up"].message

    async def test_remarks_on_the_query_are_no_problem(self, world: World, prometheus: PrometheusDouble) -> None:
        """Prometheus calls them warnings too."""
        prometheus.warnings = ["PromQL warning: bucket label is missing"]
        assert (await collected(world, prometheus)).complete == {"service_up: up"}

    async def test_two_queries_of_one_series_are_a_problem(self, world: World, prometheus: PrometheusDouble) -> None:
        """They would overwrite each other."""
        other = PromQuery(metric="service_up", promql='up{job="api"}')
        found = await collected(world, prometheus, UP, other)
        assert found.complete == {"service_up: up"}
        assert len(found.problems) == 1

    @pytest.mark.parametrize(
        "body",
        [
            '{"status": "success", "data": {"resultType": "vector", "result": []}}',
            '{"status": "success"}',
            '{"status": "success", "data": {"resultType": "matrix", "result": [{"metric": {"a": 1}, "values": []}]}}',
            '{"status": "success", "data": {"resultType": "matrix", "result": [{"metric": {}, "values": [[1]]}]}}',
            '{"status": "success", "data": {"resultType": "matrix", "result": [{"metric": {}, "values": [[1, "x"]]}]}}',
        ],
    )
    async def test_another_shape(self, world: World, prometheus: PrometheusDouble, body: str) -> None:
        """Is refused as a whole."""
        prometheus.script[:] = [answer(200, body)]
        (problem,) = (await collected(world, prometheus)).problems.values()
        assert problem.kind in (ProblemKind.BAD_ANSWER, ProblemKind.BAD_QUERY)


async def test_long_queries_are_posted(world: World, prometheus: PrometheusDouble) -> None:
    """With the same answer."""
    query = PromQuery(metric="service_up", promql='up{job="api"' + " " * 3_900 + "}")
    assert len((await collected(world, prometheus, query)).points) == 2
    assert prometheus.requests[0].method == "POST"
