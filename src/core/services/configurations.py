"""Configuration history of workloads: what changed when, what held at any time, and what is meant to hold."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID, uuid4

import msgspec

from core.domain.config_diff import differences
from core.domain.configurations import (
    ConfigBaseline,
    ConfigChange,
    ConfigChangeSpec,
    ConfigFilter,
    ConfigKind,
    ConfigState,
    ConfigStateEntry,
    StoredBaseline,
)
from core.domain.errors import Conflict, InvalidInput, NotFound, TooLarge
from core.domain.names import check_cluster_id
from core.domain.tenants import Principal, Scope
from core.domain.times import check_instant
from core.services.cursors import DOCUMENTS_PAGE_MAX, check_page, cut, decode_moment, encode_moment
from core.services.recording import READ_ALERTS, Recorder, actor
from ports.driven.audit_log import AuditLog
from ports.driven.clock import Clock
from ports.driven.cluster_store import ConfigStore
from ports.driving.clusters import ConfigPage

CHANGES_PER_REQUEST_MAX: Final = 1_000
"""A rollout changes a few dozen workloads."""
PATHS_SHOWN_MAX: Final = 100
"""Of a changed baseline, in the audit trail."""
NAMESPACES_NAMED_MAX: Final = 20
"""In the message that asks for one of them."""


class ConfigurationService:
    """Implements `ports.driving.clusters.Configurations`."""

    def __init__(self, configurations: ConfigStore, audit: AuditLog, clock: Clock, *, future_skew_s: float) -> None:
        self._configurations = configurations
        self._recorder = Recorder(audit, clock)
        self._future_skew = timedelta(seconds=future_skew_s)

    async def post(self, principal: Principal, changes: Sequence[ConfigChangeSpec]) -> Sequence[ConfigChange]:
        """See `Configurations.post`."""
        principal.require(Scope.INGEST)
        if len(changes) > CHANGES_PER_REQUEST_MAX:
            raise TooLarge(
                f"{len(changes)} changes; send at most {CHANGES_PER_REQUEST_MAX} in one request",
                limit=CHANGES_PER_REQUEST_MAX,
            )
        given = [spec.id for spec in changes if spec.id is not None]
        if len(set(given)) < len(given):
            raise InvalidInput("id", "is that of two changes of the request")
        now = self._recorder.now()
        recorded = [self._change(spec, now) for spec in changes]
        if not recorded:
            return []
        added = await self._configurations.append(principal.tenant_id, recorded)
        if added == len(recorded):
            return recorded
        return [
            await self._configurations.get(principal.tenant_id, change.id) if spec.id is not None else change
            for spec, change in zip(changes, recorded, strict=True)
        ]

    async def list(self, principal: Principal, wanted: ConfigFilter, *, limit: int, cursor: str | None) -> ConfigPage:
        """See `Configurations.list`."""
        principal.require_any(*READ_ALERTS)
        check_page(limit)
        limit = min(limit, DOCUMENTS_PAGE_MAX)
        _check_filter(wanted)
        found = await self._configurations.list(
            principal.tenant_id, wanted, limit=limit + 1, before=decode_moment(cursor)
        )
        page, more = cut(found, limit)
        return ConfigPage(page, encode_moment(page[-1].ts, page[-1].id) if more else None)

    async def get(self, principal: Principal, change_id: UUID) -> ConfigChange:
        """See `Configurations.get`."""
        principal.require_any(*READ_ALERTS)
        return await self._configurations.get(principal.tenant_id, change_id)

    async def at(
        self, principal: Principal, cluster_id: str, workload: str, *, namespace: str | None, ts: datetime | None
    ) -> ConfigState:
        """See `Configurations.at`. A namespace in which everything of the workload had been removed by then stands back
        behind one in which it had not. Raises `NotFound` where nothing was recorded by then."""
        principal.require_any(*READ_ALERTS)
        _check_names(cluster_id=cluster_id, workload=workload, namespace=namespace)
        if ts is not None:
            check_instant("ts", ts)
        instant = ts if ts is not None else self._recorder.now()
        found = await self._configurations.at(
            principal.tenant_id, cluster_id, workload, namespace=namespace, ts=instant
        )
        if not found:
            raise NotFound("configuration of workload", f"{cluster_id}/{workload} at {instant.isoformat()}")
        there = sorted({change.namespace for change in found if change.after is not None})
        namespaces = there or sorted({change.namespace for change in found})
        if len(namespaces) > 1:
            named = ", ".join(namespaces[:NAMESPACES_NAMED_MAX]) + (", …" if namespaces[NAMESPACES_NAMED_MAX:] else "")
            raise Conflict(f"several namespaces have a workload {workload!r}: name one of {named}")
        return ConfigState(
            cluster_id=cluster_id,
            namespace=namespaces[0],
            workload=workload,
            ts=instant,
            configuration={
                change.kind.value: ConfigStateEntry(document=change.after, since=change.ts, change_id=change.id)
                for change in found
                if change.namespace == namespaces[0]
            },
        )

    async def baselines(
        self, principal: Principal, *, cluster_id: str | None, workload: str | None
    ) -> Sequence[StoredBaseline]:
        """See `Configurations.baselines`."""
        principal.require_any(*READ_ALERTS)
        _check_names(cluster_id=cluster_id, workload=workload)
        return await self._configurations.baselines(principal.tenant_id, cluster_id=cluster_id, workload=workload)

    async def put_baseline(self, principal: Principal, baseline: ConfigBaseline) -> None:
        """See `Configurations.put_baseline`."""
        principal.require(Scope.ALERTS)
        before = await self._baseline(principal, baseline)
        changed = differences(before.document if before is not None else None, baseline.document)
        await self._configurations.put_baseline(
            principal.tenant_id, baseline, by=actor(principal), now=self._recorder.now()
        )
        if changed:
            # Documents hold environments, and these hold secrets: the trail tells where they changed, not to what.
            paths = tuple(each.path for each in changed[:PATHS_SHOWN_MAX])
            await self._recorder.changed(
                principal, f"declared {_words(baseline)}", after=BaselineChange(paths=paths, changed=len(changed))
            )

    async def delete_baseline(
        self, principal: Principal, cluster_id: str, namespace: str, workload: str, kind: ConfigKind
    ) -> None:
        """See `Configurations.delete_baseline`."""
        principal.require(Scope.ALERTS)
        gone = ConfigBaseline(cluster_id=cluster_id, namespace=namespace, workload=workload, kind=kind, document={})
        await self._configurations.delete_baseline(principal.tenant_id, cluster_id, namespace, workload, kind)
        await self._recorder.changed(principal, f"removed {_words(gone)}")

    async def _baseline(self, principal: Principal, wanted: ConfigBaseline) -> ConfigBaseline | None:
        """The declared baseline of the same place, if there is one."""
        declared = await self._configurations.baselines(
            principal.tenant_id, cluster_id=wanted.cluster_id, workload=wanted.workload
        )
        return next((one.baseline for one in declared if _words(one.baseline) == _words(wanted)), None)

    def _change(self, spec: ConfigChangeSpec, now: datetime) -> ConfigChange:
        """The change that a sender's is stored as; raises `InvalidInput` where it is too far ahead of the clock."""
        ts = spec.ts if spec.ts is not None else now
        if ts > now + self._future_skew:
            raise InvalidInput(
                "ts",
                f"{ts.isoformat()} is more than {self._future_skew.total_seconds():g} s ahead of the server's clock "
                f"({now.isoformat()})",
            )
        return ConfigChange(
            id=spec.id or uuid4(),
            ts=ts,
            cluster_id=spec.cluster_id,
            namespace=spec.namespace,
            workload=spec.workload,
            kind=spec.kind,
            before=spec.before,
            after=spec.after,
            diff=differences(spec.before, spec.after),
            actor=spec.actor,
            source=spec.source,
            synthetic=False,
        )


class BaselineChange(msgspec.Struct, frozen=True, kw_only=True):
    """What a declaration changed of a baseline, for the audit trail."""

    paths: tuple[str, ...]
    """JSON Pointers of places that changed; "" is the whole document."""
    changed: int
    """How many."""


def _words(baseline: ConfigBaseline) -> str:
    """Which baseline it is, for a person."""
    return (
        f"the {baseline.kind.value} baseline of {baseline.namespace}/{baseline.workload} in cluster "
        f"{baseline.cluster_id!r}"
    )


def _check_filter(wanted: ConfigFilter) -> None:
    """Raises `InvalidInput` where a filter cannot be read."""
    _check_names(cluster_id=wanted.cluster_id, namespace=wanted.namespace, workload=wanted.workload)
    if wanted.start is not None and wanted.end is not None and wanted.end <= wanted.start:
        raise InvalidInput("end", f"{wanted.end.isoformat()} is not after start {wanted.start.isoformat()}")


def _check_names(**names: str | None) -> None:
    for field, name in names.items():
        if name is not None:
            check_cluster_id(field, name)
