"""The routes of remediations: attempts to repair what alerts are about."""

from collections.abc import Sequence
from typing import Annotated, Final

import msgspec
from litestar import Controller, get, post
from msgspec import Meta

from adapters.driving.http.alert_parameters import (
    BIGINT_MAX,
    PAGE_DEFAULT,
    AboutAlert,
    PageCursor,
    PageLimit,
    RemediationInPath,
    StateOfRemediation,
    existing_id,
)
from adapters.driving.http.audit import AuditEntryReply, timeline
from adapters.driving.http.guards import ApiRequest, ServicesDependency, authenticated, optional_json_body
from adapters.driving.http.policies import TAG
from core.domain.alerts import REASON_CHARS_MAX
from core.domain.remediation import Remediation, RemediationPolicy
from ports.driving.remediating import RemediationDetail, RemediationPage

PATH: Final = "/api/v1/remediations"


class ReasonBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why, for the audit trail. The body may be left out."""

    reason: Annotated[str, Meta(min_length=1, max_length=REASON_CHARS_MAX, pattern="^[^\x00]*$")] | None = None


class RemediationDetailReply(Remediation, frozen=True, kw_only=True):
    """A remediation with all that led to it and came of it."""

    policy_as_it_was: RemediationPolicy
    """When the alert fired; later edits change nothing."""
    timeline: Sequence[AuditEntryReply]
    """Oldest first."""


_body = msgspec.json.Decoder(ReasonBody)


class RemediationController(Controller):
    """Reading needs scope ``remediate``, ``alerts`` or ``query``, deciding and cancelling ``remediate``."""

    path = PATH
    tags: Sequence[str] = [TAG]  # Litestar declares it as an instance's
    guards = [authenticated]  # noqa: RUF012  # the same

    @get("/", operation_id="list_remediations", summary="Remediations")
    async def list_all(
        self,
        request: ApiRequest,
        services: ServicesDependency,
        in_state: StateOfRemediation = None,
        alert: AboutAlert = None,
        limit: PageLimit = PAGE_DEFAULT,
        cursor: PageCursor = None,
    ) -> RemediationPage:
        """Attempts to repair, newest first, a page at a time. Those in state `waiting` begin as soon as Temporal is
        there; `detail` and `last_error` say more."""
        return await services.remediations.list(
            request.user, state=in_state, alert_id=alert, limit=limit, cursor=cursor
        )

    @get("/{remediation_id:int}", operation_id="get_remediation", summary="One remediation")
    async def get_one(
        self, request: ApiRequest, services: ServicesDependency, remediation_id: RemediationInPath
    ) -> RemediationDetailReply:
        """The remediation with the policy that it follows and its timeline: decisions, approvals, requests, responses,
        verdicts."""
        return _detail(await services.remediations.get(request.user, _id(remediation_id)))

    @post("/{remediation_id:int}/approve", operation_id="approve_remediation", summary="Approve", status_code=200)
    async def approve(
        self, request: ApiRequest, services: ServicesDependency, remediation_id: RemediationInPath
    ) -> Remediation:
        """Lets a remediation act that waits for approval; a conflict where it does not wait, or not any more."""
        reason = await _reason(request)
        return await services.remediations.decide(request.user, _id(remediation_id), approved=True, reason=reason)

    @post("/{remediation_id:int}/reject", operation_id="reject_remediation", summary="Reject", status_code=200)
    async def reject(
        self, request: ApiRequest, services: ServicesDependency, remediation_id: RemediationInPath
    ) -> Remediation:
        """Ends a remediation that waits for approval before it has done anything; a conflict where it does not."""
        reason = await _reason(request)
        return await services.remediations.decide(request.user, _id(remediation_id), approved=False, reason=reason)

    @post("/{remediation_id:int}/cancel", operation_id="cancel_remediation", summary="Cancel", status_code=200)
    async def cancel(
        self, request: ApiRequest, services: ServicesDependency, remediation_id: RemediationInPath
    ) -> Remediation:
        """Asks a remediation to stop before its next action; a conflict where it has ended."""
        reason = await _reason(request)
        return await services.remediations.cancel(request.user, _id(remediation_id), reason=reason)


async def _reason(request: ApiRequest) -> str | None:
    body = await optional_json_body(request, _body)
    return None if body is None else body.reason


def _id(number: int) -> int:
    return existing_id("remediation", number, id_max=BIGINT_MAX)


def _detail(detail: RemediationDetail) -> RemediationDetailReply:
    return RemediationDetailReply(
        **msgspec.structs.asdict(detail.remediation),
        policy_as_it_was=detail.policy,
        timeline=timeline(detail.timeline),
    )
