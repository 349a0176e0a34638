"""The blast radius: whether one more remediation action may be taken now, and if not, why and until when."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from core.domain.remediation import KillSwitch
from core.domain.times import EPOCH, format_time

WINDOW: Final = timedelta(hours=1)
"""What limits count in: the hour before now, not the clock's hour, at whose end twice as many could be taken."""


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """What speaks against an action when it is about to be taken."""

    switches: Sequence[KillSwitch]
    """The whole server's, then the tenant's."""
    ended: bool = False
    """The remediation has ended, most likely cancelled before its workflow had begun."""
    resolved: bool = False
    """The alert has resolved by itself: the remediation has not acted yet."""
    repeated: bool
    """The same action was granted before."""
    tenant_full_at: datetime | None
    """When the oldest of the tenant's last N actions was granted, N being its limit; None: fewer within `WINDOW`."""
    target_full_at: datetime | None
    """The same of the target."""
    touched_at: datetime | None
    """When another remediation of the policy last acted on the target; None: not within its cooldown."""


def refusal(
    taken: Taken,
    *,
    policy: str,
    target: str,
    tenant_per_hour_max: int,
    target_per_hour_max: int,
    cooldown: timedelta,
) -> str | None:
    """None: the action may be taken. Else why not, as a sentence for a person.

    A kill switch and the remediation's end stop even what was granted before; limits and the cooldown do not.
    """
    for switch in taken.switches:
        if switch.engaged:
            whose = "the whole server" if switch.tenant is None else f"tenant {switch.tenant}"
            return f"The kill switch of {whose} is engaged by {switch.by}: {switch.reason}"
    if taken.ended:
        return "The remediation has ended; it may not act any more."
    if taken.repeated:
        return None
    if taken.resolved:
        return "The alert has resolved meanwhile; there is nothing left to repair."
    if taken.tenant_full_at is not None:
        free = _said(taken.tenant_full_at + WINDOW)
        limit = f"{tenant_per_hour_max} actions per hour"
        return f"The tenant's limit of {limit} is reached; the next is free at {free}."
    if taken.target_full_at is not None:
        free = _said(taken.target_full_at + WINDOW)
        limit = f"{target_per_hour_max} actions per hour on {target}"
        return f"The limit of {limit} is reached; the next is free at {free}."
    if taken.touched_at is not None:
        free = _said(taken.touched_at + cooldown)
        return f"An earlier remediation of policy {policy!r} acted on {target}, which cools down until {free}."
    return None


def _said(instant: datetime) -> str:
    return format_time((instant.astimezone(UTC) - EPOCH) // timedelta(microseconds=1))
