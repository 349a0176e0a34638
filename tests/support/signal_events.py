"""Signal events as tests make them."""

from datetime import datetime
from uuid import UUID, uuid4

import msgspec

from core.domain.events import EventSeverity, SignalEvent
from core.domain.times import EPOCH


def signal_event(ts: datetime, event_id: UUID | None = None, **changes: object) -> SignalEvent:
    """An event of that moment with usual fields, a new one where no id is given."""
    usual = SignalEvent(
        id=event_id or uuid4(),
        ts=ts,
        host="host-a",
        service=None,
        fingerprint="host-a:cpu",
        severity=EventSeverity.INFO,
        metric="cpu",
        value=None,
        message=None,
        labels={},
        synthetic=False,
        created_at=EPOCH,
    )
    return msgspec.structs.replace(usual, **changes)
