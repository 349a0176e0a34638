"""`sextant serve`: the whole server in one command.

The parent process owns everything and does no work of its own: it runs the embedded PostgreSQL and Temporal
(where no others are named), the keeper, alerts, detection, collection, remediation and the HTTP workers, replaces those
that die, and stops them in reverse order. The kernel ends its children if it is killed.
"""

import asyncio
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated, Final

import msgspec
from cyclopts import Parameter, validators

from adapters.driving.cli.background import alert_in_child, keep_in_child, shared_work, work_in_child
from adapters.driving.cli.database import Hidden, with_data_dir, with_database
from adapters.driving.cli.output import CommandError, write
from adapters.driving.cli.program import Migrated, Program
from adapters.driving.cli.temporal import temporal_for_server
from adapters.runtime.settings import Settings

ADMIN_KEY: Final = "admin.key"
"""The file in the data directory that the first key is kept in."""
METRICS_DIR_VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"
"""Where prometheus-client lets several processes add up their counters."""


def serve(
    *,
    host: Annotated[
        str | None, Parameter(help="The address to listen on; 0.0.0.0 for all. Default: 127.0.0.1.")
    ] = None,
    port: Annotated[
        int | None,
        Parameter(validator=validators.Number(gte=1, lte=65_535), help="The port to listen on. Default: 8000."),
    ] = None,
    data_dir: Annotated[
        Path | None,
        Parameter(
            help="Where the embedded PostgreSQL and Temporal, admin.key and secrets.key are kept. "
            "Default: $XDG_DATA_HOME/sextant, or ~/.local/share/sextant."
        ),
    ] = None,
    workers: Annotated[
        int | None,
        Parameter(validator=validators.Number(gte=1, lte=64), help="Server processes. Default: 1."),
    ] = None,
    program: Annotated[Program, Hidden],
    settings: Annotated[Settings, Hidden],
) -> None:
    """Run the server: HTTP API, background keeper, alerts, detection, collection,
    remediation and, unless others are named, PostgreSQL and Temporal.

    Without SEXTANT_DATABASE_URL an embedded PostgreSQL runs in the data
    directory, without SEXTANT_TEMPORAL_ADDRESS a Temporal development server;
    where that cannot run, alerts fire and remediation waits. The schema is
    brought up to date first. The first start makes the tenant `default` and an
    admin key, prints the key once and keeps it in admin.key in the data
    directory; SEXTANT_BOOTSTRAP_API_KEY or SEXTANT_BOOTSTRAP_API_KEY_FILE names
    one instead, and then nothing is printed or written.

    SIGTERM and Ctrl-C let requests in progress finish, then stop everything.
    Options go before the environment's SEXTANT_SERVER_*; `sextant settings`
    lists all settings.

    For example:

        sextant serve
        sextant serve --port 9000 --data-dir /srv/sextant
        SEXTANT_DATABASE_URL=postgresql://me:secret@db/metrics \\
            sextant serve --host 0.0.0.0 --workers 4

    Exit codes: 0 stopped by a signal; 1 could not start or keep running, the
    reason is the last line; 2 wrong usage.
    """
    from adapters.driving.cli.workers import listen_address, serve_http
    from adapters.runtime.logging import configure_logging
    from adapters.runtime.supervision import supervised_processes

    given = {"host": host, "port": port, "workers": workers}
    server = msgspec.structs.replace(
        settings.server, **{name: value for name, value in given.items() if value is not None}
    )
    settings = with_data_dir(msgspec.structs.replace(settings, server=server), data_dir)
    configure_logging(settings.log)
    listen_address(settings.server)
    with ExitStack() as opened:
        opened.enter_context(_stopping_at_signals())
        settings = with_database(settings, opened.enter_context(_database(settings)))
        migrated = program.migrate(settings)
        key = _first_key(program, settings)
        settings, remediation = opened.enter_context(temporal_for_server(settings))
        opened.enter_context(_metrics_directory())
        children = {"keeper": keep_in_child, "alerts": alert_in_child, **shared_work(settings)}
        if settings.worker.enabled and settings.temporal.address is not None:
            children["worker"] = work_in_child
        opened.enter_context(supervised_processes(children, program, settings))
        block = startup_block(settings, migrated, key, remediation)
        serve_http(program, settings, on_ready=lambda: write(block))


def startup_block(settings: Settings, migrated: Migrated, key: str | None, remediation: str) -> str:
    """What the server runs on, and the first key where one was made, for a person to read."""
    server = settings.server
    name = f"[{server.host}]" if ":" in server.host else server.host
    url = f"http://{name}:{server.port}"
    facts = [
        ("Listening on", url),
        ("Documentation", f"{url}/docs"),
        ("Engine", _engine(migrated)),
        ("TimescaleDB", _timescale(migrated)),
        ("Remediation", remediation),
        ("Data directory", str(server.data_dir)),
        ("Workers", str(server.workers)),
    ]
    if key is not None:
        facts.append(("Admin key", f"{key}   (shown once; kept in {server.data_dir / ADMIN_KEY})"))
    from adapters.runtime.version import __version__

    width = max(len(label) for label, _ in facts)
    return "\n".join([f"Sextant {__version__}", *(f"  {label.ljust(width)}  {text}" for label, text in facts)])


def _engine(migrated: Migrated) -> str:
    server = f"PostgreSQL {migrated.server_version}"
    if migrated.engine == "timescaledb":
        server = f"TimescaleDB {migrated.extension_version} on {server}"
    return f"{server}, schema {migrated.schema_version}"


def _timescale(migrated: Migrated) -> str:
    if migrated.engine == "timescaledb":
        return "full licence: samples are compressed, aggregates are stored"
    return f"not used, so no compression and no stored aggregates: {migrated.engine_reason}"


@contextmanager
def _database(settings: Settings) -> Iterator[str]:
    from adapters.runtime.database_check import check_database
    from adapters.runtime.embedded_access import DIRECTORY
    from adapters.runtime.supervision import supervised_postgres

    if settings.database.url is not None:
        check_database(settings.database.url, connect_timeout_s=settings.database.connect_timeout_s)
        yield settings.database.url
        return
    with supervised_postgres(settings.server.data_dir / DIRECTORY) as url:
        yield url


def _first_key(program: Program, settings: Settings) -> str | None:
    """The random admin key if this is the first start, kept in its file."""
    if settings.bootstrap.api_key is not None:
        asyncio.run(program.ensure_operator_key(settings))
        return None
    path = settings.server.data_dir / ADMIN_KEY
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        key = asyncio.run(program.ensure_operator_key(settings))
        if key is not None:
            path.unlink(missing_ok=True)
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(key + "\n")
    except OSError as error:
        raise CommandError(
            f"cannot keep the admin key in {path}: {error.strerror}; name another --data-dir, "
            "or the key itself by SEXTANT_BOOTSTRAP_API_KEY"
        ) from error
    return key


@contextmanager
def _metrics_directory() -> Iterator[None]:
    """A private directory for the counters of all processes to come, named in their environment."""
    with tempfile.TemporaryDirectory(prefix="sextant-metrics-", ignore_cleanup_errors=True) as directory:
        os.environ[METRICS_DIR_VARIABLE] = directory
        try:
            yield
        finally:
            del os.environ[METRICS_DIR_VARIABLE]


@contextmanager
def _stopping_at_signals() -> Iterator[None]:
    """Makes SIGTERM and SIGINT leave the context with exit status 0, and do nothing while it is left."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        _ignore_signals()
        sys.exit(0)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        _ignore_signals()


def _ignore_signals() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
