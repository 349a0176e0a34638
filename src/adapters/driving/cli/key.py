"""`sextant key`: the API keys of a database's tenants."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

from cyclopts import App, Parameter

from adapters.driving.cli.database import DataDir, Hidden, Json, migrated, with_data_dir
from adapters.driving.cli.output import date_text, write, write_error, write_json, write_table
from adapters.driving.cli.program import Program
from adapters.runtime.settings import Settings
from core.domain.tenants import OPERATOR_TENANT, ApiKey, Scope
from core.domain.times import parse_duration

HELP = """Create, list and revoke API keys, on the database itself: no server needs to run, and no key.

Exit codes: 0 done; 1 not, the reason is printed; 2 wrong usage."""

TenantName = Annotated[str, Parameter(help="The tenant's name or id.")]


def key_app() -> App:
    """The commands under `sextant key`."""
    app = App(name="key", help=HELP)
    app.command(create)
    app.command(list_, name="list")
    app.command(revoke)
    return app


def create(
    *,
    tenant: TenantName = OPERATOR_TENANT,
    scope: Annotated[
        tuple[Literal["ingest", "query", "alerts", "remediate", "admin"], ...],
        Parameter(help="What the key may do; repeat for several. Default: ingest and query.", negative=""),
    ] = ("ingest", "query"),
    name: Annotated[str | None, Parameter(help="What to call it in lists.")] = None,
    expires_in: Annotated[
        str | None, Parameter(help="How long it is valid, such as 30d. Default: until revoked.")
    ] = None,
    data_dir: DataDir = None,
    json: Json = False,
    program: Annotated[Program, Hidden],
    settings: Annotated[Settings, Hidden],
) -> None:
    """Create an API key and print it.

    It is kept as a hash only, so this is the one time it is shown.

    An admin key of the tenant `default` administers the whole server, admin
    keys of other tenants their own tenant.

    For example:

        sextant key create --tenant acme --scope ingest --name web-agents
        KEY=$(sextant key create --tenant acme --scope query --expires-in 90d)
    """
    lifetime = None if expires_in is None else timedelta(microseconds=parse_duration(expires_in, "--expires-in"))

    async def run(settings: Settings) -> None:
        async with program.open_operator(settings) as operator:
            created = await operator.administration.create_key(
                operator.principal,
                tenant,
                name=name,
                scopes=frozenset(Scope(text) for text in scope),
                expires_at=None if lifetime is None else datetime.now(UTC) + lifetime,
            )
        if json:
            write_json({"id": created.key.id, "tenant": created.key.tenant, "key": created.secret})
        else:
            write(created.secret)
            write_error(f"this is key {created.key.id} of tenant {created.key.tenant}; it is shown only now")

    with migrated(with_data_dir(settings, data_dir), program) as settings:
        asyncio.run(run(settings))


def list_(
    *,
    tenant: TenantName = OPERATOR_TENANT,
    data_dir: DataDir = None,
    json: Json = False,
    program: Annotated[Program, Hidden],
    settings: Annotated[Settings, Hidden],
) -> None:
    """List a tenant's keys, those that ended too, by their first letters.

    For example:

        sextant key list --tenant acme
    """

    async def run(settings: Settings) -> None:
        async with program.open_operator(settings) as operator:
            keys = await operator.administration.keys(operator.principal, tenant)
        if json:
            write_json(keys)
        else:
            columns = ("id", "tenant", "name", "begins with", "scopes", "created", "state")
            write_table(columns, [_row(key) for key in keys])

    with migrated(with_data_dir(settings, data_dir), program) as settings:
        asyncio.run(run(settings))


def revoke(
    key_id: Annotated[int, Parameter(name="ID", help="The key's id, from `sextant key list`.")],
    *,
    data_dir: DataDir = None,
    json: Json = False,
    program: Annotated[Program, Hidden],
    settings: Annotated[Settings, Hidden],
) -> None:
    """Revoke a key. Running servers refuse it within seconds; repeating this
    changes nothing.

    For example:

        sextant key revoke 7
    """

    async def run(settings: Settings) -> None:
        async with program.open_operator(settings) as operator:
            await operator.administration.revoke_key(operator.principal, key_id)
        if json:
            write_json({"id": key_id, "revoked": True})
        else:
            write(f"revoked key {key_id}")

    with migrated(with_data_dir(settings, data_dir), program) as settings:
        asyncio.run(run(settings))


def _row(key: ApiKey) -> tuple[str, ...]:
    scopes = " ".join(sorted(scope.value for scope in key.scopes))
    return (
        str(key.id),
        key.tenant,
        key.name or "",
        key.prefix,
        scopes,
        date_text(key.created_at),
        _state(key),
    )


def _state(key: ApiKey) -> str:
    if key.revoked_at is not None:
        return f"revoked {date_text(key.revoked_at)}"
    if key.expires_at is None:
        return "valid"
    ended = key.expires_at <= datetime.now(UTC)
    return f"{'expired' if ended else 'valid until'} {date_text(key.expires_at)}"
