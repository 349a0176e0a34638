"""`sextant alerts channels`: where notifications go."""

from typing import Annotated, Any, Final

import msgspec
from cyclopts import App, Parameter

from adapters.driving.cli.api import EXITS, HERE, Api, RefusedError, Server, with_api
from adapters.driving.cli.database import Json
from adapters.driving.cli.display import write_line, write_rows
from adapters.driving.cli.output import write, write_json
from core.domain.notifications import Notification, NotificationState

HELP: Final = f"""List and test the channels that notifications go through.

They are set up through the API, as secrets do not belong on a command line:
POST /api/v1/alerts/channels (see /docs on the server).

{EXITS}"""
PATH: Final = "/api/v1/alerts/channels"


class ChannelLine(msgspec.Struct, frozen=True, kw_only=True):
    """What a list shows of a channel of any type."""

    id: int
    type: str
    name: str
    default: bool
    enabled: bool
    disabled_reason: str | None
    secrets_set: int
    url: str | None = None
    host: str | None = None
    to: tuple[str, ...] = ()


def channels_app() -> App:
    """The commands under `sextant alerts channels`."""
    app = App(name="channels", help=HELP)
    app.command(list_, name="list")
    app.command(send_test, name="test")
    return app


def list_(*, server: Server = HERE, json: Json = False) -> int:
    """List channels; secrets are never shown.

    For example:

        sextant alerts channels list
    """

    async def work(api: Api) -> None:
        if json:
            write_json(await api.all(PATH, dict[str, Any]))
            return
        channels = await api.all(PATH, ChannelLine)
        if not channels:
            write("no channels, so nobody is told; POST /api/v1/alerts/channels adds one (see /docs on the server)")
        else:
            columns = ("id", "name", "type", "default", "state", "to")
            write_rows(columns, [_row(channel) for channel in channels], wide=("name", "state", "to"))

    return with_api(server, work)


def send_test(
    channel: Annotated[str, Parameter(name="CHANNEL", help="Its name or id, from `sextant alerts channels list`.")],
    /,
    *,
    server: Server = HERE,
    json: Json = False,
) -> int:
    """Send a test message and wait for what becomes of it. Exit status 1 where it
    does not arrive.

    For example:

        sextant alerts channels test hook
    """

    async def work(api: Api) -> int:
        channels = await api.all(PATH, ChannelLine)
        found = next((one for one in channels if channel in (one.name, str(one.id))), None)
        if found is None:
            raise RefusedError(
                f"no channel {channel!r}; `sextant alerts channels list` shows those there are", status=404
            )
        sent = await api.send("POST", f"{PATH}/{found.id}/test", Notification)
        if json:
            write_json(sent)
        else:
            write_line(outcome_text(sent))
        return 0 if sent.state is NotificationState.DELIVERED else 1

    return with_api(server, work)


def outcome_text(sent: Notification) -> str:
    """What became of a notification."""
    match sent.state:
        case NotificationState.DELIVERED:
            return f"delivered through {sent.channel}"
        case NotificationState.WAITING:
            why = f": {sent.last_error}" if sent.last_error else ""
            return f"not delivered through {sent.channel} yet{why}; it is tried again"
        case NotificationState.DEAD:
            return f"given up on {sent.channel}: {sent.last_error or 'no reason is known'}"


def _row(channel: ChannelLine) -> tuple[str, ...]:
    state = "enabled" if channel.enabled else "disabled"
    if channel.disabled_reason:
        state = f"disabled: {channel.disabled_reason}"
    target = channel.url or ", ".join(channel.to) or channel.host or "-"
    return (str(channel.id), channel.name, channel.type, "yes" if channel.default else "no", state, target)
