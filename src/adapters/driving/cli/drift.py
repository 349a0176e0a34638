"""`sextant drift`: where clusters have moved away from what was asked for, declared or planned."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Annotated, Any, Final, Literal
from urllib.parse import quote

from cyclopts import App, Parameter

from adapters.driving.cli.api import EXITS, HERE, Api, Limit, Server, with_api
from adapters.driving.cli.database import Json
from adapters.driving.cli.display import age_text, moment_text, present, write_line, write_pairs, write_rows
from adapters.driving.cli.output import write, write_json
from adapters.driving.cli.short_ids import short_ids, with_short_id
from adapters.driving.cli.telemetry import Cluster
from core.domain.drift import DriftEvent

HELP: Final = f"""Find, list and settle drift: where clusters have moved away from what was asked
for, declared or planned.

A server looks by itself, every quarter of an hour. These commands ask a running
server; they need a key with the scope query or alerts, changing alerts.

{EXITS}"""
PATH: Final = "/api/v1/drift"
LIMIT_DEFAULT: Final = 50
DriftId = Annotated[
    str, Parameter(name="ID", help="From `sextant drift list`; a part of it, as shown there, is enough.", negative="")
]
Note = Annotated[str | None, Parameter(help="Why, for whoever comes next.")]
Severity = Literal["minor", "major", "critical"]
Status = Literal["open", "acknowledged", "resolved", "ignored"]


def drift_app() -> App:
    """The commands under `sextant drift`."""
    app = App(name="drift", help=HELP)
    app.command(list_, name="list")
    app.command(show)
    app.command(find)
    app.command(acknowledge)
    app.command(resolve)
    app.command(ignore)
    return app


def list_(
    *,
    cluster: Annotated[str | None, Parameter(help="Only in this cluster.")] = None,
    severity: Annotated[Severity | None, Parameter(help="Only of this severity.")] = None,
    status: Annotated[Status | None, Parameter(help="Only with this status. Default: open.")] = None,
    all_: Annotated[bool, Parameter(name="--all", help="Settled ones, too.", negative="")] = False,
    limit: Limit = LIMIT_DEFAULT,
    server: Server = HERE,
    json: Json = False,
) -> int:
    """List drift, newest first.

    For example:

        sextant drift list --cluster demo --severity critical
    """

    async def work(api: Api) -> None:
        wanted = status if status is not None or all_ else "open"
        given = {"cluster_id": cluster, "severity": severity, "status": wanted}
        about = [(field, text) for field, text in given.items() if text is not None]
        found, more = await api.first(f"{PATH}/events", DriftEvent, about, limit=limit)
        if json:
            write_json(found)
        elif not found:
            write("no open drift; `sextant drift find CLUSTER` looks now" if wanted == "open" else "no drift")
        else:
            now = present()
            ids = short_ids([one.drift_id for one in found], by_end=True)
            columns = (
                "id",
                "severity",
                "since",
                "what",
                "where",
                *(() if wanted == "open" else ("status",)),
                "message",
            )
            rows = [_row(one, shown, now, status="status" in columns) for one, shown in zip(found, ids, strict=True)]
            write_rows(columns, rows, wide=("where", "message"))
            if more:
                write("there are more; --limit shows them")

    return with_api(server, work)


def show(drift_id: DriftId, /, *, server: Server = HERE, json: Json = False) -> int:
    """Show one drift, with what shows it and what is recommended."""

    async def work(api: Api) -> None:
        from core.domain.recommendations import Recommendation

        found = await _with_event(api, drift_id, lambda found_id: api.get(_place(found_id), DriftEvent))
        if json:
            write_json(found)
            return
        about = [("drift_id", found.drift_id)]
        advice, _ = await api.first(f"{PATH}/recommendations", Recommendation, about, limit=20)
        _write_event(found, advice)

    return with_api(server, work)


def find(cluster: Cluster, /, *, server: Server = HERE, json: Json = False) -> int:
    """Look at a cluster now, as the server does by itself.

    For example:

        sextant drift find demo
    """

    async def work(api: Api) -> None:
        found = await api.send("POST", f"{PATH}/detect", dict[str, Any], {"cluster_id": cluster})
        if json:
            write_json(found)
            return
        write_line(f"{cluster}: {found['found']} found, {found['opened']} new, {found['resolved']} resolved")
        for reason in found.get("skipped", ()):
            write_line(f"not looked at: {reason}", indent=2)
        if found["found"]:
            write_line(f"sextant drift list --cluster {cluster} lists them")

    return with_api(server, work)


def acknowledge(drift_id: DriftId, /, *, note: Note = None, server: Server = HERE, json: Json = False) -> int:
    """Say that somebody looks into it."""
    return _set(drift_id, "acknowledged", note, server, as_json=json)


def resolve(drift_id: DriftId, /, *, note: Note = None, server: Server = HERE, json: Json = False) -> int:
    """Say that it is over; another day's is a new one."""
    return _set(drift_id, "resolved", note, server, as_json=json)


def ignore(drift_id: DriftId, /, *, note: Note = None, server: Server = HERE, json: Json = False) -> int:
    """Say that it does not matter."""
    return _set(drift_id, "ignored", note, server, as_json=json)


def _set(drift_id: str, status: Status, note: str | None, server: Server, *, as_json: bool) -> int:
    async def work(api: Api) -> None:
        body = {"status": status, **({"note": note} if note is not None else {})}
        found = await _with_event(api, drift_id, lambda found_id: api.send("PATCH", _place(found_id), DriftEvent, body))
        if as_json:
            write_json(found)
        else:
            write_line(f"{status}: {found.message or found.drift_category.value}")

    return with_api(server, work)


async def _with_event(api: Api, typed: str, act: Callable[[str], Awaitable[DriftEvent]]) -> DriftEvent:
    return await with_short_id(
        api, typed, act, path=f"{PATH}/events", kind=DriftEvent, id_of=lambda event: event.drift_id
    )


def _place(drift_id: str) -> str:
    return f"{PATH}/events/{quote(drift_id, safe='')}"


def _write_event(event: DriftEvent, advice: Sequence[Any]) -> None:
    now = present()
    pairs = [
        ("drift", event.drift_id),
        ("what", f"{event.drift_category.value}, {event.severity.value}"),
        ("where", _where(event)),
        ("message", event.message or "-"),
        ("status", event.status.value + (f" by {event.status_by}" if event.status_by else "")),
        ("note", event.status_note or "-"),
        ("found by", f"{event.detection_method.value}, confidence {event.confidence_score:.2f}"),
        ("since", moment_text(event.start_ts, now)),
        ("last seen", moment_text(event.last_seen_at, now)),
        ("ended", moment_text(event.end_ts, now)),
        *(
            (f"  {name}", f"{value:.6g}" if isinstance(value, float) else str(value))
            for name, value in event.evidence.items()
        ),
    ]
    write_pairs(pairs)
    for one in advice:
        write_line(
            f"recommended: {one.recommendation_type} ({one.state.value}): sextant recommendations show {one.rec_id}"
        )


def _where(event: DriftEvent) -> str:
    parts = [event.cluster_id, event.namespace, event.workload_name]
    return "/".join(part for part in parts if part is not None)


def _row(event: DriftEvent, shown: str, now: datetime, *, status: bool) -> tuple[str, ...]:
    return (
        shown,
        event.severity.value,
        age_text(event.start_ts, now),
        event.drift_category.value.removesuffix("_DRIFT").lower(),
        _where(event),
        *((event.status.value,) if status else ()),
        event.message or "-",
    )
