"""The examples of incidents for the OpenAPI document, by operation."""

from typing import Any, Final

Example = dict[str, Any] | str

_ERRORS: Final = "3f6c1a52-8f0b-4d3e-9c55-6f1f0e6d2b11"
_SPIKE: Final = "c8a2f0de-1b7d-4b1e-8c0e-9a51de0c7f42"
_ANOMALY: Final = "7a1d7c1e-52b4-5c0e-8a44-0d3c5f4b9e21"
_MERGED_AT: Final = "2025-12-13T04:20:00Z"
_NO_SAMPLES: Final[dict[str, Any]] = {"metric": None, "labels": {}, "start": None, "end": None}
_TO_ERRORS: Final = {"kind": "event", "id": _ERRORS, **_NO_SAMPLES, "href": f"/api/v1/events/{_ERRORS}"}
_TO_SPIKE: Final = {"kind": "anomaly", "id": _ANOMALY, **_NO_SAMPLES, "href": f"/api/v1/anomalies/{_ANOMALY}"}
_TO_MEMORY: Final = {
    "kind": "samples",
    "id": None,
    "metric": "memory",
    "labels": {"host": "host-stressed"},
    "start": "2025-12-13T03:10:00Z",
    "end": "2025-12-13T04:10:00Z",
    "href": "/api/v1/metrics?name=memory&label=host%3Dhost-stressed"
    "&start=2025-12-13T03%3A10%3A00Z&end=2025-12-13T04%3A10%3A00Z",
}
_SENTENCES: Final = [
    {
        "text": "At 2025-12-13 04:10 UTC, host-stressed experienced: 13 error events; CPU spike to 94.98%; memory at "
        "87.61% (leak progression).",
        "references": [_TO_ERRORS, _TO_SPIKE, _TO_MEMORY],
    },
    {"text": "Hypothesis: error burst caused by resource exhaustion.", "references": [_TO_SPIKE, _TO_MEMORY]},
]
_INCIDENT: Final = {
    "id": 7,
    "state": "open",
    "title": "host-stressed: error burst, CPU spike",
    "severe": True,
    "started_at": "2025-12-13T04:08:30Z",
    "last_signal_at": "2025-12-13T04:10:00Z",
    "hosts": ["host-stressed"],
    "services": ["checkout"],
    "signals": 2,
    "synthetic": False,
    "acknowledged_at": None,
    "acknowledged_by": None,
    "resolved_at": None,
    "resolved_by": None,
    "merged_into": None,
    "narrative_text": " ".join(str(sentence["text"]) for sentence in _SENTENCES),
    "revision": 3,
    "created_at": "2025-12-13T04:10:05Z",
    "updated_at": "2025-12-13T04:10:09Z",
}
_SIGNAL: Final = {
    "key": f"event:{_SPIKE}",
    "kind": "anomaly",
    "at": "2025-12-13T04:08:30Z",
    "host": "host-stressed",
    "service": None,
    "metric": "cpu",
    "value": 94.98,
    "text": "host-stressed:cpu 46 spikes up to 94.98 (risk 0.90)",
    "labels": {"host": "host-stressed"},
    "severe": True,
    "synthetic": False,
    "anomaly_id": _ANOMALY,
    "href": f"/api/v1/events/{_SPIKE}",
}
_BURST: Final = {
    **_SIGNAL,
    "key": f"event:{_ERRORS}",
    "kind": "error",
    "at": "2025-12-13T04:10:00Z",
    "service": "checkout",
    "metric": "error",
    "value": 13.0,
    "text": "13 requests failed: connection pool exhausted",
    "anomaly_id": None,
    "href": f"/api/v1/events/{_ERRORS}",
}
_HYPOTHESIS: Final = {
    "entity": "host-stressed",
    "score": 2.4,
    "text": "host-stressed ran out of memory before checkout failed",
    "evidence": [{"text": "Memory of host-stressed moved first, by 132%.", "references": [_TO_MEMORY]}],
    "counter_evidence": ["no other service of host-stressed failed"],
}
_CHANGE: Final = {
    "id": 12,
    "incident_id": 7,
    "kind": "merged",
    "at": _MERGED_AT,
    "by": "key:7",
    "summary": "took the signals of incident 8",
    "detail": {"from": 8, "into": 7, "keys": [f"event:{_ERRORS}"]},
    "undone": False,
}
_DETAIL: Final = {
    **_INCIDENT,
    "narrative": _SENTENCES,
    "hypotheses": [_HYPOTHESIS],
    "evidence": [_TO_ERRORS, _TO_SPIKE, _TO_MEMORY],
    "graph": {
        "nodes": [
            {"entity": "host-stressed", "signals": 1, "first_at": "2025-12-13T04:08:30Z", "score": 2.4},
            {"entity": "checkout", "signals": 1, "first_at": "2025-12-13T04:10:00Z", "score": 0.0},
        ],
        "edges": [
            {"cause": "host-stressed", "effect": "checkout", "score": 0.8, "reasons": ["same host host-stressed"]}
        ],
    },
    "timeline": [_SIGNAL, _BURST],
    "links": [
        {
            "first": f"event:{_SPIKE}",
            "then": f"event:{_ERRORS}",
            "score": 0.8,
            "reasons": ["same host host-stressed", "90 s apart"],
        }
    ],
    "history": [_CHANGE],
    "analysed_at": "2025-12-13T04:10:09Z",
}
_ACKNOWLEDGED: Final = {
    **_INCIDENT,
    "state": "acknowledged",
    "acknowledged_at": "2025-12-13T04:12:00Z",
    "acknowledged_by": "key:7",
}
_GRAPH: Final = {"data": [{"client": "checkout", "server": "payment"}, {"client": "frontend", "server": "checkout"}]}

REQUESTS: Final[dict[str, Example]] = {
    "merge_incidents": {"from": 8},
    "split_incident": {"keys": [f"event:{_ERRORS}"]},
    "undo_incident_change": {"change": 12},
    "put_dependencies": _GRAPH,
}

REPLIES: Final[dict[str, Example]] = {
    "list_incidents": {"data": [_INCIDENT], "next_cursor": None},
    "get_incident": _DETAIL,
    "acknowledge_incident": _ACKNOWLEDGED,
    "resolve_incident": {
        **_ACKNOWLEDGED,
        "state": "resolved",
        "resolved_at": "2025-12-13T05:00:00Z",
        "resolved_by": "key:7",
    },
    "reopen_incident": _INCIDENT,
    "merge_incidents": {**_INCIDENT, "revision": 4},
    "split_incident": {**_INCIDENT, "id": 9, "signals": 1, "narrative_text": None, "revision": 1},
    "undo_incident_change": {**_INCIDENT, "revision": 5},
    "get_dependencies": _GRAPH,
    "put_dependencies": _GRAPH,
}
