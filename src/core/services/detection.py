"""Detection on demand, what scheduled detection found, and how it is set."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final
from uuid import UUID

from core.detection.plan import DetectionPlan, DetectionSettings
from core.domain.anomalies import NOTE_CHARS_MAX, Anomaly, AnomalyFilter, Mark, Precision, Verdict
from core.domain.detection_runs import DetectionRun
from core.domain.errors import Conflict, InvalidInput
from core.domain.events import check_message
from core.domain.matchers import parse_matchers
from core.domain.series import check_text
from core.domain.tenants import Principal, Scope
from core.domain.times import TimeRange
from core.services.alerting import check_names, require_for
from core.services.cursors import check_page, cut, decode_moment, decode_row_cursor, encode_cursor, encode_moment
from core.services.detection_backtest import backtest_detection
from core.services.detection_search import DetectionSearch
from core.services.policies import Policies
from core.services.recording import READ_ALERTS, Recorder, actor
from ports.driven.alerting_store import ChannelStore
from ports.driven.audit_log import AuditLog
from ports.driven.clock import Clock
from ports.driven.detection_store import DetectionStore
from ports.driven.pause import Pause
from ports.driven.remediation_store import PolicyStore
from ports.driven.sample_reader import SampleReader
from ports.driving.detecting import AnomalyPage, Detection, DetectionBacktest, RunPage

PRECISION_DAYS_MAX: Final = 3_650
"""Ten years: longer than anomalies are kept."""


class DetectionService:
    """Implements `ports.driving.detecting.Detections`."""

    def __init__(
        self,
        detection: DetectionStore,
        channels: ChannelStore,
        policy_store: PolicyStore,
        reader: SampleReader,
        policies: Policies,
        audit: AuditLog,
        clock: Clock,
        pause: Pause,
    ) -> None:
        self._detection = detection
        self._channels = channels
        self._policy_store = policy_store
        self._search = DetectionSearch(reader, policies, clock, pause)
        self._recorder = Recorder(audit, clock)

    async def detect(
        self,
        principal: Principal,
        metric: str | None,
        matchers: Sequence[str],
        time_range: TimeRange,
        plan: DetectionPlan,
    ) -> Detection:
        """See `Detections.detect`."""
        principal.require_any(*READ_ALERTS)
        return await self._search.detect(principal.tenant_id, metric, parse_matchers(matchers), time_range, plan)

    async def backtest(
        self, principal: Principal, settings: DetectionSettings, time_range: TimeRange
    ) -> DetectionBacktest:
        """See `Detections.backtest`."""
        principal.require_any(*READ_ALERTS)
        return await backtest_detection(self._search, principal.tenant_id, settings, time_range)

    async def anomalies(
        self, principal: Principal, wanted: AnomalyFilter, *, limit: int, cursor: str | None
    ) -> AnomalyPage:
        """See `Detections.anomalies`."""
        principal.require_any(*READ_ALERTS)
        check_page(limit)
        _check_filter(wanted)
        before = decode_moment(cursor)
        found = await self._detection.anomalies(principal.tenant_id, wanted, limit=limit + 1, before=before)
        page, more = cut(found, limit)
        return AnomalyPage(page, encode_moment(page[-1].last_seen_at, page[-1].id) if more else None)

    async def anomaly(self, principal: Principal, anomaly_id: UUID) -> Anomaly:
        """See `Detections.anomaly`."""
        principal.require_any(*READ_ALERTS)
        return await self._detection.anomaly(principal.tenant_id, anomaly_id)

    async def mark(self, principal: Principal, anomaly_id: UUID, verdict: Verdict | None, note: str | None) -> Anomaly:
        """See `Detections.mark`."""
        principal.require(Scope.ALERTS)
        if note is not None:
            check_message("note", note)
            if len(note) > NOTE_CHARS_MAX:
                raise InvalidInput("note", f"must have at most {NOTE_CHARS_MAX} characters")
        before = await self._detection.anomaly(principal.tenant_id, anomaly_id)
        mark = None
        if verdict is not None:
            mark = Mark(verdict=verdict, by=actor(principal), at=self._recorder.now(), note=note)
        anomaly = await self._detection.mark(principal.tenant_id, anomaly_id, mark)
        said = f"marked as {verdict.value}" if verdict is not None else "took back the verdict on"
        await self._recorder.changed(
            principal, f"{said} the anomaly {anomaly.text!r}", before=before.mark, after=anomaly.mark
        )
        return anomaly

    async def precision(self, principal: Principal, *, days: int) -> Sequence[Precision]:
        """See `Detections.precision`."""
        principal.require_any(*READ_ALERTS)
        if not 1 <= days <= PRECISION_DAYS_MAX:
            raise InvalidInput("days", f"must be from 1 to {PRECISION_DAYS_MAX}")
        since = self._recorder.now() - timedelta(days=days)
        return await self._detection.precision(principal.tenant_id, since=since)

    async def settings(self, principal: Principal) -> DetectionSettings:
        """See `Detections.settings`."""
        principal.require_any(*READ_ALERTS)
        return await self._detection.settings(principal.tenant_id) or DetectionSettings()

    async def replace_settings(self, principal: Principal, settings: DetectionSettings) -> DetectionSettings:
        """See `Detections.replace_settings`."""
        rule = settings.risk_rule()
        require_for(principal, rule)
        await check_names(principal.tenant_id, rule, self._channels, self._policy_store)
        before = await self._detection.settings(principal.tenant_id) or DetectionSettings()
        await self._detection.replace_settings(principal.tenant_id, settings)
        if settings != before:
            await self._recorder.changed(principal, "changed how detection is set", before=before, after=settings)
        return settings

    async def runs(self, principal: Principal, *, limit: int, cursor: str | None) -> RunPage:
        """See `Detections.runs`."""
        principal.require_any(*READ_ALERTS)
        check_page(limit)
        before_id = decode_row_cursor(cursor)
        found = await self._detection.runs(principal.tenant_id, limit=limit + 1, before_id=before_id)
        page, more = cut(found, limit)
        return RunPage(page, encode_cursor(page[-1].id) if more else None)

    async def request_run(self, principal: Principal) -> DetectionRun:
        """See `Detections.request_run`."""
        principal.require(Scope.ALERTS)
        if not (await self._detection.settings(principal.tenant_id) or DetectionSettings()).enabled:
            raise Conflict("detection is switched off: set `enabled` in its settings")
        return await self._detection.request_run(principal.tenant_id, now=self._recorder.now())


def _check_filter(wanted: AnomalyFilter) -> None:
    """Raises `InvalidInput` where a filter cannot be read."""
    for field in ("metric", "host", "service", "fingerprint"):
        text = getattr(wanted, field)
        if text is not None:
            check_text(field, text)
    if wanted.start_us is not None and wanted.end_us is not None:
        TimeRange(wanted.start_us, wanted.end_us)
