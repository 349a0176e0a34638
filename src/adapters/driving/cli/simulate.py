"""`sextant simulate`: hosts that are well and hosts that fall ill, into a running server."""

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
from cyclopts import Parameter
from cyclopts.validators import Number

from adapters.driving.cli.api import HERE, Api, Server, with_api
from adapters.driving.cli.client import BATCH_PATH
from adapters.driving.cli.database import Json
from adapters.driving.cli.display import present
from adapters.driving.cli.output import CommandError, write, write_json
from core.domain.points import IngestReply
from core.domain.times import EPOCH, MINUTE_US, format_time, parse_duration, parse_time

if TYPE_CHECKING:
    from adapters.driving.cli.simulation import Simulation

EVENTS_PATH: Final = "/api/v1/events"
BATCH: Final = 5_000
"""Metrics or events of one request: a megabyte."""
END_STEP_US: Final = 15 * MINUTE_US
"""Simulations that end now end at the last quarter of an hour: repeated within it they add nothing."""


class Sent(msgspec.Struct, kw_only=True):
    """What was written, as --json prints it."""

    start: str
    end: str
    hosts: list[str]
    samples: int = 0
    events: int = 0


def simulate(
    *,
    length: Annotated[str, Parameter(help="How much of the past, such as 48h or 7d.")] = "48h",
    hosts: Annotated[
        int, Parameter(help="How many hosts; every second one falls ill.", validator=Number(gte=1, lte=1_000))
    ] = 2,
    seed: Annotated[
        int, Parameter(help="Another seed, other numbers; the same seed, the same ones.", validator=Number(gte=0))
    ] = 1,
    until: Annotated[
        str | None, Parameter(help="The end, RFC 3339 with a zone. Default: the last quarter of an hour.")
    ] = None,
    server: Server = HERE,
    json: Json = False,
) -> int:
    """Write made-up hosts into a running server, to see what detection makes of them.

    A healthy host, on which there is nothing to find, and a stressed one: its cpu
    varies ever more and spikes, its memory leaks, its disk fills, errors come in
    bursts. Everything is marked as synthetic (samples by the label
    synthetic="true"), is the same for the same seed and end, and goes away with
    `sextant purge`. Needs a key with the scope ingest.

    For example:

        sextant simulate
        sextant detection run
        sextant simulate --length 7d --hosts 10 --seed 7

    Exit codes: 0 done; 1 not, the reason is printed; 2 wrong usage, key or URL.
    """

    async def work(api: Api) -> None:
        from adapters.driving.cli.simulation import Simulation  # numpy comes with it

        length_us, end_us = parse_duration(length, "--length"), _end_us(until)
        simulation = Simulation(seed, end_us=end_us, length_us=length_us, hosts=hosts)
        names = [host.name for host in simulation.hosts]
        sent = Sent(start=format_time(end_us - length_us), end=format_time(end_us), hosts=names)
        await send_simulation(api, simulation, sent)
        if json:
            write_json(sent)
        else:
            what = f"{sent.samples} samples and {sent.events} events of {', '.join(names[:4])}"
            write(f"wrote {what}{' …' if len(names) > 4 else ''}, {sent.start} to {sent.end}")
            write("look: sextant detection run, sextant anomalies, sextant incidents; take it away: sextant purge")

    return with_api(server, work)


async def send_simulation(api: Api, simulation: "Simulation", sent: Sent) -> None:
    """Posts samples, then events, and counts them in `sent`; sending them again adds nothing. Raises `CommandError`."""
    from ports.driving.detecting import EventsReply

    for metrics in _batches(simulation.points()):
        reply = await api.send("POST", BATCH_PATH, IngestReply, {"metrics": metrics})
        if reply.rejected:
            raise CommandError(f"the server refused {reply.rejected} samples: {reply.errors[0].reason}")
        sent.samples += reply.accepted
    for events in _batches(simulation.events()):
        answer = await api.send("POST", EVENTS_PATH, EventsReply, {"events": events})
        if answer.rejected:
            raise CommandError(f"the server refused {answer.rejected} events: {answer.errors[0].reason}")
        sent.events += answer.accepted


def _batches(items: Iterator[Any]) -> Iterator[list[Any]]:
    while batch := list(islice(items, BATCH)):
        yield batch


def _end_us(until: str | None) -> int:
    if until is not None:
        return parse_time(until, "--until")
    now_us = int((present() - EPOCH).total_seconds()) * 1_000_000
    return now_us - now_us % END_STEP_US
