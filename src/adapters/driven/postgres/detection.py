"""Detection's settings, runs, anomalies and verdicts on PostgreSQL."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from adapters.driven.postgres.database import Connection, Database, Role
from adapters.driven.postgres.detection_rows import anomaly_of, run_of, settings_of
from adapters.driven.postgres.queries import load_queries
from adapters.driven.postgres.rules import follow_detection
from adapters.driven.postgres.wire import timestamp
from core.detection.plan import DetectionSettings
from core.domain.anomalies import Anomaly, AnomalyFilter, Detector, Mark, Precision, precision_of
from core.domain.detection_runs import DetectionRun
from core.domain.errors import Conflict, NotFound

TIMEOUT_S: Final = 10.0
"""Every statement here touches a page of rows; longer means that the database is in trouble."""

SQL = load_queries(__package__, "detection.sql")


class PostgresDetectionStore:
    """Implements `ports.driven.detection_store.DetectionStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def settings(self, tenant_id: int) -> DetectionSettings | None:
        """See `DetectionStore.settings`."""
        async with self._database.transaction(Role.READER, tenant_id=tenant_id, timeout_s=TIMEOUT_S) as connection:
            text: str | None = await connection.fetchval(SQL["settings"], tenant_id)
        return settings_of(text) if text is not None else None

    async def replace_settings(self, tenant_id: int, settings: DetectionSettings) -> None:
        """See `DetectionStore.replace_settings`."""
        text = msgspec.json.encode(settings).decode()
        async with self._database.transaction(Role.WRITER, tenant_id=tenant_id, timeout_s=TIMEOUT_S) as connection:
            await locked_settings(connection, tenant_id)
            await connection.execute(SQL["replace_settings"], tenant_id, text)
            await follow_detection(connection, tenant_id, settings.risk_rule())

    async def runs(self, tenant_id: int, *, limit: int, before_id: int | None) -> Sequence[DetectionRun]:
        """See `DetectionStore.runs`."""
        async with self._database.transaction(
            Role.READER, tenant_id=tenant_id, snapshot=True, timeout_s=TIMEOUT_S
        ) as connection:
            return [run_of(row) for row in await connection.fetch(SQL["runs"], tenant_id, before_id, limit)]

    async def request_run(self, tenant_id: int, *, now: datetime) -> DetectionRun:
        """See `DetectionStore.request_run`."""
        async with self._database.transaction(Role.WRITER, tenant_id=tenant_id, timeout_s=TIMEOUT_S) as connection:
            row = await connection.fetchrow(SQL["request_run"], tenant_id, now)
        if row is None:
            raise Conflict("a run of detection is under way; ask again when it has ended")
        return run_of(row)

    async def anomalies(
        self, tenant_id: int, wanted: AnomalyFilter, *, limit: int, before: tuple[datetime, UUID] | None
    ) -> Sequence[Anomaly]:
        """See `DetectionStore.anomalies`."""
        last_seen_at, anomaly_id = before if before is not None else (None, None)
        # As a snapshot it is planned for the filters that are there.
        async with self._database.transaction(
            Role.READER, tenant_id=tenant_id, snapshot=True, timeout_s=TIMEOUT_S
        ) as connection:
            rows = await connection.fetch(
                SQL["anomalies"],
                tenant_id,
                last_seen_at,
                anomaly_id,
                timestamp(wanted.start_us) if wanted.start_us is not None else None,
                timestamp(wanted.end_us) if wanted.end_us is not None else None,
                wanted.detector.value if wanted.detector is not None else None,
                wanted.metric,
                wanted.host,
                wanted.service,
                wanted.fingerprint,
                wanted.open,
                wanted.risk_min,
                wanted.marked,
                wanted.synthetic,
                limit,
            )
        return [anomaly_of(row) for row in rows]

    async def anomaly(self, tenant_id: int, anomaly_id: UUID) -> Anomaly:
        """See `DetectionStore.anomaly`."""
        async with self._database.transaction(Role.READER, tenant_id=tenant_id, timeout_s=TIMEOUT_S) as connection:
            row = await connection.fetchrow(SQL["anomaly"], tenant_id, anomaly_id)
        if row is None:
            raise _missing(anomaly_id)
        return anomaly_of(row)

    async def mark(self, tenant_id: int, anomaly_id: UUID, mark: Mark | None) -> Anomaly:
        """See `DetectionStore.mark`."""
        said = (mark.verdict.value, mark.by, mark.at, mark.note) if mark is not None else (None, None, None, None)
        async with self._database.transaction(Role.WRITER, tenant_id=tenant_id, timeout_s=TIMEOUT_S) as connection:
            row = await connection.fetchrow(SQL["mark"], tenant_id, anomaly_id, *said)
        if row is None:
            raise _missing(anomaly_id)
        return anomaly_of(row)

    async def precision(self, tenant_id: int, *, since: datetime) -> Sequence[Precision]:
        """See `DetectionStore.precision`."""
        async with self._database.transaction(Role.READER, tenant_id=tenant_id, timeout_s=TIMEOUT_S) as connection:
            rows = await connection.fetch(SQL["precision"], tenant_id, since)
        counted = {row["detector"]: (row["anomalies"], row["marked_true"], row["marked_false"]) for row in rows}
        return [precision_of(detector, *counted.get(detector.value, (0, 0, 0))) for detector in Detector]


async def locked_settings(connection: Connection, tenant_id: int) -> DetectionSettings | None:
    """The tenant's settings, which nobody else changes before the transaction ends; None where it has the defaults."""
    await connection.execute(SQL["lock_settings"], tenant_id)
    text: str | None = await connection.fetchval(SQL["settings"], tenant_id)
    return settings_of(text) if text is not None else None


def _missing(anomaly_id: UUID) -> NotFound:
    return NotFound("anomaly", str(anomaly_id))
