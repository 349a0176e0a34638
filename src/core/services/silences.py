"""Silences, maintenance windows and inhibitions."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from core.domain.alerts import Inhibition, InhibitionSpec, Silence, SilenceSpec
from core.domain.errors import InvalidInput
from core.domain.tenants import Principal, Scope
from core.domain.times import EPOCH, TIME_US_MAX
from core.services.recording import READ_ALERTS, Recorder, actor
from ports.driven.alerting_store import SilenceStore
from ports.driven.audit_log import AuditLog
from ports.driven.clock import Clock

_LATEST: Final = EPOCH + timedelta(microseconds=TIME_US_MAX)


class SilenceService:
    """Implements `ports.driving.alerting.Silences`."""

    def __init__(self, silences: SilenceStore, audit: AuditLog, clock: Clock) -> None:
        self._silences = silences
        self._recorder = Recorder(audit, clock)

    async def list(self, principal: Principal, *, ended: bool) -> Sequence[Silence]:
        """See `Silences.list`."""
        principal.require_any(*READ_ALERTS)
        ended_before = None if ended else self._recorder.now()
        return await self._silences.silences(principal.tenant_id, ended_before=ended_before)

    async def get(self, principal: Principal, silence_id: int) -> Silence:
        """See `Silences.get`."""
        principal.require_any(*READ_ALERTS)
        return await self._silences.silence(principal.tenant_id, silence_id)

    async def create(self, principal: Principal, spec: SilenceSpec) -> Silence:
        """See `Silences.create`."""
        principal.require(Scope.ALERTS)
        now = self._recorder.now()
        _check_times(spec, now)
        silence = await self._silences.create_silence(principal.tenant_id, spec, author=actor(principal), now=now)
        await self._recorder.changed(principal, f"made the silence {silence.id}", after=silence)
        return silence

    async def replace(self, principal: Principal, silence_id: int, spec: SilenceSpec) -> Silence:
        """See `Silences.replace`."""
        principal.require(Scope.ALERTS)
        before = await self._silences.silence(principal.tenant_id, silence_id)
        _check_times(spec, self._recorder.now())
        silence = await self._silences.replace_silence(principal.tenant_id, silence_id, spec)
        await self._recorder.changed(principal, f"changed the silence {silence_id}", before=before, after=silence)
        return silence

    async def end(self, principal: Principal, silence_id: int) -> None:
        """See `Silences.end`."""
        principal.require(Scope.ALERTS)
        now = self._recorder.now()
        before = await self._silences.silence(principal.tenant_id, silence_id)
        if before.ends_at <= now:
            return
        await self._silences.end_silence(principal.tenant_id, silence_id, now=now)
        await self._recorder.changed(principal, f"ended the silence {silence_id}", before=before)

    async def inhibitions(self, principal: Principal) -> Sequence[Inhibition]:
        """See `Silences.inhibitions`."""
        principal.require_any(*READ_ALERTS)
        return await self._silences.inhibitions(principal.tenant_id)

    async def create_inhibition(self, principal: Principal, spec: InhibitionSpec) -> Inhibition:
        """See `Silences.create_inhibition`."""
        principal.require(Scope.ALERTS)
        inhibition = await self._silences.create_inhibition(principal.tenant_id, spec)
        await self._recorder.changed(principal, f"made the inhibition {spec.name!r}", after=spec)
        return inhibition

    async def delete_inhibition(self, principal: Principal, inhibition_id: int) -> None:
        """See `Silences.delete_inhibition`."""
        principal.require(Scope.ALERTS)
        known = await self._silences.inhibitions(principal.tenant_id)
        await self._silences.delete_inhibition(principal.tenant_id, inhibition_id)
        before = next((each.spec for each in known if each.id == inhibition_id), None)
        name = f" {before.name!r}" if before is not None else ""
        await self._recorder.changed(principal, f"deleted the inhibition{name}", before=before)


def _check_times(spec: SilenceSpec, now: datetime) -> None:
    for field, instant in (("starts_at", spec.starts_at), ("ends_at", spec.ends_at)):
        if instant is not None and not EPOCH <= instant < _LATEST:
            raise InvalidInput(field, "is outside the years 1970 to 2200")
    if spec.ends_at <= now:
        raise InvalidInput("ends_at", "has passed already")
