"""Evaluation in memory: one leader at a time, whose commits move the journal's cursor."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import msgspec

from adapters.driven.memory.alert_tables import AlertRow, EventRow
from adapters.driven.memory.block_log import whole_blocks
from adapters.driven.memory.database import MemoryDatabase, SeriesRow
from adapters.driven.memory.remediation_tables import RemediationRow
from core.domain.alerts import Alert, EpisodeState
from core.domain.columns import Int32s
from core.domain.errors import Unavailable
from core.domain.remediation import Remediation, RemediationOrder, RemediationState, workflow_id
from core.domain.rules import AlertRule, RuleMode
from core.domain.times import EPOCH
from ports.driven.evaluation_store import (
    CONSUMER,
    ActiveRule,
    Effects,
    EpisodeWrite,
    SeriesInfo,
    StoredState,
    Taken,
    Target,
    Term,
)


class MemoryEvaluationStore:
    """Implements `EvaluationStore`."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database

    @asynccontextmanager
    async def lead(self) -> AsyncIterator[Term | None]:
        """A term, unless another process has one."""
        database = self._database
        if database.evaluation_led:
            yield None
            return
        database.evaluation_led = True
        database.evaluation_generation += 1
        database.log.register(CONSUMER)
        try:
            yield MemoryTerm(database, database.evaluation_generation)
        finally:
            database.evaluation_led = False


class MemoryTerm:
    """Implements `Term`."""

    def __init__(self, database: MemoryDatabase, generation: int) -> None:
        self._database = database
        self._generation = generation

    async def rules(self) -> Sequence[ActiveRule]:
        """All enabled rules."""
        return [
            ActiveRule(tenant_id=tenant_id, id=stored.id, revision=stored.revision, rule=stored.rule)
            for tenant_id, rules in self._database.rules.items()
            for stored in rules.values()
            if stored.rule.enabled
        ]

    async def states(self) -> Sequence[StoredState]:
        """All targets that are, or were, more than inactive."""
        return list(self._database.alert_states.values())

    async def series(self, series_ids: Int32s) -> Sequence[SeriesInfo]:
        """What these ids are."""
        rows = self._database.series
        return [_info(rows[series_id]) for series_id in series_ids.tolist() if series_id in rows]

    async def series_of(self, tenant_id: int, name: str) -> Sequence[SeriesInfo]:
        """All series of one metric."""
        return [_info(row) for row in self._database.series_of(tenant_id) if row.identity.name == name]

    async def last_series(self) -> int:
        """The highest id of any series."""
        return max(self._database.series, default=0)

    async def take(self, *, points_max: int, skip_at: int | None) -> Taken:
        """What was appended and not committed yet."""
        self._check()
        blocks = whole_blocks(self._database.log.unread(CONSUMER), points_max)
        return Taken(
            blocks=[] if skip_at == self._database.alert_revision else blocks,
            positions={block.writer: block.sequence for block in blocks},
            rules_revision=self._database.alert_revision,
        )

    async def commit(self, taken: Taken, effects: Effects) -> None:
        """Writes the effects and moves the cursor."""
        self._check()
        for target, state in effects.states.items():
            if state is None:
                self._database.alert_states.pop(target, None)
            else:
                self._database.alert_states[target] = state
        for episode in effects.episodes:
            self._write(episode)
        unread = self._database.log.unread(CONSUMER)
        passed = [one.block for one in unread if one.block.sequence <= taken.positions.get(one.block.writer, 0)]
        self._database.log.pass_blocks(CONSUMER, passed)

    def _check(self) -> None:
        if self._generation != self._database.evaluation_generation:
            raise Unavailable("another process evaluates alerts by now")

    def _write(self, episode: EpisodeWrite) -> None:
        row = self._row(episode.target, episode.episode)
        if episode.state is None:
            if row is not None:
                del self._database.alerts[row.alert.id]
            return
        if row is None:
            assert episode.rule is not None
            row = AlertRow(
                target=episode.target,
                alert=_alert(self._database.next_id("alerts"), episode, episode.rule),
                channels=episode.rule.channels,
            )
            self._database.alerts[row.alert.id] = row
        else:
            row.alert = _updated(row.alert, episode)
        for event in episode.events:
            event_id = self._database.next_id("notification_events")
            self._database.notification_events[event_id] = EventRow(
                id=event_id,
                tenant_id=episode.target.tenant_id,
                alert_id=row.alert.id,
                event=event,
                created_at=self._database.now(),
                channels=row.channels,
            )
        if episode.remediate and episode.rule is not None:
            self._remediate(episode.target, row, episode.rule)

    def _remediate(self, target: Target, row: AlertRow, rule: AlertRule) -> None:
        database = self._database
        policies = [
            one
            for one in database.policies.values()
            if one.tenant_id == target.tenant_id and one.policy.policy.name == rule.remediation
        ]
        if not policies or not policies[0].policy.policy.enabled or row.alert.remediation is not None:
            return
        policy = policies[0].policy
        workflow = workflow_id(target.tenant_id, target.rule_id, target.key, row.alert.episode)
        remediation = Remediation(
            id=database.next_id("remediations"),
            alert_id=row.alert.id,
            rule=rule.name,
            policy=policy.policy.name,
            workflow_id=workflow,
            state=RemediationState.WAITING,
            dry_run=policy.policy.dry_run,
            detail=None,
            created_at=database.now(),
            started_at=None,
            finished_at=None,
            attempts=0,
            last_error=None,
        )
        order = RemediationOrder(
            tenant_id=target.tenant_id,
            tenant=database.tenants[target.tenant_id].tenant.name,
            remediation_id=remediation.id,
            workflow_id=workflow,
            alert=row.alert,
            rule=rule,
            policy_id=policy.id,
            policy=policy.policy,
        )
        database.remediations[remediation.id] = RemediationRow(
            remediation=remediation, order=order, next_attempt_at=database.now()
        )
        row.alert = msgspec.structs.replace(row.alert, remediation=remediation.id)

    def _row(self, target: Target, episode: int) -> AlertRow | None:
        rows = self._database.alerts.values()
        return next((row for row in rows if row.target == target and row.alert.episode == episode), None)


def _info(row: SeriesRow) -> SeriesInfo:
    identity = row.identity
    return SeriesInfo(
        series_id=row.series_id, tenant_id=row.tenant_id, name=identity.name, labels=dict(identity.labels)
    )


def _alert(alert_id: int, episode: EpisodeWrite, rule: AlertRule) -> Alert:
    blank = Alert(
        id=alert_id,
        rule=rule.name,
        rule_id=episode.target.rule_id,
        metric=rule.metric,
        labels=episode.labels,
        state=EpisodeState.PENDING,
        severity=None,
        value=None,
        threshold=None,
        started_at=EPOCH,
        fired_at=None,
        resolved_at=None,
        resolution=None,
        episode=episode.episode,
        no_data=False,
        shadow=rule.mode is RuleMode.SHADOW,
        announced=False,
        acknowledged_at=None,
        acknowledged_by=None,
        annotations={},
        runbook_url=rule.runbook_url,
        remediation=None,
    )
    return _updated(blank, episode)


def _updated(alert: Alert, episode: EpisodeWrite) -> Alert:
    assert episode.state is not None
    return msgspec.structs.replace(
        alert,
        state=episode.state,
        severity=episode.severity or alert.severity,
        value=episode.value,
        threshold=episode.threshold if episode.threshold is not None else alert.threshold,
        started_at=_at(episode.started_us),
        fired_at=alert.fired_at if alert.fired_at is not None or episode.fired_us is None else _at(episode.fired_us),
        resolved_at=_at(episode.resolved_us) if episode.resolved_us is not None else None,
        resolution=episode.resolution,
        no_data=alert.no_data or episode.no_data,
        announced=alert.announced or episode.announced,
        annotations=episode.annotations or alert.annotations,
    )


def _at(ts_us: int) -> datetime:
    return EPOCH + timedelta(microseconds=ts_us)
