"""Drift events on PostgreSQL, and when tenants' clusters were last looked at."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import msgspec

from adapters.driven.drift_records import NO_LONGER_FOUND
from adapters.driven.postgres.database import Database, Role
from adapters.driven.postgres.documents import document_json
from adapters.driven.postgres.drift_rows import event_of, event_row
from adapters.driven.postgres.queries import affected_rows, load_queries
from adapters.driven.postgres.recommendations import propose, withdraw
from core.domain.drift import SEXTANT, DriftEvent, DriftFilter, DriftStatus
from core.domain.errors import NotFound
from core.domain.recommendations import Recommendation
from core.domain.telemetry import CLUSTER, STANDARD_METRICS
from ports.driven.drift_store import DriftClaim

TIMEOUT_S: Final = 10.0
"""Every statement here touches a cluster's events at most; longer means that the database is in trouble."""

SQL = load_queries(__package__, "drift.sql")


class PostgresDriftStore:
    """Implements `ports.driven.drift_store.DriftStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, tenant_id: int, event: DriftEvent) -> tuple[DriftEvent, bool]:
        """See `DriftStore.add`."""
        async with self._database.transaction(Role.WRITER, tenant_id=tenant_id, timeout_s=TIMEOUT_S) as connection:
            row = await connection.fetchrow(
                SQL["add"],
                tenant_id,
                event.drift_id,
                event.cluster_id,
                event.env,
                event.drift_date,
                event.drift_category.value,
                event.severity.value,
                event.workload_name,
                event.namespace,
                event.start_ts,
                event.end_ts,
                event.last_seen_at,
                event.detection_method.value,
                event.confidence_score,
                event.status.value,
                event.message,
                document_json(event.evidence),
                event.automatic,
                event.synthetic,
                event.status_by,
                event.status_note,
                event.created_at,
                event.updated_at,
            )
        assert row is not None
        return event_of(row), row["added"]

    async def get(self, tenant_id: int, drift_id: str) -> DriftEvent:
        """See `DriftStore.get`."""
        async with self._database.transaction(Role.READER, tenant_id=tenant_id, timeout_s=TIMEOUT_S) as connection:
            row = await connection.fetchrow(SQL["get"], tenant_id, drift_id)
        if row is None:
            raise NotFound("drift event", drift_id)
        return event_of(row)

    async def list(
        self, tenant_id: int, wanted: DriftFilter, *, limit: int, before: tuple[datetime, str] | None
    ) -> Sequence[DriftEvent]:
        """See `DriftStore.list`."""
        start_ts, drift_id = before if before is not None else (None, None)
        # As a snapshot it is planned for the filters that are there.
        async with self._database.transaction(
            Role.READER, tenant_id=tenant_id, snapshot=True, timeout_s=TIMEOUT_S
        ) as connection:
            rows = await connection.fetch(
                SQL["list"],
                tenant_id,
                start_ts,
                drift_id,
                wanted.cluster_id,
                wanted.env,
                wanted.drift_category.value if wanted.drift_category is not None else None,
                wanted.severity.value if wanted.severity is not None else None,
                wanted.status.value if wanted.status is not None else None,
                wanted.workload_name,
                wanted.namespace,
                wanted.start,
                wanted.end,
                limit,
            )
        return [event_of(row) for row in rows]

    async def set_status(
        self, tenant_id: int, drift_id: str, status: DriftStatus, *, by: str, note: str | None, now: datetime
    ) -> DriftEvent:
        """See `DriftStore.set_status`."""
        async with self._database.transaction(Role.WRITER, tenant_id=tenant_id, timeout_s=TIMEOUT_S) as connection:
            row = await connection.fetchrow(SQL["set_status"], tenant_id, drift_id, status.value, by, note, now)
        if row is None:
            raise NotFound("drift event", drift_id)
        return event_of(row)

    async def save_found(
        self,
        tenant_id: int,
        cluster_id: str,
        found: Sequence[tuple[DriftEvent, Recommendation | None]],
        *,
        now: datetime,
    ) -> tuple[int, int]:
        """See `DriftStore.save_found`."""
        rows = msgspec.json.encode([event_row(event) for event, _ in found]).decode()
        seen = [event.drift_id for event, _ in found]
        async with self._database.transaction(Role.WRITER, tenant_id=tenant_id, timeout_s=TIMEOUT_S) as connection:
            await connection.execute(SQL["lock"], tenant_id)
            followed = await connection.fetch(SQL["follow"], tenant_id, cluster_id, rows, now)
            opened = {row["drift_id"] for row in await connection.fetch(SQL["open"], tenant_id, rows)}
            lasting = opened | {row["drift_id"] for row in followed if row["status"] != DriftStatus.IGNORED.value}
            proposed = [one for event, one in found if one is not None and event.drift_id in lasting]
            await propose(connection, tenant_id, proposed, now=now)
            without = [event.drift_id for event, one in found if one is None and event.last_seen_at == now]
            await withdraw(connection, tenant_id, [drift_id for drift_id in without if drift_id in lasting], now=now)
            resolved = await connection.execute(
                SQL["resolve"], tenant_id, cluster_id, seen, SEXTANT, NO_LONGER_FOUND, now
            )
        return len(opened), affected_rows(resolved)


class PostgresDriftSchedule:
    """Implements `ports.driven.drift_store.DriftSchedule`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(self, *, now: datetime, interval_s: float) -> DriftClaim | None:
        """See `DriftSchedule.claim`."""
        names = [metric.name for metric in STANDARD_METRICS]
        async with self._database.transaction(Role.KEEPER, timeout_s=TIMEOUT_S) as connection:
            await connection.execute(SQL["enrol"], names, CLUSTER)
            row = await connection.fetchrow(SQL["claim"], now, now - timedelta(seconds=interval_s))
        return DriftClaim(tenant_id=row["id"], tenant=row["name"]) if row is not None else None
