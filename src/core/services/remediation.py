"""Remediations as people see them: answering requests for approval, cancelling, kill switches."""

from collections.abc import Sequence
from typing import Final
from uuid import uuid4

from core.domain.approval_link import SECRET_NAME, ApprovalClaim, check_token
from core.domain.audit import AuditKind, AuditRecord
from core.domain.errors import Conflict, Forbidden, InvalidInput, NotFound, Unavailable
from core.domain.remediation import ENDED, Decision, KillSwitch, Remediation, RemediationState
from core.domain.tenants import Principal, Scope
from core.services.cursors import check_page, cut, decode_row_cursor, encode_cursor
from core.services.recording import READ_REMEDIATION, Recorder, actor
from ports.driven.audit_log import AuditLog
from ports.driven.clock import Clock
from ports.driven.remediation_store import ActionLimits, RemediationStore
from ports.driven.server_secrets import ServerSecrets
from ports.driven.workflow_engine import EngineStatus, WorkflowEngine
from ports.driving.remediating import ApprovalRequest, RemediationDetail, RemediationPage

TIMELINE_MAX: Final = 1_000
"""Twenty steps with their retries, and the rollback, are far fewer entries."""
REASON_CHARS_MAX: Final = 1_000
BY_LINK: Final = "link"
"""Who answered through a signed link: whoever held it."""


class RemediationService:
    """Implements `ports.driving.remediating.Remediations`."""

    def __init__(
        self,
        remediations: RemediationStore,
        limits: ActionLimits,
        engine: WorkflowEngine,
        audit: AuditLog,
        secrets: ServerSecrets,
        clock: Clock,
    ) -> None:
        self._remediations = remediations
        self._limits = limits
        self._engine = engine
        self._audit = audit
        self._secrets = secrets
        self._clock = clock
        self._recorder = Recorder(audit, clock)

    async def list(
        self,
        principal: Principal,
        *,
        state: RemediationState | None,
        alert_id: int | None,
        limit: int,
        cursor: str | None,
    ) -> RemediationPage:
        """See `Remediations.list`."""
        principal.require_any(*READ_REMEDIATION)
        check_page(limit)
        before_id = decode_row_cursor(cursor)
        found = await self._remediations.list(
            principal.tenant_id, state=state, alert_id=alert_id, limit=limit + 1, before_id=before_id
        )
        page, more = cut(found, limit)
        return RemediationPage(page, encode_cursor(page[-1].id) if more else None)

    async def get(self, principal: Principal, remediation_id: int) -> RemediationDetail:
        """See `Remediations.get`."""
        principal.require_any(*READ_REMEDIATION)
        remediation = await self._remediations.get(principal.tenant_id, remediation_id)
        order = await self._remediations.order(principal.tenant_id, remediation_id)
        timeline = await self._audit.list(
            principal.tenant_id, alert_id=None, remediation_id=remediation_id, limit=TIMELINE_MAX, after=None
        )
        return RemediationDetail(remediation=remediation, policy=order.policy, timeline=timeline)

    async def decide(
        self, principal: Principal, remediation_id: int, *, approved: bool, reason: str | None
    ) -> Remediation:
        """See `Remediations.decide`."""
        principal.require(Scope.REMEDIATE)
        if reason is not None:
            _check_reason(reason)
        decision = Decision(approved=approved, by=actor(principal), reason=reason)
        return await self._decide(principal.tenant_id, remediation_id, decision)

    async def open_link(self, token: str) -> ApprovalRequest:
        """See `Remediations.open_link`."""
        claim = await self._claim(token)
        remediation = await self._remediations.get(claim.tenant_id, claim.remediation_id)
        order = await self._remediations.order(claim.tenant_id, claim.remediation_id)
        return ApprovalRequest(tenant=order.tenant, remediation=remediation, policy=order.policy, alert=order.alert)

    async def decide_by_link(self, token: str, *, approved: bool) -> Remediation:
        """See `Remediations.decide_by_link`."""
        claim = await self._claim(token)
        return await self._decide(claim.tenant_id, claim.remediation_id, Decision(approved=approved, by=BY_LINK))

    async def cancel(self, principal: Principal, remediation_id: int, *, reason: str | None) -> Remediation:
        """See `Remediations.cancel`."""
        principal.require(Scope.REMEDIATE)
        if reason is not None:
            _check_reason(reason)
        by, tenant_id = actor(principal), principal.tenant_id
        remediation = await self._remediations.get(tenant_id, remediation_id)
        if remediation.state in ENDED:
            raise Conflict(f"the remediation has ended: it is {remediation.state.value}")
        waited = remediation.state is RemediationState.WAITING
        if waited:
            await self._end(tenant_id, remediation_id, f"cancelled by {by} before it began")
        try:
            # A dispatcher may have started a waiting one meanwhile; if it does so later, no action is granted to it.
            await self._engine.cancel(remediation.workflow_id, by)
        except NotFound:
            if not waited:
                await self._end(tenant_id, remediation_id, f"cancelled by {by}; its workflow was gone")
                ended = await self._remediations.get(tenant_id, remediation_id)
                _check_cancelled(ended)
        except Unavailable:
            if not waited:
                raise
        await self._recorder.changed(
            principal,
            "cancelled the remediation" + _because(reason),
            alert_id=remediation.alert_id,
            remediation_id=remediation_id,
            key=f"cancelled-{remediation_id}",
        )
        return await self._remediations.get(tenant_id, remediation_id)

    async def kill_switches(self, principal: Principal) -> Sequence[KillSwitch]:
        """See `Remediations.kill_switches`."""
        principal.require_any(*READ_REMEDIATION)
        return await self._limits.kill_switches(principal.tenant_id)

    async def set_kill_switch(
        self, principal: Principal, *, whole_server: bool, engaged: bool, reason: str
    ) -> Sequence[KillSwitch]:
        """See `Remediations.set_kill_switch`."""
        principal.require(Scope.REMEDIATE)
        if whole_server and not principal.is_operator:
            raise Forbidden("only an admin key of the tenant 'default' may do this for the whole server")
        _check_reason(reason)
        await self._limits.set_kill_switch(
            None if whole_server else principal.tenant_id,
            engaged=engaged,
            by=actor(principal),
            reason=reason,
            now=self._recorder.now(),
        )
        what = "of the whole server" if whole_server else f"of the tenant {principal.tenant}"
        done = "engaged" if engaged else "released"
        await self._recorder.changed(principal, f"{done} the kill switch {what}{_because(reason)}")
        return await self._limits.kill_switches(principal.tenant_id)

    async def engine(self, principal: Principal) -> tuple[EngineStatus, int]:
        """See `Remediations.engine`."""
        principal.require_any(*READ_REMEDIATION)
        status = await self._engine.status()
        return status, await self._remediations.waiting(principal.tenant_id)

    async def _claim(self, token: str) -> ApprovalClaim:
        """What a link is about; raises `NotFound` where it is not one, without saying why."""
        secret = await self._secrets.get(SECRET_NAME)
        claim = check_token(secret, token, now_us=self._clock.now_us())
        if claim is None:
            raise NotFound("approval link", token[:8])
        return claim

    async def _decide(self, tenant_id: int, remediation_id: int, decision: Decision) -> Remediation:
        remediation = await self._remediations.get(tenant_id, remediation_id)
        if remediation.state is not RemediationState.AWAITING_APPROVAL:
            raise Conflict(f"the remediation does not wait for approval: it is {remediation.state.value}")
        try:
            await self._engine.decide(remediation.workflow_id, decision)
        except NotFound:
            raise Conflict("the remediation's workflow does not run any more") from None
        answer = "an approval" if decision.approved else "a rejection"
        record = AuditRecord(
            key=f"answer-{uuid4().hex}",
            kind=AuditKind.APPROVAL,
            actor=decision.by,
            summary=f"passed on {answer}{_because(decision.reason)}",
            alert_id=remediation.alert_id,
            remediation_id=remediation_id,
        )
        await self._audit.append(tenant_id, record, now=self._recorder.now())
        return await self._remediations.get(tenant_id, remediation_id)

    async def _end(self, tenant_id: int, remediation_id: int, detail: str) -> None:
        await self._remediations.progress(
            tenant_id, remediation_id, RemediationState.CANCELLED, detail=detail, now=self._recorder.now()
        )


def _because(reason: str | None) -> str:
    return f": {reason}" if reason is not None else ""


def _check_cancelled(remediation: Remediation) -> None:
    """Raises `Conflict` where it ended otherwise before it could be cancelled."""
    if remediation.state is not RemediationState.CANCELLED:
        raise Conflict(f"the remediation has ended: it is {remediation.state.value}")


def _check_reason(reason: str) -> None:
    if not 1 <= len(reason) <= REASON_CHARS_MAX or "\x00" in reason:
        raise InvalidInput("reason", f"must have 1 to {REASON_CHARS_MAX} characters, none of them NUL")
