"""`sextant config`: how workloads' configuration changed, what it was, and what it is meant to be."""

import re
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import quote

import msgspec
from cyclopts import App, Parameter

from adapters.driving.cli.api import EXITS, HERE, Api, Limit, RefusedError, Server, with_api
from adapters.driving.cli.database import Json
from adapters.driving.cli.display import age_text, clean, moment_text, present, write_line, write_pairs, write_rows
from adapters.driving.cli.output import write, write_json
from adapters.driving.cli.short_ids import short_ids, with_short_id
from core.domain.configurations import ConfigChange, ConfigState, Difference

HELP: Final = f"""Show how workloads' configuration changed, what it was at any time, and declare
what it is meant to be.

These commands ask a running server; they need a key with the scope query or
alerts, `record` ingest, `declare` alerts.

{EXITS}"""
PATH: Final = "/api/v1/config"
LIMIT_DEFAULT: Final = 50
DIFFERENCES_SHOWN: Final = 3
"""In a line of the list; `show` has all."""
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\Z")
Kind = Literal["runtime", "policy", "image", "resource"]
File = Annotated[
    Path, Parameter(name="FILE", help="YAML or JSON; - is standard input.", allow_leading_hyphen=True, negative="")
]


class Changes(msgspec.Struct, frozen=True):
    """As the API answers what was recorded."""

    data: list[ConfigChange]


def config_app() -> App:
    """The commands under `sextant config`."""
    app = App(name="config", help=HELP)
    app.command(history)
    app.command(show)
    app.command(at)
    app.command(record)
    app.command(declare)
    app.command(baselines)
    return app


def history(
    *,
    cluster: Annotated[str | None, Parameter(help="Only in this cluster.")] = None,
    namespace: Annotated[str | None, Parameter(help="Only in this namespace.")] = None,
    workload: Annotated[str | None, Parameter(help="Only of this workload.")] = None,
    kind: Annotated[Kind | None, Parameter(help="Only of this kind.")] = None,
    limit: Limit = LIMIT_DEFAULT,
    server: Server = HERE,
    json: Json = False,
) -> int:
    """List changes of configuration, newest first.

    For example:

        sextant config history --cluster demo --workload checkout
    """

    async def work(api: Api) -> None:
        given = {"cluster_id": cluster, "namespace": namespace, "workload": workload, "kind": kind}
        about = [(field, text) for field, text in given.items() if text is not None]
        found, more = await api.first(f"{PATH}/history", ConfigChange, about, limit=limit)
        if json:
            write_json(found)
        elif not found:
            write("no changes; collecting from Kubernetes records them, and so does `sextant config record`")
        else:
            now = present()
            columns = ("id", "when", "cluster", "workload", "kind", "change", "by")
            ids = short_ids([str(one.id) for one in found], by_end=False)
            rows = [_row(one, shown, now) for one, shown in zip(found, ids, strict=True)]
            write_rows(columns, rows, wide=("change", "by"))
            if more:
                write("there are more; --limit shows them")

    return with_api(server, work)


def show(
    change: Annotated[
        str,
        Parameter(
            name="ID", help="From `sextant config history`; a part of it, as shown there, is enough.", negative=""
        ),
    ],
    /,
    *,
    server: Server = HERE,
    json: Json = False,
) -> int:
    """Show one change, with every difference."""

    async def work(api: Api) -> None:
        async def get(change_id: str) -> ConfigChange:
            if not _UUID.match(change_id):  # no path holds anything else
                raise RefusedError(f"no change named {change!r}", status=404)
            return await api.get(f"{PATH}/history/{quote(change_id, safe='')}", ConfigChange)

        found = await with_short_id(
            api, change, get, path=f"{PATH}/history", kind=ConfigChange, id_of=lambda one: str(one.id)
        )
        if json:
            write_json(found)
            return
        write_pairs(
            [
                ("when", moment_text(found.ts, present())),
                ("workload", f"{found.namespace}/{found.workload} in {found.cluster_id}"),
                ("kind", found.kind.value),
                ("by", _author(found)),
            ]
        )
        write("")
        for difference in found.diff:
            write_line(difference_text(difference), indent=2)

    return with_api(server, work)


def at(
    cluster: Annotated[str, Parameter(name="CLUSTER", negative="")],
    workload: Annotated[str, Parameter(name="WORKLOAD", negative="")],
    /,
    *,
    namespace: Annotated[str | None, Parameter(help="Where several have a workload of that name.")] = None,
    ts: Annotated[str | None, Parameter(help="The instant, RFC 3339 with a zone. Default: now.")] = None,
    server: Server = HERE,
    json: Json = False,
) -> int:
    """Show a workload's configuration as it was at an instant.

    For example:

        sextant config at demo checkout --ts 2026-11-22T08:00:00Z
    """

    async def work(api: Api) -> None:
        given = {"namespace": namespace, "ts": ts}
        about = [(field, text) for field, text in given.items() if text is not None]
        place = f"{PATH}/at/{quote(cluster, safe='')}/{quote(workload, safe='')}"
        found = await api.get(place, ConfigState, about)
        if json:
            write_json(found)
            return
        now = present()
        for kind, entry in found.configuration.items():
            write_line(f"# {kind}, since {moment_text(entry.since, now)}")
            _write_yaml({kind: entry.document})

    return with_api(server, work)


def record(file: File, /, *, server: Server = HERE, json: Json = False) -> int:
    """Record a change, or a list of changes, as a file says.

    For example:

        sextant config record - <<'END'
        {cluster_id: prod, namespace: shop, workload: checkout, kind: image,
         before: {app: "shop:1.4"}, after: {app: "shop:1.5"}, actor: anna}
        END
    """

    async def work(api: Api) -> None:
        from adapters.driving.cli.yaml_source import read_yaml

        found = (await api.send("POST", f"{PATH}/history", Changes, read_yaml(file).value)).data
        if json:
            write_json(found)
        else:
            for one in found:
                write_line(f"recorded {one.kind.value} of {one.namespace}/{one.workload}: {_summary(one)}")

    return with_api(server, work)


def declare(file: File, /, *, server: Server = HERE, json: Json = False) -> int:
    """Declare what a part of a workload's configuration is meant to be; where it
    differs, that is drift.

    For example:

        sextant config declare - <<'END'
        {cluster_id: prod, namespace: shop, workload: checkout, kind: image,
         document: {app: "shop:1.4"}}
        END
    """

    async def work(api: Api) -> None:
        from adapters.driving.cli.yaml_source import read_yaml

        found = await api.send("PUT", f"{PATH}/baselines", dict[str, Any], read_yaml(file).value)
        if json:
            write_json(found)
        else:
            write_line(f"declared {found['kind']} of {found['namespace']}/{found['workload']}")

    return with_api(server, work)


def baselines(*, server: Server = HERE, json: Json = False) -> int:
    """Show what was declared, as YAML."""

    async def work(api: Api) -> None:
        found = await api.all(f"{PATH}/baselines", dict[str, Any])
        if json:
            write_json(found)
        elif not found:
            write("nothing is declared; `sextant config declare FILE` does")
        else:
            _write_yaml(found)

    return with_api(server, work)


def _write_yaml(document: object) -> None:
    """Prints documents, of which YAML itself leaves direction marks as they are."""
    from adapters.driving.cli.yaml_source import dump_yaml

    for line in dump_yaml(document).splitlines():
        write(clean(line))


def difference_text(difference: Difference) -> str:
    """``/containers/app: "shop:1.4" → "shop:1.5"``."""
    before, after = (_json(value) for value in (difference.before, difference.after))
    match difference.op:
        case "add":
            return f"{difference.path}: + {after}"
        case "remove":
            return f"{difference.path}: - {before}"
        case _:
            return f"{difference.path}: {before} → {after}"


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _summary(one: ConfigChange) -> str:
    if one.before is None:
        return "first seen"
    shown = "; ".join(difference_text(difference) for difference in one.diff[:DIFFERENCES_SHOWN])
    more = len(one.diff) - DIFFERENCES_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


def _author(one: ConfigChange) -> str:
    return f"{one.actor} ({one.source})" if one.actor is not None else one.source


def _row(one: ConfigChange, shown: str, now: datetime) -> tuple[str, ...]:
    where = f"{one.namespace}/{one.workload}"
    return (shown, age_text(one.ts, now), one.cluster_id, where, one.kind.value, _summary(one), _author(one))
