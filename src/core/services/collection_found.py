"""Storing what a source has besides samples: instances, capacity and configurations."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Final

import msgspec

from core.domain.collection import ItemResult, Problem, ProblemKind
from core.domain.configurations import ConfigKind, ObservedConfiguration
from core.services.collection_patience import Patience
from core.services.collection_screening import (
    cleaned,
    cleaned_problem,
    fit_configurations,
    fit_instances,
    fit_snapshots,
)
from core.services.collection_windows import instant_of
from ports.driven.clock import Clock
from ports.driven.cluster_store import CapacityStore, ConfigStore
from ports.driven.metric_source import Discovery, ListedWorkloads, SeenInstance
from ports.driven.source_store import CollectionClaim, CollectionWorkStore

BATCH: Final = 500
"""Written in one transaction."""
SEEN_MAX: Final = 100_000
"""Instances remembered in one run; past it they are written again."""

_Place = tuple[str, str, str, ConfigKind]


class Found(msgspec.Struct, kw_only=True):
    """What was stored so far."""

    instances_seen: int = 0
    instances_created: int = 0
    changes_recorded: int = 0
    snapshots_stored: int = 0


class FoundThings:
    """Stores what one run finds. Storing the same again changes nothing."""

    def __init__(
        self,
        work: CollectionWorkStore,
        capacity: CapacityStore,
        configurations: ConfigStore,
        claim: CollectionClaim,
        clock: Clock,
        patience: Patience,
    ) -> None:
        self._work = work
        self._capacity = capacity
        self._configurations = configurations
        self._claim = claim
        self._clock = clock
        self._patience = patience
        self._seen: set[str] = set()
        self.found = Found()

    async def store(self, discovery: Discovery) -> list[ItemResult]:
        """Stores everything but samples; returns what could not be looked at or kept, one result for each name."""
        await self.see(discovery.instances)
        snapshots, wrong_snapshots = fit_snapshots(discovery.snapshots)
        for first in range(0, len(snapshots), BATCH):
            some = snapshots[first : first + BATCH]
            self.found.snapshots_stored += await self._patience.of(
                partial(self._capacity.put, self._claim.tenant_id, some)
            )
        observed, wrong_configurations = fit_configurations(discovery.configurations)
        observed = await self._without_known_past(observed)
        observed += await self._gone(discovery.workloads)
        for first in range(0, len(observed), BATCH):
            seen = observed[first : first + BATCH]
            self.found.changes_recorded += await self._patience.of(partial(self._observe, seen))
        problems = {cleaned(name): cleaned_problem(problem) for name, problem in discovery.problems}
        for name, wrong in (("capacity", wrong_snapshots), ("configurations", wrong_configurations)):
            if wrong:
                message = cleaned(f"{len(wrong)} refused, such as: {wrong[0]}")
                problems.setdefault(name, Problem(kind=ProblemKind.REFUSED, message=message))
        return [ItemResult(item=name, problem=problem) for name, problem in problems.items()]

    async def see(self, instances: Sequence[SeenInstance]) -> None:
        """Adds or updates instances that this run has not stored yet."""
        fresh = [one for one in fit_instances(instances) if one.external_id not in self._seen]
        for first in range(0, len(fresh), BATCH):
            some = fresh[first : first + BATCH]
            self.found.instances_created += await self._patience.of(partial(self._see, some))
        self.found.instances_seen += len(fresh)
        if len(self._seen) < SEEN_MAX:
            self._seen.update(one.external_id for one in fresh)

    async def _see(self, instances: Sequence[SeenInstance]) -> int:
        now = instant_of(self._clock.now_us())
        return await self._work.see_instances(self._claim, self._claim.spec.kind, instances, now=now)

    async def _observe(self, observed: Sequence[ObservedConfiguration]) -> int:
        now = instant_of(self._clock.now_us())
        return await self._configurations.observe(
            self._claim.tenant_id, observed, source=self._claim.spec.kind.value, now=now
        )

    async def _gone(self, listed: ListedWorkloads | None) -> list[ObservedConfiguration]:
        """The removal of what this source once found, and that is not among all that there is now."""
        if listed is None:
            return []
        standing = await self._patience.of(
            partial(
                self._configurations.standing,
                self._claim.tenant_id,
                listed.cluster_id,
                listed.namespaces,
                source=self._claim.spec.kind.value,
            )
        )
        return [
            ObservedConfiguration(
                cluster_id=listed.cluster_id, namespace=namespace, workload=workload, kind=kind, document=None
            )
            for namespace, workload, kind in standing
            if (namespace, workload) not in listed.names
        ]

    async def _without_known_past(self, observed: Sequence[ObservedConfiguration]) -> list[ObservedConfiguration]:
        """Leaves out what a source tells again of the past.

        Of one workload a source may tell several configurations, oldest first: the last one is how it is now, those
        before are its history, which would look like a change back if it were observed once more.
        """
        latest = {_place(one): index for index, one in enumerate(observed)}
        told = Counter(map(_place, observed))
        newest: dict[_Place, datetime] = {}
        for cluster_id, namespace, workload in {place[:3] for place, count in told.items() if count > 1}:
            changes = await self._configurations.at(
                self._claim.tenant_id,
                cluster_id,
                workload,
                namespace=namespace,
                ts=instant_of(self._clock.now_us()),
            )
            newest |= {(cluster_id, namespace, workload, change.kind): change.ts for change in changes}

        def is_news(index: int, one: ObservedConfiguration) -> bool:
            recorded_at = newest.get(_place(one))
            return (
                index == latest[_place(one)]
                or recorded_at is None
                or (one.changed_at is not None and one.changed_at > recorded_at)
            )

        return [one for index, one in enumerate(observed) if is_news(index, one)]


def _place(one: ObservedConfiguration) -> _Place:
    return (one.cluster_id, one.namespace, one.workload, one.kind)
