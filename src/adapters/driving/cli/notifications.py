"""`sextant alerts notifications`: what was sent, what waits, and the dead-letter list."""

from datetime import datetime
from typing import Annotated, Final, Literal
from uuid import UUID

from cyclopts import App, Parameter

from adapters.driving.cli.api import EXITS, HERE, Api, Limit, Server, UsageError, with_api
from adapters.driving.cli.channels import outcome_text
from adapters.driving.cli.database import Json
from adapters.driving.cli.display import ago_text, present, write_line, write_rows
from adapters.driving.cli.output import write, write_json
from core.domain.notifications import Notification

HELP: Final = f"""Notifications: what was delivered, what waits, and the dead-letter list of those given up, which
can be sent again.

{EXITS}"""
PATH: Final = "/api/v1/alerts/notifications"
LIMIT_DEFAULT: Final = 50


def notifications_app() -> App:
    """The commands under `sextant alerts notifications`."""
    app = App(name="notifications", help=HELP)
    app.command(list_, name="list")
    app.command(resend)
    return app


def list_(
    *,
    state: Annotated[
        Literal["waiting", "delivered", "dead"] | None,
        Parameter(help="Only those in this state; dead is the dead-letter list."),
    ] = None,
    limit: Limit = LIMIT_DEFAULT,
    server: Server = HERE,
    json: Json = False,
) -> int:
    """List notifications, newest first.

    For example:

        sextant alerts notifications list --state dead
    """

    async def work(api: Api) -> None:
        found, more = await api.first(PATH, Notification, [("state", state)] if state else [], limit=limit)
        if json:
            write_json(found)
        elif not found:
            nothing = "the dead-letter list is empty: nothing was given up" if state == "dead" else "no notifications"
            write(f"{nothing}; `sextant alerts channels list` shows where they go")
        else:
            columns = ("id", "state", "event", "channel", "rule", "alerts", "when", "error")
            now = present()
            write_rows(columns, [_row(one, now) for one in found], wide=("id", "channel", "rule", "alerts", "error"))
            if more:
                write("there are more; --limit shows them")

    return with_api(server, work)


def resend(
    notification_ids: Annotated[
        tuple[UUID, ...], Parameter(name="ID", help="Ids from the dead-letter list.", negative="")
    ] = (),
    /,
    *,
    all_: Annotated[bool, Parameter(name="--all", negative="", help="The whole dead-letter list.")] = False,
    server: Server = HERE,
    json: Json = False,
) -> int:
    """Try dead notifications again, under the same ids, by which receivers drop
    repeats.

    For example:

        sextant alerts notifications resend 0b8f9f3a-3f0e-5c7e-9a53-5f5a4d0e2c11
        sextant alerts notifications resend --all
    """

    async def work(api: Api) -> None:
        ids = list(notification_ids)
        if not ids and not all_:
            raise UsageError("give ids from `sextant alerts notifications list --state dead`, or --all")
        if all_:
            dead, _ = await api.first(PATH, Notification, [("state", "dead")], limit=10_000)
            ids += [one.id for one in dead]
        sent = [await api.send("POST", f"{PATH}/{one}/resend", Notification) for one in ids]
        if json:
            write_json(sent)
            return
        for one in sent:
            write_line(f"{one.id}: {outcome_text(one)}")
        if not sent:
            write("the dead-letter list is empty: nothing to send again")

    return with_api(server, work)


def _row(one: Notification, now: datetime) -> tuple[str, ...]:
    alerts = " ".join(map(str, one.alert_ids)) or "-"
    when = ago_text(one.delivered_at or one.created_at, now)
    return (str(one.id), one.state.value, one.event.value, one.channel, one.rule, alerts, when, one.last_error or "-")
