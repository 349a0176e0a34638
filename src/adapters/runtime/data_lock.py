"""One launcher for each data directory: a lock that the kernel lets go of when its holder ends, however it ends."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

LIVE_HOLDER_PATIENCE_S: Final = 1.0
"""A killed process holds its lock until the kernel has freed its memory."""
POLL_S: Final = 0.01


class DataInUse(Exception):
    """Another process, which is alive, holds the lock."""

    def __init__(self, holder: str) -> None:
        super().__init__(f"pid {holder} holds it")
        self.holder = holder
        """Its process id."""


@contextmanager
def only_launcher(lock_file: Path, deadline_s: float) -> Iterator[None]:
    """Holds the lock, whose text is our pid; raises `DataInUse` if others do not leave by `deadline_s`."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
    with os.fdopen(os.open(lock_file, flags, 0o600), "r+") as file:
        live_deadline_s = time.monotonic() + LIVE_HOLDER_PATIENCE_S
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                file.seek(0)
                holder = file.read().strip()
                # The forked children of a dead holder share its lock until they have noticed its death.
                alive = holder != "" and Path("/proc", holder).exists()
                if time.monotonic() > (min(deadline_s, live_deadline_s) if alive else deadline_s):
                    raise DataInUse(holder) from error
                time.sleep(POLL_S)
        file.truncate(0)
        file.seek(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
