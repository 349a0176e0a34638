"""A command of ours in a process of its own, with a log file, that ends when this program does."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from adapters.runtime.child_log import ChildLog
from adapters.runtime.process import before_exec

TAIL_LINES: Final = 20
TAIL_BYTES_MAX: Final = 8_192
"""The end of a log that is shown when a child died: a traceback and what led to it."""


class Child:
    """A running `sextant` command."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: ChildLog, log_start: int) -> None:
        self.name = name
        self._process = process
        self._log = log
        self._log_start = log_start
        self.ended = asyncio.ensure_future(process.wait())

    @property
    def status(self) -> int | None:
        """The exit status, negative for a signal; None while it runs."""
        return self._process.returncode

    def log_tail(self) -> str:
        """The last lines that it logged since it was started."""
        tail = self._log.tail(TAIL_BYTES_MAX, since_bytes=self._log_start).decode("utf-8", "replace")
        return "\n".join(tail.splitlines()[-TAIL_LINES:])

    def trim_log(self) -> None:
        """Keeps the log within bounds; to be called now and then."""
        self._log.trim()
        self._log_start = min(self._log_start, self._log.size_bytes())

    async def stop(self, timeout_s: float) -> bool:
        """Asks it to end, and kills it after `timeout_s`; says whether it ended by itself. Safe to repeat."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        _, running = await asyncio.wait((self.ended,), timeout=timeout_s)
        if running:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self.ended
        self._log.close()
        return not running


async def start_child(
    name: str, arguments: Sequence[str], log_path: Path, settings: Mapping[str, str] | None = None
) -> Child:
    """Starts ``sextant <arguments>`` in a session of its own: a terminal's Ctrl-C reaches only this program.

    It runs on defaults and `settings`: what the environment says of Sextant, another database say, is not passed on.
    """
    log = ChildLog(log_path)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "adapters.main",
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=log.fileno(),
        stderr=log.fileno(),
        env={
            **{known: value for known, value in os.environ.items() if not known.startswith("SEXTANT_")},
            **(settings or {}),
        },
        start_new_session=True,
        preexec_fn=before_exec(signal.SIGTERM),
    )
    return Child(name, process, log, log.size_bytes())
