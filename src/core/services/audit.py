"""The audit trail as people read it, and the proof that it is whole."""

from core.domain.audit import ChainCheck
from core.domain.tenants import Principal
from core.services.cursors import check_page, cut, decode_row_cursor, encode_cursor
from core.services.recording import READ_REMEDIATION
from ports.driven.audit_log import AuditLog
from ports.driving.remediating import AuditPage, AuditVerdict


class AuditService:
    """Implements `ports.driving.remediating.Audit`."""

    def __init__(self, audit: AuditLog) -> None:
        self._audit = audit

    async def list(
        self,
        principal: Principal,
        *,
        alert_id: int | None,
        remediation_id: int | None,
        limit: int,
        cursor: str | None,
    ) -> AuditPage:
        """See `Audit.list`."""
        principal.require_any(*READ_REMEDIATION)
        check_page(limit)
        found = await self._audit.list(
            principal.tenant_id,
            alert_id=alert_id,
            remediation_id=remediation_id,
            limit=limit + 1,
            after=decode_row_cursor(cursor),
            newest_first=True,
        )
        page, more = cut(found, limit)
        return AuditPage(page, encode_cursor(page[-1].sequence) if more else None)

    async def verify(self, principal: Principal) -> AuditVerdict:
        """See `Audit.verify`."""
        principal.require_any(*READ_REMEDIATION)
        # The end is read first: entries that come in meanwhile lie past it, and follow from it all the same.
        check = ChainCheck(principal.tenant_id, head=await self._audit.head(principal.tenant_id))
        async for entry in self._audit.chain(principal.tenant_id):
            check.follow(entry)
        broken = check.end()
        return AuditVerdict(
            tenant=principal.tenant,
            entries=check.sequence,
            head=check.hash.hex() if check.sequence else None,
            broken=broken,
        )
