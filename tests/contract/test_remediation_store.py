"""The remediation store port: where each remediation stands, per tenant."""

import asyncio
from datetime import timedelta

import msgspec
import pytest

from core.domain.errors import NotFound
from core.domain.remediation import ENDED, Remediation, RemediationState
from tests.contract.test_policy_store import FULL
from tests.support.remediation_rows import CREATED, insert_remediation
from tests.support.remediation_storage import RemediationStorage, open_remediation_storage
from tests.support.storages import Store, Tenancy

LATER = CREATED + timedelta(seconds=1)
LAST = CREATED + timedelta(seconds=9)
ENDS = [state for state in RemediationState if state in ENDED]
UNDER_WAY = [RemediationState.RUNNING, RemediationState.AWAITING_APPROVAL, RemediationState.VERIFYING]


async def ids(
    repairs: RemediationStorage,
    tenancy: Tenancy,
    *,
    state: RemediationState | None = None,
    alert_id: int | None = None,
    limit: int = 100,
    before_id: int | None = None,
) -> list[int]:
    """Which are listed."""
    found = await repairs.remediations.list(
        tenancy.id, state=state, alert_id=alert_id, limit=limit, before_id=before_id
    )
    return [each.id for each in found]


async def test_as_it_was_written(repairs: RemediationStorage, store: Store, tenancy: Tenancy) -> None:
    """What evaluation wrote is shown, by itself and in the list, and is what the workflow gets."""
    order = insert_remediation(store, tenancy, policy=FULL)
    shown = Remediation(
        id=order.remediation_id,
        alert_id=order.alert.id,
        rule="cpu high",
        policy=FULL.name,
        workflow_id=order.workflow_id,
        state=RemediationState.WAITING,
        dry_run=False,
        detail=None,
        created_at=CREATED,
        started_at=None,
        finished_at=None,
        attempts=0,
        last_error=None,
    )
    assert await repairs.remediations.get(tenancy.id, order.remediation_id) == shown
    assert await repairs.remediations.order(tenancy.id, order.remediation_id) == order
    assert list(await repairs.remediations.list(tenancy.id, state=None, alert_id=None, limit=9, before_id=None)) == [
        shown
    ]


async def test_unknown(repairs: RemediationStorage, tenancy: Tenancy) -> None:
    """An id that no remediation has is not found."""
    with pytest.raises(NotFound):
        await repairs.remediations.get(tenancy.id, 2**62)
    with pytest.raises(NotFound):
        await repairs.remediations.order(tenancy.id, 2**62)
    with pytest.raises(NotFound):
        await repairs.remediations.progress(tenancy.id, 2**62, RemediationState.RUNNING, detail=None, now=LATER)


@pytest.mark.parametrize("state", UNDER_WAY)
async def test_under_way(repairs: RemediationStorage, store: Store, tenancy: Tenancy, state: RemediationState) -> None:
    """It has started when it first moves on, in any process, and not ended; each state has its own detail."""
    remediation_id = insert_remediation(store, tenancy).remediation_id
    await repairs.remediations.progress(tenancy.id, remediation_id, state, detail="on „it“", now=LATER)
    async with open_remediation_storage(store) as later:
        shown = await later.remediations.get(tenancy.id, remediation_id)
    assert (shown.state, shown.detail, shown.started_at, shown.finished_at) == (state, "on „it“", LATER, None)
    await repairs.remediations.progress(tenancy.id, remediation_id, RemediationState.VERIFYING, detail=None, now=LAST)
    shown = await repairs.remediations.get(tenancy.id, remediation_id)
    assert (shown.state, shown.detail, shown.started_at) == (RemediationState.VERIFYING, None, LATER)


@pytest.mark.parametrize("state", ENDS)
async def test_ended(repairs: RemediationStorage, store: Store, tenancy: Tenancy, state: RemediationState) -> None:
    """What has ended stays as it ended, whatever comes after, its own repeat included."""
    remediation_id = insert_remediation(store, tenancy).remediation_id
    await repairs.remediations.progress(tenancy.id, remediation_id, RemediationState.RUNNING, detail=None, now=CREATED)
    await repairs.remediations.progress(tenancy.id, remediation_id, state, detail="why", now=LATER)
    ended = await repairs.remediations.get(tenancy.id, remediation_id)
    assert (ended.state, ended.detail, ended.started_at, ended.finished_at) == (state, "why", CREATED, LATER)
    for after in RemediationState:
        await repairs.remediations.progress(tenancy.id, remediation_id, after, detail="else", now=LAST)
        assert await repairs.remediations.get(tenancy.id, remediation_id) == ended


async def test_ended_before_it_started(repairs: RemediationStorage, store: Store, tenancy: Tenancy) -> None:
    """One that is cancelled while it waits never started, and is not claimed any more."""
    remediation_id = insert_remediation(store, tenancy).remediation_id
    await repairs.remediations.progress(
        tenancy.id, remediation_id, RemediationState.CANCELLED, detail="by key:sx", now=LATER
    )
    shown = await repairs.remediations.get(tenancy.id, remediation_id)
    assert (shown.started_at, shown.finished_at) == (None, LATER)
    claimed = await repairs.outbox.claim(now=LAST, lease_s=0.0, limit=1_000)
    assert remediation_id not in [order.remediation_id for order in claimed]


async def test_ends_at_once(
    repairs: RemediationStorage, other_repairs: RemediationStorage, store: Store, tenancy: Tenancy
) -> None:
    """Of several ends at once one is kept, whole."""
    remediation_id = insert_remediation(store, tenancy).remediation_id
    await asyncio.gather(
        *(
            (repairs, other_repairs)[n % 2].remediations.progress(
                tenancy.id, remediation_id, state, detail=state.value, now=CREATED + timedelta(seconds=n)
            )
            for n, state in enumerate(ENDS)
        )
    )
    shown = await repairs.remediations.get(tenancy.id, remediation_id)
    assert shown.detail == shown.state.value
    assert shown.finished_at == CREATED + timedelta(seconds=ENDS.index(shown.state))


async def test_list(repairs: RemediationStorage, store: Store, tenancy: Tenancy) -> None:
    """Newest first, in pages, by state and by alert."""
    orders = [insert_remediation(store, tenancy) for _ in range(5)]
    written = [order.remediation_id for order in orders]
    for remediation_id in written[:2]:
        await repairs.remediations.progress(tenancy.id, remediation_id, RemediationState.FAILED, detail=None, now=LATER)
    assert await ids(repairs, tenancy) == written[::-1]
    assert await ids(repairs, tenancy, limit=2) == [written[4], written[3]]
    assert await ids(repairs, tenancy, limit=2, before_id=written[3]) == [written[2], written[1]]
    assert await ids(repairs, tenancy, before_id=written[0]) == []
    assert await ids(repairs, tenancy, state=RemediationState.FAILED) == [written[1], written[0]]
    assert await ids(repairs, tenancy, state=RemediationState.FAILED, before_id=written[1]) == [written[0]]
    assert await ids(repairs, tenancy, state=RemediationState.EXPIRED) == []
    assert await ids(repairs, tenancy, alert_id=orders[2].alert.id) == [written[2]]
    assert await ids(repairs, tenancy, alert_id=orders[2].alert.id, state=RemediationState.FAILED) == []


async def test_waiting(repairs: RemediationStorage, store: Store, tenancy: Tenancy, neighbour: Tenancy) -> None:
    """Those that wait are counted, of one tenant or of all."""
    before = await repairs.remediations.waiting(None)
    first = insert_remediation(store, tenancy).remediation_id
    insert_remediation(store, tenancy)
    insert_remediation(store, neighbour)
    assert await repairs.remediations.waiting(None) == before + 3
    assert await repairs.remediations.waiting(tenancy.id) == 2
    await repairs.remediations.progress(tenancy.id, first, RemediationState.RUNNING, detail=None, now=LATER)
    assert await repairs.remediations.waiting(tenancy.id) == 1
    assert await repairs.remediations.waiting(neighbour.id) == 1
    assert await repairs.remediations.waiting(None) == before + 2


async def test_tenants_apart(repairs: RemediationStorage, store: Store, tenancy: Tenancy, neighbour: Tenancy) -> None:
    """A remediation is its tenant's alone: the neighbour neither sees nor moves it."""
    order = insert_remediation(store, tenancy)
    remediation_id = order.remediation_id
    with pytest.raises(NotFound):
        await repairs.remediations.get(neighbour.id, remediation_id)
    with pytest.raises(NotFound):
        await repairs.remediations.order(neighbour.id, remediation_id)
    with pytest.raises(NotFound):
        await repairs.remediations.progress(
            neighbour.id, remediation_id, RemediationState.CANCELLED, detail=None, now=LATER
        )
    assert await ids(repairs, neighbour) == []
    assert await ids(repairs, neighbour, alert_id=order.alert.id) == []
    shown = await repairs.remediations.get(tenancy.id, remediation_id)
    assert shown == msgspec.structs.replace(shown, state=RemediationState.WAITING, finished_at=None)
