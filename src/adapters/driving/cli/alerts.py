"""`sextant alerts`: what fires, its history, and what is said about it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Final, Literal

from cyclopts import App, Parameter

from adapters.driving.cli.api import EXITS, HERE, Api, Limit, Server, with_api
from adapters.driving.cli.backtest import backtest
from adapters.driving.cli.channels import channels_app
from adapters.driving.cli.database import Json
from adapters.driving.cli.display import (
    age_text,
    labels_text,
    moment_text,
    number_text,
    present,
    threshold_text,
    write_line,
    write_pairs,
    write_rows,
)
from adapters.driving.cli.notifications import notifications_app
from adapters.driving.cli.output import write, write_json
from adapters.driving.cli.silences import silences_app
from adapters.driving.cli.story import AuditLine, alert_events, audit_events, write_story
from core.domain.alerts import Alert
from core.domain.notifications import Notification

HELP: Final = f"""List, explain, acknowledge, silence and backtest alerts.

These commands ask a running server; they need a key with the scope alerts,
or query to read.

{EXITS}"""
PATH: Final = "/api/v1/alerts"
LIMIT_DEFAULT: Final = 100

AlertId = Annotated[int, Parameter(name="ID", help="The alert's id, from `sextant alerts list`.", negative="")]
Label = Annotated[
    tuple[str, ...],
    Parameter(help="Only those that satisfy host=a, host!=a, host=~a.* or host!~a.*; may be repeated.", negative=""),
]


class AlertStory(Alert, frozen=True, kw_only=True):
    """One alert as the API gives it, with all that was said and done about it."""

    notifications: tuple[Notification, ...]
    timeline: tuple[AuditLine, ...]


def alerts_app() -> App:
    """The commands under `sextant alerts`."""
    app = App(name="alerts", help=HELP)
    app.command(list_, name="list")
    app.command(show)
    app.command(ack)
    app.command(close)
    app.command(backtest)
    app.command(silences_app())
    app.command(channels_app())
    app.command(notifications_app())
    return app


def list_(
    *,
    state: Annotated[
        Literal["pending", "firing", "resolved"] | None, Parameter(help="Only alerts in this state.")
    ] = None,
    all_: Annotated[bool, Parameter(name="--all", negative="", help="Those that have resolved, too.")] = False,
    severity: Annotated[Literal["warning", "critical"] | None, Parameter(help="Only alerts that bad.")] = None,
    rule: Annotated[str | None, Parameter(help="Only alerts of the rule of this name.")] = None,
    metric: Annotated[str | None, Parameter(help="Only alerts about this metric.")] = None,
    label: Label = (),
    limit: Limit = LIMIT_DEFAULT,
    server: Server = HERE,
    json: Json = False,
) -> int:
    """List alerts, newest first: those that fire or are about to, unless asked
    otherwise.

    For example:

        sextant alerts list --severity critical --label env=prod
        sextant alerts list --all --rule "disk full" --limit 20
    """
    states = [state] if state else [None] if all_ else ["firing", "pending"]
    given = {"severity": severity, "rule": rule, "metric": metric}
    parameters = [(name, text) for name, text in given.items() if text is not None]
    parameters += [("label", text) for text in label]

    async def work(api: Api) -> None:
        found: list[Alert] = []
        more = False
        for one in states:
            chosen = parameters if one is None else [*parameters, ("state", one)]
            part, left = await api.first(PATH, Alert, chosen, limit=limit)
            found, more = [*found, *part], more or left
        if json:
            write_json(found)
        elif not found:
            write(_nothing(narrowed=bool(parameters), states=states))
        else:
            write_alerts(found, present())
            if more:
                write("there are more; --limit shows them")

    return with_api(server, work)


def show(alert_id: AlertId, /, *, server: Server = HERE, json: Json = False) -> int:
    """Show one alert and its whole story: what it is about, when it fired, who
    was told, what was done to repair it and what came of that.

    For example:

        sextant alerts show 42
    """

    async def work(api: Api) -> None:
        story = await api.get(f"{PATH}/{alert_id}", AlertStory)
        if json:
            write_json(story)
        else:
            _write_story(story, present())

    return with_api(server, work)


def ack(alert_id: AlertId, /, *, server: Server = HERE, json: Json = False) -> int:
    """Say that somebody is on it: nobody is told of it again until it resolves.
    Repeating this changes nothing.

    For example:

        sextant alerts ack 42
    """

    async def work(api: Api) -> None:
        alert = await api.send("POST", f"{PATH}/{alert_id}/acknowledge", Alert)
        if json:
            write_json(alert)
        else:
            write_line(f"acknowledged alert {alert.id}, {alert.rule}, by {alert.acknowledged_by or 'somebody'}")

    return with_api(server, work)


def close(alert_id: AlertId, /, *, server: Server = HERE, json: Json = False) -> int:
    """End an alert whose samples will not come back, such as of a host that is
    gone. It resolves within about a second.

    For example:

        sextant alerts close 42
    """

    async def work(api: Api) -> None:
        alert = await api.send("POST", f"{PATH}/{alert_id}/close", Alert)
        if json:
            write_json(alert)
        else:
            write_line(f"closing alert {alert.id}, {alert.rule}; it fires again if a bad sample comes")

    return with_api(server, work)


def write_alerts(alerts: Sequence[Alert], now: datetime) -> None:
    """Prints alerts as a table."""
    rows = [
        (
            str(alert.id),
            state_text(alert),
            alert.severity.value if alert.severity is not None else "-",
            age_text(alert.resolved_at or alert.fired_at or alert.started_at, now),
            alert.rule,
            labels_text(alert.labels),
            number_text(alert.value),
            threshold_text(alert.threshold),
        )
        for alert in alerts
    ]
    columns = ("id", "state", "severity", "since", "rule", "labels", "value", "limit")
    write_rows(columns, rows, wide=("rule", "labels"))


def state_text(alert: Alert) -> str:
    """Where it stands, and what qualifies that."""
    words = [alert.state.value]
    if alert.acknowledged_at is not None and alert.resolved_at is None:
        words.append("acked")
    if alert.shadow:
        words.append("shadow")
    return ", ".join(words)


def _nothing(*, narrowed: bool, states: Sequence[str | None]) -> str:
    if narrowed:
        return "no alerts match; `sextant alerts list --all` lists every one there was"
    if states == [None]:
        return "no alerts yet; `sextant rules list` shows what is watched, `sextant rules apply FILE.yaml` adds rules"
    return "nothing fires; `sextant alerts list --all` shows what did, `sextant rules list` what is watched"


def _write_story(story: AlertStory, now: datetime) -> None:
    severity = "" if story.severity is None else f", {story.severity.value}"
    acknowledged = "no"
    if story.acknowledged_at is not None:
        acknowledged = f"{moment_text(story.acknowledged_at, now)} by {story.acknowledged_by}"
    pairs = [
        ("alert", f"{story.id}, episode {story.episode}"),
        ("rule", story.rule),
        ("state", f"{state_text(story)}{severity}"),
        ("metric", story.metric),
        ("labels", labels_text(story.labels)),
        ("value", f"{number_text(story.value)} against {threshold_text(story.threshold)}"),
        ("started", moment_text(story.started_at, now)),
        ("fired", moment_text(story.fired_at, now)),
        ("resolved", moment_text(story.resolved_at, now)),
        ("acknowledged", acknowledged),
        *story.annotations.items(),
    ]
    if story.runbook_url is not None:
        pairs.append(("runbook", story.runbook_url))
    if story.remediation is not None:
        pairs.append(("remediation", f"{story.remediation}: sextant remediations show {story.remediation}"))
    write_pairs(pairs)
    write("\nWhat happened")
    write_story([*alert_events(story, story.notifications), *audit_events(story.timeline, detailed=False)])
