"""What `sextant explain` reads: NDJSON metrics and the service graph; the first wrong line ends it, by its number."""

import csv
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from adapters.driving.cli.output import CommandError
from adapters.driving.cli.replay_source import STDIN, BadLine, Source, SourceError
from core.detection.metric_meaning import ObservedSeries
from core.domain.errors import InvalidInput
from core.domain.series import series_identity
from core.domain.times import TimeRange

__all__ = ["STDIN", "Observed", "read_dependencies", "read_observed"]

SAMPLES_MAX: Final = 5_000_000
"""About half a gigabyte of memory; 10,000 series for an hour, every ten seconds, are 3.6 million."""
DEPENDENCIES_BYTES_MAX: Final = 16 << 20
"""Some 400,000 call edges; a file past this is another one than was meant."""
_COLUMNS: Final = ["client", "server"]


class Observed(msgspec.Struct, frozen=True):
    """The series read, and what was counted."""

    series: Sequence[ObservedSeries]
    samples: int
    services: frozenset[str]
    """All that a series or an edge names."""

    def measured(self, *, before_us: int | None = None, from_us: int | None = None) -> bool:
        """Whether any series has a sample before, or from, an instant."""
        return any(
            (before_us is not None and one.ts_us.min() < before_us)
            or (from_us is not None and one.ts_us.max() >= from_us)
            for one in self.series
        )


def read_observed(path: str, span: TimeRange) -> Observed:
    """The samples of services and call edges in `span`; all lines are checked, those outside included.

    Raises `CommandError` naming the first line that is wrong.
    """
    samples: dict[tuple[str, bytes], tuple[list[int], list[float]]] = {}
    count = 0
    source = Source(path, name=None, labels={}, rereadable=False)
    try:
        for line in source.lines():
            if isinstance(line, BadLine):
                raise _wrong(line.number, f"{line.field}: {line.reason}")
            point = line.point
            labels = bytes(point.labels)
            try:
                _checked_labels(point.name, labels)
            except InvalidInput as error:
                raise _wrong(line.number, str(error)) from error
            except msgspec.DecodeError as error:
                raise _wrong(line.number, f"labels: {error}") from error
            if line.ts_us is None:
                raise _wrong(line.number, "timestamp: is missing")
            if not span.start_us <= line.ts_us < span.end_us:
                continue
            count += 1
            if count > SAMPLES_MAX:
                raise _wrong(line.number, f"more than {SAMPLES_MAX:,} samples; give less, or a shorter --before")
            times_us, values = samples.setdefault((point.name, labels), ([], []))
            times_us.append(line.ts_us)
            values.append(point.value)
    except SourceError as error:
        raise CommandError(f"standard input has no NDJSON metrics: {error}") from error
    finally:
        source.close()
    return _observed(samples, count)


def _observed(samples: dict[tuple[str, bytes], tuple[list[int], list[float]]], count: int) -> Observed:
    """Series of the same labels in another order or spelling are one."""
    merged: dict[tuple[str, tuple[tuple[str, str], ...]], tuple[list[int], list[float]]] = {}
    for (name, raw), (times_us, values) in samples.items():
        all_times_us, all_values = merged.setdefault((name, _checked_labels(name, raw)), ([], []))
        all_times_us += times_us
        all_values += values
    series = [
        ObservedSeries(name, dict(labels), np.array(times_us, np.int64), np.array(values, np.float64))
        for (name, labels), (times_us, values) in merged.items()
    ]
    kept = [one for one in series if one.edge or one.service]
    named = {service for one in kept for service in (one.edge or (one.service,)) if service}
    return Observed(kept, count, frozenset(named))


@lru_cache(maxsize=100_000)
def _checked_labels(name: str, raw: bytes) -> tuple[tuple[str, str], ...]:
    """The labels in canonical order; raises `InvalidInput`, or `msgspec.DecodeError` where they are none."""
    return series_identity(name, msgspec.json.decode(raw, type=dict[str, str]), None).labels


def read_dependencies(path: Path) -> dict[int, tuple[str, str]]:
    """The call edges (client, server) of a CSV file, each by the number of its line.

    Raises `CommandError` naming the file and the first line that is wrong.
    """
    try:
        with path.open("rb") as file:
            text = file.read(DEPENDENCIES_BYTES_MAX + 1)
        if len(text) > DEPENDENCIES_BYTES_MAX:
            raise CommandError(f"{path}: larger than {DEPENDENCIES_BYTES_MAX >> 20} MiB")
        return _edges(path, text.decode("utf-8-sig").splitlines())
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise CommandError(f"{path}: is not UTF-8 text") from error


def _edges(path: Path, lines: Sequence[str]) -> dict[int, tuple[str, str]]:
    rows = csv.reader(lines, strict=True)
    edges: dict[int, tuple[str, str]] = {}
    header: list[str] | None = None
    try:
        for row in rows:
            fields = [field.strip() for field in row]
            if not any(fields):
                continue
            if header is None:
                header = [field.lower() for field in fields]
                if sorted(header) != _COLUMNS:
                    raise CommandError(f"{path}, line {rows.line_num}: the first line must be client,server")
                continue
            if len(fields) != len(_COLUMNS) or not all(fields):
                raise CommandError(f"{path}, line {rows.line_num}: a client and a server are expected")
            named = dict(zip(header, fields, strict=True))
            edges[rows.line_num] = (named["client"], named["server"])
    except csv.Error as error:
        raise CommandError(f"{path}, line {rows.line_num}: {error}") from error
    if header is None:
        raise CommandError(f"{path}: is empty; the first line must be client,server")
    return edges


def _wrong(number: int, reason: str) -> CommandError:
    return CommandError(f"standard input, line {number}: {reason}")
