"""What requests and the correlator both do to incidents, each as a part of the caller's transaction.

Whoever changes a tenant's incidents, or which signals they have, calls `lock` first: everything here relies on it.
"""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from adapters.driven import incident_history as history
from adapters.driven.incident_history import NewChange
from adapters.driven.postgres.database import Connection
from adapters.driven.postgres.incident_rows import analysis_of, change_of, edge_of, incident_of, signals_of
from adapters.driven.postgres.queries import load_queries
from core.domain.errors import NotFound
from core.domain.incidents import SIGNALS_MAX, Incident, IncidentDetail, IncidentState
from core.domain.times import EPOCH

SQL = load_queries(__package__, "incidents.sql")


async def lock(connection: Connection, tenant_id: int) -> None:
    """Waits until nobody else changes the tenant's incidents; holds until the transaction ends."""
    await connection.execute(SQL["lock"], tenant_id)


async def incident(connection: Connection, tenant_id: int, incident_id: int) -> Incident:
    """An incident, or `NotFound`."""
    row = await connection.fetchrow(SQL["incidents"], tenant_id, [incident_id])
    if row is None:
        raise NotFound("incident", str(incident_id))
    return incident_of(row)


async def detail(connection: Connection, tenant_id: int, incident_id: int) -> IncidentDetail:
    """Everything that is known of an incident, or `NotFound`."""
    found = await incident(connection, tenant_id, incident_id)
    timeline = signals_of(await connection.fetch(SQL["signals"], tenant_id, incident_id, SIGNALS_MAX))
    links = await connection.fetch(SQL["edges"], tenant_id, [signal.key for signal in timeline])
    entries = await connection.fetch(SQL["history"], tenant_id, incident_id)
    return IncidentDetail(
        incident=found,
        timeline=timeline,
        links=tuple(edge_of(row) for row in links),
        analysis=analysis_of(await connection.fetchval(SQL["analysis"], tenant_id, incident_id)),
        history=tuple(change_of(row) for row in entries),
    )


async def add(
    connection: Connection, tenant_id: int, title: str, *, synthetic: bool, now: datetime, of: Incident | None = None
) -> int:
    """A new incident, to be recounted once it has its signals: open, or resolved as `of` is; returns its id."""
    state, resolved_at, resolved_by = IncidentState.OPEN, None, None
    if of is not None and of.state is IncidentState.RESOLVED:
        state, resolved_at, resolved_by = of.state, of.resolved_at, of.resolved_by
    incident_id: int = await connection.fetchval(
        SQL["add"], tenant_id, state.value, title, synthetic, resolved_at, resolved_by, now
    )
    return incident_id


async def recount(
    connection: Connection,
    tenant_id: int,
    incident_id: int,
    signals: int,
    *,
    now: datetime,
    last_at: datetime = EPOCH,
    severe: bool = False,
) -> None:
    """Notes what its signals, `signals` by now, make of an incident; makes its analysis stale.

    Of signals that are not kept only what was noted when they came is known: `last_at` and `severe` say it of those
    that came just now.
    """
    await connection.execute(SQL["recount"], tenant_id, incident_id, signals, now, last_at, severe)


async def stand(
    connection: Connection,
    tenant_id: int,
    incident_ids: Sequence[int],
    state: IncidentState,
    *,
    by: str,
    now: datetime,
    why: str = "",
) -> None:
    """Acknowledges, resolves or reopens incidents, and writes it to their histories."""
    await connection.execute(SQL["stand"], tenant_id, incident_ids, state.value, now, by)
    changes = [history.stood(incident_id, state, why) for incident_id in incident_ids]
    await write(connection, tenant_id, changes, by=by, now=now)


async def write(
    connection: Connection, tenant_id: int, changes: Sequence[NewChange], *, by: str, now: datetime
) -> None:
    """Adds entries to incidents' histories."""
    await connection.execute(
        SQL["write_changes"],
        tenant_id,
        [change.incident_id for change in changes],
        [change.kind.value for change in changes],
        [change.summary for change in changes],
        [msgspec.json.encode(change.detail).decode() for change in changes],
        now,
        by,
    )
