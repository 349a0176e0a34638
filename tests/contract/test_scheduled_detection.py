"""Scheduled detection over every store: what it finds, records and publishes."""

import pytest

from core.detection.plan import RISK_METRIC, DetectionPlan
from core.domain.alerts import AlertFilter, EpisodeState
from core.domain.anomalies import Detector, Mark, Verdict
from core.domain.definitions import MetricDefinition, MetricType
from core.domain.events import EventSeverity
from tests.contract.test_evaluation import evaluate
from tests.support.detecting import STEP_US, WINDOW_US, Detecting
from tests.support.storages import Tenancy, settle_all


@pytest.fixture
async def detecting(tenancy: Tenancy) -> Detecting:
    """Return a new tenant's detection."""
    detecting = Detecting(tenancy)
    await detecting.set()
    return detecting


@pytest.mark.parametrize("settled", [False, True])
async def test_a_finding_becomes_an_anomaly_an_event_and_a_risk(detecting: Detecting, settled: bool) -> None:
    """A leak is found in settled and unsettled samples alike; series that nothing is wrong with leave no trace."""
    series_id = await detecting.leaking(host="a", env="prod", metric="x")
    quiet = await detecting.tenancy.series("memory", host="b")
    await detecting.tenancy.append(detecting.rows(quiet, lambda _: 10.0))
    if settled:
        await settle_all(detecting.storage)
    done = await detecting.run()
    assert (done.tenant, done.state, done.resumed) == (detecting.tenancy.tenant.name, "done", False)
    assert (done.series, done.points, done.findings) == (2, 192, 1)
    assert (done.opened, done.ended, done.alarming, done.away) == (1, 0, 1, None)
    [anomaly] = await detecting.anomalies()
    assert (anomaly.finding.series_id, anomaly.finding.detector) == (series_id, Detector.TREND)
    assert (anomaly.fingerprint, anomaly.finding.risk, anomaly.ended_at) == ("a:memory", 1.0, None)
    [event] = await detecting.events()
    assert (event.anomaly_id, event.severity, event.message) == (anomaly.id, EventSeverity.ERROR, anomaly.text)
    [(labels, samples)] = await detecting.risk_samples()
    assert labels == {
        "fingerprint": "a:memory",
        "metric": "memory",
        "host": "a",
        "env": "prod",
        "exported_metric": "x",
    }
    assert samples == [(detecting.clock.now_us(), 1.0)]
    assert (detecting.ledger.runs, detecting.ledger.risks) == (["done"], [1])


async def test_a_risk_lasts_as_long_as_its_anomaly(detecting: Detecting) -> None:
    """Each run publishes it again with the labels it had first; when it is over there is one 0, and then nothing."""
    await detecting.leaking(host="a", disk="x")
    await detecting.run()
    await detecting.leaking(host="a", disk="y")
    assert (await detecting.next_run()).opened == 1
    [(labels, samples)] = await detecting.risk_samples()
    assert (labels["disk"], [value for _, value in samples]) == ("x", [1.0, 1.0])
    await detecting.set(alert_risk=0.9, exclude=("memory",))
    done = await detecting.next_run()
    assert (done.series, done.ended, done.alarming) == (0, 2, 0)
    await detecting.next_run()
    [(_, samples)] = await detecting.risk_samples()
    assert [value for _, value in samples] == [1.0, 1.0, 0.0]
    assert not await detecting.storage.detection_runs.published(detecting.tenancy.id)


async def test_labels_that_series_do_not_share_are_left_out(detecting: Detecting) -> None:
    """One risk of one fingerprint, with what all its alarming series have in common."""
    await detecting.leaking(host="a", disk="x", env="prod", synthetic="true")
    await detecting.leaking(host="a", disk="y", env="prod", synthetic="true", only="here")
    assert (await detecting.run()).alarming == 1
    [(labels, _)] = await detecting.risk_samples()
    assert labels == {
        "fingerprint": "a:memory",
        "metric": "memory",
        "host": "a",
        "env": "prod",
        "synthetic": "true",
    }


async def test_detection_does_not_look_at_its_own_risks(detecting: Detecting) -> None:
    """However they move."""
    series_id = await detecting.tenancy.series(RISK_METRIC, host="a")
    await detecting.tenancy.append(detecting.rows(series_id, lambda part: part))
    assert (await detecting.run()).series == 0


async def test_a_verdict_of_false_ends_the_alert(detecting: Detecting) -> None:
    """The anomaly stays open and is updated; its risk is over with the next run, and back when that is taken back."""
    await detecting.leaking(host="a")
    await detecting.run()
    [anomaly] = await detecting.anomalies()
    store, tenant_id = detecting.storage.detection, detecting.tenancy.id
    await store.mark(tenant_id, anomaly.id, Mark(verdict=Verdict.FALSE, by="key:1", at=detecting.now))
    assert (await detecting.next_run()).alarming == 0
    assert await detecting.risks() == {"a:memory": 0.0}
    [anomaly] = await detecting.anomalies()
    assert (anomaly.ended_at, anomaly.last_seen_at) == (None, detecting.now)
    assert anomaly.mark is not None
    await store.mark(tenant_id, anomaly.id, None)
    await detecting.next_run()
    assert await detecting.risks() == {"a:memory": 1.0}


async def test_shadow_mode_records_and_alerts_nobody(detecting: Detecting) -> None:
    """Anomalies and events are there, risks are not; what is still found when shadow mode ends is alerted."""
    await detecting.set(shadow=True)
    await detecting.leaking(host="a")
    done = await detecting.run()
    assert (done.opened, done.alarming) == (1, 0)
    assert [anomaly.shadow for anomaly in await detecting.anomalies()] == [True]
    assert len(await detecting.events()) == 1
    assert await detecting.risks() == {}
    await detecting.set()
    await detecting.next_run()
    assert await detecting.risks() == {"a:memory": 1.0}


async def test_only_detectors_that_are_named_alert(detecting: Detecting) -> None:
    """What the others find is recorded and told, and alerted once they are named."""
    await detecting.set(alert_detectors=(Detector.SPIKE,))
    await detecting.leaking(host="a")
    done = await detecting.run()
    assert (done.opened, done.alarming) == (1, 0)
    [event] = await detecting.events()
    assert event.severity is EventSeverity.ERROR
    assert await detecting.risks() == {}
    await detecting.set(alert_detectors=(Detector.SPIKE, Detector.TREND))
    assert (await detecting.next_run()).alarming == 1
    await detecting.set(alert_detectors=(Detector.SPIKE,))
    await detecting.next_run()
    assert await detecting.risks() == {"a:memory": 0.0}


async def test_only_what_the_settings_name_is_looked_at(detecting: Detecting) -> None:
    """By the metric's name and by labels."""
    await detecting.set(include=("mem.*", "disk"), exclude=("memory_free",), matchers=("env=prod",))
    for name, env in (("memory", "prod"), ("memory_free", "prod"), ("disk", "test"), ("cpu", "prod")):
        await detecting.leaking(name, host="a", env=env)
    assert (await detecting.run()).series == 1
    assert [anomaly.metric for anomaly in await detecting.anomalies()] == ["memory"]


@pytest.mark.parametrize("name", ["requests_total", "requests"])
async def test_counters_are_looked_at_by_their_rate(detecting: Detecting, name: str) -> None:
    """One that grows as ever, also through a reset, is no trend; one that grows ever faster is, and its numbers are
    said to be per second. The metric's name says that it is a counter, or its definition does."""
    if not name.endswith("_total"):
        definition = MetricDefinition(name=name, type=MetricType.COUNTER)
        await detecting.storage.definitions.put(detecting.tenancy.id, definition)
    steady, faster = await detecting.tenancy.series(name, host="a"), await detecting.tenancy.series(name, host="b")
    await detecting.tenancy.append(detecting.rows(steady, lambda part: 1e6 * (part if part < 0.5 else part - 0.5)))
    await detecting.tenancy.append(detecting.rows(faster, lambda part: 1e6 * (part + part**2)))
    done = await detecting.run()
    assert (done.series, done.points, done.findings) == (2, 192, 1)
    [anomaly] = await detecting.anomalies()
    assert (anomaly.fingerprint, anomaly.finding.detector) == (f"b:{name}", Detector.TREND)
    assert anomaly.finding.usual_low == pytest.approx(1e6 / (48 * 3_600), rel=0.02)
    assert anomaly.finding.observed == pytest.approx(3e6 / (48 * 3_600), rel=0.02)
    assert anomaly.text.startswith(f"b:{name} per second rose ")


async def test_series_that_have_just_begun(detecting: Detecting) -> None:
    """The classic three keep silent until a series' samples span half the window."""
    halves = detecting.clock.now_us() - WINDOW_US // 2
    for host, begin_us in (("young", halves + STEP_US), ("old", halves - STEP_US)):
        series_id = await detecting.tenancy.series("memory", host=host)
        course = detecting.rows(series_id, lambda part: 10.0 + 100.0 * max(0.0, part - 0.5))
        await detecting.tenancy.append([row for row in course if row[1] > begin_us])
    assert (await detecting.run()).series == 2
    assert {anomaly.host for anomaly in await detecting.anomalies()} == {"old"}
    assert await detecting.risks() == {"old:memory": 1.0}


async def test_tenants_do_not_see_each_other(detecting: Detecting, neighbour: Tenancy) -> None:
    """A run finds and publishes in its own tenant."""
    other = Detecting(neighbour)
    await other.set()
    await detecting.leaking(host="a")
    await other.leaking(host="b")
    await detecting.run()
    assert await other.anomalies() == []
    assert await other.risks() == {}
    await other.run()
    assert await detecting.risks() == {"a:memory": 1.0}
    assert await other.risks() == {"b:memory": 1.0}
    assert [event.host for event in await other.events()] == ["b"]


async def test_a_risk_alerts_and_resolves(tenancy: Tenancy) -> None:
    """The rule of origin detection fires on the published risk and resolves with the 0, once each."""
    detecting = Detecting(tenancy, minutes_ago=16)
    await detecting.set()
    await detecting.leaking(host="a")
    await detecting.run()
    await evaluate(detecting.storage)
    [alert] = await detecting.storage.alerts.list(tenancy.id, AlertFilter(), limit=9, before_id=None)
    assert (alert.state, alert.value, alert.labels["fingerprint"]) == (EpisodeState.FIRING, 1.0, "a:memory")
    await detecting.set(exclude=("memory",))
    await detecting.next_run()
    await evaluate(detecting.storage)
    [alert] = await detecting.storage.alerts.list(tenancy.id, AlertFilter(), limit=9, before_id=None)
    assert alert.state is EpisodeState.RESOLVED


async def test_spikes_end_by_themselves(detecting: Detecting) -> None:
    """Hours after the last one, though each run still sees them; and each is told once."""
    await detecting.set(plan=DetectionPlan(detectors=(Detector.SPIKE,)))
    series_id = await detecting.tenancy.series("cpu", host="a")
    course = detecting.rows(series_id, lambda part: 100.0 if part in (0.5, 0.75) or part > 0.98 else 1.0)
    await detecting.tenancy.append(course)
    await detecting.run()
    [anomaly] = await detecting.anomalies()
    assert (anomaly.finding.detector, anomaly.finding.count) == (Detector.SPIKE, 3)
    events = await detecting.events()
    assert [event.ts for event in events] == sorted({event.ts for event in events})
    assert [event.value for event in events] == [100.0] * 3
    assert (await detecting.next_run(225)).ended == 1
    assert (await detecting.next_run(15)).findings == 1
    [anomaly] = await detecting.anomalies()
    assert anomaly.ended_at is not None
    assert await detecting.events() == events
