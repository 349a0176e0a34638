"""Which event a drift that was found goes on as, or begins.

Theory of operation. A drift has a key that is the same as long as it is the same drift. An event of that key that is
open or acknowledged goes on. One that somebody ignored goes on as well, as long as the drift is found without a gap: it
stays ignored. One that somebody resolved by hand is taken at its word for as long as what they did takes to show. In
all other cases a new event begins, whose id follows from the cluster, the key and the day it is first found, so that
two who look at the same time open one event. What would mend it is worked out anew each time. What could not be looked
at is neither there nor gone: for a day its events stay as they are.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

import msgspec

from core.detection.drift_findings import Judged
from core.domain.drift import SEXTANT, DriftEvent, DriftStatus, FoundDrift
from core.domain.recommendations import Recommendation, RecommendationState

GAP_MAX: Final = timedelta(days=1)
"""So long may nobody be able to look before a drift counts as ended."""
REST: Final = timedelta(hours=3)
"""After somebody resolved it: the two hours that are looked at, and the next collection, are past by then."""
SLUG_CHARS_MAX: Final = 100
FOLLOWED: Final = (DriftStatus.OPEN, DriftStatus.ACKNOWLEDGED)
_NO_SLUG: Final = re.compile(r"[^a-z0-9]+", re.ASCII)


def lasting_of(known: Iterable[DriftEvent], now: datetime) -> dict[str, DriftEvent]:
    """The events that go on where their drift is found again, by key; of several the one that began last."""
    lasting: dict[str, DriftEvent] = {}
    for event in sorted(known, key=lambda one: (one.start_ts, one.drift_id)):
        key = event.evidence.get("key")
        goes_on = event.status in FOLLOWED or (
            event.status is DriftStatus.IGNORED and event.last_seen_at >= now - GAP_MAX
        )
        if event.automatic and isinstance(key, str) and goes_on:
            lasting[key] = event
    return lasting


def identified(
    judged: Judged, known: Sequence[DriftEvent], *, synthetic: bool, now: datetime
) -> list[tuple[DriftEvent, Recommendation | None]]:
    """What is to be saved. `known` are the cluster's events."""
    lasting = lasting_of(known, now)
    resting = {
        event.evidence.get("key")
        for event in known
        if event.status is DriftStatus.RESOLVED
        and event.automatic
        and event.status_by != SEXTANT
        and event.updated_at >= now - REST
    }
    taken = {event.drift_id for event in known}
    events: list[tuple[DriftEvent, Recommendation | None]] = []
    for key, found in judged.items():
        if found is None:
            continue
        if key in lasting:
            event = _followed(lasting[key], found, now)
            events.append((event, _recommended(event, found)))
        elif key not in resting:
            event = _opened(found, taken, synthetic=synthetic, now=now)
            events.append((event, _recommended(event, found)))
    return events + [(event, None) for event in _unseen(judged, lasting, now)]


def drift_id_of(cluster_id: str, key: str, now: datetime) -> str:
    """``2026-01-31-cpu-over-request-shop-checkout-1a2b3c4d``."""
    slug = _NO_SLUG.sub("-", key.lower()).strip("-")[:SLUG_CHARS_MAX]
    digest = hashlib.blake2b(f"{cluster_id}\0{key}".encode(), digest_size=4).hexdigest()
    return f"{now.date().isoformat()}-{slug}-{digest}"


def _unseen(judged: Judged, lasting: Mapping[str, DriftEvent], now: datetime) -> list[DriftEvent]:
    return [event for key, event in lasting.items() if key not in judged and event.last_seen_at >= now - GAP_MAX]


def _followed(event: DriftEvent, found: FoundDrift, now: datetime) -> DriftEvent:
    return msgspec.structs.replace(
        event,
        severity=found.drift.severity,
        confidence_score=found.drift.confidence_score,
        message=found.drift.message,
        evidence=found.drift.evidence,
        last_seen_at=now,
        updated_at=now,
    )


def _opened(found: FoundDrift, taken: set[str], *, synthetic: bool, now: datetime) -> DriftEvent:
    drift = found.drift
    first = drift_id = drift_id_of(drift.cluster_id, found.key, now)
    again = 1
    while drift_id in taken:  # it ended, and came back the same day
        again += 1
        drift_id = f"{first}-{again}"
    return DriftEvent(
        cluster_id=drift.cluster_id,
        env=drift.env,
        drift_date=now.date(),
        drift_id=drift_id,
        drift_category=drift.drift_category,
        severity=drift.severity,
        workload_name=drift.workload_name,
        namespace=drift.namespace,
        start_ts=drift.start_ts,
        end_ts=drift.end_ts,
        last_seen_at=now,
        detection_method=drift.detection_method,
        confidence_score=drift.confidence_score,
        status=drift.status,
        message=drift.message,
        evidence=drift.evidence,
        automatic=True,
        synthetic=synthetic,
        created_at=now,
        updated_at=now,
        status_by=None,
        status_note=None,
    )


def _recommended(event: DriftEvent, found: FoundDrift) -> Recommendation | None:
    proposed = found.recommendation
    if proposed is None:
        return None
    return Recommendation(
        cluster_id=event.cluster_id,
        env=event.env,
        drift_date=event.drift_date,
        drift_id=event.drift_id,
        rec_id=f"{event.drift_id}-fix",
        recommendation_type=proposed.recommendation_type,
        recommendation_json=proposed.recommendation_json,
        estimated_savings_usd=proposed.estimated_savings_usd,
        auto_approved=False,
        state=RecommendationState.PROPOSED,
        automatic=True,
        synthetic=event.synthetic,
        created_at=event.updated_at,
        updated_at=event.updated_at,
        decided_at=None,
        decided_by=None,
        reason=None,
        remediation=None,
        dry_run=None,
        applied_at=None,
    )
