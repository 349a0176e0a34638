"""Signals that wait to become part of an incident, in memory."""

from collections.abc import Collection

from adapters.driven.memory.alert_tables import AlertRow
from adapters.driven.memory.database import MemoryDatabase
from adapters.driven.signals import joined_keys, signal_of_alert, signal_of_event, split_keys
from core.domain.incidents import Signal


def waiting_signals(database: MemoryDatabase, tenant_id: int) -> list[Signal]:
    """All signals of a tenant that wait."""
    events = [
        signal_of_event(row.event)
        for (owner, _), row in database.events.events.items()
        if owner == tenant_id and row.waiting
    ]
    return [
        *events,
        *(signal_of_alert(row.alert) for row in database.alerts.values() if _waits(database, tenant_id, row)),
    ]


def take_signals(database: MemoryDatabase, tenant_id: int, keys: Collection[str]) -> set[str]:
    """Those of `keys` that still wait, which then wait no longer."""
    event_ids, alert_ids = split_keys(keys)
    events = [row for each in event_ids if (row := database.events.events.get((tenant_id, each))) and row.waiting]
    alerts = [one for each in alert_ids if (one := database.alerts.get(each)) and _waits(database, tenant_id, one)]
    for event in events:
        event.waiting = False
    taken_alerts = {alert.alert.id for alert in alerts}
    database.incidents.correlated_alerts |= taken_alerts
    return joined_keys((event.event.id for event in events), taken_alerts)


def _waits(database: MemoryDatabase, tenant_id: int, row: AlertRow) -> bool:
    return (
        row.target.tenant_id == tenant_id
        and row.alert.fired_at is not None
        and not row.alert.shadow
        and row.alert.id not in database.incidents.correlated_alerts
    )
