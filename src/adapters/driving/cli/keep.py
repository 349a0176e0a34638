"""`sextant keep`: the background work on its own."""

import asyncio
from functools import partial
from typing import Annotated

from adapters.driving.cli.background import shared_work, until_signal
from adapters.driving.cli.database import DataDir, Hidden, migrated, with_data_dir
from adapters.driving.cli.program import Program
from adapters.runtime.settings import Settings


def keep(
    *,
    data_dir: DataDir = None,
    program: Annotated[Program, Hidden],
    settings: Annotated[Settings, Hidden],
) -> None:
    """Run the background work alone: settling, aggregates, compression,
    retention, alerts, notifications, detection, incidents, drift and collection.

    `sextant serve` runs one already. Several may run, on several machines: one
    settles and evaluates alerts, the others stand by and take over when it ends;
    detection, drift and collection they share. SIGTERM and Ctrl-C stop it after
    the step in hand.

    For example:

        SEXTANT_DATABASE_URL=postgresql://me:secret@db/metrics sextant keep

    Exit codes: 0 stopped by a signal; 1 the database cannot be used; 2 wrong
    usage.
    """
    from adapters.runtime.logging import configure_logging
    from adapters.runtime.supervision import supervised_processes

    settings = with_data_dir(settings, data_dir)
    configure_logging(settings.log)
    with migrated(settings, program) as settings, supervised_processes(shared_work(settings), program, settings):
        asyncio.run(until_signal(partial(keep_and_alert, program), settings))


async def keep_and_alert(program: Program, settings: Settings, stop: asyncio.Event) -> None:
    """Both in one process, which is enough where it has a machine of its own."""
    await asyncio.gather(program.keep(settings, stop), program.alerts(settings, stop))
