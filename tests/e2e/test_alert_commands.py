"""The commands of alerts, rules, remediations and the audit trail, against the program as a user runs it."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.e2e.program import KEY, Program, run_sextant, wait_until

TOLD_TIMEOUT_S = 30.0
"""An alert takes a second, a workflow some more; test machines are rarely idle."""
DOCUMENT = """
policies:
  - name: free space
    dry_run: false
    approval: always
    steps:
      - name: note
        action: {type: annotate, text: "freed space on {{ labels.host }}"}
    verification: {within: 30s, every: 1s}
rules:
  - name: story disk
    metric: story.disk
    warning: 80
    critical: 90
    annotations: {summary: "{{ labels.host }} is at {{ value }} %"}
    remediation: free space
"""

Sextant = Callable[..., str]


@pytest.fixture
def sextant(server: Program) -> Sextant:
    """Return what runs a command against the server and returns what it prints."""
    environment = {"SEXTANT_AGENT_URL": server.url, "SEXTANT_AGENT_KEY": KEY}

    def typed(*words: str, status: int = 0) -> str:
        done = run_sextant(*words, environment=environment)
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout

    return typed


def test_an_alert_from_rule_to_proof(sextant: Sextant, client: httpx.Client, tmp_path: Path) -> None:
    """Rules are applied, twice; a sample fires; it is acknowledged, repaired once a person agrees, and proven."""
    path = tmp_path / "rules.yaml"
    path.write_text(DOCUMENT)
    assert "2 to add" in sextant("rules", "apply", str(path), "--yes")
    assert sextant("rules", "apply", str(path), "--yes").startswith("nothing to do: 2 unchanged")

    _measure(client, 95.0)
    alert = _until(client, "/api/v1/alerts", rule="story disk", state="firing")
    alert_id = str(alert["id"])
    assert "story disk" in sextant("alerts", "list", "--rule", "story disk")
    assert "acknowledged alert" in sextant("alerts", "ack", alert_id)
    assert "1 alert, firing for" in sextant("alerts", "backtest", "--rule", "story disk", "--since", "1h")

    asked = _until(client, "/api/v1/remediations", alert=alert_id, state="awaiting_approval")
    remediation_id = str(asked["id"])
    assert f"approve {remediation_id}" in sextant("remediations", "show", remediation_id)
    assert "approved" in sextant("remediations", "approve", remediation_id, "--reason", "known leak")
    _until(client, "/api/v1/remediations", alert=alert_id, state="verifying")
    _measure(client, 20.0)
    _until(client, "/api/v1/remediations", alert=alert_id, state="succeeded")

    _until(client, "/api/v1/alerts", rule="story disk", state="resolved")
    timeline = sextant("remediations", "show", remediation_id)
    assert re.search(r"known leak[\s\S]*freed space on a[\s\S]*verified[\s\S]*succeeded", timeline)
    assert "resolved: recovered" in sextant("alerts", "show", alert_id)
    head = sextant("audit", "verify").split()[-1]
    sextant("remediations", "kill-switch", "on", "--reason", "the end of the test")
    sextant("remediations", "kill-switch", "off", "--reason", "the end of the test")
    proven = json.loads(sextant("audit", "verify", "--expect", head, "--json"))
    assert proven["holds"]
    assert proven["verdict"]["entries"] - proven["expected_sequence"] >= 2
    sextant("audit", "verify", "--expect", "0" * 64, status=1)


def _measure(client: httpx.Client, value: float) -> None:
    """One sample of the disk, now."""
    body = {"metrics": [{"name": "story.disk", "value": value, "labels": {"host": "a"}}]}
    client.post("/api/v1/metrics/ingest/batch", json=body).raise_for_status()


def _until(client: httpx.Client, path: str, **wanted: str) -> dict[str, object]:
    """The first of a list, once there is one."""
    found: list[dict[str, object]] = []

    def there() -> bool:
        found[:] = client.get(path, params=wanted).raise_for_status().json()["data"]
        return bool(found)

    wait_until(there, TOLD_TIMEOUT_S, lambda: f"nothing at {path} is {wanted}")
    return found[0]
