"""Collecting from metric sources: what is asked for, runs of it, what came of each item, and the instances seen."""

import enum
from datetime import datetime
from typing import Final

import msgspec

from core.domain.errors import InvalidInput
from core.domain.names import check_cluster_id
from core.domain.source_configs import NAMESPACES_MAX, SourceConfig, SourceKind
from core.domain.sources import BACKFILL_US_MAX
from core.domain.times import DAY_US, check_instant

ITEMS_SHOWN_MAX: Final = 500
"""Results kept with a run: those that failed first. All of them are counted."""
WAITING_RUNS_MAX: Final = 100
"""Of one tenant: runs take seconds to minutes, so what is asked for beyond that comes too late to be of use."""


class CollectionState(enum.Enum):
    """Where a run stands."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    PARTIAL = "partial"
    """Some items failed, or a budget was used up; what was fetched is stored."""
    FAILED = "failed"
    """Nothing could be collected at all; `problem` says why."""


COLLECTION_ENDED: Final = frozenset({CollectionState.DONE, CollectionState.PARTIAL, CollectionState.FAILED})


class ProblemKind(enum.Enum):
    """Why something could not be collected."""

    CREDENTIALS = "credentials"
    """Missing or wrong."""
    PERMISSION = "permission"
    """The credentials are good and may not do this; the text names the permission."""
    NO_DATA = "no_data"
    """The vendor answered, and has nothing: the text says why that may be. Not a failure."""
    RATE_LIMITED = "rate_limited"
    BUDGET = "budget"
    """The source's own limit of calls or cost."""
    UNREACHABLE = "unreachable"
    BAD_ANSWER = "bad_answer"
    """Not what the vendor's documentation says, or too large."""
    BAD_QUERY = "bad_query"
    """The vendor refused the query or the metric."""
    REFUSED = "refused"
    """Sextant refused samples: over a limit, in the future, or with labels that cannot be."""
    CONFIGURATION = "configuration"


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """Why something could not be collected, and what to do about it; never holds a credential."""

    kind: ProblemKind
    message: str


class CollectionRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one run is to collect. Raises `InvalidInput` naming the field."""

    cluster_id: str | None = None
    """Only this cluster, for sources that know clusters; for EKS and synthetic ones it names the cluster."""
    start_time: datetime | None = None
    """None: from where the last run ended."""
    end_time: datetime | None = None
    """None: now."""
    namespaces: tuple[str, ...] = ()
    """Empty: as the source is configured."""

    def __post_init__(self) -> None:
        if self.cluster_id is not None:
            check_cluster_id("cluster_id", self.cluster_id)
        if len(self.namespaces) > NAMESPACES_MAX:
            raise InvalidInput("namespaces", f"at most {NAMESPACES_MAX}")
        for namespace in self.namespaces:
            check_cluster_id("namespaces", namespace)
        for field in ("start_time", "end_time"):
            instant = getattr(self, field)
            if instant is not None:
                check_instant(field, instant)
        if self.start_time is not None and self.end_time is not None:
            if self.end_time <= self.start_time:
                raise InvalidInput("end_time", "must be after start_time")
            if (self.end_time - self.start_time).total_seconds() * 1e6 > BACKFILL_US_MAX:
                raise InvalidInput("start_time", f"at most {BACKFILL_US_MAX // DAY_US} days at once")


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """Samples and what became of them."""

    fetched: int = 0
    stored: int = 0
    """Of these, new ones."""
    revised: int = 0
    """Of these, those that replaced another value."""
    unchanged: int = 0
    """Of these, those that were stored already, with this value."""
    refused: int = 0
    """Of these, those that Sextant does not take."""
    created: int = 0
    """Series that were not there before."""

    def plus(self, other: "Counts") -> "Counts":
        """The sums."""
        return Counts(**{name: getattr(self, name) + getattr(other, name) for name in self.__struct_fields__})


class ItemResult(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one item: one query, or one metric of one instance."""

    item: str
    """For a person; stable for the same item."""
    counts: Counts = Counts()
    problem: Problem | None = None

    @property
    def failed(self) -> bool:
        """Whether it has a problem that is one."""
        return self.problem is not None and self.problem.kind is not ProblemKind.NO_DATA


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a run is, and what it has spent."""

    items: int = 0
    """All that are to be fetched, once that is known."""
    done: int = 0
    failed: int = 0
    """Of those done."""
    counts: Counts = Counts()
    instances_seen: int = 0
    instances_created: int = 0
    changes_recorded: int = 0
    """Changes of configuration that were found."""
    snapshots_stored: int = 0
    calls: int = 0
    """Of the vendor's API."""
    cost_usd: float = 0.0
    """By the vendor's list price; 0 where asking costs nothing."""


class CollectionRun(msgspec.Struct, frozen=True, kw_only=True):
    """One run of one source."""

    id: int
    source: str
    """The source's name; for a run with a configuration of its own its kind."""
    kind: SourceKind
    request: CollectionRequest
    requested_by: str
    """``schedule`` or who asked."""
    state: CollectionState
    problem: Problem | None
    progress: Progress
    attempts: int
    """How often it was begun: more than once where a server died on it."""
    requested_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class CollectionRunDetail(msgspec.Struct, frozen=True, kw_only=True):
    """One run with what came of its items (the first `ITEMS_SHOWN_MAX`, failed ones first)."""

    run: CollectionRun
    items: tuple[ItemResult, ...]


class OneOffSource(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A configuration for one run only; its credentials are forgotten when the run ends."""

    config: SourceConfig
    credentials: dict[str, str] = {}


class Instance(msgspec.Struct, frozen=True, kw_only=True):
    """Something that metrics are about: a machine, a node, a host."""

    id: int
    provider: SourceKind
    external_id: str
    kind: str
    """`ec2`, `node`, `host` …"""
    region: str | None
    name: str | None
    tags: dict[str, str]
    first_seen_at: datetime
    last_seen_at: datetime
    synthetic: bool


class InstanceFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which instances to list; None means any."""

    provider: SourceKind | None = None
    kind: str | None = None
    region: str | None = None
    tag: tuple[str, str] | None = None
    seen_since: datetime | None = None
