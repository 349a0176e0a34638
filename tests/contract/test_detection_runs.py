"""The detection runs port: who does which run, and when.

Stores are shared with other tests, whose tenants may be due as well: most looks here are for one tenant's runs.
"""

import asyncio
from datetime import timedelta
from uuid import uuid4

import msgspec
import pytest

from core.detection.plan import DetectionSettings
from core.domain.detection_runs import DetectionRun, RunState
from core.domain.errors import Conflict
from core.domain.events import EventFilter
from ports.driven.detection_store import AnomalyChanges, PublishedRisk, RunClaim
from tests.support.detection_runs import LEASE_S, NOON, NOTHING, anomaly, claimed, event_of, later, look, progress
from tests.support.storages import Storage, Tenancy

ALL = 1_000
CLAIMANTS = 8


async def shown(storage: Storage, tenancy: Tenancy) -> list[DetectionRun]:
    """The tenant's runs, newest first."""
    return list(await storage.detection.runs(tenancy.id, limit=ALL, before_id=None))


async def end(storage: Storage, claim: RunClaim, state: RunState = RunState.DONE, *, minutes: float = 1) -> None:
    """Ends a run some minutes after it was due."""
    await storage.detection_runs.finish(claim, state, now=claim.run.due_at + timedelta(minutes=minutes))


async def test_a_first_run_is_due_at_once(storage: Storage, tenancy: Tenancy) -> None:
    """A tenant that never had a run gets the one of the last whole multiple of its interval, with its settings."""
    claim = await claimed(storage.detection_runs, tenancy, later(minutes=14, microseconds=59_999_999))
    assert (claim.tenant_id, claim.tenant, claim.settings) == (tenancy.id, tenancy.tenant.name, DetectionSettings())
    run = claim.run
    assert (run.due_at, run.covers_from, run.state, run.attempts) == (NOON, None, RunState.RUNNING, 1)
    assert run.started_at == later(minutes=14, microseconds=59_999_999)
    assert (run.after_series_id, run.series, run.points, run.findings) == (0, 0, 0, 0)
    assert (run.finished_at, run.error) == (None, None)
    assert await shown(storage, tenancy) == [run]


async def test_one_run_for_each_instant(storage: Storage, tenancy: Tenancy) -> None:
    """After a run the next is due with the next instant, and covers the time since the last."""
    await end(storage, await claimed(storage.detection_runs, tenancy))
    assert await look(storage.detection_runs, tenancy, later(minutes=15, microseconds=-1)) is None
    claim = await claimed(storage.detection_runs, tenancy, later(minutes=15))
    assert (claim.run.due_at, claim.run.covers_from) == (later(minutes=15), NOON)
    await end(storage, claim)
    assert await look(storage.detection_runs, tenancy, later(minutes=15)) is None
    assert await look(storage.detection_runs, tenancy, NOON) is None, "a clock that is late repeats nothing"


async def test_missed_instants_are_one_run(storage: Storage, tenancy: Tenancy) -> None:
    """However many instants went by, one run makes up for all of them; what failed covers nothing."""
    await end(storage, await claimed(storage.detection_runs, tenancy))
    await end(storage, await claimed(storage.detection_runs, tenancy, later(minutes=15)), RunState.FAILED)
    claim = await claimed(storage.detection_runs, tenancy, later(hours=5, minutes=3))
    assert (claim.run.due_at, claim.run.covers_from) == (later(hours=5), NOON)
    await end(storage, claim)
    assert await look(storage.detection_runs, tenancy, later(hours=5, minutes=14)) is None


async def test_overdue(storage: Storage, tenancy: Tenancy) -> None:
    """Who helps out waits until the first instant without a run is as long ago as asked, even beyond the interval."""
    await end(storage, await claimed(storage.detection_runs, tenancy))
    assert await look(storage.detection_runs, tenancy, later(seconds=989), overdue_s=90) is None
    claim = await look(storage.detection_runs, tenancy, later(seconds=990), overdue_s=90)
    assert claim is not None
    assert claim.run.due_at == later(minutes=15)
    await end(storage, claim)
    assert await look(storage.detection_runs, tenancy, later(minutes=49), overdue_s=1_200) is None
    claim = await look(storage.detection_runs, tenancy, later(minutes=50), overdue_s=1_200)
    assert claim is not None
    assert claim.run.due_at == later(minutes=45)


async def test_a_tenants_own_interval(storage: Storage, tenancy: Tenancy) -> None:
    """Instants are multiples of the tenant's interval since the Unix epoch, also after it was changed."""
    await storage.detection.replace_settings(tenancy.id, DetectionSettings(interval="7m"))
    claim = await claimed(storage.detection_runs, tenancy)
    assert int(claim.run.due_at.timestamp()) % 420 == 0
    assert later(minutes=-7) < claim.run.due_at <= NOON
    assert claim.settings.interval == "7m"
    await end(storage, claim)
    await storage.detection.replace_settings(tenancy.id, DetectionSettings(interval="1m"))
    assert (await claimed(storage.detection_runs, tenancy, later(minutes=5))).run.due_at == later(minutes=5)


async def test_disabled(storage: Storage, tenancy: Tenancy) -> None:
    """A tenant that switched detection off gets no new run, and a missed one once it is on again."""
    await storage.detection.replace_settings(tenancy.id, DetectionSettings(enabled=False))
    assert await look(storage.detection_runs, tenancy, NOON) is None
    await storage.detection.replace_settings(tenancy.id, DetectionSettings())
    assert (await claimed(storage.detection_runs, tenancy)).run.due_at == NOON


async def test_one_claimant_wins(storage: Storage, other_storage: Storage, tenancy: Tenancy) -> None:
    """Of several that look at once exactly one gets the run; nobody else does while its claim lasts."""
    stores = (storage, other_storage) * (CLAIMANTS // 2)
    claims = await asyncio.gather(*(look(one.detection_runs, tenancy, NOON) for one in stores))
    [claim] = [claim for claim in claims if claim is not None]
    assert await shown(storage, tenancy) == [claim.run]
    assert await look(other_storage.detection_runs, tenancy, later(seconds=LEASE_S, microseconds=-1)) is None


async def test_a_lost_claim_is_taken_over_once(storage: Storage, other_storage: Storage, tenancy: Tenancy) -> None:
    """A run whose claim ran out goes to exactly one other, with its progress; the instants since then wait."""
    first = await claimed(storage.detection_runs, tenancy)
    await storage.detection_runs.save(first, progress(70, series=7), AnomalyChanges(), now=NOON, lease_s=LEASE_S)
    stores = (storage, other_storage) * (CLAIMANTS // 2)
    claims = await asyncio.gather(*(look(one.detection_runs, tenancy, later(hours=1)) for one in stores))
    [second] = [claim for claim in claims if claim is not None]
    assert second.token != first.token
    assert second.run == msgspec.structs.replace(
        first.run, attempts=2, after_series_id=70, series=7, points=10, findings=1
    )
    assert await shown(storage, tenancy) == [second.run]


async def test_a_claim_of_ones_own(storage: Storage, other_storage: Storage, tenancy: Tenancy) -> None:
    """Who has its token takes a run up again while it is claimed, once, with its progress; a token is of no use for
    a run that somebody else has, or that is over."""
    runs = storage.detection_runs
    first = await claimed(runs, tenancy)
    await runs.save(first, progress(70, series=7), AnomalyChanges(), now=NOON, lease_s=LEASE_S)
    assert await look(runs, tenancy, NOON, own=uuid4()) is None
    stores = (storage, other_storage) * (CLAIMANTS // 2)
    claims = await asyncio.gather(*(look(one.detection_runs, tenancy, NOON, own=first.token) for one in stores))
    [second] = [claim for claim in claims if claim is not None]
    assert second.token != first.token
    assert (second.run.id, second.run.attempts, second.run.after_series_id) == (first.run.id, 2, 70)
    with pytest.raises(Conflict):
        await runs.save(first, progress(71), AnomalyChanges(), now=NOON, lease_s=LEASE_S)
    await end(storage, second)
    assert await look(runs, tenancy, later(minutes=1), own=second.token) is None


async def test_saving_keeps_the_claim(storage: Storage, tenancy: Tenancy) -> None:
    """Every chunk that is saved lengthens the claim from then on."""
    claim = await claimed(storage.detection_runs, tenancy)
    for chunk in range(1, 4):
        now = later(seconds=50 * chunk)
        await storage.detection_runs.save(claim, progress(chunk), AnomalyChanges(), now=now, lease_s=LEASE_S)
        assert await look(storage.detection_runs, tenancy, now + timedelta(seconds=LEASE_S - 1)) is None
    await storage.detection_runs.save(claim, progress(4), AnomalyChanges(), now=later(days=1), lease_s=LEASE_S)
    assert await look(storage.detection_runs, tenancy, later(days=1)) is None, "it ran out, and nobody took it over"


async def test_whoever_lost_its_claim_writes_nothing(
    storage: Storage, other_storage: Storage, tenancy: Tenancy
) -> None:
    """A process that comes back late is refused, whole, whatever it wants to write."""
    late = await claimed(storage.detection_runs, tenancy)
    current = await claimed(other_storage.detection_runs, tenancy, later(seconds=LEASE_S))
    found = anomaly()
    changes = AnomalyChanges(opened=[found], events=[event_of(found)])
    risk = PublishedRisk(fingerprint="a:cpu", labels={}, risk=0.9)

    async def refused() -> None:
        with pytest.raises(Conflict):
            await storage.detection_runs.save(late, progress(9), changes, now=later(minutes=2), lease_s=LEASE_S)
        with pytest.raises(Conflict):
            await storage.detection_runs.save_published(late, [risk])
        with pytest.raises(Conflict):
            await storage.detection_runs.finish(late, RunState.DONE, now=later(minutes=2))
        assert not await storage.detection_runs.latest_anomalies(tenancy.id, [1])
        assert not await storage.events.list(tenancy.id, EventFilter(), limit=ALL, before=None)
        assert not await storage.detection_runs.published(tenancy.id)

    await refused()
    assert await shown(storage, tenancy) == [current.run]
    await end(storage, current)
    await refused()
    with pytest.raises(Conflict):
        await storage.detection_runs.save(current, NOTHING, changes, now=later(minutes=2), lease_s=LEASE_S)
    assert not await storage.detection_runs.latest_anomalies(tenancy.id, [1])


@pytest.mark.usefixtures("two_transactions")
async def test_saving_against_taking_over(storage: Storage, other_storage: Storage, tenancy: Tenancy) -> None:
    """Where a chunk is saved just as its claim is taken over, it is kept whole by the one or refused by the other."""
    for number in range(10):
        claim = await claimed(storage.detection_runs, tenancy, later(days=number))
        now = later(days=number, seconds=LEASE_S)
        changes = AnomalyChanges(opened=[anomaly(series_id=number)])
        saved, taken = await asyncio.gather(
            storage.detection_runs.save(claim, progress(number + 1), changes, now=now, lease_s=LEASE_S),
            look(other_storage.detection_runs, tenancy, now),
            return_exceptions=True,
        )
        assert isinstance(taken, RunClaim | None)
        assert isinstance(saved, Conflict | None)
        assert (saved is None) is (taken is None)
        assert len(await storage.detection_runs.latest_anomalies(tenancy.id, [number])) == (saved is None)
        [run, *_] = await shown(storage, tenancy)
        assert run.after_series_id == (number + 1 if saved is None else 0)
        await end(storage, taken or claim)


@pytest.mark.parametrize(
    ("state", "error"), [(RunState.DONE, None), (RunState.FAILED, "größer ✓"), (RunState.PARTIAL, None)]
)
async def test_finished(storage: Storage, tenancy: Tenancy, state: RunState, error: str | None) -> None:
    """A run that ended keeps its progress and says how and when it ended."""
    claim = await claimed(storage.detection_runs, tenancy)
    await storage.detection_runs.save(claim, progress(42, series=3), AnomalyChanges(), now=NOON, lease_s=LEASE_S)
    await storage.detection_runs.finish(claim, state, now=later(minutes=1), error=error)
    [run] = await shown(storage, tenancy)
    assert (run.state, run.finished_at, run.error) == (state, later(minutes=1), error)
    assert (run.after_series_id, run.series, run.points, run.findings) == (42, 3, 10, 1)


async def test_a_partial_run_is_continued(storage: Storage, tenancy: Tenancy) -> None:
    """The run after a partial one begins where that one stopped, counting anew; the one after that at the start."""
    first = await claimed(storage.detection_runs, tenancy)
    await storage.detection_runs.save(first, progress(500), AnomalyChanges(), now=NOON, lease_s=LEASE_S)
    await end(storage, first, RunState.PARTIAL)
    rest = await claimed(storage.detection_runs, tenancy, later(minutes=15))
    assert (rest.run.after_series_id, rest.run.series, rest.run.covers_from) == (500, 0, NOON)
    await end(storage, rest)
    whole = await claimed(storage.detection_runs, tenancy, later(minutes=30))
    assert (whole.run.after_series_id, whole.run.covers_from) == (0, later(minutes=15))


async def test_a_requested_run(storage: Storage, other_storage: Storage, tenancy: Tenancy) -> None:
    """Whoever asks for a run gets it with the next look, also where detection is off, and one at a time."""
    await end(storage, await claimed(storage.detection_runs, tenancy))
    await storage.detection.replace_settings(tenancy.id, DetectionSettings(enabled=False))
    asked = later(minutes=7)
    stores = (storage, other_storage) * (CLAIMANTS // 2)
    answers = await asyncio.gather(
        *(one.detection.request_run(tenancy.id, now=asked) for one in stores), return_exceptions=True
    )
    [run] = [answer for answer in answers if not isinstance(answer, Conflict)]
    assert isinstance(run, DetectionRun)
    assert (run.due_at, run.covers_from, run.state, run.attempts) == (asked, NOON, RunState.RUNNING, 0)
    claim = await claimed(storage.detection_runs, tenancy, asked)
    assert claim.run == msgspec.structs.replace(run, attempts=1)
    with pytest.raises(Conflict):
        await storage.detection.request_run(tenancy.id, now=later(minutes=8))
    await end(storage, claim)


async def test_a_requested_run_moves_no_schedule(storage: Storage, tenancy: Tenancy) -> None:
    """The next due instant stays where it was."""
    await end(storage, await claimed(storage.detection_runs, tenancy))
    await storage.detection.request_run(tenancy.id, now=later(minutes=7))
    await end(storage, await claimed(storage.detection_runs, tenancy, later(minutes=7)))
    assert await look(storage.detection_runs, tenancy, later(minutes=15, microseconds=-1)) is None
    claim = await claimed(storage.detection_runs, tenancy, later(minutes=15))
    assert (claim.run.due_at, claim.run.covers_from) == (later(minutes=15), later(minutes=7))


async def test_tenants_take_turns(storage: Storage, tenancy: Tenancy, neighbour: Tenancy) -> None:
    """One tenant's run keeps no other waiting; without a tenant named, the claim that ran out first is taken first."""
    mine = await claimed(storage.detection_runs, tenancy, later(days=-9_000))
    theirs = await claimed(storage.detection_runs, neighbour, later(days=-8_999))
    runs = storage.detection_runs
    taken = [await runs.claim(now=NOON, overdue_s=0.0, lease_s=LEASE_S) for _ in range(2)]
    assert [(claim.tenant_id, claim.run.id) for claim in taken if claim is not None] == [
        (tenancy.id, mine.run.id),
        (neighbour.id, theirs.run.id),
    ]


@pytest.mark.usefixtures("neighbour")
async def test_new_tenants_first(storage: Storage, tenancy: Tenancy) -> None:
    """Without a tenant named, one that never had a run comes before one whose last run was ages ago."""
    await end(storage, await claimed(storage.detection_runs, tenancy, later(days=-9_000)))
    while (claim := await storage.detection_runs.claim(now=NOON, overdue_s=0.0, lease_s=LEASE_S)) is not None:
        await end(storage, claim)
        if claim.run.attempts == 1:  # not one that another test left
            break
    assert claim is not None
    assert claim.run.covers_from is None, "the neighbour, or a tenant of another test"
    assert len(await shown(storage, tenancy)) == 1


async def test_forget(storage: Storage, tenancy: Tenancy) -> None:
    """Old runs and ended anomalies go, so many at a time; what is open or under way stays."""
    long_ago = later(days=-10_000)
    early = [later(days=-10_000, minutes=15 * number) for number in range(3)]
    kept, gone = anomaly(1, first_seen_at=long_ago), anomaly(2, ended_at=long_ago)
    for now in early[:2]:
        claim = await claimed(storage.detection_runs, tenancy, now)
        changes = AnomalyChanges(opened=[kept, gone])
        await storage.detection_runs.save(claim, NOTHING, changes, now=now, lease_s=LEASE_S)
        await end(storage, claim)
    under_way = await claimed(storage.detection_runs, tenancy, early[2])
    before = later(days=-9_500)
    forgotten = [await storage.detection_runs.forget(before=before, limit=2) for _ in range(3)]
    assert forgotten == [2, 1, 0]
    assert [run.id for run in await shown(storage, tenancy)] == [under_way.run.id]
    assert list(await storage.detection_runs.latest_anomalies(tenancy.id, [1, 2])) == [kept]
    assert await storage.detection_runs.forget(before=early[0], limit=ALL) == 0
    await end(storage, under_way)
