"""Detection's own tables: settings, runs, anomalies, verdicts, published risks. All methods raise `Unavailable`."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID

import msgspec

from core.detection.plan import DetectionSettings
from core.domain.anomalies import Anomaly, AnomalyFilter, Mark, Precision
from core.domain.detection_runs import DetectionRun, RunState
from core.domain.events import SignalEvent
from core.domain.series import Series


class DetectionStore(Protocol):
    """What requests read and change, of one tenant."""

    async def settings(self, tenant_id: int) -> DetectionSettings | None:
        """The tenant's own; None where it has the defaults."""
        ...

    async def replace_settings(self, tenant_id: int, settings: DetectionSettings) -> None:
        """Sets them, and in the same transaction the rule that watches the risks, of origin ``detection``."""
        ...

    async def runs(self, tenant_id: int, *, limit: int, before_id: int | None) -> Sequence[DetectionRun]:
        """Newest first (descending id), those with an id below `before_id`."""
        ...

    async def request_run(self, tenant_id: int, *, now: datetime) -> DetectionRun:
        """Adds a run that is due now, as one whose claim has run out. Raises `Conflict` while one is under way."""
        ...

    async def anomalies(
        self, tenant_id: int, wanted: AnomalyFilter, *, limit: int, before: tuple[datetime, UUID] | None
    ) -> Sequence[Anomaly]:
        """Newest first, by (last_seen_at, id), those below `before`; fewer than `limit` are all there are."""
        ...

    async def anomaly(self, tenant_id: int, anomaly_id: UUID) -> Anomaly:
        """One; raises `NotFound`."""
        ...

    async def mark(self, tenant_id: int, anomaly_id: UUID, mark: Mark | None) -> Anomaly:
        """Sets or takes back the verdict; raises `NotFound`."""
        ...

    async def precision(self, tenant_id: int, *, since: datetime) -> Sequence[Precision]:
        """Of each detector, over anomalies first seen since then that were not synthetic; all detectors, in order."""
        ...


class RunClaim(msgspec.Struct, frozen=True, kw_only=True):
    """A run that this process is to do."""

    tenant_id: int
    tenant: str
    run: DetectionRun
    settings: DetectionSettings
    token: UUID
    """Tells this claim from later ones of the same run."""


class RunProgress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a run is."""

    after_series_id: int
    """Series up to this id were looked at."""
    series: int
    """Looked at by this run so far, and likewise the others."""
    points: int
    findings: int


class AnomalyChanges(msgspec.Struct, frozen=True, kw_only=True):
    """What a chunk of a run changes."""

    opened: Sequence[Anomaly] = ()
    updated: Sequence[Anomaly] = ()
    """Those that were found again, and those that ended: all but the mark is written, `shadow` too."""
    events: Sequence[SignalEvent] = ()
    """Added unless their ids are known."""


class PublishedRisk(msgspec.Struct, frozen=True, kw_only=True):
    """A fingerprint whose last published risk is above 0."""

    fingerprint: str
    labels: dict[str, str]
    """Of its series of `RISK_METRIC`, kept for as long as its risk is above 0."""
    risk: float


class DetectionRuns(Protocol):
    """The work of scheduled detection, over all tenants. A claim is a lease: `Conflict` from any method that takes
    one means that it was lost, and nothing was written."""

    async def claim(
        self,
        *,
        now: datetime,
        overdue_s: float,
        lease_s: float,
        tenant_id: int | None = None,
        own: UUID | None = None,
    ) -> RunClaim | None:
        """A run to do: first that whose claim has the token `own` (the caller's, who was cut off), then one whose claim
        has run out, the progress of either kept, else that of a tenant, enabled, that is due (`due_instant`): the
        tenant's first due instant without a run lies `overdue_s` back. While a purge of synthetic data waits, the
        tenant has no run but its caller's own: one would write back what it saw before.

        A due instant is a whole multiple of the tenant's interval since the Unix epoch. A tenant that has never had a
        run is due at once. However many instants were missed, one run is made up, for the last: its `covers_from` is
        the due instant of the last run that did not fail. One tenant never has two runs at once. Safe on any number of
        servers. A run after one that is `RunState.PARTIAL` looks at the series after that one's progress only.
        """
        ...

    async def series(self, tenant_id: int, *, after_id: int, seen_since: datetime, limit: int) -> Sequence[Series]:
        """Ascending by id, those with a sample (or created) on the day of `seen_since` or later, risks left out."""
        ...

    async def latest_anomalies(self, tenant_id: int, series_ids: Sequence[int]) -> Sequence[Anomaly]:
        """One anomaly of each of these series and each detector: the open one, else that which was first seen last,
        of those first seen at once the one whose finding's `end_us` is the greatest."""
        ...

    async def quiet_anomalies(self, tenant_id: int, *, seen_before: datetime, limit: int) -> Sequence[Anomaly]:
        """Open ones last seen before that, oldest first by (last_seen_at, id): their series send nothing any more, or
        a run has not come to them yet."""
        ...

    async def save(
        self, claim: RunClaim, progress: RunProgress, changes: AnomalyChanges, *, now: datetime, lease_s: float
    ) -> None:
        """Writes a chunk and renews the claim, in one transaction."""
        ...

    async def alarming(self, tenant_id: int, *, risk_min: float) -> Sequence[Anomaly]:
        """Open anomalies above that risk that are to be alerted: not shadow, not marked as false."""
        ...

    async def published(self, tenant_id: int) -> Sequence[PublishedRisk]:
        """What was published and is not 0 again."""
        ...

    async def save_published(self, claim: RunClaim, risks: Sequence[PublishedRisk]) -> None:
        """Replaces all of the tenant's; those with a risk of 0 are forgotten."""
        ...

    async def ensure_rule(self, tenant_id: int) -> None:
        """Makes the rule that watches the risks, of origin ``detection``, be what the tenant's settings say now; safe
        to repeat, and beside a change of the settings."""
        ...

    async def finish(self, claim: RunClaim, state: RunState, *, now: datetime, error: str | None = None) -> None:
        """Ends the run. One that is `RunState.PARTIAL` keeps its progress for the next run of the tenant to begin
        with."""
        ...

    async def forget(self, *, before: datetime, limit: int) -> int:
        """Deletes up to `limit` runs that began, and anomalies that ended, before that; returns how many."""
        ...
