"""Which range of an item a run asks for, and how far its checkpoints move once that has been stored.

Theory of operation. A checkpoint says: everything up to `through` is stored. A run by itself asks for
``[through - settle, end)`` and then moves the checkpoint to `end`; since the vendor may revise an answer for as long as
`settle`, each instant is read once more after its value is final. A first run reaches back by `lookback`. A request
with a start of its own says nothing about what lies before it: it moves a checkpoint only where it begins no later than
a run by itself would have, so that no checkpoint ever passes over a gap.

A series that had no room stands behind its item, with a checkpoint of its own at which its item stood when it was first
refused. Once it has room, the item's window begins there.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

import msgspec

from core.domain.collection import CollectionRequest
from core.domain.sources import BACKFILL_US_MAX, SourceSpec
from core.domain.times import EPOCH, TimeRange


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What one run asks for, in microseconds."""

    now_us: int
    start_us: int | None
    """None: from where each item stands."""
    end_us: int
    """Never in the future."""
    floor_us: int
    """Nothing before is asked for: it is not kept, or vendors do not have it any more."""
    lookback_us: int
    settle_us: int


def asked_for(request: CollectionRequest, spec: SourceSpec, *, now_us: int, cutoff_us: int) -> Asked:
    """What `request` asks of the source now; nothing of any metric is kept from before `cutoff_us`."""
    end_us = now_us if request.end_time is None else min(instant_us(request.end_time), now_us)
    return Asked(
        now_us=now_us,
        start_us=None if request.start_time is None else instant_us(request.start_time),
        end_us=end_us,
        floor_us=max(now_us - BACKFILL_US_MAX, cutoff_us),
        lookback_us=spec.lookback_us,
        settle_us=spec.settle_us,
    )


def window_of(asked: Asked, through_us: int | None, behind_us: Iterable[int] = ()) -> TimeRange | None:
    """The range to ask for of an item whose checkpoint is `through_us`; None where nothing is left to ask for.

    `behind_us` are the checkpoints of those of its series that are behind and have room now.
    """
    start_us = asked.start_us
    if start_us is None:
        own_us = asked.end_us - asked.lookback_us if through_us is None else through_us - asked.settle_us
        start_us = min([own_us, *(series_us - asked.settle_us for series_us in behind_us)])
    start_us = max(start_us, asked.floor_us)
    return TimeRange(start_us, asked.end_us) if start_us < asked.end_us else None


def through_after(asked: Asked, through_us: int | None, window: TimeRange) -> int | None:
    """Up to where everything of an item is stored once `window` is; None where that is not known any further."""
    if asked.start_us is None:
        return window.end_us if through_us is None else max(through_us, window.end_us)
    first_us = asked.now_us - asked.lookback_us if through_us is None else through_us - asked.settle_us
    connects = window.start_us <= max(first_us, asked.floor_us)
    if through_us is None:
        return window.end_us if connects and window.end_us > first_us else None
    return max(through_us, window.end_us) if connects else through_us


def series_through_after(asked: Asked, through_us: int, window: TimeRange) -> int:
    """The same of a series that was behind and has room, all of whose points in `window` are stored now."""
    connects = window.start_us <= max(through_us, asked.floor_us)
    return max(through_us, window.end_us) if connects else through_us


def refused_from(through_us: int | None, window: TimeRange) -> int:
    """The checkpoint of a series that had no room when `window` was stored, of an item that stood at `through_us`."""
    return window.start_us if through_us is None else min(through_us, window.start_us)


def instant_us(instant: datetime) -> int:
    """Microseconds since the Unix epoch."""
    return (instant - EPOCH) // timedelta(microseconds=1)


def instant_of(ts_us: int) -> datetime:
    """The instant, UTC."""
    return EPOCH + timedelta(microseconds=ts_us)
