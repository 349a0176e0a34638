"""Orders of applying recommendations, as stores are given them."""

from uuid import uuid4

import msgspec

from core.domain.alerts import Alert, EpisodeState
from core.domain.remediation import RemediationOrder
from tests.support.cluster_rows import NOON
from tests.support.remediation_rows import POLICY, RULE

ALERT = Alert(
    id=0,
    rule="apply",
    rule_id=0,
    metric="recommendation",
    labels={"workload": "größe"},
    state=EpisodeState.FIRING,
    severity=None,
    value=None,
    threshold=None,
    started_at=NOON,
    fired_at=NOON,
    resolved_at=None,
    resolution=None,
    episode=1,
    no_data=False,
    shadow=False,
    announced=False,
    acknowledged_at=None,
    acknowledged_by=None,
    annotations={},
    runbook_url=None,
    remediation=None,
)


def order(*, dry_run: bool = False, workflow_id: str | None = None) -> RemediationOrder:
    """What the workflow of an application works from, before the store fills it in."""
    return RemediationOrder(
        tenant_id=0,
        tenant="",
        remediation_id=0,
        workflow_id=workflow_id or f"sextant-recommendation-{uuid4()}",
        alert=ALERT,
        rule=RULE,
        policy_id=0,
        policy=msgspec.structs.replace(POLICY, dry_run=dry_run),
    )
