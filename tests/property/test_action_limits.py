"""Limits of remediation actions: any sequence of reservations against a slow count of what was granted.

The same sequences run on every adapter of the port and must be answered in the same words.
"""

import asyncio
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from adapters.driven.memory.action_limits import MemoryActionLimits
from core.domain.blast_radius import WINDOW
from ports.driven.remediation_store import ActionLimits, Reservation
from ports.driven.tenant_store import LimitOverrides
from tests.support.remediation_storage import open_remediation_storage
from tests.support.storages import Store, memory_store, unique

EXAMPLES = {"memory": 300, "postgres": 25, "timescale-wasm": 10, "timescale-native": 15}
NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
COOLDOWN_S = 1_200.0


class Attempt(msgspec.Struct, frozen=True):
    """A reservation, and how long after the one before it is asked for."""

    after: timedelta
    reservation: Reservation


class Switch(msgspec.Struct, frozen=True):
    """The tenant's kill switch is set."""

    engaged: bool


# Few keys, remediations, policies and targets: repeats and collisions are the rule.
reservations = st.builds(
    Reservation,
    key=st.integers(1, 60).map(str),
    remediation_id=st.integers(1, 4),
    policy=st.sampled_from(["restart", "scale"]),
    target=st.sampled_from(["db", "web"]),
    rollback=st.sampled_from([False] * 9 + [True]),
    cooldown_s=st.sampled_from([0.0, COOLDOWN_S]),
    tenant_per_hour_max=st.integers(1, 6),
    target_per_hour_max=st.integers(1, 4),
)
pauses = st.sampled_from([0, 1, 60, 1_199, 1_200, 3_599]).map(lambda seconds: timedelta(seconds=seconds))
attempts = st.builds(Attempt, pauses, reservations)
switches = st.builds(Switch, st.sampled_from([True, False, False]))
histories = st.lists(st.one_of(*[attempts] * 9, switches), min_size=5, max_size=40)


class Ledger:
    """The oracle: everything that was granted, counted anew each time."""

    def __init__(self) -> None:
        self._granted: dict[str, tuple[datetime, Reservation]] = {}
        self.engaged = False

    def allows(self, wanted: Reservation, now: datetime) -> bool:
        """Whether it may be done; if so it is written down."""
        if not wanted.rollback and (self.engaged or not (wanted.key in self._granted or self._has_room(wanted, now))):
            return False
        self._granted.setdefault(wanted.key, (now, wanted))
        return True

    def _has_room(self, wanted: Reservation, now: datetime) -> bool:
        recent = [each for at, each in self._granted.values() if now - at < WINDOW]
        on_target = [each for each in recent if each.target == wanted.target]
        cooling = any(
            (each.policy, each.target) == (wanted.policy, wanted.target)
            and each.remediation_id != wanted.remediation_id
            and now - at < timedelta(seconds=wanted.cooldown_s)
            for at, each in self._granted.values()
        )
        return len(recent) < wanted.tenant_per_hour_max and len(on_target) < wanted.target_per_hour_max and not cooling


async def answers(limits: ActionLimits, tenant_id: int, history: list[Attempt | Switch]) -> list[str | None]:
    """What each attempt is told."""
    now = NOW
    told: list[str | None] = []
    for event in history:
        match event:
            case Attempt(after, reservation):
                now += after
                told.append(await limits.reserve(tenant_id, reservation, now=now))
            case Switch(engaged):
                await limits.set_kill_switch(tenant_id, engaged=engaged, by="test", reason="drill", now=now)
    return told


def allowed(history: list[Attempt | Switch]) -> list[bool]:
    """What the oracle allows."""
    now, ledger, said = NOW, Ledger(), []
    for event in history:
        match event:
            case Attempt(after, reservation):
                now += after
                said.append(ledger.allows(reservation, now))
            case Switch(engaged):
                ledger.engaged = engaged
    return said


async def both(store: Store, history: list[Attempt | Switch]) -> tuple[list[str | None], list[str | None]]:
    """What `store` and a new one in memory answer, for a tenant of the same name."""
    name = unique("tenant")
    reference = memory_store()
    async with store.open() as storage, open_remediation_storage(store) as repairs, reference.open() as memory:
        tenant = await storage.tenants.create(name, LimitOverrides())
        twin = await memory.tenants.create(name, LimitOverrides())
        assert not isinstance(reference.place, str)
        return (
            await answers(repairs.limits, tenant.id, history),
            await answers(MemoryActionLimits(reference.place), twin.id, history),
        )


def test_any_sequence(store: Store) -> None:
    """Granted is exactly what a count of everything granted before allows, on every adapter, in the same words."""

    @settings(
        max_examples=EXAMPLES[store.engine],
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
    )
    @given(histories)
    def check(history: list[Attempt | Switch]) -> None:
        told, reference = asyncio.run(both(store, history))
        assert told == reference
        assert [answer is None for answer in told] == allowed(history)

    check()


@pytest.mark.parametrize("limit", ["tenant_per_hour_max", "target_per_hour_max", "cooldown_s"])
@given(history=st.lists(attempts, max_size=12), wanted=reservations)
@settings(deadline=None)
def test_free_when_it_says(limit: str, history: list[Attempt], wanted: Reservation) -> None:
    """An action that is refused is granted at the time that the refusal names, and not a moment before."""
    open_end = {"tenant_per_hour_max": 1_000, "target_per_hour_max": 1_000, "cooldown_s": 0.0}
    open_end.pop(limit)
    wanted = msgspec.structs.replace(wanted, key="wanted", rollback=False, **open_end)
    store = memory_store()
    assert not isinstance(store.place, str)
    limits = MemoryActionLimits(store.place)

    async def run() -> None:
        async with store.open() as storage:
            tenant = await storage.tenants.create("a", LimitOverrides())
        await answers(limits, tenant.id, list(history))
        now = NOW + sum((attempt.after for attempt in history), timedelta())
        refused = await limits.reserve(tenant.id, wanted, now=now)
        if refused is None:
            return
        free = datetime.fromisoformat(refused.split()[-1].rstrip("."))
        assert now < free <= now + max(WINDOW, timedelta(seconds=COOLDOWN_S))
        assert await limits.reserve(tenant.id, wanted, now=free - timedelta(microseconds=1)) == refused
        assert await limits.reserve(tenant.id, wanted, now=free) is None

    asyncio.run(run())
