"""What vendors do to their clients, done to each of the four HTTP vendors' clients over real connections."""

import resource
import time
from collections.abc import AsyncIterator

import msgspec
import pytest

from core.domain.collection import Problem, ProblemKind
from core.domain.times import HOUR_US, MINUTE_US, SECOND_US, TimeRange
from ports.driven.metric_source import MetricSource, SourceError
from tests.support.receiver import Behaviour, Receiver, answer, drip, garbage, hang, reset
from tests.support.vendors.datadog import DatadogDouble
from tests.support.vendors.faults import GIGABYTE, half, redirect
from tests.support.vendors.four import SECRETS, VENDORS, OneSeries
from tests.support.vendors.gathered import gather
from tests.support.vendors.opened import World

NOW_US = World().clock.now_us()
HOUR = TimeRange(NOW_US - HOUR_US, NOW_US)
POINTS = {ts_us: ts_us % 977 / 8 for ts_us in range(HOUR.start_us, HOUR.end_us, MINUTE_US)}
"""What every vendor has of the hour."""


@pytest.fixture
def world() -> World:
    """Return a clock and a network."""
    return World()


@pytest.fixture(params=VENDORS, ids=lambda serve: serve.__name__)
async def vendor(request: pytest.FixtureRequest, world: World) -> AsyncIterator[OneSeries]:
    """Yield each vendor, with the hour and the one before."""
    async with request.param(world) as opened:
        opened.has(
            {ts_us // SECOND_US: POINTS.get(ts_us, 7.0) for ts_us in range(NOW_US - 2 * HOUR_US, NOW_US, MINUTE_US)}
        )
        yield opened


async def ended(source: MetricSource, within: TimeRange = HOUR) -> tuple[dict[int, float], Problem | None]:
    """Its points, and why there are none, where it says so by a problem or by ending."""
    try:
        found = await gather(source, within)
    except SourceError as error:
        return {}, error.problem
    points = {ts_us: value for series in found.points.values() for ts_us, value in series.items()}
    return points, next(iter(found.problems.values()), None)


async def test_without_a_fault_all_have_the_same_hour(vendor: OneSeries) -> None:
    """Exactly, and the same again when it is collected again."""
    for _ in range(2):
        points, problem = await ended(vendor.source)
        assert points == POINTS
        assert problem is None


@pytest.mark.parametrize(
    "fault",
    [
        answer(429, headers={"Retry-After": "2"}),
        answer(429),
        answer(500, "<html>Internal Server Error</html>"),
        answer(503, "upstream connect error"),
        reset,
        garbage,
        half(b'{"status": "success", "series": [], "data": {}}'),
    ],
    ids=["429 with Retry-After", "429", "500", "503", "reset", "not HTTP", "half an answer"],
)
async def test_what_passes_costs_nothing_but_time(vendor: OneSeries, world: World, fault: Behaviour) -> None:
    """Nothing is lost and nothing is made up."""
    vendor.double.script[:] = [fault]
    assert await ended(vendor.source) == (POINTS, None)
    assert len(world.pause.waits_s) <= 1


async def test_the_vendors_own_rate_limit_passes(vendor: OneSeries, world: World) -> None:
    """In its own words and headers."""
    vendor.double.limit = 0
    assert await ended(vendor.source) == (POINTS, None)
    assert len(world.pause.waits_s) == 1


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (answer(429), ProblemKind.RATE_LIMITED),
        (answer(429, headers={"Retry-After": "86400"}), ProblemKind.RATE_LIMITED),
        (answer(502), ProblemKind.UNREACHABLE),
        (half(b"x" * 1_000), ProblemKind.BAD_ANSWER),
        (answer(200, b'{"status": "success", "data": NaN}'), ProblemKind.BAD_ANSWER),
        (answer(200, "<html>Sign in</html>"), ProblemKind.BAD_ANSWER),
        (answer(200, b"[" * 1_000_000), ProblemKind.BAD_ANSWER),
        (answer(200, '{"a": 1, "a": 1}'), ProblemKind.BAD_ANSWER),
        (answer(200, '[{"b": null}]'), ProblemKind.BAD_ANSWER),
        (answer(204), ProblemKind.BAD_ANSWER),
    ],
    ids=["429", "429 for a day", "502", "half", "NaN", "HTML", "deep", "twice", "another shape", "204"],
)
async def test_what_does_not_pass_is_said(vendor: OneSeries, fault: Behaviour, kind: ProblemKind) -> None:
    """Without points, without the key, without an address."""
    vendor.double.fault = fault
    points, problem = await ended(vendor.source)
    assert points == {}
    assert problem is not None
    assert problem.kind is kind
    for secret in (*SECRETS, "http://", "Traceback"):
        assert secret not in problem.message


@pytest.mark.parametrize("fault", [hang, drip(200)], ids=["no answer", "a byte now and then"])
async def test_time_outs_pass_too(vendor: OneSeries, fault: Behaviour) -> None:
    """Each try has its own; here a short one."""
    http = vars(vendor.source)["_http"]
    http.vendor = msgspec.structs.replace(http.vendor, timeout_s=1.0)
    vendor.double.script[:] = [fault]
    assert await ended(vendor.source) == (POINTS, None)


async def test_a_gigabyte_costs_neither_memory_nor_time(vendor: OneSeries) -> None:
    """It is given up at 32 MiB. Where a shorter window may be less, that is tried, and gives the points."""
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began_s = time.monotonic()
    vendor.double.script[:] = [GIGABYTE]
    points, problem = await ended(vendor.source)
    assert time.monotonic() - began_s < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib < 200 << 10
    if isinstance(vendor.double, DatadogDouble):
        assert problem is not None
        assert problem.kind is ProblemKind.BAD_ANSWER
        assert "more than 32 MiB" in problem.message
    else:
        assert (points, problem) == (POINTS, None)


async def test_redirects_to_loopback_are_not_followed(vendor: OneSeries) -> None:
    """The key would go along, and inside of this network is what no tenant may ask."""
    async with Receiver().listening() as inside:
        vendor.double.script[:] = [redirect(inside.url("/latest/meta-data"))]
        points, problem = await ended(vendor.source)
        assert inside.requests == []
    assert points == {}
    assert problem is not None
    assert "redirect" in problem.message


async def test_a_wrong_key_is_said_and_ends_the_run(vendor: OneSeries) -> None:
    """Without repeating it; nothing is tried again."""
    with pytest.raises(SourceError) as error:
        await gather(vendor.stranger, HOUR)
    assert error.value.problem.kind is ProblemKind.CREDENTIALS
    assert not any(secret in error.value.problem.message for secret in SECRETS)
    assert len(vendor.double.requests) <= 2


async def test_no_data_is_no_failure_and_says_why(vendor: OneSeries) -> None:
    """With the vendor's clock, where it is off."""
    vendor.double.skew_s = 600
    vendor.has({})
    found = await gather(vendor.source, HOUR)
    (problem,) = found.problems.values()
    assert problem.kind is ProblemKind.NO_DATA
    assert "600 s ahead" in problem.message
    assert len(found.complete) == 1
