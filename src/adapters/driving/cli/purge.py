"""`sextant purge`: takes away what was simulated."""

import asyncio
from typing import Annotated, Final

from cyclopts import Parameter

from adapters.driving.cli.api import HERE, Api, Server, with_api
from adapters.driving.cli.database import Json
from adapters.driving.cli.output import CommandError, write, write_json
from ports.driven.synthetic_store import Purge

PATH: Final = "/api/v1/synthetic/purge"
LOOK_EVERY_S: Final = 0.25
WAIT_S_MAX: Final = 120.0
"""What the keeper has to settle before it can purge takes some seconds."""


def purge(
    *,
    wait: Annotated[bool, Parameter(help="Wait until it is done.", negative="--no-wait")] = True,
    server: Server = HERE,
    json: Json = False,
) -> int:
    """Delete what `sextant simulate` and `sextant collect synthetic` wrote, and
    what was concluded from it.

    Samples of series labelled synthetic="true", events, instances, capacity
    snapshots, changes of configuration, drift and recommendations that are marked
    as synthetic, and their anomalies and incidents. Nothing else: a synthetic
    source that is scheduled goes on, names of clusters and series stay known,
    and `sextant collect synthetic` begins anew. Needs a key with the scope admin.

    For example:

        sextant purge

    Exit codes: 0 done; 1 not, the reason is printed; 2 wrong usage, key or URL.
    """

    async def work(api: Api) -> None:
        asked = await api.send("POST", PATH, Purge)
        done = await _finished(api, asked) if wait else asked
        if json:
            write_json(done)
        elif done.finished_at is None:
            write(f"purge {done.id} waits for the keeper")
        else:
            counted = f"samples: {done.samples:,}, events: {done.events:,}, anomalies: {done.anomalies:,}"
            write(f"purged {counted}, incidents: {done.incidents:,}; with all else that was synthetic")

    return with_api(server, work)


async def _finished(api: Api, asked: Purge) -> Purge:
    try:
        async with asyncio.timeout(WAIT_S_MAX):
            while asked.finished_at is None:
                await asyncio.sleep(LOOK_EVERY_S)
                asked = await api.get(f"{PATH}/{asked.id}", Purge)
    except TimeoutError:
        raise CommandError(
            f"purge {asked.id} is not done after {WAIT_S_MAX:g} s; is a keeper running (`sextant status`)?"
        ) from None
    return asked
