"""Anomalies, verdicts, settings and runs as callers see them, over the in-memory store."""

from uuid import uuid4

import pytest

from adapters.driven.memory.audit import MemoryAuditLog
from adapters.driven.memory.channels import MemoryChannelStore
from adapters.driven.memory.clock import FakeClock
from adapters.driven.memory.detection import MemoryDetectionStore
from adapters.driven.memory.detection_runs import MemoryDetectionRuns
from adapters.driven.memory.policies import MemoryPolicyStore
from adapters.driven.memory.sample_reader import MemorySampleReader
from adapters.driven.memory.tenant_store import MemoryTenantStore
from adapters.runtime.pause import AsyncioPause
from core.detection.plan import DetectionPlan, DetectionSettings
from core.domain.anomalies import Anomaly, AnomalyFilter, Detector, Verdict
from core.domain.detection_runs import RunState
from core.domain.errors import Conflict, Forbidden, InvalidInput, NotFound
from core.domain.notifications import WebhookConfig
from core.domain.tenants import Scope
from core.domain.times import DAY_US, HOUR_US, TimeRange
from core.services.detection import DetectionService
from core.services.policies import Policies
from ports.driven.detection_store import AnomalyChanges, RunProgress
from tests.support.callers import database, principal, recorded
from tests.support.detection_runs import anomaly
from tests.support.remediation_rows import POLICY
from tests.support.storages import LIMITS

ANY = AnomalyFilter()


class World:
    """The service over its store."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.tables = database(self.clock)
        self.channels = MemoryChannelStore(self.tables)
        self.policies = MemoryPolicyStore(self.tables)
        self.runs = MemoryDetectionRuns(self.tables)
        self.service = DetectionService(
            MemoryDetectionStore(self.tables),
            self.channels,
            self.policies,
            MemorySampleReader(self.tables),
            Policies(MemoryTenantStore(self.tables), LIMITS, self.clock),
            MemoryAuditLog(self.tables),
            self.clock,
            AsyncioPause(),
        )

    async def found(self, *anomalies: Anomaly, tenant_id: int = 2) -> None:
        """A run that finds these."""
        now = self.tables.now()
        claim = await self.runs.claim(now=now, overdue_s=0, lease_s=60, tenant_id=tenant_id)
        assert claim is not None
        progress = RunProgress(after_series_id=9, series=1, points=2, findings=len(anomalies))
        await self.runs.save(claim, progress, AnomalyChanges(opened=anomalies), now=now, lease_s=60)
        await self.runs.finish(claim, RunState.DONE, now=now)
        self.clock.advance(HOUR_US)

    def seen(self, series_id: int) -> Anomaly:
        """An anomaly first and last seen now."""
        now = self.tables.now()
        return anomaly(series_id, first_seen_at=now, last_seen_at=now)

    @property
    def told(self) -> list[str]:
        """What the audit trail says."""
        return [entry.record.summary for entry in recorded(self.tables)]


@pytest.fixture
def world() -> World:
    """A new one."""
    return World()


async def test_pages_of_anomalies(world: World) -> None:
    """Last seen first, each once, until there are no more; another tenant's are not there."""
    for series_id in range(5):
        await world.found(world.seen(series_id))
    await world.found(world.seen(9), tenant_id=3)
    shown, cursor = [], None
    while True:
        page = await world.service.anomalies(principal(Scope.QUERY), ANY, limit=2, cursor=cursor)
        shown += [one.finding.series_id for one in page.data]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert shown == [4, 3, 2, 1, 0]
    wanted = AnomalyFilter(detector=Detector.TREND)
    assert (await world.service.anomalies(principal(Scope.ALERTS), wanted, limit=2, cursor=None)).data == []


async def test_pages_of_runs(world: World) -> None:
    """Newest first."""
    for _ in range(3):
        await world.found()
    first = await world.service.runs(principal(Scope.QUERY), limit=2, cursor=None)
    second = await world.service.runs(principal(Scope.QUERY), limit=2, cursor=first.next_cursor)
    assert [run.id for run in [*first.data, *second.data]] == [3, 2, 1]
    assert second.next_cursor is None


async def test_a_verdict(world: World) -> None:
    """It stands on the anomaly in the caller's name, can be changed and taken back, and the audit trail tells."""
    told_of = world.seen(1)
    await world.found(told_of)
    marked = await world.service.mark(principal(Scope.ALERTS), told_of.id, Verdict.FALSE, "a deployment")
    assert marked.mark is not None
    assert (marked.mark.verdict, marked.mark.by, marked.mark.note) == (Verdict.FALSE, "key:5", "a deployment")
    assert marked.mark.at == world.tables.now()
    assert await world.service.anomaly(principal(Scope.QUERY), told_of.id) == marked
    counted = await world.service.precision(principal(Scope.QUERY), days=1)
    assert [one.detector for one in counted if one.marked_false == 1] == [Detector.SPIKE]
    assert (await world.service.mark(principal(), told_of.id, None, None)).mark is None
    assert world.told == [
        f"marked as false the anomaly {told_of.text!r}",
        f"took back the verdict on the anomaly {told_of.text!r}",
    ]
    with pytest.raises(NotFound):
        await world.service.mark(principal(tenant_id=3), told_of.id, Verdict.TRUE, None)
    with pytest.raises(NotFound):
        await world.service.anomaly(principal(), uuid4())


async def test_precision_looks_back_so_many_days(world: World) -> None:
    """Of anomalies first seen since then."""
    told_of = world.seen(1)
    await world.found(told_of)
    await world.service.mark(principal(), told_of.id, Verdict.TRUE, None)
    world.clock.advance(2 * DAY_US)
    counts = [sum(one.marked_true for one in await world.service.precision(principal(), days=days)) for days in (1, 3)]
    assert counts == [0, 1]


async def test_a_run_now(world: World) -> None:
    """It is due at once, though the last one was just done; not where detection is switched off."""
    await world.found()
    run = await world.service.request_run(principal(Scope.ALERTS))
    assert (run.due_at, run.state, run.attempts) == (world.tables.now(), RunState.RUNNING, 0)
    await world.found()
    assert (await world.service.runs(principal(), limit=1, cursor=None)).data[0].id == run.id
    await world.service.replace_settings(principal(), DetectionSettings(enabled=False))
    with pytest.raises(Conflict):
        await world.service.request_run(principal())


async def test_settings(world: World) -> None:
    """The defaults until somebody sets them; each change is recorded with what it changed, an equal one is not."""
    assert await world.service.settings(principal(Scope.QUERY)) == DetectionSettings()
    settings = DetectionSettings(alert_risk=0.9, plan=DetectionPlan(detectors=(Detector.SPIKE,)))
    assert await world.service.replace_settings(principal(Scope.ALERTS), settings) == settings
    await world.service.replace_settings(principal(Scope.ALERTS), settings)
    assert await world.service.settings(principal(Scope.QUERY)) == settings
    assert await world.service.settings(principal(Scope.QUERY, tenant_id=3)) == DetectionSettings()
    assert world.told == ["changed how detection is set"]
    [entry] = recorded(world.tables)
    assert entry.record.details["before"]["alert_risk"] == 0.8
    assert entry.record.details["after"].keys() == {"alert_risk", "plan"}


async def test_settings_name_what_is_there(world: World) -> None:
    """A channel and a policy must exist; who names a policy decides when production is changed."""
    with pytest.raises(InvalidInput, match="no channel named 'ops'"):
        await world.service.replace_settings(principal(), DetectionSettings(channels=("ops",)))
    with pytest.raises(InvalidInput, match="no remediation policy named 'restart'"):
        await world.service.replace_settings(principal(), DetectionSettings(remediation="restart"))
    await world.channels.create(2, WebhookConfig(name="ops", url="https://example.org/"), ())
    await world.policies.create(2, POLICY, {})
    settings = DetectionSettings(channels=("ops",), remediation="restart")
    with pytest.raises(Forbidden):
        await world.service.replace_settings(principal(Scope.ALERTS), settings)
    await world.service.replace_settings(principal(Scope.ALERTS, Scope.REMEDIATE), settings)
    assert await world.service.settings(principal()) == settings


async def test_scopes(world: World) -> None:
    """Reading takes query or alerts, changing alerts."""
    service, nobody, reader = world.service, principal(Scope.INGEST), principal(Scope.QUERY)
    span = TimeRange(0, HOUR_US)
    for asked in (
        service.detect(nobody, None, (), span, DetectionPlan()),
        service.backtest(nobody, DetectionSettings(), span),
        service.anomalies(nobody, ANY, limit=1, cursor=None),
        service.anomaly(nobody, uuid4()),
        service.precision(nobody, days=1),
        service.settings(nobody),
        service.runs(nobody, limit=1, cursor=None),
        service.mark(reader, uuid4(), Verdict.TRUE, None),
        service.replace_settings(reader, DetectionSettings()),
        service.request_run(reader),
    ):
        with pytest.raises(Forbidden):
            await asked


async def test_what_cannot_be_asked(world: World) -> None:
    """Each field that is wrong is named."""
    service, who = world.service, principal()
    for field, asked in (
        ("limit", service.anomalies(who, ANY, limit=0, cursor=None)),
        ("cursor", service.anomalies(who, ANY, limit=1, cursor="x")),
        ("host", service.anomalies(who, AnomalyFilter(host="\x00"), limit=1, cursor=None)),
        ("end", service.anomalies(who, AnomalyFilter(start_us=2, end_us=1), limit=1, cursor=None)),
        ("cursor", service.runs(who, limit=1, cursor="x")),
        ("days", service.precision(who, days=0)),
        ("note", service.mark(who, uuid4(), Verdict.TRUE, "")),
        ("note", service.mark(who, uuid4(), Verdict.TRUE, "x" * 1_001)),
        ("label", service.detect(who, None, ("?",), TimeRange(0, 1), DetectionPlan())),
        ("metric", service.detect(who, "0", (), TimeRange(0, 1), DetectionPlan())),
        ("start", service.backtest(who, DetectionSettings(), TimeRange(0, 32 * DAY_US))),
    ):
        with pytest.raises(InvalidInput) as caught:
            await asked
        assert caught.value.field == field
