"""Looking for anomalies on demand, and over history: what is stored is found, and what scheduled runs would find."""

import msgspec
import pytest

from adapters.runtime.clock import SystemClock
from adapters.runtime.pause import AsyncioPause
from core.detection.plan import RISK_METRIC, DetectionPlan
from core.domain.anomalies import Detector
from core.domain.definitions import MetricDefinition
from core.domain.errors import InvalidInput, TooExpensive
from core.domain.tenants import Limits, Principal, Scope
from core.domain.times import DAY_US, HOUR_US, MINUTE_US, TimeRange
from core.services.detection import DetectionService
from core.services.policies import Policies
from tests.support.detecting import CLASSIC_PLAN, SETTINGS, STEP_US, WINDOW_US, Detecting
from tests.support.storages import LIMITS, Tenancy, settle_all


def service(detecting: Detecting, limits: Limits = LIMITS) -> DetectionService:
    """The service over the store."""
    storage = detecting.storage
    policies = Policies(storage.tenants, limits, SystemClock())
    return DetectionService(
        storage.detection,
        storage.channels,
        storage.policies,
        storage.reader,
        policies,
        storage.audit_log,
        detecting.clock,
        AsyncioPause(),
    )


def caller(detecting: Detecting) -> Principal:
    """Who may read."""
    tenancy = detecting.tenancy
    return Principal(tenant_id=tenancy.id, tenant=tenancy.tenant.name, key_id=1, scopes=frozenset({Scope.QUERY}))


def last_days(detecting: Detecting) -> TimeRange:
    """What scheduled detection looks at by default."""
    now_us = detecting.clock.now_us()
    return TimeRange(now_us - WINDOW_US, now_us)


@pytest.fixture
def detecting(tenancy: Tenancy) -> Detecting:
    """Return a new tenant's detection."""
    return Detecting(tenancy)


@pytest.mark.parametrize("settled", [False, True])
async def test_what_is_found(detecting: Detecting, neighbour: Tenancy, settled: bool) -> None:
    """Findings of all metrics, the highest risk first, in words; nothing is recorded; another tenant's do not count."""
    await detecting.leaking(host="a")
    spiking = await detecting.tenancy.series("cpu", host="a")
    await detecting.tenancy.append(detecting.rows(spiking, lambda part: 100.0 if part == 0.5 else 1.0))
    await Detecting(neighbour).leaking(host="b")
    if settled:
        await settle_all(detecting.storage)
    found = await service(detecting).detect(caller(detecting), None, (), last_days(detecting), CLASSIC_PLAN)
    assert (found.series, found.samples, found.findings_total) == (2, 192, 2)
    leak, spike = found.findings
    assert (leak.metric, leak.fingerprint, leak.labels) == ("memory", "a:memory", {"host": "a"})
    assert leak.text == leak.finding.text("a:memory")
    assert (spike.metric, spike.finding.detector) == ("cpu", Detector.SPIKE)
    assert leak.finding.risk > spike.finding.risk
    assert await detecting.anomalies() == []
    assert await detecting.events() == []


async def test_counters_and_young_series(detecting: Detecting) -> None:
    """A counter is looked at by its increase per second; what has just begun is looked at like anything else."""
    steady = await detecting.tenancy.series("requests_total", host="a")
    await detecting.tenancy.append(detecting.rows(steady, lambda part: 1e6 * part))
    bursting = await detecting.tenancy.series("requests_total", host="b")
    await detecting.tenancy.append(detecting.rows(bursting, lambda part: 1e6 * part + (9e6 if part > 0.5 else 0.0)))
    young = await detecting.tenancy.series("memory", host="c")
    await detecting.tenancy.append(detecting.rows(young, lambda part: 10.0 + 500.0 * max(0.0, part - 0.9))[-10:])
    found = await service(detecting).detect(caller(detecting), None, (), last_days(detecting), CLASSIC_PLAN)
    assert {one.fingerprint for one in found.findings} == {"b:requests_total", "c:memory"}
    assert found.samples == 202
    assert found.findings[-1].text.startswith("b:requests_total per second spiked once up to ")


async def test_one_metric_some_series_some_detectors(detecting: Detecting) -> None:
    """A metric whose name begins like another's is another; matchers and the range narrow it too."""
    for host in ("a", "b"):
        await detecting.leaking(host=host)
    await detecting.leaking("memory_free", host="a")
    looking, who, days = service(detecting), caller(detecting), last_days(detecting)
    found = await looking.detect(who, "memory", (), days, CLASSIC_PLAN)
    assert [one.fingerprint for one in found.findings] == ["a:memory", "b:memory"]
    found = await looking.detect(who, "memory", ("host=b",), days, CLASSIC_PLAN)
    assert (found.series, [one.fingerprint for one in found.findings]) == (1, ["b:memory"])
    found = await looking.detect(who, "memory", (), days, DetectionPlan(detectors=(Detector.SPIKE,)))
    assert (found.series, found.findings_total) == (2, 0)
    found = await looking.detect(who, "memory", (), TimeRange(days.start_us, days.start_us + 5 * STEP_US), CLASSIC_PLAN)
    assert found.samples == 10
    assert (await looking.detect(who, "nothing", (), days, CLASSIC_PLAN)).series == 0


async def test_what_is_not_looked_at(detecting: Detecting) -> None:
    """Detection's own risks, what retention keeps no longer, and more than a month at once."""
    await detecting.leaking(RISK_METRIC, host="a")
    looking, who, days = service(detecting), caller(detecting), last_days(detecting)
    assert (await looking.detect(who, None, (), days, CLASSIC_PLAN)).series == 0
    with pytest.raises(InvalidInput, match="metric"):
        await looking.detect(who, RISK_METRIC, (), days, CLASSIC_PLAN)
    with pytest.raises(InvalidInput, match="31 days"):
        await looking.detect(who, None, (), TimeRange(days.end_us - 31 * DAY_US - 1, days.end_us), CLASSIC_PLAN)
    await detecting.storage.definitions.put(detecting.tenancy.id, MetricDefinition(name="memory", retention_days=1))
    await detecting.leaking(host="a")
    assert 0 < (await looking.detect(who, None, (), days, CLASSIC_PLAN)).samples < 96


@pytest.mark.parametrize("settled", [False, True])
async def test_a_tenants_limit_holds(detecting: Detecting, settled: bool) -> None:
    """One look reads no more samples than a query of the tenant may, all slices together."""
    for host in range(60):
        await detecting.leaking(host=f"{host}")
    if settled:
        await settle_all(detecting.storage)
    limits = msgspec.structs.replace(LIMITS, query_points_max=50 * 96 + 1)
    with pytest.raises(TooExpensive, match="4,801 samples"):
        await service(detecting, limits).detect(caller(detecting), None, (), last_days(detecting), CLASSIC_PLAN)


async def test_history_agrees_with_scheduled_runs(tenancy: Tenancy) -> None:
    """The alerts of a backtest, when they would have begun and for how long, are those of runs at those instants."""
    detecting = Detecting(tenancy, minutes_ago=2 * 24 * 60)
    detecting.clock.advance(-MINUTE_US)  # runs are to begin when they are due
    settings = msgspec.structs.replace(SETTINGS, interval="2h", window="24h", alert_risk=0.4)
    await detecting.storage.detection.replace_settings(tenancy.id, settings)
    start_us = detecting.clock.now_us() // (2 * HOUR_US) * 2 * HOUR_US
    detecting.clock.set(start_us + 2 * DAY_US)
    leaky, spiky = await tenancy.series("memory", host="a"), await tenancy.series("cpu", host="a")
    counter = await tenancy.series("requests_total", host="a")
    courses = {
        leaky: lambda part: 10.0 + 40.0 * min(max(part - 0.3, 0.0), 0.2),
        spiky: lambda part: 100.0 if 0.3 < part < 0.32 or (part > 0.9 and round(96 * part) % 5 == 0) else 1.0,
        counter: lambda part: 1e6 * part + (3e6 if part > 0.7 else 0.0),
    }
    for series_id, course in courses.items():
        await tenancy.append(detecting.rows(series_id, course))
    begun, alerting = 0, 0
    opened_at = []
    known: set[str] = set()
    for run in range(24):
        detecting.clock.set(start_us + run * 2 * HOUR_US)
        done = await detecting.run()
        assert done.state == "done"
        now = {one.fingerprint for one in await detecting.storage.detection_runs.published(tenancy.id)}
        begun += len(now - known)
        alerting += len(now)
        if now - known:
            opened_at.append(detecting.now)
        known = now
    assert begun >= 4
    found = await service(detecting).backtest(
        caller(detecting), settings, TimeRange(start_us - HOUR_US, start_us + 47 * HOUR_US)
    )
    assert (found.runs, found.series, found.alerts) == (24, 3, begun)
    assert found.alerting_s == alerting * 2 * 3_600
    assert set(opened_at) <= {step.at for step in found.steps}
    assert all(one.finding.risk > 0.4 for step in found.steps for one in step.alarming)


async def test_history_that_is_too_long(detecting: Detecting, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs, and the samples that all of them would look at, are bounded; each limit is named. Within them, what only
    detectors found that do not alert is no alert."""
    await detecting.leaking(host="a")
    now_us = detecting.clock.now_us()
    looking, who = service(detecting), caller(detecting)
    often = msgspec.structs.replace(SETTINGS, interval="1m")
    with pytest.raises(TooExpensive, match="3,000 are tried"):
        await looking.backtest(who, often, TimeRange(now_us - 3 * DAY_US, now_us))
    monkeypatch.setattr("core.services.detection_backtest.SAMPLES_LOOKED_AT_MAX", 1_000)
    with pytest.raises(TooExpensive, match="1,000 samples"):
        await looking.backtest(who, SETTINGS, TimeRange(now_us - DAY_US, now_us))
    found = await looking.backtest(who, SETTINGS, TimeRange(now_us - 2 * HOUR_US, now_us))
    assert (found.runs, found.alerts, len(found.steps)) == (8, 1, 1)
    silent = msgspec.structs.replace(SETTINGS, alert_detectors=(Detector.SPIKE,))
    found = await looking.backtest(who, silent, TimeRange(now_us - 2 * HOUR_US, now_us))
    assert (found.runs, found.alerts, found.alerting_s, found.steps) == (8, 0, 0.0, [])
    found = await looking.backtest(who, SETTINGS, TimeRange(now_us - MINUTE_US // 2, now_us))
    assert (found.runs, found.samples, found.steps) == (0, 0, [])
