"""The log of a child process: a file that it appends to by itself, and that we keep within bounds."""

import os
from pathlib import Path

LOG_SIZE_BYTES_MAX = 8 * 1024 * 1024  # two files of this size hold weeks of a healthy server's log


class ChildLog:
    """The file at `path`, to be given to `subprocess` as stdout and stderr.

    No pipe and no thread: the child never waits for us, and what it logs survives us. With `<path>.1` it
    takes at most twice LOG_SIZE_BYTES_MAX, plus what is logged between two calls of `trim`.
    """

    def __init__(self, path: Path) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
        self.path = path
        self._file = os.fdopen(os.open(path, flags, 0o600), "r+b", buffering=0)

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._file.fileno()

    def size_bytes(self) -> int:
        """Return how much is in the file now."""
        return os.fstat(self.fileno()).st_size

    def tail(self, size_bytes_max: int, *, since_bytes: int = 0) -> bytes:
        """Return the end of the file, no earlier than the offset `since_bytes`."""
        start = max(since_bytes, self.size_bytes() - size_bytes_max)
        return os.pread(self.fileno(), size_bytes_max, start)

    def trim(self) -> None:
        """Move the log to `<path>.1` once it is too long; the child goes on appending to the same file."""
        if self.size_bytes() > LOG_SIZE_BYTES_MAX:
            self.path.with_name(self.path.name + ".1").write_bytes(self.tail(LOG_SIZE_BYTES_MAX))
            os.ftruncate(self.fileno(), 0)

    def close(self) -> None:
        """Close the file here; the child has its own descriptor."""
        self._file.close()
