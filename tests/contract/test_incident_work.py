"""The incident work port: signals wait, become part of incidents once, and what incidents say is kept."""

import asyncio
import secrets
from collections.abc import Sequence
from datetime import timedelta
from uuid import uuid4

import msgspec
import pytest

from core.detection.plan import DetectionSettings
from core.domain.alerts import EpisodeState
from core.domain.anomalies import Anomaly, Detector, Mark, Verdict
from core.domain.errors import Conflict
from core.domain.events import EventSeverity
from core.domain.incidents import (
    CorrelationSettings,
    IncidentAnalysis,
    IncidentFilter,
    IncidentState,
    LearnedLag,
    Sentence,
    Signal,
    SignalEdge,
    SignalKind,
)
from core.domain.rules import Severity
from core.domain.series import LABEL_VALUE_BYTES_MAX
from core.domain.times import MINUTE_US
from ports.driven.detection_store import AnomalyChanges
from ports.driven.incident_store import CorrelationChanges, Growth, NewIncident, Unanalysed
from tests.support.alert_rows import FIRING, write_alert
from tests.support.detection_runs import LEASE_S, NOTHING, anomaly, claimed
from tests.support.incident_rows import (
    NOON,
    NOON_US,
    add_errors,
    add_signals,
    error_event,
    grow,
    open_incident,
)
from tests.support.storages import Storage, Store, Tenancy

LATER = NOON + timedelta(hours=1)
EVERY = 100_000


async def waiting(storage: Storage, tenancy: Tenancy) -> list[str]:
    """The keys of the tenant's signals that wait."""
    return [signal.key for signal in await storage.incident_work.waiting(tenancy.id, limit=EVERY)]


async def test_events_that_wait(storage: Storage, tenancy: Tenancy) -> None:
    """Errors, warnings, anomalies and changes are signals, each with everything that the event says."""
    anomaly_id = uuid4()
    found = error_event(1, anomaly_id=anomaly_id, severity=EventSeverity.ERROR, message="größe ✓\n", metric="cpu")
    change = error_event(2, metric="config_change", severity=EventSeverity.INFO, host=None, service="api", value=None)
    plain = error_event(0, labels={"a": "ü"}, synthetic=True, created_at=LATER)
    told = error_event(3, severity=EventSeverity.INFO)
    signals = await add_signals(storage, tenancy.id, found, change, plain, told)
    assert signals == [
        Signal(
            key=f"event:{plain.id}",
            kind=SignalKind.ERROR,
            at_us=NOON_US,
            host="host-a",
            service=None,
            metric="error",
            value=13.0,
            text="host-a:error at 13",
            labels={"a": "ü"},
            severe=False,
            synthetic=True,
            seen_us=NOON_US + 60 * MINUTE_US,
        ),
        Signal(
            key=f"event:{found.id}",
            kind=SignalKind.ANOMALY,
            at_us=NOON_US + MINUTE_US,
            host="host-a",
            service=None,
            metric="cpu",
            value=13.0,
            text="größe ✓\n",
            labels={},
            severe=True,
            synthetic=False,
            anomaly_id=anomaly_id,
            seen_us=NOON_US + MINUTE_US,
        ),
        Signal(
            key=f"event:{change.id}",
            kind=SignalKind.CHANGE,
            at_us=NOON_US + 2 * MINUTE_US,
            host=None,
            service="api",
            metric="config_change",
            value=None,
            text="api:config_change was reported",
            labels={},
            severe=False,
            synthetic=False,
            seen_us=NOON_US + 2 * MINUTE_US,
        ),
    ]
    assert await waiting(storage, tenancy) == [signal.key for signal in signals]
    assert list(await storage.incident_work.waiting(tenancy.id, limit=2)) == signals[:2]


async def test_alerts_that_wait(storage: Storage, store: Store, tenancy: Tenancy) -> None:
    """Alerts that fired are signals from their beginning on; pending ones and shadows are not."""
    labels = {"instance": "h", "service": "api", "synthetic": "true"}
    fired = msgspec.structs.replace(FIRING, labels=labels, severity=Severity.CRITICAL)
    over = msgspec.structs.replace(
        FIRING,
        labels={},
        started_at=NOON - timedelta(minutes=1),
        state=EpisodeState.RESOLVED,
        resolved_at=LATER,
        annotations={"summary": "a summary"},
        value=None,
    )
    pending = msgspec.structs.replace(FIRING, state=EpisodeState.PENDING, fired_at=None, severity=None)
    shadow = msgspec.structs.replace(FIRING, shadow=True)
    written = [
        write_alert(store.place, tenancy.id, alert, target_key=f"s{n}")
        for n, alert in enumerate((fired, over, pending, shadow))
    ]
    first, then = await storage.incident_work.waiting(tenancy.id, limit=EVERY)
    assert then == Signal(
        key=f"alert:{written[0].id}",
        kind=SignalKind.ALERT,
        at_us=NOON_US,
        host="h",
        service="api",
        metric="cpu",
        value=97.5,
        text="cpu high: h:cpu at 97.5",
        labels=labels,
        severe=True,
        synthetic=True,
        seen_us=NOON_US + MINUTE_US,
    )
    assert (first.key, first.text, first.at_us) == (f"alert:{written[1].id}", "a summary", NOON_US - MINUTE_US)
    assert (first.host, first.service, first.severe, first.synthetic) == (None, None, False, False)
    [event] = await add_errors(storage, tenancy.id, 1)
    incident_id = await open_incident(storage, tenancy.id, [first, then, event])
    assert await waiting(storage, tenancy) == []
    assert (await storage.incidents.get(tenancy.id, incident_id)).timeline == (first, then, event)


async def test_tenants_that_wait(storage: Storage, store: Store, tenancy: Tenancy, neighbour: Tenancy) -> None:
    """A tenant is named while a signal of its own waits, and each sees only its own."""

    async def named() -> set[int]:
        return {tenancy.id, neighbour.id} & set(await storage.incident_work.waiting_tenants())

    assert await named() == set()
    signals = await add_errors(storage, tenancy.id, 1)
    alert = write_alert(store.place, neighbour.id)
    assert await named() == {tenancy.id, neighbour.id}
    assert await waiting(storage, neighbour) == [f"alert:{alert.id}"]
    await storage.incident_work.apply(tenancy.id, CorrelationChanges(dropped=[signals[0].key]), now=NOON)
    assert await named() == {neighbour.id}
    await storage.incident_work.apply(neighbour.id, CorrelationChanges(dropped=[f"alert:{alert.id}"]), now=NOON)
    assert await named() == set()


async def test_dropped_for_good(storage: Storage, store: Store, tenancy: Tenancy) -> None:
    """What was dropped, or never was a signal, is not taken by an incident that was decided upon before."""
    first, then = await add_errors(storage, tenancy.id, 2)
    fired = write_alert(store.place, tenancy.id)
    pending = write_alert(store.place, tenancy.id, msgspec.structs.replace(FIRING, fired_at=None), target_key="s2")
    shadow = write_alert(store.place, tenancy.id, msgspec.structs.replace(FIRING, shadow=True), target_key="s3")
    alerts = [msgspec.structs.replace(first, key=f"alert:{alert.id}") for alert in (fired, pending, shadow)]
    dropped = CorrelationChanges(dropped=[first.key, alerts[0].key])
    await storage.incident_work.apply(tenancy.id, dropped, now=NOON)
    incident_id = await open_incident(storage, tenancy.id, [first, *alerts, then])
    assert (await storage.incidents.get(tenancy.id, incident_id)).timeline == (then,)


async def test_settings(storage: Storage, tenancy: Tenancy) -> None:
    """The tenant's, or the defaults."""
    assert await storage.incident_work.settings(tenancy.id) == CorrelationSettings()
    own = CorrelationSettings(window="10m", signals_min=5, reopen_within="1h", resolve_after="2h")
    await storage.detection.replace_settings(tenancy.id, DetectionSettings(correlation=own))
    assert await storage.incident_work.settings(tenancy.id) == own


async def test_applied_twice(storage: Storage, tenancy: Tenancy) -> None:
    """What was applied changes nothing when it is applied again."""
    signals = await add_errors(storage, tenancy.id, 6)
    opened = CorrelationChanges(opened=[new_of(signals[:2])])
    [incident_id] = await storage.incident_work.apply(tenancy.id, opened, now=NOON)
    more = CorrelationChanges(
        opened=[new_of(signals[1:2]), new_of(signals[2:4])],
        grown=[growth_of(incident_id, signals[4:5])],
        dropped=[signals[5].key],
    )
    [other_id] = await storage.incident_work.apply(tenancy.id, more, now=NOON)
    before = [await storage.incidents.get(tenancy.id, each) for each in (incident_id, other_id)]
    assert [detail.incident.signals for detail in before] == [3, 2]
    for changes in (opened, more):
        assert list(await storage.incident_work.apply(tenancy.id, changes, now=LATER)) == []
    assert [await storage.incidents.get(tenancy.id, each) for each in (incident_id, other_id)] == before
    assert await waiting(storage, tenancy) == []


async def test_applied_by_two(
    storage: Storage, other_storage: Storage, tenancy: Tenancy, two_transactions: None
) -> None:
    """Of two processes that apply the same at once one does it."""
    for _ in range(5):
        signals = await add_errors(storage, tenancy.id, 4)
        changes = CorrelationChanges(opened=[new_of(signals[:2]), new_of(signals[2:])])
        answers = await asyncio.gather(
            *(each.incident_work.apply(tenancy.id, changes, now=NOON) for each in (storage, other_storage) * 2)
        )
        assert sorted(len(answer) for answer in answers) == [0, 0, 0, 2]


async def test_grown_while_merged(
    storage: Storage, other_storage: Storage, tenancy: Tenancy, two_transactions: None
) -> None:
    """A merge, a split and growth at once lose no signal, and count none twice."""
    signals = await add_errors(storage, tenancy.id, 40)
    one = await open_incident(storage, tenancy.id, signals[:10])
    other = await open_incident(storage, tenancy.id, signals[10:20])
    keys = [signal.key for signal in signals[:5]]
    answers = await asyncio.gather(
        *(grow(storage, tenancy.id, one, signals[n : n + 1]) for n in range(20, 30)),
        *(grow(other_storage, tenancy.id, other, signals[n : n + 1]) for n in range(30, 40)),
        other_storage.incidents.merge(tenancy.id, other, one, by="key:a", now=NOON),
        storage.incidents.split(tenancy.id, one, keys, by="key:a", now=NOON),
        return_exceptions=True,
    )
    failed = [answer for answer in answers if isinstance(answer, BaseException)]
    assert [type(error) for error in failed] in ([], [Conflict]), "only the split may, where it finds it merged"
    kept = await timelines(storage, tenancy)
    assert sorted(key for timeline in kept.values() for key in timeline) == sorted(signal.key for signal in signals)
    assert len(kept[other]) >= 35
    assert await waiting(storage, tenancy) == []


@pytest.mark.parametrize("merges", [1, 2])
async def test_growth_follows_merges(storage: Storage, tenancy: Tenancy, merges: int) -> None:
    """What is to join a merged incident joins the one that has its signals."""
    signals = await add_errors(storage, tenancy.id, 6)
    ids = [await open_incident(storage, tenancy.id, signals[n : n + 1]) for n in range(3)]
    for n in range(merges):
        await storage.incidents.merge(tenancy.id, ids[n + 1], ids[n], by="key:a", now=NOON)
    await grow(storage, tenancy.id, ids[0], signals[3:], now=LATER)
    shown = await storage.incidents.get(tenancy.id, ids[merges])
    assert (shown.incident.signals, shown.incident.updated_at) == (merges + 4, LATER)
    assert {signal.key for signal in signals[3:]} < {signal.key for signal in shown.timeline}
    assert (await storage.incidents.get(tenancy.id, ids[0])).incident.signals == 0


async def test_growth_of_nothing(storage: Storage, tenancy: Tenancy, neighbour: Tenancy) -> None:
    """Signals go on waiting where there is no such incident of this tenant."""
    foreign = await open_incident(storage, neighbour.id, await add_errors(storage, neighbour.id, 1))
    signals = await add_errors(storage, tenancy.id, 2)
    for incident_id in (foreign, 0, 2**62):
        await grow(storage, tenancy.id, incident_id, signals)
    assert await waiting(storage, tenancy) == [signal.key for signal in signals]
    assert (await storage.incidents.get(neighbour.id, foreign)).incident.signals == 1


async def test_anothers_signals(storage: Storage, tenancy: Tenancy, neighbour: Tenancy, store: Store) -> None:
    """Signals of another tenant become part of nothing, and go on waiting."""
    alert = write_alert(store.place, tenancy.id)
    [error] = await add_errors(storage, tenancy.id, 1)
    signals = list(await storage.incident_work.waiting(tenancy.id, limit=EVERY))
    assert {signal.key for signal in signals} == {f"alert:{alert.id}", error.key}
    changes = CorrelationChanges(opened=[new_of(signals)], dropped=[signal.key for signal in signals])
    assert list(await storage.incident_work.apply(neighbour.id, changes, now=NOON)) == []
    assert await waiting(storage, tenancy) == [signal.key for signal in signals]


async def test_history_of_growth(storage: Storage, tenancy: Tenancy) -> None:
    """An incident that grows and grows says so once, until something else happens to it."""
    signals = await add_errors(storage, tenancy.id, 6)
    incident_id = await open_incident(storage, tenancy.id, signals[:1])
    for n in range(1, 4):
        await grow(storage, tenancy.id, incident_id, signals[n : n + 1], now=LATER + timedelta(minutes=n))
    await storage.incidents.resolve(tenancy.id, incident_id, by="key:a", now=LATER)
    await grow(storage, tenancy.id, incident_id, signals[4:5], now=LATER)
    await grow(storage, tenancy.id, incident_id, signals[5:], reopen=True, now=LATER)
    shown = await storage.incidents.get(tenancy.id, incident_id)
    assert [(entry.kind.value, entry.detail.get("signals"), entry.by) for entry in shown.history] == [
        ("opened", 1, "sextant"),
        ("grew", 3, "sextant"),
        ("resolved", None, "key:a"),
        ("grew", 1, "sextant"),
        ("reopened", None, "sextant"),
        ("grew", 1, "sextant"),
    ]
    assert shown.history[1].at == LATER + timedelta(minutes=3)
    assert (shown.incident.state, shown.incident.resolved_at, shown.incident.resolved_by) == (
        IncidentState.OPEN,
        None,
        None,
    )
    await grow(storage, tenancy.id, incident_id, await add_errors(storage, tenancy.id, 1), reopen=True)
    again = await storage.incidents.get(tenancy.id, incident_id)
    assert [entry.kind for entry in again.history] == [entry.kind for entry in shown.history]


async def test_edges(storage: Storage, tenancy: Tenancy) -> None:
    """The first link of two signals stays; one to a signal that is kept nowhere is left out."""
    first, then, dropped = await add_errors(storage, tenancy.id, 3)
    link = SignalEdge(first=first.key, then=then.key, score=0.5, reasons=("a",))
    nowhere = SignalEdge(first=first.key, then=dropped.key, score=0.5, reasons=())
    incident_id = await open_incident(storage, tenancy.id, [first], edges=[nowhere])
    await grow(storage, tenancy.id, incident_id, [then], edges=[link, nowhere])
    [more] = await add_errors(storage, tenancy.id, 1)
    again = msgspec.structs.replace(link, score=0.25, reasons=("b",))
    further = SignalEdge(first=then.key, then=more.key, score=0.75, reasons=("größe ✓", "x"))
    await grow(storage, tenancy.id, incident_id, [more], edges=[again, further, further])
    assert (await storage.incidents.get(tenancy.id, incident_id)).links == (further, link)


async def test_posted_anew(storage: Storage, tenancy: Tenancy) -> None:
    """An event that was deleted and posted again under its id is the same signal, of one incident."""
    event = error_event(-60 * 24 * 90)
    signals = await add_signals(storage, tenancy.id, event)
    incident_id = await open_incident(storage, tenancy.id, signals)
    await storage.events.forget(now_us=NOON_US, limit=EVERY)
    again = await add_signals(storage, tenancy.id, event, error_event())
    assert len(again) == 2
    other_id = await open_incident(storage, tenancy.id, again)
    assert await timelines(storage, tenancy) == {incident_id: [signals[0].key], other_id: [again[1].key]}
    assert await waiting(storage, tenancy) == []


async def test_a_storm(storage: Storage, tenancy: Tenancy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the most that an incident keeps signals are counted; they go where its signals go, and come back."""
    for place in (
        "memory.incident_work",
        "memory.incident_tables",
        "postgres.incident_growth",
        "postgres.incident_changes",
    ):
        monkeypatch.setattr(f"adapters.driven.{place}.SIGNALS_MAX", 3)
    signals = await add_errors(storage, tenancy.id, 5)
    signals += await add_signals(storage, tenancy.id, error_event(9, severity=EventSeverity.ERROR))
    storm = await open_incident(storage, tenancy.id, signals[:4])
    calm = await open_incident(storage, tenancy.id, await add_errors(storage, tenancy.id, 2, host="b"))
    await grow(storage, tenancy.id, storm, signals[4:])
    await grow(storage, tenancy.id, storm, signals)
    shown = await storage.incidents.get(tenancy.id, storm)
    assert (shown.incident.signals, shown.timeline) == (6, tuple(signals[:3]))
    assert (shown.incident.last_signal_at, shown.incident.severe) == (NOON + timedelta(minutes=9), True)
    assert await waiting(storage, tenancy) == []
    around = await storage.incident_work.surroundings(
        tenancy.id, start_us=NOON_US, end_us=NOON_US + 10 * MINUTE_US, resolved_after=NOON
    )
    assert {each.incident.id: len(each.signals) for each in around} == {storm: 3, calm: 2}
    merged = await storage.incidents.merge(tenancy.id, calm, storm, by="key:a", now=NOON)
    assert (merged.signals, merged.severe, merged.last_signal_at) == (8, True, NOON + timedelta(minutes=9))
    detail = await storage.incidents.get(tenancy.id, calm)
    assert len(detail.timeline) == 3
    await storage.incidents.undo(tenancy.id, calm, detail.history[-1].id, by="key:a", now=NOON)
    back, left = [(await storage.incidents.get(tenancy.id, each)).incident for each in (storm, calm)]
    assert (back.signals, back.severe, back.last_signal_at) == (6, True, NOON + timedelta(minutes=9))
    assert (left.signals, left.severe, left.last_signal_at) == (2, False, NOON + timedelta(minutes=1))


async def test_surroundings(storage: Storage, tenancy: Tenancy, neighbour: Tenancy) -> None:
    """Incidents, active or resolved since a time, with signals of a time; merged ones are left out."""
    signals = await add_errors(storage, tenancy.id, 10)
    seen, over, long_over, gone, into = [
        await open_incident(storage, tenancy.id, signals[n : n + 2]) for n in range(0, 10, 2)
    ]
    await open_incident(storage, neighbour.id, await add_errors(storage, neighbour.id, 10))
    await storage.incidents.acknowledge(tenancy.id, seen, by="key:a", now=NOON)
    await storage.incidents.resolve(tenancy.id, over, by="key:a", now=LATER)
    await storage.incidents.resolve(tenancy.id, long_over, by="key:a", now=NOON)
    await storage.incidents.merge(tenancy.id, into, gone, by="key:a", now=NOON)

    async def around(start: int, end: int) -> dict[int, list[Signal]]:
        found = await storage.incident_work.surroundings(
            tenancy.id, start_us=NOON_US + start * MINUTE_US, end_us=NOON_US + end * MINUTE_US, resolved_after=LATER
        )
        for each in found:
            assert each.incident == (await storage.incidents.get(tenancy.id, each.incident.id)).incident
        return {each.incident.id: list(each.signals) for each in found}

    assert await around(0, 10) == {seen: signals[0:2], over: signals[2:4], into: signals[6:10]}
    assert await around(1, 3) == {seen: signals[1:2], over: signals[2:3]}
    assert await around(2, 3) == {over: signals[2:3]}
    assert await around(10, 11) == {}


async def test_analysis(storage: Storage, other_storage: Storage, tenancy: Tenancy) -> None:
    """What was made of an incident is kept while its signals are those, and is its title and narrative."""
    work, signals = storage.incident_work, await add_errors(storage, tenancy.id, 3)
    incident_id = await open_incident(storage, tenancy.id, signals[:1])
    [todo] = await unanalysed(storage, tenancy)
    assert await work.detail(todo) == await storage.incidents.get(tenancy.id, incident_id)
    await grow(other_storage, tenancy.id, incident_id, signals[1:2])
    assert not await work.save_analysis(todo, ANALYSIS)
    [todo] = await unanalysed(storage, tenancy)
    assert await work.save_analysis(todo, ANALYSIS)
    assert await unanalysed(storage, tenancy) == []
    shown = await other_storage.incidents.get(tenancy.id, incident_id)
    assert (shown.analysis, shown.incident.title, shown.incident.narrative) == (ANALYSIS, "größe ✓", "A. B ✓.")
    assert (shown.incident.revision, shown.incident.updated_at) == (3, LATER)
    await grow(storage, tenancy.id, incident_id, signals[2:])
    [again] = await unanalysed(storage, tenancy)
    assert (again.incident_id, again.revision > todo.revision) == (incident_id, True)
    assert (await storage.incidents.get(tenancy.id, incident_id)).analysis == ANALYSIS


async def test_no_analysis(storage: Storage, tenancy: Tenancy, neighbour: Tenancy) -> None:
    """What was merged meanwhile, is not there or is another tenant's is not analysed."""
    work = storage.incident_work
    one = await open_incident(storage, tenancy.id, await add_errors(storage, tenancy.id, 1))
    other = await open_incident(storage, tenancy.id, await add_errors(storage, tenancy.id, 1))
    todo = {each.incident_id: each for each in await unanalysed(storage, tenancy)}
    assert set(todo) == {one, other}
    await storage.incidents.merge(tenancy.id, one, other, by="key:a", now=NOON)
    [stale] = await unanalysed(storage, tenancy)
    assert stale.incident_id == one
    for wrong in (
        todo[other],
        msgspec.structs.replace(stale, incident_id=2**62),
        msgspec.structs.replace(stale, tenant_id=neighbour.id),
    ):
        assert await work.detail(wrong) is None
        assert not await work.save_analysis(wrong, ANALYSIS)
    assert (await storage.incidents.get(tenancy.id, one)).analysis is None


async def test_longest_waiting_first(storage: Storage, tenancy: Tenancy) -> None:
    """Incidents are analysed in the order in which they changed."""
    ids = []
    for minutes in (2, 0, 1):
        signals = await add_errors(storage, tenancy.id, 1)
        now = NOON - timedelta(days=20_000) + timedelta(minutes=minutes)  # before those of all other tests
        ids.append(await open_incident(storage, tenancy.id, signals, now=now))
    found = await storage.incident_work.unanalysed(limit=2)
    assert [each.incident_id for each in found] == [ids[1], ids[2]]
    for each in await unanalysed(storage, tenancy):
        await storage.incident_work.save_analysis(each, ANALYSIS)


async def test_quiet(storage: Storage, tenancy: Tenancy, neighbour: Tenancy) -> None:
    """An incident is resolved once it has had no signal for as long as its tenant's settings say."""
    own = DetectionSettings(correlation=CorrelationSettings(resolve_after="2h"))
    await storage.detection.replace_settings(neighbour.id, own)
    quiet, seen, loud = [
        await open_incident(storage, tenancy.id, await add_signals(storage, tenancy.id, error_event(minute)))
        for minute in (0, -5, 1)
    ]
    patient = await open_incident(storage, neighbour.id, await add_errors(storage, neighbour.id, 1))
    await storage.incidents.acknowledge(tenancy.id, seen, by="key:a", now=LATER)
    ours = {tenancy.id, neighbour.id}
    assert of(await storage.incident_work.resolve_quiet(now=LATER), ours) == {(tenancy.id, quiet), (tenancy.id, seen)}
    assert of(await storage.incident_work.resolve_quiet(now=LATER), ours) == set()
    for incident_id in (quiet, seen):
        shown = await storage.incidents.get(tenancy.id, incident_id)
        assert (shown.incident.state, shown.incident.resolved_at) == (IncidentState.RESOLVED, LATER)
        assert (shown.incident.resolved_by, shown.history[-1].by) == ("sextant", "sextant")
        assert shown.history[-1].summary == "resolved after 1h without a signal"
    assert (await storage.incidents.get(tenancy.id, loud)).incident.state is IncidentState.OPEN
    later = LATER + timedelta(hours=1)
    assert of(await storage.incident_work.resolve_quiet(now=later), ours) == {
        (tenancy.id, loud),
        (neighbour.id, patient),
    }


async def test_not_quiet(storage: Storage, store: Store, tenancy: Tenancy, neighbour: Tenancy) -> None:
    """An incident is not resolved while one of its alerts fires, nor just after it was reopened."""
    firing = await with_alert(storage, store, tenancy, EpisodeState.FIRING)
    over = await with_alert(storage, store, tenancy, EpisodeState.RESOLVED)
    reopened = await open_incident(storage, tenancy.id, await add_errors(storage, tenancy.id, 1))
    merged = await open_incident(storage, tenancy.id, await add_errors(storage, tenancy.id, 1))
    await storage.incidents.resolve(tenancy.id, reopened, by="key:a", now=NOON)
    await storage.incidents.reopen(tenancy.id, reopened, by="key:a", now=LATER)
    await storage.incidents.merge(tenancy.id, firing, merged, by="key:a", now=NOON)
    later = LATER + timedelta(minutes=59)
    ours = {tenancy.id, neighbour.id}
    assert of(await storage.incident_work.resolve_quiet(now=later), ours) == {(tenancy.id, over)}
    later += timedelta(minutes=1)
    assert of(await storage.incident_work.resolve_quiet(now=later), ours) == {(tenancy.id, reopened)}
    assert (await storage.incidents.get(tenancy.id, firing)).incident.state is IncidentState.OPEN


async def test_conditions(storage: Storage, tenancy: Tenancy, neighbour: Tenancy) -> None:
    """Open trends and variances of these hosts and services, the riskiest first; no shadows, nothing marked false."""
    trend = anomaly(1, Detector.TREND, risk=0.5, host="a")
    variance = anomaly(2, Detector.VARIANCE, risk=0.75, host="b", service="s")
    marked = anomaly(3, Detector.TREND, risk=0.25, host="a")
    others = [
        anomaly(4, Detector.SPIKE, host="a"),
        anomaly(5, Detector.STREAMING, host="a"),
        anomaly(6, Detector.TREND, host="a", shadow=True),
        anomaly(7, Detector.TREND, host="a", ended_at=NOON),
        anomaly(8, Detector.TREND, host="elsewhere", service="else"),
    ]
    refused = anomaly(9, Detector.TREND, host="a")
    await add_anomalies(storage, tenancy, [trend, variance, marked, *others, refused])
    await add_anomalies(storage, neighbour, [anomaly(1, Detector.TREND, host="a")])
    marks = {
        each.id: Mark(verdict=verdict, by="key:a", at=NOON)
        for each, verdict in ((marked, Verdict.TRUE), (refused, Verdict.FALSE))
    }
    for anomaly_id, mark in marks.items():
        await storage.detection.mark(tenancy.id, anomaly_id, mark)

    async def found(hosts: list[str], services: list[str], limit: int = 10) -> Sequence[Anomaly]:
        return await storage.incident_work.conditions(tenancy.id, hosts=hosts, services=services, limit=limit)

    seen = msgspec.structs.replace(marked, mark=marks[marked.id])
    assert list(await found(["a", "z"], ["s"])) == [variance, trend, seen]
    assert list(await found(["a", "z"], ["s"], limit=2)) == [variance, trend]
    assert list(await found([], ["s"])) == [variance]
    assert list(await found([], [])) == []


async def test_lags(storage: Storage, other_storage: Storage, tenancy: Tenancy, neighbour: Tenancy) -> None:
    """What was learned last is what is known, each tenant its own, however long its hosts' names are."""
    longest = [secrets.token_hex(LABEL_VALUE_BYTES_MAX // 2) for _ in range(2)]
    lags = [
        LearnedLag(first="ü" + longest[0][2:], then=longest[1], lag_us=3, spread_us=1, incidents=5),
        LearnedLag(first="größe ✓", then="a", lag_us=2**53, spread_us=0, incidents=3),
        LearnedLag(first="b", then="a", lag_us=1, spread_us=2, incidents=1),
    ]
    assert list(await storage.incident_work.lags(tenancy.id)) == []
    await storage.incident_work.save_lags(neighbour.id, lags[:1])
    await storage.incident_work.save_lags(tenancy.id, lags[:1])
    await storage.incident_work.save_lags(tenancy.id, lags)
    assert list(await other_storage.incident_work.lags(tenancy.id)) == lags[::-1]
    assert list(await other_storage.incident_work.lags(neighbour.id)) == lags[:1]
    await storage.incident_work.save_lags(tenancy.id, [])
    assert list(await storage.incident_work.lags(tenancy.id)) == []


async def test_histories(storage: Storage, tenancy: Tenancy, neighbour: Tenancy) -> None:
    """The newest incidents' first signal of every host, service and metric; no synthetic and no merged ones."""

    async def opened(*events: dict[str, object], minute: float = 0) -> tuple[int, list[Signal]]:
        signals = await add_signals(
            storage, tenancy.id, *(error_event(minute + n, **of) for n, of in enumerate(events))
        )
        return await open_incident(storage, tenancy.id, signals), signals

    _, first = await opened({"host": "a"}, {"host": "a"}, {"host": "b"}, {"host": "a", "metric": "cpu"})
    _, then = await opened(
        {"host": None, "service": "s"}, {"host": "a", "service": "s"}, {"host": None, "service": "s"}
    )
    await opened({"host": "old"}, minute=-1)
    await opened({"synthetic": True})
    into_id, into = await opened({"host": "z"})
    from_id, from_signals = await opened({"host": "y"})
    await storage.incidents.merge(tenancy.id, into_id, from_id, by="key:a", now=NOON)
    await open_incident(storage, neighbour.id, await add_errors(storage, neighbour.id, 3))
    merged = sorted([*into, *from_signals], key=lambda signal: signal.key)
    expected = [merged, then[:2], [first[0], *first[2:]]]
    found = await storage.incident_work.histories(tenancy.id, since=NOON, limit=10)
    assert [list(signals) for signals in found] == expected
    found = await storage.incident_work.histories(tenancy.id, since=NOON, limit=2)
    assert [list(signals) for signals in found] == expected[:2]


async def test_forget(storage: Storage, tenancy: Tenancy) -> None:
    """Incidents that were over before a time are deleted, but none into which one was merged that is kept."""

    old = NOON - timedelta(days=20_000)  # before those of all other tests
    ids = [await open_incident(storage, tenancy.id, await add_errors(storage, tenancy.id, 2)) for _ in range(5)]
    over, active, lately, into, merged = ids
    for incident_id in (over, into):
        await storage.incidents.resolve(tenancy.id, incident_id, by="key:a", now=old)
    await storage.incidents.resolve(tenancy.id, lately, by="key:a", now=NOON)
    await storage.incidents.merge(tenancy.id, into, merged, by="key:a", now=NOON)
    before = old + timedelta(days=1)
    assert await storage.incident_work.forget(before=before, limit=10) == 1
    assert await listed(storage, tenancy) == [active, lately, into, merged]
    [merge] = [each for each in (await storage.incidents.get(tenancy.id, into)).history if "from" in each.detail]
    await storage.incidents.undo(tenancy.id, into, merge.id, by="key:a", now=NOON)
    await storage.incidents.merge(tenancy.id, into, merged, by="key:a", now=old)
    assert await storage.incident_work.forget(before=before, limit=10) == 1
    assert await listed(storage, tenancy) == [active, lately, into]
    standing = (await storage.incidents.get(tenancy.id, into)).history[-1]
    with pytest.raises(Conflict, match="no longer kept"):
        await storage.incidents.undo(tenancy.id, into, standing.id, by="key:a", now=NOON)
    assert await storage.incident_work.forget(before=before, limit=10) == 1
    assert await listed(storage, tenancy) == [active, lately]
    assert await storage.incident_work.forget(before=before, limit=10) == 0


async def test_forget_a_few(storage: Storage, tenancy: Tenancy) -> None:
    """No more than asked for are deleted at once."""
    old = NOON - timedelta(days=20_000)
    for _ in range(3):
        incident_id = await open_incident(storage, tenancy.id, await add_errors(storage, tenancy.id, 1))
        await storage.incidents.resolve(tenancy.id, incident_id, by="key:a", now=old)
    before = old + timedelta(days=1)
    assert [await storage.incident_work.forget(before=before, limit=2) for _ in range(3)] == [2, 1, 0]


ANALYSIS = IncidentAnalysis(
    title="größe ✓",
    narrative=(Sentence(text="A.", references=()), Sentence(text="B ✓.", references=())),
    hypotheses=(),
    nodes=(),
    edges=(),
    analysed_at=LATER,
)


async def add_anomalies(storage: Storage, tenancy: Tenancy, anomalies: Sequence[Anomaly]) -> None:
    """Anomalies as a run finds them."""
    claim = await claimed(storage.detection_runs, tenancy)
    changes = AnomalyChanges(opened=anomalies)
    await storage.detection_runs.save(claim, NOTHING, changes, now=NOON, lease_s=LEASE_S)


def new_of(signals: list[Signal]) -> NewIncident:
    """An incident to be opened of these."""
    return NewIncident(title="trouble", signals=tuple(signals), edges=())


def growth_of(incident_id: int, signals: list[Signal]) -> Growth:
    """An incident to grow by these."""
    return Growth(incident_id=incident_id, signals=tuple(signals), edges=(), reopen=False)


def of(found: Sequence[tuple[int, int]], tenant_ids: set[int]) -> set[tuple[int, int]]:
    """Those of these tenants."""
    return {(tenant_id, incident_id) for tenant_id, incident_id in found if tenant_id in tenant_ids}


async def with_alert(storage: Storage, store: Store, tenancy: Tenancy, state: EpisodeState) -> int:
    """The id of a new incident of one alert in this state."""
    alert = write_alert(store.place, tenancy.id, msgspec.structs.replace(FIRING, state=state), target_key=str(uuid4()))
    signals = await storage.incident_work.waiting(tenancy.id, limit=EVERY)
    assert [signal.key for signal in signals] == [f"alert:{alert.id}"]
    return await open_incident(storage, tenancy.id, signals)


async def unanalysed(storage: Storage, tenancy: Tenancy) -> list[Unanalysed]:
    """The tenant's incidents to be analysed."""
    return [each for each in await storage.incident_work.unanalysed(limit=EVERY) if each.tenant_id == tenancy.id]


async def listed(storage: Storage, tenancy: Tenancy) -> list[int]:
    """Ids of the tenant's incidents, ascending."""
    return sorted(await timelines(storage, tenancy))


async def timelines(storage: Storage, tenancy: Tenancy) -> dict[int, list[str]]:
    """The keys of the signals of each of the tenant's incidents; each has as many as it counts."""
    kept = {}
    for incident in await storage.incidents.list(tenancy.id, IncidentFilter(), limit=EVERY, before_id=None):
        detail = await storage.incidents.get(tenancy.id, incident.id)
        assert detail.incident.signals == len(detail.timeline)
        kept[incident.id] = [signal.key for signal in detail.timeline]
    return kept
