"""CloudWatch: the shipped client against moto, and against a double with AWS's limits, pages and failures."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path

import numpy as np
import pytest
import trustme
from aiohttp import web

from adapters.driven.memory.clock import FakeClock
from adapters.driven.memory.database import MemoryDatabase
from adapters.driven.memory.storage import memory_storage
from adapters.driven.sources.cloudwatch import open_cloudwatch
from adapters.driven.sources.surroundings import RESPONSE_BYTES_MAX, Surroundings
from adapters.runtime.outbound import OutboundClient, OutboundReply
from adapters.runtime.outbound_address import IPAddress
from core.domain.collection import ProblemKind
from core.domain.source_configs import CloudWatchConfig, CloudWatchMetric
from core.domain.sources import SourceSpec
from core.domain.times import HOUR_US, MINUTE_US, SECOND_US, TimeRange
from ports.driven.metric_source import Collected, ItemWindow, MetricSource, SourceError
from tests.support.collecting import Collecting
from tests.support.storages import new_tenancy
from tests.support.vendors.cloudwatch_wire import KEY, CloudWatchWire, Refusal
from tests.support.vendors.gathered import Gathered, collect_into, gather
from tests.support.vendors.moto_server import AMI, CREDENTIALS, REGION, moto_client, run_moto
from tests.support.vendors.opened import Only
from tests.support.vendors.passing import LOOPBACK, PassingPause, loopback_surroundings

NOW_US = 1_767_225_600_000_000  # 2026-01-01T00:00:00Z
DAY = TimeRange(NOW_US - 24 * HOUR_US, NOW_US)
CPU = "aws_ec2_cpuutilization_average"
ONE = "i-0123456789abcdef0"
CONFIG = CloudWatchConfig(region=REGION, metrics=(CloudWatchMetric(name="CPUUtilization"),))
NAMED = CloudWatchConfig(
    region=REGION, metrics=(CloudWatchMetric(name="CPUUtilization", dimensions={"InstanceId": ONE}),)
)
"""Asks for nothing but points."""


class World:
    """A source's surroundings, and a double to ask."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.clock = FakeClock(NOW_US)
        self.pause = PassingPause(self.clock)
        self.surroundings = loopback_surroundings(self.clock, self.pause, timeout_s=5.0)

    def open(
        self,
        config: CloudWatchConfig = CONFIG,
        credentials: Mapping[str, str] = CREDENTIALS,
        *,
        calls_per_run_max: int = 1_000,
        cost_usd_per_run_max: float | None = None,
    ) -> AbstractAsyncContextManager[MetricSource]:
        """The shipped source, pointed at the double."""
        config = replaced(config, endpoint_url=self.url)
        spec = SourceSpec(
            name="aws",
            config=config,
            calls_per_run_max=calls_per_run_max,
            cost_usd_per_run_max=cost_usd_per_run_max,
        )
        return open_cloudwatch(spec, credentials, self.surroundings, trusted=True, cluster_id=None, namespaces=())

    async def gathered(self, config: CloudWatchConfig = CONFIG, time_range: TimeRange = DAY) -> Gathered:
        """All that the source gives."""
        async with self.open(config) as source:
            return await gather(source, time_range)


def replaced(config: CloudWatchConfig, **changes: object) -> CloudWatchConfig:
    """The configuration with other fields."""
    return CloudWatchConfig(**{name: getattr(config, name) for name in config.__struct_fields__} | changes)


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    with run_moto() as url:
        yield url


@pytest.fixture
async def wire() -> AsyncIterator[CloudWatchWire]:
    async with CloudWatchWire().served() as wire:
        yield wire


@pytest.fixture
def world(wire: CloudWatchWire) -> World:
    return World(wire.url)


def hourly(count: int, first: float = 0.0) -> list[tuple[int, float]]:
    """One sample in each of the last hours, the newest last."""
    return [(NOW_US // SECOND_US - 3600 * (count - n) + 60, first + n) for n in range(count)]


async def test_the_main_path_against_moto(moto: str) -> None:
    """Instances that run and carry the tags appear; three metrics come as moto keeps them; a second time likewise, a
    late revision replaces, and memory, which EC2 does not measure, is absent."""
    async with moto_client(moto, "ec2") as ec2:
        tags = [
            {"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": "web"}, {"Key": "env", "Value": "prod"}]}
        ]
        launched = await ec2.run_instances(ImageId=AMI, MinCount=2, MaxCount=2, TagSpecifications=tags)
        await ec2.run_instances(ImageId=AMI, MinCount=1, MaxCount=1)
        ids = sorted(each["InstanceId"] for each in launched["Instances"])
    rng = np.random.default_rng(1)
    samples = rng.uniform(0, 100, size=(24, 4)).round(3)
    async with moto_client(moto, "cloudwatch") as cloudwatch:
        await put(cloudwatch, "CPUUtilization", ids[0], samples)
        await put(cloudwatch, "NetworkIn", ids[0], samples)
        world = World(moto)
        config = CloudWatchConfig(region=REGION, tags={"env": "prod"})
        first = await world.gathered(config)
        again = await world.gathered(config)
        assert first.points == again.points
        assert [(each.external_id, each.kind, each.region, each.name) for each in first.discovery.instances] == [
            (each, "ec2", REGION, "web") for each in ids
        ]
        assert first.discovery.instances[0].tags == {"Name": "web", "env": "prod"}
        cpu = first.of(CPU, instance_id=ids[0], region=REGION)
        assert list(cpu) == [DAY.start_us + hour * HOUR_US for hour in range(24)]
        np.testing.assert_allclose(list(cpu.values()), samples.mean(axis=1), rtol=1e-12)
        network = first.of("aws_ec2_network_in_sum", instance_id=ids[0])
        np.testing.assert_allclose(list(network.values()), samples.sum(axis=1), rtol=1e-12)
        await put(cloudwatch, "CPUUtilization", ids[0], samples[-1:] + 50)
        revised = (await world.gathered(config)).of(CPU, instance_id=ids[0])
    assert list(revised)[:-1] == list(cpu)[:-1]
    assert revised[DAY.end_us - HOUR_US] == pytest.approx(np.mean([samples[-1], samples[-1] + 50]))
    assert {name for name, _ in first.points} == {CPU, "aws_ec2_network_in_sum"}
    assert first.problems[f"AWS/EC2 NetworkOut Sum of {ids[0]}"].kind is ProblemKind.NO_DATA
    assert first.complete == set(first.titles.values())


async def test_instances_that_end_are_read_until_they_are_gone(moto: str) -> None:
    """Their last period ends after they do; those that are stopped are not asked for."""
    async with moto_client(moto, "ec2") as ec2:
        tags = [{"ResourceType": "instance", "Tags": [{"Key": "env", "Value": "short"}]}]
        launched = await ec2.run_instances(ImageId=AMI, MinCount=3, MaxCount=3, TagSpecifications=tags)
        runs, ends, stops = (each["InstanceId"] for each in launched["Instances"])
        await ec2.terminate_instances(InstanceIds=[ends])
        await ec2.stop_instances(InstanceIds=[stops])
    gathered = await World(moto).gathered(CloudWatchConfig(region=REGION, tags={"env": "short"}))
    assert {each.external_id for each in gathered.discovery.instances} == {runs, ends}


async def put(
    client: object, name: str, instance_id: str, samples: np.ndarray[tuple[int, int], np.dtype[np.float64]]
) -> None:
    """Publishes some samples in each of the last hours."""
    first_s = DAY.end_us // SECOND_US - 3600 * len(samples)
    data = [
        {
            "MetricName": name,
            "Dimensions": [{"Name": "InstanceId", "Value": instance_id}],
            "Timestamp": datetime.fromtimestamp(first_s + hour * 3600 + minute * 600, UTC),
            "Value": float(value),
        }
        for (hour, minute), value in np.ndenumerate(samples)
    ]
    await client.put_metric_data(Namespace="AWS/EC2", MetricData=data)  # type: ignore[attr-defined]  # generated


async def test_500_queries_go_into_one_call(wire: CloudWatchWire, world: World) -> None:
    """1,101 metrics are three calls, which cost 0.01 USD a thousand; each metric keeps its own values."""
    for number in range(1_101):
        wire.instances[f"i-{number:04}"] = {}
        wire.add("AWS/EC2", "CPUUtilization", hourly(2, number), InstanceId=f"i-{number:04}")
    async with world.open() as source:
        gathered = await gather(source, DAY)
        usage = source.usage()
    assert [len(asked["MetricDataQueries"]) for asked in wire.asked("GetMetricData")] == [500, 500, 101]
    assert usage.cost_usd == pytest.approx(1_101 * 0.01 / 1_000)
    assert usage.calls == len(wire.requests) == 3 + 3
    assert len(gathered.complete) == 1_101
    for number in (0, 499, 500, 1_100):
        assert list(gathered.of(CPU, instance_id=f"i-{number:04}").values()) == [number, number + 1]


async def test_windows_are_asked_for_apart(wire: CloudWatchWire, world: World) -> None:
    """Items with checkpoints of their own share a call only with those that stand at the same place; ends are rounded
    to periods that are over."""
    for each in ("i-1", "i-2", "i-3"):
        wire.instances[each] = {}
        wire.add("AWS/EC2", "CPUUtilization", hourly(24), InstanceId=each)
    async with world.open() as source:
        items = (await source.discover(DAY)).items
        behind = TimeRange(NOW_US - 5 * HOUR_US - 7 * MINUTE_US, NOW_US - 3 * HOUR_US + 20 * MINUTE_US)
        short = TimeRange(NOW_US - 20 * MINUTE_US, NOW_US - MINUTE_US)
        wanted = [ItemWindow(items[0], behind), ItemWindow(items[1], DAY), ItemWindow(items[2], short)]
        parts = [part async for part in source.collect(wanted)]
    spans = [(asked["StartTime"], asked["EndTime"]) for asked in wire.asked("GetMetricData")]
    hour_s = 3600
    now_s = NOW_US // SECOND_US
    assert spans == [(now_s - 6 * hour_s, now_s - 3 * hour_s), (now_s - 24 * hour_s, now_s)]
    (nothing,) = [part for part in parts if part.key == items[2].key]
    assert nothing.complete
    assert nothing.problem is not None
    assert nothing.problem.kind is ProblemKind.NO_DATA
    assert "period" in nothing.problem.message


async def test_pages_are_put_together(wire: CloudWatchWire, world: World) -> None:
    """Wherever AWS cuts, also inside a metric, every point comes once."""
    for number in range(3):
        wire.instances[f"i-{number}"] = {}
        wire.add("AWS/EC2", "CPUUtilization", hourly(24, 100 * number), InstanceId=f"i-{number}")
    async with world.open() as source:
        for points_per_page in (1, 7, 24, 25):
            wire.points_per_page = points_per_page
            gathered = await gather(source, DAY)
            assert len(gathered.complete) == 3
            assert gathered.problems == {}
            for number in range(3):
                values = list(gathered.of(CPU, instance_id=f"i-{number}").values())
                assert values == [100 * number + n for n in range(24)]


async def test_listings_come_in_pages(wire: CloudWatchWire, world: World) -> None:
    """Instances and combinations of dimensions beyond the first page are found; ids that are gone are no obstacle."""
    wire.listed_per_page = 3
    for number in range(8):
        wire.instances[f"i-{number}"] = {"Name": f"web {number}"}
        wire.add("AWS/ELB", "Latency", hourly(1, number), LoadBalancerName=f"lb-{number}", AvailabilityZone="a")
    metrics = (
        CloudWatchMetric(name="CPUUtilization"),
        CloudWatchMetric(namespace="AWS/ELB", name="Latency", dimensions={}),
    )
    gathered = await world.gathered(replaced(CONFIG, metrics=metrics, instance_ids=("i-1", "i-7", "i-gone")))
    assert {each.external_id: each.name for each in gathered.discovery.instances} == {
        "i-1": "web 1",
        "i-7": "web 7",
        "i-gone": None,
    }
    for number in range(8):
        points = gathered.of("aws_elb_latency_average", load_balancer_name=f"lb-{number}", availability_zone="a")
        assert list(points.values()) == [number]


async def test_one_metric_that_is_refused_stops_no_other(wire: CloudWatchWire, world: World) -> None:
    """AWS refuses the whole call for one statistic; the other metrics of it are fetched all the same."""
    for number in range(3):
        wire.instances[f"i-{number}"] = {}
        wire.add("AWS/EC2", "CPUUtilization", hourly(2), InstanceId=f"i-{number}")
    metrics = (CloudWatchMetric(name="CPUUtilization"), CloudWatchMetric(name="CPUUtilization", statistic="Averege"))
    gathered = await world.gathered(replaced(CONFIG, metrics=metrics))
    assert len(gathered.complete) == 3
    assert {problem.kind for problem in gathered.problems.values()} == {ProblemKind.BAD_QUERY}
    assert len(gathered.problems) == 3
    assert "Averege" in next(iter(gathered.problems.values())).message


async def test_a_token_that_is_refused_fails_what_is_left(wire: CloudWatchWire, world: World) -> None:
    """What had ended before stays complete, and is not asked for again; the rest is asked for by metric."""
    wire.points_per_page = 3
    metrics = []
    for name in ("A", "B", "C"):
        metrics.append(CloudWatchMetric(name=name, dimensions={"InstanceId": ONE}))
        wire.add("AWS/EC2", name, hourly(3), InstanceId=ONE)
    wire.faults = [None, Refusal("InvalidNextToken", "The token is expired.")]
    gathered = await world.gathered(replaced(NAMED, metrics=tuple(metrics)))
    assert len(gathered.complete) == 3
    asked = [[query["Id"] for query in each["MetricDataQueries"]] for each in wire.asked("GetMetricData")]
    assert asked == [["q0", "q1", "q2"], ["q0", "q1", "q2"], ["q0"], ["q0"]]


async def test_each_status_of_a_result(wire: CloudWatchWire, world: World) -> None:
    """An error inside CloudWatch is asked again once; forbidden, unknown and unfinished ones are problems of their own
    item, of which nothing is complete."""
    statuses = {
        "i-ok": [],
        "i-hiccup": ["InternalError"],
        "i-broken": ["InternalError"] * 9,
        "i-forbidden": ["Forbidden"],
        "i-partial": ["PartialData"],
        "i-new": ["Resting"],
    }
    for each, ahead in statuses.items():
        wire.instances[each] = {}
        wire.add("AWS/EC2", "CPUUtilization", hourly(2), InstanceId=each).statuses = ahead
    gathered = await world.gathered()
    title = "AWS/EC2 CPUUtilization Average of"
    assert gathered.complete == {f"{title} i-ok", f"{title} i-hiccup"}
    assert {name.removeprefix(f"{title} "): problem.kind for name, problem in gathered.problems.items()} == {
        "i-broken": ProblemKind.BAD_ANSWER,
        "i-forbidden": ProblemKind.PERMISSION,
        "i-partial": ProblemKind.BAD_ANSWER,
        "i-new": ProblemKind.BAD_ANSWER,
    }
    assert "cloudwatch:GetMetricData" in gathered.problems[f"{title} i-forbidden"].message
    assert len(gathered.of(CPU, instance_id="i-partial")) == 2


async def test_what_passes_is_asked_again(wire: CloudWatchWire, world: World) -> None:
    """Three times, after longer and longer waits, each counted; after that it is a problem with a name."""
    wire.add("AWS/EC2", "CPUUtilization", hourly(2), InstanceId=ONE)
    for fault, kind in (
        (Refusal("ThrottlingException", "Rate exceeded"), ProblemKind.RATE_LIMITED),
        (Refusal("Throttling", "Rate exceeded", 429), ProblemKind.RATE_LIMITED),
        (Refusal("InternalServiceFault", "oops", 500), ProblemKind.UNREACHABLE),
        (Refusal("ServiceUnavailable", "later", 503), ProblemKind.UNREACHABLE),
    ):
        async with world.open(NAMED) as source:
            world.pause.waits_s.clear()
            wire.faults = [fault] * 3
            assert (await gather(source, DAY)).complete
            assert source.usage().calls == 4
            assert world.pause.waits_s == [1.0, 2.0, 4.0]
            wire.faults = [fault] * 4
            assert [each.kind for each in (await gather(source, DAY)).problems.values()] == [kind]
    wire.faults = [Refusal("RequestLimitExceeded", "Request limit exceeded.", 503)] * 4
    with pytest.raises(SourceError, match="ec2:DescribeInstances") as failure:
        await world.gathered()
    assert failure.value.problem.kind is ProblemKind.RATE_LIMITED


async def test_an_outage_ends_the_run_soon(wire: CloudWatchWire, world: World) -> None:
    """Two calls in a row without an answer, each asked four times, are enough: the remaining ones are not tried."""
    for number in range(2_000):
        wire.instances[f"i-{number}"] = {}
    async with world.open() as source:
        items = (await source.discover(DAY)).items
        wire.faults = [Refusal("InternalFailure", "down", 500)] * 100
        before = len(wire.requests)
        parts: list[Collected] = []
        with pytest.raises(SourceError) as failure:
            await collect_into(parts, source, [ItemWindow(item, DAY) for item in items])
    assert len(wire.requests) - before == 8
    assert failure.value.problem.kind is ProblemKind.UNREACHABLE
    assert len(parts) == 500


async def test_refusals_say_what_to_do(wire: CloudWatchWire, world: World) -> None:
    """Wrong credentials, a wrong clock and missing rights end the run, in words that name what to set."""
    cases = [
        (Refusal("UnrecognizedClientException", "token invalid", 403), ProblemKind.CREDENTIALS, "AWS_ACCESS_KEY_ID"),
        (Refusal("SignatureDoesNotMatch", "no match", 403), ProblemKind.CREDENTIALS, "AWS_SECRET_ACCESS_KEY"),
        (Refusal("ExpiredToken", "is expired", 403), ProblemKind.CREDENTIALS, "expired"),
        (Refusal("SignatureDoesNotMatch", "Signature expired: 2026", 403), ProblemKind.CONFIGURATION, "clock"),
        (Refusal("RequestExpired", "too old", 400), ProblemKind.CONFIGURATION, "clock"),
        (Refusal("AccessDenied", "not authorized", 403), ProblemKind.PERMISSION, "cloudwatch:GetMetricData"),
    ]
    async with world.open(NAMED) as source:
        for fault, kind, words in cases:
            wire.faults = [fault]
            with pytest.raises(SourceError) as failure:
                await gather(source, DAY)
            problem = failure.value.problem
            assert problem.kind is kind
            assert words in problem.message
            assert not any(secret in problem.message for secret in CREDENTIALS.values())


async def test_rights_are_missed_apart(wire: CloudWatchWire, world: World) -> None:
    """Without ec2:DescribeInstances the configured instances are fetched all the same, and so is what ListMetrics
    finds; without instances to ask for nothing is left."""
    wire.denied = {"DescribeInstances"}
    wire.add("AWS/EC2", "CPUUtilization", hourly(2), InstanceId=ONE)
    gathered = await world.gathered(replaced(CONFIG, instance_ids=(ONE,)))
    ((name, problem),) = gathered.discovery.problems
    assert (name, problem.kind) == ("instances", ProblemKind.PERMISSION)
    assert "ec2:DescribeInstances" in problem.message
    assert len(gathered.of(CPU, instance_id=ONE)) == 2
    listed = (CloudWatchMetric(name="CPUUtilization", dimensions={}), CloudWatchMetric(name="NetworkIn"))
    assert len((await world.gathered(replaced(CONFIG, metrics=listed))).of(CPU, instance_id=ONE)) == 2
    with pytest.raises(SourceError, match="ec2:DescribeInstances"):
        await world.gathered()
    wire.denied = {"ListMetrics"}
    problems = dict((await world.gathered(replaced(CONFIG, metrics=listed))).discovery.problems)
    assert "cloudwatch:ListMetrics" in problems["dimensions of AWS/EC2 CPUUtilization"].message


async def test_nothing_there_says_why(wire: CloudWatchWire, world: World) -> None:
    """No instances name region and tags; no points name what may be the cause. Neither is a failure."""
    gathered = await world.gathered(replaced(CONFIG, tags={"env": "prod"}))
    ((name, problem),) = gathered.discovery.problems
    assert (name, problem.kind) == ("instances", ProblemKind.NO_DATA)
    assert REGION in problem.message
    assert "env=prod" in problem.message
    wire.instances[ONE] = {"env": "prod"}
    month = TimeRange(NOW_US - 30 * 24 * HOUR_US, NOW_US)
    metrics = (CloudWatchMetric(name="MemoryUtilization"),)
    gathered = await world.gathered(replaced(CONFIG, metrics=metrics, period="1m"), month)
    (problem,) = gathered.problems.values()
    assert problem.kind is ProblemKind.NO_DATA
    assert "15 days" in problem.message
    assert "no metric of memory" in problem.message
    assert gathered.points == {}


BROKEN = [
    b"",
    b"[",
    b"[" * 100_000,
    b"[1, 2]",
    b'{"MetricDataResults": {"a": 1}}',
    b'{"MetricDataResults": [null, 7, {"Id": 5}, {"Id": "q9"}]}',
    b'{"MetricDataResults": [{"Id": "q0", "Timestamps": [1], "Values": [1, 2], "StatusCode": "Complete"}]}',
    b'{"MetricDataResults": [{"Id": "q0", "Timestamps": ["x"], "Values": [1], "StatusCode": "Complete"}]}',
    b'{"MetricDataResults": [{"Id": "q0", "Timestamps": [1e300], "Values": [1], "StatusCode": "Complete"}]}',
    b'{"MetricDataResults": [{"Id": "q0", "Timestamps": [1], "Values": [null], "StatusCode": "Complete"}]}',
    b'{"MetricDataResults": [{"Id": "q0", "Timestamps": [1], "Values": ["1"], "StatusCode": "Complete"}]}',
    b'{"MetricDataResults": [], "NextToken": 3}',
]


async def test_broken_answers_are_problems(wire: CloudWatchWire, world: World) -> None:
    """Whatever comes instead of the documented answer, the item fails and nothing is stored."""
    async with world.open(NAMED) as source:
        for body in BROKEN:
            wire.faults = [body]
            gathered = await gather(source, DAY)
            assert [problem.kind for problem in gathered.problems.values()] == [ProblemKind.BAD_ANSWER], body[:80]
            assert gathered.complete == set()
            assert gathered.points == {}


async def test_nan_passes_and_hostile_names_are_stored_apart(wire: CloudWatchWire, world: World) -> None:
    """NaN is for ingest to judge. Dimensions whose names become the same label stay two labels."""
    body = (
        b'{"MetricDataResults": [{"Id": "q0", "Timestamps": [1767222000], "Values": [NaN], "StatusCode": "Complete"}]}'
    )
    wire.add("Custom", "Weird", [], **{"Region": "moon", "region": "\x00\ud800", "1st": "x" * 3_000, "é": "'; DROP"})
    metrics = (CloudWatchMetric(namespace="Custom", name="Weird", dimensions={}),)
    wire.faults = [None, body]
    gathered = await world.gathered(replaced(CONFIG, metrics=metrics))
    (((name, labels), points),) = gathered.points.items()
    assert name == "custom_weird_average"
    assert np.isnan(list(points.values())).all()
    assert dict(labels)["region"] == REGION
    assert {dict(labels)["region_2"], dict(labels)["region_3"]} == {"moon", "\ufffd\ufffd"}
    assert len(labels) == 5


async def test_a_huge_answer_is_not_read(wire: CloudWatchWire, world: World) -> None:
    """Of an endless body no more is read than the limit, and the item has a problem."""
    async with world.open(NAMED) as source:
        items = (await source.discover(DAY)).items
        wire.flood_bytes = 1 << 30
        parts = [part async for part in source.collect([ItemWindow(items[0], DAY)])]
    assert [part.problem.kind for part in parts if part.problem] == [ProblemKind.BAD_ANSWER]
    assert wire.flooded_bytes < RESPONSE_BYTES_MAX + (64 << 20)


async def test_endless_pages_end(wire: CloudWatchWire, world: World) -> None:
    """A token that comes again is a problem, of metrics and of listings."""
    wire.endless = True
    wire.add("AWS/EC2", "CPUUtilization", hourly(2), InstanceId=ONE).statuses = ["PartialData"] * 9
    (problem,) = (await world.gathered(NAMED)).problems.values()
    assert "do not come to an end" in problem.message
    with pytest.raises(SourceError, match="do not come to an end"):
        await world.gathered()


async def test_redirects_are_not_followed(wire: CloudWatchWire, world: World) -> None:
    """Not even to this machine, where nothing is asked a second time."""
    wire.faults = [web.Response(status=307, headers={"Location": f"{wire.url}/elsewhere"})]
    gathered = await world.gathered(NAMED)
    assert [problem.kind for problem in gathered.problems.values()] == [ProblemKind.BAD_ANSWER]
    assert len(wire.requests) == 1


async def test_silence_ends_in_time(wire: CloudWatchWire, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that says nothing is given up after the call's time limit, and asked again."""
    monkeypatch.setattr("adapters.driven.sources.cloudwatch_client.CALL_S", 1.0)
    wire.hold = asyncio.Event()
    (problem,) = (await world.gathered(NAMED)).problems.values()
    assert problem.kind is ProblemKind.UNREACHABLE
    assert len(wire.requests) == 4


async def test_the_budget_ends_what_is_left(wire: CloudWatchWire, world: World) -> None:
    """When calls or money are used up, what was fetched is there and the rest says why it is not."""
    for number in range(1_000):
        wire.instances[f"i-{number}"] = {}
        wire.add("AWS/EC2", "CPUUtilization", hourly(1), InstanceId=f"i-{number}")
    for calls, cost_usd, complete in ((3, None, 500), (1_000, 0.006, 600), (1_000, 0.00003, 3)):
        async with world.open(calls_per_run_max=calls, cost_usd_per_run_max=cost_usd) as source:
            gathered = await gather(source, DAY)
        assert len(gathered.complete) == complete
        assert {problem.kind for problem in gathered.problems.values()} == {ProblemKind.BUDGET}


async def test_a_budget_for_a_few_metrics_comes_to_all_of_them(wire: CloudWatchWire, world: World) -> None:
    """Each run can pay ten of forty; which ones they are changes."""
    for number in range(40):
        wire.instances[f"i-{number}"] = {}
        wire.add("AWS/EC2", "CPUUtilization", hourly(1), InstanceId=f"i-{number}")
    collecting = Collecting(await new_tenancy(memory_storage(MemoryDatabase(world.clock))))
    collecting.clock = world.clock
    for _ in range(12):
        async with world.open(cost_usd_per_run_max=0.0001) as source:
            run = (await collecting.run(service=collecting.service(opener=Only(source)))).run
        assert run.progress.counts.fetched == 10
    assert len(await collecting.stored()) == 40


async def test_a_tenant_gets_nothing_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the server's environment and files say, a tenant that is not trusted asks AWS's own address with its
    own keys, over verified TLS, and without keys asks nothing at all."""
    for name in ("config", "credentials"):
        (tmp_path / name).write_text(
            "[default]\naws_access_key_id = AKIATHESERVER\naws_secret_access_key = s\naws_session_token = t\n"
            "endpoint_url = http://127.0.0.1:9/\nca_bundle = /nowhere\nregion = us-west-2\n"
            "credential_process = /bin/false\n"
            "retry_mode = adaptive\nuse_fips_endpoint = true\nuse_dualstack_endpoint = true\ndefaults_mode = auto\n"
        )
    theirs = {
        "AWS_ACCESS_KEY_ID": "AKIATHESERVER",
        "AWS_SECRET_ACCESS_KEY": "s",
        "AWS_SESSION_TOKEN": "t",
        "AWS_PROFILE": "missing",
        "AWS_REGION": "us-west-2",
        "AWS_DEFAULT_REGION": "us-west-2",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9/",
        "AWS_ENDPOINT_URL_CLOUDWATCH": "http://127.0.0.1:9/",
        "AWS_ENDPOINT_URL_EC2": "http://127.0.0.1:9/",
        "AWS_CONFIG_FILE": str(tmp_path / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials"),
        "AWS_CA_BUNDLE": "/nowhere",
        "AWS_USE_FIPS_ENDPOINT": "true",
        "AWS_USE_DUALSTACK_ENDPOINT": "true",
        "AWS_MAX_ATTEMPTS": "9",
        "AWS_RETRY_MODE": "adaptive",
        "AWS_DEFAULTS_MODE": "auto",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:9/",
        "AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://127.0.0.1:9/",
        "AWS_SIGV4A_SIGNING_REGION_SET": "us-west-2",
        "HTTPS_PROXY": "http://127.0.0.1:9/",
        "HTTP_PROXY": "http://127.0.0.1:9/",
    }
    for name, value in theirs.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HOME", str(tmp_path))
    names = [f"{service}.{REGION}.amazonaws.com" for service in ("monitoring", "ec2")]
    authority = trustme.CA()
    server_tls, client_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert(*names).configure_cert(server_tls)
    authority.configure_trust(client_tls)
    asked: list[str] = []

    async def resolve(name: str) -> Sequence[IPAddress]:
        asked.append(name)
        return [ip_address("127.0.0.1")]

    clock = FakeClock(NOW_US)
    own = {"access_key_id": KEY, "secret_access_key": "own"}
    spec = SourceSpec(name="aws", config=CONFIG)
    async with CloudWatchWire().served(server_tls) as wire:
        wire.instances[ONE] = {}
        wire.add("AWS/EC2", "CPUUtilization", hourly(2), InstanceId=ONE)
        outbound = _Redirected(LOOPBACK, resolve=resolve, tls=client_tls)
        outbound.port = wire.url.rpartition(":")[2]
        surroundings = Surroundings(client=outbound, trusted_client=outbound, clock=clock, pause=PassingPause(clock))
        async with open_cloudwatch(spec, own, surroundings, trusted=False, cluster_id=None, namespaces=()) as source:
            gathered = await gather(source, DAY)
        assert gathered.complete
        assert set(asked) == set(names)
        assert set(wire.keys) == {(KEY, REGION, None)}
        requests = len(wire.requests)
        for credentials, config in (({}, CONFIG), (own, replaced(CONFIG, endpoint_url=wire.url))):
            opening = open_cloudwatch(
                SourceSpec(name="aws", config=config),
                credentials,
                surroundings,
                trusted=False,
                cluster_id=None,
                namespaces=(),
            )
            with pytest.raises(SourceError) as failure:
                await opening.__aenter__()
            assert failure.value.problem.kind in (ProblemKind.CREDENTIALS, ProblemKind.CONFIGURATION)
        assert len(wire.requests) == requests


class _Redirected(OutboundClient):
    """The shipped client; what goes to port 443 goes to the double's port."""

    port = ""

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        timeout_s: float | None = None,
    ) -> OutboundReply:
        """See `OutboundClient.request`."""
        url = url.replace(".com/", f".com:{self.port}/")
        return await super().request(method, url, headers=headers, body=body, timeout_s=timeout_s)


async def test_a_trusted_source_has_the_standard_chain(
    wire: CloudWatchWire, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server's own variables are found; where there are none, the words say which to set."""
    wire.instances[ONE] = {}
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    async with world.open(credentials={}) as source:
        with pytest.raises(SourceError) as failure:
            await source.discover(DAY)
    assert failure.value.problem.kind is ProblemKind.CREDENTIALS
    assert "AWS_ACCESS_KEY_ID" in failure.value.problem.message
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "the-session")
    async with world.open(credentials={}) as source:
        assert len((await source.discover(DAY)).instances) == 1
    assert wire.keys == [(KEY, REGION, "the-session")]
