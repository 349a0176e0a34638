"""One attempt at a run of a source: open it, see what there is, fetch each item's window, store it, note how far it is.

Theory of operation. Parts of answers are gathered until they fill a request to ingest, or for a moment, and are stored
together; only then do the checkpoints of their items move, in one transaction with the claim's lease: to the end of the
window, or as far as the source says that it has answered. A process that dies between the two leaves points that the
next attempt finds unchanged. What an item lacks stays behind its checkpoint and is asked for again. Of an ended run
nothing is left to do: what failed is fetched by the next one, from where it broke off.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from typing import Final

import msgspec

from core.domain.collection import Counts, ItemResult, Problem, ProblemKind, Progress
from core.domain.definitions import RETENTION_DAYS_DEFAULT, retention_cutoff
from core.domain.errors import RateLimited, Unavailable
from core.domain.points import POINTS_PER_REQUEST_MAX
from core.domain.series import SeriesIdentity
from core.domain.times import DAY_US, format_time
from core.services.collection_ending import Ending, Tasks, failed
from core.services.collection_found import FoundThings
from core.services.collection_items import RunItem, Standing, forgotten, name_in, own_range, standings, titles, turn_of
from core.services.collection_patience import Patience
from core.services.collection_rows import Tally
from core.services.collection_screening import cleaned_problem
from core.services.collection_storing import Part, Stores, Storing
from core.services.collection_windows import Asked, asked_for, instant_of, window_of
from ports.driven.clock import Clock
from ports.driven.cluster_store import CapacityStore, ConfigStore
from ports.driven.metric_source import (
    Collected,
    Discovery,
    ItemWindow,
    MetricSource,
    SourceError,
    SourceOpener,
    Usage,
)
from ports.driven.pause import Pause
from ports.driven.source_store import Checkpoint, CollectionClaim, CollectionWorkStore, SealError, Sealing
from ports.driving.collecting import EXTEND_S

LEASE_S: Final = 3 * EXTEND_S
"""Two of three extensions may fail; a dead server's run is taken up after so long."""
RUN_S_MAX: Final = 3_600.0
"""A slow vendor must not keep a collector for ever from others; the next run goes on from there."""
GATHER_S: Final = 1.0
"""What is fetched is stored after this long at the latest; somebody may be watching."""
GATHER_PARTS_MAX: Final = 500
DOUBT_S: Final = 2.0
"""A process that was not slow, but asleep for longer, may have lost its claim: it asks before it stores."""
BUCKET_US_MAX: Final = DAY_US
"""Vendors that answer in buckets give the one that holds the window's start, whose timestamp lies before it."""


class Surroundings(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """What every run uses."""

    work: CollectionWorkStore
    opener: SourceOpener
    stores: Stores
    capacity: CapacityStore
    configurations: ConfigStore
    sealing: Sealing
    clock: Clock
    pause: Pause


class CollectionPass:
    """Does a claimed run, once. Raises `Conflict` where the claim was lost."""

    def __init__(self, around: Surroundings, claim: CollectionClaim, *, trusted: bool) -> None:
        self._around = around
        self._claim = claim
        self._trusted = trusted
        self._clock = around.clock
        self._patience = Patience(around.clock, around.pause)
        self._storing = Storing(around.stores, claim, around.clock, self._patience)
        self._things = FoundThings(
            around.work, around.capacity, around.configurations, claim, around.clock, self._patience
        )
        self._before = claim.run.progress
        self._items: dict[str, RunItem] = {}
        self._titles: dict[str, str] = {}
        self._pending: list[Collected] = []
        self._tasks = Tasks(0, len(claim.finished_items))
        self._begun_s = self._stored_s = self._clock.monotonic_s()
        self._source: MetricSource | None = None
        self.counts = Counts()
        """Of this attempt."""
        self.progress = msgspec.structs.replace(self._before, done=len(claim.finished_items), failed=0)

    async def collect(self) -> Ending:
        """Fetches and stores everything that is asked for, as far as that is possible."""
        try:
            secrets = self._around.sealing.unseal(self._claim.sealed) if self._claim.sealed is not None else {}
        except (SealError, Unavailable) as error:
            # Here it is the key that is not available; waiting for it would keep the run from saying so.
            return failed(ProblemKind.CONFIGURATION, str(error))
        asked = await self._asked()
        if asked.start_us is not None and asked.start_us >= asked.end_us:
            return failed(ProblemKind.CONFIGURATION, "the range that was asked for lies in the future")
        if asked.end_us <= asked.floor_us:
            floor = format_time(asked.floor_us)
            return failed(ProblemKind.CONFIGURATION, f"the range that was asked for ends before {floor}, the oldest")
        try:
            cut_off = await self._open(secrets, asked)
        except RateLimited as error:
            cut_off = Problem(kind=ProblemKind.RATE_LIMITED, message=f"Sextant's own limit: {error}")
        return await self._ended(cut_off)

    async def _open(self, secrets: Mapping[str, str], asked: Asked) -> Problem | None:
        """Fetches and stores it; returns what ended that before its time. Raises `RateLimited` where Sextant did."""
        request = self._claim.run.request
        try:
            async with self._around.opener.open(
                self._claim.spec,
                secrets,
                trusted=self._trusted,
                cluster_id=request.cluster_id,
                namespaces=request.namespaces,
            ) as source:
                self._source = source
                await self._fetch(source, asked)
        except SourceError as error:
            await self._flush(asked)
            return cleaned_problem(error.problem)
        return None

    async def _asked(self) -> Asked:
        now_us = self._clock.now_us()
        rules = await self._patience.of(lambda: self._around.stores.policies.of(self._claim.tenant_id))
        longest_days = max([RETENTION_DAYS_DEFAULT, *rules.policy.retention_days.values()])
        return asked_for(
            self._claim.run.request,
            self._claim.spec,
            now_us=now_us,
            cutoff_us=retention_cutoff(now_us, longest_days),
        )

    async def _fetch(self, source: MetricSource, asked: Asked) -> None:
        standing = standings(await self._patience.of(lambda: self._around.work.checkpoints(self._claim)))
        discovery = await source.discover(own_range(asked, self._claim.run.request, standing))
        problems = await self._things.store(discovery)
        await self._plan(discovery, asked, standing)
        finished = sum(item.key in self._claim.finished_items for item in discovery.items)
        self._tasks = Tasks(len(discovery.items) + len(problems), finished)
        await self._note(asked, [item for item in self._items.values() if item.ended], problems)
        if old := forgotten(asked, standing, {item.name for item in self._items.values()}):
            await self._advance(caught_up=old)
        wanted = [
            ItemWindow(item.item, item.window)
            for item in self._items.values()
            if item.window is not None and not item.ended
        ]
        if wanted:
            first = turn_of(self._claim.run.id, len(wanted))
            await self._gather(source.collect([*wanted[first:], *wanted[:first]]), asked)
        await self._flush(asked)
        left = [item for item in self._items.values() if not item.ended]
        reason = Problem(kind=ProblemKind.BAD_ANSWER, message="the source has said nothing about it")
        if self._is_late():
            reason = Problem(
                kind=ProblemKind.BUDGET,
                message=f"the run took more than {RUN_S_MAX / 60:g} minutes; the next one goes on from there",
            )
        for item in left:
            item.end(reason)
        await self._note(asked, left)

    async def _plan(self, discovery: Discovery, asked: Asked, standing: dict[str, Standing]) -> None:
        """Each item that no earlier attempt has finished, with its window."""
        self._titles = titles(discovery.items)
        behind = {identity for each in standing.values() for identity in each.behind}
        if behind:
            rules = await self._patience.of(lambda: self._around.stores.policies.of(self._claim.tenant_id))
            await self._storing.resolve(sorted(behind, key=_identity_key), rules)
        for item in discovery.items:
            if item.key in self._claim.finished_items:
                continue
            name = name_in(self._claim.run.request, item.key)
            stands = standing.get(name, Standing())
            window = window_of(asked, stands.through_us, [stands.behind[one] for one in self._having_room(stands)])
            self._items[item.key] = RunItem(item, name, stands, window)

    def _having_room(self, standing: Standing) -> Sequence[SeriesIdentity]:
        return [identity for identity in standing.behind if self._storing.has_room(identity)]

    async def _gather(self, answers: AsyncIterator[Collected], asked: Asked) -> None:
        try:
            async for part in answers:
                self._pending.append(part)
                if self._is_full():
                    await self._flush(asked)
                if self._is_late():
                    return
        finally:
            if isinstance(answers, AsyncGenerator):
                await answers.aclose()

    def _is_late(self) -> bool:
        return self._clock.monotonic_s() - self._begun_s > RUN_S_MAX

    def _is_full(self) -> bool:
        points = sum(len(one.ts_us) for part in self._pending for one in part.series)
        waited_s = self._clock.monotonic_s() - self._stored_s
        return points >= POINTS_PER_REQUEST_MAX or len(self._pending) >= GATHER_PARTS_MAX or waited_s >= GATHER_S

    async def _flush(self, asked: Asked) -> None:
        """Stores what was gathered, and then notes it."""
        pending, self._pending = self._pending, []
        if pending and self._clock.monotonic_s() - self._stored_s > DOUBT_S:
            # Whoever has lost the claim meanwhile must not put older answers over what another has stored since.
            await self._advance()
        parts = [self._part(collected, asked) for collected in pending]
        await self._things.see([one.instance for part in parts for one in part.series if one.instance is not None])
        try:
            await self._storing.store(parts)
        finally:
            for collected, part in zip(pending, parts, strict=True):
                self._items[collected.key].tally.add(part.tally)
                self.counts = self.counts.plus(part.tally.counts)
        for collected in pending:
            self._items[collected.key].take(collected)
        if pending:
            await self._note(asked, [self._items[key] for key in dict.fromkeys(each.key for each in pending)])
        self._stored_s = self._clock.monotonic_s()

    def _part(self, collected: Collected, asked: Asked) -> Part:
        window = self._items[collected.key].window
        assert window is not None, "only items with a window are asked for"
        return Part(collected.series, window.start_us - max(asked.settle_us, BUCKET_US_MAX), window.end_us, Tally())

    async def _note(self, asked: Asked, items: Sequence[RunItem], results: Sequence[ItemResult] = ()) -> None:
        """Moves checkpoints as far as the items are stored, notes results and progress, and renews the claim."""
        moves = [item.moves(asked, self._having_room(item.standing)) for item in items]
        for result in results:
            self._tasks.end(result)
        noted = list(results)
        for item in items:
            result = item.result(self._titles[item.item.key])
            noted.append(result)
            if item.ended:
                self._tasks.end(result)
        await self._advance(
            checkpoints=[moved for each in moves for moved in each.checkpoints],
            caught_up=[moved for each in moves for moved in each.caught_up],
            results=noted,
            finished=[item.item.key for item in items if item.is_stored],
        )

    async def _advance(
        self,
        *,
        checkpoints: Sequence[Checkpoint] = (),
        caught_up: Sequence[Checkpoint] = (),
        results: Sequence[ItemResult] = (),
        finished: Sequence[str] = (),
    ) -> None:
        usage = self._source.usage() if self._source is not None else Usage()
        before, found = self._before, self._things.found
        self.progress = Progress(
            items=self._tasks.count,
            done=self._tasks.done,
            failed=self._tasks.failed,
            counts=before.counts.plus(self.counts),
            instances_seen=max(before.instances_seen, found.instances_seen),
            instances_created=before.instances_created + found.instances_created,
            changes_recorded=before.changes_recorded + found.changes_recorded,
            snapshots_stored=before.snapshots_stored + found.snapshots_stored,
            calls=before.calls + usage.calls,
            cost_usd=before.cost_usd + usage.cost_usd,
        )
        await self._patience.of(
            lambda: self._around.work.advance(
                self._claim,
                checkpoints=checkpoints,
                caught_up=caught_up,
                results=results,
                finished=finished,
                progress=self.progress,
                now=instant_of(self._clock.now_us()),
                lease_s=LEASE_S,
            )
        )

    async def _ended(self, cut_off: Problem | None) -> Ending:
        await self._advance()
        return self._tasks.ending(self.progress, cut_off)


def _identity_key(identity: SeriesIdentity) -> tuple[str, tuple[tuple[str, str], ...], str]:
    return (identity.name, identity.labels, identity.source)
