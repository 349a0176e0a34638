"""An alert for actions to be tried on, and label values that somebody could mean harm with."""

from datetime import UTC, datetime
from typing import Any

import msgspec

from core.domain.alerts import Alert, EpisodeState
from core.domain.rules import Severity

HOSTILE = {
    "quote": 'x", "admin": true, "y": "',
    "backslash": "\\",
    "slashes": "a/b/c",
    "up": "../../admin",
    "up_backslash": "..\\admin",
    "query": "web?force=true&all=1",
    "fragment": "web#x",
    "crlf": "web\r\nX-Admin: yes",
    "template": "{{ labels.password }}{% raw %}",
    "unicode": "Grüße-東京-\U0001f600-\u202e",
    "dash": "-rf",
    "nul": "a\x00b",
    "host": "evil.example",
    "userinfo": "x@evil.example",
    "shell": "$(reboot); `reboot` | reboot",
    "encoded": "%2e%2e%2fadmin",
    "marks": "\ue0000\ue001",
    "space": " ",
}
"""By name; none of them is longer than a label may be."""

_ALERT = Alert(
    id=42,
    rule="checkout is slow",
    rule_id=7,
    metric="http_request_duration_seconds",
    labels={"host": "web-1", "namespace": "shop", "deployment": "checkout", "pod": "checkout-0"},
    state=EpisodeState.FIRING,
    severity=Severity.CRITICAL,
    value=92.5,
    threshold=90.0,
    started_at=datetime(2026, 1, 1, tzinfo=UTC),
    fired_at=datetime(2026, 1, 1, 0, 5, tzinfo=UTC),
    resolved_at=None,
    resolution=None,
    episode=1,
    no_data=False,
    shadow=False,
    announced=True,
    acknowledged_at=None,
    acknowledged_by=None,
    annotations={},
    runbook_url=None,
    remediation=9,
)


def an_alert(labels: dict[str, str] | None = None, **changes: Any) -> Alert:
    """A firing alert; `labels` are added to its own."""
    return msgspec.structs.replace(_ALERT, labels={**_ALERT.labels, **(labels or {})}, **changes)


def unheard() -> None:
    """A heartbeat that nobody listens to."""
