"""Which event a drift goes on as."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from core.detection.drift_findings import Judged
from core.domain.drift import (
    SEXTANT,
    DetectionMethod,
    DriftCategory,
    DriftEvent,
    DriftSeverity,
    DriftSpec,
    DriftStatus,
    FoundDrift,
    ProposedRecommendation,
    check_id,
)
from core.domain.recommendations import Recommendation
from core.services.drift_identity import drift_id_of, identified
from tests.support.cluster_rows import NOON

KEY = "cpu-over-request/shop/checkout"
HOUR = timedelta(hours=1)


def found(key: str = KEY, **changes: Any) -> FoundDrift:
    """A drift with a recommendation."""
    drift = DriftSpec(
        cluster_id="prod",
        drift_category=DriftCategory.CPU_MEMORY_DRIFT,
        severity=DriftSeverity.MAJOR,
        workload_name="checkout",
        namespace="shop",
        start_ts=NOON - 2 * HOUR,
        detection_method=DetectionMethod.THRESHOLD,
        message="much",
        evidence={"key": key},
    )
    proposed = ProposedRecommendation(recommendation_type="right_size", recommendation_json={}, estimated_savings_usd=1)
    return FoundDrift(key=key, drift=msgspec.structs.replace(drift, **changes), recommendation=proposed)


def saved(judged: Judged, *known: DriftEvent, hours: float = 0.0) -> list[tuple[DriftEvent, Recommendation | None]]:
    """What is to be saved so many hours after noon."""
    return identified(judged, known, synthetic=False, now=NOON + hours * HOUR)


def opened(**changes: Any) -> DriftEvent:
    """The event as it was opened at noon, since changed."""
    ((event, _),) = saved({KEY: found()})
    return msgspec.structs.replace(event, **changes)


def test_a_new_event() -> None:
    """Its id follows from the day, the cluster and the key; the recommendation's from the event's."""
    ((event, recommendation),) = saved({KEY: found(), "other": None})
    assert event.drift_id == drift_id_of("prod", KEY, NOON)
    assert event.drift_id.startswith("2026-01-31-cpu-over-request-shop-checkout-")
    assert (event.status, event.automatic, event.drift_date) == (DriftStatus.OPEN, True, NOON.date())
    assert recommendation is not None
    assert (recommendation.rec_id, recommendation.drift_id) == (f"{event.drift_id}-fix", event.drift_id)
    assert drift_id_of("test", KEY, NOON) != event.drift_id


def test_ids_stand_in_paths() -> None:
    """Whatever a workload is called, and however long."""
    for key in ("x/größe/ /", "config-image/" + "n" * 253 + "/" + "w" * 253, "a//b"):
        check_id("drift_id", drift_id_of("prod", key, NOON) + "-99-fix")


@pytest.mark.parametrize("status", [DriftStatus.OPEN, DriftStatus.ACKNOWLEDGED, DriftStatus.IGNORED])
def test_a_known_one_goes_on(status: DriftStatus) -> None:
    """Into the next day, with what is now known of it."""
    known = opened(status=status)
    worse = found(severity=DriftSeverity.CRITICAL, message="more", start_ts=NOON + 10 * HOUR)
    ((event, recommendation),) = saved({KEY: worse}, known, hours=13)
    assert (event.drift_id, event.status, event.start_ts) == (known.drift_id, status, known.start_ts)
    assert (event.severity, event.message, event.last_seen_at) == (
        DriftSeverity.CRITICAL,
        "more",
        NOON + 13 * HOUR,
    )
    assert recommendation is not None, "what would mend it is worked out anew"
    assert (recommendation.rec_id, recommendation.created_at) == (f"{known.drift_id}-fix", NOON + 13 * HOUR)


def test_ignored_for_as_long_as_it_lasts() -> None:
    """After a gap of more than a day it is another drift."""
    known = opened(status=DriftStatus.IGNORED)
    ((event, _),) = saved({KEY: found()}, known, hours=24.1)
    assert (event.drift_id, event.status) == (drift_id_of("prod", KEY, NOON + 24 * HOUR), DriftStatus.OPEN)


def test_back_on_the_same_day() -> None:
    """A drift that ended and came back is another event."""
    ended = opened(status=DriftStatus.RESOLVED, status_by=SEXTANT, updated_at=NOON + HOUR)
    ((event, recommendation),) = saved({KEY: found()}, ended, hours=2)
    assert event.drift_id == f"{ended.drift_id}-2"
    assert recommendation is not None
    again = msgspec.structs.replace(event, status=DriftStatus.RESOLVED, status_by=SEXTANT)
    ((third, _),) = saved({KEY: found()}, ended, again, hours=3)
    assert third.drift_id == f"{ended.drift_id}-3"


def test_what_somebody_resolved_rests() -> None:
    """Until what they did can show."""
    ended = opened(status=DriftStatus.RESOLVED, status_by="key:5", updated_at=NOON)
    assert saved({KEY: found()}, ended, hours=2.9) == []
    assert len(saved({KEY: found()}, ended, hours=3.1)) == 1


def test_what_was_not_looked_at_stays_for_a_day() -> None:
    """As it is; what was looked at and is well is left out, and so resolved."""
    known = opened()
    assert saved({}, known, hours=23) == [(known, None)]
    assert saved({}, known, hours=25) == []
    assert saved({KEY: None}, known, hours=1) == []


def test_peoples_own_events_are_not_followed() -> None:
    """Though their evidence says the same."""
    ((event, _),) = saved({KEY: found()}, opened(automatic=False, drift_id="own"))
    assert event.drift_id == drift_id_of("prod", KEY, NOON)
    ((event, _),) = saved({KEY: found()}, opened(evidence={}, drift_id="bare"))
    assert event.drift_id == drift_id_of("prod", KEY, NOON)
