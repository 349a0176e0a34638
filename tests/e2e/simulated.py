"""What detection has to make of simulated hosts, computed from the simulation alone, and what a server made of them."""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from typing import Final

import msgspec
import numpy as np

from adapters.driving.cli.simulation import ERROR_METRIC, Simulation
from core.detection.batch import detect_batch
from core.detection.plan import DetectionSettings
from core.domain.anomalies import Anomaly
from core.domain.columns import Columns
from core.domain.events import SYNTHETIC_LABEL
from core.domain.series import Series
from core.domain.times import MINUTE_US, parse_time
from core.services.anomaly_changes import Look, anomaly_changes

WINDOW: Final = "72h"
"""Of the settings: the simulation's 48 hours are inside it whenever a run looks, so that every run finds the same."""
GAP_US: Final = 10 * MINUTE_US
"""Errors further apart are of two bursts; the simulation's are more than an hour apart and last 4 minutes."""

MOMENTARY: Final = ("spike", "streaming")
"""Detectors that find moments; the others find conditions, whose event is of when somebody looked."""

Found = Counter[tuple[str, str]]
"""Anomalies by fingerprint and detector."""


class Reference(msgspec.Struct, frozen=True):
    """What one undisturbed look at the simulated hosts gives."""

    anomalies: Found
    moments: frozenset[tuple[str, str, datetime]]
    """Fingerprint, detector and time of each moment that an event is to tell of; variance and trend have none."""
    alarming: frozenset[str]
    """Fingerprints of the open anomalies above the alert risk."""
    bursts: Counter[int]
    """How many errors each burst has, by the first one's time."""


def reference(simulation: Simulation, seen_at: datetime) -> Reference:
    """What a look at `seen_at` gives, by the same pure functions as the server's, from the simulation's own numbers."""
    settings = DetectionSettings(window=WINDOW)
    readings = dict(enumerate(simulation.readings(), 1))
    points = Columns(
        np.concatenate([np.full(len(one.ts_us), number, np.int32) for number, one in readings.items()]),
        np.concatenate([one.ts_us for one in readings.values()]),
        np.concatenate([one.values for one in readings.values()]),
    )
    series = {
        number: Series(number, one.metric.name, {"host": one.host.name, SYNTHETIC_LABEL: "true"}, "")
        for number, one in readings.items()
    }
    look = Look(tenant_id=1, now=seen_at, shadow=False, alert_risk=settings.alert_risk)
    changes = anomaly_changes(look, series, [], detect_batch(points, settings.plan))
    detectors = {one.id: one.finding.detector.value for one in changes.opened}
    return Reference(
        anomalies=Counter((one.fingerprint, one.finding.detector.value) for one in changes.opened),
        moments=frozenset(
            (event.fingerprint, detectors[event.anomaly_id], event.ts)
            for event in changes.events
            if event.anomaly_id is not None and detectors[event.anomaly_id] in MOMENTARY
        ),
        alarming=frozenset(one.fingerprint for one in changes.opened if _alarms(one, settings)),
        bursts=bursts(parse_time(one.ts or "", "ts") for one in simulation.events() if one.metric == ERROR_METRIC),
    )


def bursts(errors_us: Iterable[int]) -> Counter[int]:
    """How many errors each burst has, by the time of its first, in microseconds. Hosts fall ill at the same times, and
    what fails on all of them is one service."""
    counted: Counter[int] = Counter()
    burst_us = last_us = -GAP_US - 1
    for ts_us in sorted(errors_us):
        if ts_us - last_us > GAP_US:
            burst_us = ts_us
        counted[burst_us] += 1
        last_us = ts_us
    return counted


def _alarms(anomaly: Anomaly, settings: DetectionSettings) -> bool:
    finding = anomaly.finding
    return (
        anomaly.ended_at is None and finding.risk > settings.alert_risk and finding.detector in settings.alert_detectors
    )
