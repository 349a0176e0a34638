"""What a tenant sets up about alerts, and the alerts themselves. Every method acts within one tenant.

All raise `NotFound` for an id that is not the tenant's, `Conflict` for a name that exists, and `Unavailable`.
Changes of rules take effect at the evaluation's next transaction.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from core.domain.alerts import Alert, AlertFilter, Inhibition, InhibitionSpec, Silence, SilenceSpec, StoredRule
from core.domain.notifications import Channel, ChannelConfig
from core.domain.rules import AlertRule

ALERTS_PAGE_MAX = 1_000
"""One page of alerts; more comes by cursor."""
ALERTS_LOOKED_AT_MAX = 100_000
"""Matchers are held against one alert after the other: about a second's work."""


class RuleStore(Protocol):
    """Alert rules. Those of origin ``definition`` follow the metric definitions and refuse changes (`Conflict`)."""

    async def list(self, tenant_id: int) -> Sequence[StoredRule]:
        """All, by name."""
        ...

    async def get(self, tenant_id: int, rule_id: int) -> StoredRule:
        """One."""
        ...

    async def create(self, tenant_id: int, rule: AlertRule) -> StoredRule:
        """Adds one."""
        ...

    async def replace(self, tenant_id: int, rule_id: int, rule: AlertRule) -> StoredRule:
        """Replaces one whole, and counts its revision up; an equal rule stays as it is."""
        ...

    async def delete(self, tenant_id: int, rule_id: int) -> None:
        """Removes one; its open episodes end at the evaluation's next transaction."""
        ...


class SilenceStore(Protocol):
    """Silences and inhibitions."""

    async def silences(self, tenant_id: int, *, ended_before: datetime | None) -> Sequence[Silence]:
        """By id; those that have ended by the given time are left out."""
        ...

    async def silence(self, tenant_id: int, silence_id: int) -> Silence:
        """One."""
        ...

    async def create_silence(self, tenant_id: int, spec: SilenceSpec, *, author: str, now: datetime) -> Silence:
        """Adds one; it starts now where the spec names no start. Raises `InvalidInput` where it would have ended."""
        ...

    async def replace_silence(self, tenant_id: int, silence_id: int, spec: SilenceSpec) -> Silence:
        """Changes one; without `starts_at` it keeps its own. Raises `InvalidInput` as above."""
        ...

    async def end_silence(self, tenant_id: int, silence_id: int, *, now: datetime) -> None:
        """Ends one now, or before it begins; safe to repeat."""
        ...

    async def inhibitions(self, tenant_id: int) -> Sequence[Inhibition]:
        """All, by name."""
        ...

    async def create_inhibition(self, tenant_id: int, spec: InhibitionSpec) -> Inhibition:
        """Adds one."""
        ...

    async def delete_inhibition(self, tenant_id: int, inhibition_id: int) -> None:
        """Removes one."""
        ...


class ChannelStore(Protocol):
    """Channels; secrets go in and come out only through `secrets`, which no request's answer is made from."""

    async def list(self, tenant_id: int) -> Sequence[Channel]:
        """All, by name."""
        ...

    async def get(self, tenant_id: int, channel_id: int) -> Channel:
        """One."""
        ...

    async def create(self, tenant_id: int, config: ChannelConfig, secrets: tuple[str, ...]) -> Channel:
        """Adds one."""
        ...

    async def replace(
        self, tenant_id: int, channel_id: int, config: ChannelConfig, secrets: tuple[str, ...] | None
    ) -> Channel:
        """Replaces one, of the same type (else `Conflict`); `secrets` None keeps those it has. Enabling it clears
        `disabled_reason`."""
        ...

    async def delete(self, tenant_id: int, channel_id: int) -> None:
        """Removes one, with what was still to be sent through it."""
        ...

    async def secrets(self, tenant_id: int, channel_id: int) -> tuple[str, ...]:
        """For sending."""
        ...

    async def disable(self, tenant_id: int, channel_id: int, reason: str) -> None:
        """Sextant itself gives the channel up."""
        ...


class AlertStore(Protocol):
    """Episodes, as evaluation wrote them."""

    async def list(self, tenant_id: int, wanted: AlertFilter, *, limit: int, before_id: int | None) -> Sequence[Alert]:
        """Newest first (descending id), those with an id below `before_id`. Fewer than `limit` are all there are.

        Matchers mean what they mean in a silence: they are over `Alert.matched_labels`. Raises `InvalidInput` for one
        that cannot be read, `TooExpensive` where too few of the newest `ALERTS_LOOKED_AT_MAX` match.
        """
        ...

    async def get(self, tenant_id: int, alert_id: int) -> Alert:
        """One."""
        ...

    async def acknowledge(self, tenant_id: int, alert_id: int, *, by: str, now: datetime) -> Alert:
        """Marks a pending or firing alert as seen, and puts the event into the outbox; the first wins, repeating it
        changes nothing. Raises `Conflict` where it is resolved."""
        ...

    async def request_close(self, tenant_id: int, alert_id: int, *, by: str) -> Alert:
        """Asks evaluation to end a firing or pending episode; raises `Conflict` where it is resolved."""
        ...
