"""Backtesting over stored history: it tells what evaluation would have done, because it does the same."""

from collections.abc import Sequence
from datetime import timedelta

import pytest

from adapters.runtime.clock import SystemClock
from core.domain.alerts import AlertFilter, EpisodeState, SilenceSpec
from core.domain.definitions import Aggregation
from core.domain.errors import TooExpensive
from core.domain.notifications import AlertEvent, WebhookConfig
from core.domain.rules import AlertRule, NoData, Severity
from core.domain.tenants import Limits, Principal, Scope
from core.domain.times import EPOCH, MINUTE_US, SECOND_US, TimeRange
from core.services.backtest import BacktestService
from core.services.policies import Policies
from ports.driving.alerting import Backtest
from tests.contract.test_evaluation import evaluate
from tests.support.storages import LIMITS, Row, Tenancy, settle_all

START_US = SystemClock().now_us() // SECOND_US * SECOND_US - 20 * MINUTE_US
RANGE = TimeRange(START_US, START_US + 10 * MINUTE_US)
RULE = AlertRule(name="high", metric="cpu", warning=80.0, critical=90.0)


async def backtest(
    tenancy: Tenancy, rule: AlertRule, time_range: TimeRange = RANGE, limits: Limits = LIMITS
) -> Backtest:
    """What a rule would have done."""
    storage = tenancy.storage
    service = BacktestService(
        storage.reader,
        storage.channels,
        storage.silences,
        Policies(storage.tenants, limits, SystemClock()),
        SystemClock(),
    )
    principal = Principal(tenant_id=tenancy.id, tenant=tenancy.tenant.name, key_id=1, scopes=frozenset(Scope))
    return await service.backtest(principal, rule, time_range)


def every_10_s(series_id: int, values: Sequence[float]) -> list[Row]:
    """Samples from the start of the range."""
    return [(series_id, START_US + n * 10 * SECOND_US, value) for n, value in enumerate(values)]


@pytest.mark.parametrize("settled", [False, True])
async def test_episodes(tenancy: Tenancy, neighbour: Tenancy, settled: bool) -> None:
    """Each episode with its severity, instants, worst value and duration; another tenant's samples do not count."""
    series_id = await tenancy.series(host="a")
    await tenancy.append(every_10_s(series_id, [10, 85, 95, 97, 20, 10, 85]))
    await neighbour.append(every_10_s(await neighbour.series(host="a"), [99, 99]))
    if settled:
        await settle_all(tenancy.storage)
    found = await backtest(tenancy, RULE)
    assert (found.series, found.samples, found.episodes_total) == (1, 7, 2)
    first, second = found.episodes
    assert (first.severity, first.value, first.worst, first.duration_s) == (Severity.CRITICAL, 85.0, 97.0, 30.0)
    assert (first.fired_at - EPOCH) // timedelta(microseconds=1) == START_US + 10 * SECOND_US
    assert first.escalated_at is not None
    assert (second.severity, second.resolved_at) == (Severity.WARNING, None)
    assert second.duration_s == (RANGE.end_us - START_US) / SECOND_US - 60


async def test_it_agrees_with_evaluation(tenancy: Tenancy) -> None:
    """The episodes of a windowed, grouped rule with holding are those that evaluation wrote for the same samples."""
    storage = tenancy.storage
    rule = AlertRule(
        name="grouped",
        metric="cpu",
        aggregation=Aggregation.AVG,
        window="30s",
        group_by=("zone",),
        warning=50.0,
        critical=70.0,
        clear=45.0,
        for_="20s",
        keep_firing_for="10s",
    )
    await storage.rules.create(tenancy.id, rule)
    first, second = await tenancy.series(host="a", zone="x"), await tenancy.series(host="b", zone="x")
    other = await tenancy.series(host="c", zone="y")
    up_and_down = [10, 60, 80, 90, 95, 60, 48, 40, 10, 10, 10, 90, 90, 90, 90, 10, 10, 10, 10, 10]
    await tenancy.append(
        [
            *every_10_s(first, up_and_down),
            *every_10_s(second, [value / 2 + 20 for value in up_and_down]),
            *every_10_s(other, [value - 5 for value in up_and_down[3:]]),
        ]
    )
    await evaluate(storage)
    alerts = await storage.alerts.list(tenancy.id, AlertFilter(state=EpisodeState.RESOLVED), limit=100, before_id=None)
    written = {
        (alert.labels["zone"], alert.started_at, alert.fired_at, alert.resolved_at, alert.severity) for alert in alerts
    }
    found = await backtest(tenancy, rule)
    assert len(written) >= 3
    assert {
        (one.labels["zone"], one.started_at, one.fired_at, one.resolved_at, one.severity) for one in found.episodes
    } == written


async def test_who_would_have_been_told(tenancy: Tenancy) -> None:
    """The channels a rule reaches, less what a silence of that time covered; a policy that would have been started."""
    storage = tenancy.storage
    for name, default in (("ops", True), ("other", False)):
        config = WebhookConfig(name=name, url="https://example.org/", default=default)
        await storage.channels.create(tenancy.id, config, ())
    loud, quiet = await tenancy.series(host="loud"), await tenancy.series(host="quiet")
    await tenancy.append([*every_10_s(loud, [95, 10]), *every_10_s(quiet, [95, 10])])
    at = EPOCH + timedelta(microseconds=START_US)
    await storage.silences.create_silence(
        tenancy.id,
        SilenceSpec(
            matchers=("host=quiet",),
            starts_at=at - timedelta(minutes=1),
            ends_at=at + timedelta(minutes=1),
            reason="maintenance",
        ),
        author="key:1",
        now=at - timedelta(minutes=1),
    )
    rule = AlertRule(name="r", metric="cpu", warning=80.0, remediation="repair")
    found = await backtest(tenancy, rule)
    by_host = {episode.labels["host"]: episode for episode in found.episodes}
    assert by_host["loud"].channels == ("ops",)
    assert by_host["loud"].notifications == (AlertEvent.FIRED, AlertEvent.RESOLVED)
    assert (by_host["quiet"].channels, by_host["quiet"].notifications) == ((), ())
    assert (found.notifications, found.remediations) == (2, 2)


async def test_silence_of_samples(tenancy: Tenancy) -> None:
    """A gap longer than the rule's patience would have fired at its end, until the next good sample."""
    series_id = await tenancy.series()
    await tenancy.append([(series_id, START_US, 1.0), (series_id, START_US + 3 * MINUTE_US, 1.0)])
    rule = AlertRule(name="gone", metric="cpu", warning=80.0, no_data=NoData.ALERT, no_data_after="1m")
    found = await backtest(tenancy, rule, TimeRange(START_US, START_US + 4 * MINUTE_US))
    [episode] = found.episodes
    assert (episode.value, episode.duration_s) == (None, 120.0)


async def test_a_tenants_limit_holds(tenancy: Tenancy) -> None:
    """A backtest reads no more than any other query of the tenant."""
    series_id = await tenancy.series()
    await tenancy.append(every_10_s(series_id, [1.0] * 60))
    await settle_all(tenancy.storage)
    tight = Limits(**{**{name: getattr(LIMITS, name) for name in LIMITS.__struct_fields__}, "query_points_max": 10})
    with pytest.raises(TooExpensive):
        await backtest(tenancy, RULE, limits=tight)
