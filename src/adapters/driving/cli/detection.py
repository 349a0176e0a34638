"""`sextant detection`: how scheduled detection is set, and what it did."""

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final

from cyclopts import App, Parameter

from adapters.driving.cli.api import EXITS, HERE, Api, Limit, Server, with_api
from adapters.driving.cli.database import Json
from adapters.driving.cli.display import age_text, present, span_text, write_line, write_rows
from adapters.driving.cli.output import date_text, write, write_json
from core.domain.detection_runs import DetectionRun

HELP: Final = f"""Show and change how scheduled detection is set, and what it did.

These commands ask a running server; they need a key with the scope alerts,
or query to read.

{EXITS}"""
PATH: Final = "/api/v1/detect"
LIMIT_DEFAULT: Final = 20


def detection_app() -> App:
    """The commands under `sextant detection`."""
    app = App(name="detection", help=HELP)
    app.command(settings)
    app.command(apply)
    app.command(runs)
    app.command(run)
    return app


def settings(*, server: Server = HERE, json: Json = False) -> int:
    """Show how detection is set, as YAML that `apply` takes."""

    async def work(api: Api) -> None:
        found = await api.get(f"{PATH}/settings", dict[str, Any])
        if json:
            write_json(found)
        else:
            from adapters.driving.cli.yaml_source import dump_yaml

            write(dump_yaml(found).rstrip())

    return with_api(server, work)


def apply(
    file: Annotated[
        Path, Parameter(name="FILE", help="YAML or JSON; - is standard input.", allow_leading_hyphen=True, negative="")
    ],
    /,
    *,
    server: Server = HERE,
    json: Json = False,
) -> int:
    """Set detection as a file says; what the file leaves out gets its default.

    For example:

        sextant detection settings > detection.yaml
        sextant detection apply detection.yaml
    """

    async def work(api: Api) -> None:
        from adapters.driving.cli.yaml_source import read_yaml

        document = read_yaml(file)
        found = await api.send("PUT", f"{PATH}/settings", dict[str, Any], document.value)
        if json:
            write_json(found)
        else:
            state = "shadow" if found["shadow"] else "live"
            words = f"every {found['interval']} over {found['window']}, {state}, alerts above a risk of "
            write_line(f"detection: {words}{found['alert_risk']}" if found["enabled"] else "detection: switched off")

    return with_api(server, work)


def runs(*, limit: Limit = LIMIT_DEFAULT, server: Server = HERE, json: Json = False) -> int:
    """List what scheduled detection did, newest first."""

    async def work(api: Api) -> None:
        found, _ = await api.first(f"{PATH}/runs", DetectionRun, [], limit=limit)
        if json:
            write_json(found)
        elif not found:
            write(
                "no runs yet; the first comes within seconds while a server runs, `sextant detection run` asks for one"
            )
        else:
            now = present()
            columns = ("due", "state", "began", "took", "series", "samples", "findings", "error")
            write_rows(columns, [_row(one, now) for one in found], wide=("error",))

    return with_api(server, work)


def run(*, server: Server = HERE, json: Json = False) -> int:
    """Ask for a run now instead of at the next due time; it begins within
    seconds."""

    async def work(api: Api) -> None:
        asked = await api.send("POST", f"{PATH}/runs", DetectionRun)
        if json:
            write_json(asked)
        else:
            write(f"run {asked.id} begins within seconds; `sextant detection runs` shows it")

    return with_api(server, work)


def _row(one: DetectionRun, now: datetime) -> tuple[str, ...]:
    took = "-" if one.finished_at is None else span_text((one.finished_at - one.started_at).total_seconds())
    state = one.state.value + (f", attempt {one.attempts}" if one.attempts > 1 else "")
    return (
        date_text(one.due_at),
        state,
        age_text(one.started_at, now),
        took,
        str(one.series),
        str(one.points),
        str(one.findings),
        one.error or "-",
    )
