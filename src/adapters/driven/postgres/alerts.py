"""Alerts on PostgreSQL, as evaluation wrote them."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import msgspec

from adapters.driven.postgres.alert_rows import alert_of
from adapters.driven.postgres.database import Connection, Database, Role
from adapters.driven.postgres.queries import load_queries
from adapters.driven.postgres.rules import bump_revision
from core.domain.alerts import RESERVED_LABELS, Alert, AlertFilter, EpisodeState
from core.domain.errors import Conflict, NotFound, TooExpensive
from core.domain.matchers import LabelMatcher, MatchOp, label_filter, parse_matchers
from core.domain.notifications import AlertEvent
from core.domain.times import EPOCH
from ports.driven.alerting_store import ALERTS_LOOKED_AT_MAX

TIMEOUT_S: Final = 10.0
"""Every statement here touches a page of rows; longer means that the database is in trouble."""
PAGE_ROWS: Final = 1_000
"""Rows read at a time where matchers then leave some out."""

SQL = load_queries(__package__, "alerts.sql")


class PostgresAlertStore:
    """Implements `ports.driven.alerting_store.AlertStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(self, tenant_id: int, wanted: AlertFilter, *, limit: int, before_id: int | None) -> Sequence[Alert]:
        """See `AlertStore.list`.

        Values of labels that must be equal are looked for in SQL; every matcher is then held against what was found.
        """
        matchers = parse_matchers(wanted.matchers)
        holds = label_filter(matchers)
        page_rows = max(limit, PAGE_ROWS) if matchers else limit
        found: list[Alert] = []
        looked_at = 0
        async with self._database.transaction(
            Role.READER, tenant_id=tenant_id, snapshot=True, timeout_s=TIMEOUT_S
        ) as connection:
            while True:
                page = await _page(connection, tenant_id, wanted, matchers, limit=page_rows, before_id=before_id)
                found += [alert for alert in page if holds(alert.matched_labels)]
                if len(found) >= limit or len(page) < page_rows:
                    return found[:limit]
                looked_at += len(page)
                if looked_at >= ALERTS_LOOKED_AT_MAX:
                    raise TooExpensive(
                        f"too few of the newest {looked_at} alerts match; name a state, a rule or a range of time too",
                        limit=ALERTS_LOOKED_AT_MAX,
                    )
                before_id = page[-1].id

    async def get(self, tenant_id: int, alert_id: int) -> Alert:
        """See `AlertStore.get`."""
        async with self._database.transaction(Role.READER, tenant_id=tenant_id, timeout_s=TIMEOUT_S) as connection:
            return await _get(connection, tenant_id, alert_id)

    async def acknowledge(self, tenant_id: int, alert_id: int, *, by: str, now: datetime) -> Alert:
        """See `AlertStore.acknowledge`."""
        async with self._database.transaction(Role.WRITER, tenant_id=tenant_id, timeout_s=TIMEOUT_S) as connection:
            if await connection.fetchval(SQL["acknowledge"], tenant_id, alert_id, now, by) is not None:
                event = AlertEvent.ACKNOWLEDGED.value
                await connection.execute(SQL["tell_acknowledged"], tenant_id, alert_id, event, now)
            alert = await _get(connection, tenant_id, alert_id)
            if alert.acknowledged_at is None or alert.state is EpisodeState.RESOLVED:
                raise _over(alert_id)
        return alert

    async def request_close(self, tenant_id: int, alert_id: int, *, by: str) -> Alert:
        """See `AlertStore.request_close`."""
        async with self._database.transaction(Role.WRITER, tenant_id=tenant_id, timeout_s=TIMEOUT_S) as connection:
            requested = await connection.fetchval(SQL["request_close"], tenant_id, alert_id, by)
            alert = await _get(connection, tenant_id, alert_id)
            if requested is None:
                raise _over(alert_id)
            await bump_revision(connection)
        return alert


async def _get(connection: Connection, tenant_id: int, alert_id: int) -> Alert:
    row = await connection.fetchrow(SQL["get"], tenant_id, alert_id)
    if row is None:
        raise NotFound("alert", str(alert_id))
    return alert_of(row)


async def _page(
    connection: Connection,
    tenant_id: int,
    wanted: AlertFilter,
    matchers: Sequence[LabelMatcher],
    *,
    limit: int,
    before_id: int | None,
) -> Sequence[Alert]:
    rows = await connection.fetch(
        SQL["list"],
        tenant_id,
        before_id,
        wanted.state.value if wanted.state is not None else None,
        wanted.severity.value if wanted.severity is not None else None,
        wanted.rule,
        wanted.metric,
        wanted.acknowledged,
        wanted.shadow,
        _instant(wanted.start_us),
        _instant(wanted.end_us),
        _contained(matchers),
        limit,
    )
    return [alert_of(row) for row in rows]


def _contained(matchers: Sequence[LabelMatcher]) -> str | None:
    """The labels that an alert must have for the matchers to hold, as JSON; more is asked by other matchers.

    A label that is missing reads as the empty string, and a reserved one may not be among the stored labels.
    """
    needed = {
        matcher.label: matcher.value
        for matcher in matchers
        if matcher.op is MatchOp.EQUAL and matcher.value and matcher.label not in RESERVED_LABELS
    }
    return msgspec.json.encode(needed).decode() if needed else None


def _instant(ts_us: int | None) -> datetime | None:
    return EPOCH + timedelta(microseconds=ts_us) if ts_us is not None else None


def _over(alert_id: int) -> Conflict:
    return Conflict(f"the alert {alert_id} has resolved")
