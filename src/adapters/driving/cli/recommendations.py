"""`sextant recommendations`: what would mend drift, and doing it."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Annotated, Final, Literal, TypeVar
from urllib.parse import quote

from cyclopts import App, Parameter

from adapters.driving.cli.api import EXITS, HERE, Api, Limit, Server, with_api
from adapters.driving.cli.capacity import usd_text
from adapters.driving.cli.database import Json
from adapters.driving.cli.display import age_text, moment_text, present, write_line, write_pairs, write_rows
from adapters.driving.cli.output import write, write_json
from adapters.driving.cli.recommendation_run import followed, has_failed, write_end
from adapters.driving.cli.short_ids import short_ids, with_short_id
from adapters.driving.cli.telemetry import share_text
from core.domain.recommendations import Recommendation
from ports.driving.drifting import Applied, RecommendationDetail

HELP: Final = f"""List, approve and apply what would mend drift.

Applying runs a gated remediation: by default a dry run, which shows what it
would change and changes nothing. These commands ask a running server; they need
a key with the scope remediate, or query to read.

{EXITS}"""
PATH: Final = "/api/v1/drift/recommendations"
Done = TypeVar("Done")
LIMIT_DEFAULT: Final = 50
States = Literal["proposed", "approved", "rejected", "applying", "applied", "failed", "rolled_back"]
RecId = Annotated[
    str,
    Parameter(
        name="ID", help="From `sextant recommendations list`; a part of it, as shown there, is enough.", negative=""
    ),
]
Reason = Annotated[str | None, Parameter(help="Why, for the audit trail.")]


def recommendations_app() -> App:
    """The commands under `sextant recommendations`."""
    app = App(name="recommendations", help=HELP)
    app.command(list_, name="list")
    app.command(show)
    app.command(approve)
    app.command(reject)
    app.command(apply)
    return app


def list_(
    *,
    cluster: Annotated[str | None, Parameter(help="Only in this cluster.")] = None,
    state: Annotated[States | None, Parameter(help="Only in this state.")] = None,
    limit: Limit = LIMIT_DEFAULT,
    server: Server = HERE,
    json: Json = False,
) -> int:
    """List recommendations, newest first, with what each saves a month.

    For example:

        sextant recommendations list --state proposed
    """

    async def work(api: Api) -> None:
        given = {"cluster_id": cluster, "state": state}
        about = [(field, text) for field, text in given.items() if text is not None]
        found, more = await api.first(PATH, Recommendation, about, limit=limit)
        if json:
            write_json(found)
        elif not found:
            write("no recommendations; they come with drift: sextant drift find CLUSTER")
        else:
            now = present()
            ids, drifts = (
                short_ids([one.rec_id for one in found], by_end=True),
                short_ids([one.drift_id for one in found], by_end=True),
            )
            columns = ("id", "type", "cluster", "made", "state", "saves", "drift")
            rows = [_row(one, shown, drift, now) for one, shown, drift in zip(found, ids, drifts, strict=True)]
            write_rows(columns, rows, wide=("cluster",))
            if more:
                write("there are more; --limit shows them")

    return with_api(server, work)


def show(rec_id: RecId, /, *, server: Server = HERE, json: Json = False) -> int:
    """Show one recommendation: what it would change, and what applying it brought."""

    async def work(api: Api) -> None:
        found = await _with_recommendation(
            api, rec_id, lambda found_id: api.get(_place(found_id), RecommendationDetail)
        )
        if json:
            write_json(found)
        else:
            _write_detail(found)

    return with_api(server, work)


def approve(rec_id: RecId, /, *, reason: Reason = None, server: Server = HERE, json: Json = False) -> int:
    """Agree that it may be applied: what it would change is shown, and approved if it has not changed since."""

    async def agree(api: Api, found_id: str) -> tuple[Recommendation, Sequence[str]]:
        detail = await api.get(_place(found_id), RecommendationDetail)
        seen = {"updated_at": detail.recommendation.updated_at.isoformat()}
        body = seen if reason is None else {**seen, "reason": reason}
        return await api.send("POST", f"{_place(found_id)}/approve", Recommendation, body), detail.changes

    async def work(api: Api) -> None:
        found, changes = await _with_recommendation(api, rec_id, lambda found_id: agree(api, found_id))
        _write_decided(found, changes, as_json=json)

    return with_api(server, work)


def reject(rec_id: RecId, /, *, reason: Reason = None, server: Server = HERE, json: Json = False) -> int:
    """Say that it is not to be applied."""

    async def work(api: Api) -> None:
        body = None if reason is None else {"reason": reason}
        found = await _with_recommendation(
            api, rec_id, lambda found_id: api.send("POST", f"{_place(found_id)}/reject", Recommendation, body)
        )
        _write_decided(found, (), as_json=json)

    return with_api(server, work)


def apply(
    rec_id: RecId,
    /,
    *,
    execute: Annotated[
        bool, Parameter(help="Make the change; without it, only say what it would be.", negative="")
    ] = False,
    server: Server = HERE,
    json: Json = False,
) -> int:
    """Apply a recommendation, by default in a dry run, and follow it for a minute.

    A dry run needs no approval. With --execute the change is made, within the
    tenant's limits and kill switch, verified on the workload's metrics, and taken
    back where that fails. Nothing is changed where the cluster is not as the
    recommendation says it was.

    For example:

        sextant recommendations apply ID
        sextant recommendations approve ID --reason "agreed with the team"
        sextant recommendations apply ID --execute

    Exit codes: 0 done, or under way; 1 not, or not started within a minute, the
    reason is printed; 2 wrong usage, key or URL.
    """

    async def work(api: Api) -> int:
        body = {"dry_run": not execute}
        applied = await _with_recommendation(
            api, rec_id, lambda found_id: api.send("POST", f"{_place(found_id)}/apply", Applied, body)
        )
        if not json:
            for line in applied.changes:
                write_line(line, indent=2)
            way = "changing it" if execute else "a dry run, which changes nothing"
            write(f"remediation {applied.remediation.id}, {way}: followed for a minute at most")
        story = await followed(api, applied.remediation.id)
        if json:
            write_json(story)
        else:
            write_end(story)
        return 1 if has_failed(story) else 0

    return with_api(server, work)


def _write_decided(found: Recommendation, changes: Sequence[str], *, as_json: bool) -> None:
    if as_json:
        write_json(found)
        return
    for line in changes:
        write_line(line, indent=2)
    write_line(f"{found.state.value}: {found.recommendation_type} in {found.cluster_id}")


async def _with_recommendation(api: Api, typed: str, act: Callable[[str], Awaitable[Done]]) -> Done:
    return await with_short_id(api, typed, act, path=PATH, kind=Recommendation, id_of=lambda one: one.rec_id)


def _place(rec_id: str) -> str:
    return f"{PATH}/{quote(rec_id, safe='')}"


def _write_detail(detail: RecommendationDetail) -> None:
    now, found, outcome = present(), detail.recommendation, detail.outcome
    decided = "-" if found.decided_by is None else f"{found.decided_by}, {moment_text(found.decided_at, now)}"
    saturation = outcome.saturation
    pairs = [
        ("recommendation", found.rec_id),
        ("type", f"{found.recommendation_type} in {found.cluster_id}"),
        ("drift", found.drift_id),
        ("state", found.state.value),
        ("decided", decided),
        ("reason", found.reason or "-"),
        ("applied", moment_text(found.applied_at, now)),
        ("predicted", _monthly(outcome.predicted_savings_usd)),
        ("realised", _monthly(outcome.realised_savings_usd)),
        ("cpu of request", _turn(saturation.cpu_before, saturation.cpu_after)),
        ("memory of request", _turn(saturation.memory_before, saturation.memory_after)),
        ("note", outcome.note),
    ]
    write_pairs(pairs)
    write("\nWhat it would change")
    for line in detail.changes:
        write_line(f"  {line}", indent=4)
    if found.remediation is not None:
        write(f"\nsextant remediations show {found.remediation} tells how it was applied")


def _monthly(savings_usd: float | None) -> str:
    if savings_usd is None:
        return "-"
    return f"{usd_text(abs(savings_usd))} a month {'saved' if savings_usd >= 0 else 'more'}"


def _turn(before: float | None, after: float | None) -> str:
    """How close the workload was to what it requests, and is now."""
    return "-" if before is None and after is None else f"{share_text(before)} → {share_text(after)}"


def _row(one: Recommendation, shown: str, drift: str, now: datetime) -> tuple[str, ...]:
    return (
        shown,
        one.recommendation_type,
        one.cluster_id,
        age_text(one.created_at, now),
        one.state.value,
        usd_text(one.estimated_savings_usd),
        drift,
    )
