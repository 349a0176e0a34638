"""`sextant telemetry`: how clusters, workloads and pods are doing."""

from typing import TYPE_CHECKING, Annotated, Final
from urllib.parse import quote

import msgspec
from cyclopts import App, Parameter
from cyclopts.validators import Number

from adapters.driving.cli.api import EXITS, HERE, Api, Server, UsageError, with_api
from adapters.driving.cli.database import Json
from adapters.driving.cli.display import clean, write_line, write_rows
from adapters.driving.cli.output import date_text, write, write_json

if TYPE_CHECKING:
    from ports.driving.clusters import GoldenSignals

HELP: Final = f"""Show the golden signals of clusters: latency, throughput, errors, saturation.

These commands ask a running server; they need a key with the scope query or
alerts.

{EXITS}"""
PATH: Final = "/api/v1/telemetry"
MILLISECONDS_BELOW_S: Final = 10.0
"""Latencies in one cell share a unit."""

Cluster = Annotated[str, Parameter(name="CLUSTER", help="A cluster, from `sextant telemetry clusters`.", negative="")]
Hours = Annotated[float, Parameter(help="Over so many hours.", validator=Number(gt=0, lte=840))]


class Clusters(msgspec.Struct, frozen=True):
    """As the API lists them."""

    data: list[str]


def telemetry_app() -> App:
    """The commands under `sextant telemetry`."""
    app = App(name="telemetry", help=HELP)
    app.command(clusters)
    app.command(golden)
    app.command(show)
    return app


def clusters(*, server: Server = HERE, json: Json = False) -> int:
    """List the clusters that anything is known of."""

    async def work(api: Api) -> None:
        found = (await api.get(f"{PATH}/clusters", Clusters)).data
        if json:
            write_json(found)
        elif not found:
            write("no clusters; `sextant collect synthetic` makes one up, `sextant collect eks` brings a real one")
        else:
            for name in found:
                write(clean(name))

    return with_api(server, work)


def golden(
    cluster: Cluster,
    /,
    *,
    namespace: Annotated[str | None, Parameter(help="Only this namespace.")] = None,
    hours: Hours = 1,
    server: Server = HERE,
    json: Json = False,
) -> int:
    """Show the golden signals of a cluster's workloads, those with the most
    errors first.

    For example:

        sextant telemetry golden demo
    """

    async def work(api: Api) -> None:
        from ports.driving.clusters import GoldenSignalsReply  # numpy comes with it

        about = [("hours", f"{hours:g}"), *([("namespace", namespace)] if namespace is not None else [])]
        found = await api.get(f"{PATH}/golden-signals/{quote(cluster, safe='')}", GoldenSignalsReply, about)
        if json:
            write_json(found)
            return
        if not found.workloads:
            write_line(f"no telemetry of {clean(cluster)} in the last {hours:g} h; --hours looks further back")
            return
        columns = ("workload", "pods", "p50/p95/p99", "req/s", "errors", "cpu", "memory")
        write_rows(columns, [_golden_row(one) for one in found.workloads], wide=("workload",))
        write("in brackets: of what the pods request")

    return with_api(server, work)


def show(
    cluster: Cluster,
    /,
    *,
    namespace: Annotated[str | None, Parameter(help="A namespace of it.")] = None,
    workload: Annotated[str | None, Parameter(help="A workload in the namespace.")] = None,
    pod: Annotated[str | None, Parameter(help="A pod in the namespace.")] = None,
    hours: Hours = 24,
    server: Server = HERE,
    json: Json = False,
) -> int:
    """Show the standard metrics of a cluster, or of a part of it; --json has all
    points.

    For example:

        sextant telemetry show demo --namespace shop --workload checkout
    """

    async def work(api: Api) -> None:
        from ports.driving.clusters import TelemetryReply

        path = _scope_path(cluster, namespace, workload, pod)
        found = await api.get(f"{PATH}/metrics/{path}", TelemetryReply, [("hours", f"{hours:g}")])
        if json:
            write_json(found)
            return
        if not found.metrics:
            write_line(f"no telemetry of it in the last {hours:g} h; --hours looks further back")
            return
        span = f"{date_text(found.start)} to {date_text(found.end)}, in buckets of {found.bucket}"
        write_line(f"{len(found.pods):,} pod{'' if len(found.pods) == 1 else 's'}, {span}")
        rows = [
            (
                signal,
                str(series.pods),
                *(
                    value_text(value, series.unit)
                    for value in (series.latest, series.avg, series.min, series.max, series.p95)
                ),
            )
            for signal, series in found.metrics.items()
        ]
        write_rows(("signal", "pods", "latest", "avg", "min", "max", "p95"), rows, wide=("signal",))

    return with_api(server, work)


def _scope_path(cluster: str, namespace: str | None, workload: str | None, pod: str | None) -> str:
    if workload is not None and pod is not None:
        raise UsageError("give --workload or --pod, not both")
    if (workload or pod) and namespace is None:
        raise UsageError("--workload and --pod need --namespace")
    parts: tuple[str | None, ...]
    if pod is not None:
        parts = ("pod", cluster, namespace, pod)
    elif workload is not None:
        parts = ("workload", cluster, namespace, workload)
    elif namespace is not None:
        parts = ("namespace", cluster, namespace, None)
    else:
        parts = ("cluster", cluster, None, None)
    return "/".join(quote(part, safe="") for part in parts if part is not None)


def _golden_row(one: "GoldenSignals") -> tuple[str, ...]:
    return (
        f"{one.namespace}/{one.workload}",
        str(one.pods),
        _latencies(one.latency_p50_seconds, one.latency_p95_seconds, one.latency_p99_seconds),
        short_text(one.throughput_per_second),
        share_text(one.error_ratio),
        _of_request(short_text(one.cpu_cores), one.cpu_saturation),
        _of_request(size_text(one.memory_bytes), one.memory_saturation),
    )


def _of_request(used: str, share: float | None) -> str:
    return used if share is None else f"{used} ({share:.0%})"


def _latencies(*seconds: float | None) -> str:
    """``210/522/836 ms``."""
    known = [one for one in seconds if one is not None]
    if not known:
        return "-"
    unit, factor = ("s", 1.0) if max(known) >= MILLISECONDS_BELOW_S else ("ms", 1e3)
    texts = ["-" if one is None else f"{one * factor:.{0 if one * factor >= 10 else 1}f}" for one in seconds]
    return f"{'/'.join(texts)} {unit}"


def value_text(value: float, unit: str) -> str:
    """A value of a standard metric with its unit, short; counts of things go without."""
    match unit:
        case "seconds":
            return f"{short_text(value * 1e3)} ms" if value < 1 else f"{short_text(value)} s"
        case "bytes":
            return size_text(value)
        case "bytes/second":
            return f"{size_text(value)}/s"
        case "requests/second":
            return f"{short_text(value)}/s"
        case "ratio":
            return share_text(value)
        case _:
            return short_text(value)


def short_text(number: float | None) -> str:
    """A number to three digits, and all those before the point."""
    if number is None:
        return "-"
    return f"{number:,.0f}" if abs(number) >= 100 else f"{number:.3g}"


def share_text(share: float | None) -> str:
    """A ratio in percent."""
    return "-" if share is None else f"{short_text(share * 100)} %"


def size_text(size_bytes: float | None) -> str:
    """Bytes in the largest unit that leaves a number above 1."""
    if size_bytes is None:
        return "-"
    size = float(size_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(size) < 1024:
            return f"{short_text(size)} {unit}"
        size /= 1024
    return f"{short_text(size)} TiB"
