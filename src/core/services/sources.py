"""Metric sources of a tenant, starting runs of them, and what they have seen."""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from core.domain.collection import (
    COLLECTION_ENDED,
    CollectionRequest,
    CollectionRunDetail,
    CollectionState,
    Instance,
    InstanceFilter,
    OneOffSource,
)
from core.domain.errors import InvalidInput
from core.domain.source_configs import SourceKind
from core.domain.sources import SourceSpec, StoredSource, check_credentials
from core.domain.tenants import Principal, Scope
from core.services.cursors import check_page, cut, decode_row_cursor, encode_cursor
from core.services.recording import Recorder
from core.services.source_checks import SourceReach, destination
from core.services.source_starting import SourceStarting
from ports.driven.audit_log import AuditLog
from ports.driven.clock import Clock
from ports.driven.notifier import AddressGuard
from ports.driven.pause import Pause
from ports.driven.source_store import CollectionRunStore, InstanceStore, Sealing, SourceStore
from ports.driving.collecting import InstancePage, RunPage, StartedRuns

READ_SOURCES: Final = (Scope.QUERY, Scope.INGEST, Scope.ADMIN)
"""Any of these may read what concerns sources."""
POLL_S: Final = 0.2
"""How often a run that somebody waits for is looked at; the shortest take about a second."""


class SourceService:
    """Implements `ports.driving.collecting.Sources`."""

    def __init__(
        self,
        sources: SourceStore,
        runs: CollectionRunStore,
        instances: InstanceStore,
        sealing: Sealing,
        guard: AddressGuard,
        audit: AuditLog,
        clock: Clock,
        pause: Pause,
        *,
        trusted: Collection[str],
        environment: Mapping[SourceKind, OneOffSource],
    ) -> None:
        """`trusted` tenants may use `environment`, the sources of the server's own, and its network."""
        self._sources = sources
        self._runs = runs
        self._instances = instances
        self._sealing = sealing
        self._recorder = Recorder(audit, clock)
        self._clock = clock
        self._pause = pause
        self._reach = SourceReach(guard, trusted)
        self._starting = SourceStarting(sources, runs, sealing, self._reach, environment)

    async def list(self, principal: Principal) -> Sequence[StoredSource]:
        """See `Sources.list`."""
        principal.require_any(*READ_SOURCES)
        return await self._sources.list(principal.tenant_id)

    async def get(self, principal: Principal, name: str) -> StoredSource:
        """See `Sources.get`."""
        principal.require_any(*READ_SOURCES)
        return await self._sources.get(principal.tenant_id, name)

    async def create(self, principal: Principal, spec: SourceSpec, credentials: Mapping[str, str]) -> StoredSource:
        """See `Sources.create`."""
        principal.require(Scope.ADMIN)
        check_credentials(spec.kind, dict(credentials))
        await self._reach.check(principal, spec.config, credentials)
        source = await self._sources.create(
            principal.tenant_id, spec, sorted(credentials), self._sealed(credentials), now=self._recorder.now()
        )
        await self._recorder.changed(principal, f"made the source {spec.name!r}", after=spec)
        return source

    async def replace(
        self, principal: Principal, name: str, spec: SourceSpec, credentials: Mapping[str, str] | None
    ) -> StoredSource:
        """See `Sources.replace`."""
        principal.require(Scope.ADMIN)
        before = await self._sources.get(principal.tenant_id, name)
        if credentials is not None:
            check_credentials(spec.kind, dict(credentials))
        elif destination(spec.config) != destination(before.spec.config):
            _check_none_kept(before, spec)
        names = before.credential_names if credentials is None else credentials
        await self._reach.check(principal, spec.config, names)
        source = await self._sources.replace(
            principal.tenant_id,
            name,
            spec,
            (sorted(credentials), self._sealed(credentials)) if credentials is not None else None,
            revision=before.revision,
            now=self._recorder.now(),
        )
        renewed = ", with new credentials" if credentials is not None else ""
        summary = f"changed the source {name!r}{renewed}"
        await self._recorder.changed(principal, summary, before=before.spec, after=spec)
        return source

    async def delete(self, principal: Principal, name: str) -> None:
        """See `Sources.delete`."""
        principal.require(Scope.ADMIN)
        before = await self._sources.get(principal.tenant_id, name)
        await self._sources.delete(principal.tenant_id, name)
        await self._recorder.changed(principal, f"deleted the source {name!r}", before=before.spec)

    async def start(
        self,
        principal: Principal,
        kind: SourceKind | None,
        request: CollectionRequest,
        one_off: OneOffSource | None,
        *,
        name: str | None = None,
    ) -> StartedRuns:
        """See `Sources.start`."""
        principal.require(Scope.INGEST)
        return await self._starting.start(principal, kind, request, one_off, name=name, now=self._recorder.now())

    async def runs(
        self,
        principal: Principal,
        *,
        source: str | None,
        state: CollectionState | None,
        limit: int,
        cursor: str | None,
    ) -> RunPage:
        """See `Sources.runs`."""
        principal.require_any(*READ_SOURCES)
        check_page(limit)
        before_id = decode_row_cursor(cursor)
        found = await self._runs.list(
            principal.tenant_id, source=source, state=state, limit=limit + 1, before_id=before_id
        )
        page, more = cut(found, limit)
        return RunPage(page, encode_cursor(page[-1].id) if more else None)

    async def run(self, principal: Principal, run_id: int) -> CollectionRunDetail:
        """See `Sources.run`."""
        principal.require_any(*READ_SOURCES)
        return await self._runs.get(principal.tenant_id, run_id)

    async def finished(
        self, principal: Principal, run_ids: Sequence[int], *, wait_s: float
    ) -> Sequence[CollectionRunDetail]:
        """See `Sources.finished`."""
        principal.require_any(*READ_SOURCES)
        until_s = self._clock.monotonic_s() + wait_s
        details = []
        for run_id in run_ids:  # all must end, so it is enough to look at one at a time
            detail = await self._runs.get(principal.tenant_id, run_id)
            while detail.run.state not in COLLECTION_ENDED and self._clock.monotonic_s() < until_s:
                await self._pause.sleep(POLL_S)
                detail = await self._runs.get(principal.tenant_id, run_id)
            details.append(detail)
        return details

    async def instances(
        self, principal: Principal, wanted: InstanceFilter, *, limit: int, cursor: str | None
    ) -> InstancePage:
        """See `Sources.instances`."""
        principal.require_any(*READ_SOURCES)
        check_page(limit)
        after_id = decode_row_cursor(cursor)
        found = await self._instances.list(principal.tenant_id, wanted, limit=limit + 1, after_id=after_id)
        page, more = cut(found, limit)
        return InstancePage(page, encode_cursor(page[-1].id) if more else None)

    async def instance(self, principal: Principal, instance_id: int) -> Instance:
        """See `Sources.instance`."""
        principal.require_any(*READ_SOURCES)
        return await self._instances.get(principal.tenant_id, instance_id)

    def _sealed(self, credentials: Mapping[str, str]) -> bytes | None:
        return self._sealing.seal(credentials) if credentials else None


def _check_none_kept(before: StoredSource, spec: SourceSpec) -> None:
    """Raises `InvalidInput` where credentials would be kept for another system or address than they were given for."""
    if before.credential_names:
        raise InvalidInput(
            "credentials", "give them again: the source's kind or address changes, and they were given for the old one"
        )
    check_credentials(spec.kind, {})
