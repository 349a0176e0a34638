"""The routes of the audit trail, and an entry of it as it is shown in timelines, too."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
from litestar import Controller, get

from adapters.driving.http.alert_parameters import PAGE_DEFAULT, AboutAlert, AboutRemediation, PageCursor, PageLimit
from adapters.driving.http.guards import ApiRequest, ServicesDependency, authenticated
from core.domain.audit import AuditEntry, AuditKind
from ports.driving.remediating import AuditVerdict

TAG: Final = "Audit"


class AuditEntryReply(msgspec.Struct, frozen=True, kw_only=True):
    """A link of the chain; hashes are hexadecimal."""

    sequence: int
    at: datetime
    kind: AuditKind
    actor: str
    """Who: `key:<id>` of an API key, `link` for a signed link, `sextant` for the server itself."""
    summary: str
    alert_id: int | None
    remediation_id: int | None
    details: dict[str, Any]
    previous: str
    """The hash of the entry before it."""
    hash: str


class AuditReply(msgspec.Struct, frozen=True):
    """Entries, newest first, and the cursor of the next page where there is one."""

    data: Sequence[AuditEntryReply]
    next_cursor: str | None


class AuditController(Controller):
    """Scope ``remediate``, ``alerts`` or ``query``; the tenant's own trail only."""

    path = "/api/v1/audit"
    tags: Sequence[str] = [TAG]  # Litestar declares it as an instance's
    guards = [authenticated]  # noqa: RUF012  # the same

    @get("/", operation_id="list_audit", summary="Audit trail")
    async def list_all(
        self,
        request: ApiRequest,
        services: ServicesDependency,
        alert: AboutAlert = None,
        remediation: AboutRemediation = None,
        limit: PageLimit = PAGE_DEFAULT,
        cursor: PageCursor = None,
    ) -> AuditReply:
        """What was decided, asked, approved, done, answered and changed, newest first, a page at a time. Entries are
        only ever added; each one's hash covers its content and the hash before it."""
        page = await services.audit.list(
            request.user, alert_id=alert, remediation_id=remediation, limit=limit, cursor=cursor
        )
        return AuditReply(timeline(page.data), page.next_cursor)

    @get("/verify", operation_id="verify_audit", summary="Verify the audit trail")
    async def verify(self, request: ApiRequest, services: ServicesDependency) -> AuditVerdict:
        """Recomputes the tenant's whole chain. `broken` names the first entry that was changed, removed or slipped in;
        null: the chain holds. Keep `head` elsewhere to prove later that nothing before it changed."""
        return await services.audit.verify(request.user)


def timeline(entries: Iterable[AuditEntry]) -> list[AuditEntryReply]:
    """Entries as they go out, in their order."""
    return [
        AuditEntryReply(
            sequence=entry.sequence,
            at=entry.at,
            kind=entry.record.kind,
            actor=entry.record.actor,
            summary=entry.record.summary,
            alert_id=entry.record.alert_id,
            remediation_id=entry.record.remediation_id,
            details=entry.record.details,
            previous=entry.previous.hex(),
            hash=entry.hash.hex(),
        )
        for entry in entries
    ]
