"""`sextant replay`: files of samples, sent as if they were measured now or left in their time."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Coroutine, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
from cyclopts import Parameter

from adapters.driving.cli.database import Json
from adapters.driving.cli.output import CommandError, write, write_error, write_json
from core.domain.definitions import RETENTION_DAYS_MAX
from core.domain.errors import InvalidInput
from core.domain.points import POINTS_PER_REQUEST_MAX
from core.domain.times import SECOND_US

if TYPE_CHECKING:
    from adapters.driving.cli.client import Target
    from adapters.driving.cli.replay_run import Tally
    from adapters.driving.cli.replay_source import Source

GIVE_UP_AFTER_S: Final = 300.0
"""For one batch: a server that restarts or is being moved is back by then; and a replay may be repeated."""
LANES_MAX: Final = 32
"""More connections than this make no server faster."""

EXIT_OK: Final = 0
EXIT_REJECTED: Final = 1
EXIT_USAGE: Final = 2
EXIT_INTERRUPTED: Final = 130


def replay(
    files: Annotated[tuple[str, ...], Parameter(name="FILE", negative=(), allow_leading_hyphen=True)],
    /,
    *,
    name: str | None = None,
    label: Annotated[tuple[str, ...], Parameter(negative=(), show_default=False)] = (),
    shift_to_now: Annotated[bool, Parameter(negative=())] = False,
    speed: float | None = None,
    retention_days: int | None = None,
    batch: int = 5_000,
    concurrency: int = 2,
    url: str | None = None,
    key: str | None = None,
    data_dir: Path | None = None,
    json: Json = False,
) -> int:
    """Send files of samples to a Sextant server.

    A FILE is CSV whose first line is timestamp,value, or NDJSON with one
    metric a line as the ingest API takes it (name, value, labels, source,
    timestamp); either may be gzip; - is standard input. A CSV file is one
    metric, named after the file. Times are RFC 3339; in CSV also YYYY-MM-DD
    HH:MM:SS, which means UTC.

    Files of any size are read as a stream. A replay that was cut off can be
    repeated with the same options: what the server has already is stored
    once (with --shift-to-now the times are new, so it is stored again).

    Samples older than their metric's retention (30 days by default) are
    refused; --shift-to-now or --retention-days mends that.

    Exit status: 0 when every sample was stored; 1 when any was refused or
    the server stayed away; 2 when a file, the key, the URL or an option is
    wrong; 130 when interrupted.

    Parameters
    ----------
    files
        The files, in the order they are sent (with --speed they are merged by time).
    name
        The metric's name, instead of a CSV file's or that in NDJSON.
    label
        A label name=value for every sample; may be repeated; wins over one in the file.
    shift_to_now
        Move all times by the same amount, so that the newest sample of all files is now.
    speed
        Times real time: 10 sends ten minutes of samples a minute. Default: as fast as the server takes
        them.
    retention_days
        Have the server keep the metrics of these files for so many days (their definitions are made or
        changed first; needs a key with the scope admin).
    batch
        Samples a request, at most 10000.
    concurrency
        Connections. A series always uses the same one, so its samples arrive in order.
    url
        The server, by default http://127.0.0.1:8000. Environment: SEXTANT_AGENT_URL.
    key
        An API key with the scope ingest. Better in SEXTANT_AGENT_KEY or SEXTANT_AGENT_KEY_FILE: other users
        of this machine can read command lines. Without any, that of a server on this machine is used (see
        --data-dir).
    data_dir
        The data directory of a server on this machine; its admin.key is used.
    """
    from adapters.driving.cli.replay_source import Source
    from adapters.driving.cli.target import parse_labels, sender_settings, target_of

    try:
        _check_options(speed=speed, retention_days=retention_days, batch=batch, concurrency=concurrency)
        target = target_of(sender_settings(os.environ, {"URL": url, "KEY": key}, data_dir).agent)
        labels = parse_labels(label)
        with contextlib.ExitStack() as stack:
            sources = []
            for path in files:
                source = Source(path, name=name, labels=labels, rereadable=shift_to_now)
                stack.callback(source.close)
                sources.append(source)
            plan = Plan(shift_to_now, speed, retention_days, batch, concurrency, as_json=json)
            return asyncio.run(_run(sources, target, plan))
    except (CommandError, InvalidInput) as error:
        write_error(str(error))
        return EXIT_USAGE


class Plan(msgspec.Struct, frozen=True):
    """The options of one replay."""

    shift_to_now: bool
    speed: float | None
    retention_days: int | None
    batch: int
    concurrency: int
    as_json: bool


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What a replay came to."""

    files: int
    read: int
    sent: int
    accepted: int
    rejected: int
    reasons: list[str]
    took_s: float
    samples_per_s: float
    failure: str | None
    advice: list[str]


async def _run(sources: "Sequence[Source]", target: "Target", plan: Plan) -> int:
    from adapters.driving.cli.client import IngestClient, Patience
    from adapters.driving.cli.replay_progress import Progress
    from adapters.driving.cli.replay_run import Replay, in_thread, newest_us

    salt = b"" if plan.retention_days is None else f"retention {plan.retention_days}".encode()
    progress = Progress(sources, quiet=plan.as_json)
    async with IngestClient(target, salt=salt) as client:
        work = Replay(
            sources,
            client,
            Patience(GIVE_UP_AFTER_S, progress.failed),
            batch_size=plan.batch,
            lanes=plan.concurrency,
            speed=plan.speed,
            retention_days=plan.retention_days,
        )

        async def all_of_it() -> None:
            newest = await in_thread(lambda: newest_us(sources)) if plan.shift_to_now else None
            now_us = int(time.time()) * SECOND_US
            await work.run(shift_us=0 if newest is None else now_us - newest)

        started_s = time.monotonic()
        with progress.shown(work.tally):
            failure, status = await _outcome(all_of_it())
        summary = _summary(work.tally, len(sources), time.monotonic() - started_s, failure)
    _say(summary, as_json=plan.as_json)
    return EXIT_REJECTED if status == EXIT_OK and summary.rejected else status


async def _outcome(work: Coroutine[None, None, None]) -> tuple[str | None, int]:
    """Why the work ended early, if it did, and the exit status for that."""
    from adapters.driving.cli.client import GaveUpError
    from adapters.driving.cli.remote_definitions import DefinitionError

    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(work)
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    await asyncio.wait((task,))
    if task.cancelled():
        return "interrupted", EXIT_INTERRUPTED
    error = task.exception()
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    match error:
        case None:
            return None, EXIT_OK
        case GaveUpError() | DefinitionError():
            return str(error), EXIT_REJECTED
        case CommandError() | InvalidInput():
            return str(error), EXIT_USAGE
        case _:
            raise error


def _summary(tally: "Tally", files: int, took_s: float, failure: str | None) -> Summary:
    return Summary(
        files=files,
        read=tally.read,
        sent=tally.sent,
        accepted=tally.accepted,
        rejected=tally.rejected,
        reasons=tally.reasons,
        took_s=round(took_s, 3),
        samples_per_s=round(tally.accepted / took_s, 1) if took_s > 0 else 0.0,
        failure=failure,
        advice=list(_advice(tally.reasons, failure)),
    )


def _advice(reasons: Sequence[str], failure: str | None) -> Iterator[str]:
    if any("retention" in reason for reason in reasons):
        yield (
            "Samples older than the retention are refused. Either move them to now with --shift-to-now, "
            "or have them kept with --retention-days N (a definition of the metric with a longer "
            "retention_days; needs an admin key)."
        )
    if any("future" in reason or "ahead" in reason for reason in reasons):
        yield (
            "Samples of the future are refused. --shift-to-now moves the newest to now; the server's "
            "SEXTANT_INGEST_FUTURE_SKEW is how far ahead of its clock it lets a timestamp be."
        )
    if failure is not None:
        yield "The same command sends the rest; what was stored already is stored once."


def _say(summary: Summary, *, as_json: bool) -> None:
    if as_json:
        write_json(summary)
        return
    write(
        f"{summary.files} files, {summary.read:,} read, {summary.sent:,} sent, "
        f"{summary.accepted:,} accepted, {summary.rejected:,} rejected "
        f"in {summary.took_s:.1f} s ({summary.samples_per_s:,.0f} samples/s)"
    )
    for reason in summary.reasons:
        write_error(f"rejected: {reason}")
    if summary.rejected > len(summary.reasons) > 0:
        write_error(f"… and {summary.rejected - len(summary.reasons):,} more")
    if summary.failure is not None:
        write_error(f"not finished: {summary.failure}")
    for advice in summary.advice:
        write_error(advice)


def _check_options(*, speed: float | None, retention_days: int | None, batch: int, concurrency: int) -> None:
    if speed is not None and not 0 < speed < float("inf"):
        raise CommandError("--speed must be a number above 0, such as 10")
    if retention_days is not None and not 1 <= retention_days <= RETENTION_DAYS_MAX:
        raise CommandError(f"--retention-days must be from 1 to {RETENTION_DAYS_MAX}")
    if not 1 <= batch <= POINTS_PER_REQUEST_MAX:
        raise CommandError(f"--batch must be from 1 to {POINTS_PER_REQUEST_MAX}")
    if not 1 <= concurrency <= LANES_MAX:
        raise CommandError(f"--concurrency must be from 1 to {LANES_MAX}")
