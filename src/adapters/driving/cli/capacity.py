"""`sextant capacity`: what clusters have, when it runs out, and what workloads should ask for."""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import quote

import msgspec
from cyclopts import App, Parameter
from cyclopts.validators import Number

from adapters.driving.cli.api import EXITS, HERE, Api, Server, with_api
from adapters.driving.cli.database import Json
from adapters.driving.cli.display import clean, moment_text, present, write_line, write_pairs, write_rows
from adapters.driving.cli.output import write, write_json
from adapters.driving.cli.telemetry import Cluster, share_text, short_text, size_text
from core.domain.capacity import NodeType, Resources

if TYPE_CHECKING:
    from ports.driving.clusters import Headroom, RightSizing

HELP: Final = f"""Show what clusters have, when it runs out, and what their workloads should ask
for.

These commands ask a running server; they need a key with the scope query or
alerts, `plan` with a file alerts.

{EXITS}"""
PATH: Final = "/api/v1/capacity"
Days = Annotated[float, Parameter(help="By the last so many days.", validator=Number(gt=0, lte=365))]


class SnapshotLine(msgspec.Struct, frozen=True, kw_only=True):
    """A snapshot as the API shows it."""

    cluster_id: str
    ts: datetime
    nodes: list[NodeType]
    node_count: int
    allocatable: Resources
    used: Resources
    requested: Resources | None
    utilisation: dict[str, float | None]
    cost_usd_per_hour: float | None
    source: str
    synthetic: bool


def capacity_app() -> App:
    """The commands under `sextant capacity`."""
    app = App(name="capacity", help=HELP)
    app.command(latest)
    app.command(forecast)
    app.command(headroom)
    app.command(right_sizing)
    app.command(plan)
    return app


def latest(cluster: Cluster, /, *, server: Server = HERE, json: Json = False) -> int:
    """Show a cluster's newest capacity snapshot."""

    async def work(api: Api) -> None:
        found = await api.get(_place("snapshots/latest", cluster), SnapshotLine)
        if json:
            write_json(found)
            return
        types = ", ".join(f"{node.count} × {node.instance_type}" for node in found.nodes)
        cost = "-" if found.cost_usd_per_hour is None else f"${found.cost_usd_per_hour:.4g} an hour"
        taken = moment_text(found.ts, present())
        write_pairs([("cluster", found.cluster_id), ("taken", taken), ("nodes", types or "-"), ("cost", cost)])
        rows = [
            (
                resource,
                _amount(resource, found.allocatable.of(resource)),
                _amount(resource, found.used.of(resource)),
                "-" if found.requested is None else _amount(resource, found.requested.of(resource)),
                share_text(found.utilisation[resource]),
            )
            for resource in found.utilisation
        ]
        write("")
        write_rows(("resource", "allocatable", "used", "requested", "utilisation"), rows, wide=())

    return with_api(server, work)


def forecast(
    cluster: Cluster,
    /,
    *,
    days: Days = 30,
    horizon_days: Annotated[float, Parameter(help="Look so far ahead.", validator=Number(gt=0, lte=3_650))] = 90,
    server: Server = HERE,
    json: Json = False,
) -> int:
    """Say when a cluster runs out of cpu, memory and pods, by its snapshots: of
    what is used, and of what pods request, by which they are scheduled.

    For example:

        sextant capacity forecast demo
    """

    async def work(api: Api) -> None:
        from ports.driving.clusters import CapacityForecast  # numpy comes with it

        about = [("days", f"{days:g}"), ("horizon_days", f"{horizon_days:g}")]
        found = await api.get(_place("forecast", cluster), CapacityForecast, about)
        if json:
            write_json(found)
            return
        for one in (*found.resources, *found.requested):
            write_line(one.words, indent=2)
        seen = _counted(found.snapshots, "snapshot")
        write(f"by {seen}; bands of {found.confidence:.0%}, as long as use goes on as it did")

    return with_api(server, work)


def headroom(cluster: Cluster, /, *, days: Days = 7, server: Server = HERE, json: Json = False) -> int:
    """Show what is left in a cluster beyond what it uses at most times."""

    async def work(api: Api) -> None:
        from ports.driving.clusters import HeadroomReply

        found = await api.get(_place("headroom", cluster), HeadroomReply, [("days", f"{days:g}")])
        if json:
            write_json(found)
            return
        columns = ("resource", "allocatable", "used p95", "requested", "free", "share", "pods fit")
        write_rows(columns, [_headroom_row(one) for one in found.resources], wide=())
        write(f"{_counted(found.nodes_spare, 'node')} could go")

    return with_api(server, work)


def right_sizing(cluster: Cluster, /, *, days: Days = 7, server: Server = HERE, json: Json = False) -> int:
    """Show what each workload asks for, uses and should ask for; the largest
    saving first."""

    async def work(api: Api) -> None:
        from ports.driving.clusters import RightSizingReply

        found = await api.get(_place("right-sizing", cluster), RightSizingReply, [("days", f"{days:g}")])
        if json:
            write_json(found)
            return
        columns = ("workload", "verdict", "cpu", "p95", "memory", "p99", "saves")
        write_rows(columns, [_sizing_row(one) for one in found.workloads], wide=("workload",))
        write_line("cpu, memory: what a pod requests → should, by what it uses; saves: all pods, a month")

    return with_api(server, work)


def plan(
    cluster: Cluster,
    file: Annotated[
        Path | None,
        Parameter(
            name="FILE", help="YAML or JSON to declare; - is standard input.", allow_leading_hyphen=True, negative=""
        ),
    ] = None,
    /,
    *,
    remove: Annotated[bool, Parameter(help="Remove the plan.", negative="")] = False,
    server: Server = HERE,
    json: Json = False,
) -> int:
    """Show how full a cluster is meant to be, as YAML, or declare it by a file.
    What goes beyond it is found as drift.

    For example:

        echo 'utilisation_max: {cpu: 0.7}' | sextant capacity plan demo -
        sextant capacity plan demo
    """

    async def work(api: Api) -> None:
        from adapters.driving.cli.yaml_source import dump_yaml, read_yaml

        place = _place("plan", cluster)
        if remove:
            await api.delete(place)
            write(f"{clean(cluster)} has no plan any more")
            return
        if file is None:
            found = await api.get(place, dict[str, Any])
        else:
            found = await api.send("PUT", place, dict[str, Any], read_yaml(file).value)
        if json:
            write_json(found)
        else:
            write(dump_yaml(found).rstrip())

    return with_api(server, work)


def _place(what: str, cluster: str) -> str:
    return f"{PATH}/{what}/{quote(cluster, safe='')}"


def _amount(resource: str, amount: float | None) -> str:
    return size_text(amount) if resource == "memory" else short_text(amount)


def _headroom_row(one: "Headroom") -> tuple[str, ...]:
    return (
        one.resource,
        _amount(one.resource, one.allocatable),
        _amount(one.resource, one.used_p95),
        _amount(one.resource, one.requested),
        _amount(one.resource, one.free),
        share_text(one.free_share),
        "-" if one.pods_fit is None else str(one.pods_fit),
    )


def _sizing_row(one: "RightSizing") -> tuple[str, ...]:
    return (
        f"{one.namespace}/{one.workload}",
        one.verdict,
        _change(short_text(one.cpu_request_cores), short_text(one.cpu_proposed_cores)),
        short_text(one.cpu_p95_cores),
        _change(size_text(one.memory_request_bytes), size_text(one.memory_proposed_bytes)),
        size_text(one.memory_p99_bytes),
        usd_text(one.savings_usd_per_month),
    )


def _change(before: str, after: str) -> str:
    return before if before == after else f"{before} → {after}"


def usd_text(amount: float | None) -> str:
    """``$1,234.50``."""
    return "-" if amount is None else f"{'-' if amount < 0 else ''}${abs(amount):,.2f}"


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"
