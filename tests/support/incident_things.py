"""Signals, incidents and anomalies for tests, each with only what a test says of it."""

import itertools
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID, uuid5

import numpy as np

from core.detection.metric_meaning import ObservedSeries
from core.domain.anomalies import Anomaly, AnomalyFinding, Detector
from core.domain.events import fingerprint_of
from core.domain.incidents import Incident, IncidentState, Signal, SignalKind
from core.domain.times import DAY_US, EPOCH, HOUR_US, MINUTE_US, SECOND_US, parse_time

T0_US: Final = parse_time("2025-12-13T04:10:00Z", "T0")
_NAMESPACE: Final = UUID("1f0a2f6e-3f0b-5f53-8b37-6d3c6c1b9d10")


def instant(at_us: int) -> datetime:
    """The same as a datetime."""
    return EPOCH + timedelta(microseconds=at_us)


class Signals:
    """Makes signals; times are seconds after `T0_US`, and each signal has another key."""

    def __init__(self, *, synthetic: bool = False) -> None:
        self._synthetic = synthetic
        self._numbers = itertools.count(1)

    def error(self, at_s: float, host: str | None = None, text: str = "request failed", **more: object) -> Signal:
        """A posted error event."""
        return self._signal(SignalKind.ERROR, at_s, host, text, {"metric": "error", "severe": True, **more})

    def warning(self, at_s: float, host: str | None = None, text: str = "slow request", **more: object) -> Signal:
        """A posted warning."""
        return self._signal(SignalKind.ERROR, at_s, host, text, {"metric": "error", **more})

    def spike(self, at_s: float, host: str | None = None, value: float = 94.98, **more: object) -> Signal:
        """A moment of the spike detector."""
        text = f"{host}:cpu spiked 3 times up to {value:.6g} (risk 0.90)"
        return self._anomaly(at_s, host, {"metric": "cpu", "value": value, "severe": True, "text": text, **more})

    def unusual(self, at_s: float, host: str | None = None, value: float = 97.1, **more: object) -> Signal:
        """A moment of the streaming detector."""
        text = f"{host}:cpu value {value:.6g}, usually 20.4 to 61.8 (risk 0.83)"
        return self._anomaly(at_s, host, {"metric": "cpu", "value": value, "severe": True, "text": text, **more})

    def alert(self, at_s: float, host: str | None = None, text: str = "high cpu", **more: object) -> Signal:
        """An alert that fired; `severe=True` for a critical one."""
        return self._signal(SignalKind.ALERT, at_s, host, text, {"metric": "cpu_usage_percent", **more})

    def change(self, at_s: float, host: str | None = None, text: str = "release 1.4.2", **more: object) -> Signal:
        """A configuration change."""
        return self._signal(SignalKind.CHANGE, at_s, host, text, {"metric": "config_change", **more})

    def burst(
        self, count: int, at_s: float, host: str | None = None, *, every_s: float = 1.0, **more: object
    ) -> list[Signal]:
        """Errors that follow one another."""
        return [self.error(at_s + number * every_s, host, **more) for number in range(count)]  # type: ignore[arg-type]  # `more` has no text here

    def _anomaly(self, at_s: float, host: str | None, more: Mapping[str, object]) -> Signal:
        text = str(more["text"])
        return self._signal(SignalKind.ANOMALY, at_s, host, text, {"anomaly_id": uuid5(_NAMESPACE, text), **more})

    def _signal(self, kind: SignalKind, at_s: float, host: str | None, text: str, more: Mapping[str, object]) -> Signal:
        number = next(self._numbers)
        row = str(number) if kind is SignalKind.ALERT else str(UUID(int=number))
        fields: dict[str, object] = {
            "key": f"{'alert' if kind is SignalKind.ALERT else 'event'}:{row}",
            "kind": kind,
            "at_us": T0_US + round(at_s * SECOND_US),
            "host": host,
            "service": None,
            "value": None,
            "text": text,
            "labels": {},
            "severe": False,
            "synthetic": self._synthetic,
            **more,
        }
        return Signal(**fields)  # type: ignore[arg-type]  # what a test gives is checked where it is used


def incident_of(
    incident_id: int,
    signals: Iterable[Signal],
    *,
    state: IncidentState = IncidentState.OPEN,
    resolved_at_s: float = 0.0,
) -> Incident:
    """An incident of these signals; a resolved one was resolved at `resolved_at_s` after `T0_US`."""
    ordered = sorted(signals, key=lambda signal: signal.at_us)
    resolved_at = instant(T0_US + round(resolved_at_s * SECOND_US)) if state is IncidentState.RESOLVED else None
    return Incident(
        id=incident_id,
        state=state,
        title="something happened",
        severe=any(signal.severe for signal in ordered),
        started_at=instant(ordered[0].at_us),
        last_signal_at=instant(ordered[-1].at_us),
        hosts=tuple(sorted({signal.host for signal in ordered if signal.host})),
        services=tuple(sorted({signal.service for signal in ordered if signal.service})),
        signals=len(ordered),
        synthetic=ordered[0].synthetic,
        acknowledged_at=None,
        acknowledged_by=None,
        resolved_at=resolved_at,
        resolved_by="sextant" if resolved_at else None,
        merged_into=None,
        narrative=None,
        revision=1,
        created_at=instant(ordered[0].at_us),
        updated_at=instant(ordered[-1].at_us),
    )


def condition(
    host: str, metric: str, *, detector: Detector = Detector.TREND, observed: float = 86.0, phrase: str = "rose 132%"
) -> Anomaly:
    """An open anomaly of a detector of conditions, found in two days until an hour after `T0_US`."""
    return Anomaly(
        id=uuid5(_NAMESPACE, f"{host}/{metric}/{detector.value}"),
        metric=metric,
        labels={"host": host},
        host=host,
        service=None,
        fingerprint=fingerprint_of(host, None, metric),
        finding=AnomalyFinding(
            series_id=1,
            detector=detector,
            risk=1.0,
            start_us=T0_US - 2 * DAY_US + HOUR_US,
            end_us=T0_US + HOUR_US,
            baseline_start_us=T0_US - 2 * DAY_US + HOUR_US,
            baseline_end_us=T0_US + HOUR_US,
            usual_low=37.0,
            usual_high=37.0,
            observed=observed,
            count=2_880,
            phrase=phrase,
        ),
        risk_max=1.0,
        first_seen_at=instant(T0_US - HOUR_US),
        last_seen_at=instant(T0_US),
        ended_at=None,
        shadow=False,
        synthetic=False,
    )


def measured(name: str, before: float, after: float | None = None, /, **labels: str) -> ObservedSeries:
    """An hour of a series, a sample a minute, that swings by a hundredth, and ten minutes at another level (or on)."""
    ts_us = np.arange(T0_US - HOUR_US, T0_US + 10 * MINUTE_US, MINUTE_US)
    swinging = before * (1 + 0.01 * (np.arange(ts_us.size) % 3 - 1))
    return ObservedSeries(name, labels, ts_us, np.where(ts_us < T0_US, swinging, before if after is None else after))
