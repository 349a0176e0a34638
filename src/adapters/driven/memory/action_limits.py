"""Limits of remediation actions in memory."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from adapters.driven.memory.database import MemoryDatabase
from adapters.driven.memory.remediation_tables import ActionRow
from core.domain.alerts import EpisodeState
from core.domain.blast_radius import WINDOW, Taken, refusal
from core.domain.remediation import ENDED, KillSwitch
from ports.driven.remediation_store import Reservation

WHOLE_SERVER: Final = 0
"""Stands for a tenant's id."""


class MemoryActionLimits:
    """Implements `ActionLimits`."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database

    async def reserve(self, tenant_id: int, reservation: Reservation, *, now: datetime) -> str | None:
        """Counts the action, or says why it must not be."""
        if not reservation.rollback:
            refused = refusal(
                self._taken(tenant_id, reservation, now),
                policy=reservation.policy,
                target=reservation.target,
                tenant_per_hour_max=reservation.tenant_per_hour_max,
                target_per_hour_max=reservation.target_per_hour_max,
                cooldown=timedelta(seconds=reservation.cooldown_s),
            )
            if refused is not None:
                return refused
        action = ActionRow(
            tenant_id=tenant_id,
            key=reservation.key,
            remediation_id=reservation.remediation_id,
            policy=reservation.policy,
            target=reservation.target,
            rollback=reservation.rollback,
            reserved_at=now,
        )
        self._database.remediation_actions.setdefault((tenant_id, reservation.key), action)
        return None

    async def kill_switches(self, tenant_id: int) -> Sequence[KillSwitch]:
        """The whole server's and the tenant's."""
        return self._switches(tenant_id)

    async def set_kill_switch(
        self, tenant_id: int | None, *, engaged: bool, by: str, reason: str, now: datetime
    ) -> None:
        """Sets a tenant's or (None) the whole server's."""
        switch = KillSwitch(tenant=self._name(tenant_id), engaged=engaged, by=by, reason=reason, changed_at=now)
        self._database.kill_switches[WHOLE_SERVER if tenant_id is None else tenant_id] = switch

    def _switches(self, tenant_id: int) -> list[KillSwitch]:
        switches = self._database.kill_switches
        return [
            switches.get(WHOLE_SERVER if whose is None else whose)
            or KillSwitch(tenant=self._name(whose), engaged=False, by=None, reason=None, changed_at=None)
            for whose in (None, tenant_id)
        ]

    def _name(self, tenant_id: int | None) -> str | None:
        return None if tenant_id is None else self._database.tenants[tenant_id].tenant.name

    def _ended(self, tenant_id: int, remediation_id: int) -> bool:
        row = self._database.remediations.get(remediation_id)
        return row is not None and row.order.tenant_id == tenant_id and row.remediation.state in ENDED

    def _resolved(self, tenant_id: int, remediation_id: int) -> bool:
        remediation = self._database.remediations.get(remediation_id)
        if remediation is None or remediation.order.tenant_id != tenant_id:
            return False
        actions = self._database.remediation_actions.items()
        acted = any(owner == tenant_id and row.remediation_id == remediation_id for (owner, _), row in actions)
        alert = self._database.alerts.get(remediation.order.alert.id)
        return not acted and alert is not None and alert.alert.state is EpisodeState.RESOLVED

    def _taken(self, tenant_id: int, reservation: Reservation, now: datetime) -> Taken:
        actions = [row for (owner, _), row in self._database.remediation_actions.items() if owner == tenant_id]
        on_target = [row for row in actions if row.target == reservation.target]
        touched = (
            row.reserved_at
            for row in on_target
            if row.policy == reservation.policy
            and row.remediation_id != reservation.remediation_id
            and row.reserved_at > now - timedelta(seconds=reservation.cooldown_s)
        )
        return Taken(
            switches=self._switches(tenant_id),
            ended=self._ended(tenant_id, reservation.remediation_id),
            resolved=self._resolved(tenant_id, reservation.remediation_id),
            repeated=(tenant_id, reservation.key) in self._database.remediation_actions,
            tenant_full_at=_nth_newest(actions, reservation.tenant_per_hour_max, now),
            target_full_at=_nth_newest(on_target, reservation.target_per_hour_max, now),
            touched_at=max(touched, default=None),
        )


def _nth_newest(actions: Sequence[ActionRow], n: int, now: datetime) -> datetime | None:
    recent = sorted((row.reserved_at for row in actions if row.reserved_at > now - WINDOW), reverse=True)
    return recent[n - 1] if len(recent) >= n else None
