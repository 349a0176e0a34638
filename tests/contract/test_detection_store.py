"""The detection store port: how detection is set, what it found, and what operators say of it."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import msgspec
import pytest

from core.detection.plan import DetectionPlan, DetectionSettings, SpikeSettings
from core.domain.anomalies import Anomaly, AnomalyFilter, Detector, Mark, Precision, Verdict
from core.domain.detection_runs import RunState
from core.domain.errors import NotFound
from core.domain.times import EPOCH
from ports.driven.detection_store import AnomalyChanges
from tests.support.detection_runs import LEASE_S, NOON, NOTHING, anomaly, claimed, later
from tests.support.storages import Storage, Tenancy

ALL = 1_000
FULL = DetectionSettings(
    enabled=False,
    interval="1h",
    window="7d",
    include=("cpu.*", "größe|“✓”\\\\\n\t"),
    exclude=("disk",),
    matchers=('host=~"a|b".*', "zone!="),
    time_limit="2m",
    alert_risk=0.1 + 0.2,
    shadow=True,
    channels=("chat",),
    remediation="restart",
    plan=DetectionPlan(detectors=(Detector.SPIKE, Detector.TREND), spike=SpikeSettings(deviations=1e-300)),
)
ANY = AnomalyFilter()
TRUE = Mark(verdict=Verdict.TRUE, by="key:größe", at=later(microseconds=1), note="“really”\n✓")
FALSE = Mark(verdict=Verdict.FALSE, by="key:1", at=NOON)


async def keep(storage: Storage, tenancy: Tenancy, *found: Anomaly) -> None:
    """Writes anomalies as a run does."""
    claim = await claimed(storage.detection_runs, tenancy)
    changes = AnomalyChanges(opened=found)
    await storage.detection_runs.save(claim, NOTHING, changes, now=NOON, lease_s=LEASE_S)


async def listed(storage: Storage, tenancy: Tenancy, wanted: AnomalyFilter = ANY) -> list[Anomaly]:
    """All that are wanted."""
    return list(await storage.detection.anomalies(tenancy.id, wanted, limit=ALL, before=None))


async def test_settings(storage: Storage, other_storage: Storage, tenancy: Tenancy, neighbour: Tenancy) -> None:
    """Settings are the defaults until they are set, then what was set last, in any process, of one tenant."""
    assert await storage.detection.settings(tenancy.id) is None
    for settings in (FULL, DetectionSettings(), FULL):
        await storage.detection.replace_settings(tenancy.id, settings)
        assert await other_storage.detection.settings(tenancy.id) == settings
    assert await storage.detection.settings(neighbour.id) is None


async def test_settings_set_at_once(storage: Storage, other_storage: Storage, tenancy: Tenancy) -> None:
    """Of several that set them at once one is the last; its rule and its settings go together."""
    wanted = [DetectionSettings(alert_risk=number / 10) for number in range(8)]
    await asyncio.gather(
        *(
            (storage, other_storage)[number % 2].detection.replace_settings(tenancy.id, settings)
            for number, settings in enumerate(wanted)
        )
    )
    settings = await storage.detection.settings(tenancy.id)
    assert settings is not None
    assert [stored.rule for stored in await storage.rules.list(tenancy.id)] == [settings.risk_rule()]


async def test_runs(storage: Storage, tenancy: Tenancy, neighbour: Tenancy) -> None:
    """Runs are listed newest first, in pages, each tenant's for itself."""
    ids = []
    for number in range(5):
        claim = await claimed(storage.detection_runs, tenancy, later(hours=number))
        await storage.detection_runs.finish(claim, RunState.DONE, now=later(hours=number, minutes=1))
        ids.append(claim.run.id)
    pages: list[list[int]] = []
    before_id = None
    while page := await storage.detection.runs(tenancy.id, limit=2, before_id=before_id):
        pages.append([run.id for run in page])
        before_id = pages[-1][-1]
    assert pages == [[ids[4], ids[3]], [ids[2], ids[1]], [ids[0]]]
    assert not await storage.detection.runs(neighbour.id, limit=2, before_id=None)


async def test_pages(storage: Storage, tenancy: Tenancy, neighbour: Tenancy) -> None:
    """Anomalies are listed by when they were last seen, then by id, newest first, each once, whatever the page."""
    found = [anomaly(number, last_seen_at=later(minutes=number // 3)) for number in range(10)]
    await keep(storage, tenancy, *found)
    found.sort(key=lambda one: (one.last_seen_at, one.id), reverse=True)
    pages: list[Anomaly] = []
    before: tuple[datetime, UUID] | None = None
    while page := await storage.detection.anomalies(tenancy.id, ANY, limit=4, before=before):
        pages += page
        before = page[-1].last_seen_at, page[-1].id
    assert pages == found
    assert not await listed(storage, neighbour)


async def test_filters(storage: Storage, tenancy: Tenancy) -> None:
    """Each filter leaves in just what it names, and all must hold together."""
    plain = anomaly(1, risk=0.5)
    others = {
        "detector": anomaly(2, Detector.TREND, risk=0.4),
        "metric": anomaly(3, metric="disk", risk=0.4),
        "host": anomaly(4, host="b", risk=0.4),
        "service": anomaly(5, service="web", host=None, risk=0.4),
        "fingerprint": anomaly(6, fingerprint="b:cpu", risk=0.4),
        "ended": anomaly(7, ended_at=NOON, risk=0.4),
        "marked": anomaly(8, risk=0.4),
        "synthetic": anomaly(9, synthetic=True, risk=0.4),
        "late": anomaly(10, last_seen_at=later(microseconds=1), risk=0.4),
    }
    await keep(storage, tenancy, plain, *others.values())
    others["marked"] = await storage.detection.mark(tenancy.id, others["marked"].id, TRUE)
    noon_us = (NOON - EPOCH) // timedelta(microseconds=1)
    for wanted, names in (
        (AnomalyFilter(detector=Detector.TREND), ["detector"]),
        (AnomalyFilter(metric="disk"), ["metric"]),
        (AnomalyFilter(host="b"), ["host"]),
        (AnomalyFilter(service="web"), ["service"]),
        (AnomalyFilter(fingerprint="b:cpu"), ["fingerprint"]),
        (AnomalyFilter(open=False), ["ended"]),
        (AnomalyFilter(marked=True), ["marked"]),
        (AnomalyFilter(synthetic=True), ["synthetic"]),
        (AnomalyFilter(start_us=noon_us + 1), ["late"]),
        (AnomalyFilter(start_us=noon_us + 1, host="b"), []),
    ):
        assert await listed(storage, tenancy, wanted) == [others[name] for name in names], wanted
    for wanted, name in (
        (AnomalyFilter(open=True), "ended"),
        (AnomalyFilter(marked=False), "marked"),
        (AnomalyFilter(synthetic=False), "synthetic"),
        (AnomalyFilter(end_us=noon_us + 1), "late"),
    ):
        left_out = set(others) - {name}
        assert {one.id for one in await listed(storage, tenancy, wanted)} == {
            plain.id,
            *(others[one].id for one in left_out),
        }, wanted
    assert await listed(storage, tenancy, AnomalyFilter(risk_min=0.5)) == [plain]
    assert not await listed(storage, tenancy, AnomalyFilter(risk_min=0.51))
    assert not await listed(storage, tenancy, AnomalyFilter(end_us=noon_us))


async def test_marks(storage: Storage, other_storage: Storage, tenancy: Tenancy) -> None:
    """A verdict replaces the one before and can be taken back."""
    found = anomaly()
    await keep(storage, tenancy, found)
    for mark in (TRUE, FALSE, None, TRUE):
        marked = msgspec.structs.replace(found, mark=mark)
        assert await storage.detection.mark(tenancy.id, found.id, mark) == marked
        assert await other_storage.detection.anomaly(tenancy.id, found.id) == marked
        assert await listed(other_storage, tenancy) == [marked]


async def test_no_such_anomaly(storage: Storage, tenancy: Tenancy, neighbour: Tenancy) -> None:
    """What is not there, or is another tenant's, can neither be read nor marked."""
    found = anomaly()
    await keep(storage, tenancy, found)
    for tenant_id, anomaly_id in ((tenancy.id, uuid4()), (neighbour.id, found.id)):
        with pytest.raises(NotFound):
            await storage.detection.anomaly(tenant_id, anomaly_id)
        with pytest.raises(NotFound):
            await storage.detection.mark(tenant_id, anomaly_id, FALSE)
    assert await storage.detection.anomaly(tenancy.id, found.id) == found


async def test_precision(storage: Storage, tenancy: Tenancy, neighbour: Tenancy) -> None:
    """Of every detector: how many anomalies there were since then, and what was said of them; none is synthetic."""
    spikes = [anomaly(number) for number in range(4)]
    trend = anomaly(1, Detector.TREND)
    early = anomaly(8, first_seen_at=later(microseconds=-1), last_seen_at=later(days=1))
    made_up = anomaly(9, synthetic=True)
    await keep(storage, tenancy, *spikes, trend, early, made_up)
    for found, mark in zip([*spikes, early, made_up], [TRUE, TRUE, FALSE, None, FALSE, FALSE], strict=True):
        await storage.detection.mark(tenancy.id, found.id, mark)
    assert list(await storage.detection.precision(tenancy.id, since=NOON)) == [
        Precision(detector=Detector.VARIANCE, anomalies=0, marked_true=0, marked_false=0, precision=None),
        Precision(detector=Detector.SPIKE, anomalies=4, marked_true=2, marked_false=1, precision=2 / 3),
        Precision(detector=Detector.TREND, anomalies=1, marked_true=0, marked_false=0, precision=None),
        Precision(detector=Detector.STREAMING, anomalies=0, marked_true=0, marked_false=0, precision=None),
    ]
    nothing = await storage.detection.precision(neighbour.id, since=datetime(2000, 1, 1, tzinfo=UTC))
    assert [(one.detector, one.anomalies) for one in nothing] == [(detector, 0) for detector in Detector]
