"""Drift events: reported, listed, settled, and looked for on demand."""

from datetime import UTC, datetime
from typing import Final
from uuid import uuid4

from core.domain.drift import DriftEvent, DriftFilter, DriftSpec, DriftStatus
from core.domain.errors import InvalidInput, NotFound
from core.domain.names import check_cluster_id, check_text_encodable
from core.domain.tenants import Principal, Scope
from core.services.cursors import DOCUMENTS_PAGE_MAX, check_page, cut, decode_named_moment, encode_named_moment
from core.services.drift_looking import DriftLooking
from core.services.recording import READ_REMEDIATION, Recorder, actor
from ports.driven.audit_log import AuditLog
from ports.driven.clock import Clock
from ports.driven.drift_store import DriftStore
from ports.driving.drifting import DriftFound, DriftPage

NOTE_CHARS_MAX: Final = 1_000


class DriftService:
    """Implements `ports.driving.drifting.Drift`. Safe to call concurrently."""

    def __init__(self, drift: DriftStore, looking: DriftLooking, audit: AuditLog, clock: Clock) -> None:
        self._drift = drift
        self._looking = looking
        self._recorder = Recorder(audit, clock)

    async def post(self, principal: Principal, spec: DriftSpec) -> tuple[DriftEvent, bool]:
        """See `Drift.post`. A resolved one without an end ends now."""
        principal.require_any(Scope.INGEST, Scope.ALERTS)
        posted, is_new = await self._drift.add(
            principal.tenant_id, _stored_form(spec, by=actor(principal), now=self._recorder.now())
        )
        if is_new:
            summary = f"posted the drift event {posted.drift_id!r} ({posted.drift_category.value})"
            await self._recorder.changed(principal, summary)
        return posted, is_new

    async def list(self, principal: Principal, wanted: DriftFilter, *, limit: int, cursor: str | None) -> DriftPage:
        """See `Drift.list`."""
        principal.require_any(*READ_REMEDIATION)
        check_page(limit)
        limit = min(limit, DOCUMENTS_PAGE_MAX)
        if wanted.start is not None and wanted.end is not None and wanted.end <= wanted.start:
            raise InvalidInput("end", f"{wanted.end.isoformat()} is not after start {wanted.start.isoformat()}")
        before = decode_named_moment(cursor)
        found = await self._drift.list(principal.tenant_id, wanted, limit=limit + 1, before=before)
        page, more = cut(found, limit)
        return DriftPage(page, encode_named_moment(page[-1].start_ts, page[-1].drift_id) if more else None)

    async def get(self, principal: Principal, drift_id: str) -> DriftEvent:
        """See `Drift.get`."""
        principal.require_any(*READ_REMEDIATION)
        return await self._drift.get(principal.tenant_id, drift_id)

    async def set_status(
        self, principal: Principal, drift_id: str, status: DriftStatus, *, note: str | None
    ) -> DriftEvent:
        """See `Drift.set_status`."""
        principal.require(Scope.ALERTS)
        if note is not None:
            _check_note(note)
        before = await self._drift.get(principal.tenant_id, drift_id)
        after = await self._drift.set_status(
            principal.tenant_id, drift_id, status, by=actor(principal), note=note, now=self._recorder.now()
        )
        because = "" if note is None else f": {note}"
        summary = f"made the drift event {drift_id!r} {status.value}{because}"
        await self._recorder.changed(principal, summary, before=before, after=after)
        return after

    async def detect(self, principal: Principal, cluster_id: str) -> DriftFound:
        """See `Drift.detect`; needs scope ``alerts``. Raises `NotFound` where nothing is known of the cluster."""
        principal.require(Scope.ALERTS)
        check_cluster_id("cluster_id", cluster_id)
        if not await self._looking.is_known(principal.tenant_id, cluster_id):
            raise NotFound("cluster", cluster_id)
        return await self._looking.look(principal.tenant_id, cluster_id)


def _stored_form(spec: DriftSpec, *, by: str, now: datetime) -> DriftEvent:
    is_settled = spec.status is not DriftStatus.OPEN
    ends_now = spec.status is DriftStatus.RESOLVED and spec.end_ts is None
    return DriftEvent(
        cluster_id=spec.cluster_id,
        env=spec.env,
        drift_date=spec.drift_date if spec.drift_date is not None else spec.start_ts.astimezone(UTC).date(),
        drift_id=spec.drift_id if spec.drift_id is not None else str(uuid4()),
        drift_category=spec.drift_category,
        severity=spec.severity,
        workload_name=spec.workload_name,
        namespace=spec.namespace,
        start_ts=spec.start_ts,
        end_ts=max(now, spec.start_ts) if ends_now else spec.end_ts,
        last_seen_at=now,
        detection_method=spec.detection_method,
        confidence_score=spec.confidence_score,
        status=spec.status,
        message=spec.message,
        evidence=spec.evidence,
        automatic=False,
        synthetic=spec.synthetic,
        created_at=now,
        updated_at=now,
        status_by=by if is_settled else None,
        status_note=None,
    )


def _check_note(note: str) -> None:
    if not 1 <= len(note) <= NOTE_CHARS_MAX or "\x00" in note:
        raise InvalidInput("note", f"must have 1 to {NOTE_CHARS_MAX} characters, none of them NUL")
    check_text_encodable("note", note)
