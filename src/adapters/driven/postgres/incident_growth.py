"""What the correlator decided, written: incidents opened and grown, of signals that still wait.

Each function is a part of one transaction that holds the tenant's lock (`incident_changes.lock`).
"""

from collections.abc import Collection, Sequence
from datetime import datetime

import msgspec

from adapters.driven import incident_history as history
from adapters.driven.incident_history import SEXTANT
from adapters.driven.postgres import incident_changes
from adapters.driven.postgres.database import Connection
from adapters.driven.postgres.incident_rows import change_of
from adapters.driven.postgres.queries import load_queries
from adapters.driven.signals import instant_of, joined_keys, split_keys
from core.domain.incidents import SIGNALS_MAX, ChangeKind, IncidentState, Signal, SignalEdge
from ports.driven.incident_store import Growth, NewIncident

SQL = load_queries(__package__, "incident_work.sql")


async def take(connection: Connection, tenant_id: int, keys: Collection[str]) -> set[str]:
    """Those of `keys` that still wait, which then wait no longer."""
    event_ids, alert_ids = split_keys(keys)
    events = await connection.fetch(SQL["take_events"], tenant_id, event_ids) if event_ids else []
    alerts = await connection.fetch(SQL["take_alerts"], tenant_id, alert_ids) if alert_ids else []
    return joined_keys((row["id"] for row in events), (row["id"] for row in alerts))


async def grow(connection: Connection, tenant_id: int, growth: Growth, *, now: datetime) -> None:
    """Adds to an incident, or to what it was merged into, those of its new signals that still wait."""
    incident_id = await connection.fetchval(SQL["place_of"], tenant_id, growth.incident_id)
    taken = await _taken(connection, tenant_id, growth.signals) if incident_id is not None else []
    if not taken:
        return
    before = await incident_changes.incident(connection, tenant_id, incident_id)
    if growth.reopen and before.state is IncidentState.RESOLVED:
        await incident_changes.stand(
            connection, tenant_id, [incident_id], IncidentState.OPEN, by=SEXTANT, now=now, why=history.BY_A_SIGNAL
        )
    await _add(connection, tenant_id, incident_id, before.signals, taken, growth.edges, now=now)
    await _write_growth(connection, tenant_id, incident_id, len(taken), now=now)


async def open_incident(connection: Connection, tenant_id: int, new: NewIncident, *, now: datetime) -> int | None:
    """Opens an incident of those of its signals that still wait; None where none does."""
    taken = await _taken(connection, tenant_id, new.signals)
    if not taken:
        return None
    synthetic = all(signal.synthetic for signal in taken)
    incident_id = await incident_changes.add(connection, tenant_id, new.title, synthetic=synthetic, now=now)
    await _add(connection, tenant_id, incident_id, 0, taken, new.edges, now=now)
    opened = history.opened(incident_id, len(taken))
    await incident_changes.write(connection, tenant_id, [opened], by=SEXTANT, now=now)
    return incident_id


async def _taken(connection: Connection, tenant_id: int, signals: Sequence[Signal]) -> list[Signal]:
    keys = await take(connection, tenant_id, [signal.key for signal in signals])
    # What was deleted and is posted anew under its old id waits again, and may be part of an incident.
    keys -= {row["key"] for row in await connection.fetch(SQL["known"], tenant_id, sorted(keys))}
    taken = {signal.key: signal for signal in signals if signal.key in keys}
    return sorted(taken.values(), key=lambda signal: (signal.at_us, signal.key))


async def _add(
    connection: Connection,
    tenant_id: int,
    incident_id: int,
    before: int,
    signals: Sequence[Signal],
    edges: Sequence[SignalEdge],
    *,
    now: datetime,
) -> None:
    """Adds signals to an incident that had `before`, as many as it can keep, and counts them all."""
    room = max(0, SIGNALS_MAX - await connection.fetchval(SQL["kept"], tenant_id, incident_id))
    kept = signals[:room]
    await connection.execute(
        SQL["add_signals"],
        tenant_id,
        incident_id,
        [signal.key for signal in kept],
        [instant_of(signal.at_us) for signal in kept],
        [msgspec.json.encode(signal).decode() for signal in kept],
    )
    await connection.execute(
        SQL["add_edges"],
        tenant_id,
        [edge.first for edge in edges],
        [edge.then for edge in edges],
        [edge.score for edge in edges],
        [msgspec.json.encode(edge.reasons).decode() for edge in edges],
    )
    await incident_changes.recount(
        connection,
        tenant_id,
        incident_id,
        before + len(signals),
        now=now,
        last_at=instant_of(signals[-1].at_us),
        severe=any(signal.severe for signal in signals),
    )


async def _write_growth(
    connection: Connection, tenant_id: int, incident_id: int, signals: int, *, now: datetime
) -> None:
    """Says in the history that it grew; in its last entry, where that says so already."""
    last = change_of(await connection.fetchrow(SQL["last_change"], tenant_id, incident_id))
    if last.kind is not ChangeKind.GREW:
        await incident_changes.write(connection, tenant_id, [history.grew(incident_id, signals)], by=SEXTANT, now=now)
        return
    grew = history.grew(incident_id, last.detail["signals"] + signals)
    detail = msgspec.json.encode(grew.detail).decode()
    await connection.execute(SQL["continue_change"], tenant_id, last.id, now, grew.summary, detail)
