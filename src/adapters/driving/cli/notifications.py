"""`sextant alerts notifications`: what was sent, what waits, and the dead-letter list."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Final, Literal

from cyclopts import App, Parameter

from adapters.driving.cli.api import EXITS, HERE, Api, Limit, Server, UsageError, with_api
from adapters.driving.cli.database import Json
from adapters.driving.cli.display import age_text, present, write_line, write_rows
from adapters.driving.cli.output import write, write_json
from core.domain.notifications import Notification

HELP: Final = f"""List notifications, and send again those that were given up.

Given up ones are the dead-letter list: `list --state dead`.

{EXITS}"""
PATH: Final = "/api/v1/alerts/notifications"
LIMIT_DEFAULT: Final = 50
DEAD_MAX: Final = 10_000
"""Of the dead-letter list, read to find one in it."""
ID_CHARS: Final = 8
"""Of an id in a list: enough to tell notifications apart, and for `resend`; --json has them whole."""


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
            write_rows(columns, [_row(one, now) for one in found], wide=("channel", "rule", "alerts", "error"))
            if more:
                write("there are more; --limit shows them")

    return with_api(server, work)


def resend(
    beginnings: Annotated[
        tuple[str, ...], Parameter(name="ID", help="Ids from the dead-letter list, or their beginnings.", negative="")
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

        sextant alerts notifications resend 0b8f9f3a
        sextant alerts notifications resend --all
    """

    async def work(api: Api) -> None:
        if not beginnings and not all_:
            raise UsageError("give ids from `sextant alerts notifications list --state dead`, or --all")
        dead, _ = await api.first(PATH, Notification, [("state", "dead")], limit=DEAD_MAX)
        chosen = dead if all_ else [_dead_one(dead, beginning.lower()) for beginning in beginnings]
        sent = [await api.send("POST", f"{PATH}/{one.id}/resend", Notification) for one in chosen]
        if json:
            write_json(sent)
            return
        for one in sent:
            write_line(f"{one.id}: on its way again through {one.channel}")
        if not sent:
            write("the dead-letter list is empty: nothing to send again")

    return with_api(server, work)


def _dead_one(dead: Sequence[Notification], beginning: str) -> Notification:
    found = [one for one in dead if str(one.id).startswith(beginning)]
    if len(found) != 1:
        how = "several dead notifications begin" if found else "no dead notification begins"
        raise UsageError(f"{how} with {beginning!r}; see `sextant alerts notifications list --state dead`")
    return found[0]


def _row(one: Notification, now: datetime) -> tuple[str, ...]:
    alerts = " ".join(map(str, one.alert_ids)) or "-"
    when = age_text(one.delivered_at or one.created_at, now)
    return (
        str(one.id)[:ID_CHARS],
        one.state.value,
        one.event.value,
        one.channel,
        one.rule,
        alerts,
        when,
        one.last_error or "-",
    )
