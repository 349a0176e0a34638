"""Silences and inhibitions in memory."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from adapters.driven.memory.alert_tables import InhibitionRow, SilenceRow
from adapters.driven.memory.database import MemoryDatabase
from core.domain.alerts import Inhibition, InhibitionSpec, Silence, SilenceSpec
from core.domain.errors import Conflict, NotFound


class MemorySilenceStore:
    """Implements `SilenceStore`."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database

    async def silences(self, tenant_id: int, *, ended_before: datetime | None) -> Sequence[Silence]:
        """By id; those that have ended by the given time are left out."""
        return silences_of(self._database, tenant_id, ended_before)

    async def silence(self, tenant_id: int, silence_id: int) -> Silence:
        """One, or `NotFound`."""
        return self._row(tenant_id, silence_id).silence

    async def create_silence(self, tenant_id: int, spec: SilenceSpec, *, author: str, now: datetime) -> Silence:
        """Adds one; it starts now where the spec names no start."""
        silence = Silence(
            id=self._database.next_id("silences"),
            matchers=spec.matchers,
            starts_at=spec.begin(now),
            ends_at=spec.ends_at,
            author=author,
            reason=spec.reason,
            created_at=now,
        )
        self._database.silences[silence.id] = SilenceRow(tenant_id=tenant_id, silence=silence)
        return silence

    async def replace_silence(self, tenant_id: int, silence_id: int, spec: SilenceSpec) -> Silence:
        """Changes one; without `starts_at` it keeps its own."""
        row = self._row(tenant_id, silence_id)
        row.silence = msgspec.structs.replace(
            row.silence,
            matchers=spec.matchers,
            starts_at=spec.begin(row.silence.starts_at),
            ends_at=spec.ends_at,
            reason=spec.reason,
        )
        return row.silence

    async def end_silence(self, tenant_id: int, silence_id: int, *, now: datetime) -> None:
        """Ends one now, or before it begins."""
        row = self._row(tenant_id, silence_id)
        row.silence = msgspec.structs.replace(
            row.silence, starts_at=min(row.silence.starts_at, now), ends_at=min(row.silence.ends_at, now)
        )

    async def inhibitions(self, tenant_id: int) -> Sequence[Inhibition]:
        """All, by name."""
        return sorted(inhibitions_of(self._database, tenant_id), key=lambda inhibition: inhibition.spec.name)

    async def create_inhibition(self, tenant_id: int, spec: InhibitionSpec) -> Inhibition:
        """Adds one, or raises `Conflict`."""
        if any(inhibition.spec.name == spec.name for inhibition in inhibitions_of(self._database, tenant_id)):
            raise Conflict(f"there is an inhibition {spec.name!r} already")
        inhibition = Inhibition(id=self._database.next_id("inhibitions"), spec=spec, created_at=self._database.now())
        self._database.inhibitions[inhibition.id] = InhibitionRow(tenant_id=tenant_id, inhibition=inhibition)
        return inhibition

    async def delete_inhibition(self, tenant_id: int, inhibition_id: int) -> None:
        """Removes one, or raises `NotFound`."""
        row = self._database.inhibitions.get(inhibition_id)
        if row is None or row.tenant_id != tenant_id:
            raise NotFound("inhibition", str(inhibition_id))
        del self._database.inhibitions[inhibition_id]

    def _row(self, tenant_id: int, silence_id: int) -> SilenceRow:
        row = self._database.silences.get(silence_id)
        if row is None or row.tenant_id != tenant_id:
            raise NotFound("silence", str(silence_id))
        return row


def silences_of(database: MemoryDatabase, tenant_id: int, ended_before: datetime | None) -> list[Silence]:
    """A tenant's silences by id, without those that have ended by the given time."""
    silences = [row.silence for row in database.silences.values() if row.tenant_id == tenant_id]
    return [silence for silence in silences if ended_before is None or silence.ends_at > ended_before]


def inhibitions_of(database: MemoryDatabase, tenant_id: int) -> list[Inhibition]:
    """A tenant's inhibitions by id."""
    return [row.inhibition for row in database.inhibitions.values() if row.tenant_id == tenant_id]
