"""What the pages behind a signed link say."""

from datetime import datetime
from typing import Final

from adapters.driving.action_words import action_words
from adapters.driving.http.approval_html import rendered_page
from adapters.driving.http.problem import ProblemDetails
from core.domain.remediation import ENDED, Remediation, RemediationState, Step
from core.domain.rules import Threshold
from ports.driving.remediating import ApprovalRequest

_STANDS: Final = {
    RemediationState.WAITING: "It has not begun yet.",
    RemediationState.RUNNING: "It is running and does not wait for an answer.",
    RemediationState.AWAITING_APPROVAL: "It does nothing before somebody approves it.",
    RemediationState.VERIFYING: "It has acted; Sextant is watching whether that helped.",
    RemediationState.SUCCEEDED: "It has been done, and it helped.",
    RemediationState.DRY_RUN: "It was a dry run: nothing was changed.",
    RemediationState.REFUSED: "It was refused before it did anything.",
    RemediationState.REJECTED: "Somebody has rejected it; nothing was done.",
    RemediationState.EXPIRED: "Nobody approved it in time; nothing was done.",
    RemediationState.ROLLED_BACK: "It did not help and was rolled back.",
    RemediationState.FAILED: "It has failed.",
    RemediationState.CANCELLED: "It was cancelled.",
}
"""Where a remediation stands, for somebody who opens its link."""
_FAILURES: Final = {
    400: ("This link is not complete", "Nothing was decided. Copy the link whole from the notification."),
    404: (
        "This link is not valid",
        "It was changed on the way, has grown too old, or what it is about is gone. Copy it whole from the "
        "notification, or decide with the sextant command or the API.",
    ),
    409: ("Nothing was changed", ""),
    503: ("Sextant cannot answer now", "Nothing was decided. Try again in a moment."),
}
"""A title and advice by status; a 404 says no more than that, so that nobody learns what there is."""


def request_page(asked: ApprovalRequest, token: str) -> str:
    """The page that asks; without buttons where the remediation does not wait for an answer."""
    remediation, policy = asked.remediation, asked.policy
    waits = remediation.state is RemediationState.AWAITING_APPROVAL
    about = f"Remediation {remediation.id} of tenant {asked.tenant}."
    stands = _STANDS[remediation.state]
    return rendered_page(
        "request",
        title="Approve this remediation?" if waits else "There is nothing to approve",
        lead=f"{about} {stands}" if waits or not remediation.detail else f"{about} {stands} {remediation.detail}",
        waits=waits,
        alert=_alert_facts(asked),
        policy=policy.name,
        description=policy.description,
        acting=[_step_facts(step, asked) for step in policy.steps],
        rollback=[_step_facts(step, asked) for step in policy.rollback],
        afterwards=_afterwards(asked),
        deadline=f"Without an answer within {policy.approval_timeout} of being asked, nothing is done.",
        token=token,
    )


def decided_page(remediation: Remediation, *, approved: bool) -> str:
    """The page after an answer."""
    about = f"Remediation {remediation.id}: policy {remediation.policy}, {_cause(remediation)}."
    if not approved:
        next_up = "Nothing is done. Your answer is in the audit trail."
    elif remediation.state in ENDED:
        next_up = _STANDS[remediation.state]
    else:
        next_up = "Sextant goes on with it now, checks whether it helped, and tells your channels how it ends."
    return rendered_page(
        "message",
        title="Approved" if approved else "Rejected",
        paragraphs=[about, next_up],
        small="You can close this page.",
    )


def _cause(remediation: Remediation) -> str:
    return remediation.rule if remediation.alert_id is None else f"alert rule {remediation.rule}"


def failure_page(problem: ProblemDetails) -> str:
    """The page instead, where something failed."""
    title, advice = _FAILURES.get(problem.status, (problem.title, ""))
    detail = "" if problem.status == 404 else f"{problem.detail[:1].upper()}{problem.detail[1:]}."
    paragraphs = [text for text in (detail, advice) if text]
    return rendered_page("message", title=title, paragraphs=paragraphs, small=f"Request {problem.request_id}")


def _alert_facts(asked: ApprovalRequest) -> list[tuple[str, str, str | None]]:
    """Name, text and, where it is to stand out, the severity."""
    alert = asked.alert
    severity = None if alert.severity is None else alert.severity.value
    value = "no data" if alert.value is None else f"{alert.value:.6g}"
    facts = [
        ("Rule", alert.rule, None),
        ("Severity", severity, severity),
        ("Metric", alert.metric, None),
        ("Value", f"{value}, threshold {_threshold(alert.threshold)}" if alert.threshold is not None else value, None),
        ("Labels", ", ".join(f"{name}={text}" for name, text in sorted(alert.labels.items())), None),
        ("Since", _instant(alert.started_at), None),
        *((name, text, None) for name, text in sorted(alert.annotations.items())),
    ]
    return [(name, text, mark) for name, text, mark in facts if text]


def _step_facts(step: Step, asked: ApprovalRequest) -> dict[str, object]:
    words = action_words(step.action, asked.alert)
    return {"name": step.name, "risk": step.risk.value, "summary": words.summary, "details": words.details}


def _afterwards(asked: ApprovalRequest) -> str:
    verification = asked.policy.verification
    goal = "the alert's own rule finds it good again"
    if verification.check is not None:
        check = verification.check
        goal = f"{check.metric} {check.condition.value} {_threshold(check.value)}"
    otherwise = "it rolls back as below and tells people" if asked.policy.rollback else "it tells people"
    return f"Then Sextant checks for up to {verification.within} whether {goal}; if not, {otherwise}."


def _threshold(threshold: Threshold) -> str:
    return f"{threshold[0]:g} to {threshold[1]:g}" if isinstance(threshold, tuple) else f"{threshold:g}"


def _instant(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"
