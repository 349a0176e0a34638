"""`sextant events`: what happened, beside the samples."""

from datetime import datetime
from typing import Annotated, Final, Literal

from cyclopts import App, Parameter

from adapters.driving.cli.api import EXITS, HERE, Api, Limit, Server, with_api
from adapters.driving.cli.database import Json
from adapters.driving.cli.display import age_text, number_text, present, write_line, write_rows
from adapters.driving.cli.output import date_text, write, write_json
from adapters.driving.cli.target import parse_labels
from core.domain.events import EventSeverity, EventSpec, SignalEvent

HELP: Final = f"""List and send events: errors, changes, and what detection found.

These commands ask a running server; listing needs a key with the scope query
or alerts, sending one with ingest.

{EXITS}"""
PATH: Final = "/api/v1/events"
LIMIT_DEFAULT: Final = 50


def events_app() -> App:
    """The commands under `sextant events`."""
    app = App(name="events", help=HELP)
    app.default(list_)
    app.command(list_, name="list")
    app.command(send)
    return app


def list_(
    *,
    severity: Annotated[Literal["info", "warn", "error"] | None, Parameter(help="Only events that bad.")] = None,
    host: Annotated[str | None, Parameter(help="Only events on this host.")] = None,
    service: Annotated[str | None, Parameter(help="Only events of this service.")] = None,
    metric: Annotated[str | None, Parameter(help="Only events about this metric, such as error.")] = None,
    limit: Limit = LIMIT_DEFAULT,
    server: Server = HERE,
    json: Json = False,
) -> int:
    """List events, newest first.

    For example:

        sextant events list --severity error --host web-1
    """
    given = {"severity": severity, "host": host, "service": service, "metric": metric}
    parameters = [(name, text) for name, text in given.items() if text is not None]

    async def work(api: Api) -> None:
        found, more = await api.first(PATH, SignalEvent, parameters, limit=limit)
        if json:
            write_json(found)
        elif not found:
            write("no events match" if parameters else "no events yet; `sextant events send` sends one")
        else:
            now = present()
            columns = ("at", "age", "severity", "where", "metric", "value", "message")
            write_rows(columns, [_row(one, now) for one in found], wide=("where", "message"))
            if more:
                write("there are more; --limit shows them")

    return with_api(server, work)


def send(
    metric: Annotated[
        str, Parameter(name="METRIC", help="What it is about: error, config_change, or a metric's name.", negative="")
    ],
    /,
    *,
    host: Annotated[str | None, Parameter(help="Where it happened; this, --service or both.")] = None,
    service: Annotated[str | None, Parameter(help="The service that it happened to.")] = None,
    severity: Annotated[Literal["info", "warn", "error"], Parameter(help="How bad it is.")] = "info",
    message: Annotated[str | None, Parameter(help="What happened, in words.")] = None,
    value: Annotated[float | None, Parameter(help="A number that belongs to it.", allow_leading_hyphen=True)] = None,
    at: Annotated[str | None, Parameter(help="When, RFC 3339 with a zone. Default: now.")] = None,
    label: Annotated[tuple[str, ...], Parameter(help="A label such as env=prod; may be repeated.", negative="")] = (),
    server: Server = HERE,
    json: Json = False,
) -> int:
    """Send one event.

    For example:

        sextant events send config_change --service checkout --message "version 42 rolled out"
        sextant events send error --host web-1 --severity error --message "payment timed out"
    """

    from ports.driving.detecting import EventsReply  # numpy comes with it

    async def work(api: Api) -> None:
        spec = EventSpec(
            metric=metric,
            ts=at,
            host=host,
            service=service,
            severity=EventSeverity(severity),
            value=value,
            message=message,
            labels=parse_labels(label),
        )
        reply = await api.send("POST", PATH, EventsReply, spec)
        if json:
            write_json(reply)
        else:
            write_line(f"stored event {reply.ids[0]}")

    return with_api(server, work)


def _row(event: SignalEvent, now: datetime) -> tuple[str, ...]:
    return (
        date_text(event.ts),
        age_text(event.ts, now),
        event.severity.value,
        " ".join(place for place in (event.host, event.service) if place),
        event.metric,
        number_text(event.value),
        event.message or "-",
    )
