"""What may be asked about drift and recommendations.

Reading needs scope ``query``, ``alerts`` or ``remediate``, posting ``ingest`` or ``alerts``, changing a drift event's
status ``alerts``, deciding on and applying recommendations ``remediate``. All raise `Forbidden`, `InvalidInput`,
`Unavailable`, and `NotFound` for what is not there.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from core.domain.drift import DriftEvent, DriftFilter, DriftSpec, DriftStatus
from core.domain.recommendations import Outcome, Recommendation, RecommendationFilter, RecommendationSpec
from core.domain.remediation import Remediation, RemediationPolicy
from core.domain.tenants import Principal


class DriftPage(msgspec.Struct, frozen=True):
    """Drift events, newest first, and the cursor of the next page where there is one."""

    data: Sequence[DriftEvent]
    next_cursor: str | None


class DriftFound(msgspec.Struct, frozen=True, kw_only=True):
    """What looking at a cluster brought."""

    cluster_id: str
    found: int
    """Drifts that are there now."""
    opened: int
    resolved: int
    skipped: Sequence[str] = ()
    """What could not be looked at, and why."""


class Drift(Protocol):
    """Drift events."""

    async def post(self, principal: Principal, spec: DriftSpec) -> tuple[DriftEvent, bool]:
        """The event, and whether it is new: the same `drift_id` is the same event."""
        ...

    async def list(self, principal: Principal, wanted: DriftFilter, *, limit: int, cursor: str | None) -> DriftPage:
        """Newest first."""
        ...

    async def get(self, principal: Principal, drift_id: str) -> DriftEvent:
        """One."""
        ...

    async def set_status(
        self, principal: Principal, drift_id: str, status: DriftStatus, *, note: str | None
    ) -> DriftEvent:
        """Changes where it stands."""
        ...

    async def detect(self, principal: Principal, cluster_id: str) -> DriftFound:
        """Looks at a cluster now, as the schedule does."""
        ...


class RecommendationPage(msgspec.Struct, frozen=True):
    """Recommendations, newest first, and the cursor of the next page where there is one."""

    data: Sequence[Recommendation]
    next_cursor: str | None


class RecommendationDetail(msgspec.Struct, frozen=True, kw_only=True):
    """One recommendation, what applying it would do, and what it brought."""

    recommendation: Recommendation
    changes: Sequence[str]
    """What it says it would change, a line each: ``cpu request of shop/checkout: 2 → 500m``."""
    outcome: Outcome


class Applied(msgspec.Struct, frozen=True, kw_only=True):
    """A recommendation whose remediation was put in line."""

    recommendation: Recommendation
    remediation: Remediation
    policy: RemediationPolicy
    """What will be done, and how it is verified and rolled back."""
    changes: Sequence[str]


class Recommendations(Protocol):
    """Recommendations."""

    async def post(self, principal: Principal, spec: RecommendationSpec) -> tuple[Recommendation, bool]:
        """The recommendation, and whether it is new: the same `rec_id` is the same one. `auto_approved` needs scope
        ``remediate``."""
        ...

    async def list(
        self, principal: Principal, wanted: RecommendationFilter, *, limit: int, cursor: str | None
    ) -> RecommendationPage:
        """Newest first."""
        ...

    async def get(self, principal: Principal, rec_id: str) -> RecommendationDetail:
        """One, with its outcome."""
        ...

    async def decide(
        self,
        principal: Principal,
        rec_id: str,
        *,
        approved: bool,
        reason: str | None,
        updated_at: datetime | None = None,
    ) -> Recommendation:
        """Approves or rejects; raises `Conflict`, also where it is not as of `updated_at` any more."""
        ...

    async def apply(
        self, principal: Principal, rec_id: str, *, dry_run: bool, updated_at: datetime | None = None
    ) -> Applied:
        """Starts its remediation; a dry run says what it would change and needs no approval. Raises `Conflict`, also
        where it is not as of `updated_at` any more, and `TooExpensive` where its telemetry is too much to look at."""
        ...


class DriftRound(msgspec.Struct, frozen=True, kw_only=True):
    """What one round of scheduled drift detection did."""

    tenant: str | None = None
    """None: there was nothing to do."""
    clusters: Sequence[DriftFound] = ()
    away: str | None = None
    took_s: float = 0.0


class DriftWork(Protocol):
    """Scheduled drift detection."""

    async def round(self) -> DriftRound:
        """Looks at the clusters of one tenant that is due."""
        ...
