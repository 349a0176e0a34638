"""Remediation orders for tests that only pass them on."""

from collections.abc import Mapping
from datetime import UTC, datetime

from core.domain.actions import WaitAction
from core.domain.alerts import Alert, EpisodeState
from core.domain.remediation import (
    ApprovalMode,
    Remediation,
    RemediationOrder,
    RemediationPolicy,
    RemediationState,
    Step,
)
from core.domain.rules import AlertRule, Condition, Severity

FIRED = datetime(2026, 1, 1, tzinfo=UTC)
POLICY = RemediationPolicy(
    name="wait",
    dry_run=False,
    approval=ApprovalMode.NONE,
    steps=(Step(name="wait", action=WaitAction(duration="1s")),),
)


def order(
    number: int, *, policy: RemediationPolicy = POLICY, labels: Mapping[str, str] | None = None
) -> RemediationOrder:
    """The order of remediation `number`, which is also its alert's number."""
    alert = Alert(
        id=number,
        rule="high",
        rule_id=1,
        metric="cpu",
        labels=dict(labels or {"host": "a"}),
        state=EpisodeState.FIRING,
        severity=Severity.CRITICAL,
        value=99.5,
        threshold=90.0,
        started_at=FIRED,
        fired_at=FIRED,
        resolved_at=None,
        resolution=None,
        episode=1,
        no_data=False,
        shadow=False,
        announced=True,
        acknowledged_at=None,
        acknowledged_by=None,
        annotations={"summary": "cpu is high"},
        runbook_url=None,
        remediation=number,
    )
    return RemediationOrder(
        tenant_id=1,
        tenant="default",
        remediation_id=number,
        workflow_id=f"sextant-remediation-1-1-s{number}-1",
        alert=alert,
        rule=AlertRule(name="high", metric="cpu", condition=Condition.ABOVE, critical=90.0),
        policy_id=1,
        policy=policy,
    )


def waiting(order: RemediationOrder) -> Remediation:
    """The remediation of an order, as the transaction that made it leaves it."""
    return Remediation(
        id=order.remediation_id,
        alert_id=order.alert.id,
        rule=order.rule.name,
        policy=order.policy.name,
        workflow_id=order.workflow_id,
        state=RemediationState.WAITING,
        dry_run=order.policy.dry_run,
        detail=None,
        created_at=FIRED,
        started_at=None,
        finished_at=None,
        attempts=0,
        last_error=None,
    )
