"""What a tenant has of alerting and remediation, for tests of who may see it."""

from typing import Any
from uuid import uuid4

import httpx

from core.domain.actions import AnnotateAction
from core.domain.approval_link import SECRET_NAME, ApprovalClaim, make_token
from core.domain.audit import AuditKind, AuditRecord
from core.domain.notifications import AlertEvent, Message
from core.domain.remediation import ApprovalMode, RemediationPolicy, RemediationState, Step
from core.domain.times import TIME_US_MAX
from tests.integration.in_process import InProcess
from tests.support.alert_rows import NOON
from tests.support.alert_storage import open_alert_storage
from tests.support.remediation_rows import insert_remediation
from tests.support.remediation_storage import open_remediation_storage
from tests.support.storages import Tenancy, unique


async def alerting_things(
    server: InProcess, tenancy: Tenancy, client: httpx.AsyncClient, secret: str
) -> dict[str, Any]:
    """One of everything, most of it with `secret` in it; the ids and names as `Subject` has them."""
    channel, policy = unique("secret-channel"), unique("secret-policy")
    matchers = [f"host={secret}"]
    step = {"name": secret, "action": {"type": "annotate", "text": secret}}
    rule = {"name": unique("secret-rule"), "metric": "cpu", "warning": 1, "annotations": {"summary": secret}}
    made = {}
    for name, path, body in (
        ("channel", "alerts/channels", {"type": "webhook", "name": channel, "url": f"https://93.184.215.14/{secret}"}),
        ("policy", "remediation/policies", {"name": policy, "steps": [step], "secrets": {"token": secret}}),
        ("rule", "alerts/rules", rule),
        ("silence", "alerts/silences", {"matchers": matchers, "ends_at": "2199-01-01T00:00:00Z", "reason": secret}),
        ("inhibition", "alerts/inhibitions", {"name": secret, "source": matchers, "target": matchers}),
    ):
        created = await client.post(f"/api/v1/{path}", json=body)
        assert created.status_code == 201, created.text
        made[f"{name}_id"] = created.json()["id"]
    switched = await client.put("/api/v1/remediation/kill-switch", json={"engaged": False, "reason": secret})
    assert switched.status_code == 200, switched.text
    alert_id, remediation_id = await remediation_of(server, tenancy, secret)
    notification_id = await _notification(server, tenancy, made["channel_id"], secret)
    return {
        **made,
        "channel": channel,
        "policy": policy,
        "alert_id": alert_id,
        "remediation_id": remediation_id,
        "notification_id": notification_id,
    }


async def remediation_of(server: InProcess, tenancy: Tenancy, secret: str) -> tuple[int, int]:
    """The ids of an alert and of its remediation, which waits for approval."""
    step = Step(name=secret, action=AnnotateAction(text=secret))
    policy = RemediationPolicy(name=secret, dry_run=False, approval=ApprovalMode.ALWAYS, steps=(step,))
    order = insert_remediation(server.store, tenancy, policy=policy)
    async with open_remediation_storage(server.store) as storage:
        await storage.remediations.progress(
            tenancy.id, order.remediation_id, RemediationState.AWAITING_APPROVAL, detail=secret, now=NOON
        )
        entry = AuditRecord(
            key=unique("entry"),
            kind=AuditKind.DECISION,
            actor="sextant",
            summary=secret,
            alert_id=order.alert.id,
            remediation_id=order.remediation_id,
        )
        await storage.audit_log.append(tenancy.id, entry, now=NOON)
    return order.alert.id, order.remediation_id


async def link_token(server: InProcess, tenant_id: int, remediation_id: int) -> str:
    """The token of a link that never expires."""
    async with open_remediation_storage(server.store) as storage:
        secret = await storage.server_secrets.get(SECRET_NAME)
    claim = ApprovalClaim(tenant_id=tenant_id, remediation_id=remediation_id, expires_us=TIME_US_MAX)
    return make_token(secret, claim)


async def _notification(server: InProcess, tenancy: Tenancy, channel_id: int, secret: str) -> str:
    message = Message(
        id=uuid4(),
        event=AlertEvent.TEST,
        tenant=tenancy.tenant.name,
        rule=secret,
        alerts=(),
        alerts_total=0,
        created_at=NOON,
    )
    async with open_alert_storage(server.store) as storage:
        await storage.notifications.put(tenancy.id, channel_id, message)
    return str(message.id)
