"""`sextant remediations …` and `sextant audit …`: what waits for a person, and what proves what was done."""

import json
from datetime import UTC, datetime
from typing import cast

import msgspec

from adapters.driven.memory.alert_tables import AlertRow
from core.domain.actions import HttpAction
from core.domain.audit import AuditKind, AuditRecord
from core.domain.remediation import RemediationPolicy, RemediationState, Risk, Step
from core.domain.tenants import Scope
from ports.driven.evaluation_store import Target
from tests.support.remediation_rows import insert_remediation
from tests.support.storages import Storage, Tenancy
from tests.unit.cli.served_api import Commands, ServedApi

POLICY = RemediationPolicy(
    name="restart",
    dry_run=False,
    steps=(Step(name="poke", risk=Risk.HIGH, action=HttpAction(url="https://h.example/{{ labels.host }}")),),
)


def remediation(api: ServedApi, state: RemediationState = RemediationState.AWAITING_APPROVAL) -> int:
    """A remediation of an alert that fires, in that state."""
    tenancy = Tenancy(cast("Storage", api.storage), api.tenant)
    order = insert_remediation(api.store, tenancy, policy=POLICY)
    target = Target(api.tenant.id, order.alert.rule_id, "s1")
    api.database.alerts[order.alert.id] = AlertRow(target=target, alert=order.alert, channels=None)
    row = api.database.remediations[order.remediation_id]
    row.remediation = msgspec.structs.replace(row.remediation, state=state, detail="needed for: poke")
    return order.remediation_id


def record(api: ServedApi, key: str, kind: AuditKind, summary: str, remediation_id: int, **details: object) -> None:
    """An entry of the audit trail."""
    entry = AuditRecord(
        key=key, kind=kind, actor="sextant", summary=summary, remediation_id=remediation_id, details=details
    )
    api.within(api.storage.audit_log.append(api.tenant.id, entry, now=datetime.now(UTC)))


def test_what_waits_for_an_answer_is_pointed_out(api: ServedApi, sextant: Commands) -> None:
    """With the command that answers."""
    remediation_id = remediation(api)
    remediation(api, RemediationState.SUCCEEDED)
    printed = sextant("remediations", "list")
    assert printed.splitlines()[-1].startswith(f"1 waiting for an answer: sextant remediations show {remediation_id}")
    assert len(json.loads(sextant("remediations", "list", "--state", "succeeded", "--json"))) == 1
    assert "no remediations match" in sextant("remediations", "list", "--alert", "77")


def test_one_shows_what_would_be_done_and_what_was_said(api: ServedApi, sextant: Commands) -> None:
    """The steps with the alert's values, then the timeline with questions and answers, made safe."""
    remediation_id = remediation(api)
    record(api, "1", AuditKind.DECISION, "approval is needed", remediation_id)
    answer = {"status": "200", "answer": "\x1b[31mdone", "headers": {"A": "b"}}
    record(api, "2", AuditKind.RESPONSE, "POST answered 200", remediation_id, step="poke", details=answer)
    printed = sextant("remediations", "show", str(remediation_id))
    assert "poke, high risk: Send POST https://h.example/a" in printed
    assert f"sextant remediations approve {remediation_id}" in printed
    timeline = [line.strip() for line in printed.split("Timeline\n")[1].splitlines()]
    assert timeline[0].endswith("approval is needed")
    assert timeline[2:] == ["status: 200", "answer: done", "headers.A: b"]
    shown = json.loads(sextant("remediations", "show", str(remediation_id), "--json"))
    assert shown["policy_as_it_was"]["steps"][0]["name"] == "poke"


def test_one_of_a_recommendation_names_it(api: ServedApi, sextant: Commands) -> None:
    """There is no alert: texts that would need one stand as they are written."""
    remediation_id = remediation(api)
    row = api.database.remediations[remediation_id]
    row.remediation = msgspec.structs.replace(row.remediation, alert_id=None, recommendation="rec-7")
    printed = sextant("remediations", "show", str(remediation_id))
    assert "recommendation  rec-7" in printed
    assert "Send POST https://h.example/{{ labels.host }} (" in printed
    listed = sextant("remediations", "list").splitlines()
    assert listed[1].split()[:2] == [str(remediation_id), "awaiting_approval"]
    row.remediation = msgspec.structs.replace(row.remediation, state=RemediationState.WAITING)
    assert "of recommendation rec-7" in sextant("remediations", "cancel", str(remediation_id))


def test_without_temporal_an_answer_is_refused_in_a_line(api: ServedApi, sextant: Commands) -> None:
    """Nothing is lost: it still waits."""
    remediation_id = remediation(api)
    assert "Temporal" in sextant.refused("remediations", "approve", str(remediation_id), "--reason", "known")
    assert "awaiting_approval" in sextant("remediations", "list")


def test_what_waits_is_cancelled_once(api: ServedApi, sextant: Commands) -> None:
    """What has ended is a conflict."""
    remediation_id = str(remediation(api, RemediationState.WAITING))
    assert "asked to stop" in sextant("remediations", "cancel", remediation_id)
    assert "cancelled" in sextant("remediations", "list")
    assert sextant.refused("remediations", "cancel", remediation_id)
    assert sextant.refused("remediations", "reject", remediation_id)
    assert "no remediation named '77'" in sextant.refused("remediations", "show", "77")


def test_the_kill_switch_says_who_and_why(api: ServedApi, sextant: Commands) -> None:
    """It is turned only with a reason."""
    assert sextant("remediations", "kill-switch").splitlines() == ["tenant default: off", "whole server: off"]
    assert "--reason" in sextant.refused("remediations", "kill-switch", "on", status=2)
    printed = sextant("remediations", "kill-switch", "on", "--reason", "by hand")
    assert "tenant default: ON, actions are stopped, since " in printed
    assert ": by hand" in printed
    assert json.loads(sextant("remediations", "kill-switch", "--json"))["engaged"] is True
    assert "whole server: ON" in sextant("remediations", "kill-switch", "on", "--reason", "x", "--whole-server")
    key = api.new_key(Scope.QUERY)
    assert "scope" in sextant.refused("remediations", "kill-switch", "off", "--reason", "x", "--key", key, status=2)


def test_a_chain_that_holds_gives_its_head(api: ServedApi, sextant: Commands) -> None:
    """Which is found again later; a hash that is not there is status 1."""
    remediation_id = remediation(api)
    record(api, "1", AuditKind.DECISION, "first", remediation_id)
    head = sextant("audit", "verify").splitlines()[1].removeprefix("head  ")
    record(api, "2", AuditKind.DECISION, "second", remediation_id)
    assert "1 before the head" in sextant("audit", "verify", "--expect", head)
    assert "NOT THERE" in sextant("audit", "verify", "--expect", "0" * 64, status=1)
    assert "64 hexadecimal" in sextant.refused("audit", "verify", "--expect", "x", status=2)
    assert json.loads(sextant("audit", "verify", "--expect", head, "--json"))["expected_sequence"] == 1
    listed = sextant("audit", "list").splitlines()
    assert [line.split()[-1] for line in listed[1:]] == ["second", "first"]


def test_a_chain_that_was_changed_is_status_1(api: ServedApi, sextant: Commands) -> None:
    """And says where it breaks."""
    remediation_id = remediation(api)
    record(api, "1", AuditKind.DECISION, "first", remediation_id)
    record(api, "2", AuditKind.DECISION, "second", remediation_id)
    entries = api.database.audit_entries[api.tenant.id]
    forged = msgspec.structs.replace(entries[0].record, summary="nothing")
    entries[0] = msgspec.structs.replace(entries[0], record=forged)
    printed = sextant("audit", "verify", status=1)
    assert printed.startswith("BROKEN: entry 1 of tenant default was changed")
