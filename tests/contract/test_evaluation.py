"""The evaluation port, under the service that uses it: leadership, exactly once, what survives a crash."""

from collections.abc import Sequence
from datetime import UTC, datetime

import psycopg
import pytest

from adapters.runtime.clock import SystemClock
from core.domain.actions import HttpAction
from core.domain.alerts import Alert, AlertFilter, EpisodeState, Resolution
from core.domain.definitions import Aggregation
from core.domain.errors import Unavailable
from core.domain.remediation import RemediationPolicy, Step
from core.domain.rules import AlertRule, NoData, RuleMode, Severity
from core.domain.times import HOUR_US, SECOND_US
from core.services.evaluation import EvaluationService
from ports.driven.evaluation_store import Effects, Term
from ports.driven.remediation_store import Reservation
from tests.support.storages import Row, Storage, Store, Tenancy, settle_all

NOW_US = 0
"""Half a minute before a test began: nobody is told of what is older than ten minutes."""
NOTHING = Effects(states={}, episodes=())


class Deaf:
    """Telemetry that nobody looks at."""

    def evaluated(self, *, points: int, took_s: float, fired: int, resolved: int) -> None:
        """One transaction."""


def evaluation(storage: Storage, term: Term) -> EvaluationService:
    """A new process' evaluation."""
    return EvaluationService(term, storage.reader, SystemClock(), Deaf(), poll_s=0.1, fresh_s=600)


async def evaluate(storage: Storage) -> int:
    """Leads for as long as anything waits, as a process does that starts and is stopped; returns what was announced."""
    fired = 0
    async with storage.evaluation.lead() as term:
        assert term is not None
        service = evaluation(storage, term)
        while True:
            done, _ = await service.round()
            fired += done.fired
            if not done.points:
                return fired


async def alerts_of(tenancy: Tenancy) -> Sequence[Alert]:
    """The tenant's, oldest first."""
    found = await tenancy.storage.alerts.list(tenancy.id, AlertFilter(), limit=100, before_id=None)
    return list(reversed(found))


@pytest.fixture(autouse=True)
def _just_now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "NOW_US", SystemClock().now_us() - 30 * SECOND_US)


def at(series_id: int, *values: float, start_us: int | None = None) -> list[Row]:
    """Samples a second apart."""
    first_us = NOW_US if start_us is None else start_us
    return [(series_id, first_us + n * SECOND_US, value) for n, value in enumerate(values)]


RULE = AlertRule(name="high", metric="cpu", warning=80.0, critical=90.0, annotations={"what": "{{ value }}"})


async def test_fires_once_and_resolves(tenancy: Tenancy, neighbour: Tenancy) -> None:
    """A value past the threshold is one episode with one event; the good one ends it; others' samples do not matter."""
    storage = tenancy.storage
    await storage.rules.create(tenancy.id, RULE)
    mine, theirs = await tenancy.series(host="a"), await neighbour.series(host="a")
    await neighbour.append(at(theirs, 99.0))
    await tenancy.append(at(mine, 10.0, 85.0))
    assert await evaluate(storage) == 1
    [alert] = await alerts_of(tenancy)
    assert (alert.state, alert.severity, alert.value, alert.threshold) == (
        EpisodeState.FIRING,
        Severity.WARNING,
        85.0,
        80.0,
    )
    assert (alert.labels, alert.annotations, alert.announced) == ({"host": "a"}, {"what": "85.0"}, True)
    assert await alerts_of(neighbour) == []
    await tenancy.append(at(mine, 95.0, 20.0, start_us=NOW_US + 2 * SECOND_US))
    assert await evaluate(storage) == 0
    [alert] = await alerts_of(tenancy)
    assert (alert.state, alert.severity, alert.resolution) == (
        EpisodeState.RESOLVED,
        Severity.CRITICAL,
        Resolution.RECOVERED,
    )


async def test_a_crash_before_the_commit_loses_and_repeats_nothing(tenancy: Tenancy) -> None:
    """What was taken and not committed is taken again by whoever leads next."""
    storage = tenancy.storage
    await evaluate(storage)
    await storage.rules.create(tenancy.id, RULE)
    series_id = await tenancy.series()
    await tenancy.append(at(series_id, 95.0))
    assert (await storage.keeping.status()).unevaluated_points == 1
    async with storage.evaluation.lead() as term:
        assert term is not None
        first = await term.take(points_max=10**9, skip_at=None)
    async with storage.evaluation.lead() as term:
        assert term is not None
        again = await term.take(points_max=10**9, skip_at=None)
        assert [(block.writer, block.sequence) for block in again.blocks] == [
            (block.writer, block.sequence) for block in first.blocks
        ]
    assert await evaluate(storage) == 1
    assert await evaluate(storage) == 0
    assert len(await alerts_of(tenancy)) == 1
    assert (await storage.keeping.status()).unevaluated_points == 0


async def test_what_was_settled_first_leaves_the_journal_when_it_is_quiet(store: Store, tenancy: Tenancy) -> None:
    """The settler deletes what all have passed; what it had moved earlier is deleted soon after it was evaluated."""
    storage = tenancy.storage
    await evaluate(storage)
    await storage.rules.create(tenancy.id, RULE)
    await tenancy.append(at(await tenancy.series(), 10.0))
    await settle_all(storage)
    async with storage.evaluation.lead() as term:
        assert term is not None
        service = evaluation(storage, term)
        for _ in range(15):
            await service.round()
    if isinstance(store.place, str):
        with psycopg.connect(store.place) as connection:
            assert connection.execute("SELECT count(*) FROM sextant.journal").fetchone() == (0,)
    else:
        assert store.place.log.blocks == []


@pytest.mark.usefixtures("two_transactions")
async def test_one_leads(tenancy: Tenancy, other_storage: Storage) -> None:
    """A second process gets no term while the first has one, and one as soon as that is over."""
    async with tenancy.storage.evaluation.lead() as term:
        assert term is not None
        async with other_storage.evaluation.lead() as other:
            assert other is None
    async with other_storage.evaluation.lead() as other:
        assert other is not None


@pytest.mark.usefixtures("two_transactions")
async def test_a_term_that_is_over_writes_nothing(tenancy: Tenancy) -> None:
    """A process that lost its lock unnoticed, and comes back, can commit no more."""
    storage = tenancy.storage
    async with storage.evaluation.lead() as term:
        assert term is not None
        taken = await term.take(points_max=10**9, skip_at=None)
    async with storage.evaluation.lead() as later:
        assert later is not None
        with pytest.raises(Unavailable):
            await term.commit(taken, NOTHING)
        with pytest.raises(Unavailable):
            await term.take(points_max=1, skip_at=None)
        await later.commit(await later.take(points_max=10**9, skip_at=None), NOTHING)


async def test_blocks_are_passed_unread_only_while_no_rule_is_new(tenancy: Tenancy) -> None:
    """Without rules nothing is read; what came after a rule was made is."""
    storage = tenancy.storage
    await evaluate(storage)
    series_id = await tenancy.series()
    async with storage.evaluation.lead() as term:
        assert term is not None
        revision = (await term.take(points_max=10**9, skip_at=None)).rules_revision
        await tenancy.append(at(series_id, 1.0))
        passed = await term.take(points_max=10**9, skip_at=revision)
        assert not passed.blocks
        assert passed.positions
        await storage.rules.create(tenancy.id, RULE)
        read = await term.take(points_max=10**9, skip_at=revision)
        assert sum(len(block.points) for block in read.blocks) == 1
        assert read.rules_revision > revision


async def test_catching_up_pages_nobody_for_what_is_over(tenancy: Tenancy) -> None:
    """Episodes that began and ended while nobody evaluated are history; one that goes on is announced."""
    storage = tenancy.storage
    await storage.rules.create(tenancy.id, RULE)
    over, lasting = await tenancy.series(host="a"), await tenancy.series(host="b")
    await tenancy.append([*at(over, 95.0, 10.0), *at(lasting, 95.0, 96.0)])
    assert await evaluate(storage) == 1
    by_host = {alert.labels["host"]: alert for alert in await alerts_of(tenancy)}
    assert (by_host["a"].state, by_host["a"].announced) == (EpisodeState.RESOLVED, False)
    assert (by_host["b"].state, by_host["b"].announced) == (EpisodeState.FIRING, True)


async def test_old_samples_are_history(tenancy: Tenancy) -> None:
    """A backlog whose end is an hour old fires for the record; when a new bad sample comes, people are told."""
    storage = tenancy.storage
    await storage.rules.create(tenancy.id, RULE)
    series_id = await tenancy.series()
    await tenancy.append(at(series_id, 95.0, start_us=NOW_US - HOUR_US))
    assert await evaluate(storage) == 0
    [alert] = await alerts_of(tenancy)
    assert (alert.state, alert.announced) == (EpisodeState.FIRING, False)
    await tenancy.append(at(series_id, 96.0))
    assert await evaluate(storage) == 1
    assert [alert.announced for alert in await alerts_of(tenancy)] == [True]


@pytest.mark.parametrize("settled", [False, True])
async def test_late_samples_never_page(tenancy: Tenancy, settled: bool) -> None:
    """A sample older than what was judged changes nothing, also for a process that has just begun to lead."""
    storage = tenancy.storage
    await storage.rules.create(tenancy.id, RULE)
    never, closed = await tenancy.series(host="a"), await tenancy.series(host="b")
    await tenancy.append([*at(never, 10.0, 11.0, 12.0), *at(closed, 10.0, 95.0, 12.0)])
    await evaluate(storage)
    if settled:
        await settle_all(storage)
    before = await alerts_of(tenancy)
    await tenancy.append([*at(never, 99.0), *at(closed, 99.0, 99.0)])
    assert await evaluate(storage) == 0
    assert await alerts_of(tenancy) == before


async def test_windows_outlive_the_process(tenancy: Tenancy) -> None:
    """A new leader's windows hold what was stored before it began."""
    storage = tenancy.storage
    rule = AlertRule(name="mean", metric="cpu", aggregation=Aggregation.AVG, window="1m", group_by=(), warning=50.0)
    await storage.rules.create(tenancy.id, rule)
    first, second = await tenancy.series(host="a"), await tenancy.series(host="b")
    await tenancy.append([*at(first, 40.0, 40.0), *at(second, 40.0)])
    assert await evaluate(storage) == 0
    await tenancy.append(at(second, 100.0, start_us=NOW_US + 5 * SECOND_US))
    assert await evaluate(storage) == 1
    [alert] = await alerts_of(tenancy)
    assert alert.value == pytest.approx(55.0)
    assert alert.labels == {}


async def test_holding_outlives_the_process(tenancy: Tenancy) -> None:
    """A pending alert keeps its beginning across leaders, and is forgotten when the next sample is good."""
    storage = tenancy.storage
    await storage.rules.create(tenancy.id, AlertRule(name="held", metric="cpu", warning=80.0, for_="10s"))
    lasting, brief = await tenancy.series(host="a"), await tenancy.series(host="b")
    await tenancy.append([*at(lasting, 95.0), *at(brief, 95.0)])
    assert await evaluate(storage) == 0
    assert {alert.state for alert in await alerts_of(tenancy)} == {EpisodeState.PENDING}
    later_us = NOW_US + 10 * SECOND_US
    await tenancy.append([*at(lasting, 95.0, start_us=later_us), *at(brief, 5.0, start_us=later_us)])
    assert await evaluate(storage) == 1
    [alert] = await alerts_of(tenancy)
    assert alert.labels == {"host": "a"}
    assert alert.fired_at is not None
    assert (alert.fired_at - alert.started_at).total_seconds() == 10


async def test_silence_fires_where_the_rule_says_so(tenancy: Tenancy) -> None:
    """A series that has sent nothing since this process began is noticed all the same."""
    storage = tenancy.storage
    rule = AlertRule(name="gone", metric="cpu", warning=80.0, no_data=NoData.ALERT, no_data_after="500ms")
    await storage.rules.create(tenancy.id, rule)
    series_id = await tenancy.series()
    await tenancy.append(at(series_id, 10.0))
    clock = Later(SystemClock().now_us())
    async with storage.evaluation.lead() as term:
        assert term is not None
        await EvaluationService(term, storage.reader, clock, Deaf(), poll_s=0.1, fresh_s=600).round()
    async with storage.evaluation.lead() as term:
        assert term is not None
        service = EvaluationService(term, storage.reader, clock, Deaf(), poll_s=0.1, fresh_s=600)
        await service.round()
        clock.now += 2 * SECOND_US
        done, _ = await service.round()
    assert done.fired == 1
    [alert] = await alerts_of(tenancy)
    assert (alert.no_data, alert.value) == (True, None)


async def test_disabling_ends_and_enabling_counts_on(tenancy: Tenancy) -> None:
    """A rule that is disabled mid-episode ends it with that reason; enabled again, the next episode is the second."""
    storage = tenancy.storage
    stored = await storage.rules.create(tenancy.id, RULE)
    series_id = await tenancy.series()
    await tenancy.append(at(series_id, 95.0))
    await evaluate(storage)
    off = AlertRule(**{**{name: getattr(RULE, name) for name in RULE.__struct_fields__}, "enabled": False})
    await storage.rules.replace(tenancy.id, stored.id, off)
    await evaluate(storage)
    [alert] = await alerts_of(tenancy)
    assert (alert.state, alert.resolution) == (EpisodeState.RESOLVED, Resolution.RULE_CHANGED)
    await storage.rules.replace(tenancy.id, stored.id, RULE)
    await tenancy.append(at(series_id, 96.0, start_us=NOW_US + SECOND_US))
    assert await evaluate(storage) == 1
    assert [(alert.episode, alert.state) for alert in await alerts_of(tenancy)] == [
        (1, EpisodeState.RESOLVED),
        (2, EpisodeState.FIRING),
    ]


async def test_deleting_ends(tenancy: Tenancy) -> None:
    """A rule that is deleted mid-episode leaves a resolved alert behind."""
    storage = tenancy.storage
    stored = await storage.rules.create(tenancy.id, RULE)
    await tenancy.append(at(await tenancy.series(), 95.0))
    await evaluate(storage)
    await storage.rules.delete(tenancy.id, stored.id)
    await evaluate(storage)
    [alert] = await alerts_of(tenancy)
    assert (alert.state, alert.resolution, alert.rule) == (EpisodeState.RESOLVED, Resolution.RULE_CHANGED, "high")


async def test_closing_ends(tenancy: Tenancy) -> None:
    """An episode that a person closes is over, and stays so until the next bad sample."""
    storage = tenancy.storage
    await storage.rules.create(tenancy.id, RULE)
    series_id = await tenancy.series()
    await tenancy.append(at(series_id, 95.0))
    await evaluate(storage)
    [alert] = await alerts_of(tenancy)
    await storage.alerts.request_close(tenancy.id, alert.id, by="key:1")
    await evaluate(storage)
    [alert] = await alerts_of(tenancy)
    assert (alert.resolution, alert.annotations) == (Resolution.CLOSED, {"what": "95.0"})
    await tenancy.append(at(series_id, 96.0, start_us=NOW_US + SECOND_US))
    assert await evaluate(storage) == 1


async def test_a_shadow_rule_records_only(tenancy: Tenancy) -> None:
    """Nobody is told and nothing is repaired."""
    storage = tenancy.storage
    await storage.policies.create(tenancy.id, POLICY, {})
    shadow = AlertRule(name="s", metric="cpu", warning=80.0, mode=RuleMode.SHADOW, remediation="repair")
    await storage.rules.create(tenancy.id, shadow)
    await tenancy.append(at(await tenancy.series(), 95.0))
    assert await evaluate(storage) == 0
    [alert] = await alerts_of(tenancy)
    assert (alert.shadow, alert.announced, alert.remediation) == (True, False, None)


POLICY = RemediationPolicy(name="repair", steps=(Step(name="poke", action=HttpAction(url="https://example.org/")),))


async def test_a_remediation_waits_in_the_same_transaction(tenancy: Tenancy) -> None:
    """An announced episode of a rule with a policy is one remediation, with all of it as it was then."""
    storage = tenancy.storage
    await storage.policies.create(tenancy.id, POLICY, {})
    rule = AlertRule(name="r", metric="cpu", warning=80.0, remediation="repair")
    await storage.rules.create(tenancy.id, rule)
    await tenancy.append(at(await tenancy.series(), 95.0))
    await evaluate(storage)
    [alert] = await alerts_of(tenancy)
    assert alert.remediation is not None
    order = await storage.remediations.order(tenancy.id, alert.remediation)
    assert (order.rule, order.policy, order.alert.id, order.alert.value) == (rule, POLICY, alert.id, 95.0)
    assert len(await storage.remediations.list(tenancy.id, state=None, alert_id=alert.id, limit=9, before_id=None)) == 1


async def test_nothing_is_repaired_once_the_alert_has_resolved(tenancy: Tenancy) -> None:
    """A remediation that begins late finds nothing to do; one that has acted goes on to its end."""
    storage = tenancy.storage
    await storage.policies.create(tenancy.id, POLICY, {})
    await storage.rules.create(tenancy.id, AlertRule(name="r", metric="cpu", warning=80.0, remediation="repair"))
    late, acting = await tenancy.series(host="late"), await tenancy.series(host="acting")
    await tenancy.append([*at(late, 95.0), *at(acting, 95.0)])
    await evaluate(storage)
    by_host = {alert.labels["host"]: alert.remediation or 0 for alert in await alerts_of(tenancy)}
    now = datetime.now(UTC)
    assert await storage.action_limits.reserve(tenancy.id, action(by_host["acting"], 0), now=now) is None
    later_us = NOW_US + SECOND_US
    await tenancy.append([*at(late, 5.0, start_us=later_us), *at(acting, 5.0, start_us=later_us)])
    await evaluate(storage)
    refused = await storage.action_limits.reserve(tenancy.id, action(by_host["late"], 0), now=now)
    assert refused == "The alert has resolved meanwhile; there is nothing left to repair."
    for step in (0, 1):
        assert await storage.action_limits.reserve(tenancy.id, action(by_host["acting"], step), now=now) is None


def action(remediation_id: int, step: int) -> Reservation:
    """A remediation's action on a target of its own."""
    return Reservation(
        key=f"{remediation_id}/{step}",
        remediation_id=remediation_id,
        policy="repair",
        target=f"host {remediation_id}",
        rollback=False,
        cooldown_s=0.0,
        tenant_per_hour_max=100,
        target_per_hour_max=100,
    )


async def test_events_are_in_order(tenancy: Tenancy) -> None:
    """Fired, escalated, resolved: one event each, whichever process noticed."""
    storage = tenancy.storage
    await storage.rules.create(tenancy.id, RULE)
    series_id = await tenancy.series()
    seen = []
    for n, value in enumerate((85.0, 95.0, 10.0)):
        await tenancy.append(at(series_id, value, start_us=NOW_US + n * SECOND_US))
        async with storage.evaluation.lead() as term:
            assert term is not None
            done, _ = await evaluation(storage, term).round()
            seen.append((done.fired, done.escalated, done.resolved))
    assert seen == [(1, 0, 0), (0, 1, 0), (0, 0, 1)]


class Later:
    """A clock that is set by hand."""

    def __init__(self, now: int) -> None:
        self.now = now

    def now_us(self) -> int:
        """The set time."""
        return self.now

    def monotonic_s(self) -> float:
        """The same, in seconds."""
        return self.now / SECOND_US
