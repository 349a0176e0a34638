"""`sextant instances`: the machines, nodes and hosts that metrics are about."""

from datetime import datetime
from typing import Annotated, Final, Literal

from cyclopts import App, Parameter

from adapters.driving.cli.api import EXITS, HERE, Api, Limit, Server, with_api
from adapters.driving.cli.database import Json
from adapters.driving.cli.display import age_text, labels_text, moment_text, present, write_pairs, write_rows
from adapters.driving.cli.output import write, write_json
from core.domain.collection import Instance

HELP: Final = f"""Show the machines, nodes and hosts that metric sources have met.

These commands ask a running server; they need a key with the scope query,
ingest or admin.

{EXITS}"""
PATH: Final = "/api/v1/instances"
LIMIT_DEFAULT: Final = 100
Provider = Literal["datadog", "cloudwatch", "newrelic", "hawkeye", "eks", "prometheus", "synthetic"]


def instances_app() -> App:
    """The commands under `sextant instances`."""
    app = App(name="instances", help=HELP)
    app.command(list_, name="list")
    app.command(show)
    return app


def list_(
    *,
    provider: Annotated[Provider | None, Parameter(help="Only those of this source.")] = None,
    kind: Annotated[str | None, Parameter(help="Only of this kind: ec2, node, host …")] = None,
    region: Annotated[str | None, Parameter(help="Only in this region.")] = None,
    tag: Annotated[str | None, Parameter(help="Only with this tag, as key:value.")] = None,
    limit: Limit = LIMIT_DEFAULT,
    server: Server = HERE,
    json: Json = False,
) -> int:
    """List instances; `show` and --json have their tags.

    For example:

        sextant instances list --provider cloudwatch --tag team:checkout
    """

    async def work(api: Api) -> None:
        given = {"provider": provider, "kind": kind, "region": region, "tag": tag}
        about = [(field, text) for field, text in given.items() if text is not None]
        found, more = await api.first(PATH, Instance, about, limit=limit)
        if json:
            write_json(found)
        elif not found:
            write("no instances; `sextant collect synthetic` makes some up, other sources bring real ones")
        else:
            now = present()
            columns = ("id", "provider", "kind", "external id", "name", "region", "last seen")
            write_rows(columns, [_row(one, now) for one in found], wide=("name",))
            if more:
                write("there are more; --limit shows them")

    return with_api(server, work)


def show(
    instance: Annotated[int, Parameter(name="ID", help="From `sextant instances list`.", negative="")],
    /,
    *,
    server: Server = HERE,
    json: Json = False,
) -> int:
    """Show one instance."""

    async def work(api: Api) -> None:
        found = await api.get(f"{PATH}/{instance}", Instance)
        if json:
            write_json(found)
            return
        now = present()
        write_pairs(
            [
                ("external id", found.external_id),
                ("provider", found.provider.value),
                ("kind", found.kind),
                ("name", found.name or "-"),
                ("region", found.region or "-"),
                ("tags", labels_text(found.tags)),
                ("first seen", moment_text(found.first_seen_at, now)),
                ("last seen", moment_text(found.last_seen_at, now)),
            ]
        )

    return with_api(server, work)


def _row(one: Instance, now: datetime) -> tuple[str, ...]:
    return (
        str(one.id),
        one.provider.value,
        one.kind,
        one.external_id,
        one.name or "-",
        one.region or "-",
        age_text(one.last_seen_at, now),
    )
