"""The `sextant` command: joins the commands with the program behind them."""

import asyncio
import inspect
import os
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, cast

from cyclopts import App, CycloptsError

from adapters.driving.cli.agent import agent
from adapters.driving.cli.alerts import alerts_app
from adapters.driving.cli.anomalies import anomalies_app
from adapters.driving.cli.audit import audit_app
from adapters.driving.cli.capacity import capacity_app
from adapters.driving.cli.collect import collect
from adapters.driving.cli.config_history import config_app
from adapters.driving.cli.configuration import settings_in_force
from adapters.driving.cli.demo import demo
from adapters.driving.cli.dependencies import dependencies_app
from adapters.driving.cli.detect import detect
from adapters.driving.cli.detection import detection_app
from adapters.driving.cli.drift import drift_app
from adapters.driving.cli.events import events_app
from adapters.driving.cli.explain import explain
from adapters.driving.cli.incidents import incidents_app
from adapters.driving.cli.instances import instances_app
from adapters.driving.cli.keep import keep
from adapters.driving.cli.key import key_app
from adapters.driving.cli.migrate import migrate
from adapters.driving.cli.output import CommandError, write_error
from adapters.driving.cli.program import AsgiApp, Migrated, Operator, RemediationStatus
from adapters.driving.cli.purge import purge
from adapters.driving.cli.recommendations import recommendations_app
from adapters.driving.cli.remediations import remediations_app
from adapters.driving.cli.replay import replay
from adapters.driving.cli.rules import rules_app
from adapters.driving.cli.serve import serve
from adapters.driving.cli.simulate import simulate
from adapters.driving.cli.sources import sources_app
from adapters.driving.cli.status import status
from adapters.driving.cli.telemetry import telemetry_app
from adapters.driving.cli.tenant import tenant_app
from adapters.driving.cli.worker import worker
from adapters.runtime.settings import Settings, SettingsError, load_settings
from adapters.runtime.version import __version__
from core.domain.errors import SextantError

if TYPE_CHECKING:
    from ports.driven.keeping import StorageStatus

HELP: Final = """Sextant keeps metrics in PostgreSQL or TimescaleDB, collects them from where they are, answers queries
over them, alerts, repairs, and finds and explains what no rule sees.

`sextant serve` is all it takes to begin; every command has a `--help`. Settings come from the
environment, SEXTANT_*: `sextant settings` lists them.
"""
EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_INTERRUPTED: Final = 130
"""128 + SIGINT, as shells have it."""
TEMPORAL_TIMEOUT_S: Final = 6.0
"""How long a command waits for a Temporal that may be far away."""


class SextantProgram:
    """The `Program` that commands work with. Imports what it joins only when that is used, to start fast."""

    def schema_version(self) -> str:
        """The version of the schema that this program works with."""
        from adapters.bootstrap import schema_version

        return schema_version()

    def migrate(self, settings: Settings) -> Migrated:
        """Brings the schema up to date."""
        import msgspec
        from sqlalchemy.exc import DBAPIError

        from adapters.bootstrap import run_migrations
        from adapters.driven.postgres.migration_files import MigrationError

        try:
            done = run_migrations(settings)
        except MigrationError as error:
            raise CommandError(str(error)) from error
        except DBAPIError as error:
            raise CommandError(
                f"cannot bring the schema up to date: {_database_reason(error.orig or error)}"
            ) from error
        return msgspec.convert(done, Migrated, from_attributes=True)

    @asynccontextmanager
    async def open_app(self, settings: Settings) -> AsyncIterator[AsgiApp]:
        """The HTTP application with everything behind it."""
        from adapters.bootstrap import open_services, open_storage
        from adapters.driving.http.app import build_app
        from adapters.runtime.telemetry import PrometheusTelemetry

        telemetry = PrometheusTelemetry()
        async with open_storage(settings, telemetry) as storage:
            services = open_services(settings, storage, telemetry)
            yield cast("AsgiApp", build_app(services, settings, telemetry, storage.clock))

    @asynccontextmanager
    async def open_operator(self, settings: Settings) -> AsyncIterator[Operator]:
        """The administration on the database itself."""
        from adapters.bootstrap import open_services, open_storage
        from adapters.runtime.telemetry import PrometheusTelemetry
        from core.domain.tenants import Principal, Scope
        from core.services.operator_key import ensure_operator_tenant

        telemetry = PrometheusTelemetry()
        async with open_storage(settings, telemetry) as storage:
            tenant = await ensure_operator_tenant(storage.tenants)
            principal = Principal(tenant_id=tenant.id, tenant=tenant.name, key_id=0, scopes=frozenset(Scope))
            yield Operator(open_services(settings, storage, telemetry).administration, principal)

    async def ensure_operator_key(self, settings: Settings) -> str | None:
        """Sees to it that the operator has a key."""
        from adapters.bootstrap import open_storage
        from adapters.runtime.telemetry import PrometheusTelemetry
        from core.services.operator_key import ensure_operator_key

        async with open_storage(settings, PrometheusTelemetry()) as storage:
            return await ensure_operator_key(
                storage.tenants, storage.keys, storage.clock, chosen=settings.bootstrap.api_key
            )

    async def status(self, settings: Settings) -> "StorageStatus":
        """What the store is and holds."""
        from adapters.bootstrap import open_storage
        from adapters.runtime.telemetry import PrometheusTelemetry

        async with open_storage(settings, PrometheusTelemetry()) as storage:
            return await storage.keeping.status()

    async def remediation(self, settings: Settings) -> RemediationStatus:
        """Whether remediation can begin."""
        from adapters.bootstrap import open_storage
        from adapters.driven.temporal.engine import workflow_engine
        from adapters.runtime.telemetry import PrometheusTelemetry

        async with open_storage(settings, PrometheusTelemetry()) as storage:
            waiting = await storage.remediations.waiting(None)
        engine = workflow_engine(settings.temporal, status_timeout_s=TEMPORAL_TIMEOUT_S)
        return RemediationStatus(engine=await engine.status(), waiting=waiting)

    async def keep(self, settings: Settings, stop: asyncio.Event) -> None:
        """Settles, compresses and deletes in the background until `stop`."""
        from adapters.background import run_keeper

        await run_keeper(settings, stop)

    async def alerts(self, settings: Settings, stop: asyncio.Event) -> None:
        """Evaluates rules and tells people until `stop`."""
        from adapters.background import run_alerts

        await run_alerts(settings, stop)

    async def detect(self, settings: Settings, stop: asyncio.Event) -> None:
        """Runs scheduled detection and joins signals to incidents until `stop`."""
        from adapters.background import run_detection

        await run_detection(settings, stop)

    async def collect(self, settings: Settings, stop: asyncio.Event) -> None:
        """Collects from metric sources until `stop`."""
        from adapters.background import run_collection

        await run_collection(settings, stop)

    async def work(self, settings: Settings, stop: asyncio.Event) -> None:
        """Starts and carries out remediations until `stop`."""
        from adapters.background import run_worker

        await run_worker(settings, stop)


def command_line() -> App:
    """All commands."""
    app = App(name="sextant", help=HELP, version=f"sextant {__version__}", help_format="plaintext")
    app.command(serve)
    app.command(demo)
    app.command(agent)
    app.command(replay)
    app.command(collect)
    app.command(sources_app())
    app.command(instances_app())
    app.command(telemetry_app())
    app.command(capacity_app())
    app.command(config_app())
    app.command(drift_app())
    app.command(recommendations_app())
    app.command(detect)
    app.command(detection_app())
    app.command(anomalies_app())
    app.command(incidents_app())
    app.command(events_app())
    app.command(dependencies_app())
    app.command(simulate)
    app.command(purge)
    app.command(keep)
    app.command(worker)
    app.command(migrate)
    app.command(status)
    app.command(alerts_app())
    app.command(rules_app())
    app.command(remediations_app())
    app.command(audit_app())
    app.command(tenant_app())
    app.command(key_app())
    app.command(explain)
    app.command(settings_in_force, name="settings")
    return app


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one command line and exits with its status."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: Sequence[str]) -> int:
    """Runs one command line; returns the exit status: 0, 1 failed, 2 wrong usage, 130 interrupted."""
    try:
        command, bound, hidden = command_line().parse_args(list(arguments), exit_on_error=False)
        result = command(*bound.args, **bound.kwargs, **_hidden_arguments(hidden))
        if inspect.iscoroutine(result):
            result = asyncio.run(result)
        return result if isinstance(result, int) else 0
    except CycloptsError:
        return EXIT_USAGE
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter complains at exit
        return EXIT_FAILED
    except SettingsError as error:
        for problem in error.problems:
            write_error(problem)
    except (CommandError, SextantError) as error:
        write_error(str(error))
    except Exception as error:
        reason = _reason(error)
        if reason is None:
            raise
        write_error(reason)
    return EXIT_FAILED


def _hidden_arguments(wanted: dict[str, Any]) -> dict[str, Any]:
    """What a command asks for beside its options."""
    providers: dict[str, Callable[[], Any]] = {
        "program": SextantProgram,
        "settings": lambda: load_settings(os.environ),
    }
    return {name: providers[name]() for name in wanted}


def _reason(error: Exception) -> str | None:
    """One line for an error whose type is too heavy to import at every start; None where it is our bug."""
    from adapters.runtime.database_check import DatabaseUnusableError
    from adapters.runtime.embedded_postgres import EmbeddedPostgresError

    if isinstance(error, DatabaseUnusableError | EmbeddedPostgresError):
        return str(error)
    return None


def _database_reason(error: BaseException) -> str:
    """The first line of what the database said, and what helps where a right is lacking."""
    from psycopg.errors import InsufficientPrivilege

    said = str(error).strip().splitlines()[0]
    lacking = isinstance(error, InsufficientPrivilege)
    return f"{said}; use a database user who may create schemas and roles" if lacking else said


if __name__ == "__main__":
    main()
