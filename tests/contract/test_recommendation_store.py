"""The recommendation store port: what is proposed, decided on and applied."""

import asyncio
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest

from core.domain.errors import Conflict, NotFound
from core.domain.recommendations import Recommendation, RecommendationFilter, RecommendationState
from core.domain.remediation import ENDED, RemediationState
from tests.support.application import order
from tests.support.cluster_rows import NOON, drift_event, recommendation
from tests.support.remediation_rows import POLICY, RULE
from tests.support.storages import Storage, Tenancy

TICK = timedelta(microseconds=1)
LATER = NOON + timedelta(hours=1)
ANY = RecommendationFilter()


async def proposed(tenancy: Tenancy, **changes: Any) -> Recommendation:
    """A recommendation about a drift event of its own."""
    event = drift_event()
    await tenancy.storage.drift.add(tenancy.id, event)
    made, is_new = await tenancy.storage.recommendations.add(tenancy.id, recommendation(event.drift_id, **changes))
    assert is_new
    return made


async def approved(tenancy: Tenancy) -> Recommendation:
    """One that somebody agreed to."""
    return await decide(tenancy, (await proposed(tenancy)).rec_id)


async def decide(tenancy: Tenancy, rec_id: str, agreed: bool = True, *, reason: str | None = "fine") -> Recommendation:
    """Somebody's decision."""
    return await tenancy.storage.recommendations.decide(
        tenancy.id, rec_id, approved=agreed, by="alice", reason=reason, now=LATER
    )


async def apply(tenancy: Tenancy, rec_id: str, *, dry_run: bool = False) -> tuple[Recommendation, int]:
    """Puts a remediation in line."""
    return await tenancy.storage.recommendations.apply(tenancy.id, rec_id, order(dry_run=dry_run), now=LATER)


async def progress(tenancy: Tenancy, remediation_id: int, state: RemediationState) -> None:
    """Where a remediation stands from now on."""
    await tenancy.storage.remediations.progress(tenancy.id, remediation_id, state, detail=None, now=LATER + TICK)


async def state_of(tenancy: Tenancy, rec_id: str) -> RecommendationState:
    """Where a recommendation stands, which the filter must agree with."""
    state = (await tenancy.storage.recommendations.get(tenancy.id, rec_id)).state
    for wanted in RecommendationState:
        found = await listed(tenancy, RecommendationFilter(state=wanted))
        assert (rec_id in {each.rec_id for each in found}) is (wanted is state)
    return state


async def listed(
    tenancy: Tenancy,
    wanted: RecommendationFilter = ANY,
    *,
    limit: int = 1_000,
    before: tuple[datetime, str] | None = None,
) -> list[Recommendation]:
    """A page of a tenant's recommendations."""
    return list(await tenancy.storage.recommendations.list(tenancy.id, wanted, limit=limit, before=before))


async def test_kept_as_given(storage: Storage, other_storage: Storage, tenancy: Tenancy, neighbour: Tenancy) -> None:
    """Every field comes back as it was given, in any process; an id is one recommendation of a tenant."""
    event = drift_event()
    await storage.drift.add(tenancy.id, event)
    full = recommendation(event.drift_id, "an id: x~y", synthetic=True)
    bare = recommendation(
        event.drift_id, estimated_savings_usd=None, recommendation_json={}, automatic=False, created_at=NOON - TICK
    )
    for made in (full, bare):
        assert await storage.recommendations.add(tenancy.id, made) == (made, True)
        assert await other_storage.recommendations.get(tenancy.id, made.rec_id) == made
    assert await listed(tenancy) == [full, bare]
    again = recommendation("no such drift", full.rec_id, recommendation_type="scale_nodes")
    assert await storage.recommendations.add(tenancy.id, again) == (full, False)
    with pytest.raises(NotFound):
        await storage.recommendations.add(neighbour.id, full)
    with pytest.raises(NotFound):
        await storage.recommendations.add(tenancy.id, recommendation("no such drift"))
    assert await listed(neighbour) == []


async def test_approved_from_the_start(tenancy: Tenancy) -> None:
    """It may be applied at once; it was decided when it was made."""
    made = await proposed(tenancy, auto_approved=True, decided_by="key:1")
    assert (made.state, made.decided_at, made.decided_by) == (RecommendationState.APPROVED, made.created_at, "key:1")
    assert await state_of(tenancy, made.rec_id) is RecommendationState.APPROVED
    applying, _ = await apply(tenancy, made.rec_id)
    assert applying.state is RecommendationState.APPLYING


async def test_deciding(storage: Storage, other_storage: Storage, tenancy: Tenancy, neighbour: Tenancy) -> None:
    """The last decision holds, with who made it when and why."""
    made = await proposed(tenancy)
    for agreed, state in ((True, RecommendationState.APPROVED), (False, RecommendationState.REJECTED)):
        decided = await decide(tenancy, made.rec_id, agreed, reason="why – “so”" if agreed else None)
        assert decided == msgspec.structs.replace(
            made,
            state=state,
            decided_at=LATER,
            decided_by="alice",
            reason="why – “so”" if agreed else None,
            updated_at=LATER,
        )
        assert await other_storage.recommendations.get(tenancy.id, made.rec_id) == decided
        assert await state_of(tenancy, made.rec_id) is state
    for owner, rec_id in ((neighbour, made.rec_id), (tenancy, "none")):
        with pytest.raises(NotFound):
            await decide(owner, rec_id)
        with pytest.raises(NotFound):
            await storage.recommendations.get(owner.id, rec_id)
        with pytest.raises(NotFound):
            await apply(owner, rec_id, dry_run=True)


async def test_what_was_updated_since_it_was_read(storage: Storage, tenancy: Tenancy) -> None:
    """Is neither decided on nor applied; nothing comes of it."""
    store, made = storage.recommendations, await proposed(tenancy)
    for stale in (NOON - TICK, LATER):
        with pytest.raises(Conflict, match="was updated at 2026-01-31"):
            await store.decide(tenancy.id, made.rec_id, approved=True, by="a", reason=None, now=LATER, updated_at=stale)
    agreed = await store.decide(tenancy.id, made.rec_id, approved=True, by="a", reason=None, now=LATER, updated_at=NOON)
    for dry_run in (True, False):
        with pytest.raises(Conflict, match="look at it again"):
            await store.apply(tenancy.id, made.rec_id, order(dry_run=dry_run), now=LATER, updated_at=made.updated_at)
    assert await store.get(tenancy.id, made.rec_id) == agreed
    assert agreed.remediation is None
    applying, _ = await store.apply(tenancy.id, made.rec_id, order(), now=LATER, updated_at=agreed.updated_at)
    assert applying.state is RecommendationState.APPLYING


async def test_applying_puts_a_remediation_in_line(storage: Storage, tenancy: Tenancy) -> None:
    """The outbox hands out what was ordered, with the ids, the tenant and the recommendation filled in."""
    made = await approved(tenancy)
    wanted = order()
    applying, remediation_id = await storage.recommendations.apply(tenancy.id, made.rec_id, wanted, now=LATER)
    assert applying == msgspec.structs.replace(
        made, state=RecommendationState.APPLYING, remediation=remediation_id, dry_run=False, updated_at=LATER
    )
    remediation = await storage.remediations.get(tenancy.id, remediation_id)
    assert (remediation.alert_id, remediation.recommendation) == (None, made.rec_id)
    assert (remediation.rule, remediation.policy, remediation.workflow_id) == (
        RULE.name,
        POLICY.name,
        wanted.workflow_id,
    )
    assert (remediation.state, remediation.dry_run) == (RemediationState.WAITING, False)
    assert remediation.created_at == LATER
    filled = msgspec.structs.replace(
        wanted, tenant_id=tenancy.id, tenant=tenancy.tenant.name, remediation_id=remediation_id
    )
    handed = await storage.remediation_outbox.claim(now=LATER, lease_s=60.0, limit=1_000)
    assert filled in handed
    assert await storage.remediations.order(tenancy.id, remediation_id) == filled


@pytest.mark.parametrize(
    ("ended", "state"),
    [
        (RemediationState.SUCCEEDED, RecommendationState.APPLIED),
        (RemediationState.ROLLED_BACK, RecommendationState.ROLLED_BACK),
        (RemediationState.FAILED, RecommendationState.FAILED),
        (RemediationState.EXPIRED, RecommendationState.FAILED),
    ],
)
async def test_its_remediation_says_where_it_stands(
    tenancy: Tenancy, ended: RemediationState, state: RecommendationState
) -> None:
    """While it runs it is being applied; then it was applied, or not, and then it may be applied again."""
    made = await approved(tenancy)
    _, remediation_id = await apply(tenancy, made.rec_id)
    for under_way in set(RemediationState) - ENDED:
        await progress(tenancy, remediation_id, under_way)
        assert await state_of(tenancy, made.rec_id) is RecommendationState.APPLYING
        for agreed in (True, False):
            with pytest.raises(Conflict):
                await decide(tenancy, made.rec_id, agreed)
        for dry_run in (True, False):
            with pytest.raises(Conflict):
                await apply(tenancy, made.rec_id, dry_run=dry_run)
    await progress(tenancy, remediation_id, ended)
    assert await state_of(tenancy, made.rec_id) is state
    shown = await tenancy.storage.recommendations.get(tenancy.id, made.rec_id)
    assert (shown.remediation, shown.dry_run) == (remediation_id, False)
    if state is RecommendationState.APPLIED:
        assert shown.applied_at == LATER + TICK
        with pytest.raises(Conflict):
            await apply(tenancy, made.rec_id)
        with pytest.raises(Conflict):
            await decide(tenancy, made.rec_id, False)
    else:
        assert shown.applied_at is None
        again, second = await apply(tenancy, made.rec_id)
        assert (again.state, again.remediation) == (RecommendationState.APPLYING, second)


async def test_a_dry_run_changes_nothing(tenancy: Tenancy) -> None:
    """It needs no approval and leaves the recommendation as it was decided, applied included."""
    made = await proposed(tenancy)
    with pytest.raises(Conflict):
        await apply(tenancy, made.rec_id)
    shown, remediation_id = await apply(tenancy, made.rec_id, dry_run=True)
    assert (shown.state, shown.remediation, shown.dry_run) == (RecommendationState.PROPOSED, remediation_id, True)
    with pytest.raises(Conflict):
        await apply(tenancy, made.rec_id, dry_run=True)
    assert (await decide(tenancy, made.rec_id)).state is RecommendationState.APPROVED
    with pytest.raises(Conflict):
        await apply(tenancy, made.rec_id)
    await progress(tenancy, remediation_id, RemediationState.DRY_RUN)
    assert await state_of(tenancy, made.rec_id) is RecommendationState.APPROVED

    _, real = await apply(tenancy, made.rec_id)
    await progress(tenancy, real, RemediationState.SUCCEEDED)
    after, dry = await apply(tenancy, made.rec_id, dry_run=True)
    assert (after.state, after.applied_at, after.remediation) == (RecommendationState.APPLIED, LATER + TICK, dry)
    await progress(tenancy, dry, RemediationState.DRY_RUN)
    assert await state_of(tenancy, made.rec_id) is RecommendationState.APPLIED
    with pytest.raises(Conflict):
        await apply(tenancy, made.rec_id)


async def test_rejected_after_it_failed(tenancy: Tenancy) -> None:
    """What failed may still be rejected, and then is not applied again unless it is approved again."""
    made = await approved(tenancy)
    _, remediation_id = await apply(tenancy, made.rec_id)
    await progress(tenancy, remediation_id, RemediationState.FAILED)
    await decide(tenancy, made.rec_id, False)
    assert await state_of(tenancy, made.rec_id) is RecommendationState.REJECTED
    with pytest.raises(Conflict):
        await apply(tenancy, made.rec_id)
    await decide(tenancy, made.rec_id)
    assert await state_of(tenancy, made.rec_id) is RecommendationState.FAILED
    assert (await apply(tenancy, made.rec_id))[0].state is RecommendationState.APPLYING


async def test_applied_by_two_at_once(storage: Storage, other_storage: Storage, tenancy: Tenancy) -> None:
    """One remediation comes of it; the others are told."""
    made = await approved(tenancy)
    results = await asyncio.gather(
        *(
            one.recommendations.apply(tenancy.id, made.rec_id, order(), now=LATER)
            for one in (storage, other_storage, storage, other_storage)
        ),
        return_exceptions=True,
    )
    assert sum(isinstance(result, Conflict) for result in results) == 3
    [remediation] = await storage.remediations.list(tenancy.id, state=None, alert_id=None, limit=9, before_id=None)
    assert (await storage.recommendations.get(tenancy.id, made.rec_id)).remediation == remediation.id


async def test_a_workflow_is_of_one_remediation(storage: Storage, tenancy: Tenancy) -> None:
    """A workflow's id that is taken is refused, and nothing is linked."""
    first, second = await approved(tenancy), await approved(tenancy)
    taken = order()
    await storage.recommendations.apply(tenancy.id, first.rec_id, taken, now=LATER)
    with pytest.raises(Conflict):
        await storage.recommendations.apply(tenancy.id, second.rec_id, taken, now=LATER)
    assert await storage.recommendations.get(tenancy.id, second.rec_id) == second


async def test_pages(storage: Storage, tenancy: Tenancy) -> None:
    """Pages are newest first and join without gap or repeat, through those of one moment as well, by code points."""
    event = drift_event()
    await storage.drift.add(tenancy.id, event)
    made = [
        recommendation(event.drift_id, f"{name}{n}", created_at=NOON - n * TICK)
        for n in range(2)
        for name in ("a", "B", "b", "-", "_", "a-b", "ab", "A B")
    ]
    for each in made:
        await storage.recommendations.add(tenancy.id, each)
    found: list[Recommendation] = []
    before = None
    while page := await listed(tenancy, limit=3, before=before):
        found += page
        before = (page[-1].created_at, page[-1].rec_id)
    assert found == sorted(made, key=lambda each: (each.created_at, each.rec_id), reverse=True)


async def test_filters(tenancy: Tenancy) -> None:
    """Each filter holds by itself and with a position."""
    usual = await proposed(tenancy)
    other = await proposed(
        tenancy, cluster_id="test", env="staging", recommendation_type="scale_nodes", created_at=NOON + TICK
    )
    other = await decide(tenancy, other.rec_id, False)
    for wanted in (
        RecommendationFilter(cluster_id="test"),
        RecommendationFilter(env="staging"),
        RecommendationFilter(drift_id=other.drift_id),
        RecommendationFilter(recommendation_type="scale_nodes"),
        RecommendationFilter(state=RecommendationState.REJECTED),
        RecommendationFilter(cluster_id="test", env="staging", state=RecommendationState.REJECTED),
    ):
        assert await listed(tenancy, wanted) == [other]
        assert await listed(tenancy, wanted, before=(other.created_at, other.rec_id)) == []
    assert await listed(tenancy) == [other, usual]
    assert await listed(tenancy, RecommendationFilter(cluster_id="test", env="production")) == []
