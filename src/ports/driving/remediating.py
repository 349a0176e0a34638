"""What may be asked about remediation: policies, attempts, approvals, kill switches and the audit trail.

Reading needs scope ``remediate``, ``alerts`` or ``query``, changing ``remediate``. All raise `Forbidden`,
`Unavailable`, and for what is not there `NotFound`. Every change and every answer is recorded in the audit trail.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from core.domain.alerts import Alert
from core.domain.audit import AuditEntry, Broken
from core.domain.remediation import KillSwitch, Remediation, RemediationPolicy, RemediationState, StoredPolicy
from core.domain.tenants import Principal
from ports.driven.workflow_engine import EngineStatus


class RemediationPage(msgspec.Struct, frozen=True):
    """Remediations, newest first, and the cursor of the next page where there is one."""

    data: Sequence[Remediation]
    next_cursor: str | None


class RemediationDetail(msgspec.Struct, frozen=True, kw_only=True):
    """One remediation with its policy as it was, and its timeline."""

    remediation: Remediation
    policy: RemediationPolicy
    timeline: Sequence[AuditEntry]


class ApprovalRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What the holder of a signed link is asked to agree to: everything as it was when the alert fired."""

    tenant: str
    remediation: Remediation
    policy: RemediationPolicy
    alert: Alert


class AuditPage(msgspec.Struct, frozen=True):
    """Entries, newest first, and the cursor of the next page where there is one."""

    data: Sequence[AuditEntry]
    next_cursor: str | None


class AuditVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a tenant's chain holds."""

    tenant: str
    entries: int
    head: str | None
    """The last hash, hexadecimal: keep it elsewhere to prove later that nothing before it changed."""
    broken: Broken | None


class Policies(Protocol):
    """Remediation policies."""

    async def list(self, principal: Principal) -> Sequence[StoredPolicy]:
        """All, by name."""
        ...

    async def get(self, principal: Principal, policy_id: int) -> StoredPolicy:
        """One."""
        ...

    async def create(self, principal: Principal, policy: RemediationPolicy, secrets: Mapping[str, str]) -> StoredPolicy:
        """Adds one; raises `Conflict`, `InvalidInput`."""
        ...

    async def replace(
        self,
        principal: Principal,
        policy_id: int,
        policy: RemediationPolicy,
        secrets: Mapping[str, str] | None,
    ) -> StoredPolicy:
        """Replaces one; `secrets` None keeps those it has. What runs goes on as it began."""
        ...

    async def delete(self, principal: Principal, policy_id: int) -> None:
        """Removes one; raises `Conflict` while rules name it."""
        ...


class Remediations(Protocol):
    """Attempts to repair."""

    async def list(
        self,
        principal: Principal,
        *,
        state: RemediationState | None,
        alert_id: int | None,
        limit: int,
        cursor: str | None,
    ) -> RemediationPage:
        """Newest first."""
        ...

    async def get(self, principal: Principal, remediation_id: int) -> RemediationDetail:
        """One, with its timeline."""
        ...

    async def decide(
        self, principal: Principal, remediation_id: int, *, approved: bool, reason: str | None
    ) -> Remediation:
        """Approves or rejects one that waits for it; raises `Conflict` where it does not."""
        ...

    async def open_link(self, token: str) -> ApprovalRequest:
        """What a signed link is about, without acting; raises `NotFound` where it is forged or too old."""
        ...

    async def decide_by_link(self, token: str, *, approved: bool) -> Remediation:
        """The answer of whoever holds a signed link, each good for one remediation; raises `NotFound`, `Conflict`."""
        ...

    async def cancel(self, principal: Principal, remediation_id: int, *, reason: str | None) -> Remediation:
        """Asks it to stop, before its next action; raises `Conflict` where it has ended."""
        ...

    async def kill_switches(self, principal: Principal) -> Sequence[KillSwitch]:
        """The server's and the tenant's."""
        ...

    async def set_kill_switch(
        self, principal: Principal, *, whole_server: bool, engaged: bool, reason: str
    ) -> Sequence[KillSwitch]:
        """Stops new actions at once, or lets them go on; the whole server's needs an operator."""
        ...

    async def engine(self, principal: Principal) -> tuple[EngineStatus, int]:
        """Whether workflows can be started, and how many of the tenant's remediations wait for that."""
        ...


class Audit(Protocol):
    """The audit trail of the caller's tenant."""

    async def list(
        self,
        principal: Principal,
        *,
        alert_id: int | None,
        remediation_id: int | None,
        limit: int,
        cursor: str | None,
    ) -> AuditPage:
        """Newest first."""
        ...

    async def verify(self, principal: Principal) -> AuditVerdict:
        """Recomputes the whole chain."""
        ...
