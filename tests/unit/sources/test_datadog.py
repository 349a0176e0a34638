"""Datadog's time series, against its double."""

from collections.abc import AsyncIterator, Mapping

import msgspec
import numpy as np
import pytest

from core.domain.collection import ProblemKind
from core.domain.source_configs import DatadogConfig
from core.domain.times import DAY_US, HOUR_US, MINUTE_US, TimeRange
from ports.driven.metric_source import SeenInstance, SourceError
from tests.support.receiver import answer
from tests.support.vendors.datadog import API_KEY, APP_KEY, DatadogDouble, Sent
from tests.support.vendors.gathered import Gathered, gather
from tests.support.vendors.opened import World

KEYS = {"api_key": API_KEY, "app_key": APP_KEY}
IDLE, LOAD = DatadogConfig().queries
NOW_US = World().clock.now_us()
HOUR = TimeRange(NOW_US - HOUR_US, NOW_US)


def sent(metric: str, tags: Mapping[str, str], *, days: float = 0.25, step_s: int = 15, seed: int = 1) -> Sent:
    """Noise that an agent sent until now."""
    ts_s = np.arange(NOW_US // 1_000_000 - int(days * 86_400), NOW_US // 1_000_000, step_s, dtype=np.int64)
    return Sent(metric, tags, ts_s, np.random.default_rng(seed).normal(50, 5, len(ts_s)))


@pytest.fixture
async def world() -> World:
    """Return a clock and a network."""
    return World()


@pytest.fixture
async def datadog(world: World) -> AsyncIterator[DatadogDouble]:
    """Yield Datadog, with two hosts."""
    double = DatadogDouble(world.clock)
    double.sent = [
        sent("system.cpu.idle", {"host": "web-1"}, seed=1),
        sent("system.cpu.idle", {"host": "web-2"}, seed=2),
    ]
    async with double.serving():
        yield double


async def collected(
    world: World,
    datadog: DatadogDouble,
    *queries: str,
    within: TimeRange = HOUR,
    api_key: str = API_KEY,
    app_key: str = APP_KEY,
) -> Gathered:
    """What these queries give, by default system.cpu.idle by host."""
    config = DatadogConfig(queries=queries or (IDLE,))
    return await gather(world.datadog(datadog.url, config, {"api_key": api_key, "app_key": app_key}), within)


class TestPoints:
    """What is stored."""

    async def test_the_default_queries_give_each_hosts_minutes(self, world: World, datadog: DatadogDouble) -> None:
        """Equal to numpy's means over what agents sent; a host is an instance; nothing is invented for the other."""
        found = await collected(world, datadog, IDLE, LOAD)
        assert len(found.points) == 2
        for agent in datadog.sent:
            points = found.of("system.cpu.idle", **agent.tags)
            assert list(points) == list(range(HOUR.start_us, HOUR.end_us, MINUTE_US))
            means = agent.values[-240:].reshape(60, 4).mean(axis=1)
            np.testing.assert_allclose(list(points.values()), means, rtol=1e-12)
        assert [each.instance for part in found.parts for each in part.series] == [
            SeenInstance(external_id=host, kind="host", name=host) for host in ("web-1", "web-2")
        ]
        assert found.problems[LOAD].kind is ProblemKind.NO_DATA
        assert found.complete == {IDLE, LOAD}

    async def test_minutes_do_not_depend_on_the_window(self, world: World, datadog: DatadogDouble) -> None:
        """Datadog would roll a narrow range up to 20 s and a wide one to 5 minutes or more."""
        datadog.sent = [sent("system.cpu.idle", {"host": "web-1"}, days=2)]
        day = await collected(world, datadog, within=TimeRange(NOW_US - DAY_US, NOW_US))
        some = TimeRange(NOW_US - 5 * HOUR_US + 17_000_000, NOW_US - 4 * HOUR_US - 3_000_000)
        part = (await collected(world, datadog, within=some)).of("system.cpu.idle", host="web-1")
        whole = day.of("system.cpu.idle", host="web-1")
        assert len(whole) == 1_440
        assert part.items() <= whole.items()
        assert min(part) <= some.start_us < min(part) + MINUTE_US
        assert max(part) < some.end_us
        assert len(datadog.requests) == 8 + 1

    async def test_the_minute_under_way_is_left_to_the_next_run(self, world: World, datadog: DatadogDouble) -> None:
        """Its sum would be half of what it is; the next window begins in it, and has all of it."""
        query = "sum:system.cpu.idle{*} by {host}"
        datadog.sent = [sent("system.cpu.idle", {"host": "web-1"})]
        half_past_us = NOW_US - MINUTE_US // 2
        found = await collected(world, datadog, query, within=TimeRange(NOW_US - HOUR_US, half_past_us))
        assert max(found.of("system.cpu.idle")) == NOW_US - 2 * MINUTE_US
        later = (await collected(world, datadog, query, within=TimeRange(half_past_us, NOW_US))).of("system.cpu.idle")
        assert later == {NOW_US - MINUTE_US: pytest.approx(datadog.sent[0].values[-4:].sum())}
        datadog.requests.clear()
        nothing = await collected(world, datadog, query, within=TimeRange(NOW_US, NOW_US + 30_000_000))
        assert "a later run" in nothing.problems[query].message
        assert nothing.complete == {query}
        assert datadog.requests == []

    async def test_rollups_of_a_querys_own_come_whole(self, world: World, datadog: DatadogDouble) -> None:
        """An hour's sum is that of the whole hour, whatever windows it was asked for in; it comes when it is over."""
        query = "sum:system.cpu.idle{*} by {host}.rollup(sum, 3600)"
        datadog.sent = [sent("system.cpu.idle", {"host": "web-1"}, days=1)]
        sums = datadog.sent[0].values.reshape(24, 240).sum(axis=1)
        hours = {NOW_US - DAY_US + hour * HOUR_US: pytest.approx(total) for hour, total in enumerate(sums)}
        within = TimeRange(NOW_US - 20 * HOUR_US - 25 * MINUTE_US, NOW_US - 25 * MINUTE_US)
        found = (await collected(world, datadog, query, within=within)).of("system.cpu.idle")
        assert found == {ts_us: total for ts_us, total in hours.items() if -21 <= (ts_us - NOW_US) // HOUR_US < -1}
        later = TimeRange(NOW_US - 35 * MINUTE_US, NOW_US)
        found = (await collected(world, datadog, query, within=later)).of("system.cpu.idle")
        assert found == {NOW_US - HOUR_US: hours[NOW_US - HOUR_US]}

    async def test_longer_rollups_are_refused(self, world: World, datadog: DatadogDouble) -> None:
        """They would be parts of days."""
        found = await collected(world, datadog, "avg:system.cpu.idle{*}.rollup(avg, 86400)")
        (problem,) = found.problems.values()
        assert problem.kind is ProblemKind.BAD_QUERY
        assert "at most 3600" in problem.message

    async def test_absent_values_are_left_out(self, world: World, datadog: DatadogDouble) -> None:
        """Datadog says null."""
        datadog.sent[0].values[-240:-120] = np.nan
        found = (await collected(world, datadog)).of("system.cpu.idle", host="web-1")
        assert min(found) == HOUR.end_us - 30 * MINUTE_US
        assert len(found) == 30

    async def test_large_answers_come_in_parts(self, world: World, datadog: DatadogDouble) -> None:
        """Of at most ten thousand points, as the port has it."""
        datadog.sent = [sent("system.cpu.idle", {"host": f"h{index}"}, step_s=60) for index in range(60)]
        found = await collected(world, datadog, within=TimeRange(NOW_US - 4 * HOUR_US, NOW_US))
        assert [sum(len(each.ts_us) for each in part.series) for part in found.parts] == [10_000, 800, 3_600, 0]
        assert all(len(points) == 240 for points in found.points.values())


class TestLabels:
    """What identifies a series."""

    async def test_tags_are_labels(self, world: World, datadog: DatadogDouble) -> None:
        """Those that the query groups by, and those that it fixes."""
        datadog.sent = [sent("system.cpu.idle", {"host": "web-1", "env": "prod", "kube/app": "cart"})]
        found = await collected(world, datadog, "avg:system.cpu.idle{env:prod} by {host,kube/app}")
        (series,) = found.points
        assert series[1] == {("host", "web-1"), ("env", "prod"), ("kube/app", "cart")}

    async def test_other_aggregations_are_other_series(self, world: World, datadog: DatadogDouble) -> None:
        """The average and the maximum of a metric would else overwrite each other."""
        found = await collected(world, datadog, IDLE, "max:system.cpu.idle{*} by {host}")
        average = found.of("system.cpu.idle", host="web-1", aggregator="max")
        assert len(found.points) == 4
        assert len(average) == 60

    async def test_two_queries_of_one_series_are_a_problem(self, world: World, datadog: DatadogDouble) -> None:
        """Of the second one; the first one's points stay."""
        again = "avg:system.cpu.idle{*}  by {host}".replace("  ", " ")
        other = "avg:system.cpu.idle{host:web-1}"
        found = await collected(world, datadog, again, other)
        assert found.problems[other].kind is ProblemKind.BAD_QUERY
        assert "change one of the two" in found.problems[other].message
        assert found.complete == {again}

    @pytest.mark.parametrize(
        ("tag", "label"),
        [
            ("kube namespace", "kube_namespace"),
            ("1st", "_1st"),
            ("größe", "gr_e"),
            ("9 /x*(y)", "_9_/x_y_"),
            ("x" * 300, None),
        ],
    )
    async def test_hostile_tag_names_become_labels(
        self, world: World, datadog: DatadogDouble, tag: str, label: str | None
    ) -> None:
        """The same each time."""
        series = {"metric": "m", "pointlist": [[(NOW_US - HOUR_US) / 1e3, 1]], "tag_set": [f"{tag}:v"], "scope": "*"}
        names = []
        for _ in range(2):
            datadog.script[:] = [answer(200, msgspec.json.encode({"status": "ok", "series": [series]}))]
            (found,) = (await collected(world, datadog)).points
            ((name, value),) = found[1]
            assert value == "v"
            names.append(name)
        assert names[0] == names[1]
        assert label is None or names[0] == label
        assert len(names[0]) <= 128

    async def test_hostile_values_can_be_stored(self, world: World, datadog: DatadogDouble) -> None:
        """NUL, halves of surrogate pairs, and kilobytes of text."""
        body = (
            b'{"status": "ok", "series": [{"metric": "a/b \\u0000", "scope": "*", "tag_set": ["host:\\u0000\\ud800x",'
            b'"big:' + b"y" * 9_000 + b'"], "pointlist": [[%d, 1]]}]}' % ((NOW_US - HOUR_US) // 1_000)
        )
        datadog.script[:] = [answer(200, body)]
        ((name, labels),) = (await collected(world, datadog)).points
        assert name.startswith("a_b_")
        for value in dict(labels).values():
            assert len(value.encode()) <= 2_048
            assert "\x00" not in value


class TestProblems:
    """What a person is told."""

    async def test_a_wrong_api_key(self, world: World, datadog: DatadogDouble) -> None:
        """It ends the run, and says that another site has other keys."""
        with pytest.raises(SourceError, match=r"does not know the API key at the site datadoghq\.com") as error:
            await collected(world, datadog, api_key="wrong-key-wrong-key", app_key=APP_KEY)
        assert error.value.problem.kind is ProblemKind.CREDENTIALS
        assert "wrong-key" not in error.value.problem.message

    async def test_a_wrong_application_key(self, world: World, datadog: DatadogDouble) -> None:
        """Datadog answers both with the same word."""
        with pytest.raises(SourceError, match="does not know the application key") as error:
            await collected(world, datadog, api_key=API_KEY, app_key="wrong-key-wrong-key")
        assert error.value.problem.kind is ProblemKind.CREDENTIALS

    async def test_a_missing_permission_is_named(self, world: World, datadog: DatadogDouble) -> None:
        """Both keys are good."""
        datadog.permitted = False
        found = await collected(world, datadog)
        assert found.problems[IDLE].kind is ProblemKind.PERMISSION
        assert "timeseries_query" in found.problems[IDLE].message

    async def test_an_error_of_status_200_is_the_querys(self, world: World, datadog: DatadogDouble) -> None:
        """The other query goes on."""
        datadog.failing = {"system.load.1": "Query too complex"}
        found = await collected(world, datadog, LOAD, IDLE)
        assert found.problems[LOAD].kind is ProblemKind.BAD_QUERY
        assert "Query too complex" in found.problems[LOAD].message
        assert found.complete == {IDLE}

    async def test_a_query_that_does_not_parse(self, world: World, datadog: DatadogDouble) -> None:
        """In Datadog's words."""
        found = await collected(world, datadog, "avg:system.cpu.idle{", IDLE)
        assert "unable to parse" in found.problems["avg:system.cpu.idle{"].message
        assert found.complete == {IDLE}

    async def test_no_data_says_why_that_may_be(self, world: World, datadog: DatadogDouble) -> None:
        """Metric, tag, agent, site, and the clock where it is off."""
        datadog.skew_s = 900
        found = await collected(world, datadog, "avg:system.cpu.idel{*} by {host}")
        (problem,) = found.problems.values()
        assert problem.kind is ProblemKind.NO_DATA
        for word in ("misspelt", "agent", "site", "900 s ahead"):
            assert word in problem.message

    async def test_the_rate_limit_is_waited_for(self, world: World, datadog: DatadogDouble) -> None:
        """As long as X-RateLimit-Reset says."""
        datadog.limit = 0
        found = await collected(world, datadog)
        assert found.complete == {IDLE}
        assert world.pause.waits_s == [17]

    @pytest.mark.parametrize(
        "points",
        [
            "[[1]]",
            "[[1, 2, 3]]",
            '[[1, "x"]]',
            "[[1, [2]]]",
            "[[1e300, 2]]",
            "[[-5, 2]]",
            "[7]",
            '[{"t": 1}]',
            "[[null, 1]]",
        ],
    )
    async def test_points_that_are_none(self, world: World, datadog: DatadogDouble, points: str) -> None:
        """Are the item's problem."""
        datadog.script[:] = [answer(200, f'{{"status": "ok", "series": [{{"metric": "m", "pointlist": {points}}}]}}')]
        found = await collected(world, datadog)
        assert found.problems[IDLE].kind is ProblemKind.BAD_ANSWER

    async def test_the_budget_leaves_the_rest(self, world: World, datadog: DatadogDouble) -> None:
        """Each remaining item is told."""
        config = DatadogConfig(queries=(IDLE, LOAD))
        found = await gather(world.datadog(datadog.url, config, KEYS, calls_per_run_max=1), HOUR)
        assert found.complete == {IDLE}
        assert found.problems[LOAD].kind is ProblemKind.BUDGET


async def test_keys_of_items_stay(world: World) -> None:
    """Checkpoints belong to them; the site is part of the source."""
    source = world.datadog("http://unused", DatadogConfig(), KEYS)
    items = (await source.discover(HOUR)).items
    assert [item.title for item in items] == list(DatadogConfig().queries)
    assert len({item.key for item in items}) == 2
    assert items == (await world.datadog("http://unused", DatadogConfig(), KEYS).discover(HOUR)).items
