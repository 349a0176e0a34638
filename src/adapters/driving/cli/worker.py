"""`sextant worker`: remediation on its own."""

import asyncio
from typing import Annotated

from adapters.driving.cli.background import until_signal
from adapters.driving.cli.database import DataDir, Hidden, migrated, with_data_dir
from adapters.driving.cli.output import CommandError
from adapters.driving.cli.program import Program
from adapters.driving.cli.temporal import with_temporal
from adapters.runtime.settings import Settings


def worker(
    *,
    data_dir: DataDir = None,
    program: Annotated[Program, Hidden],
    settings: Annotated[Settings, Hidden],
) -> None:
    """Run remediation alone: start the workflows that wait, and carry them out.

    `sextant serve` runs one already. Several may run, on several machines: each
    workflow is started once and each of its steps is done by one of them. Run
    one where the commands of SEXTANT_WORKER_COMMANDS are, or the access to
    Kubernetes. A Temporal that is away is waited for. SIGTERM and Ctrl-C let
    actions in progress end for some seconds; others take over the rest.

    For example:

        SEXTANT_DATABASE_URL=postgresql://me:secret@db/metrics \\
            SEXTANT_TEMPORAL_ADDRESS=temporal:7233 sextant worker

    Exit codes: 0 stopped by a signal; 1 the database cannot be used, or no
    Temporal is set up; 2 wrong usage.
    """
    from adapters.runtime.logging import configure_logging

    settings = with_temporal(with_data_dir(settings, data_dir))
    configure_logging(settings.log)
    if settings.temporal.address is None:
        raise CommandError(
            "no Temporal is set up: set SEXTANT_TEMPORAL_ADDRESS, or name the --data-dir of a `sextant serve`"
        )
    with migrated(settings, program) as settings:
        asyncio.run(until_signal(program.work, settings))
