"""Taking metrics in: screen → resolve series → append to the journal → acknowledge.

Everything works on the whole request as columns; a metric at fault is noted by its position and left out, and costs the
others nothing. What is acknowledged has been committed by the journal.
"""

import json
from collections import Counter
from collections.abc import Sequence
from operator import attrgetter
from typing import Any, Final

import msgspec
import numpy as np

from core.detection.plan import RISK_METRIC
from core.domain.columns import Bools, Columns, Float64s, Int32s, Int64s
from core.domain.errors import Conflict, InvalidInput
from core.domain.points import (
    ERRORS_SHOWN_MAX,
    IngestReply,
    Point,
    Rejection,
)
from core.domain.series import SeriesIdentity, series_identity
from core.domain.tenants import Scope
from core.domain.times import SECOND_US, format_time, parse_time
from core.services.policies import Policies, TenantRules
from core.services.series_cache import SeriesCache
from ports.driven.clock import Clock
from ports.driven.journal import IdempotentReply, Journal, JournalEntry, StoredReply
from ports.driven.series_catalog import SeriesCatalog
from ports.driven.telemetry import Telemetry
from ports.driving.ingestion import IngestRequest

TIMES_KEPT_MAX: Final = 65_536
"""Distinct timestamps remembered in their written form: those of some minutes of many agents."""
VALUE_ABS_MAX: Final = 1e300
"""A day of one series' samples at any rate still sums up to a double, so stored aggregates cannot overflow."""
IDEMPOTENCY_KEY_CHARS_MAX: Final = 255
"""Longer than any UUID or hash."""

_value = attrgetter("value")
_timestamp = attrgetter("timestamp")

Refused = dict[int, tuple[str, str]]
"""Position among the decoded points → (field, reason)."""


class IngestService:
    """Implements `ports.driving.ingestion.Ingestion`."""

    def __init__(
        self,
        journal: Journal,
        catalog: SeriesCatalog,
        policies: Policies,
        clock: Clock,
        telemetry: Telemetry,
        *,
        future_skew_s: float,
        cache_entries_max: int,
    ) -> None:
        self._journal = journal
        self._catalog = catalog
        self._policies = policies
        self._clock = clock
        self._telemetry = telemetry
        self._future_skew_us = round(future_skew_s * SECOND_US)
        self._cache_entries_max = cache_entries_max
        self._caches: dict[int, SeriesCache] = {}
        self._times: dict[str | None, int] = {}

    async def ingest(self, request: IngestRequest) -> IngestReply:
        """See `Ingestion.ingest`."""
        request.principal.require(Scope.INGEST)
        tenant_id = request.principal.tenant_id
        rules = await self._policies.of(tenant_id)
        if request.idempotency_key is not None:
            stored = await self._stored(request, request.idempotency_key)
            if stored is not None:
                return stored
        rules.bucket.take(len(request.points), self._clock.monotonic_s())
        refused: Refused = {}
        now_us = self._clock.now_us()
        ts_us = self._instants(request.points, now_us, refused)
        values = _finite_values(request.points, refused)
        if len(ts_us):
            await self._refuse_out_of_window(request, ts_us, now_us, rules, refused)
        series_ids, misses = await self._series_ids(request, rules, refused)
        points, rejections = _screened(request, Columns(series_ids, ts_us, values), refused)
        hits = len(request.points) - misses
        # What waits for its commit holds columns only, a twentieth of the objects that they were made from.
        request = msgspec.structs.replace(request, points=())
        reply = await self._append(request, points, rejections)
        self._telemetry.ingested(
            accepted=reply.accepted,
            rejected=Counter(rejection.field for rejection in rejections),
            cache_hits=hits,
            cache_misses=misses,
        )
        return reply

    async def _append(
        self, request: IngestRequest, points: Columns, rejections: Sequence[Rejection]
    ) -> IngestReply:
        shown = tuple(rejections[:ERRORS_SHOWN_MAX])
        if len(points) == 0 or (request.atomic and rejections):
            return IngestReply(0, len(rejections), shown)
        kept = None
        if request.idempotency_key is not None:
            kept = IdempotentReply(
                key=request.idempotency_key,
                body_sha256=request.body_sha256,
                accepted=len(points),
                rejected=len(rejections),
                errors=msgspec.json.encode(shown),
            )
        committed = await self._journal.append(JournalEntry(request.principal.tenant_id, points, kept))
        if isinstance(committed, StoredReply):
            return _repeated(request, committed)
        return IngestReply(len(points), len(rejections), shown, str(committed))

    async def _stored(self, request: IngestRequest, key: str) -> IngestReply | None:
        if not 1 <= len(key) <= IDEMPOTENCY_KEY_CHARS_MAX or not key.isprintable():
            raise InvalidInput("Idempotency-Key", f"must be 1 to {IDEMPOTENCY_KEY_CHARS_MAX} printable characters")
        stored = await self._journal.stored_reply(request.principal.tenant_id, key)
        return _repeated(request, stored) if stored is not None else None

    def _instants(self, points: Sequence[Point], now_us: int, refused: Refused) -> Int64s:
        """Each point's timestamp; `now_us` where it has none."""
        written = list(map(_timestamp, points))
        times = self._times
        if len(times) > TIMES_KEPT_MAX:
            times.clear()
        times[None] = now_us
        wrong: dict[str, str] = {}
        for text in set(written) - times.keys():
            try:
                times[text] = parse_time(text, "timestamp")
            except InvalidInput as error:
                wrong[text] = error.reason
        if wrong:
            for position, text in enumerate(written):
                if text in wrong:
                    refused[position] = ("timestamp", wrong[text])
            return np.array([times.get(text, now_us) for text in written], np.int64)
        return np.fromiter(map(times.__getitem__, written), np.int64, len(written))

    async def _refuse_out_of_window(
        self, request: IngestRequest, ts_us: Int64s, now_us: int, rules: TenantRules, refused: Refused
    ) -> None:
        """Notes points too far in the future, or past their metric's retention."""
        ahead = ts_us > now_us + self._future_skew_us
        for position in np.flatnonzero(ahead).tolist():
            refused.setdefault(
                position,
                (
                    "timestamp",
                    f"{format_time(ts_us[position])} is more than {self._future_skew_us // SECOND_US} s ahead of "
                    f"the server's clock ({format_time(now_us)})",
                ),
            )
        old = ts_us < rules.latest_cutoff_us(now_us)
        if not old.any():
            return
        # A definition may just have been changed through another process: look again before refusing anything.
        rules = await self._policies.reread(request.principal.tenant_id)
        for position in np.flatnonzero(old).tolist():
            name = request.points[position].name
            cutoff_us = rules.cutoff_us(name, now_us)
            if ts_us[position] < cutoff_us:
                refused.setdefault(
                    position,
                    (
                        "timestamp",
                        f"{format_time(ts_us[position])} is past the retention of {name[:64]!r}, which keeps samples "
                        f"from {format_time(cutoff_us)} on; a definition with more retention_days keeps older ones",
                    ),
                )

    async def _series_ids(
        self, request: IngestRequest, rules: TenantRules, refused: Refused
    ) -> tuple[Int32s, int]:
        """The series of each point (0 where it is refused), and how many had to be looked up."""
        cache = self._caches.setdefault(request.principal.tenant_id, SeriesCache(self._cache_entries_max))
        known = cache.ids(request.points)
        if known is not None:
            return known, 0
        series_ids = [cache.get(point) for point in request.points]
        wanted: dict[SeriesIdentity, list[int]] = {}
        misses = 0
        for position, series_id in enumerate(series_ids):
            if series_id is not None or position in refused:
                continue
            misses += 1
            try:
                wanted.setdefault(_identity(request.points[position]), []).append(position)
            except InvalidInput as error:
                refused[position] = (error.field, error.reason)
        if wanted:
            await self._resolve(request, rules, wanted, series_ids, cache, refused)
        return np.array([series_id or 0 for series_id in series_ids], np.int32), misses

    async def _resolve(
        self,
        request: IngestRequest,
        rules: TenantRules,
        wanted: dict[SeriesIdentity, list[int]],
        series_ids: list[int | None],
        cache: SeriesCache,
        refused: Refused,
    ) -> None:
        series_max = rules.limits.series_max
        resolved = await self._catalog.resolve(request.principal.tenant_id, list(wanted), series_max=series_max)
        for series_id, positions in zip(resolved.series_ids, wanted.values(), strict=True):
            for position in positions:
                if series_id is None:
                    worst = resolved.worst_label
                    blame = f"; label {worst.label!r} has {worst.values:,} values" if worst is not None else ""
                    refused[position] = (
                        "labels",
                        f"a new series, and the tenant has its {series_max:,} active series already{blame}",
                    )
                else:
                    series_ids[position] = series_id
                    cache.put(request.points[position], series_id)


def _finite_values(points: Sequence[Point], refused: Refused) -> Float64s:
    values = np.fromiter(map(_value, points), np.float64, len(points))
    fit = np.abs(values) <= VALUE_ABS_MAX  # False for NaN as well
    if not fit.all():
        for position in np.flatnonzero(~fit).tolist():
            if np.isfinite(values[position]):
                reason = f"{values[position]:g} is beyond ±{VALUE_ABS_MAX:g}: sums of such values are no numbers"
            else:
                reason = "is not a finite number; leave out a metric that has no value"
            refused.setdefault(position, ("value", reason))
    return values


def _screened(request: IngestRequest, points: Columns, refused: Refused) -> tuple[Columns, list[Rejection]]:
    """The points to store, and all refusals by their index in the request."""
    if not refused:
        return points, list(request.rejections)
    keep: Bools = np.ones(len(points), np.bool_)
    keep[list(refused)] = False
    places = request.indexes
    rejections = [
        *request.rejections,
        *(
            Rejection(position if places is None else places[position], field, reason)
            for position, (field, reason) in refused.items()
        ),
    ]
    return points.take(keep), sorted(rejections, key=lambda rejection: rejection.index)


def _repeated(request: IngestRequest, stored: StoredReply) -> IngestReply:
    """The first reply to an idempotency key; raises `Conflict` where the body is another."""
    if stored.reply.body_sha256 != request.body_sha256:
        raise Conflict(
            "this Idempotency-Key came with another body before; use a new key for new data, the same body for a retry"
        )
    errors = msgspec.json.decode(stored.reply.errors, type=tuple[Rejection, ...])
    return IngestReply(stored.reply.accepted, stored.reply.rejected, errors, str(stored.receipt))


def _identity(point: Point) -> SeriesIdentity:
    """The canonical identity of a point; raises `InvalidInput`."""
    if point.name == RISK_METRIC:  # a rule fires on it, and its remediation runs: who may send is not who may alert
        raise InvalidInput("name", f"{RISK_METRIC} is published by detection itself; choose another name")
    try:
        labels = json.loads(bytes(point.labels), object_pairs_hook=_distinct)
    except (ValueError, RecursionError):
        raise InvalidInput("labels", "is not a JSON object of strings") from None
    if labels is None:
        labels = {}
    if not isinstance(labels, dict):
        raise InvalidInput("labels", "is not a JSON object of strings")
    for label, value in labels.items():
        if not isinstance(value, str):
            raise InvalidInput(f"labels.{label[:64]}", "is not a string; write numbers and booleans in quotes")
    return series_identity(point.name, labels, point.source)


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    labels = dict(pairs)
    if len(labels) < len(pairs):
        twice = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise InvalidInput("labels", f"the label {twice[:64]!r} stands twice")
    return labels
