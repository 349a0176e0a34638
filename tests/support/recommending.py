"""Drift events and recommendations as tests want them."""

from datetime import UTC, datetime
from typing import Any

import msgspec

from core.domain.drift import DetectionMethod, DriftCategory, DriftEvent, DriftSeverity, DriftStatus
from core.domain.recommendations import Recommendation, RecommendationState

AT = datetime(2026, 1, 1, tzinfo=UTC)
RIGHT_SIZE = {"current": {"cpu_request": "2", "memory_request": "2Gi"}, "proposed": {"cpu_request": "500m"}}


def drift_event(drift_id: str = "drift-1", **changes: Any) -> DriftEvent:
    """A workload that asks for more than it uses."""
    event = DriftEvent(
        cluster_id="prod-eu",
        env="production",
        drift_date=AT.date(),
        drift_id=drift_id,
        drift_category=DriftCategory.CPU_MEMORY_DRIFT,
        severity=DriftSeverity.MAJOR,
        workload_name="checkout",
        namespace="shop",
        start_ts=AT,
        end_ts=None,
        last_seen_at=AT,
        detection_method=DetectionMethod.THRESHOLD,
        confidence_score=0.9,
        status=DriftStatus.OPEN,
        message=None,
        evidence={},
        automatic=False,
        synthetic=False,
        created_at=AT,
        updated_at=AT,
        status_by=None,
        status_note=None,
    )
    return msgspec.structs.replace(event, **changes)


def recommendation(rec_id: str = "rec-1", **changes: Any) -> Recommendation:
    """To ask for less cpu."""
    standard = Recommendation(
        cluster_id="prod-eu",
        env="production",
        drift_date=AT.date(),
        drift_id="drift-1",
        rec_id=rec_id,
        recommendation_type="right_size",
        recommendation_json=RIGHT_SIZE,
        estimated_savings_usd=40.0,
        auto_approved=False,
        state=RecommendationState.PROPOSED,
        automatic=False,
        synthetic=False,
        created_at=AT,
        updated_at=AT,
        decided_at=None,
        decided_by=None,
        reason=None,
        remediation=None,
        dry_run=None,
        applied_at=None,
    )
    return msgspec.structs.replace(standard, **changes)
