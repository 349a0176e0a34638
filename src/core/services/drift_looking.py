"""Looking at a cluster for drift: gathers what there is, judges it, and saves what was found, all at once.

Looking twice finds the same. Two who look at the same cluster at the same time open each event once.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import msgspec

from core.detection.drift_findings import Judged
from core.detection.drift_right_size import RIGHT_SIZE, applicable
from core.domain.capacity import CapacitySnapshot
from core.domain.configurations import ConfigChange
from core.domain.drift import DriftEvent, DriftFilter, DriftSeverity, DriftStatus
from core.domain.errors import NotFound
from core.domain.resource_prices import resource_prices
from core.domain.times import EPOCH
from core.services.drift_declared import CONFIG, look_at_capacity, look_at_configuration
from core.services.drift_identity import identified, lasting_of
from core.services.drift_telemetry import look_at_telemetry
from core.services.telemetry_reading import TelemetryReading
from ports.driven.clock import Clock
from ports.driven.cluster_store import CapacityStore, ConfigStore
from ports.driven.drift_store import DriftStore
from ports.driven.pause import Pause
from ports.driving.drifting import DriftFound

FOUND_MAX: Final = 2_000
"""In one cluster: whoever has more needs no list of them. The worst are kept."""
PAGE: Final = 200
"""Of known events: what others post may hold evidence of a quarter of a megabyte each."""
PAGES_MAX: Final = 50
"""In each status; more drift than that is not told apart from new drift."""
RESOLVED_PAGES_MAX: Final = 5
"""Of those that were resolved only the newest matter."""
_WORST_FIRST: Final = {DriftSeverity.CRITICAL: 0, DriftSeverity.MAJOR: 1, DriftSeverity.MINOR: 2}


class DriftLooking:
    """Looks for drift in a tenant's clusters; for whoever was let in. Safe to call concurrently."""

    def __init__(
        self,
        drift: DriftStore,
        capacity: CapacityStore,
        configurations: ConfigStore,
        reading: TelemetryReading,
        clock: Clock,
        pause: Pause,
    ) -> None:
        self._drift = drift
        self._capacity = capacity
        self._configurations = configurations
        self._reading = reading
        self._clock = clock
        self._pause = pause

    async def clusters(self, tenant_id: int) -> Sequence[str]:
        """All clusters that anything is known of, ascending. Raises `Unavailable`."""
        baselines = await self._configurations.baselines(tenant_id, cluster_id=None, workload=None)
        return sorted(
            {
                *await self._capacity.clusters(tenant_id),
                *await self._reading.clusters(tenant_id),
                *(one.baseline.cluster_id for one in baselines),
            }
        )

    async def is_known(self, tenant_id: int, cluster_id: str) -> bool:
        """Whether anything is known of a cluster. Raises `InvalidInput` and `Unavailable`."""
        return (
            await self._reading.known(tenant_id, cluster_id)
            or cluster_id in await self._capacity.clusters(tenant_id)
            or bool(await self._configurations.baselines(tenant_id, cluster_id=cluster_id, workload=None))
        )

    async def look(self, tenant_id: int, cluster_id: str) -> DriftFound:
        """Looks at a cluster now, and saves what it found. What cannot be looked at is skipped, and its events stay as
        they are for a day. Raises `InvalidInput` and `Unavailable`."""
        now_us = self._clock.now_us()
        now = EPOCH + timedelta(microseconds=now_us)
        newest = await self._newest(tenant_id, cluster_id)
        prices = resource_prices(newest) if newest is not None else None
        telemetry = await look_at_telemetry(self._reading, self._pause, tenant_id, cluster_id, now_us, prices)
        configuration, declared = await look_at_configuration(self._configurations, tenant_id, cluster_id, now)
        capacity = await look_at_capacity(self._capacity, tenant_id, cluster_id, newest, now)
        parts = (telemetry, configuration, capacity)
        judged = {key: found for part in parts for key, found in part.judged.items()}
        skipped = [line for part in parts for line in part.skipped]
        known = await self._known(tenant_id, cluster_id)
        # A baseline that was taken back takes its drift with it.
        judged |= {key: None for key in lasting_of(known, now) if key.startswith(CONFIG) and key not in declared}
        judged, left_out = _worst(judged)
        if left_out:
            skipped.append(f"all: {left_out:,} more drifts than the worst {FOUND_MAX:,}")
        judged = await self._applicable(tenant_id, cluster_id, judged, now)
        synthetic = newest is not None and newest.synthetic
        saved = identified(judged, known, synthetic=synthetic, now=now)
        opened, resolved = await self._drift.save_found(tenant_id, cluster_id, saved, now=now)
        return DriftFound(
            cluster_id=cluster_id,
            found=sum(found is not None for found in judged.values()),
            opened=opened,
            resolved=resolved,
            skipped=skipped,
        )

    async def _newest(self, tenant_id: int, cluster_id: str) -> CapacitySnapshot | None:
        try:
            return await self._capacity.latest(tenant_id, cluster_id)
        except NotFound:
            return None

    async def _applicable(self, tenant_id: int, cluster_id: str, judged: Judged, now: datetime) -> Judged:
        """The same with right-sizing only where it can be applied, as far as the workloads' configurations tell."""
        known: dict[tuple[str | None, str], Sequence[ConfigChange]] = {}
        told: Judged = {}
        for key, found in judged.items():
            told[key] = found
            if found is None or found.recommendation is None or found.recommendation.recommendation_type != RIGHT_SIZE:
                continue
            namespace, workload = found.drift.namespace, found.drift.workload_name or ""
            if (namespace, workload) not in known:
                known[namespace, workload] = await self._configurations.at(
                    tenant_id, cluster_id, workload, namespace=namespace, ts=now
                )
            told[key] = applicable(found, known[namespace, workload])
        return told

    async def _known(self, tenant_id: int, cluster_id: str) -> list[DriftEvent]:
        """All events that go on or may, and the newest of the resolved ones."""
        known: list[DriftEvent] = []
        for status in DriftStatus:
            pages = RESOLVED_PAGES_MAX if status is DriftStatus.RESOLVED else PAGES_MAX
            known += await self._of_status(tenant_id, DriftFilter(cluster_id=cluster_id, status=status), pages)
        return known

    async def _of_status(self, tenant_id: int, wanted: DriftFilter, pages: int) -> list[DriftEvent]:
        events: list[DriftEvent] = []
        before: tuple[datetime, str] | None = None
        for _ in range(pages):
            page = await self._drift.list(tenant_id, wanted, limit=PAGE, before=before)
            # Of what others posted only the ids are of use.
            events += [one if one.automatic else msgspec.structs.replace(one, evidence={}) for one in page]
            if len(page) < PAGE:
                break
            before = (page[-1].start_ts, page[-1].drift_id)
        return events


def _worst(judged: Judged) -> tuple[Judged, int]:
    """At most `FOUND_MAX` drifts, and how many are left out: those count as not looked at."""
    found = [(key, one) for key, one in judged.items() if one is not None]
    if len(found) <= FOUND_MAX:
        return judged, 0
    found.sort(key=lambda item: (_WORST_FIRST[item[1].drift.severity], item[0]))
    out = {key for key, _ in found[FOUND_MAX:]}
    return {key: one for key, one in judged.items() if key not in out}, len(out)
