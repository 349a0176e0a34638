"""`sextant migrate`: the schema."""

from typing import Annotated

from adapters.driving.cli.database import DataDir, Hidden, Json, reachable, with_data_dir
from adapters.driving.cli.output import write, write_json
from adapters.driving.cli.program import Program
from adapters.runtime.settings import Settings


def migrate(
    *,
    data_dir: DataDir = None,
    json: Json = False,
    program: Annotated[Program, Hidden],
    settings: Annotated[Settings, Hidden],
) -> None:
    """Bring the database's schema up to date.

    `sextant serve` does this by itself. Safe to run when several start at once,
    and to repeat after an interruption: each file is applied in one
    transaction.

    For example:

        SEXTANT_DATABASE_URL=postgresql://me:secret@db/metrics sextant migrate
        sextant migrate --data-dir /srv/sextant

    Exit codes: 0 the schema is up to date; 1 it is not, the reason is printed;
    2 wrong usage.
    """
    with reachable(with_data_dir(settings, data_dir)) as settings:
        done = program.migrate(settings)
    if json:
        write_json(done)
        return
    for name in done.applied:
        write(f"applied {name}")
    write(f"schema is at {done.schema_version}")
