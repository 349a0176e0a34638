"""The drift store port: what detection recommends, as long as its drift lasts."""

from datetime import timedelta

import msgspec
import pytest

from core.domain.drift import DriftStatus
from core.domain.recommendations import RecommendationState
from core.domain.remediation import RemediationState
from tests.support.application import order
from tests.support.cluster_rows import NOON, drift_event, recommendation
from tests.support.storages import Storage, Tenancy

TICK = timedelta(microseconds=1)
LATER = NOON + timedelta(hours=1)


async def test_other_savings_are_no_other_proposal(storage: Storage, tenancy: Tenancy) -> None:
    """What was read may still be approved."""
    event, first = drift_event("lasting"), recommendation("lasting", "rec")
    saving = msgspec.structs.replace(first, estimated_savings_usd=7.0, updated_at=LATER)
    for one in (first, saving):
        await storage.drift.save_found(tenancy.id, "prod", [(event, one)], now=LATER)
    shown = await storage.recommendations.get(tenancy.id, "rec")
    assert shown == msgspec.structs.replace(first, estimated_savings_usd=7.0)


async def test_what_is_not_called_for_is_withdrawn(storage: Storage, tenancy: Tenancy) -> None:
    """Until it is again. What could not be looked at now is left; so is what others recommend or decided, and what is
    over."""
    store = storage.recommendations
    names = ("lasting", "unseen", "decided", "reported", "resolved")
    events = [drift_event(name, last_seen_at=NOON if name == "unseen" else LATER) for name in names]
    made = [recommendation(name, f"{name}-fix", automatic=name != "reported") for name in names]
    await storage.drift.save_found(tenancy.id, "prod", [(event, None) for event in events], now=NOON)
    for one in made:
        await store.add(tenancy.id, one)
    await store.decide(tenancy.id, "decided-fix", approved=True, by="alice", reason=None, now=NOON)
    await storage.drift.set_status(tenancy.id, "resolved", DriftStatus.RESOLVED, by="alice", note=None, now=NOON)
    before = {one.rec_id: await store.get(tenancy.id, one.rec_id) for one in made}

    await storage.drift.save_found(tenancy.id, "prod", [(event, None) for event in events], now=LATER)
    withdrawn = await store.get(tenancy.id, "lasting-fix")
    assert (withdrawn.state, withdrawn.decided_by) == (RecommendationState.REJECTED, "sextant")
    assert (withdrawn.decided_at, withdrawn.updated_at) == (LATER, LATER)
    assert withdrawn.reason
    for name in names[1:]:
        assert await store.get(tenancy.id, f"{name}-fix") == before[f"{name}-fix"]

    again = msgspec.structs.replace(made[0], updated_at=LATER + TICK)
    await storage.drift.save_found(tenancy.id, "prod", [(events[0], again)], now=LATER + TICK)
    assert await store.get(tenancy.id, "lasting-fix") == again


@pytest.mark.parametrize(
    ("ended", "waited", "is_renewed"),
    [
        (RemediationState.FAILED, TICK, True),
        (RemediationState.REFUSED, TICK, True),
        (RemediationState.ROLLED_BACK, TICK, True),
        (RemediationState.RUNNING, timedelta(days=9), False),
        (RemediationState.SUCCEEDED, timedelta(days=9), False),
        (None, timedelta(days=1), True),
        (None, timedelta(days=1) - TICK, False),
    ],
)
async def test_what_was_approved_in_vain_makes_room(
    storage: Storage, tenancy: Tenancy, ended: RemediationState | None, waited: timedelta, is_renewed: bool
) -> None:
    """For another proposal, which somebody is to decide on; the same one stays as it was decided."""
    store, event, first = storage.recommendations, drift_event("lasting"), recommendation("lasting", "rec")
    await storage.drift.save_found(tenancy.id, "prod", [(event, first)], now=NOON)
    await store.decide(tenancy.id, "rec", approved=True, by="alice", reason="fine", now=LATER)
    if ended is not None:
        _, remediation_id = await store.apply(tenancy.id, "rec", order(), now=LATER)
        await storage.remediations.progress(tenancy.id, remediation_id, ended, detail=None, now=LATER)
    decided, now = await store.get(tenancy.id, "rec"), LATER + waited
    same = msgspec.structs.replace(first, updated_at=now)
    await storage.drift.save_found(tenancy.id, "prod", [(event, same)], now=now)
    assert await store.get(tenancy.id, "rec") == decided
    other = msgspec.structs.replace(same, recommendation_json={"replicas": 2})
    await storage.drift.save_found(tenancy.id, "prod", [(event, other)], now=now)
    found = await store.get(tenancy.id, "rec")
    if not is_renewed:
        assert found == decided
        return
    assert found == msgspec.structs.replace(other, remediation=decided.remediation, dry_run=decided.dry_run)
    await store.decide(tenancy.id, "rec", approved=True, by="alice", reason=None, now=now)
    assert (await store.apply(tenancy.id, "rec", order(), now=now))[0].state is RecommendationState.APPLYING
