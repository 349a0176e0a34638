"""`sextant anomalies`: what scheduled detection found, and whether it was right."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Final, Literal

from cyclopts import App, Parameter
from cyclopts.validators import Number

from adapters.driving.cli.api import EXITS, HERE, Api, Limit, Server, UsageError, with_api
from adapters.driving.cli.database import Json
from adapters.driving.cli.display import age_text, number_text, present, write_line, write_rows
from adapters.driving.cli.output import write, write_json
from core.domain.anomalies import Precision

if TYPE_CHECKING:
    from adapters.driving.http.detection_replies import AnomalyReply

HELP: Final = f"""List what scheduled detection found, and say whether it was right.

These commands ask a running server; they need a key with the scope alerts,
or query to read.

{EXITS}"""
PATH: Final = "/api/v1/anomalies"
LIMIT_DEFAULT: Final = 50
ID_CHARS: Final = 8
"""Of an id in a table; commands take any beginning that is unique."""
SEARCHED_MAX: Final = 5_000
"""Anomalies among which one is looked up by the beginning of its id, last seen first."""
UUID_CHARS: Final = 36


def anomalies_app() -> App:
    """The commands under `sextant anomalies`."""
    app = App(name="anomalies", help=HELP)
    app.default(list_)
    app.command(list_, name="list")
    app.command(mark)
    app.command(precision)
    return app


def list_(
    *,
    all_: Annotated[bool, Parameter(name="--all", negative="", help="Those that have ended, too.")] = False,
    detector: Annotated[
        Literal["variance", "spike", "trend", "streaming"] | None, Parameter(help="Only what this detector found.")
    ] = None,
    metric: Annotated[str | None, Parameter(help="Only anomalies of this metric.")] = None,
    host: Annotated[str | None, Parameter(help="Only anomalies of this host.")] = None,
    fingerprint: Annotated[str | None, Parameter(help="Only anomalies of this host:metric.")] = None,
    risk: Annotated[
        float | None, Parameter(help="Only those with this risk or a higher one.", validator=Number(gte=0, lte=1))
    ] = None,
    limit: Limit = LIMIT_DEFAULT,
    server: Server = HERE,
    json: Json = False,
) -> int:
    """List anomalies, last seen first: open ones, unless asked otherwise.

    For example:

        sextant anomalies list --risk 0.8
        sextant anomalies list --all --fingerprint web-1:cpu
    """
    given = {"detector": detector, "metric": metric, "host": host, "fingerprint": fingerprint}
    parameters = [(name, text) for name, text in given.items() if text is not None]
    if risk is not None:
        parameters.append(("risk_min", str(risk)))
    if not all_:
        parameters.append(("open", "true"))

    from adapters.driving.http.detection_replies import AnomalyReply  # numpy comes with it

    async def work(api: Api) -> None:
        found, more = await api.first(PATH, AnomalyReply, parameters, limit=limit)
        if json:
            write_json(found)
        elif not found:
            write("no anomalies" if all_ else "no open anomalies; `sextant anomalies list --all` lists past ones")
        else:
            now = present()
            columns = ("id", "detector", "risk", "first seen", "state", "finding")
            write_rows(columns, [_row(one, now) for one in found], wide=("finding",))
            if more:
                write("there are more; --limit shows them")

    return with_api(server, work)


def mark(
    beginning: Annotated[str, Parameter(name="ID", help="Its id, or the unique beginning of it.", negative="")],
    verdict: Annotated[Literal["true", "false", "none"], Parameter(name="VERDICT", negative="")],
    /,
    *,
    note: Annotated[str | None, Parameter(help="Why, for whoever comes next.")] = None,
    server: Server = HERE,
    json: Json = False,
) -> int:
    """Say that an anomaly was worth attention (true) or not (false); none takes
    that back. One marked as false raises no alert, and the next run ends the
    alert that it raised.

    For example:

        sextant anomalies mark 0b8f9f3a false --note "nightly backup"
    """

    from adapters.driving.http.detection_replies import AnomalyReply

    async def work(api: Api) -> None:
        path = f"{PATH}/{await _id(api, beginning.lower())}/mark"
        if verdict == "none":
            if note is not None:
                raise UsageError("--note goes with true or false")
            anomaly = await api.send("DELETE", path, AnomalyReply)
        else:
            anomaly = await api.send("PUT", path, AnomalyReply, {"verdict": verdict, "note": note})
        if json:
            write_json(anomaly)
        else:
            said = "taken back what was said of" if verdict == "none" else f"marked as {verdict}:"
            write_line(f"{said} {anomaly.text}")

    return with_api(server, work)


def precision(
    *,
    days: Annotated[int, Parameter(help="Of anomalies first seen so many days back.")] = 30,
    server: Server = HERE,
    json: Json = False,
) -> int:
    """Show how often each detector was right, by the verdicts of operators."""

    async def work(api: Api) -> None:
        found = await api.all("/api/v1/detect/precision", Precision, [("days", str(days))])
        if json:
            write_json(found)
            return
        rows = [
            (
                one.detector.value,
                str(one.anomalies),
                str(one.marked_true),
                str(one.marked_false),
                "-" if one.precision is None else f"{one.precision:.0%}",
            )
            for one in found
        ]
        write_rows(("detector", "anomalies", "true", "false", "precision"), rows, wide=())
        if not any(one.marked_true or one.marked_false for one in found):
            write("nobody has marked any: sextant anomalies mark ID true|false")

    return with_api(server, work)


async def _id(api: Api, beginning: str) -> str:
    """The id that begins so."""
    from adapters.driving.http.detection_replies import AnomalyReply

    if len(beginning) == UUID_CHARS:
        return beginning
    found, _ = await api.first(PATH, AnomalyReply, [], limit=SEARCHED_MAX)
    ids = [str(one.id) for one in found if str(one.id).startswith(beginning)]
    if len(ids) != 1:
        how = "several anomalies begin" if ids else "no anomaly begins"
        raise UsageError(f"{how} with {beginning!r}; see `sextant anomalies list --all --json`")
    return ids[0]


def _row(anomaly: "AnomalyReply", now: datetime) -> tuple[str, ...]:
    words = ["open" if anomaly.ended_at is None else f"ended {age_text(anomaly.ended_at, now)}"]
    if anomaly.mark is not None:
        words.append(f"marked {anomaly.mark.verdict.value}")
    if anomaly.shadow:
        words.append("shadow")
    if anomaly.synthetic:
        words.append("synthetic")
    component = anomaly.finding.component
    return (
        str(anomaly.id)[:ID_CHARS],
        anomaly.finding.detector.value + (f":{component}" if component else ""),
        number_text(round(anomaly.risk, 2)),
        age_text(anomaly.first_seen_at, now),
        ", ".join(words),
        anomaly.text,
    )
