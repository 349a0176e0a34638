"""Rows of drift events and recommendations as values of the domain, and back."""

from collections.abc import Mapping
from typing import Any

import msgspec

from adapters.driven.postgres.documents import document_of, storable
from core.domain.drift import DetectionMethod, DriftCategory, DriftEvent, DriftSeverity, DriftStatus
from core.domain.recommendations import Recommendation, RecommendationState


def event_row(event: DriftEvent) -> dict[str, Any]:
    """An event's columns, to be encoded."""
    return {**msgspec.structs.asdict(event), "evidence": storable(event.evidence)}


def event_of(row: Mapping[str, Any]) -> DriftEvent:
    """The event in a row of `sextant.drift_events`."""
    return DriftEvent(
        cluster_id=row["cluster_id"],
        env=row["env"],
        drift_date=row["drift_date"],
        drift_id=row["drift_id"],
        drift_category=DriftCategory(row["drift_category"]),
        severity=DriftSeverity(row["severity"]),
        workload_name=row["workload_name"],
        namespace=row["namespace"],
        start_ts=row["start_ts"],
        end_ts=row["end_ts"],
        last_seen_at=row["last_seen_at"],
        detection_method=DetectionMethod(row["detection_method"]),
        confidence_score=row["confidence_score"],
        status=DriftStatus(row["status"]),
        message=row["message"],
        evidence=document_of(row["evidence"]),
        automatic=row["automatic"],
        synthetic=row["synthetic"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        status_by=row["status_by"],
        status_note=row["status_note"],
    )


def recommendation_row(recommendation: Recommendation) -> dict[str, Any]:
    """A new recommendation's columns, to be encoded; one that is approved from the start was so when it was made."""
    is_approved = recommendation.auto_approved
    return {
        **msgspec.structs.asdict(recommendation),
        "recommendation_json": storable(recommendation.recommendation_json),
        "decision": "approved" if is_approved else None,
        "decided_at": recommendation.decided_at or (recommendation.created_at if is_approved else None),
    }


def recommendation_of(row: Mapping[str, Any]) -> Recommendation:
    """The recommendation in a row of the queries that show any."""
    return Recommendation(
        cluster_id=row["cluster_id"],
        env=row["env"],
        drift_date=row["drift_date"],
        drift_id=row["drift_id"],
        rec_id=row["rec_id"],
        recommendation_type=row["recommendation_type"],
        recommendation_json=document_of(row["recommendation_json"]),
        estimated_savings_usd=row["estimated_savings_usd"],
        auto_approved=row["auto_approved"],
        state=RecommendationState(row["state"]),
        automatic=row["automatic"],
        synthetic=row["synthetic"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        decided_at=row["decided_at"],
        decided_by=row["decided_by"],
        reason=row["reason"],
        remediation=row["remediation_id"],
        dry_run=row["dry_run"],
        applied_at=row["applied_at"],
    )
