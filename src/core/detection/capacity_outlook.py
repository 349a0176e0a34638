"""When a resource of a cluster runs out, by its capacity snapshots, and in words.

The line and its band are those of `core.detection.forecast`, drawn through used ÷ allocatable, and through requested ÷
allocatable, by which the scheduler goes: nodes that come and go move it as much as what runs on them.
"""

import enum
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import numpy as np

from core.detection.forecast import POINTS_MIN, Forecast, ForecastParameters, Outlook, forecast
from core.domain.capacity import RESOURCES, CapacityPlan, CapacitySnapshot
from core.domain.times import DAY_US, EPOCH

UTILISATION_MAX: Final = 1e9
"""Where next to nothing is allocatable, use is any multiple of it; the number stays one that JSON holds."""
CONFIDENCE: Final = 0.9
"""Of the band: nine forecasts in ten are to be inside, as far as the past tells."""


REQUESTED_MAX: Final = 0.95
"""Of what is allocatable: pods are not divisible, so what is left on each node is less than the next one asks for, and
one node that fails, or one rollout, does not fit any more."""


class Measure(enum.StrEnum):
    """What of a resource is looked at."""

    USED = "used"
    REQUESTED = "requested"


MEASURED: Final = {Measure.USED: RESOURCES, Measure.REQUESTED: ("cpu", "memory")}
"""Nobody asks for pods: those that run are those that are used."""


def name_of(resource: str, measure: Measure) -> str:
    """For a person: ``cpu`` or ``requested cpu``."""
    return resource if measure is Measure.USED else f"requested {resource}"


def limit_of(plan: CapacityPlan | None, resource: str, measure: Measure = Measure.USED) -> float:
    """The utilisation of one of `RESOURCES` that counts as full: the plan's, or 1 where it names none; of requests
    `REQUESTED_MAX`, as plans are about use."""
    if measure is Measure.REQUESTED:
        return REQUESTED_MAX
    return plan.utilisation_max.get(resource, 1.0) if plan is not None else 1.0


def utilisation_of(snapshot: CapacitySnapshot, resource: str, measure: Measure = Measure.USED) -> float | None:
    """Used or requested ÷ allocatable, not above `UTILISATION_MAX`; None where that is not known."""
    amounts = snapshot.used if measure is Measure.USED else snapshot.requested
    allocatable = snapshot.allocatable.of(resource)
    if amounts is None or allocatable <= 0.0:
        return None
    return min(amounts.of(resource) / allocatable, UTILISATION_MAX)


def outlook_of(
    snapshots: Sequence[CapacitySnapshot],
    resource: str,
    limit: float,
    *,
    horizon_days: float,
    measure: Measure = Measure.USED,
) -> Forecast:
    """When the utilisation of one of `RESOURCES` reaches `limit`, at most `horizon_days` after the newest snapshot.

    Snapshots that do not tell it are left out.
    """
    known = [(one.ts, level) for one in snapshots if (level := utilisation_of(one, resource, measure)) is not None]
    ts_us = np.array([(ts - EPOCH) // timedelta(microseconds=1) for ts, _ in known], np.int64)
    levels = np.array([level for _, level in known], np.float64)
    return forecast(
        ts_us, levels, limit, ForecastParameters(horizon_us=round(horizon_days * DAY_US), confidence=CONFIDENCE)
    )


def words_of(resource: str, found: Forecast, *, now: float, limit: float, snapshots: int, horizon_days: float) -> str:
    """The forecast for a person: ``cpu reaches 75 % on 2026-12-04 (from 2026-11-30 to 2026-12-15)``.

    `now` is the newest utilisation, `snapshots` how many there are.
    """
    full = _percent(limit)
    match found.outlook:
        case Outlook.UNKNOWN:
            return (
                f"{resource} is at {_percent(now)}; when it reaches {full} cannot be told from {snapshots} "
                f"snapshot{'' if snapshots == 1 else 's'}: it takes {POINTS_MIN} or more of different times"
            )
        case Outlook.REACHED:
            return f"{resource} is at {_percent(now)} and has reached {full}"
        case Outlook.WITHIN:
            return f"{resource} reaches {full} on {_day(found.at_us)} ({_band(found)})"
        case Outlook.NOT_WITHIN:
            return (
                f"{resource} is at {_percent(now)}, grows by {_percent(found.slope_per_day)} of the cluster a day and "
                f"does not reach {full} within {horizon_days:g} days{_at_worst(found)}"
            )
        case Outlook.NEVER:
            return f"{resource} is at {_percent(now)} and does not grow towards {full}{_at_worst(found)}"


def instant_of(ts_us: int | None) -> datetime | None:
    """The same instant, UTC."""
    return None if ts_us is None else EPOCH + timedelta(microseconds=ts_us)


def _band(found: Forecast) -> str:
    first = _day(found.earliest_us)
    if found.latest_us is None:
        return f"from {first} on, with no telling how late"
    return f"from {first} to {_day(found.latest_us)}"


def _at_worst(found: Forecast) -> str:
    return f"; at worst it does on {_day(found.earliest_us)}" if found.earliest_us is not None else ""


def _day(ts_us: int | None) -> str:
    instant = instant_of(ts_us)
    assert instant is not None  # the outlooks that name a day have one
    return instant.date().isoformat()


def _percent(share: float) -> str:
    return f"{100.0 * share:.3g} %"
