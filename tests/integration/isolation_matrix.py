"""What every route is to two tenants: who may call it, and a request to it that names another tenant's things.

A route that is not here fails tests/architecture/test_isolation_matrix.py.
"""

from typing import Any, Final, cast

from tests.integration.isolation_clusters import CLUSTERS
from tests.integration.isolation_kinds import (
    ADMIN,
    ALERTS,
    ANY,
    INGEST,
    QUERY,
    READ_ALERTS,
    READ_PURGE,
    READ_REMEDIATION,
    REMEDIATE,
    Guarded,
    Linked,
    Public,
    Request,
    Route,
    Subject,
    named,
    plain,
)

LATER: Final = "2199-01-01T00:00:00Z"
HOOK: Final = "https://93.184.215.14/hook"
"""A public address, so that no name has to be looked up; nothing is sent to it."""


def routes_of(app: object) -> set[Route]:
    """Every route that the application answers, the raw ingest routes included."""
    server = cast("Any", app)
    served = {("POST", path) for path in server._routes}
    for route in server._litestar.routes:
        served |= {(method, route.path_format) for method in route.methods if method != "OPTIONS"}
    return served


def _query(path: str, subject: Subject) -> Request:
    return Request(named(path, subject), {"label": f"{subject.label}={subject.value}"})


def _raw(path: str, subject: Subject) -> Request:
    return Request(path, {"name": subject.metric, "label": f"{subject.label}={subject.value}"})


def _grouped(path: str, subject: Subject) -> Request:
    return Request(named(path, subject), {"group_by": subject.label})


def _prefix(path: str, subject: Subject) -> Request:
    return Request(path, {"prefix": subject.metric})


def _metric(subject: Subject) -> dict[str, Any]:
    return {"name": subject.metric, "value": 6.66, "labels": {subject.label: subject.value}}


def _one(path: str, subject: Subject) -> Request:
    return Request(path, {}, _metric(subject))


def _batch(path: str, subject: Subject) -> Request:
    return Request(path, {}, {"metrics": [_metric(subject)]})


def _definition(path: str, subject: Subject) -> Request:
    return Request(named(path, subject), {}, {"name": subject.metric, "retention_days": 1})


def _keys_of(path: str, subject: Subject) -> Request:
    return Request(path, {"tenant": subject.tenant})


def _new_key(path: str, subject: Subject) -> Request:
    return Request(path, {}, {"tenant": subject.tenant_id, "scopes": ["query"]})


def _new_tenant(path: str, subject: Subject) -> Request:
    return Request(path, {}, {"name": subject.tenant})


def _limits(path: str, subject: Subject) -> Request:
    return Request(named(path, subject), {}, {"samples_per_s": 1})


def _alerts(path: str, subject: Subject) -> Request:
    label = f"{subject.label}={subject.value}"
    return Request(path, {"rule": subject.metric, "metric": subject.metric, "label": label})


def _rule(path: str, subject: Subject) -> Request:
    rule = {"name": subject.metric, "metric": subject.metric, "warning": 1, "labels": {"a": subject.value}}
    return Request(named(path, subject), {}, {**rule, "channels": [subject.channel]})


def _own_rule(path: str, subject: Subject) -> Request:
    return Request(named(path, subject), {}, {"name": subject.metric, "metric": subject.metric, "warning": 1})


def _silence(path: str, subject: Subject) -> Request:
    matchers = [f"{subject.label}={subject.value}"]
    return Request(named(path, subject), {}, {"matchers": matchers, "ends_at": LATER, "reason": subject.value})


def _ended(path: str, subject: Subject) -> Request:
    return Request(path, {"ended": "true"})


def _inhibition(path: str, subject: Subject) -> Request:
    matchers = [f"{subject.label}={subject.value}"]
    return Request(path, {}, {"name": subject.metric, "source": matchers, "target": ["severity=warning"]})


def _channel(path: str, subject: Subject) -> Request:
    return Request(named(path, subject), {}, {"type": "webhook", "name": subject.channel, "url": HOOK})


def _policy(path: str, subject: Subject) -> Request:
    step = {"name": "note", "action": {"type": "annotate", "text": subject.value}}
    policy = {"name": subject.policy, "steps": [step], "escalation_channel": subject.channel}
    return Request(named(path, subject), {}, policy)


def _own_policy(path: str, subject: Subject) -> Request:
    request = _policy(path, subject)
    return Request(request.path, {}, {**request.json, "escalation_channel": None})


def _switch(path: str, subject: Subject) -> Request:
    return Request(path, {}, {"engaged": True, "reason": subject.value})


def _remediations(path: str, subject: Subject) -> Request:
    return Request(path, {"alert": str(subject.alert_id)})


def _audit(path: str, subject: Subject) -> Request:
    return Request(path, {"alert": str(subject.alert_id), "remediation": str(subject.remediation_id)})


def _events(path: str, subject: Subject) -> Request:
    event = {"id": subject.event_id, "metric": subject.metric, "host": subject.value, "severity": "error"}
    return Request(path, {}, {"events": [event]})


def _about(path: str, subject: Subject) -> Request:
    return Request(path, {"host": subject.value, "metric": subject.metric})


def _graph(path: str, subject: Subject) -> Request:
    return Request(path, {}, {"data": [{"client": subject.value, "server": subject.metric}]})


def _look(path: str, subject: Subject) -> Request:
    return Request(path, {}, {"metric": subject.metric, "matchers": [f"{subject.label}={subject.value}"]})


def _detection(path: str, subject: Subject) -> Request:
    return Request(path, {}, {"include": [subject.metric], "channels": [subject.channel]})


def _look_back(path: str, subject: Subject) -> Request:
    return Request(path, {}, {"settings": {"include": [subject.metric], "interval": "1h"}})


def _mark(path: str, subject: Subject) -> Request:
    return Request(named(path, subject), {}, {"verdict": "false", "note": subject.value})


def _incidents(path: str, subject: Subject) -> Request:
    return Request(path, {"host": subject.value, "text": subject.value})


def _merge(path: str, subject: Subject) -> Request:
    return Request(named(path, subject), {}, {"from": subject.incident_id + 1})


def _split(path: str, subject: Subject) -> Request:
    return Request(named(path, subject), {}, {"keys": [f"event:{subject.event_id}"]})


def _undo(path: str, subject: Subject) -> Request:
    return Request(named(path, subject), {}, {"change": 1})


MATRIX: Final[dict[Route, Guarded | Linked | Public]] = {
    ("POST", "/api/v1/metrics/ingest"): Guarded(INGEST, _one),
    ("POST", "/api/v1/metrics/ingest/batch"): Guarded(INGEST, _batch),
    ("POST", "/ingest"): Guarded(INGEST, _one),
    ("POST", "/ingest/batch"): Guarded(INGEST, _batch),
    ("GET", "/api/v1/metrics"): Guarded(QUERY, _raw),
    ("GET", "/api/v1/metrics/names"): Guarded(QUERY, _prefix),
    ("GET", "/api/v1/metrics/labels"): Guarded(QUERY, plain),
    ("GET", "/api/v1/metrics/labels/{label}/values"): Guarded(QUERY, plain),
    ("GET", "/api/v1/metrics/latest/{name}"): Guarded(QUERY, _query),
    ("GET", "/api/v1/metrics/aggregate/{name}"): Guarded(QUERY, _grouped),
    ("GET", "/api/v1/metrics/series/{name}"): Guarded(QUERY, _grouped),
    ("GET", "/api/v1/metrics/definitions"): Guarded(QUERY, plain),
    ("POST", "/api/v1/metrics/definitions"): Guarded(ADMIN, _definition),
    ("GET", "/api/v1/metrics/definitions/{name}"): Guarded(QUERY, plain),
    ("PUT", "/api/v1/metrics/definitions/{name}"): Guarded(ADMIN, _definition),
    ("DELETE", "/api/v1/metrics/definitions/{name}"): Guarded(ADMIN, plain),
    **CLUSTERS,
    ("POST", "/api/v1/events"): Guarded(INGEST, _events),
    ("GET", "/api/v1/events"): Guarded(READ_ALERTS, _about),
    ("GET", "/api/v1/events/{event_id}"): Guarded(READ_ALERTS, plain),
    ("POST", "/api/v1/synthetic/purge"): Guarded(ADMIN, plain),
    ("GET", "/api/v1/synthetic/purge/{purge_id}"): Guarded(READ_PURGE, plain),
    ("POST", "/api/v1/detect"): Guarded(READ_ALERTS, _look),
    ("POST", "/api/v1/detect/backtest"): Guarded(READ_ALERTS, _look_back),
    ("GET", "/api/v1/detect/precision"): Guarded(READ_ALERTS, plain),
    ("GET", "/api/v1/detect/settings"): Guarded(READ_ALERTS, plain),
    ("PUT", "/api/v1/detect/settings"): Guarded(ALERTS, _detection),
    ("GET", "/api/v1/detect/runs"): Guarded(READ_ALERTS, plain),
    ("POST", "/api/v1/detect/runs"): Guarded(ALERTS, plain),
    ("GET", "/api/v1/anomalies"): Guarded(READ_ALERTS, _about),
    ("GET", "/api/v1/anomalies/{anomaly_id}"): Guarded(READ_ALERTS, plain),
    ("PUT", "/api/v1/anomalies/{anomaly_id}/mark"): Guarded(ALERTS, _mark),
    ("DELETE", "/api/v1/anomalies/{anomaly_id}/mark"): Guarded(ALERTS, plain),
    ("GET", "/api/v1/incidents"): Guarded(READ_ALERTS, _incidents),
    ("GET", "/api/v1/incidents/{incident_id}"): Guarded(READ_ALERTS, plain),
    ("POST", "/api/v1/incidents/{incident_id}/acknowledge"): Guarded(ALERTS, plain),
    ("POST", "/api/v1/incidents/{incident_id}/resolve"): Guarded(ALERTS, plain),
    ("POST", "/api/v1/incidents/{incident_id}/reopen"): Guarded(ALERTS, plain),
    ("POST", "/api/v1/incidents/{incident_id}/merge"): Guarded(ALERTS, _merge),
    ("POST", "/api/v1/incidents/{incident_id}/split"): Guarded(ALERTS, _split),
    ("POST", "/api/v1/incidents/{incident_id}/undo"): Guarded(ALERTS, _undo),
    ("GET", "/api/v1/dependencies"): Guarded(READ_ALERTS, plain),
    ("PUT", "/api/v1/dependencies"): Guarded(ALERTS, _graph),
    ("GET", "/api/v1/alerts"): Guarded(READ_ALERTS, _alerts),
    ("GET", "/api/v1/alerts/{alert_id}"): Guarded(READ_ALERTS, plain),
    ("POST", "/api/v1/alerts/{alert_id}/acknowledge"): Guarded(ALERTS, plain),
    ("POST", "/api/v1/alerts/{alert_id}/close"): Guarded(ALERTS, plain),
    ("GET", "/api/v1/alerts/rules"): Guarded(READ_ALERTS, plain),
    ("POST", "/api/v1/alerts/rules"): Guarded(ALERTS, _rule),
    ("GET", "/api/v1/alerts/rules/{rule_id}"): Guarded(READ_ALERTS, plain),
    ("PUT", "/api/v1/alerts/rules/{rule_id}"): Guarded(ALERTS, _own_rule),
    ("DELETE", "/api/v1/alerts/rules/{rule_id}"): Guarded(ALERTS, plain),
    ("POST", "/api/v1/alerts/rules/{rule_id}/backtest"): Guarded(READ_ALERTS, plain),
    ("POST", "/api/v1/alerts/rules/backtest"): Guarded(READ_ALERTS, _own_rule),
    ("GET", "/api/v1/alerts/silences"): Guarded(READ_ALERTS, _ended),
    ("POST", "/api/v1/alerts/silences"): Guarded(ALERTS, _silence),
    ("GET", "/api/v1/alerts/silences/{silence_id}"): Guarded(READ_ALERTS, plain),
    ("PUT", "/api/v1/alerts/silences/{silence_id}"): Guarded(ALERTS, _silence),
    ("DELETE", "/api/v1/alerts/silences/{silence_id}"): Guarded(ALERTS, plain),
    ("GET", "/api/v1/alerts/inhibitions"): Guarded(READ_ALERTS, plain),
    ("POST", "/api/v1/alerts/inhibitions"): Guarded(ALERTS, _inhibition),
    ("DELETE", "/api/v1/alerts/inhibitions/{inhibition_id}"): Guarded(ALERTS, plain),
    ("GET", "/api/v1/alerts/channels"): Guarded(READ_ALERTS, plain),
    ("POST", "/api/v1/alerts/channels"): Guarded(ALERTS, _channel),
    ("GET", "/api/v1/alerts/channels/{channel_id}"): Guarded(READ_ALERTS, plain),
    ("PUT", "/api/v1/alerts/channels/{channel_id}"): Guarded(ALERTS, _channel),
    ("DELETE", "/api/v1/alerts/channels/{channel_id}"): Guarded(ALERTS, plain),
    ("POST", "/api/v1/alerts/channels/{channel_id}/test"): Guarded(ALERTS, plain),
    ("GET", "/api/v1/alerts/notifications"): Guarded(READ_ALERTS, plain),
    ("POST", "/api/v1/alerts/notifications/{notification_id}/resend"): Guarded(ALERTS, plain),
    ("GET", "/api/v1/remediation/policies"): Guarded(READ_REMEDIATION, plain),
    ("POST", "/api/v1/remediation/policies"): Guarded(REMEDIATE, _policy),
    ("GET", "/api/v1/remediation/policies/{policy_id}"): Guarded(READ_REMEDIATION, plain),
    ("PUT", "/api/v1/remediation/policies/{policy_id}"): Guarded(REMEDIATE, _own_policy),
    ("DELETE", "/api/v1/remediation/policies/{policy_id}"): Guarded(REMEDIATE, plain),
    ("GET", "/api/v1/remediation/kill-switch"): Guarded(READ_REMEDIATION, plain),
    ("PUT", "/api/v1/remediation/kill-switch"): Guarded(REMEDIATE, _switch),
    ("GET", "/api/v1/remediations"): Guarded(READ_REMEDIATION, _remediations),
    ("GET", "/api/v1/remediations/{remediation_id}"): Guarded(READ_REMEDIATION, plain),
    ("POST", "/api/v1/remediations/{remediation_id}/approve"): Guarded(REMEDIATE, plain),
    ("POST", "/api/v1/remediations/{remediation_id}/reject"): Guarded(REMEDIATE, plain),
    ("POST", "/api/v1/remediations/{remediation_id}/cancel"): Guarded(REMEDIATE, plain),
    ("GET", "/api/v1/remediations/decide"): Linked(),
    ("POST", "/api/v1/remediations/decide"): Linked(),
    ("GET", "/api/v1/audit"): Guarded(READ_REMEDIATION, _audit),
    ("GET", "/api/v1/audit/verify"): Guarded(READ_REMEDIATION, plain),
    ("GET", "/api/v1/tenants"): Guarded(ADMIN, plain),
    ("POST", "/api/v1/tenants"): Guarded(ADMIN, _new_tenant, operator=True),
    ("PUT", "/api/v1/tenants/{tenant}/limits"): Guarded(ADMIN, _limits, operator=True),
    ("GET", "/api/v1/keys"): Guarded(ADMIN, _keys_of),
    ("POST", "/api/v1/keys"): Guarded(ADMIN, _new_key),
    ("DELETE", "/api/v1/keys/{key_id}"): Guarded(ADMIN, plain),
    ("GET", "/api/v1/limits"): Guarded(ANY, plain),
    ("GET", "/healthz"): Public("/healthz"),
    ("GET", "/readyz"): Public("/readyz"),
    ("GET", "/health"): Public("/health"),
    ("GET", "/metrics"): Public("/metrics"),
    ("GET", "/openapi.json"): Public("/openapi.json"),
    ("GET", "/"): Public("/"),
    ("GET", "/docs"): Public("/docs"),
    ("GET", "/redoc"): Public("/redoc"),
    ("GET", "/docs/assets/{file}"): Public("/docs/assets/start.js"),
}
