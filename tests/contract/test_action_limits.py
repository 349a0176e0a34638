"""The action limits port: the blast radius of a tenant's remediations, and kill switches."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from core.domain.errors import Unavailable
from core.domain.remediation import KillSwitch, RemediationState
from ports.driven.remediation_store import Reservation
from tests.support.remediation_rows import insert_remediation
from tests.support.remediation_storage import RemediationStorage, open_remediation_storage
from tests.support.storages import Store, Tenancy

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
TICK = timedelta(microseconds=1)
AT_ONCE = 24


def action(
    number: int,
    *,
    remediation_id: int | None = None,
    policy: str = "restart",
    target: str | None = None,
    rollback: bool = False,
    cooldown_s: float = 0.0,
    tenant_max: int = 100,
    target_max: int = 100,
) -> Reservation:
    """An action with a key, and unless given a remediation and a target, of its own."""
    return Reservation(
        key=f"action {number}",
        remediation_id=number if remediation_id is None else remediation_id,
        policy=policy,
        target=f"host {number}" if target is None else target,
        rollback=rollback,
        cooldown_s=cooldown_s,
        tenant_per_hour_max=tenant_max,
        target_per_hour_max=target_max,
    )


@pytest.fixture
async def whole_server(repairs: RemediationStorage, tenancy: Tenancy) -> AsyncIterator[None]:
    """Disengage the whole server's kill switch when the test is over: the store is every test's."""
    yield
    await repairs.limits.set_kill_switch(None, engaged=False, by="test", reason="over", now=NOW)


async def test_granted(repairs: RemediationStorage, tenancy: Tenancy) -> None:
    """What stays within all limits is granted."""
    for number in range(5):
        assert await repairs.limits.reserve(tenancy.id, action(number), now=NOW) is None


async def test_tenant_per_hour(repairs: RemediationStorage, store: Store, tenancy: Tenancy) -> None:
    """The tenant's limit counts all its actions of the last hour, in any process, and names when one is free."""
    for number in range(3):
        granted = await repairs.limits.reserve(tenancy.id, action(number, tenant_max=3), now=NOW + number * MINUTE)
        assert granted is None
    async with open_remediation_storage(store) as later:
        refused = await later.limits.reserve(tenancy.id, action(3, tenant_max=3), now=NOW + 3 * MINUTE)
    assert refused == ("The tenant's limit of 3 actions per hour is reached; the next is free at 2026-01-31T13:00:00Z.")
    assert await repairs.limits.reserve(tenancy.id, action(3, tenant_max=3), now=NOW + HOUR - TICK) is not None
    assert await repairs.limits.reserve(tenancy.id, action(3, tenant_max=3), now=NOW + HOUR) is None
    assert await repairs.limits.reserve(tenancy.id, action(4, tenant_max=3), now=NOW + HOUR) is not None


async def test_lower_limit(repairs: RemediationStorage, tenancy: Tenancy) -> None:
    """A policy with a lower limit waits until few enough of all the tenant's actions are of the last hour."""
    for number in range(4):
        await repairs.limits.reserve(tenancy.id, action(number), now=NOW + number * MINUTE)
    refused = await repairs.limits.reserve(tenancy.id, action(9, tenant_max=2), now=NOW + 4 * MINUTE)
    assert refused is not None
    assert refused.endswith("the next is free at 2026-01-31T13:02:00Z.")
    assert await repairs.limits.reserve(tenancy.id, action(9, tenant_max=2), now=NOW + HOUR + MINUTE) is not None
    assert await repairs.limits.reserve(tenancy.id, action(9, tenant_max=2), now=NOW + HOUR + 2 * MINUTE) is None


async def test_target_per_hour(repairs: RemediationStorage, tenancy: Tenancy) -> None:
    """The target's limit counts what was done to that target alone, by whatever policy."""
    for number, policy in enumerate(("restart", "scale")):
        one = action(number, policy=policy, target="kubernetes:shop/checkout", target_max=2)
        assert await repairs.limits.reserve(tenancy.id, one, now=NOW) is None
    more = action(2, target="kubernetes:shop/checkout", target_max=2)
    assert await repairs.limits.reserve(tenancy.id, more, now=NOW) == (
        "The limit of 2 actions per hour on kubernetes:shop/checkout is reached; "
        "the next is free at 2026-01-31T13:00:00Z."
    )
    elsewhere = action(2, target="kubernetes:shop/cart", target_max=2)
    assert await repairs.limits.reserve(tenancy.id, elsewhere, now=NOW) is None
    assert await repairs.limits.reserve(tenancy.id, more, now=NOW + HOUR) is None


async def test_cooldown(repairs: RemediationStorage, tenancy: Tenancy) -> None:
    """After an attempt, another remediation of the same policy leaves the target alone for a while."""

    def on_target(number: int, remediation_id: int, policy: str = "restart", target: str = "db") -> Reservation:
        return action(number, remediation_id=remediation_id, policy=policy, target=target, cooldown_s=600.0)

    assert await repairs.limits.reserve(tenancy.id, on_target(1, 1), now=NOW) is None
    assert await repairs.limits.reserve(tenancy.id, on_target(2, 1), now=NOW + MINUTE) is None, "the same attempt"
    assert await repairs.limits.reserve(tenancy.id, on_target(3, 2), now=NOW + MINUTE) == (
        "An earlier remediation of policy 'restart' acted on db, which cools down until 2026-01-31T12:11:00Z."
    )
    assert await repairs.limits.reserve(tenancy.id, on_target(4, 2, policy="scale"), now=NOW + MINUTE) is None
    assert await repairs.limits.reserve(tenancy.id, on_target(5, 2, target="web"), now=NOW + MINUTE) is None
    assert await repairs.limits.reserve(tenancy.id, on_target(3, 2), now=NOW + 11 * MINUTE - TICK) is not None
    assert await repairs.limits.reserve(tenancy.id, on_target(3, 2), now=NOW + 11 * MINUTE) is None


async def test_order_of_refusal(repairs: RemediationStorage, tenancy: Tenancy) -> None:
    """Where several things speak against an action, the widest is named: tenant, target, cooldown."""
    await repairs.limits.reserve(tenancy.id, action(1, target="db"), now=NOW)
    said = []
    for tenant_max, target_max in ((1, 1), (9, 1), (9, 9)):
        against = action(2, target="db", cooldown_s=60.0, tenant_max=tenant_max, target_max=target_max)
        refused = await repairs.limits.reserve(tenancy.id, against, now=NOW)
        assert refused is not None
        said.append(refused.split()[1])
    assert said == ["tenant's", "limit", "earlier"]
    await repairs.limits.set_kill_switch(tenancy.id, engaged=True, by="key:sx", reason="drill", now=NOW)
    refused = await repairs.limits.reserve(tenancy.id, against, now=NOW)
    assert refused is not None
    assert refused.startswith("The kill switch")


async def test_same_key(repairs: RemediationStorage, tenancy: Tenancy) -> None:
    """What was granted is granted again, whatever the limits say meanwhile, and counts once, at its first time."""
    one = action(1, target="db", tenant_max=1, target_max=1, cooldown_s=600.0)
    assert await repairs.limits.reserve(tenancy.id, one, now=NOW) is None
    for _ in range(3):
        assert await repairs.limits.reserve(tenancy.id, one, now=NOW + 30 * MINUTE) is None
    two = action(2, tenant_max=2)
    assert await repairs.limits.reserve(tenancy.id, two, now=NOW + 30 * MINUTE) is None
    assert await repairs.limits.reserve(tenancy.id, one, now=NOW + 30 * MINUTE) is None
    assert await repairs.limits.reserve(tenancy.id, action(3, tenant_max=2), now=NOW + HOUR) is None


@pytest.mark.parametrize("state", [RemediationState.CANCELLED, RemediationState.SUCCEEDED])
async def test_ended(repairs: RemediationStorage, store: Store, tenancy: Tenancy, state: RemediationState) -> None:
    """A remediation that has ended, while it waited too, may not act any more, not even repeat; only roll back."""
    remediation_id = insert_remediation(store, tenancy).remediation_id
    granted = action(1, remediation_id=remediation_id)
    assert await repairs.limits.reserve(tenancy.id, granted, now=NOW) is None
    await repairs.remediations.progress(tenancy.id, remediation_id, state, detail=None, now=NOW)
    for each in (granted, action(2, remediation_id=remediation_id)):
        refused = await repairs.limits.reserve(tenancy.id, each, now=NOW)
        assert refused == "The remediation has ended; it may not act any more."
    undo = action(3, remediation_id=remediation_id, rollback=True)
    assert await repairs.limits.reserve(tenancy.id, undo, now=NOW) is None


async def test_refusals_do_not_count(repairs: RemediationStorage, tenancy: Tenancy) -> None:
    """What was refused used nothing up."""
    await repairs.limits.reserve(tenancy.id, action(1, tenant_max=1), now=NOW)
    for _ in range(3):
        assert await repairs.limits.reserve(tenancy.id, action(2, tenant_max=1), now=NOW) is not None
    assert await repairs.limits.reserve(tenancy.id, action(3, tenant_max=2), now=NOW) is None


@pytest.mark.usefixtures("whole_server")
async def test_rollback(repairs: RemediationStorage, tenancy: Tenancy) -> None:
    """Undoing is never refused, neither by limits nor by a kill switch, but counts."""
    await repairs.limits.reserve(tenancy.id, action(1, target="db"), now=NOW)
    await repairs.limits.set_kill_switch(tenancy.id, engaged=True, by="key:sx", reason="drill", now=NOW)
    await repairs.limits.set_kill_switch(None, engaged=True, by="key:sx", reason="drill", now=NOW)
    undo = action(2, target="db", rollback=True, cooldown_s=600.0, tenant_max=1, target_max=1)
    for _ in range(2):
        assert await repairs.limits.reserve(tenancy.id, undo, now=NOW) is None
    for whose in (tenancy.id, None):
        await repairs.limits.set_kill_switch(whose, engaged=False, by="key:sx", reason="over", now=NOW)
    assert await repairs.limits.reserve(tenancy.id, action(3, tenant_max=2), now=NOW) is not None
    assert await repairs.limits.reserve(tenancy.id, action(3, tenant_max=3), now=NOW) is None


async def test_tenants_kill_switch(repairs: RemediationStorage, tenancy: Tenancy, neighbour: Tenancy) -> None:
    """A tenant's kill switch stops its new actions at once, repeats of granted ones too, and nobody else's."""
    granted = action(1)
    await repairs.limits.reserve(tenancy.id, granted, now=NOW)
    await repairs.limits.set_kill_switch(tenancy.id, engaged=True, by="key:sx", reason="a drill", now=NOW)
    said = f"The kill switch of tenant {tenancy.tenant.name} is engaged by key:sx: a drill"
    for each in (granted, action(2)):
        assert await repairs.limits.reserve(tenancy.id, each, now=NOW) == said
    assert await repairs.limits.reserve(neighbour.id, granted, now=NOW) is None
    await repairs.limits.set_kill_switch(tenancy.id, engaged=False, by="key:sx", reason="over", now=NOW)
    for each in (granted, action(2)):
        assert await repairs.limits.reserve(tenancy.id, each, now=NOW) is None


@pytest.mark.usefixtures("whole_server")
async def test_whole_servers_kill_switch(
    repairs: RemediationStorage, other_repairs: RemediationStorage, tenancy: Tenancy, neighbour: Tenancy
) -> None:
    """The whole server's kill switch stops every tenant's new actions, in every process, before a tenant's own."""
    await repairs.limits.set_kill_switch(None, engaged=True, by="key:op", reason="a fire", now=NOW)
    await repairs.limits.set_kill_switch(tenancy.id, engaged=True, by="key:sx", reason="a drill", now=NOW)
    for owner in (tenancy, neighbour):
        refused = await other_repairs.limits.reserve(owner.id, action(1), now=NOW)
        assert refused == "The kill switch of the whole server is engaged by key:op: a fire"


@pytest.mark.usefixtures("whole_server")
async def test_kill_switches_shown(repairs: RemediationStorage, store: Store, tenancy: Tenancy) -> None:
    """Both are shown as they were set last, in any process; one that nobody ever set is not engaged."""
    whole, own = await repairs.limits.kill_switches(tenancy.id)
    assert (whole.tenant, whole.engaged) == (None, False)
    assert own == KillSwitch(tenant=tenancy.tenant.name, engaged=False, by=None, reason=None, changed_at=None)
    await repairs.limits.set_kill_switch(None, engaged=True, by="key:op", reason="„Feuer“", now=NOW)
    await repairs.limits.set_kill_switch(tenancy.id, engaged=True, by="key:sx", reason="a drill", now=NOW)
    await repairs.limits.set_kill_switch(tenancy.id, engaged=False, by="link", reason="over", now=NOW + TICK)
    async with open_remediation_storage(store) as later:
        assert list(await later.limits.kill_switches(tenancy.id)) == [
            KillSwitch(tenant=None, engaged=True, by="key:op", reason="„Feuer“", changed_at=NOW),
            KillSwitch(tenant=tenancy.tenant.name, engaged=False, by="link", reason="over", changed_at=NOW + TICK),
        ]


@pytest.mark.parametrize(("tenant_max", "target_max"), [(5, 100), (100, 5)])
async def test_many_at_once(
    repairs: RemediationStorage,
    other_repairs: RemediationStorage,
    tenancy: Tenancy,
    neighbour: Tenancy,
    tenant_max: int,
    target_max: int,
) -> None:
    """However many reserve at once, in two processes, exactly as many are granted as the limit allows."""
    tenancies = (tenancy, neighbour)
    answers = await asyncio.gather(
        *(
            (repairs, other_repairs)[number % 2].limits.reserve(
                tenancies[number // 2 % 2].id,
                action(number, target="db", tenant_max=tenant_max, target_max=target_max),
                now=NOW + number * TICK,
            )
            for number in range(2 * AT_ONCE)
        )
    )
    for index in range(2):
        granted = [answer is None for number, answer in enumerate(answers) if number // 2 % 2 == index]
        assert granted.count(True) == 5


async def test_one_attempt_at_once(
    repairs: RemediationStorage, other_repairs: RemediationStorage, tenancy: Tenancy
) -> None:
    """Of several remediations that reach for the same target at once, one gets it."""
    answers = await asyncio.gather(
        *(
            (repairs, other_repairs)[number % 2].limits.reserve(
                tenancy.id, action(number, target="db", cooldown_s=60.0), now=NOW
            )
            for number in range(AT_ONCE)
        )
    )
    assert answers.count(None) == 1


async def test_one_key_at_once(
    repairs: RemediationStorage, other_repairs: RemediationStorage, tenancy: Tenancy
) -> None:
    """The same action reserved many times at once is granted each time and counts once."""
    one = action(1, tenant_max=1)
    answers = await asyncio.gather(
        *((repairs, other_repairs)[n % 2].limits.reserve(tenancy.id, one, now=NOW) for n in range(AT_ONCE))
    )
    assert answers == [None] * AT_ONCE
    assert await repairs.limits.reserve(tenancy.id, action(2, tenant_max=2), now=NOW) is None


@pytest.mark.usefixtures("whole_server")
@pytest.mark.parametrize("whole", [True, False])
async def test_in_force_when_it_returns(
    repairs: RemediationStorage, other_repairs: RemediationStorage, tenancy: Tenancy, whole: bool
) -> None:
    """Once setting a kill switch has returned, no reservation that is still under way is granted."""
    engaged = False
    granted_after = 0

    async def reserve(number: int) -> None:
        nonlocal granted_after
        answer = await (repairs, other_repairs)[number % 2].limits.reserve(tenancy.id, action(number), now=NOW)
        granted_after += answer is None and engaged

    async def engage() -> None:
        nonlocal engaged
        whose = None if whole else tenancy.id
        await repairs.limits.set_kill_switch(whose, engaged=True, by="key:op", reason="now", now=NOW)
        engaged = True

    reservations = [reserve(number) for number in range(2 * AT_ONCE)]
    await asyncio.gather(*reservations[:AT_ONCE], engage(), *reservations[AT_ONCE:])
    assert await repairs.limits.reserve(tenancy.id, action(-1), now=NOW) is not None
    assert granted_after == 0


@pytest.mark.usefixtures("two_transactions")
async def test_locked_out(
    repairs: RemediationStorage, store: Store, tenancy: Tenancy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where another reservation never comes to an end nothing is granted or said to be in force, until it does."""
    if not isinstance(store.place, str):
        pytest.skip("needs a lock that somebody holds; in memory nothing is ever held")
    with monkeypatch.context() as hasty, psycopg.connect(store.place) as other:
        hasty.setattr("adapters.driven.postgres.action_limits.LOCK_TIMEOUT_S", 0.1)
        other.execute("SELECT pg_advisory_xact_lock(hashtext('sextant.actions'), %s)", (tenancy.id,))
        with pytest.raises(Unavailable):
            await repairs.limits.reserve(tenancy.id, action(1), now=NOW)
        with pytest.raises(Unavailable):
            await repairs.limits.set_kill_switch(tenancy.id, engaged=True, by="key:sx", reason="drill", now=NOW)
    assert await repairs.limits.reserve(tenancy.id, action(1), now=NOW) is None


async def test_tenants_apart(repairs: RemediationStorage, tenancy: Tenancy, neighbour: Tenancy) -> None:
    """Keys, counts, targets and kill switches are a tenant's own."""
    one = action(1, target="db", tenant_max=1, target_max=1, cooldown_s=600.0)
    assert await repairs.limits.reserve(tenancy.id, one, now=NOW) is None
    other = action(1, remediation_id=2, target="db", tenant_max=1, target_max=1, cooldown_s=600.0)
    assert await repairs.limits.reserve(neighbour.id, other, now=NOW) is None
    assert await repairs.limits.reserve(neighbour.id, action(2, tenant_max=1), now=NOW) is not None
    await repairs.limits.set_kill_switch(neighbour.id, engaged=True, by="key:sx", reason="drill", now=NOW)
    assert [each.engaged for each in await repairs.limits.kill_switches(tenancy.id)] == [False, False]
