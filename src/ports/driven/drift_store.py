"""Drift events and recommendations. All methods raise `Unavailable`."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from core.domain.drift import DriftEvent, DriftFilter, DriftStatus
from core.domain.recommendations import Recommendation, RecommendationFilter
from core.domain.remediation import RemediationOrder


class DriftStore(Protocol):
    """Drift events of one tenant, by `drift_id`."""

    async def add(self, tenant_id: int, event: DriftEvent) -> tuple[DriftEvent, bool]:
        """The stored event, and whether it is new: where the id is known the stored one stays as it is."""
        ...

    async def get(self, tenant_id: int, drift_id: str) -> DriftEvent:
        """One; raises `NotFound`."""
        ...

    async def list(
        self, tenant_id: int, wanted: DriftFilter, *, limit: int, before: tuple[datetime, str] | None
    ) -> Sequence[DriftEvent]:
        """Newest first, by (start_ts, drift_id), those below `before`."""
        ...

    async def set_status(
        self, tenant_id: int, drift_id: str, status: DriftStatus, *, by: str, note: str | None, now: datetime
    ) -> DriftEvent:
        """Changes where it stands; a resolved one without an end ends now, one that is no longer resolved has none.
        Raises `NotFound`."""
        ...

    async def save_found(
        self,
        tenant_id: int,
        cluster_id: str,
        found: Sequence[tuple[DriftEvent, Recommendation | None]],
        *,
        now: datetime,
    ) -> tuple[int, int]:
        """What detection found in a cluster, all of it, in one transaction: new events and their recommendations are
        added; known automatic ones (by id) that are not resolved get the new severity, confidence, message, evidence
        and `last_seen_at`, and unless they are ignored their recommendations are added too: one of that id that is
        automatic and nobody has decided on gets the new type, document and savings where they differ; those of this
        cluster that are open or acknowledged and not among `found` are resolved. Ignored ones stay ignored, and
        resolved ones with the id stay as they are. Returns how many were opened and resolved.

        `updated_at` of a recommendation moves with its type and document, not with its savings. One of an event that
        was seen now (`last_seen_at` is `now`) and has none any more is rejected by sextant, if it is automatic and
        nobody has decided on it. It is proposed again with the event's next one; so is an automatic one that was
        approved, if its type or document differ, and applying it was in vain or nobody did for `UNAPPLIED_MAX`."""
        ...


class DriftClaim(msgspec.Struct, frozen=True):
    """A tenant whose clusters are to be looked at."""

    tenant_id: int
    tenant: str


class DriftSchedule(Protocol):
    """When each tenant's clusters are looked at. Keeper's work."""

    async def claim(self, *, now: datetime, interval_s: float) -> DriftClaim | None:
        """A tenant that has clusters and was not looked at for so long; it is then not handed out again for as long."""
        ...


class RecommendationStore(Protocol):
    """Recommendations of one tenant, by `rec_id`. Their `state` follows from the decision and from the remediation that
    last applied them (`STATE_OF_REMEDIATION`)."""

    async def add(self, tenant_id: int, recommendation: Recommendation) -> tuple[Recommendation, bool]:
        """The stored one, and whether it is new. Raises `NotFound` where there is no such drift event."""
        ...

    async def get(self, tenant_id: int, rec_id: str) -> Recommendation:
        """One; raises `NotFound`."""
        ...

    async def list(
        self, tenant_id: int, wanted: RecommendationFilter, *, limit: int, before: tuple[datetime, str] | None
    ) -> Sequence[Recommendation]:
        """Newest first, by (created_at, rec_id), those below `before`."""
        ...

    async def decide(
        self,
        tenant_id: int,
        rec_id: str,
        *,
        approved: bool,
        by: str,
        reason: str | None,
        now: datetime,
        updated_at: datetime | None = None,
    ) -> Recommendation:
        """Approves or rejects; raises `NotFound`, and `Conflict` while it is being applied or once it has been, or
        where it is not as of `updated_at` any more."""
        ...

    async def apply(
        self,
        tenant_id: int,
        rec_id: str,
        order: RemediationOrder,
        *,
        now: datetime,
        updated_at: datetime | None = None,
    ) -> tuple[Recommendation, int]:
        """Puts a remediation into the outbox (its `remediation_id`, `tenant` and `tenant_id` are the store's to fill
        in) and links it, in one transaction; returns its id. Raises `NotFound`; `Conflict` while another remediation of
        it is under way, where it is not as of `updated_at` any more, or (unless the order's policy is a dry run) where
        it is not approved or was applied."""
        ...
