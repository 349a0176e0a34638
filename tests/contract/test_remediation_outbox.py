"""The remediation outbox port: workflows to start, for any number of dispatchers.

Stores are shared with other tests, whose remediations wait in the same outbox: each test here lives at a time of its
own, so that what others left is no longer due, or looks only at its own tenant's.
"""

import asyncio
import itertools
from collections import Counter
from datetime import datetime, timedelta

import pytest

from core.domain.remediation import RemediationOrder, RemediationState
from tests.support.remediation_rows import CREATED, insert_remediation
from tests.support.remediation_storage import RemediationStorage
from tests.support.storages import Store, Tenancy

LEASE_S = 30.0
ALL = 10_000
FOREVER_S = 1e9
DISPATCHERS = 8
REMEDIATIONS = 60

_days = itertools.count(1)


@pytest.fixture
async def now(repairs: RemediationStorage) -> datetime:
    """Return a time at which nothing of other tests is due."""
    now = CREATED + timedelta(days=next(_days))
    await repairs.outbox.claim(now=now, lease_s=FOREVER_S, limit=ALL)
    return now


async def claimed(
    repairs: RemediationStorage, now: datetime, *, lease_s: float = LEASE_S, limit: int = ALL
) -> list[RemediationOrder]:
    """What one dispatcher gets."""
    return list(await repairs.outbox.claim(now=now, lease_s=lease_s, limit=limit))


async def test_claimed_until_the_lease_ends(
    repairs: RemediationStorage, other_repairs: RemediationStorage, store: Store, tenancy: Tenancy, now: datetime
) -> None:
    """Who claims gets the whole order; nobody else does until the lease ends; each time the attempt is counted."""
    order = insert_remediation(store, tenancy, created=now)
    assert await claimed(repairs, now - timedelta(microseconds=1)) == []
    assert await claimed(repairs, now) == [order]
    almost = now + timedelta(seconds=LEASE_S, microseconds=-1)
    assert await claimed(other_repairs, almost) == []
    assert await claimed(repairs, almost) == []
    assert await claimed(other_repairs, now + timedelta(seconds=LEASE_S)) == [order]
    shown = await repairs.remediations.get(tenancy.id, order.remediation_id)
    assert (shown.attempts, shown.state, shown.started_at) == (2, RemediationState.WAITING, None)


async def test_oldest_first(
    repairs: RemediationStorage, store: Store, tenancy: Tenancy, neighbour: Tenancy, now: datetime
) -> None:
    """The oldest come first, of all tenants, as many as were asked for."""
    orders = [insert_remediation(store, owner, created=now) for owner in (tenancy, neighbour, tenancy)]
    assert await claimed(repairs, now, limit=2) == orders[:2]
    assert await claimed(repairs, now, limit=2) == orders[2:]


async def test_confirmed(repairs: RemediationStorage, store: Store, tenancy: Tenancy, now: datetime) -> None:
    """Once confirmed it runs, is never claimed again, and a repeat changes nothing."""
    remediation_id = insert_remediation(store, tenancy, created=now).remediation_id
    await claimed(repairs, now)
    await repairs.outbox.confirm(tenancy.id, remediation_id, now=now)
    shown = await repairs.remediations.get(tenancy.id, remediation_id)
    assert (shown.state, shown.started_at, shown.finished_at) == (RemediationState.RUNNING, now, None)
    await repairs.outbox.confirm(tenancy.id, remediation_id, now=now + timedelta(hours=1))
    assert await repairs.remediations.get(tenancy.id, remediation_id) == shown
    assert await claimed(repairs, now + timedelta(days=9)) == []


async def test_confirmed_late(repairs: RemediationStorage, store: Store, tenancy: Tenancy, now: datetime) -> None:
    """A workflow that got further before it was confirmed stays there."""
    second = timedelta(seconds=1)
    remediation_id = insert_remediation(store, tenancy, created=now).remediation_id
    await repairs.remediations.progress(
        tenancy.id, remediation_id, RemediationState.AWAITING_APPROVAL, detail="asked", now=now
    )
    before = await repairs.remediations.get(tenancy.id, remediation_id)
    await repairs.outbox.confirm(tenancy.id, remediation_id, now=now + second)
    assert await repairs.remediations.get(tenancy.id, remediation_id) == before

    remediation_id = insert_remediation(store, tenancy, created=now).remediation_id
    await repairs.remediations.progress(
        tenancy.id, remediation_id, RemediationState.REFUSED, detail="no", now=now + second
    )
    await repairs.outbox.confirm(tenancy.id, remediation_id, now=now + 2 * second)
    shown = await repairs.remediations.get(tenancy.id, remediation_id)
    assert (shown.state, shown.detail, shown.finished_at) == (RemediationState.REFUSED, "no", now + second)
    assert shown.started_at == now + second, "it started, and not after it ended"


async def test_postponed(repairs: RemediationStorage, store: Store, tenancy: Tenancy, now: datetime) -> None:
    """One that could not be started waits until it is due again, and says why; a start in the end forgets that."""
    order = insert_remediation(store, tenancy, created=now)
    due = now + timedelta(seconds=5)
    await claimed(repairs, now)
    await repairs.outbox.postpone(tenancy.id, order.remediation_id, error="Temporal is away", next_attempt_at=due)
    shown = await repairs.remediations.get(tenancy.id, order.remediation_id)
    assert (shown.state, shown.last_error, shown.attempts) == (RemediationState.WAITING, "Temporal is away", 1)
    assert await claimed(repairs, due - timedelta(microseconds=1)) == []
    assert await claimed(repairs, due) == [order]
    await repairs.outbox.confirm(tenancy.id, order.remediation_id, now=due)
    shown = await repairs.remediations.get(tenancy.id, order.remediation_id)
    assert (shown.state, shown.last_error, shown.attempts) == (RemediationState.RUNNING, None, 2)
    await repairs.outbox.postpone(tenancy.id, order.remediation_id, error="late", next_attempt_at=due)
    assert await repairs.remediations.get(tenancy.id, order.remediation_id) == shown


async def test_several_dispatchers(
    repairs: RemediationStorage,
    other_repairs: RemediationStorage,
    store: Store,
    tenancy: Tenancy,
    neighbour: Tenancy,
    now: datetime,
) -> None:
    """However many claim at once, in two processes, each remediation goes to one of them and none is left."""
    orders = [insert_remediation(store, (tenancy, neighbour)[n % 2], created=now) for n in range(REMEDIATIONS)]

    async def dispatcher(storage: RemediationStorage) -> list[str]:
        started: list[str] = []
        # A round may come away empty although rows wait: those that another has locked are skipped.
        while await storage.remediations.waiting(tenancy.id) + await storage.remediations.waiting(neighbour.id):
            for order in await storage.outbox.claim(now=now, lease_s=LEASE_S, limit=7):
                started.append(order.workflow_id)
                await storage.outbox.confirm(order.tenant_id, order.remediation_id, now=now)
        return started

    rounds = await asyncio.gather(*(dispatcher((repairs, other_repairs)[n % 2]) for n in range(DISPATCHERS)))
    assert Counter(itertools.chain.from_iterable(rounds)) == Counter(order.workflow_id for order in orders)
    for order in orders:
        assert (await repairs.remediations.get(order.tenant_id, order.remediation_id)).attempts == 1


async def test_tenants_apart(
    repairs: RemediationStorage, store: Store, tenancy: Tenancy, neighbour: Tenancy, now: datetime
) -> None:
    """An order names its tenant, and only under that tenant can it be confirmed or postponed."""
    order = insert_remediation(store, tenancy, created=now)
    before = await repairs.remediations.get(tenancy.id, order.remediation_id)
    await repairs.outbox.confirm(neighbour.id, order.remediation_id, now=now)
    await repairs.outbox.postpone(
        neighbour.id, order.remediation_id, error="not yours", next_attempt_at=now + timedelta(days=1)
    )
    assert await repairs.remediations.get(tenancy.id, order.remediation_id) == before
    [claim] = await claimed(repairs, now)
    assert (claim.tenant_id, claim.tenant) == (tenancy.id, tenancy.tenant.name)
