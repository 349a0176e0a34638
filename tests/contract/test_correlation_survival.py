"""The correlator when things go wrong: too much at once, a fault, a store that is away, an end at any moment."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from core.detection import incident_analysis
from core.domain.errors import Unavailable
from core.domain.incidents import SIGNALS_MAX, IncidentAnalysis, IncidentDetail, ReferenceKind, Signal
from core.domain.times import MINUTE_US, SECOND_US
from core.services import correlation_joins, incident_analyses, incident_series
from core.services.correlation import AWAY_S
from tests.support.correlating import Awaits, Correlator, Fate, add, errors, incident_of, incidents_of, seen, waiting_of
from tests.support.incident_rows import NOON, NOON_US, error_event
from tests.support.storages import Storage, Store, Tenancy, memory_store, new_tenancy

MINUTE = timedelta(minutes=1)
AWAITS_TRIED = 40
"""Each takes a tenth of a second; together with those of other runs and engines they are everywhere."""


@pytest.fixture
def correlator(storage: Storage) -> Correlator:
    """The service, five minutes after noon, when what tests tell of has happened."""
    return Correlator(storage, NOON_US + 5 * MINUTE_US)


async def test_a_storm_is_bounded(correlator: Correlator, tenancy: Tenancy) -> None:
    """More errors than an incident keeps become one incident, within few rounds, all of them counted."""
    count = SIGNALS_MAX + 500
    events = [error_event(number / 3_000, host=f"host-{number % 3}", service="shop") for number in range(count)]
    await add(tenancy, *events)
    await correlator.round()
    assert await waiting_of(tenancy) == []
    await correlator.settle(tenancy)
    detail = await incident_of(tenancy)
    assert (detail.incident.signals, len(detail.timeline)) == (count, SIGNALS_MAX)
    assert detail.incident.narrative is not None
    assert detail.incident.narrative.endswith("Of 5,500 signals the first 5,000 are told of.")
    assert len(detail.incident.narrative) < 5_000


async def test_more_than_is_looked_at_at_once(
    correlator: Correlator, tenancy: Tenancy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What belongs together becomes one incident though the look ends within it, and nothing that waits blocks it."""
    monkeypatch.setattr(correlation_joins, "WAITING_MAX", 5)
    seen_at = NOON - 60 * MINUTE
    lone = [error_event(number / 60, host=f"lone-{number}") for number in range(8)]
    group = [error_event(0.2 + number / 60) for number in range(7)]
    keys = await add(tenancy, *seen(seen_at, *lone, *group))
    pauses = [(await correlator.round())[1] for _ in range(8)]
    assert pauses[0] == 0.0
    assert pauses[-1] > 0.0
    await correlator.settle(tenancy)
    assert {signal.key for signal in (await incident_of(tenancy)).timeline} == set(keys[8:])
    assert await waiting_of(tenancy) == []


async def test_metrics_that_are_too_much_are_left_out(
    correlator: Correlator, tenancy: Tenancy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The incident is explained without them, and the explanation says so."""
    for limit, value in (("SERIES_MAX", 0), ("POINTS_MAX", 100), ("SERIES_LOOKED_AT_MAX", 0)):
        with monkeypatch.context() as patch:
            patch.setattr(incident_series, limit, value)
            other = await new_tenancy(tenancy.storage)
            series_id = await other.series("error", host="host-a")
            await other.append([(series_id, NOON_US + second * SECOND_US, 1.0) for second in range(-300, 0)])
            await add(other, *errors(3))
            await correlator.settle(other)
        analysis = (await incident_of(other)).analysis
        assert analysis is not None
        assert analysis.narrative[-1].text.startswith("Metrics were not read: ")
        assert [one.kind for one in analysis.narrative[-1].references] == [ReferenceKind.SAMPLES]


async def test_one_that_cannot_be_analysed_does_not_stop_others(
    tenancy: Tenancy, correlator: Correlator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fault ends the process, whose successors analyse the others, and all once it is mended."""
    hosts = ("a", "faulty", "b")
    for host in hosts:
        await add(tenancy, *errors(3, host=host))

    def analyse(signals: Sequence[Signal], *others: Any) -> IncidentAnalysis:
        if signals[0].host == "faulty":
            raise ZeroDivisionError
        return incident_analysis.analyse(signals, *others)

    with monkeypatch.context() as patch:
        patch.setattr(incident_analyses, "analyse", analyse)
        deaths = 0
        for _ in range(30):
            correlator.restart()
            try:
                for _ in range(3):
                    await correlator.round()
            except ZeroDivisionError:
                deaths += 1
    explained = {one.incident.hosts[0] for one in await incidents_of(tenancy) if one.analysis is not None}
    assert explained == {"a", "b"}
    assert deaths > 1
    correlator.restart()
    await correlator.settle(tenancy)
    assert all(one.analysis is not None for one in await incidents_of(tenancy))


async def test_away(correlator: Correlator, tenancy: Tenancy) -> None:
    """Where the store is away a round says so, and nothing is lost."""
    await add(tenancy, *errors(3))
    correlator.restart(Fate(1, error=Unavailable("the database is starting")))
    done, pause_s = await correlator.round()
    assert (done.away, pause_s) == ("the database is starting", AWAY_S)
    await correlator.settle(tenancy)
    assert (await incident_of(tenancy)).incident.signals == 3


async def test_a_process_may_end_before_and_after_any_call() -> None:
    """Of a port, for good or because the store was away: what comes of it is what comes of a process that lives on."""
    undisturbed = Fate()
    expected = _told(await _alone(undisturbed))
    for at in range(1, undisturbed.calls + 1):
        for after in (False, True):
            for error in (asyncio.CancelledError(), Unavailable("a moment")):
                fate = Fate(at, after=after, error=error)
                assert _told(await _alone(fate)) == expected, (at, after, error)
                assert fate.met


async def test_a_process_may_end_within_any_call(store: Store, storage: Storage) -> None:
    """Wherever it waits for the database, in the middle of a transaction, too; tried at some places of many."""
    undisturbed = Awaits()
    expected = _told(await _story(storage, Fate(), undisturbed))
    if store.engine == "memory":
        assert undisturbed.count == 0  # it waits for nothing
        return
    ended = 0
    for at in range(1, undisturbed.count + 1, max(1, undisturbed.count // AWAITS_TRIED)):
        awaits = Awaits(at)
        assert _told(await _story(storage, Fate(), awaits)) == expected, at
        ended += awaits.count >= at
    assert ended >= AWAITS_TRIED // 2  # the first story waits for connections, too, and later ones less often


async def _alone(fate: Fate) -> Sequence[IncidentDetail]:
    """The story in tables of its own: they are gone through whole, and a hundred stories would take very long."""
    async with memory_store().open() as storage:
        return await _story(storage, fate, Awaits())


async def _story(storage: Storage, fate: Fate, awaits: Awaits) -> Sequence[IncidentDetail]:
    """Trouble that grows, is over and comes back; where the process ends another one goes on."""
    tenancy = await new_tenancy(storage)
    correlator = Correlator(storage, NOON_US)
    correlator.restart(fate)
    for count, minute, wait in ((3, 0, 1), (3, 4, 4), (0, 65, 60), (3, 80, 16)):
        await add(tenancy, *errors(count, minute))
        left = wait * MINUTE
        while True:
            try:
                await awaits.over(correlator.settle(tenancy, left))
                break
            except asyncio.CancelledError:
                left = timedelta()
                correlator.restart()
    assert await waiting_of(tenancy) == []
    return await incidents_of(tenancy)


def _told(incidents: Sequence[IncidentDetail]) -> list[tuple[object, ...]]:
    """What does not depend on ids and on the moment of writing."""
    return [
        (
            one.incident.state,
            [(signal.at_us, signal.host) for signal in one.timeline],
            one.incident.narrative,
            len(one.links),
            [change.kind for change in one.history],
        )
        for one in incidents
    ]
