"""`sextant incidents`: what belongs together, what it says together, and what people do about it."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Final, Literal

from cyclopts import App, Parameter

from adapters.driving.cli.api import EXITS, HERE, Api, Limit, Server, with_api
from adapters.driving.cli.database import Json
from adapters.driving.cli.display import age_text, moment_text, present, write_line, write_pairs, write_rows
from adapters.driving.cli.output import date_text, write, write_json
from adapters.driving.cli.story import Event, write_story
from core.domain.incidents import ChangeKind, IncidentState

if TYPE_CHECKING:
    from adapters.driving.http.incident_replies import HypothesisReply, IncidentDetailReply, IncidentReply

HELP: Final = f"""List, explain, acknowledge, merge and split incidents.

An incident is made of anomalies, error events, alerts and changes that belong
together. These commands ask a running server; they need a key with the scope
alerts, or query to read.

{EXITS}"""
PATH: Final = "/api/v1/incidents"
LIMIT_DEFAULT: Final = 50
TIMELINE_SHOWN: Final = 40
"""Lines of a timeline on a screen; --json has all of it."""
HYPOTHESES_SHOWN: Final = 3

IncidentId = Annotated[int, Parameter(name="ID", help="Its id, from `sextant incidents list`.", negative="")]


def incidents_app() -> App:
    """The commands under `sextant incidents`."""
    app = App(name="incidents", help=HELP)
    app.default(list_)
    app.command(list_, name="list")
    app.command(show)
    app.command(ack)
    app.command(resolve)
    app.command(reopen)
    app.command(merge)
    app.command(split)
    app.command(undo)
    return app


def list_(
    *,
    state: Annotated[
        Literal["open", "acknowledged", "resolved", "merged"] | None, Parameter(help="Only incidents in this state.")
    ] = None,
    all_: Annotated[bool, Parameter(name="--all", negative="", help="History, too, not only active ones.")] = False,
    host: Annotated[str | None, Parameter(help="Only incidents of this host.")] = None,
    service: Annotated[str | None, Parameter(help="Only incidents of this service.")] = None,
    text: Annotated[str | None, Parameter(help="Only those whose title or narrative has this text.")] = None,
    limit: Limit = LIMIT_DEFAULT,
    server: Server = HERE,
    json: Json = False,
) -> int:
    """List incidents, newest first: active ones, unless asked otherwise.

    For example:

        sextant incidents list
        sextant incidents list --all --text "disk" --limit 10
    """
    given = {"state": state, "host": host, "service": service, "text": text}
    parameters = [(name, value) for name, value in given.items() if value is not None]
    if state is None and not all_:
        parameters.append(("active", "true"))

    from adapters.driving.http.incident_replies import IncidentReply  # numpy comes with it

    async def work(api: Api) -> None:
        found, more = await api.first(PATH, IncidentReply, parameters, limit=limit)
        if json:
            write_json(found)
        elif not found:
            write("no incidents" if all_ else "no active incidents; `sextant incidents list --all` lists past ones")
        else:
            now = present()
            columns = ("id", "state", "since", "signals", "where", "title")
            write_rows(columns, [_row(one, now) for one in found], wide=("where", "title"))
            if more:
                write("there are more; --limit shows them")

    return with_api(server, work)


def show(incident_id: IncidentId, /, *, server: Server = HERE, json: Json = False) -> int:
    """Show one incident: what happened in words, what may have caused it and why
    that is thought, the signals in order, and what people did.

    For example:

        sextant incidents show 7
    """

    from adapters.driving.http.incident_replies import IncidentDetailReply

    async def work(api: Api) -> None:
        detail = await api.get(f"{PATH}/{incident_id}", IncidentDetailReply)
        if json:
            write_json(detail)
        else:
            _write_detail(detail, present())

    return with_api(server, work)


def ack(incident_id: IncidentId, /, *, server: Server = HERE, json: Json = False) -> int:
    """Say that somebody is on it. Repeating this changes nothing."""
    return _changed(f"{incident_id}/acknowledge", None, "acknowledged incident {id}: {title}", server, json=json)


def resolve(incident_id: IncidentId, /, *, server: Server = HERE, json: Json = False) -> int:
    """Say that it is over; a signal soon afterwards opens it again."""
    return _changed(f"{incident_id}/resolve", None, "resolved incident {id}: {title}", server, json=json)


def reopen(incident_id: IncidentId, /, *, server: Server = HERE, json: Json = False) -> int:
    """Say that it was not over."""
    return _changed(f"{incident_id}/reopen", None, "opened incident {id} again: {title}", server, json=json)


def merge(
    incident_id: IncidentId,
    other: Annotated[int, Parameter(name="OTHER", help="The incident whose signals are taken over.", negative="")],
    /,
    *,
    server: Server = HERE,
    json: Json = False,
) -> int:
    """Take all signals of another incident into this one.

    For example:

        sextant incidents merge 7 8
        sextant incidents undo 7 CHANGE      # CHANGE is in the history of `show`
    """
    said = f"merged incident {other} into {{id}}: {{title}}"
    return _changed(f"{incident_id}/merge", {"from": other}, said, server, json=json)


def split(
    incident_id: IncidentId,
    keys: Annotated[
        tuple[str, ...],
        Parameter(name="KEY", help="Keys of signals, such as alert:12, from `show --json`.", negative=""),
    ],
    /,
    *,
    server: Server = HERE,
    json: Json = False,
) -> int:
    """Make a new incident of some of the signals of one."""
    said = f"split {len(keys)} signals off incident {incident_id} into {{id}}"
    return _changed(f"{incident_id}/split", {"keys": keys}, said, server, json=json)


def undo(
    incident_id: IncidentId,
    change: Annotated[int, Parameter(name="CHANGE", help="A merge or split of its history.", negative="")],
    /,
    *,
    server: Server = HERE,
    json: Json = False,
) -> int:
    """Take a merge or a split back: its signals go to where they were."""
    return _changed(f"{incident_id}/undo", {"change": change}, "undone; incident {id}: {title}", server, json=json)


def _changed(path: str, body: object, said: str, server: Server, *, json: bool) -> int:
    from adapters.driving.http.incident_replies import IncidentReply

    async def work(api: Api) -> None:
        incident = await api.send("POST", f"{PATH}/{path}", IncidentReply, body)
        if json:
            write_json(incident)
        else:
            write_line(said.replace("{id}", str(incident.id)).replace("{title}", incident.title))

    return with_api(server, work)


def _row(incident: "IncidentReply", now: datetime) -> tuple[str, ...]:
    state = f"{incident.state.value}, severe" if incident.severe else incident.state.value
    return (
        str(incident.id),
        state,
        age_text(incident.started_at, now),
        str(incident.signals),
        " ".join([*incident.hosts, *incident.services]) or "-",
        incident.title,
    )


def _write_detail(detail: "IncidentDetailReply", now: datetime) -> None:
    pairs = [
        ("incident", f"{detail.id}: {detail.title}"),
        ("state", _state_text(detail, now)),
        ("hosts", " ".join(detail.hosts) or "-"),
        ("services", " ".join(detail.services) or "-"),
        ("started", moment_text(detail.started_at, now)),
        ("last signal", moment_text(detail.last_signal_at, now)),
        ("signals", str(detail.signals)),
    ]
    write_pairs(pairs)
    if detail.narrative_text is not None:
        write("")
        write_line(detail.narrative_text)
    if detail.hypotheses:
        write("\nWhat may have caused it, likeliest first")
        for place, hypothesis in enumerate(detail.hypotheses[:HYPOTHESES_SHOWN], 1):
            _write_hypothesis(place, hypothesis)
    write("\nWhat happened")
    shown = detail.timeline[:TIMELINE_SHOWN]
    write_story([Event(at=one.at, actor=one.host or one.service or "", text=one.text) for one in shown])
    if len(detail.timeline) > len(shown):
        write(f"  and {detail.signals - len(shown)} more signals; --json has them")
    write("\nWhat was done")
    for change in detail.history:
        undone = " (undone)" if change.undone else ""
        number = f"[{change.id}] " if change.kind in (ChangeKind.MERGED, ChangeKind.SPLIT) else ""
        write_line(f"  {date_text(change.at)}  {change.by}  {number}{change.summary}{undone}", indent=4)


def _state_text(detail: "IncidentDetailReply", now: datetime) -> str:
    words = detail.state.value
    match detail.state:
        case IncidentState.ACKNOWLEDGED:
            words += f" {moment_text(detail.acknowledged_at, now)} by {detail.acknowledged_by}"
        case IncidentState.RESOLVED:
            words += f" {moment_text(detail.resolved_at, now)} by {detail.resolved_by}"
        case IncidentState.MERGED:
            words += f" into {detail.merged_into}"
        case IncidentState.OPEN:
            pass
    return words + (", synthetic" if detail.synthetic else "")


def _write_hypothesis(place: int, hypothesis: "HypothesisReply") -> None:
    write_line(f"  {place}. {hypothesis.entity}: {hypothesis.text}", indent=5)
    for sentence in hypothesis.evidence:
        write_line(f"     + {sentence.text}", indent=7)
    for counter in hypothesis.counter_evidence:
        write_line(f"     - {counter}", indent=7)
