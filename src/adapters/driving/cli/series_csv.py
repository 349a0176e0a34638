"""One series as CSV, ``timestamp,value`` a line, read as a stream; the header may be left out."""

import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from adapters.driving.cli.output import CommandError
from adapters.driving.cli.replay_source import LINE_BYTES_MAX, STDIN, utc
from core.domain.errors import InvalidInput
from core.domain.times import parse_time

HEADER: Final = ("timestamp", "value")
_BOM: Final = b"\xef\xbb\xbf"


class BadRowError(CommandError):
    """A line is no sample; says which and why."""

    def __init__(self, path: str, number: int, reason: str) -> None:
        super().__init__(f"{path}:{number}: {reason}")
        self.number = number


def read_rows(path: str) -> Iterator[tuple[int, float]]:
    """Times (microseconds since the Unix epoch) and finite values, each as soon as its line is there.

    ``-`` is standard input. Blank lines are passed over. Raises `BadRowError` at the first line that is no sample, and
    `CommandError` where the file cannot be read.
    """
    with _opened(path) as file:
        number = 0
        first = True
        while text := file.readline(LINE_BYTES_MAX):
            number += 1
            if len(text) == LINE_BYTES_MAX:
                raise BadRowError(path, number, f"longer than {LINE_BYTES_MAX} bytes")
            text = (text.removeprefix(_BOM) if number == 1 else text).strip()
            if not text:
                continue
            try:
                fields = [field.strip() for field in text.decode().split(",")]
                if first and tuple(field.lower() for field in fields) == HEADER:
                    continue
                yield _row(fields)
            except UnicodeDecodeError:
                raise BadRowError(path, number, "is not UTF-8 text") from None
            except InvalidInput as error:
                raise BadRowError(path, number, str(error)) from None
            finally:
                first = False


def _row(fields: list[str]) -> tuple[int, float]:
    if len(fields) != len(HEADER):
        raise InvalidInput("line", f"{len(fields)} fields; timestamp,value is expected")
    timestamp, said = fields
    try:
        value = float(said)
    except ValueError:
        raise InvalidInput("value", f"{said[:64]!r} is not a number") from None
    if not math.isfinite(value) or "_" in said:
        raise InvalidInput("value", f"{said[:64]!r} is not a finite number")
    return parse_time(utc(timestamp), "timestamp"), value


@contextmanager
def _opened(path: str) -> Iterator[IO[bytes]]:
    """The file's bytes; errors of reading it name it."""
    try:
        if path == STDIN:
            yield sys.stdin.buffer
            return
        with Path(path).open("rb") as file:
            yield file
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}") from error
