"""Signal events on PostgreSQL."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec

from adapters.driven.postgres.database import Connection, Database, Role
from adapters.driven.postgres.queries import affected_rows, load_queries
from adapters.driven.postgres.wire import timestamp
from core.domain.definitions import RETENTION_DAYS_DEFAULT
from core.domain.errors import NotFound
from core.domain.events import EventFilter, EventSeverity, SignalEvent, may_join_incident
from core.domain.times import day_start

TIMEOUT_S: Final = 10.0
"""A full batch is written in under a second; longer means that the database is in trouble."""

SQL = load_queries(__package__, "events.sql")
_TEXTS: Final = msgspec.json.Decoder(dict[str, str])


class PostgresEventStore:
    """Implements `ports.driven.event_store.EventStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def append(self, tenant_id: int, events: Sequence[SignalEvent]) -> int:
        """See `EventStore.append`."""
        async with self._database.transaction(Role.WRITER, tenant_id=tenant_id, timeout_s=TIMEOUT_S) as connection:
            return await add_events(connection, tenant_id, events)

    async def list(
        self, tenant_id: int, wanted: EventFilter, *, limit: int, before: tuple[datetime, UUID] | None
    ) -> Sequence[SignalEvent]:
        """See `EventStore.list`."""
        ts, event_id = before if before is not None else (None, None)
        # As a snapshot it is planned for the filters that are there: each index serves other ones.
        async with self._database.transaction(
            Role.READER, tenant_id=tenant_id, snapshot=True, timeout_s=TIMEOUT_S
        ) as connection:
            rows = await connection.fetch(
                SQL["list"],
                tenant_id,
                ts,
                event_id,
                timestamp(wanted.start_us) if wanted.start_us is not None else None,
                timestamp(wanted.end_us) if wanted.end_us is not None else None,
                wanted.severity.value if wanted.severity is not None else None,
                wanted.host,
                wanted.service,
                wanted.metric,
                wanted.fingerprint,
                wanted.synthetic,
                wanted.anomalies,
                limit,
            )
        return [event_of(row) for row in rows]

    async def get(self, tenant_id: int, event_id: UUID) -> SignalEvent:
        """See `EventStore.get`."""
        async with self._database.transaction(Role.READER, tenant_id=tenant_id, timeout_s=TIMEOUT_S) as connection:
            row = await connection.fetchrow(SQL["get"], tenant_id, event_id)
        if row is None:
            raise NotFound("event", str(event_id))
        return event_of(row)

    async def forget(self, *, now_us: int, limit: int) -> int:
        """See `EventStore.forget`."""
        midnight = timestamp(day_start(now_us))
        async with self._database.transaction(Role.KEEPER) as connection:
            done: str = await connection.execute(SQL["forget"], midnight, RETENTION_DAYS_DEFAULT, limit)
        return affected_rows(done)


async def add_events(connection: Connection, tenant_id: int, events: Sequence[SignalEvent]) -> int:
    """Adds those whose id the tenant does not have yet; returns how many. Part of the caller's transaction."""
    done: str = await connection.execute(
        SQL["append"],
        tenant_id,
        [event.id for event in events],
        [event.ts for event in events],
        [event.host for event in events],
        [event.service for event in events],
        [event.fingerprint for event in events],
        [event.severity.value for event in events],
        [event.metric for event in events],
        [event.value for event in events],
        [event.message for event in events],
        [msgspec.json.encode(event.labels).decode() for event in events],
        [event.synthetic for event in events],
        [event.anomaly_id for event in events],
        [event.created_at for event in events],
        [may_join_incident(event.severity, event.metric) for event in events],
    )
    return affected_rows(done)


def event_of(row: Mapping[str, Any]) -> SignalEvent:
    """The event in a row of `sextant.signal_events`."""
    return SignalEvent(
        id=row["id"],
        ts=row["ts"],
        host=row["host"],
        service=row["service"],
        fingerprint=row["fingerprint"],
        severity=EventSeverity(row["severity"]),
        metric=row["metric"],
        value=row["value"],
        message=row["message"],
        labels=_TEXTS.decode(row["labels"]),
        synthetic=row["synthetic"],
        anomaly_id=row["anomaly_id"],
        created_at=row["created_at"],
    )
