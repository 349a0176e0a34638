"""The examples of events and detection for the OpenAPI document, by operation."""

from typing import Any, Final

Example = dict[str, Any] | str

_AT: Final = "2026-01-31T12:00:00Z"
_EVENT: Final = {
    "id": "3f6c1a52-8f0b-4d3e-9c55-6f1f0e6d2b11",
    "ts": _AT,
    "host": "web-1",
    "service": "checkout",
    "severity": "error",
    "metric": "error",
    "value": 13.0,
    "message": "13 requests failed: connection pool exhausted",
    "labels": {"region": "eu-west-1"},
    "synthetic": False,
}
_CHANGE: Final = {
    "ts": "2026-01-31T11:58:00Z",
    "service": "checkout",
    "metric": "config_change",
    "message": "deployed 4.2.0",
}
_STORED_EVENT: Final = {
    **_EVENT,
    "fingerprint": "web-1:error",
    "anomaly_id": None,
    "created_at": "2026-01-31T12:00:01Z",
}
_EVENTS_REPLY: Final = {
    "accepted": 2,
    "rejected": 0,
    "errors": [],
    "ids": ["3f6c1a52-8f0b-4d3e-9c55-6f1f0e6d2b11", "c8a2f0de-1b7d-4b1e-8c0e-9a51de0c7f42"],
}
_PURGE: Final = {
    "id": 1,
    "requested_at": _AT,
    "requested_by": "key:7",
    "finished_at": None,
    "samples": None,
    "events": None,
    "anomalies": None,
    "incidents": None,
}
_PURGED: Final = {
    **_PURGE,
    "finished_at": "2026-01-31T12:00:04Z",
    "samples": 17_280,
    "events": 2_311,
    "anomalies": 4,
    "incidents": 2,
}
_FINDING: Final[dict[str, Any]] = {
    "detector": "variance",
    "component": None,
    "risk": 1.0,
    "start": "2026-01-31T08:00:00Z",
    "end": _AT,
    "baseline_start": "2026-01-29T12:00:00Z",
    "baseline_end": "2026-01-29T16:00:00Z",
    "usual_low": 4.8,
    "usual_high": 4.8,
    "observed": 9.95,
    "count": 12,
    "phrase": "variance escalated 4.30x",
    "moments": [],
}
_SERIES: Final = {"metric": "cpu", "labels": {"host": "host-stressed"}, "fingerprint": "host-stressed:cpu"}
_TEXT: Final = "host-stressed:cpu variance escalated 4.30x (risk 1.00)"
_SERIES_FINDING: Final[dict[str, Any]] = {**_SERIES, "text": _TEXT, "finding": _FINDING}
_DETECTION: Final = {
    "start": "2026-01-29T12:00:00Z",
    "end": _AT,
    "series": 6,
    "samples": 17_280,
    "findings": [_SERIES_FINDING],
    "findings_total": 1,
}
_BACKTEST: Final = {
    "start": "2026-01-30T12:00:00Z",
    "end": _AT,
    "series": 6,
    "samples": 25_920,
    "runs": 96,
    "alerts": 1,
    "alerting_s": 21_600.0,
    "steps": [{"at": "2026-01-31T06:00:00Z", "findings": 1, "alarming": [_SERIES_FINDING]}],
}
_ANOMALY: Final = {
    "id": "7a1d7c1e-52b4-5c0e-8a44-0d3c5f4b9e21",
    **_SERIES,
    "host": "host-stressed",
    "service": None,
    "text": _TEXT,
    "risk": 1.0,
    "risk_max": 1.0,
    "first_seen_at": "2026-01-31T06:00:00Z",
    "last_seen_at": _AT,
    "ended_at": None,
    "shadow": False,
    "synthetic": True,
    "mark": None,
    "finding": _FINDING,
}
_MARKED: Final = {**_ANOMALY, "mark": {"verdict": "true", "by": "key:7", "at": _AT, "note": "the leak of 4.2.0"}}
_PLAN: Final = {
    "detectors": ["variance", "spike", "trend", "streaming"],
    "variance": {"window": "4h", "increase_min": 0.5, "increase_full": 2.0, "errors_min": 3.0, "fill_min": 0.5},
    "spike": {"deviations": 2.5, "baseline_share": 1.0, "share_full": 0.05, "deviations_full": 5.0},
    "trend": {"increase_min": 0.3, "increase_full": 1.0, "errors_min": 4.0},
    "streaming": {"bucket": "5m"},
}
_SETTINGS: Final = {
    "enabled": True,
    "interval": "15m",
    "window": "48h",
    "include": [],
    "exclude": ["debug\\..*"],
    "matchers": ["env=production"],
    "time_limit": "10m",
    "alert_risk": 0.8,
    "alert_detectors": ["spike", "trend"],
    "shadow": False,
    "channels": ["on call"],
    "remediation": None,
    "plan": _PLAN,
    "correlation": {"window": "5m", "signals_min": 3, "reopen_within": "30m", "resolve_after": "1h"},
}
_RUN: Final = {
    "id": 96,
    "due_at": _AT,
    "covers_from": "2026-01-31T11:45:00Z",
    "state": "done",
    "attempts": 1,
    "started_at": "2026-01-31T12:00:01Z",
    "finished_at": "2026-01-31T12:00:09Z",
    "after_series_id": 6,
    "series": 6,
    "points": 17_280,
    "findings": 1,
    "error": None,
}
_REQUESTED_RUN: Final = {
    **_RUN,
    "id": 97,
    "due_at": "2026-01-31T12:03:20Z",
    "covers_from": _AT,
    "state": "running",
    "attempts": 0,
    "started_at": "2026-01-31T12:03:20Z",
    "finished_at": None,
    "after_series_id": 0,
    "series": 0,
    "points": 0,
    "findings": 0,
}

REQUESTS: Final[dict[str, Example]] = {
    "post_events": {"events": [_EVENT, _CHANGE]},
    "detect": {
        "metric": "cpu",
        "matchers": ["host=host-stressed"],
        "since": "48h",
        "detectors": ["variance", "spike"],
        "parameters": {"spike": {"deviations": 3.0}},
    },
    "backtest_detection": {"settings": {"alert_risk": 0.9, "exclude": ["debug\\..*"]}, "since": "24h"},
    "put_detection_settings": _SETTINGS,
    "mark_anomaly": {"verdict": "true", "note": "the leak of 4.2.0"},
}

REPLIES: Final[dict[str, Example]] = {
    "post_events": _EVENTS_REPLY,
    "list_events": {"data": [_STORED_EVENT], "next_cursor": None},
    "get_event": _STORED_EVENT,
    "purge_synthetic": _PURGE,
    "get_purge": _PURGED,
    "detect": _DETECTION,
    "backtest_detection": _BACKTEST,
    "get_precision": {
        "data": [
            {"detector": "variance", "anomalies": 12, "marked_true": 9, "marked_false": 1, "precision": 0.9},
            {"detector": "spike", "anomalies": 4, "marked_true": 0, "marked_false": 0, "precision": None},
        ]
    },
    "get_detection_settings": _SETTINGS,
    "put_detection_settings": _SETTINGS,
    "list_detection_runs": {"data": [_RUN], "next_cursor": None},
    "request_detection_run": _REQUESTED_RUN,
    "list_anomalies": {"data": [_ANOMALY], "next_cursor": None},
    "get_anomaly": _ANOMALY,
    "mark_anomaly": _MARKED,
    "unmark_anomaly": _ANOMALY,
}
