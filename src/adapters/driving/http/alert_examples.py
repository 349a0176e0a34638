"""The examples of alerts and remediation for the OpenAPI document, by operation."""

from typing import Any, Final

Example = dict[str, Any] | str

_AT: Final = "2026-01-31T12:00:00Z"
_RULE: Final = {
    "name": "processors are busy",
    "metric": "cpu.usage",
    "matchers": ["env=production"],
    "aggregation": "avg",
    "window": "5m",
    "group_by": ["host"],
    "condition": ">",
    "warning": 80.0,
    "critical": 95.0,
    "clear": 70.0,
    "for": "2m",
    "keep_firing_for": "1m",
    "no_data": "keep",
    "no_data_after": "5m",
    "evaluation_delay": None,
    "labels": {"team": "web"},
    "annotations": {"summary": "{{ labels.host }} is at {{ value | round(1) }}%"},
    "runbook_url": "https://example.com/runbooks/cpu",
    "channels": ["on call"],
    "remediation": "restart checkout",
    "mode": "live",
    "enabled": True,
}
_RULE_REPLY: Final = {**_RULE, "id": 7, "origin": "api", "revision": 1, "created_at": _AT, "updated_at": _AT}
_ALERT: Final = {
    "id": 42,
    "rule": "processors are busy",
    "rule_id": 7,
    "metric": "cpu.usage",
    "labels": {"host": "web-1", "team": "web"},
    "state": "firing",
    "severity": "critical",
    "value": 97.5,
    "threshold": 95.0,
    "started_at": "2026-01-31T11:57:30Z",
    "fired_at": "2026-01-31T11:59:30Z",
    "resolved_at": None,
    "resolution": None,
    "episode": 3,
    "no_data": False,
    "shadow": False,
    "announced": True,
    "acknowledged_at": None,
    "acknowledged_by": None,
    "annotations": {"summary": "web-1 is at 97.5%"},
    "runbook_url": "https://example.com/runbooks/cpu",
    "remediation": 5,
}
_ACKNOWLEDGED: Final = {**_ALERT, "acknowledged_at": _AT, "acknowledged_by": "key:7"}
_NOTIFICATION: Final = {
    "id": "0b8f9f3a-3f0e-5c7e-9a53-5f5a4d0e2c11",
    "channel_id": 3,
    "channel": "on call",
    "event": "fired",
    "rule": "processors are busy",
    "alert_ids": [42],
    "state": "delivered",
    "attempts": 1,
    "created_at": "2026-01-31T11:59:30Z",
    "next_attempt_at": None,
    "delivered_at": "2026-01-31T11:59:31Z",
    "last_error": None,
}
_DEAD: Final = {
    **_NOTIFICATION,
    "state": "dead",
    "attempts": 12,
    "delivered_at": None,
    "last_error": "the receiver answered 500",
}
_ENTRY: Final = {
    "sequence": 118,
    "at": "2026-01-31T11:59:40Z",
    "kind": "approval",
    "actor": "key:7",
    "summary": "approved: it is the known leak",
    "alert_id": 42,
    "remediation_id": 5,
    "details": {},
    "previous": "4f2d7c1be0a95f3380d8f9b6a7c3412d5e6f708192a3b4c5d6e7f8091a2b3c4d",
    "hash": "9a3c1e5f7b2d4860a1c3e5f7092b4d6f81a3c5e7f9012b4d6f8a1c3e5f70924b",
}
_SILENCE: Final = {
    "matchers": ["host=web-1", "severity=warning"],
    "starts_at": "2026-01-31T22:00:00Z",
    "ends_at": "2026-02-01T02:00:00Z",
    "reason": "kernel update",
}
_SILENCE_REPLY: Final = {"id": 4, **_SILENCE, "author": "key:7", "created_at": _AT}
_INHIBITION: Final = {
    "name": "a host that is down",
    "source": ["alertname=host is down"],
    "target": ["severity=warning"],
    "equal": ["host"],
}
_INHIBITION_REPLY: Final = {**_INHIBITION, "id": 2, "created_at": _AT}
_CHANNEL: Final = {
    "type": "webhook",
    "name": "on call",
    "url": "https://example.com/hooks/sextant",
    "format": "sextant",
    "default": True,
    "enabled": True,
}
_CHANNEL_REPLY: Final = {
    **_CHANNEL,
    "id": 3,
    "secrets_set": 1,
    "disabled_reason": None,
    "created_at": _AT,
    "updated_at": _AT,
}
_CHECK: Final = {
    "metric": "checkout.errors",
    "matchers": ["host={{ labels.host }}"],
    "aggregation": "rate",
    "window": "5m",
    "condition": "<",
    "value": 100.0,
}
_POLICY: Final = {
    "name": "restart checkout",
    "description": "The known leak: a restart helps for a day.",
    "enabled": True,
    "dry_run": False,
    "preconditions": [_CHECK],
    "steps": [
        {
            "name": "restart",
            "action": {"type": "kubernetes_restart", "namespace": "shop", "deployment": "checkout"},
            "risk": "medium",
            "preconditions": [],
            "timeout": "5m",
            "retries": 2,
        },
        {
            "name": "tell the status page",
            "action": {
                "type": "http",
                "url": "https://status.example.com/incidents/{{ labels.host }}",
                "method": "POST",
                "headers": {},
                "secret_headers": {"Authorization": "status_token"},
                "body": None,
            },
            "risk": "low",
            "preconditions": [],
            "timeout": "1m",
            "retries": 2,
        },
    ],
    "approval": "above_risk",
    "approval_above": "low",
    "approval_timeout": "1h",
    "cooldown": "15m",
    "actions_per_hour_max": 20,
    "actions_per_target_per_hour_max": 4,
    "verification": {"within": "10m", "every": "5s", "check": None},
    "rollback": [],
    "escalation_channel": "on call",
}
_POLICY_BODY: Final = {**_POLICY, "secrets": {"status_token": "Bearer 4a1f…"}}
_POLICY_REPLY: Final = {
    **_POLICY,
    "id": 1,
    "secret_names": ["status_token"],
    "revision": 1,
    "created_at": _AT,
    "updated_at": _AT,
}
_REMEDIATION: Final = {
    "id": 5,
    "alert_id": 42,
    "rule": "processors are busy",
    "policy": "restart checkout",
    "workflow_id": "sextant-remediation-2-7-c1a9-3",
    "state": "awaiting_approval",
    "dry_run": False,
    "detail": "waits for approval until 12:59:40 UTC",
    "created_at": "2026-01-31T11:59:30Z",
    "started_at": "2026-01-31T11:59:31Z",
    "finished_at": None,
    "attempts": 1,
    "last_error": None,
    "recommendation": None,
}
_APPROVED: Final = {**_REMEDIATION, "state": "running", "detail": "approved by key:7"}
_SWITCHES: Final = {
    "engaged": True,
    "tenant": {
        "tenant": "acme",
        "engaged": True,
        "by": "key:7",
        "reason": "the cluster is being moved",
        "changed_at": _AT,
    },
    "server": {"tenant": None, "engaged": False, "by": None, "reason": None, "changed_at": None},
}
_BACKTEST: Final = {
    "rule": "processors are busy",
    "start": "2026-01-30T12:00:00Z",
    "end": _AT,
    "series": 12,
    "samples": 103_680,
    "firing_s": 540.0,
    "notifications": 2,
    "remediations": 1,
    "episodes": [
        {
            "labels": {"host": "web-1", "team": "web"},
            "severity": "critical",
            "started_at": "2026-01-31T03:10:00Z",
            "fired_at": "2026-01-31T03:12:00Z",
            "escalated_at": None,
            "resolved_at": "2026-01-31T03:21:00Z",
            "duration_s": 540.0,
            "value": 96.0,
            "worst": 98.25,
            "threshold": 95.0,
            "notifications": ["fired", "resolved"],
            "channels": ["on call"],
            "remediation": "restart checkout",
        }
    ],
    "episodes_total": 1,
}
PAGE: Final = '<!doctype html>\n<html lang="en">…</html>\n'

REQUESTS: Final[dict[str, Example]] = {
    "create_rule": _RULE,
    "put_rule": {"name": "queue is long", "metric": "queue.depth", "critical": 1_000, "for": "1m"},
    "backtest_unsaved_rule": _RULE,
    "create_silence": _SILENCE,
    "put_silence": {"matchers": ["host=web-1"], "ends_at": "2026-02-01T04:00:00Z", "reason": "it takes longer"},
    "create_inhibition": _INHIBITION,
    "create_channel": {**_CHANNEL, "secret": "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"},
    "put_channel": {**_CHANNEL, "secrets": ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]},
    "create_policy": _POLICY_BODY,
    "put_policy": _POLICY,
    "put_kill_switch": {"engaged": True, "reason": "the cluster is being moved"},
    "approve_remediation": {"reason": "it is the known leak"},
    "reject_remediation": {"reason": "not during the sale"},
    "cancel_remediation": {"reason": "repaired by hand"},
    "decide_by_link": {"token": "AAAAAAAAAAIAAAAAAAAABQ", "answer": "approve"},
}

REPLIES: Final[dict[str, Example]] = {
    "list_alerts": {"data": [_ALERT], "next_cursor": None},
    "get_alert": {**_ALERT, "notifications": [_NOTIFICATION], "timeline": [_ENTRY]},
    "acknowledge_alert": _ACKNOWLEDGED,
    "close_alert": _ALERT,
    "list_rules": {"data": [_RULE_REPLY]},
    "create_rule": _RULE_REPLY,
    "get_rule": _RULE_REPLY,
    "put_rule": {**_RULE_REPLY, "revision": 2},
    "backtest_rule": _BACKTEST,
    "backtest_unsaved_rule": _BACKTEST,
    "list_silences": {"data": [_SILENCE_REPLY]},
    "create_silence": _SILENCE_REPLY,
    "get_silence": _SILENCE_REPLY,
    "put_silence": _SILENCE_REPLY,
    "list_inhibitions": {"data": [_INHIBITION_REPLY]},
    "create_inhibition": _INHIBITION_REPLY,
    "list_channels": {"data": [_CHANNEL_REPLY]},
    "create_channel": _CHANNEL_REPLY,
    "get_channel": _CHANNEL_REPLY,
    "put_channel": {**_CHANNEL_REPLY, "secrets_set": 1},
    "test_channel": {**_NOTIFICATION, "event": "test", "rule": "test", "alert_ids": []},
    "list_notifications": {"data": [_DEAD], "next_cursor": None},
    "resend_notification": {**_DEAD, "state": "waiting", "next_attempt_at": _AT},
    "list_policies": {"data": [_POLICY_REPLY]},
    "create_policy": _POLICY_REPLY,
    "get_policy": _POLICY_REPLY,
    "put_policy": {**_POLICY_REPLY, "revision": 2},
    "get_kill_switch": _SWITCHES,
    "put_kill_switch": _SWITCHES,
    "list_remediations": {"data": [_REMEDIATION], "next_cursor": None},
    "get_remediation": {**_REMEDIATION, "policy_as_it_was": _POLICY, "timeline": [_ENTRY]},
    "approve_remediation": _APPROVED,
    "reject_remediation": {**_REMEDIATION, "state": "rejected", "finished_at": _AT},
    "cancel_remediation": {**_REMEDIATION, "state": "cancelled", "finished_at": _AT},
    "show_decision": PAGE,
    "decide_by_link": PAGE,
    "list_audit": {"data": [_ENTRY], "next_cursor": "MTE4"},
    "verify_audit": {
        "tenant": "acme",
        "entries": 118,
        "head": "9a3c1e5f7b2d4860a1c3e5f7092b4d6f81a3c5e7f9012b4d6f8a1c3e5f70924b",
        "broken": None,
    },
}
