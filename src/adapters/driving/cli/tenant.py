"""`sextant tenant`: the tenants of a database."""

import asyncio
from typing import Annotated

from cyclopts import App, Parameter

from adapters.driving.cli.database import DataDir, Hidden, Json, migrated, with_data_dir
from adapters.driving.cli.output import date_text, write, write_json, write_table
from adapters.driving.cli.program import Program
from adapters.runtime.settings import Settings
from ports.driven.tenant_store import LimitOverrides

HELP = """Create and list tenants, on the database itself: no server needs to run, and no key.

Exit codes: 0 done; 1 not, the reason is printed; 2 wrong usage."""


def tenant_app() -> App:
    """The commands under `sextant tenant`."""
    app = App(name="tenant", help=HELP)
    app.command(create)
    app.command(list_, name="list")
    return app


def create(
    name: Annotated[str, Parameter(help="1 to 63 of a-z, 0-9, - and _.")],
    *,
    samples_per_s: Annotated[float | None, Parameter(help="Its own limit on samples a second.")] = None,
    samples_burst: Annotated[float | None, Parameter(help="Its own limit on samples at once.")] = None,
    series_max: Annotated[int | None, Parameter(help="Its own limit on active series.")] = None,
    data_dir: DataDir = None,
    json: Json = False,
    program: Annotated[Program, Hidden],
    settings: Annotated[Settings, Hidden],
) -> None:
    """Create a tenant.

    Limits that are not given are the server's (SEXTANT_INGEST_*,
    SEXTANT_QUERY_*). A new tenant has no keys: `sextant key create --tenant
    NAME` makes one.

    For example:

        sextant tenant create acme
        sextant tenant create acme --series-max 50000 --samples-per-s 20000
    """
    limits = LimitOverrides(samples_per_s=samples_per_s, samples_burst=samples_burst, series_max=series_max)

    async def run(settings: Settings) -> None:
        async with program.open_operator(settings) as operator:
            made = await operator.administration.create_tenant(operator.principal, name, limits)
        if json:
            write_json(made)
        else:
            write(f"created tenant {made.name} with id {made.id}")

    with migrated(with_data_dir(settings, data_dir), program) as settings:
        asyncio.run(run(settings))


def list_(
    *,
    data_dir: DataDir = None,
    json: Json = False,
    program: Annotated[Program, Hidden],
    settings: Annotated[Settings, Hidden],
) -> None:
    """List all tenants by name.

    For example:

        sextant tenant list
        sextant tenant list --json
    """

    async def run(settings: Settings) -> None:
        async with program.open_operator(settings) as operator:
            tenants = await operator.administration.tenants(operator.principal)
        if json:
            write_json(tenants)
        else:
            rows = [(str(tenant.id), tenant.name, date_text(tenant.created_at)) for tenant in tenants]
            write_table(("id", "name", "created"), rows)

    with migrated(with_data_dir(settings, data_dir), program) as settings:
        asyncio.run(run(settings))
