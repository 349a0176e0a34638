"""`sextant status`: what the database holds."""

import asyncio
import time
from typing import Annotated

import msgspec

from adapters.driving.cli.database import DataDir, Hidden, Json, migrated, with_data_dir
from adapters.driving.cli.output import write_facts, write_json
from adapters.driving.cli.program import Program, RemediationStatus
from adapters.driving.cli.temporal import with_temporal
from adapters.runtime.settings import Settings
from core.domain.times import SECOND_US, format_time
from ports.driven.keeping import StorageStatus


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What `sextant status --json` prints: sizes in bytes, times in RFC 3339, null where there is none."""

    database: str
    engine: str
    engine_version: str
    licence: str | None
    schema_version: str
    tenants: int
    series: int
    samples: int
    unsettled_points: int
    unsettled_age_s: float | None
    unevaluated_points: int
    unevaluated_age_s: float | None
    chunks: int
    compressed_chunks: int
    size_bytes: int
    bytes_per_sample: float | None
    uncompressed_bytes: int | None
    compression_ratio: float | None
    oldest_sample: str | None
    newest_sample: str | None
    temporal: str | None
    temporal_available: bool
    temporal_reason: str | None
    remediations_waiting: int


def status(
    *,
    data_dir: DataDir = None,
    json: Json = False,
    program: Annotated[Program, Hidden],
    settings: Annotated[Settings, Hidden],
) -> None:
    """Show the database: engine, schema, series, samples, what waits to be
    settled, chunks, compression; and whether remediation can begin.

    Works beside a running server and without one. Samples are counted exactly,
    which takes a while on large databases.

    For example:

        sextant status
        sextant status --json | jq .compression_ratio

    Exit codes: 0 shown; 1 the database cannot be used, the reason is printed; 2
    wrong usage.
    """
    with migrated(with_temporal(with_data_dir(settings, data_dir)), program) as settings:
        found, remediation = asyncio.run(_ask(program, settings))
    from adapters.runtime.database_check import address_of

    shown = report(found, remediation, address_of(settings.database.url or ""), now_us=time.time_ns() // 1_000)
    if json:
        write_json(shown)
    else:
        write_facts(facts(shown))


async def _ask(program: Program, settings: Settings) -> tuple[StorageStatus, RemediationStatus]:
    return await program.status(settings), await program.remediation(settings)


def report(found: StorageStatus, remediation: RemediationStatus, database: str, *, now_us: int) -> Report:
    """What the store and Temporal say, as it is shown at `now_us`."""
    ratio = None
    if found.uncompressed_bytes and found.size_bytes:
        ratio = round(found.uncompressed_bytes / found.size_bytes, 2)
    return Report(
        database=database,
        engine=found.engine,
        engine_version=found.engine_version,
        licence=found.licence,
        schema_version=found.schema_version,
        tenants=found.tenants,
        series=found.series,
        samples=found.samples,
        unsettled_points=found.unsettled_points,
        unsettled_age_s=_age_s(found.unsettled_oldest_us, now_us),
        unevaluated_points=found.unevaluated_points,
        unevaluated_age_s=_age_s(found.unevaluated_oldest_us, now_us),
        chunks=found.chunks,
        compressed_chunks=found.compressed_chunks,
        size_bytes=found.size_bytes,
        bytes_per_sample=round(found.size_bytes / found.samples, 2) if found.samples else None,
        uncompressed_bytes=found.uncompressed_bytes,
        compression_ratio=ratio,
        oldest_sample=None if found.oldest_us is None else format_time(found.oldest_us),
        newest_sample=None if found.newest_us is None else format_time(found.newest_us),
        temporal=remediation.engine.address,
        temporal_available=remediation.engine.available,
        temporal_reason=remediation.engine.reason,
        remediations_waiting=remediation.waiting,
    )


def facts(shown: Report) -> list[tuple[str, str]]:
    """The report for a person."""
    licence = "" if shown.licence is None else f", licence {shown.licence}"
    compressed = "none"
    if shown.compression_ratio is not None:
        compressed = (
            f"{shown.compression_ratio:g} times smaller than {size_text(shown.uncompressed_bytes)} of plain rows"
        )
    each = "" if shown.bytes_per_sample is None else f", {shown.bytes_per_sample:g} bytes a sample"
    temporal = f"at {shown.temporal}" if shown.temporal_available else f"away: {shown.temporal_reason}"
    return [
        ("database", shown.database),
        ("engine", f"{shown.engine_version}{licence}"),
        ("schema", shown.schema_version),
        ("tenants", f"{shown.tenants:,}"),
        ("series", f"{shown.series:,}"),
        ("samples", f"{shown.samples:,}"),
        ("unsettled", _waiting(shown.unsettled_points, shown.unsettled_age_s)),
        ("not evaluated", _waiting(shown.unevaluated_points, shown.unevaluated_age_s)),
        ("chunks", f"{shown.chunks:,}, {shown.compressed_chunks:,} of them compressed"),
        ("compression", compressed),
        ("size on disk", f"{size_text(shown.size_bytes)}{each}"),
        ("oldest sample", shown.oldest_sample or "none"),
        ("newest sample", shown.newest_sample or "none"),
        ("temporal", temporal),
        ("remediations", f"{shown.remediations_waiting:,} waiting to be started"),
    ]


def size_text(size_bytes: int | None) -> str:
    """A size for a person: three digits and a binary unit."""
    size = float(size_bytes or 0)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1_000:
            return f"{size:.3g} {unit}"
        size /= 1_024
    return f"{size:.3g} TiB"


def _age_s(oldest_us: int | None, now_us: int) -> float | None:
    return None if oldest_us is None else max(0.0, round((now_us - oldest_us) / SECOND_US, 1))


def _waiting(points: int, age_s: float | None) -> str:
    age = "" if age_s is None else f", the oldest for {age_s:g} s"
    return f"{points:,}{age}"
