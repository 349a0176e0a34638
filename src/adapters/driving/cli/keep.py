"""`sextant keep`: the background work on its own."""

import asyncio
import signal
from typing import Annotated

from adapters.driving.cli.database import DataDir, Hidden, migrated, with_data_dir
from adapters.driving.cli.program import Program
from adapters.runtime.settings import Settings


def keep(
    *,
    data_dir: DataDir = None,
    program: Annotated[Program, Hidden],
    settings: Annotated[Settings, Hidden],
) -> None:
    """Run the background keeper alone: settling, aggregates, compression,
    retention.

    `sextant serve` runs one already. Several may run, on several machines: one
    works, the others stand by and take over when it ends. SIGTERM and Ctrl-C
    stop it after the step in hand.

    For example:

        SEXTANT_DATABASE_URL=postgresql://me:secret@db/metrics sextant keep

    Exit codes: 0 stopped by a signal; 1 the database cannot be used; 2 wrong
    usage.
    """
    from adapters.runtime.logging import configure_logging

    settings = with_data_dir(settings, data_dir)
    configure_logging(settings.log)
    with migrated(settings, program) as settings:
        asyncio.run(keep_until_signal(program, settings))


async def keep_until_signal(program: Program, settings: Settings) -> None:
    """Works until the first SIGTERM or SIGINT; a second one ends the process."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stop_soon() -> None:
        stop.set()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop_soon)
    await program.keep(settings, stop)
