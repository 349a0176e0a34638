"""Files of samples, read as a stream: CSV ``timestamp,value`` or NDJSON in the ingest shape, gzip or not.

What a file is, is seen from its first bytes, never from its name. Memory stays bounded whatever the file:
lines are read one at a time, up to `LINE_BYTES_MAX`.
"""

import csv
import gzip
import io
import itertools
import math
import os
import re
import shutil
import stat
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import IO, Final, cast

import msgspec

from adapters.driving.cli.output import CommandError
from core.domain.errors import InvalidInput
from core.domain.points import Point
from core.domain.series import NAME_CHARS_MAX, check_label, check_name
from core.domain.times import format_time, parse_time

STDIN: Final = "-"
LINE_BYTES_MAX: Final = 1 << 20
"""Longer than any metric the server takes; a file without line ends must not fill the memory."""
LABEL_SETS_CACHED: Final = 10_000
"""Merged label sets kept, so that a series is merged once and not once a sample."""

_GZIP_MAGIC: Final = b"\x1f\x8b"
_BOM: Final = b"\xef\xbb\xbf"
_NAIVE_TIME: Final = re.compile(r"(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d(?:\.\d{1,9})?)\Z", re.ASCII)
_NOT_IN_NAME: Final = re.compile(r"[^A-Za-z0-9_:.\-]", re.ASCII)


class SourceError(CommandError):
    """A file cannot be read, or not to its end; says which and why."""


class Line(msgspec.Struct, frozen=True, gc=False):
    """One sample of a file, and where it stands."""

    source: str
    number: int
    point: Point
    ts_us: int | None
    """Microseconds since the Unix epoch; None where the line leaves the time to the server."""


class BadLine(msgspec.Struct, frozen=True):
    """A line that is no sample, and why."""

    source: str
    number: int
    field: str
    reason: str


class Source:
    """One file, or standard input, that can be read more than once if `rereadable` was asked for.

    A pipe is then copied to a temporary file first.
    """

    def __init__(self, path: str, *, name: str | None, labels: Mapping[str, str], rereadable: bool) -> None:
        """`name` replaces the metric's name (default for CSV: the file's), `labels` are added and win.

        Raises `SourceError`, and `InvalidInput` for a name or label that cannot be one.
        """
        self.path = path
        self._name = name
        self._labels = dict(labels)
        for label, value in labels.items():
            check_label(label, value)
        if name is not None:
            check_name(name)
        self._copy: IO[bytes] | None = None
        self._reading: io.FileIO | None = None
        with _opened(path) as file:
            self.size_bytes = _regular_size(file)
            if self.size_bytes is None and rereadable:
                self._copy = _copied(file, path)
                self.size_bytes = self._copy.tell()

    def close(self) -> None:
        """Ends a pass that was left in its middle, and removes the copy where there is one."""
        if self._reading is not None:
            self._reading.close()
        if self._copy is not None:
            self._copy.close()

    @property
    def position_bytes(self) -> int:
        """How far into the file the latest pass has come; may be asked from another thread than the reader's."""
        if self._reading is None or self.size_bytes is None:
            return 0
        try:
            return self._reading.tell()
        except ValueError:  # closed: the pass is over
            return self.size_bytes

    def lines(self) -> Iterator[Line | BadLine]:
        """Every line in order, from the start; raises `SourceError` where the file cannot be read on."""
        path = self.path if self._copy is None else self._copy.name
        try:
            with _opened(path) as self._reading, io.BufferedReader(self._reading) as plain:
                packed = plain.peek(len(_GZIP_MAGIC)).startswith(_GZIP_MAGIC)
                readline = gzip.GzipFile(fileobj=plain).readline if packed else plain.readline
                numbered = _numbered_lines(readline, self.path)
                first = next(numbered, None)
                if first is None:
                    return
                read = self._ndjson if _is_json(first) else self._csv
                yield from read(itertools.chain([first], numbered))
        except (OSError, EOFError, zlib.error) as error:
            raise SourceError(f"{self.path}: {error}") from error

    def _ndjson(self, numbered: "Iterator[Numbered | BadLine]") -> Iterator[Line | BadLine]:
        decoder = msgspec.json.Decoder(Point)
        merged = lru_cache(maxsize=LABEL_SETS_CACHED)(self._merged)
        for item in numbered:
            if isinstance(item, BadLine):
                yield item
                continue
            number, text = item
            try:
                point = decoder.decode(text)
                if self._name is not None:
                    point.name = self._name
                if self._labels:
                    point.labels = merged(bytes(point.labels))
                ts_us = None if point.timestamp is None else parse_time(point.timestamp, "timestamp")
                yield Line(self.path, number, point, ts_us)
            except InvalidInput as error:
                yield BadLine(self.path, number, error.field, error.reason)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                yield BadLine(self.path, number, "line", str(error))

    def _csv(self, numbered: "Iterator[Numbered | BadLine]") -> Iterator[Line | BadLine]:
        name = self._name or name_of(self.path)
        labels = msgspec.Raw(msgspec.json.encode(self._labels))
        columns = _csv_columns(next(numbered), self.path)
        for item in numbered:
            if isinstance(item, BadLine):
                yield item
                continue
            number, text = item
            try:
                timestamp, value = _csv_fields(text, columns)
                ts_us = parse_time(timestamp, "timestamp")
                yield Line(self.path, number, Point(name, value, labels, timestamp), ts_us)
            except InvalidInput as error:
                yield BadLine(self.path, number, error.field, error.reason)

    def _merged(self, labels: bytes) -> msgspec.Raw:
        """The line's labels with the command line's, which win."""
        own = msgspec.json.decode(labels, type=dict[str, str])
        return msgspec.Raw(msgspec.json.encode({**own, **self._labels}))


Numbered = tuple[int, bytes]
"""A line's number, from 1, and its bytes without the line end."""


def name_of(path: str) -> str:
    """A metric name made of a file's: without directories and suffixes, what no name may hold replaced by ``_``."""
    stem = Path(path).name
    for suffix in (".gz", ".csv", ".ndjson", ".jsonl", ".json", ".txt"):
        stem = stem.removesuffix(suffix)
    name = _NOT_IN_NAME.sub("_", stem if path != STDIN else "stdin")[:NAME_CHARS_MAX]
    return name if re.match(r"[A-Za-z_:]", name) else f"_{name}"[:NAME_CHARS_MAX]


def utc(text: str) -> str:
    """A timestamp in RFC 3339; one without a zone, as `YYYY-MM-DD HH:MM:SS`, is meant in UTC."""
    naive = _NAIVE_TIME.match(text)
    return f"{naive[1]}T{naive[2]}Z" if naive else text


def shifted(line: Line, shift_us: int) -> Line:
    """The same sample `shift_us` later."""
    if line.ts_us is None:
        return line
    ts_us = line.ts_us + shift_us
    point = Point(line.point.name, line.point.value, line.point.labels, format_time(ts_us), line.point.source)
    return Line(line.source, line.number, point, ts_us)


def _csv_columns(header: Numbered | BadLine, path: str) -> tuple[int, int]:
    """Where timestamp and value stand."""
    wanted = "the first line of a CSV file must be timestamp,value"
    if isinstance(header, BadLine):
        raise SourceError(f"{path}: {header.reason}; {wanted}")
    try:
        names = [name.strip().lower() for name in _csv_row(header[1])]
    except InvalidInput as error:
        raise SourceError(f"{path}: {error.reason}; {wanted}") from error
    if sorted(names) != ["timestamp", "value"]:
        raise SourceError(f"{path}: {wanted}, not {','.join(names)[:80]!r}")
    return names.index("timestamp"), names.index("value")


def _csv_fields(text: bytes, columns: tuple[int, int]) -> tuple[str, float]:
    """Timestamp (RFC 3339) and value of a row; raises `InvalidInput`."""
    row = _csv_row(text)
    if len(row) != len(columns):
        raise InvalidInput("line", f"{len(row)} fields; 2 are expected")
    said = row[columns[1]].strip()
    try:
        value = float(said)
    except ValueError:
        raise InvalidInput("value", f"{said[:64]!r} is not a number") from None
    if not math.isfinite(value) or "_" in said:
        raise InvalidInput("value", f"{said[:64]!r} is not a finite number")
    return utc(row[columns[0]].strip()), value


def _csv_row(text: bytes) -> list[str]:
    try:
        decoded = text.decode()
    except UnicodeDecodeError:
        raise InvalidInput("line", "is not UTF-8 text") from None
    if '"' not in decoded:
        return decoded.split(",")
    return next(csv.reader([decoded]), [])


def _numbered_lines(readline: Callable[[int], bytes], path: str) -> Iterator[Numbered | BadLine]:
    """Lines that are not blank; one that is too long is skipped and reported."""
    number = 0
    while True:
        text = readline(LINE_BYTES_MAX)
        if not text:
            return
        number += 1
        if len(text) == LINE_BYTES_MAX and not text.endswith(b"\n"):
            while text and not text.endswith(b"\n"):
                text = readline(LINE_BYTES_MAX)
            yield BadLine(path, number, "line", f"longer than {LINE_BYTES_MAX} bytes")
            continue
        text = (text.removeprefix(_BOM) if number == 1 else text).strip(b" \t\r\n")
        if text:
            yield number, text


def _is_json(first: Numbered | BadLine) -> bool:
    return not isinstance(first, BadLine) and first[1].startswith(b"{")


def _opened(path: str) -> io.FileIO:
    """The file, unbuffered, so that its position tells how much was read."""
    try:
        if path == STDIN:
            return os.fdopen(os.dup(sys.stdin.fileno()), "rb", buffering=0)
        return Path(path).open("rb", buffering=0)
    except OSError as error:
        raise SourceError(f"{path}: {error.strerror}") from error


def _copied(file: IO[bytes], path: str) -> IO[bytes]:
    try:
        copy = tempfile.NamedTemporaryFile(prefix="sextant-replay-")  # noqa: SIM115 (the source closes it)
        shutil.copyfileobj(file, copy)
        copy.flush()
    except OSError as error:
        raise SourceError(f"{path}: cannot be copied to a temporary file: {error.strerror}") from error
    return cast("IO[bytes]", copy)


def _regular_size(file: IO[bytes]) -> int | None:
    """The size in bytes, or None where it is no regular file and can be read only once."""
    status = os.fstat(file.fileno())
    return status.st_size if stat.S_ISREG(status.st_mode) else None
