"""How far a replay is: a bar on a terminal, a line every few seconds elsewhere; both on standard error."""

import contextlib
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Final

from adapters.driving.cli.client import TryLater
from adapters.driving.cli.output import write_error
from adapters.driving.cli.replay_run import Tally
from adapters.driving.cli.replay_source import Source

REFRESH_S: Final = 0.25
LINE_EVERY_S: Final = 5.0
"""In a log: often enough to see that it lives."""


class Progress:
    """Shows a tally while it grows; `quiet` shows failures only."""

    def __init__(self, sources: Sequence[Source], *, quiet: bool) -> None:
        self._sources = sources
        self._quiet = quiet

    def failed(self, failure: TryLater, wait_s: float) -> None:
        """The server did not take a batch; it will be sent again in `wait_s`."""
        write_error(f"the server is not ready ({failure.reason}); trying again in {wait_s:.1f} s")

    @contextlib.contextmanager
    def shown(self, tally: Tally) -> Iterator[None]:
        """Shows `tally` until the block ends."""
        from rich.console import Console

        console = Console(stderr=True)
        if self._quiet:
            yield
            return
        stop = threading.Event()
        show = self._bar if console.is_terminal else self._lines
        thread = threading.Thread(target=show, args=(tally, stop), daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def _lines(self, tally: Tally, stop: threading.Event) -> None:
        while not stop.wait(LINE_EVERY_S):
            write_error(f"{tally.read:,} read, {tally.accepted:,} accepted, {tally.rejected:,} rejected")

    def _bar(self, tally: Tally, stop: threading.Event) -> None:
        from rich import progress
        from rich.console import Console

        sizes = [source.size_bytes for source in self._sources]
        known = [size for size in sizes if size is not None]
        columns = (
            progress.BarColumn(),
            progress.TaskProgressColumn(),
            progress.TextColumn("{task.description}"),
            progress.TimeElapsedColumn(),
        )
        started_s = time.monotonic()
        with progress.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("", total=sum(known) if len(known) == len(sizes) else None)
            while not stop.wait(REFRESH_S):
                rate = tally.accepted / max(time.monotonic() - started_s, REFRESH_S)
                bar.update(
                    task,
                    completed=sum(source.position_bytes for source in self._sources),
                    description=f"{tally.accepted:,} accepted, {tally.rejected:,} rejected, {rate:,.0f}/s",
                )
