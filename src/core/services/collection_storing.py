"""Storing what a source answered: screen → resolve series → compare with what is stored → ingest what is new.

Only points that are not stored yet, or with another value, go through ingest, so that collecting the same window twice
stores nothing and a late revision replaces what it revises. Points at fault are counted and named, and cost the others
nothing.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

import msgspec
import numpy as np

from core.domain.columns import Columns, Int32s, concat_columns, overriding
from core.domain.errors import InvalidInput, TooExpensive
from core.domain.points import POINTS_PER_REQUEST_MAX, IngestReply, Point
from core.domain.series import SeriesIdentity
from core.domain.tenants import Limits, Principal, Scope
from core.domain.times import format_times
from core.services.collection_patience import Patience
from core.services.collection_rows import Rows, Tally, compared, fit_rows, joined, range_of
from core.services.collection_screening import identity_of
from core.services.policies import Policies, TenantRules
from ports.driven.clock import Clock
from ports.driven.metric_source import SeriesPoints
from ports.driven.sample_reader import SampleReader
from ports.driven.series_catalog import SeriesCatalog
from ports.driven.source_store import CollectionClaim
from ports.driving.ingestion import Ingestion, IngestRequest

STORED_POINTS_MAX: Final = 1_000_000
"""Read at once to compare with: 20 MB. Where a window holds more it is read in halves."""
READ_LIMITS: Final = Limits(
    samples_per_s=1.0, samples_burst=1.0, series_max=1, query_points_max=STORED_POINTS_MAX, query_timeout_s=30.0
)
"""A tenant's own limits on queries are no reason not to store what it has asked for."""
KNOWN_MAX: Final = 100_000
"""Series remembered in one run; past it they are looked up again."""


class Stores(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """Where samples go, and what is asked about them."""

    ingestion: Ingestion
    reader: SampleReader
    catalog: SeriesCatalog
    policies: Policies


class Part(msgspec.Struct, frozen=True, eq=False):
    """Series of one item's answer. Points in ``[since_us, until_us]`` are kept."""

    series: Sequence[SeriesPoints]
    since_us: int
    until_us: int
    tally: Tally
    """What becomes of them is added here."""


class Storing:
    """Stores the answers to one run. Not safe for concurrent calls; storing the same again changes nothing."""

    def __init__(self, stores: Stores, claim: CollectionClaim, clock: Clock, patience: Patience) -> None:
        self._stores = stores
        self._tenant_id = claim.tenant_id
        self._principal = Principal(
            tenant_id=claim.tenant_id, tenant=claim.tenant, key_id=0, scopes=frozenset({Scope.INGEST})
        )
        self._source = claim.spec.kind.value
        self._clock = clock
        self._patience = patience
        self._known: dict[SeriesIdentity, int] = {}
        self._refused: set[SeriesIdentity] = set()

    async def store(self, parts: Sequence[Part]) -> None:
        """Stores what is new or revised. Raises `RateLimited` or `Unavailable` where waiting has not helped; what has
        been stored by then stays."""
        if len(self._known) > KNOWN_MAX:
            self._known.clear()
        rules = await self._patience.of(partial(self._stores.policies.of, self._tenant_id))
        now_us = self._clock.now_us()
        identified = [self._identified(part) for part in parts]
        for part, series in zip(parts, identified, strict=True):
            new = [identity for identity in series if identity not in self._known]
            part.tally.count(created=await self.resolve(new, rules))
        rows, forms = [], {}
        for owner, (part, series) in enumerate(zip(parts, identified, strict=True)):
            for identity, answers in series.items():
                series_id = self._known.get(identity)
                if series_id is None:
                    part.tally.no_room.add(identity)
                    part.tally.refuse(sum(len(one.ts_us) for one in answers), _no_room(rules))
                    continue
                forms[series_id] = _Form(identity)
                since_us = max(part.since_us, rules.cutoff_us(identity.name, now_us))
                rows += [
                    fit_rows(
                        one, series_id, owner, part.tally, since_us=since_us, until_us=part.until_us, now_us=now_us
                    )
                    for one in answers
                ]
        ordered = joined(rows)
        for first in range(0, len(ordered), POINTS_PER_REQUEST_MAX):
            await self._store_rows(ordered.take(slice(first, first + POINTS_PER_REQUEST_MAX)), forms, parts)

    async def resolve(self, identities: Sequence[SeriesIdentity], rules: TenantRules) -> int:
        """Finds or creates series where there is room, which is looked at once in a run; returns how many are new."""
        asked = [identity for identity in identities if identity not in self._refused]
        if not asked:
            return 0
        # With no room at all the catalog only finds: what it creates afterwards was not there before.
        missing = await self._resolve(asked, 0)
        still_missing = await self._resolve(missing, rules.limits.series_max)
        if len(self._refused) < KNOWN_MAX:
            self._refused.update(still_missing)
        return len(missing) - len(still_missing)

    def has_room(self, identity: SeriesIdentity) -> bool:
        """Whether the series, which was resolved before, is in the catalog."""
        return identity in self._known

    async def _resolve(self, identities: Sequence[SeriesIdentity], series_max: int) -> list[SeriesIdentity]:
        """Remembers the ids of series, and returns those that have none."""
        missing = []
        for first in range(0, len(identities), POINTS_PER_REQUEST_MAX):
            some = identities[first : first + POINTS_PER_REQUEST_MAX]
            resolved = await self._patience.of(
                partial(self._stores.catalog.resolve, self._tenant_id, some, series_max=series_max)
            )
            for identity, series_id in zip(some, resolved.series_ids, strict=True):
                if series_id is None:
                    missing.append(identity)
                else:
                    self._known[identity] = series_id
        return missing

    def _identified(self, part: Part) -> dict[SeriesIdentity, list[SeriesPoints]]:
        """The part's series whose names and labels can be; the others are refused."""
        found: dict[SeriesIdentity, list[SeriesPoints]] = {}
        for points in part.series:
            part.tally.count(fetched=len(points.ts_us))
            try:
                found.setdefault(identity_of(points, self._source), []).append(points)
            except InvalidInput as error:
                part.tally.refuse(len(points.ts_us), str(error))
        return found

    async def _store_rows(self, rows: Rows, forms: Mapping[int, "_Form"], parts: Sequence[Part]) -> None:
        stored = await self._patience.of(partial(self._stored, rows.points))
        new, revised = compared(rows, stored)
        changed = new | revised
        refused = np.zeros(len(rows), np.bool_)
        if changed.any():
            # In the order of time, so that what is ahead of the clock stands last.
            wanted = np.flatnonzero(changed)
            wanted = wanted[np.argsort(rows.points.ts_us[wanted], kind="stable")]
            request = self._request(rows.take(wanted), forms)
            reply = await self._patience.of(partial(self._stores.ingestion.ingest, request))
            for position, reason in _rejections(reply, len(wanted)).items():
                refused[wanted[position]] = True
                parts[rows.owners[wanted[position]]].tally.refuse(1, reason)
        for owner in np.unique(rows.owners).tolist():
            own = (rows.owners == owner) & ~refused
            parts[owner].tally.count(
                stored=int((own & new).sum()), revised=int((own & revised).sum()), unchanged=int((own & ~changed).sum())
            )

    async def _stored(self, points: Columns) -> Columns:
        """What is stored of the series of `points` in their range."""
        series_ids: Int32s = np.unique(points.series_ids)
        time_range = range_of(points)
        try:
            async with self._stores.reader.snapshot(self._tenant_id, READ_LIMITS) as snapshot:
                settled = await snapshot.settled_points(series_ids, time_range)
                return overriding(settled, snapshot.head(series_ids, time_range))
        except TooExpensive:
            if len(points) == 1:
                raise
        middle = len(points) // 2
        halves = [await self._stored(points.take(half)) for half in (slice(middle), slice(middle, None))]
        return overriding(concat_columns(halves), halves[-1])

    def _request(self, rows: Rows, forms: Mapping[int, "_Form"]) -> IngestRequest:
        points = rows.points
        columns = zip(
            points.series_ids.tolist(), format_times(points.ts_us.tolist()), points.values.tolist(), strict=True
        )
        return IngestRequest(
            principal=self._principal,
            points=[
                Point(forms[series_id].name, value, forms[series_id].labels, timestamp, self._source)
                for series_id, timestamp, value in columns
            ],
        )


class _Form:
    """How a series is written to ingest."""

    __slots__ = ("labels", "name")

    def __init__(self, identity: SeriesIdentity) -> None:
        self.name = identity.name
        self.labels = msgspec.Raw(msgspec.json.encode(dict(identity.labels)))


def _no_room(rules: TenantRules) -> str:
    return f"a new series, and the tenant has its {rules.limits.series_max:,} active series already"


def _rejections(reply: IngestReply, points: int) -> dict[int, str]:
    """Position in the request → why it was refused. Where not all are told, the others are the last ones."""
    told = {rejection.index: f"{rejection.field}: {rejection.reason}" for rejection in reply.errors}
    last = reply.errors[-1] if reply.errors else None
    for position in reversed(range(points)):
        if len(told) >= reply.rejected:
            break
        if position not in told:
            told[position] = f"{last.field}: {last.reason}" if last is not None else "refused"
    return told
