"""The ports of remediation and the audit trail as a few dictionaries."""

from collections.abc import Mapping, Sequence

import msgspec

from core.domain.actions import AnnotateAction
from core.domain.errors import Conflict, NotFound
from core.domain.remediation import (
    ENDED,
    KillSwitch,
    Remediation,
    RemediationPolicy,
    RemediationState,
    Step,
    StoredPolicy,
)
from core.domain.tenants import Principal, Scope
from core.domain.times import EPOCH
from ports.driven.workflow_engine import EngineStatus
from ports.driving.remediating import (
    ApprovalRequest,
    AuditPage,
    AuditVerdict,
    RemediationDetail,
    RemediationPage,
)
from tests.unit.http.alert_fakes import ALERT, ENTRY, Scoped
from tests.unit.http.fakes import MADE_AT

TOKEN = "good-token"
POLICY = RemediationPolicy(name="note", steps=(Step(name="write", action=AnnotateAction(text="seen")),))
REMEDIATION = Remediation(
    id=1,
    alert_id=1,
    rule="busy",
    policy="note",
    workflow_id="sextant-remediation-2-1-a-1",
    state=RemediationState.AWAITING_APPROVAL,
    dry_run=False,
    detail=None,
    created_at=MADE_AT,
    started_at=MADE_AT,
    finished_at=None,
    attempts=1,
    last_error=None,
)


class Remediating(Scoped):
    changing = Scope.REMEDIATE
    reading = (Scope.REMEDIATE, Scope.ALERTS, Scope.QUERY)


class PolicyBook(Remediating):
    """Policies by id, and their secrets apart from them."""

    def __init__(self) -> None:
        super().__init__()
        self.by_id: dict[int, StoredPolicy] = {}
        self.secrets_by_id: dict[int, Mapping[str, str]] = {}

    async def list(self, principal: Principal) -> Sequence[StoredPolicy]:
        self._read(principal)
        return list(self.by_id.values())

    async def get(self, principal: Principal, policy_id: int) -> StoredPolicy:
        self._read(principal)
        return self._one(policy_id)

    async def create(self, principal: Principal, policy: RemediationPolicy, secrets: Mapping[str, str]) -> StoredPolicy:
        self._change(principal)
        return self._put(len(self.by_id) + 1, policy, secrets)

    async def replace(
        self, principal: Principal, policy_id: int, policy: RemediationPolicy, secrets: Mapping[str, str] | None
    ) -> StoredPolicy:
        self._change(principal)
        self._one(policy_id)
        return self._put(policy_id, policy, self.secrets_by_id[policy_id] if secrets is None else secrets)

    async def delete(self, principal: Principal, policy_id: int) -> None:
        self._change(principal)
        self._one(policy_id)
        del self.by_id[policy_id]

    def _one(self, policy_id: int) -> StoredPolicy:
        if policy_id not in self.by_id:
            raise NotFound("remediation policy", str(policy_id))
        return self.by_id[policy_id]

    def _put(self, policy_id: int, policy: RemediationPolicy, secrets: Mapping[str, str]) -> StoredPolicy:
        assert type(policy) is RemediationPolicy
        self.secrets_by_id[policy_id] = secrets
        self.by_id[policy_id] = StoredPolicy(
            id=policy_id,
            policy=policy,
            secret_names=tuple(secrets),
            revision=1,
            created_at=MADE_AT,
            updated_at=MADE_AT,
        )
        return self.by_id[policy_id]


class RemediationBook(Remediating):
    """Remediations by id; `TOKEN` is the signed link of the first."""

    def __init__(self) -> None:
        super().__init__()
        self.by_id = {number: msgspec.structs.replace(REMEDIATION, id=number) for number in (1, 2, 3)}
        self.policy = POLICY
        self.alert = ALERT
        self.switches = {
            name: KillSwitch(tenant=name, engaged=False, by=None, reason=None, changed_at=None)
            for name in (None, "default")
        }

    async def list(
        self,
        principal: Principal,
        *,
        state: RemediationState | None,
        alert_id: int | None,
        limit: int,
        cursor: str | None,
    ) -> RemediationPage:
        self._read(principal, state, alert_id, limit, cursor)
        return RemediationPage(list(self.by_id.values()), None)

    async def get(self, principal: Principal, remediation_id: int) -> RemediationDetail:
        self._read(principal)
        return RemediationDetail(remediation=self._one(remediation_id), policy=self.policy, timeline=[ENTRY])

    async def decide(
        self, principal: Principal, remediation_id: int, *, approved: bool, reason: str | None
    ) -> Remediation:
        self._change(principal, remediation_id, approved, reason)
        return self._decided(remediation_id, approved=approved)

    async def open_link(self, token: str) -> ApprovalRequest:
        self._check()
        self._opened(token)
        return ApprovalRequest(tenant="acme", remediation=self.by_id[1], policy=self.policy, alert=self.alert)

    async def decide_by_link(self, token: str, *, approved: bool) -> Remediation:
        self._check()
        self._opened(token)
        return self._decided(1, approved=approved)

    async def cancel(self, principal: Principal, remediation_id: int, *, reason: str | None) -> Remediation:
        self._change(principal, remediation_id, reason)
        return self._moved(remediation_id, RemediationState.CANCELLED)

    async def kill_switches(self, principal: Principal) -> Sequence[KillSwitch]:
        self._read(principal)
        return list(self.switches.values())

    async def set_kill_switch(
        self, principal: Principal, *, whole_server: bool, engaged: bool, reason: str
    ) -> Sequence[KillSwitch]:
        self._change(principal)
        name = None if whole_server else "default"
        self.switches[name] = KillSwitch(tenant=name, engaged=engaged, by="key:abc123", reason=reason, changed_at=EPOCH)
        return list(self.switches.values())

    async def engine(self, principal: Principal) -> tuple[EngineStatus, int]:
        self._read(principal)
        return EngineStatus(available=True, address="localhost:7233"), 0

    def _opened(self, token: str) -> None:
        if token != TOKEN:
            raise NotFound("link", token)

    def _one(self, remediation_id: int) -> Remediation:
        if remediation_id not in self.by_id:
            raise NotFound("remediation", str(remediation_id))
        return self.by_id[remediation_id]

    def _decided(self, remediation_id: int, *, approved: bool) -> Remediation:
        if self._one(remediation_id).state is not RemediationState.AWAITING_APPROVAL:
            raise Conflict("the remediation does not wait for approval")
        return self._moved(remediation_id, RemediationState.RUNNING if approved else RemediationState.REJECTED)

    def _moved(self, remediation_id: int, state: RemediationState) -> Remediation:
        if self._one(remediation_id).state in ENDED:
            raise Conflict("the remediation has ended")
        self.by_id[remediation_id] = msgspec.structs.replace(self._one(remediation_id), state=state)
        return self.by_id[remediation_id]


class AuditTrail(Remediating):
    """One entry."""

    async def list(
        self,
        principal: Principal,
        *,
        alert_id: int | None,
        remediation_id: int | None,
        limit: int,
        cursor: str | None,
    ) -> AuditPage:
        self._read(principal, alert_id, remediation_id, limit, cursor)
        return AuditPage([ENTRY], None)

    async def verify(self, principal: Principal) -> AuditVerdict:
        self._read(principal)
        return AuditVerdict(tenant=principal.tenant, entries=1, head=ENTRY.hash.hex(), broken=None)
