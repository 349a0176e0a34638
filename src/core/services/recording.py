"""Who did what: entries of the audit trail about what callers change."""

from datetime import datetime, timedelta
from typing import Any, Final
from uuid import uuid4

import msgspec

from core.domain.audit import AuditKind, AuditRecord
from core.domain.tenants import Principal, Scope
from core.domain.times import EPOCH
from ports.driven.audit_log import AuditLog
from ports.driven.clock import Clock

READ_ALERTS: Final = (Scope.ALERTS, Scope.QUERY)
"""Any of these may read what concerns alerts."""
READ_REMEDIATION: Final = (Scope.REMEDIATE, Scope.ALERTS, Scope.QUERY)
"""Any of these may read what concerns remediation, and the audit trail."""


class Recorder:
    """Writes down what was changed, after it was. Safe to call concurrently."""

    def __init__(self, audit: AuditLog, clock: Clock) -> None:
        self._audit = audit
        self._clock = clock

    def now(self) -> datetime:
        """The present, UTC."""
        return EPOCH + timedelta(microseconds=self._clock.now_us())

    async def changed(
        self,
        principal: Principal,
        summary: str,
        *,
        before: msgspec.Struct | None = None,
        after: msgspec.Struct | None = None,
        alert_id: int | None = None,
        remediation_id: int | None = None,
        key: str | None = None,
    ) -> None:
        """Records a change with the fields that it changed, which must hold no secrets.

        `key` is for what can happen only once; without it every call is an entry of its own.
        """
        record = AuditRecord(
            key=key or f"change-{uuid4().hex}",
            kind=AuditKind.CHANGE,
            actor=actor(principal),
            summary=summary,
            alert_id=alert_id,
            remediation_id=remediation_id,
            details=differences(before, after),
        )
        await self._audit.append(principal.tenant_id, record, now=self.now())


def actor(principal: Principal) -> str:
    """Who a caller is in the audit trail, and as the author of something."""
    return f"key:{principal.key_id}"


def differences(before: msgspec.Struct | None, after: msgspec.Struct | None) -> dict[str, Any]:
    """``{"before": …, "after": …}`` with the top-level fields that differ; one of them where there is no other."""
    fields: dict[str, dict[str, Any]] = {}
    if before is not None:
        fields["before"] = msgspec.to_builtins(before)
    if after is not None:
        fields["after"] = msgspec.to_builtins(after)
    if before is None or after is None:
        return fields
    old, new = fields["before"], fields["after"]
    changed = [name for name in {**old, **new} if name not in old or name not in new or old[name] != new[name]]
    return {side: {name: values[name] for name in changed if name in values} for side, values in fields.items()}
