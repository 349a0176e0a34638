"""Recommendations: reported, decided on, applied by remediations, and what they brought."""

from datetime import datetime
from typing import Final
from uuid import uuid4

from core.domain.drift import DriftEvent, DriftStatus
from core.domain.errors import Conflict, InvalidInput
from core.domain.recommendation_plan import (
    VERIFIABLE,
    made_up_alert,
    made_up_rule,
    patience_us,
    policy_of,
    workflow_id_of,
)
from core.domain.recommendations import (
    Recommendation,
    RecommendationFilter,
    RecommendationSpec,
    RecommendationState,
    target_of,
)
from core.domain.recommended_changes import Place, change_lines, place_of
from core.domain.remediation import RemediationOrder
from core.domain.tenants import Principal, Scope
from core.domain.times import DAY_US, TimeRange
from core.services.cursors import DOCUMENTS_PAGE_MAX, check_page, cut, decode_named_moment, encode_named_moment
from core.services.recommendation_outcome import OutcomeReading
from core.services.recording import READ_REMEDIATION, Recorder, actor
from core.services.telemetry_reading import TelemetryReading
from ports.driven.audit_log import AuditLog
from ports.driven.clock import Clock
from ports.driven.cluster_store import CapacityStore
from ports.driven.drift_store import DriftStore, RecommendationStore
from ports.driven.remediation_store import RemediationStore
from ports.driving.drifting import Applied, RecommendationDetail, RecommendationPage

REASON_CHARS_MAX: Final = 1_000
REPORTED_US: Final = DAY_US
"""What has no samples for so long is not reported any more."""
PARTS: Final = 6
"""Of the time in which a change is verified: samples as far apart as they may be are in parts of their own."""
AUTO_APPROVED: Final = "approved as it was posted"


class RecommendationService:
    """Implements `ports.driving.drifting.Recommendations`. Safe to call concurrently."""

    def __init__(
        self,
        recommendations: RecommendationStore,
        drift: DriftStore,
        remediations: RemediationStore,
        reading: TelemetryReading,
        capacity: CapacityStore,
        audit: AuditLog,
        clock: Clock,
    ) -> None:
        self._recommendations = recommendations
        self._drift = drift
        self._remediations = remediations
        self._reading = reading
        self._outcomes = OutcomeReading(reading, capacity)
        self._recorder = Recorder(audit, clock)
        self._clock = clock

    async def post(self, principal: Principal, spec: RecommendationSpec) -> tuple[Recommendation, bool]:
        """See `Recommendations.post`."""
        principal.require_any(Scope.INGEST, Scope.ALERTS)
        if spec.auto_approved:
            principal.require(Scope.REMEDIATE)
        event = await self._drift.get(principal.tenant_id, spec.drift_id)
        if event.cluster_id != spec.cluster_id:
            raise InvalidInput("cluster_id", f"drift {spec.drift_id!r} is of cluster {event.cluster_id!r}")
        posted, is_new = await self._recommendations.add(
            principal.tenant_id, _stored_form(spec, event, by=actor(principal), now=self._recorder.now())
        )
        if is_new:
            approved = ", auto-approved" if spec.auto_approved else ""
            summary = f"posted the recommendation {posted.rec_id!r} ({posted.recommendation_type}){approved}"
            await self._recorder.changed(principal, summary)
        return posted, is_new

    async def list(
        self, principal: Principal, wanted: RecommendationFilter, *, limit: int, cursor: str | None
    ) -> RecommendationPage:
        """See `Recommendations.list`."""
        principal.require_any(*READ_REMEDIATION)
        check_page(limit)
        limit = min(limit, DOCUMENTS_PAGE_MAX)
        before = decode_named_moment(cursor)
        found = await self._recommendations.list(principal.tenant_id, wanted, limit=limit + 1, before=before)
        page, more = cut(found, limit)
        return RecommendationPage(page, encode_named_moment(page[-1].created_at, page[-1].rec_id) if more else None)

    async def get(self, principal: Principal, rec_id: str) -> RecommendationDetail:
        """See `Recommendations.get`."""
        principal.require_any(*READ_REMEDIATION)
        tenant_id = principal.tenant_id
        recommendation = await self._recommendations.get(tenant_id, rec_id)
        place = await self._place(tenant_id, recommendation)
        begun_at, remediation_id = recommendation.applied_at, recommendation.remediation
        if begun_at is not None and remediation_id is not None and recommendation.dry_run is False:
            begun_at = (await self._remediations.get(tenant_id, remediation_id)).started_at
        now = self._recorder.now()
        return RecommendationDetail(
            recommendation=recommendation,
            changes=change_lines(
                recommendation.recommendation_type, target_of(recommendation.recommendation_json), place
            ),
            outcome=await self._outcomes.outcome(tenant_id, recommendation, place, begun_at=begun_at, now=now),
        )

    async def decide(
        self,
        principal: Principal,
        rec_id: str,
        *,
        approved: bool,
        reason: str | None,
        updated_at: datetime | None = None,
    ) -> Recommendation:
        """See `Recommendations.decide`."""
        principal.require(Scope.REMEDIATE)
        if reason is not None:
            _check_reason(reason)
        decided = await self._recommendations.decide(
            principal.tenant_id,
            rec_id,
            approved=approved,
            by=actor(principal),
            reason=reason,
            now=self._recorder.now(),
            updated_at=updated_at,
        )
        because = "" if reason is None else f": {reason}"
        verb = "approved" if approved else "rejected"
        await self._recorder.changed(principal, f"{verb} the recommendation {rec_id!r}{because}")
        return decided

    async def apply(
        self, principal: Principal, rec_id: str, *, dry_run: bool, updated_at: datetime | None = None
    ) -> Applied:
        """See `Recommendations.apply`."""
        principal.require(Scope.REMEDIATE)
        tenant_id, now = principal.tenant_id, self._recorder.now()
        recommendation = await self._recommendations.get(tenant_id, rec_id)
        target = target_of(recommendation.recommendation_json)
        event = await self._drift.get(tenant_id, recommendation.drift_id)
        if not dry_run:
            _check_lasts(recommendation, event)
        place = place_of(recommendation, target, event)
        reported = await self._reported(tenant_id, place, patience_us(target))
        policy = policy_of(recommendation, target, place, dry_run=dry_run, reported=reported)
        rule = made_up_rule(recommendation, policy)
        order = RemediationOrder(
            tenant_id=tenant_id,
            tenant=principal.tenant,
            remediation_id=0,  # the store's to give
            workflow_id=workflow_id_of(tenant_id, recommendation),
            alert=made_up_alert(recommendation, place, rule, now),
            rule=rule,
            policy_id=0,
            policy=policy,
        )
        as_of = recommendation.updated_at if updated_at is None else updated_at
        applying, remediation_id = await self._recommendations.apply(
            tenant_id, rec_id, order, now=now, updated_at=as_of
        )
        how = "a dry run of" if dry_run else "the application of"
        await self._recorder.changed(
            principal,
            f"asked for {how} the recommendation {rec_id!r}",
            remediation_id=remediation_id,
            key=f"recommendation-applied-{remediation_id}",
        )
        return Applied(
            recommendation=applying,
            remediation=await self._remediations.get(tenant_id, remediation_id),
            policy=policy,
            changes=change_lines(recommendation.recommendation_type, target, place),
        )

    async def _place(self, tenant_id: int, recommendation: Recommendation) -> Place:
        event = await self._drift.get(tenant_id, recommendation.drift_id)
        return place_of(recommendation, target_of(recommendation.recommendation_json), event)

    async def _reported(self, tenant_id: int, place: Place, within_us: int) -> dict[str, bool]:
        """Which of `VERIFIABLE` the workload reports, and whether so often that `within_us` from any moment on there
        are two new samples: there were in both of the last such times."""
        now_us = self._clock.now_us()
        last, one_before, long = [
            await self._counted(tenant_id, place, TimeRange(max(start_us, 0), end_us), parts)
            for start_us, end_us, parts in (
                (now_us - within_us, now_us, PARTS),
                (now_us - 2 * within_us, now_us - within_us, PARTS),
                (now_us - max(REPORTED_US, 2 * within_us), now_us, 1),
            )
        ]
        return {metric: min(last.get(metric, 0), one_before.get(metric, 0)) > 1 for metric in last | one_before | long}

    async def _counted(self, tenant_id: int, place: Place, time_range: TimeRange, parts: int) -> dict[str, int]:
        """Of each of `VERIFIABLE` that the workload has samples of: in how many buckets, each a part of the range as
        long as the others, any pod has. Raises `TooExpensive`."""
        if place.namespace is None or place.workload is None:
            return {}
        try:
            found = await self._reading.read(
                tenant_id,
                place.cluster_id,
                VERIFIABLE,
                time_range,
                max((time_range.end_us - time_range.start_us) // parts, 1),
                namespace=place.namespace,
                workload=place.workload,
            )
        except InvalidInput:  # no workload has such a name
            return {}
        counts: dict[str, int] = {}
        for series in found:
            counts[series.metric] = max(counts.get(series.metric, 0), len(series.ts_us))
        return counts


def _stored_form(spec: RecommendationSpec, event: DriftEvent, *, by: str, now: datetime) -> Recommendation:
    approved = spec.auto_approved
    return Recommendation(
        cluster_id=spec.cluster_id,
        env=spec.env,
        drift_date=spec.drift_date if spec.drift_date is not None else event.drift_date,
        drift_id=spec.drift_id,
        rec_id=spec.rec_id if spec.rec_id is not None else str(uuid4()),
        recommendation_type=spec.recommendation_type,
        recommendation_json=spec.document,
        estimated_savings_usd=spec.estimated_savings_usd,
        auto_approved=approved,
        state=RecommendationState.APPROVED if approved else RecommendationState.PROPOSED,
        automatic=False,
        synthetic=spec.synthetic,
        created_at=now,
        updated_at=now,
        decided_at=now if approved else None,
        decided_by=by if approved else None,
        reason=AUTO_APPROVED if approved else None,
        remediation=None,
        dry_run=None,
        applied_at=None,
    )


def _check_lasts(recommendation: Recommendation, event: DriftEvent) -> None:
    """Raises `Conflict` where the drift that it would mend is over, as far as Sextant looks after it."""
    if event.automatic and event.status is DriftStatus.RESOLVED:
        raise Conflict(
            f"drift {event.drift_id!r} is resolved ({event.status_note or 'by ' + (event.status_by or 'nobody')}), so "
            f"{recommendation.rec_id!r} has nothing left to mend; drift that comes back brings a new recommendation"
        )


def _check_reason(reason: str) -> None:
    if not 1 <= len(reason) <= REASON_CHARS_MAX or "\x00" in reason:
        raise InvalidInput("reason", f"must have 1 to {REASON_CHARS_MAX} characters, none of them NUL")
