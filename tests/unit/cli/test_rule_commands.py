"""`sextant rules …`: the diff comes first, nothing but it is changed, and repeating changes nothing."""

import io
import json
import sys
from pathlib import Path

import pytest

from core.detection.plan import RISK_RULE, DetectionSettings
from core.domain.definitions import AlertThreshold, MetricDefinition
from core.domain.tenants import Scope
from tests.unit.cli.served_api import Commands, ServedApi

DOCUMENT = """
rules:
  - name: disk full
    metric: disk
    warning: 80
    labels: {team: db}
  - name: cpu
    metric: cpu
    aggregation: p95
    window: 5m
    warning: 80
    remediation: note
policies:
  - name: note
    steps:
      - name: note
        action: {type: annotate, text: full}
"""


@pytest.fixture
def document(tmp_path: Path) -> Path:
    """Return a file of two rules and a policy."""
    path = tmp_path / "rules.yaml"
    path.write_text(DOCUMENT)
    return path


def test_applying_twice_changes_nothing_the_second_time(sextant: Commands, document: Path) -> None:
    """Policies before the rules that name them."""
    first = sextant("rules", "apply", str(document)).splitlines()
    assert first == [
        "+ policy note",
        "+ rule disk full",
        "+ rule cpu",
        "3 to add, 0 unchanged",
        "applied: 3 of 3",
    ]
    assert sextant("rules", "apply", str(document)) == "nothing to do: 3 unchanged\n"
    assert "p95 cpu over 5m" in sextant("rules", "list")
    assert [rule["name"] for rule in json.loads(sextant("rules", "list", "--json"))] == ["cpu", "disk full"]


def test_a_dry_run_only_shows(sextant: Commands, document: Path) -> None:
    """Also as JSON."""
    assert "nothing was changed: a dry run" in sextant("rules", "apply", str(document), "--dry-run")
    shown = json.loads(sextant("rules", "apply", str(document), "--dry-run", "--json"))
    assert (shown["applied"], [change["change"] for change in shown["changes"]]) == (False, ["add"] * 3)
    assert json.loads(sextant("rules", "list", "--json")) == []


def test_a_change_is_shown_field_by_field(sextant: Commands, document: Path) -> None:
    """Before and after, of nested fields too, and what it does to open alerts."""
    sextant("rules", "apply", str(document))
    changed = DOCUMENT.replace("warning: 80\n    labels", "warning: 85\n    labels").replace(
        "{team: db}", "{team: ops, a: b}"
    )
    document.write_text(changed.replace("text: full", "text: empty").replace("p95", "max"))
    assert sextant("rules", "apply", str(document)).splitlines() == [
        "~ policy note",
        '    steps[0].action.text: "full" → "empty"',
        "~ rule disk full",
        "    warning: 80 → 85",
        '    labels.team: "db" → "ops"',
        '    labels.a: not set → "b"',
        "~ rule cpu (its open alerts resolve)",
        '    aggregation: "p95" → "max"',
        "3 to change, 0 unchanged",
        "applied: 3 of 3",
    ]


def test_what_a_document_does_not_name_goes_only_with_prune(sextant: Commands, document: Path) -> None:
    """And only of the lists that it has."""
    sextant("rules", "apply", str(document))
    document.write_text(
        "rules:\n  - {name: cpu, metric: cpu, aggregation: p95, window: 5m, warning: 80, remediation: note}\n"
    )
    assert "1 on the server that the document does not name" in sextant("rules", "apply", str(document))
    pruned = sextant("rules", "apply", str(document), "--prune")
    assert "- rule disk full (its open alerts resolve)" in pruned
    assert "policy" not in pruned
    document.write_text("rules: []\npolicies: []\n")
    assert sextant("rules", "apply", str(document), "--prune").splitlines()[-1] == "applied: 2 of 2"
    assert "no rules" in sextant("rules", "list")


def test_rules_of_definitions_are_never_touched(api: ServedApi, sextant: Commands, document: Path) -> None:
    """Not pruned, not exported, and a document that names one is refused."""
    definition = MetricDefinition(name="mem", alert_threshold=AlertThreshold(warning=80.0))
    api.within(api.storage.definitions.create(api.tenant.id, definition))
    document.write_text("rules: []\npolicies: []\n")
    assert sextant("rules", "apply", str(document), "--prune") == "nothing to do: 0 unchanged\n"
    assert "threshold of mem" in sextant("rules", "list")
    assert "mem" not in sextant("rules", "export")
    document.write_text("rules:\n  - {name: threshold of mem, metric: mem, warning: 5}\n")
    assert "alert_threshold" in sextant.refused("rules", "apply", str(document))


def test_the_rule_of_detection_is_never_touched(api: ServedApi, sextant: Commands, document: Path) -> None:
    """Nor is the one that follows detection's settings."""
    api.within(api.storage.detection.replace_settings(api.tenant.id, DetectionSettings()))
    document.write_text("rules: []\npolicies: []\n")
    assert sextant("rules", "apply", str(document), "--prune") == "nothing to do: 0 unchanged\n"
    assert RISK_RULE in sextant("rules", "list")
    assert RISK_RULE not in sextant("rules", "export")
    document.write_text(f"rules:\n  - {{name: {RISK_RULE}, metric: cpu, warning: 5}}\n")
    assert "settings" in sextant.refused("rules", "apply", str(document))


def test_partial_failure_says_what_was_and_was_not_applied(sextant: Commands, document: Path) -> None:
    """And exits with 1; mended and repeated, it does the rest."""
    document.write_text(DOCUMENT.replace("remediation: note", "remediation: nosuch"))
    out, err, status = sextant.both("rules", "apply", str(document))
    assert status == 1
    assert "applied: add rule disk full" in out
    assert "NOT applied: add rule cpu: remediation" in err
    assert "2 of 3 were applied" in err
    document.write_text(DOCUMENT)
    assert "1 to add, 2 unchanged" in sextant("rules", "apply", str(document))


def test_a_key_that_may_only_read_changes_nothing(api: ServedApi, sextant: Commands, document: Path) -> None:
    """It is told which scope is missing."""
    key = api.new_key(Scope.QUERY)
    assert "scope" in sextant.refused("rules", "apply", str(document), "--key", key, status=2)
    assert "no rules" in sextant("rules", "list")


@pytest.mark.parametrize(("answer", "applied"), [("y\n", True), ("n\n", False), ("", False)])
def test_a_person_is_asked(
    sextant: Commands, document: Path, monkeypatch: pytest.MonkeyPatch, *, answer: str, applied: bool
) -> None:
    """At a terminal; --yes does not ask."""
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    printed = sextant("rules", "apply", str(document), status=0 if applied else 1)
    assert "Apply this? [y/N]" in printed
    assert ("applied: 3 of 3" in printed) is applied
    assert "Apply this?" not in sextant("rules", "apply", str(document), "--yes")


def test_a_mistake_in_the_file_is_status_2(sextant: Commands, document: Path) -> None:
    """Before the server is asked anything."""
    document.write_text("rules:\n  - {name: a, metrik: b}\n")
    assert "rules.yaml:2: 'a': metrik: there is no such field" in sextant.refused(
        "rules", "apply", str(document), status=2
    )


def test_what_is_exported_can_be_applied(sextant: Commands, document: Path, tmp_path: Path) -> None:
    """And changes nothing."""
    sextant("rules", "apply", str(document))
    out = tmp_path / "out.yaml"
    sextant("rules", "export", "-o", str(out))
    assert out.read_text().rstrip("\n") == sextant("rules", "export").rstrip("\n")
    assert sextant("rules", "apply", str(out), "--prune") == "nothing to do: 3 unchanged\n"
    assert "No such file" in sextant.refused("rules", "export", "-o", str(tmp_path / "no" / "x"))


def test_prometheus_rules_are_translated_and_applied(sextant: Commands, tmp_path: Path) -> None:
    """Rules to standard output or a file or the server; the report to standard error; 1 where something is left."""
    path = tmp_path / "prom.yml"
    good = "groups:\n- name: g\n  rules:\n  - {alert: A, expr: m > 5, labels: {severity: page}}\n"
    path.write_text(good)
    out, err, status = sextant.both("rules", "import-prometheus", str(path))
    assert (status, "1 of 1 alerting rules translated" in err) == (0, True)
    path.with_suffix(".yaml").write_text(out)
    assert "+ rule A" in sextant("rules", "apply", str(path.with_suffix(".yaml")), "--dry-run")
    path.write_text(good + "  - {alert: B, expr: a / b > 5}\n  - {record: r, expr: x}\n")
    out, err, status = sextant.both("rules", "import-prometheus", str(path), "--apply")
    assert status == 1
    assert "applied: 1 of 1" in out
    assert "a / b > 5" in err
    assert "Skipped 1 recording rules: r" in err
    sextant.refused("rules", "import-prometheus", str(tmp_path / "none"), status=2)


def test_backtests_name_the_rule_or_a_file(sextant: Commands, document: Path) -> None:
    """Each rule of a file in turn."""
    sextant("rules", "apply", str(document))
    assert sextant("alerts", "backtest", "--rule", "disk full").startswith("disk full: ")
    both = sextant("alerts", "backtest", "--rule", str(document), "--since", "1h")
    assert both.count("no series of that metric matches") == 2
    assert len(json.loads(sextant("alerts", "backtest", "--rule", str(document), "--json"))) == 2
    assert "no rule 'x'" in sextant.refused("alerts", "backtest", "--rule", "x")
    assert "--since" in sextant.refused("alerts", "backtest", "--rule", "cpu", "--since", "long", status=2)


class Terminal(io.StringIO):
    """Standard input with a person at it."""

    def isatty(self) -> bool:
        return True
