"""`sextant remediations`: attempts to repair, what they wait for, and the switch that stops them."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Annotated, Final, Literal

from cyclopts import App, Parameter

from adapters.driving.cli.api import EXITS, HERE, Api, Limit, Server, with_api
from adapters.driving.cli.database import Json
from adapters.driving.cli.display import age_text, moment_text, present, write_line, write_pairs, write_rows
from adapters.driving.cli.kill_switch import kill_switch
from adapters.driving.cli.output import write, write_json
from adapters.driving.cli.story import AuditLine, audit_events, write_story
from core.domain.alerts import Alert
from core.domain.remediation import Remediation, RemediationPolicy, RemediationState, Step

HELP: Final = f"""List, explain, approve and stop attempts to repair what alerts are about.

They follow the policies that the alerts' rules name. These commands ask a
running server; they need a key with the scope remediate, or query to read.

{EXITS}"""
PATH: Final = "/api/v1/remediations"
ALERTS_PATH: Final = "/api/v1/alerts"
LIMIT_DEFAULT: Final = 50
STATES = Literal[
    "waiting", "running", "awaiting_approval", "verifying", "succeeded", "dry_run", "refused", "rejected", "expired",
    "rolled_back", "failed", "cancelled",
]  # fmt: skip

RemediationId = Annotated[
    int, Parameter(name="ID", help="The remediation's id, from `sextant remediations list`.", negative="")
]
Reason = Annotated[str | None, Parameter(help="Why, for the audit trail.")]


class RemediationStory(Remediation, frozen=True, kw_only=True):
    """One remediation as the API gives it, with the policy that it follows and all that was asked and answered."""

    policy_as_it_was: RemediationPolicy
    timeline: tuple[AuditLine, ...]


def remediations_app() -> App:
    """The commands under `sextant remediations`."""
    app = App(name="remediations", help=HELP)
    app.command(list_, name="list")
    app.command(show)
    app.command(approve)
    app.command(reject)
    app.command(cancel)
    app.command(kill_switch)
    return app


def list_(
    *,
    state: Annotated[STATES | None, Parameter(help="Only those in this state.")] = None,
    alert: Annotated[int | None, Parameter(help="Only those about the alert with this id.")] = None,
    limit: Limit = LIMIT_DEFAULT,
    server: Server = HERE,
    json: Json = False,
) -> int:
    """List remediations, newest first.

    For example:

        sextant remediations list --state awaiting_approval
    """

    async def work(api: Api) -> None:
        wanted = {"state": state, "alert": alert}
        parameters = [(name, str(text)) for name, text in wanted.items() if text is not None]
        found, more = await api.first(PATH, Remediation, parameters, limit=limit)
        if json:
            write_json(found)
        elif not found:
            write(_nothing(narrowed=bool(parameters)))
        else:
            _write_list(found, present())
            if more:
                write("there are more; --limit shows them")

    return with_api(server, work)


def show(remediation_id: RemediationId, /, *, server: Server = HERE, json: Json = False) -> int:
    """Show one remediation: what its policy says, and its timeline with all that
    was decided, asked, answered and verified.

    For example:

        sextant remediations show 7
    """

    async def work(api: Api) -> None:
        story = await api.get(f"{PATH}/{remediation_id}", RemediationStory)
        if json:
            write_json(story)
            return
        alert = None if story.alert_id is None else await api.get(f"{ALERTS_PATH}/{story.alert_id}", Alert)
        _write_story(story, alert, present())

    return with_api(server, work)


def approve(
    remediation_id: RemediationId, /, *, reason: Reason = None, server: Server = HERE, json: Json = False
) -> int:
    """Let a remediation act that waits for approval.

    For example:

        sextant remediations approve 7 --reason "known leak"
    """
    return _decide(remediation_id, "approve", "approved", reason, server, as_json=json)


def reject(
    remediation_id: RemediationId, /, *, reason: Reason = None, server: Server = HERE, json: Json = False
) -> int:
    """End a remediation that waits for approval before it has done anything.

    For example:

        sextant remediations reject 7 --reason "we are on it"
    """
    return _decide(remediation_id, "reject", "rejected", reason, server, as_json=json)


def cancel(
    remediation_id: RemediationId, /, *, reason: Reason = None, server: Server = HERE, json: Json = False
) -> int:
    """Ask a remediation to stop before its next action.

    For example:

        sextant remediations cancel 7
    """
    return _decide(remediation_id, "cancel", "asked to stop", reason, server, as_json=json)


def _decide(remediation_id: int, verb: str, done: str, reason: str | None, server: Server, *, as_json: bool) -> int:
    async def work(api: Api) -> None:
        body = None if reason is None else {"reason": reason}
        found = await api.send("POST", f"{PATH}/{remediation_id}/{verb}", Remediation, body)
        if as_json:
            write_json(found)
        else:
            write_line(f"{done}: remediation {found.id} by policy {found.policy}, of {_cause(found)}")
            write(f"sextant remediations show {found.id} follows it")

    return with_api(server, work)


def _write_list(found: Sequence[Remediation], now: datetime) -> None:
    rows = [
        (
            str(one.id),
            one.state.value,
            age_text(one.finished_at or one.started_at or one.created_at, now),
            "-" if one.alert_id is None else str(one.alert_id),
            one.rule,
            one.policy + (" (dry run)" if one.dry_run else ""),
            _why(one) or "-",
        )
        for one in found
    ]
    columns = ("id", "state", "since", "alert", "rule", "policy", "why")
    write_rows(columns, rows, wide=("rule", "policy", "why"))
    asking = [one for one in found if one.state is RemediationState.AWAITING_APPROVAL]
    if asking:
        first = asking[-1].id
        write(f"{len(asking)} waiting for an answer: sextant remediations show {first}, then approve or reject {first}")


def _why(one: Remediation) -> str:
    if one.state is RemediationState.WAITING and one.last_error:
        return f"not started yet: {one.last_error}"
    return one.detail or ""


def _cause(one: Remediation) -> str:
    return f"recommendation {one.recommendation}" if one.alert_id is None else f"alert {one.alert_id}"


def _nothing(*, narrowed: bool) -> str:
    if narrowed:
        return "no remediations match; `sextant remediations list` lists every one there was"
    return "no remediations yet: they begin when an alert fires whose rule names a remediation policy"


def _write_story(story: RemediationStory, alert: Alert | None, now: datetime) -> None:
    policy = story.policy_as_it_was
    pairs = [
        ("remediation", str(story.id)),
        ("state", story.state.value + (", dry run" if story.dry_run else "")),
        ("why", _why(story) or "-"),
        _cause_shown(story),
        ("policy", story.policy),
        *_steps("step", policy.steps, alert),
        *_steps("roll back", policy.rollback, alert),
        ("created", moment_text(story.created_at, now)),
        ("started", moment_text(story.started_at, now)),
        ("finished", moment_text(story.finished_at, now)),
        ("workflow", story.workflow_id),
    ]
    write_pairs(pairs)
    if story.state is RemediationState.AWAITING_APPROVAL:
        write(f"\nsextant remediations approve {story.id}, or reject {story.id}, answers it")
    write("\nTimeline")
    write_story(list(audit_events(story.timeline, detailed=True)))


def _cause_shown(story: RemediationStory) -> tuple[str, str]:
    if story.alert_id is None:
        return "recommendation", story.recommendation or "-"
    return "alert", f"{story.alert_id}, {story.rule}: sextant alerts show {story.alert_id}"


def _steps(word: str, steps: Sequence[Step], alert: Alert | None) -> Iterator[tuple[str, str]]:
    """What each step does, with the alert's values in its texts."""
    from adapters.driving.action_words import action_words

    for number, step in enumerate(steps, start=1):
        words = action_words(step.action, alert)
        yield f"{word} {number}", f"{step.name}, {step.risk.value} risk: {words.summary}"
        yield from ((f"  {name}", text) for name, text in words.details)
