"""Recommendations reported, decided on, applied and measured, over the in-memory stores."""

from datetime import timedelta
from typing import Any

import msgspec
import numpy as np
import pytest

from adapters.driven.memory.audit import MemoryAuditLog
from adapters.driven.memory.capacity import MemoryCapacityStore
from adapters.driven.memory.clock import FakeClock
from adapters.driven.memory.drift import MemoryDriftStore
from adapters.driven.memory.recommendations import MemoryRecommendationStore
from adapters.driven.memory.remediations import MemoryRemediationOutbox, MemoryRemediationStore
from adapters.driven.memory.storage import memory_storage
from core.domain.capacity import CapacitySnapshot, NodeType, Resources
from core.domain.drift import DriftStatus
from core.domain.errors import Conflict, Forbidden, InvalidInput, NotFound, TooExpensive
from core.domain.recommendations import Outcome, RecommendationFilter, RecommendationSpec, RecommendationState
from core.domain.remediation import RemediationState
from core.domain.telemetry import CPU_REQUEST, CPU_USAGE, MEMORY_REQUEST, MEMORY_USAGE, RESTARTS
from core.domain.tenants import Principal, Scope
from core.domain.times import EPOCH, HOUR_US, MINUTE_US
from core.services import telemetry_reading
from core.services.metric_checks import check
from core.services.policies import Policies
from core.services.recommendations import RecommendationService
from core.services.telemetry_reading import TelemetryReading
from tests.support.callers import database, principal, recorded
from tests.support.cluster_telemetry import pod_samples, write_pods
from tests.support.recommending import RIGHT_SIZE, drift_event
from tests.support.storages import LIMITS

TENANT_ID = 2
CALLER = principal()
GIB = float(1 << 30)
ANY = RecommendationFilter()


class World:
    """The service over its stores, with one drift event."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.tables = database(self.clock)
        self.storage = memory_storage(self.tables)
        self.remediations = MemoryRemediationStore(self.tables)
        self.capacity = MemoryCapacityStore(self.tables)
        self.drift = MemoryDriftStore(self.tables)
        policies = Policies(self.storage.tenants, LIMITS, self.clock)
        self.service = RecommendationService(
            MemoryRecommendationStore(self.tables),
            self.drift,
            self.remediations,
            TelemetryReading(self.storage.reader, policies, self.clock),
            self.capacity,
            MemoryAuditLog(self.tables),
            self.clock,
        )

    async def opened(self) -> "World":
        """With the event."""
        await self.drift.add(TENANT_ID, drift_event())
        return self

    async def post(self, rec_id: str | None = "rec-1", **fields: Any) -> str:
        """Reports a recommendation."""
        posted, _ = await self.service.post(CALLER, spec(rec_id=rec_id, **fields))
        return posted.rec_id

    async def told(self, metric: str, *values: float, pod: str = "checkout-1", ago_us: int = 30 * MINUTE_US) -> None:
        """Writes a pod's samples, one a minute, from `ago_us` before now on."""
        start_us = self.clock.now_us() - ago_us
        await write_pods(self.storage, TENANT_ID, [pod_samples(metric, values, start_us, workload="checkout", pod=pod)])

    async def ended(self, remediation_id: int, state: RemediationState, *, took_us: int = MINUTE_US) -> None:
        """The remediation's workflow begins now and ends so."""
        for each in (RemediationState.RUNNING, state):
            now = EPOCH + timedelta(microseconds=self.clock.now_us())
            await self.remediations.progress(TENANT_ID, remediation_id, each, detail=None, now=now)
            self.clock.advance(took_us)

    async def outcome(self, rec_id: str = "rec-1") -> Outcome:
        """As it stands."""
        return (await self.service.get(CALLER, rec_id)).outcome

    async def snapshot(self, cost_usd_per_hour: float | None) -> None:
        """The cluster now: 10 cores and 100 GiB."""
        amounts = Resources(cpu_cores=10.0, memory_bytes=100 * GIB, pods=100.0)
        snapshot = CapacitySnapshot(
            cluster_id="prod-eu",
            ts=EPOCH + timedelta(microseconds=self.clock.now_us()),
            nodes=(NodeType(instance_type="m", count=1),),
            allocatable=amounts,
            used=amounts,
            cost_usd_per_hour=cost_usd_per_hour,
        )
        await self.capacity.put(TENANT_ID, [snapshot])


def spec(**fields: Any) -> RecommendationSpec:
    """A recommendation as it is reported."""
    standard = {
        "cluster_id": "prod-eu",
        "drift_id": "drift-1",
        "recommendation_type": "right_size",
        "recommendation_json": RIGHT_SIZE,
        "estimated_savings_usd": 40.0,
    }
    return msgspec.convert({**standard, **fields}, RecommendationSpec)


@pytest.fixture
async def world() -> World:
    """A new one."""
    return await World().opened()


async def test_what_is_left_out_comes_from_the_drift_event(world: World) -> None:
    """The day; an id is made up; a document as a string is the same as an object."""
    document = msgspec.json.encode(RIGHT_SIZE).decode()
    posted, is_new = await world.service.post(CALLER, spec(recommendation_json=document))
    assert is_new
    assert (posted.drift_date, posted.recommendation_json) == (drift_event().drift_date, RIGHT_SIZE)
    assert posted.state is RecommendationState.PROPOSED
    again, is_new = await world.service.post(CALLER, spec(rec_id=posted.rec_id, estimated_savings_usd=1.0))
    assert (again, is_new) == (posted, False)
    assert [entry.record.summary for entry in recorded(world.tables)] == [
        f"posted the recommendation {posted.rec_id!r} (right_size)"
    ]


async def test_what_cannot_be_posted(world: World) -> None:
    """Of a drift event that is not there, or of another cluster."""
    with pytest.raises(NotFound):
        await world.service.post(CALLER, spec(drift_id="drift-2"))
    with pytest.raises(InvalidInput, match="of cluster 'prod-eu'"):
        await world.service.post(CALLER, spec(cluster_id="prod-us"))


@pytest.mark.parametrize("scope", [Scope.INGEST, Scope.ALERTS])
async def test_only_who_may_approve_posts_what_is_approved(world: World, scope: Scope) -> None:
    """It is then decided by them."""
    with pytest.raises(Forbidden, match="remediate"):
        await world.service.post(principal(scope), spec(auto_approved=True))
    posted, _ = await world.service.post(principal(scope, Scope.REMEDIATE), spec(auto_approved=True))
    assert (posted.state, posted.decided_by) == (RecommendationState.APPROVED, "key:5")
    assert recorded(world.tables)[0].record.summary.endswith(", auto-approved")


@pytest.mark.parametrize("caller", [principal(Scope.INGEST), principal(Scope.ADMIN)])
async def test_scopes(world: World, caller: Principal) -> None:
    """Who only reports reads nothing; who reads does not decide."""
    rec_id = await world.post()
    with pytest.raises(Forbidden):
        await world.service.get(caller, rec_id)
    with pytest.raises(Forbidden):
        await world.service.list(caller, ANY, limit=10, cursor=None)
    for held in (caller, principal(Scope.QUERY), principal(Scope.ALERTS)):
        with pytest.raises(Forbidden, match="remediate"):
            await world.service.decide(held, rec_id, approved=True, reason=None)
        with pytest.raises(Forbidden, match="remediate"):
            await world.service.apply(held, rec_id, dry_run=True)
    with pytest.raises(Forbidden):
        await world.service.post(principal(Scope.QUERY, Scope.REMEDIATE), spec())


async def test_pages_follow_one_another(world: World) -> None:
    """Newest first, each once; a cursor is not made by hand."""
    rec_ids = [await world.post(f"rec-{number}") for number in range(5)]
    found: list[str] = []
    cursor: str | None = None
    while True:
        page = await world.service.list(principal(Scope.QUERY), ANY, limit=2, cursor=cursor)
        found += [one.rec_id for one in page.data]
        if page.next_cursor is None:
            break
        cursor = page.next_cursor
    assert found == rec_ids[::-1]
    for made_up in ("x", "WzAsIi8iXQ", "WzEsMl0"):
        with pytest.raises(InvalidInput, match="cursor"):
            await world.service.list(CALLER, ANY, limit=2, cursor=made_up)


async def test_a_decision_is_recorded(world: World) -> None:
    """With who and why; one may think again until it is applied."""
    rec_id = await world.post()
    rejected = await world.service.decide(CALLER, rec_id, approved=False, reason="not now")
    assert (rejected.state, rejected.reason) == (RecommendationState.REJECTED, "not now")
    approved = await world.service.decide(CALLER, rec_id, approved=True, reason=None)
    assert (approved.state, approved.decided_by) == (RecommendationState.APPROVED, "key:5")
    assert [entry.record.summary for entry in recorded(world.tables)][1:] == [
        "rejected the recommendation 'rec-1': not now",
        "approved the recommendation 'rec-1'",
    ]
    with pytest.raises(InvalidInput, match="reason"):
        await world.service.decide(CALLER, rec_id, approved=True, reason="\x00")


async def test_what_is_approved_is_what_was_read(world: World) -> None:
    """And what is applied; nothing is recorded of the other."""
    rec_id = await world.post()
    read = (await world.service.get(CALLER, rec_id)).recommendation.updated_at
    world.clock.advance(MINUTE_US)
    await world.service.decide(CALLER, rec_id, approved=False, reason=None)
    entries = len(recorded(world.tables))
    with pytest.raises(Conflict, match="look at it again"):
        await world.service.decide(CALLER, rec_id, approved=True, reason=None, updated_at=read)
    with pytest.raises(Conflict, match="look at it again"):
        await world.service.apply(CALLER, rec_id, dry_run=True, updated_at=read)
    assert len(recorded(world.tables)) == entries


async def test_too_much_telemetry_is_not_taken_for_none(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says so. Whether there is any in a day takes one bucket of each pod, or two where the day is not UTC's."""
    rec_id = await world.post()
    for minutes in (55, 40, 25, 10):
        await world.told(RESTARTS, 0.0, ago_us=minutes * MINUTE_US)
    monkeypatch.setattr(telemetry_reading, "BUCKETS_READ_MAX", 7)
    with pytest.raises(Conflict, match="not approved"):
        await world.service.apply(CALLER, rec_id, dry_run=False)
    monkeypatch.setattr(telemetry_reading, "BUCKETS_READ_MAX", 1)
    with pytest.raises(TooExpensive, match="1 pods in"):
        await world.service.apply(CALLER, rec_id, dry_run=False)


async def test_a_dry_run_needs_no_approval(world: World) -> None:
    """A remediation waits, of no alert, with all that it will do; the recommendation stands as it did."""
    rec_id = await world.post()
    applied = await world.service.apply(CALLER, rec_id, dry_run=True)
    assert applied.changes == ["cpu request of shop/checkout: 2 → 500m"]
    assert applied.recommendation.state is RecommendationState.PROPOSED
    remediation = applied.remediation
    assert (remediation.alert_id, remediation.recommendation, remediation.dry_run) == (None, rec_id, True)
    assert (remediation.rule, remediation.policy) == ("recommendation rec-1", "recommendation right_size")
    [order] = await MemoryRemediationOutbox(world.tables).claim(now=world.tables.now(), lease_s=1.0, limit=9)
    assert (order.tenant, order.remediation_id, order.alert_id) == ("acme", remediation.id, None)
    assert order.policy == applied.policy
    assert recorded(world.tables)[-1].record.remediation_id == remediation.id
    with pytest.raises(Conflict):
        await world.service.apply(CALLER, rec_id, dry_run=True)
    await world.ended(remediation.id, RemediationState.DRY_RUN)
    assert (await world.service.apply(CALLER, rec_id, dry_run=True)).remediation.id != remediation.id


async def test_applying_needs_approval_and_telemetry(world: World) -> None:
    """First that it can be verified, then that somebody agreed; then once."""
    rec_id = await world.post()
    with pytest.raises(InvalidInput, match="so applying it could not be"):
        await world.service.apply(CALLER, rec_id, dry_run=False)
    for minutes in (55, 40, 25, 10):
        with pytest.raises(InvalidInput, match="so applying it could not be"):
            await world.service.apply(CALLER, rec_id, dry_run=False)
        await world.told(RESTARTS, 0.0, ago_us=minutes * MINUTE_US)
    with pytest.raises(Conflict, match="not approved"):
        await world.service.apply(CALLER, rec_id, dry_run=False)
    await world.service.decide(CALLER, rec_id, approved=True, reason=None)
    applied = await world.service.apply(CALLER, rec_id, dry_run=False)
    assert applied.recommendation.state is RecommendationState.APPLYING
    assert applied.policy.verification.check is not None
    assert applied.policy.verification.check.metric == RESTARTS
    await world.ended(applied.remediation.id, RemediationState.FAILED)
    again = await world.service.apply(CALLER, rec_id, dry_run=False)
    await world.ended(again.remediation.id, RemediationState.SUCCEEDED)
    with pytest.raises(Conflict):
        await world.service.apply(CALLER, rec_id, dry_run=False)


@pytest.mark.parametrize("ago_us", [50 * MINUTE_US, 25 * MINUTE_US, 10 * MINUTE_US])
async def test_what_is_collected_every_hour_verifies_nothing_in_half_an_hour(world: World, ago_us: int) -> None:
    """Wherever in the hour one asks, and although cpu is there more often; a longer patience will do."""
    every = {"verification": {"within": "6h"}}
    await world.post("patient", recommendation_json={**RIGHT_SIZE, **every})
    await world.told(CPU_USAGE, *[0.1] * 60, ago_us=HOUR_US)
    for hours in range(12):
        await world.told(RESTARTS, 0.0, ago_us=ago_us + hours * HOUR_US)
    rec_id = await world.post()
    with pytest.raises(InvalidInput, match=f"does not report {RESTARTS} twice in each 30m.*every 10m"):
        await world.service.apply(CALLER, rec_id, dry_run=False)
    with pytest.raises(Conflict, match="not approved"):
        await world.service.apply(CALLER, "patient", dry_run=False)


@pytest.mark.parametrize(("every", "within"), [(1, 30), (10, 30), (14, 30), (55, 120)])
async def test_what_is_reported_often_enough_verifies_in_time(world: World, every: int, within: int) -> None:
    """New pods are known to be calm before the time is up, though nothing is known of them to begin with."""
    for ago in range(3, 2 * within, every):
        await world.told(RESTARTS, 7.0, ago_us=ago * MINUTE_US)
    rec_id = await world.post(recommendation_json={**RIGHT_SIZE, "verification": {"within": f"{within}m"}})
    await world.service.decide(CALLER, rec_id, approved=True, reason=None)
    policy = (await world.service.apply(CALLER, rec_id, dry_run=False)).policy
    [order] = await MemoryRemediationOutbox(world.tables).claim(now=world.tables.now(), lease_s=1.0, limit=9)
    since_us, held_after = world.clock.now_us(), []
    assert policy.verification.check is not None
    for minute in range(1, within + 1):
        world.clock.advance(MINUTE_US)
        if (minute + 3) % every == 0:
            await world.told(RESTARTS, 0.0, pod="checkout-2", ago_us=1)
        async with world.storage.reader.snapshot(TENANT_ID, LIMITS) as snapshot:
            now_us = world.clock.now_us()
            asked = policy.verification.check
            verdict = await check(snapshot, asked, order.alert, now_us=now_us, since_us=since_us)
        held_after += [minute] if verdict.holds else []
    assert held_after
    assert min(held_after) >= within / 3, "a pod that crashes has time to do so"


async def test_drift_that_is_over_needs_no_mending(world: World) -> None:
    """What was proposed for it is not done any more, but may be looked at; what others report is theirs to judge."""
    check = {"metric": "m", "condition": ">", "value": 0}
    document = {**RIGHT_SIZE, "verification": {"check": check}}
    await world.drift.add(TENANT_ID, drift_event("found", automatic=True))
    for rec_id, drift_id in (("ours", "found"), ("theirs", "drift-1")):
        await world.post(rec_id, drift_id=drift_id, recommendation_json=document)
        await world.service.decide(CALLER, rec_id, approved=True, reason=None)
        now = world.tables.now()
        await world.drift.set_status(TENANT_ID, drift_id, DriftStatus.RESOLVED, by="key:5", note="gone", now=now)
    with pytest.raises(Conflict, match=r"drift 'found' is resolved \(gone\), so 'ours' has nothing left to mend"):
        await world.service.apply(CALLER, "ours", dry_run=False)
    assert (await world.service.apply(CALLER, "ours", dry_run=True)).remediation.dry_run
    assert not (await world.service.apply(CALLER, "theirs", dry_run=False)).remediation.dry_run


async def applied(world: World, **fields: Any) -> None:
    """A recommendation is applied, now."""
    check = {"metric": "m", "condition": ">", "value": 0}
    rec_id = await world.post(recommendation_json={**RIGHT_SIZE, "verification": {"check": check}}, **fields)
    await world.service.decide(CALLER, rec_id, approved=True, reason=None)
    done = await world.service.apply(CALLER, rec_id, dry_run=False)
    await world.ended(done.remediation.id, RemediationState.SUCCEEDED)


async def test_savings_and_saturation_are_measured(world: World) -> None:
    """Two pods of 2 cores and 2 GiB become ones of half a core; priced by the cluster's cost, half of it cpu's."""
    await world.snapshot(10.0)
    rng = np.random.default_rng(1)
    use = rng.uniform(0.2, 0.6, (2, 30))
    for pod in range(2):
        name = f"checkout-{pod}"
        await world.told(CPU_REQUEST, *[2.0] * 30, pod=name)
        await world.told(MEMORY_REQUEST, *[2 * GIB] * 30, pod=name)
        await world.told(CPU_USAGE, *use[pod], pod=name)
        await world.told(MEMORY_USAGE, *[1 * GIB] * 30, pod=name)
    await applied(world)
    world.clock.advance(2 * HOUR_US)
    for pod in range(2, 4):
        name = f"checkout-{pod}"
        await world.told(CPU_REQUEST, *[0.5] * 30, pod=name)
        await world.told(MEMORY_REQUEST, *[2 * GIB] * 30, pod=name)
        await world.told(CPU_USAGE, *[0.4] * 30, pod=name)
        await world.told(MEMORY_USAGE, *[1.5 * GIB] * 30, pod=name)
    outcome = await world.outcome()
    assert outcome.predicted_savings_usd == 40.0
    assert outcome.realised_savings_usd == pytest.approx(3.0 / 10 * 10.0 * 730 / 2)
    expected = np.percentile(use.sum(axis=0).reshape(6, 5).mean(axis=1) / 4.0, 95)
    assert outcome.saturation.cpu_before == pytest.approx(float(expected))
    assert outcome.saturation.cpu_after == pytest.approx(0.8)
    assert (outcome.saturation.memory_before, outcome.saturation.memory_after) == pytest.approx((0.5, 0.75))
    assert outcome.note == "measured over 2h since, against up to 24h before"
    assert outcome.measured_until is not None
    dry = await world.service.apply(CALLER, "rec-1", dry_run=True)
    await world.ended(dry.remediation.id, RemediationState.DRY_RUN)
    assert (await world.outcome()).realised_savings_usd == outcome.realised_savings_usd


async def test_what_is_missing_is_said(world: World) -> None:
    """Before it is applied, without telemetry, without a price: no number is made up."""
    await world.post("rec-0")
    untouched = await world.outcome("rec-0")
    assert (untouched.predicted_savings_usd, untouched.realised_savings_usd) == (40.0, None)
    assert untouched.note.startswith("not applied yet")
    await world.told(CPU_REQUEST, *[2.0] * 20)
    await applied(world)
    world.clock.advance(HOUR_US)
    silent = await world.outcome()
    assert (silent.measured_until, silent.realised_savings_usd) == (None, None)
    assert "cpu requests are not reported on both sides" in silent.note
    await world.told(CPU_REQUEST, *[1.0] * 20)
    priceless = await world.outcome()
    assert "do not tell its cost" in priceless.note
    assert "memory requests are not reported on both sides" in priceless.note
    await world.snapshot(None)
    assert (await world.outcome()).realised_savings_usd is None
    await world.snapshot(10.0)
    assert (await world.outcome()).realised_savings_usd == pytest.approx(10.0 / 2 / 10 * 730)


async def test_nodes_save_what_the_cluster_costs_less(world: World) -> None:
    """By the snapshots on both sides."""
    await world.snapshot(10.0)
    world.clock.advance(HOUR_US)
    check = {"metric": "m", "condition": ">", "value": 0}
    steps = [{"name": "resize", "action": {"type": "http", "url": "https://cloud.example/"}}]
    rec_id = await world.post(
        recommendation_type="scale_nodes", recommendation_json={"steps": steps, "verification": {"check": check}}
    )
    await world.service.decide(CALLER, rec_id, approved=True, reason=None)
    done = await world.service.apply(CALLER, rec_id, dry_run=False)
    await world.ended(done.remediation.id, RemediationState.SUCCEEDED)
    world.clock.advance(HOUR_US)
    assert "no snapshots with a cost on both sides" in (await world.outcome(rec_id)).note
    await world.snapshot(7.0)
    world.clock.advance(HOUR_US)
    outcome = await world.outcome(rec_id)
    assert outcome.realised_savings_usd == pytest.approx(3.0 * 730)
