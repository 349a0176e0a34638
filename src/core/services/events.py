"""Signal events, the service graph, and purging what was simulated."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final
from uuid import UUID, uuid4

import msgspec

from core.domain.dependencies import Dependency, check_dependencies
from core.domain.errors import InvalidInput, TooLarge
from core.domain.events import (
    EVENTS_PER_REQUEST_MAX,
    EventFilter,
    EventSpec,
    SignalEvent,
    fingerprint_of,
    is_synthetic,
)
from core.domain.points import ERRORS_SHOWN_MAX, Rejection
from core.domain.series import check_text
from core.domain.tenants import Principal, Scope
from core.domain.times import EPOCH, SECOND_US, TimeRange, format_time, parse_time
from core.services.cursors import check_page, cut, decode_moment, encode_moment
from core.services.recording import READ_ALERTS, Recorder, actor
from ports.driven.audit_log import AuditLog
from ports.driven.clock import Clock
from ports.driven.event_store import DependencyStore, EventStore
from ports.driven.synthetic_store import Purge, SyntheticStore
from ports.driving.detecting import EventPage, EventsReply

EDGES_SHOWN_MAX: Final = 100
"""Of a changed service graph, in the audit trail; all are counted."""


class EventService:
    """Implements `ports.driving.detecting.Events`."""

    def __init__(
        self,
        events: EventStore,
        dependencies: DependencyStore,
        synthetic: SyntheticStore,
        audit: AuditLog,
        clock: Clock,
        *,
        future_skew_s: float,
    ) -> None:
        self._events = events
        self._dependencies = dependencies
        self._synthetic = synthetic
        self._recorder = Recorder(audit, clock)
        self._clock = clock
        self._future_skew_us = round(future_skew_s * SECOND_US)

    async def post(self, principal: Principal, events: Sequence[EventSpec | Rejection]) -> EventsReply:
        """See `Events.post`."""
        principal.require(Scope.INGEST)
        if len(events) > EVENTS_PER_REQUEST_MAX:
            raise TooLarge(
                f"{len(events)} events; send at most {EVENTS_PER_REQUEST_MAX} in one request",
                limit=EVENTS_PER_REQUEST_MAX,
            )
        now_us = self._clock.now_us()
        fit: list[SignalEvent] = []
        refused: list[Rejection] = []
        for index, event in enumerate(events):
            if isinstance(event, Rejection):
                refused.append(event)
                continue
            try:
                fit.append(self._stored_form(event, now_us))
            except InvalidInput as error:
                refused.append(Rejection(index, error.field, error.reason))
        if fit:
            await self._events.append(principal.tenant_id, fit)
        return EventsReply(
            accepted=len(fit),
            rejected=len(refused),
            errors=tuple(refused[:ERRORS_SHOWN_MAX]),
            ids=tuple(event.id for event in fit),
        )

    async def list(self, principal: Principal, wanted: EventFilter, *, limit: int, cursor: str | None) -> EventPage:
        """See `Events.list`."""
        principal.require_any(*READ_ALERTS)
        check_page(limit)
        _check_filter(wanted)
        found = await self._events.list(principal.tenant_id, wanted, limit=limit + 1, before=decode_moment(cursor))
        page, more = cut(found, limit)
        return EventPage(page, encode_moment(page[-1].ts, page[-1].id) if more else None)

    async def get(self, principal: Principal, event_id: UUID) -> SignalEvent:
        """See `Events.get`."""
        principal.require_any(*READ_ALERTS)
        return await self._events.get(principal.tenant_id, event_id)

    async def dependencies(self, principal: Principal) -> Sequence[Dependency]:
        """See `Events.dependencies`."""
        principal.require_any(*READ_ALERTS)
        return await self._dependencies.list(principal.tenant_id)

    async def replace_dependencies(self, principal: Principal, dependencies: Sequence[Dependency]) -> None:
        """See `Events.replace_dependencies`."""
        principal.require(Scope.ALERTS)
        check_dependencies(tuple(dependencies))
        before = set(await self._dependencies.list(principal.tenant_id))
        await self._dependencies.replace(principal.tenant_id, dependencies)
        added, removed = sorted(set(dependencies) - before), sorted(before - set(dependencies))
        if added or removed:
            await self._recorder.changed(
                principal,
                f"declared dependencies: {len(added)} added, {len(removed)} removed",
                after=GraphChange(added=tuple(added[:EDGES_SHOWN_MAX]), removed=tuple(removed[:EDGES_SHOWN_MAX])),
            )

    async def purge(self, principal: Principal) -> Purge:
        """See `Events.purge`."""
        principal.require(Scope.ADMIN)
        now = self._recorder.now()
        purge = await self._synthetic.request(principal.tenant_id, by=actor(principal), now=now)
        await self._recorder.changed(principal, "asked for synthetic data to be purged", key=f"purge-{purge.id}")
        return purge

    async def purge_status(self, principal: Principal, purge_id: int) -> Purge:
        """See `Events.purge_status`."""
        principal.require_any(Scope.ADMIN, *READ_ALERTS)
        return await self._synthetic.get(principal.tenant_id, purge_id)

    def _stored_form(self, spec: EventSpec, now_us: int) -> SignalEvent:
        """The event that a sender's is stored as; raises `InvalidInput` where it is too far ahead of the clock."""
        ts_us = now_us if spec.ts is None else parse_time(spec.ts, "ts")
        if ts_us > now_us + self._future_skew_us:
            raise InvalidInput(
                "ts",
                f"{format_time(ts_us)} is more than {self._future_skew_us // SECOND_US} s ahead of the server's clock "
                f"({format_time(now_us)})",
            )
        host, service = spec.host or None, spec.service or None
        return SignalEvent(
            id=spec.id or uuid4(),
            ts=EPOCH + timedelta(microseconds=ts_us),
            host=host,
            service=service,
            fingerprint=fingerprint_of(host, service, spec.metric),
            severity=spec.severity,
            metric=spec.metric,
            value=spec.value,
            message=spec.message,
            labels=spec.labels,
            synthetic=spec.synthetic or is_synthetic(spec.labels),
            created_at=EPOCH + timedelta(microseconds=now_us),
        )


class GraphChange(msgspec.Struct, frozen=True, kw_only=True):
    """What a declaration of dependencies changed, for the audit trail."""

    added: tuple[Dependency, ...]
    removed: tuple[Dependency, ...]


def _check_filter(wanted: EventFilter) -> None:
    """Raises `InvalidInput` where a filter cannot be read."""
    for field in ("host", "service", "metric", "fingerprint"):
        text = getattr(wanted, field)
        if text is not None:
            check_text(field, text)
    if wanted.start_us is not None and wanted.end_us is not None:
        TimeRange(wanted.start_us, wanted.end_us)
