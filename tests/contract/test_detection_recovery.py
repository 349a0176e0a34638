"""Runs of scheduled detection that did not go as usual: missed, cut off, too large, failed, taken over, killed."""

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec
import pytest

from core.domain.alerts import AlertFilter
from core.domain.definitions import MetricDefinition, retention_cutoff
from core.domain.detection_runs import RunState
from core.domain.errors import Conflict, Unavailable
from core.domain.points import Receipt
from core.domain.times import MINUTE_US, SECOND_US
from core.services import detection_chunks, detection_pass
from core.services.scheduled_detection import ScheduledDetection
from ports.driven.journal import JournalEntry, StoredReply
from tests.contract.test_evaluation import evaluate
from tests.support.detecting import STEP_US, WINDOW_US, Detecting, Died, Life, Slow
from tests.support.storages import Storage, Tenancy, new_tenancy, settle_all

LEASE_US = round(detection_chunks.LEASE_S) * SECOND_US
MOMENTS_MAX = 100
"""More than a run of the story below has."""


@pytest.fixture
async def detecting(tenancy: Tenancy) -> Detecting:
    """Return a new tenant's detection."""
    detecting = Detecting(tenancy)
    await detecting.set()
    return detecting


async def test_missed_runs_are_made_up(tenancy: Tenancy) -> None:
    """After days without a run the next looks back to the last one, past its usual window, and records what it missed
    as over."""
    detecting = Detecting(tenancy, minutes_ago=5 * 24 * 60)
    await detecting.set()
    await detecting.run()
    series_id = await tenancy.series("cpu", host="a")
    for spiking in (True, False):
        detecting.clock.advance(WINDOW_US)
        rows = detecting.rows(series_id, lambda part: 100.0 if 0.1 < part < 0.13 else 1.0)
        await tenancy.append(rows if spiking else [(series_id, ts_us, 1.0) for _, ts_us, _ in rows])
    done = await detecting.run()
    assert (done.series, done.points, done.opened, done.ended) == (1, 192, 1, 1)
    assert len(await detecting.events()) == 3


async def test_series_that_send_nothing_any_more(detecting: Detecting) -> None:
    """Their open anomalies end once nobody looks at them."""
    await detecting.leaking(host="a")
    await detecting.run()
    done = await detecting.next_run(4 * WINDOW_US / MINUTE_US)
    assert (done.series, done.ended, done.alarming) == (1, 1, 0), "looked at once more, to make up for missed runs"
    assert await detecting.risks() == {"a:memory": 0.0}


async def test_a_run_over_its_time_limit(detecting: Detecting, monkeypatch: pytest.MonkeyPatch) -> None:
    """It stops after a chunk and publishes what it found; the next begins with the series that it did not come to, and
    leaves anomalies of the others open."""
    monkeypatch.setattr("core.services.detection_chunks.CHUNK_SERIES", 2)
    await detecting.set(time_limit="1m")
    for host in "abc":
        await detecting.leaking(host=host)
    done = await detecting.run(Slow(detecting.clock))
    assert (done.state, done.series, done.alarming) == ("partial", 2, 2)
    done = await detecting.next_run()
    assert (done.state, done.series, done.opened, done.ended, done.alarming) == ("done", 1, 1, 0, 3)
    done = await detecting.next_run()
    assert (done.state, done.series, done.opened, done.ended, done.alarming) == ("done", 3, 0, 0, 3)


async def test_slow_chunks_become_smaller(detecting: Detecting, monkeypatch: pytest.MonkeyPatch) -> None:
    """After one that takes 40 seconds the next has half as many series, of which the time limit leaves one."""
    monkeypatch.setattr("core.services.detection_chunks.CHUNK_SERIES", 2)
    await detecting.set(time_limit="2m")
    for host in "abcd":
        await detecting.leaking(host=host)
    done = await detecting.run(Slow(detecting.clock))
    assert (done.state, done.series) == ("partial", 3)


@pytest.mark.parametrize(("points_max", "of_each"), [(200, 96), (96, 96), (50, 48), (40, 24)])
async def test_more_samples_than_can_be_looked_at_at_once(
    detecting: Detecting, monkeypatch: pytest.MonkeyPatch, points_max: int, of_each: int
) -> None:
    """Chunks become smaller, and of a series that alone is too much the newest part is looked at."""
    limits = msgspec.structs.replace(detection_pass.LIMITS, query_points_max=points_max)
    monkeypatch.setattr("core.services.detection_pass.LIMITS", limits)
    for host in "abcde":
        await detecting.leaking(host=host)
    await settle_all(detecting.storage)
    done = await detecting.run()
    assert (done.state, done.series, done.points) == ("done", 5, 5 * of_each)


async def test_what_retention_keeps_no_longer(detecting: Detecting) -> None:
    """Samples that may be deleted at any time are not looked at."""
    definition = MetricDefinition(name="memory", retention_days=1)
    await detecting.storage.definitions.put(detecting.tenancy.id, definition)
    await detecting.leaking(host="a")
    done = await detecting.run()
    kept_us = detecting.clock.now_us() - retention_cutoff(detecting.clock.now_us(), 1)
    assert done.points == pytest.approx(kept_us / STEP_US, abs=1)
    assert done.points < 96


@pytest.mark.parametrize("moment", [3, 7])
async def test_a_run_that_fails(detecting: Detecting, moment: int) -> None:
    """It is recorded with the reason, and the error is raised; the next run begins from the first series."""
    await detecting.leaking(host="a")
    with pytest.raises(ValueError, match="broken"):
        await detecting.run(Life(moment, lambda: ValueError("broken")))
    [run] = await detecting.storage.detection.runs(detecting.tenancy.id, limit=9, before_id=None)
    assert (run.state, run.error) == (RunState.FAILED, "ValueError: broken")
    assert detecting.ledger.runs == ["failed"]
    assert (await detecting.next_run()).series == 1
    assert await detecting.risks() == {"a:memory": 1.0}


async def test_a_run_that_another_process_took_over(detecting: Detecting) -> None:
    """It ends quietly, and says that it came to no end."""
    done = await detecting.run(Life(4, lambda: Conflict("lost")))
    assert (done.tenant, done.state) == (detecting.tenancy.tenant.name, None)
    assert detecting.ledger.runs == []


class Asleep:
    """A journal whose user sleeps over the end of its claim, and a purge, before its first entry is kept."""

    def __init__(self, detecting: Detecting) -> None:
        self._detecting = detecting
        self._slept = False

    async def append(self, entry: JournalEntry) -> Receipt | StoredReply:
        """See `Journal.append`."""
        storage, tenant_id = self._detecting.storage, self._detecting.tenancy.id
        if not self._slept:
            self._slept = True
            self._detecting.clock.advance(LEASE_US + 1)
            await settle_all(storage)
            asked = await storage.synthetic.request(tenant_id, by="key:1", now=self._detecting.now)
            assert await storage.synthetic_purger.purge(asked.id, now=self._detecting.now)
        receipt = await storage.journal.append(entry)
        self._detecting.clock.advance(1)
        return receipt

    async def stored_reply(self, tenant_id: int, key: str) -> StoredReply | None:
        """See `Journal.stored_reply`."""
        return await self._detecting.storage.journal.stored_reply(tenant_id, key)


async def test_what_was_published_too_late_is_taken_back(detecting: Detecting) -> None:
    """Whoever published after a purge, by a claim that it had slept over, ends what nobody else knows of."""
    await detecting.leaking(host="a", synthetic="true")
    await detecting.run()
    detecting.clock.advance(15 * MINUTE_US)
    storage = detecting.storage
    sleeper = ScheduledDetection(
        storage.detection_runs, storage.reader, storage.catalog, Asleep(detecting), detecting.clock, detecting.ledger
    )
    done = await sleeper.run_due(tenant_id=detecting.tenancy.id)
    assert done.state is None
    assert await detecting.risks() == {"a:memory": 0.0}


async def test_a_resumed_run_goes_on_where_it_stopped(detecting: Detecting, monkeypatch: pytest.MonkeyPatch) -> None:
    """Series that were looked at before the crash are not looked at again; nobody resumes it while it is claimed."""
    monkeypatch.setattr("core.services.detection_chunks.CHUNK_SERIES", 1)
    for host in "abc":
        await detecting.leaking(host=host)
    with pytest.raises(Died):
        await detecting.run(Life(12, Died))  # after the save of the first chunk, which the tenth moment is
    assert (await detecting.run()).tenant is None
    detecting.clock.advance(LEASE_US)
    done = await detecting.run()
    assert (done.state, done.resumed, done.series, done.points) == ("done", True, 3, 96 + 95 + 95), (
        "a sample has left the window"
    )
    assert done.opened == 2
    assert len(await detecting.anomalies()) == 3


async def test_a_process_that_was_cut_off_goes_on(detecting: Detecting, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has its claim back as soon as it has the database back, while others wait; but not once one of them has it."""
    monkeypatch.setattr("core.services.detection_chunks.CHUNK_SERIES", 1)
    for host in "abc":
        await detecting.leaking(host=host)
    tenant_id = detecting.tenancy.id
    cut_off = detecting.service(Life(12, lambda: Unavailable("gone")))
    assert (await cut_off.run_due(tenant_id=tenant_id)).away == "gone"
    assert (await detecting.run()).tenant is None
    done = await cut_off.run_due(tenant_id=tenant_id)
    assert (done.state, done.resumed, done.series, done.opened) == ("done", True, 3, 2)
    detecting.clock.advance(15 * MINUTE_US)
    cut_off = detecting.service(Life(12, lambda: Unavailable("gone")))
    assert (await cut_off.run_due(tenant_id=tenant_id)).away == "gone"
    detecting.clock.advance(LEASE_US)
    with pytest.raises(Died):
        await detecting.run(Life(6, Died))
    assert (await cut_off.run_due(tenant_id=tenant_id)).tenant is None


async def test_a_tenant_that_switched_detection_off(detecting: Detecting) -> None:
    """A run that was begun before is put away without looking."""
    await detecting.leaking(host="a")
    with pytest.raises(Died):
        await detecting.run(Life(4, Died))
    await detecting.set(enabled=False)
    detecting.clock.advance(LEASE_US)
    done = await detecting.run()
    assert (done.state, done.series) == ("partial", 0)


async def test_a_risk_that_a_dead_process_published_is_known(detecting: Detecting) -> None:
    """Wherever in publishing it died, no series of risks stays above 0 once all is over, though what the series of its
    fingerprint have in common has changed since."""
    for moment in range(MOMENTS_MAX):
        host = f"host-{moment}"
        await detecting.leaking(host=host, disk="x")
        life = Life(moment, Died)
        detecting.clock.advance(15 * MINUTE_US)
        with suppress(Died):
            await detecting.run(life)
        await detecting.leaking(host=host, disk="y")
        detecting.clock.advance(LEASE_US)
        await detecting.run()
        if not life.is_over:
            break
    assert moment > 20
    await detecting.set(exclude=("memory",))
    await detecting.next_run(15)
    newest = [samples[-1][1] for _, samples in await detecting.risk_samples()]
    assert newest == [0.0] * (moment + 1)


@pytest.mark.parametrize("error", [Died, lambda: Unavailable("gone")])
async def test_a_crash_at_any_moment(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, error: Callable[[], BaseException]
) -> None:
    """Before or after any call of a port: once the run is resumed, by another process or, where only the database was
    away, by the same, anomalies, events, risks and alerts are those of a run without a crash, one alert for each risk
    and each resolved."""
    monkeypatch.setattr("core.services.detection_chunks.CHUNK_SERIES", 2)
    usual = await one_story(storage, Life())
    stories = []
    for moment in range(MOMENTS_MAX):
        life = Life(moment, error)
        stories.append(await one_story(storage, life))
        if not life.is_over:
            break
    assert len(stories) > 30
    await evaluate(storage)
    expected = await told_of(usual)
    assert expected["alerts"] == {("a:memory", "firing"): 1, ("b:memory", "firing"): 1, ("d:memory", "resolved"): 1}
    for moment, story in enumerate(stories):
        assert await told_of(story) == expected, moment


async def one_story(storage: Storage, life: Life) -> Detecting:
    """A tenant with one series that alerted and is over, two that begin to, and one that nothing is wrong with."""
    detecting = Detecting(await new_tenancy(storage), minutes_ago=18)
    await detecting.set()
    await detecting.leaking(host="d")
    await detecting.run()
    await detecting.set(matchers=("host!=d",))
    for host in "ab":
        await detecting.leaking(host=host)
    quiet = await detecting.tenancy.series("memory", host="c")
    await detecting.tenancy.append(detecting.rows(quiet, lambda _: 10.0))
    detecting.clock.advance(15 * MINUTE_US)
    service = detecting.service(life)
    with suppress(Died):
        while (await service.run_due(tenant_id=detecting.tenancy.id)).away is not None:
            pass
    detecting.clock.advance(LEASE_US)
    while (await detecting.run()).tenant is not None:
        pass
    return detecting


async def told_of(story: Detecting) -> dict[str, Any]:
    """All that is known of a tenant after its story, without times and ids."""
    alerts = await story.storage.alerts.list(story.tenancy.id, AlertFilter(), limit=100, before_id=None)
    runs = await story.storage.detection.runs(story.tenancy.id, limit=9, before_id=None)
    return {
        "anomalies": Counter(
            (one.fingerprint, one.finding.detector, one.ended_at is None) for one in await story.anomalies()
        ),
        "events": Counter((one.fingerprint, one.severity, one.value) for one in await story.events()),
        "risks": await story.risks(),
        "published": await story.storage.detection_runs.published(story.tenancy.id),
        "alerts": Counter((one.labels["fingerprint"], one.state.value) for one in alerts),
        "runs": [(run.state, run.series, run.points, run.findings) for run in runs],
    }
