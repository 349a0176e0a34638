"""A bounded queue of batches on disk, between sampling and sending.

Theory of operation. Batches are appended to numbered segment files, each record as ``length, crc32,
metrics`` (three little-endian uint32) and the body, and are synced before `append` returns. What kill -9
leaves half written at the end of the last segment fails its checksum and is cut off by the next start. An
index of all pending records is kept in memory. `remove` moves a cursor past the oldest record; the cursor
is a small file replaced by rename, deliberately not synced: losing it sends some batches again under the
same idempotency key, which stores nothing twice. When the spool is full the oldest segment is dropped,
because the newest samples are worth the most, and counted.

One process at a time holds a spool (a lock file); within it, calls must not overlap.
"""

import contextlib
import errno
import fcntl
import os
import struct
import zlib
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

import msgspec

from adapters.driving.cli.client import Batch
from adapters.driving.cli.output import CommandError

SEGMENTS_PER_SPOOL: Final = 16
"""A full spool drops one segment, a sixteenth of what it holds."""
SEGMENT_BYTES_MIN: Final = 4_096
RECORD_BYTES_MAX: Final = 64 << 20
"""A length past this is damage, not a record."""

_HEADER: Final = struct.Struct("<III")
_SUFFIX: Final = ".segment"


class SpoolError(CommandError):
    """The spool cannot be used: held by another process, or the disk refuses."""


class Record(msgspec.Struct, frozen=True):
    """Where one pending batch lies."""

    segment: int
    offset: int
    """Of the header, in bytes from the start of the segment."""
    size_bytes: int
    """Of header and body together."""
    metrics: int


class Dropped(msgspec.Struct):
    """What was lost since the spool was opened: to make room, or to damage."""

    metrics: int = 0
    damaged_bytes: int = 0


class Spool:
    """A queue of batches that survives kill -9 at any moment; a context manager."""

    def __init__(self, directory: Path, size_bytes_max: int) -> None:
        """Opens or creates the queue in `directory`; raises `SpoolError`."""
        self._directory = directory
        self._size_bytes_max = size_bytes_max
        self._segment_bytes_max = max(SEGMENT_BYTES_MIN, size_bytes_max // SEGMENTS_PER_SPOOL)
        self._records: deque[Record] = deque()
        self._segments: dict[int, int] = {}
        """Segment number → bytes in it, oldest first."""
        self.dropped = Dropped()
        try:
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = _locked(directory / "lock")
            try:
                self._load()
                self._active = self._open_active()
            except OSError:
                self._lock.close()
                raise
        except OSError as error:
            raise SpoolError(f"the spool {directory} cannot be used: {error.strerror}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Lets another process have the spool; what is pending stays."""
        self._active.close()
        self._lock.close()

    def __len__(self) -> int:
        """Pending batches."""
        return len(self._records)

    @property
    def metrics(self) -> int:
        """Metrics in pending batches."""
        return sum(record.metrics for record in self._records)

    @property
    def size_bytes(self) -> int:
        """Of all segment files."""
        return sum(self._segments.values())

    def append(self, batch: Batch) -> int:
        """Adds a batch durably; says how many metrics were dropped to make room for it.

        Raises `SpoolError`, with the spool as it was, where the disk is full or the batch larger than the
        whole spool.
        """
        record = _HEADER.pack(len(batch.body), _checksum(batch.body, batch.points), batch.points) + batch.body
        if len(record) > min(self._size_bytes_max, RECORD_BYTES_MAX):
            raise SpoolError(f"a batch of {len(record)} bytes does not fit a spool of {self._size_bytes_max} bytes")
        try:
            number = max(self._segments)
            if self._segments[number] and self._segments[number] + len(record) > self._segment_bytes_max:
                number = self._rotate()
            dropped = self._make_room(len(record))
            offset = self._segments[number]
            self._write(record, offset)
        except OSError as error:
            raise SpoolError(f"the spool {self._directory} cannot be written: {error.strerror}") from error
        self._segments[number] = offset + len(record)
        self._records.append(Record(number, offset, len(record), batch.points))
        return dropped

    def oldest(self) -> tuple[Record, Batch] | None:
        """The batch to send next, or None where all are sent; those that became unreadable are counted and passed."""
        while self._records:
            record = self._records[0]
            body = self._read(record)
            if body is not None:
                return record, Batch(body, record.metrics)
            self._records.popleft()
            self.dropped.metrics += record.metrics
        return None

    def remove(self, record: Record) -> None:
        """Forgets the oldest record; safe where it was dropped meanwhile to make room."""
        if not self._records or self._records[0] != record:
            return
        self._records.popleft()
        cursor = self._directory / "cursor"
        fresh = cursor.with_suffix(".new")
        with contextlib.suppress(OSError):  # a full disk: without the cursor some batches are only sent again
            fresh.write_text(f"{record.segment} {record.offset + record.size_bytes}\n")
            fresh.replace(cursor)
        self._delete_sent()

    def _read(self, record: Record) -> bytes | None:
        """The body of a record, or None where it is not there any more as it was written."""
        try:
            with self._path(record.segment).open("rb") as file:
                file.seek(record.offset)
                content = file.read(record.size_bytes)
        except OSError:
            return None
        header, body = content[: _HEADER.size], content[_HEADER.size :]
        intact = header == _HEADER.pack(len(body), _checksum(body, record.metrics), record.metrics)
        return body if intact and len(content) == record.size_bytes else None

    def _delete_sent(self) -> None:
        needed = self._records[0].segment if self._records else max(self._segments)
        for number in [number for number in self._segments if number < needed]:
            self._delete(number)

    def _make_room(self, size_bytes: int) -> int:
        """Drops whole segments, oldest first, never the active one; says how many pending metrics they held."""
        dropped = 0
        while self.size_bytes + size_bytes > self._size_bytes_max and len(self._segments) > 1:
            number = min(self._segments)
            while self._records and self._records[0].segment == number:
                dropped += self._records.popleft().metrics
            self._delete(number)
        self.dropped.metrics += dropped
        return dropped

    def _write(self, record: bytes, offset: int) -> None:
        try:
            self._active.seek(offset)
            if self._active.write(record) < len(record):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(self._active.fileno())
        except OSError:
            self._active.truncate(offset)
            raise

    def _rotate(self) -> int:
        number = max(self._segments) + 1
        self._active.close()
        self._segments[number] = 0
        self._active = self._open_active()
        return number

    def _open_active(self) -> IO[bytes]:
        """The newest segment, unbuffered; its directory entry synced, so that a synced record can be found again."""
        path = self._path(max(self._segments))
        path.touch(mode=0o600)
        directory = os.open(self._directory, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
        return path.open("r+b", buffering=0)

    def _path(self, number: int) -> Path:
        return self._directory / f"{number:016d}{_SUFFIX}"

    def _delete(self, number: int) -> None:
        self._path(number).unlink(missing_ok=True)
        del self._segments[number]

    def _load(self) -> None:
        """Indexes what is on disk past the cursor, and cuts off a torn tail."""
        start = _cursor(self._directory / "cursor")
        for path in sorted(self._directory.glob(f"*{_SUFFIX}")):
            number = int(path.stem)
            records, end, size = _scan(path, number)
            self._segments[number] = end
            if end < size:
                self.dropped.damaged_bytes += size - end
                os.truncate(path, end)
            self._records += [record for record in records if (number, record.offset) >= start]
        last = max(self._segments.items(), default=(0, 0))
        if not self._segments or last < start:
            # The disk lost what the cursor had passed: begin behind it, where new records are not taken for
            # sent ones.
            self._segments[max(last[0], start[0]) + 1] = 0
        self._delete_sent()


def _scan(path: Path, number: int) -> tuple[list[Record], int, int]:
    """The whole records of a segment, where they end, and the file's size."""
    content = path.read_bytes()
    records: list[Record] = []
    offset = 0
    while offset + _HEADER.size <= len(content):
        length, checksum, metrics = _HEADER.unpack_from(content, offset)
        end = offset + _HEADER.size + length
        if length == 0 or end > len(content) or _checksum(content[offset + _HEADER.size : end], metrics) != checksum:
            break
        records.append(Record(number, offset, end - offset, metrics))
        offset = end
    return records, offset, len(content)


def _checksum(body: bytes, metrics: int) -> int:
    return zlib.crc32(body, metrics)


def _cursor(path: Path) -> tuple[int, int]:
    """Segment and offset of the first record not yet sent; the very beginning where that was lost."""
    try:
        segment, offset = path.read_text().split()
        return int(segment), int(offset)
    except (FileNotFoundError, ValueError):
        return 0, 0


def _locked(path: Path) -> IO[bytes]:
    """The lock file, held until closed."""
    file = path.open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise SpoolError(
            f"the spool {path.parent} is in use by another agent; give this one its own --spool-dir"
        ) from None
    return file
