"""PostgreSQL's binary forms as numpy columns, both ways, without an object per value."""

import struct
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np

from core.domain.columns import Columns, Float64s, Int32s, Int64s
from core.domain.times import EPOCH

POSTGRES_EPOCH_US: Final = int((datetime(2000, 1, 1, tzinfo=UTC) - EPOCH).total_seconds()) * 1_000_000
"""timestamptz counts microseconds from 2000-01-01."""
COPY_SLICE_ROWS: Final = 25_000
"""About 1 MB a message: large enough to be cheap, small enough not to double memory."""

_COPY_HEADER: Final = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
_COPY_TRAILER: Final = struct.pack(">h", -1)
_COPY_ROW: Final = np.dtype(
    [
        ("fields", ">i2"),
        ("ts_size", ">i4"),
        ("ts", ">i8"),
        ("tenant_size", ">i4"),
        ("tenant", ">i4"),
        ("series_size", ">i4"),
        ("series", ">i4"),
        ("value_size", ">i4"),
        ("value", ">f8"),
    ]
)
COPY_COLUMNS: Final = ["ts", "tenant_id", "series_id", "value"]


def timestamp(ts_us: int) -> datetime:
    """A query parameter from microseconds since the Unix epoch."""
    return EPOCH + timedelta(microseconds=int(ts_us))


def microseconds(instant: datetime) -> int:
    """Microseconds since the Unix epoch of a value the driver returned."""
    return (instant - EPOCH) // timedelta(microseconds=1)


def int32s(sent: bytes | None) -> Int32s:
    """The column of ``string_agg(int4send(…))``; None is no rows."""
    return np.frombuffer(sent or b"", ">i4").astype(np.int32)


def int64s(sent: bytes | None) -> Int64s:
    """The column of ``string_agg(int8send(…))``."""
    return np.frombuffer(sent or b"", ">i8").astype(np.int64)


def float64s(sent: bytes | None) -> Float64s:
    """The column of ``string_agg(float8send(…))``."""
    return np.frombuffer(sent or b"", ">f8").astype(np.float64)


def instants(sent: bytes | None) -> Int64s:
    """The column of ``string_agg(timestamptz_send(…))``, as microseconds since the Unix epoch."""
    return int64s(sent) + POSTGRES_EPOCH_US


def columns_of(row: Any) -> Columns:
    """The points of a row with series_ids, ts and values."""
    return Columns(int32s(row["series_ids"]), instants(row["ts"]), float64s(row["values"]))


async def binary_copy(points: Columns, tenant_ids: Int32s) -> AsyncIterator[bytes]:
    """The points as a binary COPY of `COPY_COLUMNS`, in slices.

    Source: https://www.postgresql.org/docs/current/sql-copy.html (Binary Format)
    """
    yield _COPY_HEADER
    for start in range(0, len(points), COPY_SLICE_ROWS):
        part = slice(start, start + COPY_SLICE_ROWS)
        rows = np.empty(len(points.ts_us[part]), _COPY_ROW)
        rows["fields"], rows["ts_size"], rows["tenant_size"], rows["series_size"], rows["value_size"] = 4, 8, 4, 4, 8
        rows["ts"] = points.ts_us[part] - POSTGRES_EPOCH_US
        rows["tenant"] = tenant_ids[part]
        rows["series"] = points.series_ids[part]
        rows["value"] = points.values[part]
        yield rows.tobytes()
    yield _COPY_TRAILER
