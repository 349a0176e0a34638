"""What is recorded of configurations as they are found, and the event that tells of a change; the same whatever
stores them."""

import hashlib
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid5

import msgspec

from core.domain.config_diff import differences
from core.domain.configurations import BASELINES_SIZE_BYTES_MAX, ConfigChange, Difference, ObservedConfiguration
from core.domain.errors import Conflict
from core.domain.events import CHANGE_METRIC, EventSeverity, SignalEvent, fingerprint_of

VALUE_CHARS_MAX: Final = 80
"""Of a value in an event's message: a tag of an image with its registry fits."""
PATH_CHARS_MAX: Final = 200
SHOWN_MAX: Final = 3
"""Differences in an event's message; the change itself has all."""

_NAMES: Final = UUID("5b0c5a9e-7d0e-4e0a-9d4f-2c8f0f6f7d11")
_TICK: Final = timedelta(microseconds=1)


def recorded_change(
    tenant_id: int, found: ObservedConfiguration, newest: ConfigChange | None, *, source: str, now: datetime
) -> ConfigChange | None:
    """What to record of a configuration whose last recorded change is `newest`; None where it is as it was.

    It comes after `newest` whatever clocks say, so that the newest change always holds what was found last.
    """
    before = newest.after if newest is not None else None
    diff = differences(before, found.document)
    if not diff:
        return None
    ts = now if found.changed_at is None else min(found.changed_at, now)
    if newest is not None and ts <= newest.ts:
        ts = max(now, newest.ts + _TICK)
    return ConfigChange(
        id=_change_id(tenant_id, found, newest),
        ts=ts,
        cluster_id=found.cluster_id,
        namespace=found.namespace,
        workload=found.workload,
        kind=found.kind,
        before=before,
        after=found.document,
        diff=diff,
        actor=found.actor,
        source=source,
        synthetic=found.synthetic,
    )


def check_baselines_fit(others_bytes: int, wanted_bytes: int) -> None:
    """Raises `Conflict` where a baseline does not fit beside a tenant's other ones."""
    if others_bytes + wanted_bytes > BASELINES_SIZE_BYTES_MAX:
        raise Conflict(
            f"all baselines together would take more than {BASELINES_SIZE_BYTES_MAX >> 20} MiB; remove some first"
        )


def event_of_change(change: ConfigChange, *, now: datetime) -> SignalEvent:
    """The event that tells of a change; the same id each time."""
    labels = {
        "cluster_id": change.cluster_id,
        "namespace": change.namespace,
        "workload": change.workload,
        "kind": change.kind.value,
    }
    if change.actor is not None:
        labels["actor"] = change.actor
    return SignalEvent(
        id=uuid5(change.id, CHANGE_METRIC),
        ts=change.ts,
        host=None,
        service=change.workload,
        fingerprint=fingerprint_of(None, change.workload, CHANGE_METRIC),
        severity=EventSeverity.INFO,
        metric=CHANGE_METRIC,
        value=None,
        message=_message(change),
        labels=labels,
        synthetic=change.synthetic,
        created_at=now,
    )


def _change_id(tenant_id: int, found: ObservedConfiguration, newest: ConfigChange | None) -> UUID:
    """The same for the same document found after the same change."""
    document = hashlib.sha256(msgspec.json.encode(found.document, order="deterministic")).hexdigest()
    previous = str(newest.id) if newest is not None else None
    place = (tenant_id, found.cluster_id, found.namespace, found.workload, found.kind, document, previous)
    return uuid5(_NAMES, msgspec.json.encode(place).decode())


def _message(change: ConfigChange) -> str:
    shown = [_difference(each) for each in change.diff[:SHOWN_MAX]]
    if len(change.diff) > SHOWN_MAX:
        shown.append(f"{len(change.diff) - SHOWN_MAX} more")
    return f"{change.kind.value} of {change.namespace}/{change.workload}: {'; '.join(shown) or 'changed'}"


def _difference(difference: Difference) -> str:
    """One line: ``/image: v1 → v2``."""
    if not difference.path:
        return {"add": "added", "remove": "removed", "replace": "replaced as a whole"}[difference.op]
    path = _cut(difference.path, PATH_CHARS_MAX)
    match difference.op:
        case "add":
            return f"{path}: added {_value(difference.after)}"
        case "remove":
            return f"{path}: removed {_value(difference.before)}"
        case _:
            return f"{path}: {_value(difference.before)} → {_value(difference.after)}"


def _value(value: Any) -> str:
    return _cut(value if isinstance(value, str) else msgspec.json.encode(value).decode(), VALUE_CHARS_MAX)


def _cut(text: str, chars_max: int) -> str:
    return text if len(text) <= chars_max else text[: chars_max - 1] + "…"
