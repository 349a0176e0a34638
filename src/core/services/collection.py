"""Collecting: runs that were asked for or are due, each claimed by one process and done by it."""

from collections.abc import Collection
from contextlib import suppress
from typing import Final, Protocol
from uuid import UUID

import msgspec

from core.domain.collection import CollectionState, Counts, Problem, ProblemKind
from core.domain.errors import Conflict, Unavailable
from core.services.collection_ending import Ending, failed
from core.services.collection_pass import LEASE_S, CollectionPass, Surroundings
from core.services.collection_storing import Stores
from core.services.collection_windows import instant_of
from core.services.policies import Policies
from ports.driven.clock import Clock
from ports.driven.cluster_store import CapacityStore, ConfigStore
from ports.driven.metric_source import SourceOpener
from ports.driven.pause import Pause
from ports.driven.sample_reader import SampleReader
from ports.driven.series_catalog import SeriesCatalog
from ports.driven.source_store import CollectionClaim, CollectionWorkStore, Sealing
from ports.driving.collecting import CollectionRound
from ports.driving.ingestion import Ingestion

RUNNING_MAX: Final = 3
"""Of one tenant at once, so that no tenant's slow vendors keep all collectors busy."""
ATTEMPTS_MAX: Final = 10
"""A run that so many servers have died on is what they die of."""


class CollectionTelemetry(Protocol):
    """What collecting reports."""

    def collection_run(
        self, *, kind: str, state: str, fetched: int, stored: int, revised: int, refused: int, took_s: float
    ) -> None:
        """One run ended; `kind` as in `SourceKind`, `state` as in `CollectionState`, samples of its last attempt."""
        ...


class CollectionService:
    """Implements `ports.driving.collecting.CollectionWork`."""

    def __init__(
        self,
        work: CollectionWorkStore,
        opener: SourceOpener,
        ingestion: Ingestion,
        reader: SampleReader,
        catalog: SeriesCatalog,
        policies: Policies,
        capacity: CapacityStore,
        configurations: ConfigStore,
        sealing: Sealing,
        clock: Clock,
        pause: Pause,
        telemetry: CollectionTelemetry,
        *,
        trusted: Collection[str],
    ) -> None:
        """`trusted` are the tenants whose sources may use what is the server's own."""
        self._work = work
        self._around = Surroundings(
            work=work,
            opener=opener,
            stores=Stores(ingestion=ingestion, reader=reader, catalog=catalog, policies=policies),
            capacity=capacity,
            configurations=configurations,
            sealing=sealing,
            clock=clock,
            pause=pause,
        )
        self._clock = clock
        self._telemetry = telemetry
        self._trusted = frozenset(trusted)
        self._under_way: dict[UUID, CollectionClaim] = {}

    async def round(self) -> CollectionRound:
        """See `CollectionWork.round`."""
        claim = None
        try:
            claim = await self._work.claim(
                now=instant_of(self._clock.now_us()), lease_s=LEASE_S, running_max=RUNNING_MAX
            )
            return await self._run(claim) if claim is not None else CollectionRound()
        except Unavailable as error:
            # Whoever claims the run once its lease has ended goes on with it.
            return CollectionRound(tenant=claim.tenant if claim is not None else None, away=str(error))

    async def extend(self) -> None:
        """See `CollectionWork.extend`."""
        if self._under_way:
            claims = list(self._under_way.values())
            await self._work.extend(claims, now=instant_of(self._clock.now_us()), lease_s=LEASE_S)

    async def _run(self, claim: CollectionClaim) -> CollectionRound:
        """Does the claimed run, whole."""
        started_s = self._clock.monotonic_s()
        self._under_way[claim.token] = claim
        try:
            return await self._attempt(claim, started_s)
        finally:
            del self._under_way[claim.token]

    async def _attempt(self, claim: CollectionClaim, started_s: float) -> CollectionRound:
        attempt = CollectionPass(self._around, claim, trusted=claim.tenant in self._trusted)
        try:
            ending = await attempt.collect() if claim.run.attempts <= ATTEMPTS_MAX else _given_up(claim)
            await self._finish(claim, ending)
        except Conflict:
            # Another process took the run over, and goes on with it.
            return CollectionRound(tenant=claim.tenant, took_s=self._clock.monotonic_s() - started_s)
        except Unavailable:
            raise
        except Exception as error:
            # What an exception says may hold a credential; its type does not.
            problem = Problem(kind=ProblemKind.BAD_ANSWER, message=f"a defect of Sextant: {type(error).__name__}")
            ending = Ending(CollectionState.FAILED, problem)
            with suppress(Conflict, Unavailable):
                await self._finish(claim, ending)
            self._done(claim, attempt, ending, started_s)
            raise
        return self._done(claim, attempt, ending, started_s)

    async def _finish(self, claim: CollectionClaim, ending: Ending) -> None:
        await self._work.finish(claim, ending.state, ending.problem, now=instant_of(self._clock.now_us()))

    def _done(
        self, claim: CollectionClaim, attempt: CollectionPass, ending: Ending, started_s: float
    ) -> CollectionRound:
        """Reports the attempt."""
        took_s = self._clock.monotonic_s() - started_s
        counts: Counts = attempt.counts
        self._telemetry.collection_run(
            kind=claim.run.kind.value,
            state=ending.state.value,
            fetched=counts.fetched,
            stored=counts.stored,
            revised=counts.revised,
            refused=counts.refused,
            took_s=took_s,
        )
        run = msgspec.structs.replace(
            claim.run,
            state=ending.state,
            problem=ending.problem,
            progress=attempt.progress,
            finished_at=instant_of(self._clock.now_us()),
        )
        return CollectionRound(tenant=claim.tenant, run=run, took_s=took_s)


def _given_up(claim: CollectionClaim) -> Ending:
    return failed(ProblemKind.CONFIGURATION, f"begun {claim.run.attempts} times, and never came to an end")
