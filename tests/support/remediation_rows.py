"""Remediations as evaluation leaves them: rows that no port of remediation writes."""

import itertools
from datetime import UTC, datetime

import msgspec
import psycopg

from adapters.driven.memory.database import MemoryDatabase
from adapters.driven.memory.remediation_tables import RemediationRow
from core.domain.actions import WaitAction
from core.domain.alerts import Alert, EpisodeState
from core.domain.remediation import (
    Remediation,
    RemediationOrder,
    RemediationPolicy,
    RemediationState,
    Step,
    workflow_id,
)
from core.domain.rules import AlertRule, Severity
from tests.support.storages import Store, Tenancy

CREATED = datetime(2026, 1, 31, 12, 0, 0, 123456, tzinfo=UTC)
RULE = AlertRule(name="cpu high", metric="cpu", warning=0.5, critical=0.9, labels={"team": "a"}, remediation="restart")
POLICY = RemediationPolicy(name="restart", steps=(Step(name="wait", action=WaitAction(duration="5s")),))

_episodes = itertools.count(1)

INSERT_ALERT = """
INSERT INTO sextant.alerts (tenant_id, rule_id, target_key, episode, rule_name, metric, labels, state, severity, value,
    threshold, started_at, fired_at, no_data, shadow, announced, annotations)
VALUES (%(tenant_id)s, 1, 's1', %(episode)s, 'cpu high', 'cpu', '{"host": "a"}', 'firing', 'critical', 0.97, '0.9',
    %(created)s, %(created)s, false, false, true, '{}')
RETURNING id
"""
INSERT_REMEDIATION = """
INSERT INTO sextant.remediations (tenant_id, alert_id, rule_name, policy_id, policy_name, workflow_id, dry_run, alert,
    rule, policy, created_at, next_attempt_at)
VALUES (%(tenant_id)s, %(alert_id)s, %(rule_name)s, %(policy_id)s, %(policy_name)s, %(workflow_id)s, %(dry_run)s,
    %(alert)s, %(rule)s, %(policy)s, %(created)s, %(created)s)
RETURNING id
"""


def insert_remediation(
    store: Store, tenancy: Tenancy, *, policy: RemediationPolicy = POLICY, created: datetime = CREATED
) -> RemediationOrder:
    """A remediation that waits since `created`, of an alert of its own; what its workflow is to work from."""
    episode = next(_episodes)
    order = RemediationOrder(
        tenant_id=tenancy.id,
        tenant=tenancy.tenant.name,
        remediation_id=0,
        workflow_id=workflow_id(tenancy.id, 1, "s1", episode),
        alert=_alert(episode, created),
        rule=RULE,
        policy_id=3,
        policy=policy,
    )
    if isinstance(store.place, str):
        return _insert_into_database(store.place, order, created)
    return _insert_into_memory(store.place, order, created)


def _insert_into_database(url: str, order: RemediationOrder, created: datetime) -> RemediationOrder:
    with psycopg.connect(url) as connection:
        row = connection.execute(
            INSERT_ALERT, {"tenant_id": order.tenant_id, "episode": order.alert.episode, "created": created}
        ).fetchone()
        assert row is not None
        order = msgspec.structs.replace(order, alert=msgspec.structs.replace(order.alert, id=row[0]))
        row = connection.execute(
            INSERT_REMEDIATION,
            {
                "tenant_id": order.tenant_id,
                "alert_id": order.alert.id,
                "rule_name": order.rule.name,
                "policy_id": order.policy_id,
                "policy_name": order.policy.name,
                "workflow_id": order.workflow_id,
                "dry_run": order.policy.dry_run,
                "alert": msgspec.json.encode(order.alert).decode(),
                "rule": msgspec.json.encode(order.rule).decode(),
                "policy": msgspec.json.encode(order.policy).decode(),
                "created": created,
            },
        ).fetchone()
        assert row is not None
    return msgspec.structs.replace(order, remediation_id=row[0])


def _insert_into_memory(tables: MemoryDatabase, order: RemediationOrder, created: datetime) -> RemediationOrder:
    remediation_id = tables.next_id("remediations")
    order = msgspec.structs.replace(
        order,
        remediation_id=remediation_id,
        alert=msgspec.structs.replace(order.alert, id=tables.next_id("alerts")),
    )
    remediation = Remediation(
        id=remediation_id,
        alert_id=order.alert.id,
        rule=order.rule.name,
        policy=order.policy.name,
        workflow_id=order.workflow_id,
        state=RemediationState.WAITING,
        dry_run=order.policy.dry_run,
        detail=None,
        created_at=created,
        started_at=None,
        finished_at=None,
        attempts=0,
        last_error=None,
    )
    tables.remediations[remediation_id] = RemediationRow(remediation=remediation, order=order, next_attempt_at=created)
    return order


def _alert(episode: int, started_at: datetime) -> Alert:
    return Alert(
        id=0,
        rule=RULE.name,
        rule_id=1,
        metric="cpu",
        labels={"host": "a", "team": "a"},
        state=EpisodeState.FIRING,
        severity=Severity.CRITICAL,
        value=0.97,
        threshold=0.9,
        started_at=started_at,
        fired_at=started_at,
        resolved_at=None,
        resolution=None,
        episode=episode,
        no_data=False,
        shadow=False,
        announced=True,
        acknowledged_at=None,
        acknowledged_by=None,
        annotations={"summary": "cpu is high – „now“"},
        runbook_url=None,
        remediation=None,
    )
