"""`sextant alerts silence`: times in which nobody is told."""

from datetime import datetime, timedelta
from typing import Annotated, Final

from cyclopts import App, Parameter

from adapters.driving.cli.api import EXITS, HERE, Api, Server, UsageError, with_api
from adapters.driving.cli.database import Json
from adapters.driving.cli.display import ago_text, present, write_line, write_rows
from adapters.driving.cli.output import date_text, write, write_json
from core.domain.alerts import Silence, SilenceSpec
from core.domain.times import EPOCH, parse_duration, parse_time

HELP: Final = f"""List, add and end silences, which maintenance windows are too.

Nobody is told of alerts that all matchers of a silence hold for. They are
evaluated, listed and repaired as ever.

{EXITS}"""
PATH: Final = "/api/v1/alerts/silences"


def silences_app() -> App:
    """The commands under `sextant alerts silence`."""
    app = App(name="silence", help=HELP)
    app.command(list_, name="list")
    app.command(add)
    app.command(end)
    return app


def list_(
    *,
    ended: Annotated[bool, Parameter(negative="", help="Those that have ended, too.")] = False,
    server: Server = HERE,
    json: Json = False,
) -> int:
    """List silences that are in force or will be.

    For example:

        sextant alerts silence list --ended
    """

    async def work(api: Api) -> None:
        silences = await api.all(PATH, Silence, [("ended", "true")] if ended else [])
        if json:
            write_json(silences)
        elif not silences:
            write("no silences; `sextant alerts silence add host=web-1 --for 2h --reason …` adds one")
        else:
            now = present()
            columns = ("id", "state", "until", "matchers", "by", "reason")
            write_rows(columns, [_row(one, now) for one in silences], wide=("matchers", "reason"))

    return with_api(server, work)


def add(
    matchers: Annotated[
        tuple[str, ...],
        Parameter(
            name="MATCHER",
            help="host=a, host!=a, host=~a.* or host!~a.* over an alert's labels, alertname, metric or severity; "
            "all must hold.",
            negative="",
        ),
    ],
    /,
    *,
    reason: Annotated[str, Parameter(help="Why, for whoever wonders.")],
    for_: Annotated[str | None, Parameter(name="--for", help="How long, such as 30m, 2h or 7d.")] = None,
    start: Annotated[str | None, Parameter(help="When it begins, RFC 3339 with a zone. Default: now.")] = None,
    end_at: Annotated[str | None, Parameter(name="--end", help="When it ends, instead of --for.")] = None,
    server: Server = HERE,
    json: Json = False,
) -> int:
    """Silence alerts for a while, now or later.

    For example:

        sextant alerts silence add host=web-1 --for 2h --reason "new disk"
        sextant alerts silence add env=prod alertname=~"disk.*" \\
            --start 2026-02-01T22:00:00Z --for 4h --reason maintenance
    """

    async def work(api: Api) -> None:
        spec = SilenceSpec(matchers=matchers, starts_at=_instant(start, "--start"), ends_at=_end(), reason=reason)
        silence = await api.send("POST", PATH, Silence, spec)
        if json:
            write_json(silence)
        else:
            write_line(f"silence {silence.id}: {' '.join(silence.matchers)} until {date_text(silence.ends_at)}")

    def _end() -> datetime:
        chosen = _instant(end_at, "--end")
        if (chosen is None) == (for_ is None):
            raise UsageError("give either --for, such as 2h, or --end")
        if chosen is not None:
            return chosen
        assert for_ is not None
        begin = _instant(start, "--start") or present()
        return begin + timedelta(microseconds=parse_duration(for_, "--for"))

    return with_api(server, work)


def end(
    silence_id: Annotated[int, Parameter(name="ID", help="Its id, from `sextant alerts silence list`.", negative="")],
    /,
    *,
    server: Server = HERE,
    json: Json = False,
) -> int:
    """End a silence now. Repeating this changes nothing.

    For example:

        sextant alerts silence end 3
    """

    async def work(api: Api) -> None:
        await api.delete(f"{PATH}/{silence_id}")
        if json:
            write_json({"id": silence_id, "ended": True})
        else:
            write(f"ended silence {silence_id}")

    return with_api(server, work)


def _row(silence: Silence, now: datetime) -> tuple[str, ...]:
    if silence.ends_at <= now:
        state = "ended"
    elif silence.starts_at > now:
        state = f"begins {ago_text(silence.starts_at, now)}"
    else:
        state = "in force"
    until = f"{date_text(silence.ends_at)}"
    return (str(silence.id), state, until, " ".join(silence.matchers), silence.author, silence.reason)


def _instant(text: str | None, field: str) -> datetime | None:
    return None if text is None else EPOCH + timedelta(microseconds=parse_time(text, field))
