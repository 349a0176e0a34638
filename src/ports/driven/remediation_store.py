"""Remediation policies, remediations with their outbox, what limits actions, and kill switches."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from core.domain.remediation import (
    KillSwitch,
    Remediation,
    RemediationOrder,
    RemediationPolicy,
    RemediationState,
    StoredPolicy,
)


class PolicyStore(Protocol):
    """Remediation policies of one tenant. Raises `NotFound`, `Conflict`, `Unavailable`."""

    async def list(self, tenant_id: int) -> Sequence[StoredPolicy]:
        """All, by name."""
        ...

    async def get(self, tenant_id: int, policy_id: int) -> StoredPolicy:
        """One."""
        ...

    async def create(self, tenant_id: int, policy: RemediationPolicy, secrets: Mapping[str, str]) -> StoredPolicy:
        """Adds one."""
        ...

    async def replace(
        self, tenant_id: int, policy_id: int, policy: RemediationPolicy, secrets: Mapping[str, str] | None
    ) -> StoredPolicy:
        """Replaces one; `secrets` None keeps those it has. Remediations under way go on under the old one."""
        ...

    async def delete(self, tenant_id: int, policy_id: int) -> None:
        """Removes one; rules that name it then repair nothing."""
        ...

    async def secrets(self, tenant_id: int, policy_id: int) -> Mapping[str, str]:
        """For acting; empty where the policy is gone."""
        ...


class RemediationStore(Protocol):
    """Remediations of one tenant. Raises `NotFound`, `Unavailable`."""

    async def list(
        self,
        tenant_id: int,
        *,
        state: RemediationState | None,
        alert_id: int | None,
        limit: int,
        before_id: int | None,
    ) -> Sequence[Remediation]:
        """Newest first (descending id), those with an id below `before_id`."""
        ...

    async def get(self, tenant_id: int, remediation_id: int) -> Remediation:
        """One."""
        ...

    async def order(self, tenant_id: int, remediation_id: int) -> RemediationOrder:
        """What its workflow works from, as it was when the alert fired."""
        ...

    async def progress(
        self, tenant_id: int, remediation_id: int, state: RemediationState, *, detail: str | None, now: datetime
    ) -> None:
        """Records where it stands; an ended one stays as it ended. Safe to repeat."""
        ...

    async def waiting(self, tenant_id: int | None) -> int:
        """How many wait for their workflow to be started, of one tenant or all."""
        ...


class RemediationOutbox(Protocol):
    """For dispatchers, of all tenants. Safe for several at once: a row is claimed by one until its lease ends."""

    async def claim(self, *, now: datetime, lease_s: float, limit: int) -> Sequence[RemediationOrder]:
        """Waiting remediations that are due, oldest first; counts the attempt."""
        ...

    async def confirm(self, tenant_id: int, remediation_id: int, *, now: datetime) -> None:
        """Its workflow was started; safe to repeat."""
        ...

    async def postpone(self, tenant_id: int, remediation_id: int, *, error: str, next_attempt_at: datetime) -> None:
        """It could not be started."""
        ...


class Reservation(msgspec.Struct, frozen=True, kw_only=True):
    """What an action is about to do, for its limits to be judged."""

    key: str
    """The action's idempotency key: reserving it again is granted by all limits, and counts once."""
    remediation_id: int
    policy: str
    target: str
    """What the action changes, such as ``kubernetes:shop/checkout``."""
    rollback: bool
    """Undoing what was done is neither limited nor stopped by a kill switch, only counted."""
    cooldown_s: float
    tenant_per_hour_max: int
    target_per_hour_max: int


class ActionLimits(Protocol):
    """The blast radius. Counting and reserving are one transaction, one at a time within a tenant."""

    async def reserve(self, tenant_id: int, reservation: Reservation, *, now: datetime) -> str | None:
        """None: go on. Else why not, in words: a kill switch, a limit, the cooldown of an earlier remediation, that the
        alert resolved before this one acted, or that this one has ended, cancelled while a dispatcher started it."""
        ...

    async def kill_switches(self, tenant_id: int) -> Sequence[KillSwitch]:
        """The whole server's and the tenant's, in this order."""
        ...

    async def set_kill_switch(
        self, tenant_id: int | None, *, engaged: bool, by: str, reason: str, now: datetime
    ) -> None:
        """Sets a tenant's or (None) the whole server's; in force when this returns."""
        ...
