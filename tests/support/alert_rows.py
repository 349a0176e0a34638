"""Rows that only evaluation writes, written without it: alerts, targets' states, events, the count of changes.

`place` is a store's: the tables in memory, or a superuser's URL of the database.
"""

from datetime import UTC, datetime, timedelta

import msgspec
import psycopg

from adapters.driven.memory.alert_tables import AlertRow, EventRow
from adapters.driven.memory.database import MemoryDatabase
from core.domain.alert_state import AlertState, Phase
from core.domain.alerts import Alert, EpisodeState
from core.domain.notifications import AlertEvent
from core.domain.rules import Severity
from ports.driven.evaluation_store import StoredState, Target

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
PHASES = {
    EpisodeState.PENDING: Phase.PENDING,
    EpisodeState.FIRING: Phase.FIRING,
    EpisodeState.RESOLVED: Phase.INACTIVE,
}
FIRING = Alert(
    id=0,
    rule="cpu high",
    rule_id=1,
    metric="cpu",
    labels={"host": "a"},
    state=EpisodeState.FIRING,
    severity=Severity.WARNING,
    value=97.5,
    threshold=90.0,
    started_at=NOON,
    fired_at=NOON + timedelta(minutes=1),
    resolved_at=None,
    resolution=None,
    episode=1,
    no_data=False,
    shadow=False,
    announced=True,
    acknowledged_at=None,
    acknowledged_by=None,
    annotations={},
    runbook_url=None,
    remediation=None,
)
"""An alert as evaluation would write it; its id is the store's to give."""


def write_alert(
    place: MemoryDatabase | str,
    tenant_id: int,
    alert: Alert = FIRING,
    *,
    target_key: str = "s1",
    channels: tuple[str, ...] | None = None,
) -> Alert:
    """Adds an episode, and its target's state; returns it with its id."""
    state = AlertState(phase=PHASES[alert.state], severity=alert.severity, episode=alert.episode, last_us=0)
    if isinstance(place, MemoryDatabase):
        target = Target(tenant_id, alert.rule_id, target_key)
        written = msgspec.structs.replace(alert, id=place.next_id("alerts"))
        place.alerts[written.id] = AlertRow(target=target, alert=written, channels=channels)
        place.alert_states[target] = StoredState(
            target=target,
            state=state,
            labels=alert.labels,
            subject=b"",
            announced=alert.announced,
            close_requested=False,
        )
        return written
    with psycopg.connect(place, autocommit=True) as connection:
        row = connection.execute(
            "INSERT INTO sextant.alerts (tenant_id, rule_id, target_key, episode, rule_name, metric, labels, state, "
            "severity, value, threshold, started_at, fired_at, resolved_at, resolution, no_data, shadow, announced, "
            "acknowledged_at, acknowledged_by, annotations, runbook_url, channels) VALUES "
            "(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) RETURNING id",
            (
                tenant_id,
                alert.rule_id,
                target_key,
                alert.episode,
                alert.rule,
                alert.metric,
                _json(alert.labels),
                alert.state.value,
                alert.severity.value if alert.severity else None,
                alert.value,
                _json(alert.threshold) if alert.threshold is not None else None,
                alert.started_at,
                alert.fired_at,
                alert.resolved_at,
                alert.resolution.value if alert.resolution else None,
                alert.no_data,
                alert.shadow,
                alert.announced,
                alert.acknowledged_at,
                alert.acknowledged_by,
                _json(alert.annotations),
                alert.runbook_url,
                list(channels) if channels is not None else None,
            ),
        ).fetchone()
        assert row is not None
        connection.execute(
            "INSERT INTO sextant.alert_states (tenant_id, rule_id, target_key, state, labels, subject, announced) "
            "VALUES (%s, %s, %s, %s, %s, '', %s) "
            "ON CONFLICT (tenant_id, rule_id, target_key) DO UPDATE SET state = excluded.state",
            (tenant_id, alert.rule_id, target_key, _json(state), _json(alert.labels), alert.announced),
        )
    return msgspec.structs.replace(alert, id=row[0])


def write_event(
    place: MemoryDatabase | str,
    alert: Alert,
    event: AlertEvent = AlertEvent.FIRED,
    *,
    tenant_id: int,
    created_at: datetime = NOON,
    channels: tuple[str, ...] | None = None,
    text: str | None = None,
    link: str | None = None,
) -> int:
    """Adds an event to the notification outbox; returns its id."""
    if isinstance(place, MemoryDatabase):
        row = EventRow(
            id=place.next_id("notification_events"),
            tenant_id=tenant_id,
            alert_id=alert.id,
            event=event,
            created_at=created_at,
            channels=channels,
            text=text,
            link=link,
        )
        place.notification_events[row.id] = row
        return row.id
    with psycopg.connect(place, autocommit=True) as connection:
        written = connection.execute(
            "INSERT INTO sextant.notification_events (tenant_id, alert_id, event, created_at, channels, text, link) "
            "VALUES (%s, %s, %s, %s, %s, %s, %s) RETURNING id",
            (
                tenant_id,
                alert.id,
                event.value,
                created_at,
                list(channels) if channels is not None else None,
                text,
                link,
            ),
        ).fetchone()
    assert written is not None
    event_id: int = written[0]
    return event_id


def events_left(place: MemoryDatabase | str, tenant_id: int) -> list[tuple[int, str, str | None]]:
    """A tenant's events that are still kept, by id: alert, event, and why nobody was told of it."""
    if isinstance(place, MemoryDatabase):
        rows = (row for row in place.notification_events.values() if row.tenant_id == tenant_id)
        return [(row.alert_id, row.event.value, row.suppressed) for row in rows]
    with psycopg.connect(place, autocommit=True) as connection:
        return connection.execute(
            "SELECT alert_id, event, suppressed FROM sextant.notification_events WHERE tenant_id = %s ORDER BY id",
            (tenant_id,),
        ).fetchall()


def alert_revision(place: MemoryDatabase | str) -> int:
    """How often rules have changed or closing was asked for, in the whole store."""
    if isinstance(place, MemoryDatabase):
        return place.alert_revision
    with psycopg.connect(place, autocommit=True) as connection:
        row = connection.execute("SELECT revision FROM sextant.alert_revision").fetchone()
    assert row is not None
    revision: int = row[0]
    return revision


def close_is_requested(place: MemoryDatabase | str, tenant_id: int, target_key: str = "s1", rule_id: int = 1) -> bool:
    """Whether evaluation is asked to end a target's episode."""
    if isinstance(place, MemoryDatabase):
        return place.alert_states[Target(tenant_id, rule_id, target_key)].close_requested
    with psycopg.connect(place, autocommit=True) as connection:
        row = connection.execute(
            "SELECT close_requested_by IS NOT NULL FROM sextant.alert_states "
            "WHERE tenant_id = %s AND rule_id = %s AND target_key = %s",
            (tenant_id, rule_id, target_key),
        ).fetchone()
    return row == (True,)


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
