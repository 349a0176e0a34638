"""`sextant dependencies`: who calls whom."""

import csv
import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

from cyclopts import App, Parameter

from adapters.driving.cli.api import EXITS, HERE, Api, Server, with_api
from adapters.driving.cli.database import Json
from adapters.driving.cli.display import clean
from adapters.driving.cli.output import write, write_json
from core.domain.dependencies import Dependency

HELP: Final = f"""Show and declare the service graph, by which incidents are joined and explained.

These commands ask a running server; they need a key with the scope alerts,
or query to read.

{EXITS}"""
PATH: Final = "/api/v1/dependencies"


def dependencies_app() -> App:
    """The commands under `sextant dependencies`."""
    app = App(name="dependencies", help=HELP)
    app.default(show)
    app.command(show)
    app.command(apply)
    return app


def show(*, server: Server = HERE, json: Json = False) -> int:
    """Show who calls whom, as the CSV that `apply` takes."""

    async def work(api: Api) -> None:
        found = await api.all(PATH, Dependency)
        if json:
            write_json(found)
            return
        for line in _csv(found).removesuffix("\n").split("\n"):
            write(clean(line) if sys.stdout.isatty() else line)

    return with_api(server, work)


def apply(
    file: Annotated[
        Path, Parameter(name="FILE", help="CSV of call edges; its first line is client,server.", negative="")
    ],
    /,
    *,
    server: Server = HERE,
    json: Json = False,
) -> int:
    """Declare the whole graph: what the file does not name is gone.

    For example:

        sextant dependencies apply calls.csv
    """

    async def work(api: Api) -> None:
        from adapters.driving.cli.explain_input import read_dependencies

        edges = sorted({Dependency(client, called) for client, called in read_dependencies(file).values()})
        found = (await api.send("PUT", PATH, dict[str, list[Dependency]], {"data": edges}))["data"]
        if json:
            write_json(found)
        else:
            services = {name for one in found for name in (one.client, one.server)}
            write(f"{len(found)} calls between {len(services)} services")

    return with_api(server, work)


def _csv(dependencies: Sequence[Dependency]) -> str:
    """With a line of columns; names that hold a comma, a quote or a line's end are quoted."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(Dependency.__struct_fields__)
    rows.writerows((one.client, one.server) for one in dependencies)
    return text.getvalue()
