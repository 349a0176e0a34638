"""Running a program to its end, or ending it with all that it started.

It has a process group of its own. Where it is cancelled the group is ended: with SIGTERM, soon after with SIGKILL. A
program that ends by itself may leave others running, as a restart script does; they may keep its output open for ever,
so the output is not waited for once it has ended.
"""

import asyncio
import contextlib
import os
import signal
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator, Mapping, Sequence
from io import FileIO
from typing import Final

import msgspec

from adapters.runtime.process import before_exec

OUTPUT_BYTES_MAX: Final = 4_000
"""The end of what a program wrote, where it says how it went; the audit trail keeps it for good."""
TERM_S: Final = 2.0
"""Time to clean up after SIGTERM; what is cancelled should end soon."""
DRAIN_S: Final = 0.5
"""More than the last output needs to arrive once the program has ended."""


class Ended(msgspec.Struct, frozen=True):
    """How a program ended."""

    status: int
    """Negative: the signal that killed it."""
    stdout: str
    """The end of it, at most `OUTPUT_BYTES_MAX` bytes."""
    stderr: str


async def run_program(argv: Sequence[str], environment: Mapping[str, str]) -> Ended:
    """Runs a program in ``/`` with this environment and no input. Raises `OSError` where it cannot be started.

    Cancelled, it leaves nothing of the process group running. The program dies with this process, too.
    """
    async with _captured() as (stdout_pipe, stdout), _captured() as (stderr_pipe, stderr):
        try:
            process = await asyncio.create_subprocess_exec(
                *argv,
                stdin=DEVNULL,
                stdout=stdout_pipe,
                stderr=stderr_pipe,
                env=environment,
                cwd="/",
                start_new_session=True,
                preexec_fn=before_exec(signal.SIGKILL),
            )
        finally:
            stdout_pipe.close()
            stderr_pipe.close()
        try:
            status = await process.wait()
            await asyncio.wait([stdout.closed, stderr.closed], timeout=DRAIN_S)
        except asyncio.CancelledError:
            await _end_group(process)
            raise
        return Ended(status, stdout.text, stderr.text)


class _Tail(asyncio.Protocol):
    """Reads to the end, and keeps the last of it."""

    def __init__(self) -> None:
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._kept = bytearray()

    @property
    def text(self) -> str:
        return self._kept.decode(errors="replace")

    def data_received(self, data: bytes) -> None:
        self._kept += data
        del self._kept[:-OUTPUT_BYTES_MAX]

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 (however it ends, it has ended)
        if not self.closed.done():
            self.closed.set_result(None)


@contextlib.asynccontextmanager
async def _captured() -> AsyncIterator[tuple[FileIO, _Tail]]:
    """A pipe to write to, which the caller closes once the program has it, and what arrives from it."""
    read_fd, write_fd = os.pipe()
    with FileIO(write_fd, "w") as writing:
        transport, tail = await asyncio.get_running_loop().connect_read_pipe(_Tail, FileIO(read_fd))
        try:
            yield writing, tail
        finally:
            transport.close()


async def _end_group(process: Process) -> None:
    """Ends the group; one more cancellation only hastens it."""
    ended = asyncio.ensure_future(process.wait())
    try:
        _signal_group(process, signal.SIGTERM)
        await asyncio.wait([ended], timeout=TERM_S)
    finally:
        _signal_group(process, signal.SIGKILL)
    await asyncio.wait([ended], timeout=TERM_S)


def _signal_group(process: Process, number: signal.Signals) -> None:
    # A program that changed its user cannot be signalled; one that has ended need not be.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
