"""The routes of recommendations: what would mend a drift, and doing it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Final
from urllib.parse import quote

import msgspec
from litestar import Controller, Response, get, post
from msgspec import Meta

from adapters.driving.http.alert_parameters import PAGE_DEFAULT, DocumentsLimit, PageCursor
from adapters.driving.http.cluster_parameters import InCluster
from adapters.driving.http.drift_parameters import (
    InEnv,
    OfDrift,
    OfType,
    RecommendationInPath,
    StateOfRecommendation,
    id_in_path,
)
from adapters.driving.http.guards import ApiRequest, ServicesDependency, authenticated, json_body, optional_json_body
from adapters.driving.http.remediations import ReasonBody
from core.domain.recommendations import Recommendation, RecommendationFilter, RecommendationSpec
from ports.driving.drifting import Applied, RecommendationDetail, RecommendationPage

PATH: Final = "/api/v1/drift/recommendations"
TAG: Final = "Recommendations"


UpdatedAt = Annotated[datetime, Meta(tz=True)]


class ApproveBody(ReasonBody, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why, for the audit trail, and what is approved. The body may be left out."""

    updated_at: UpdatedAt | None = None
    """The recommendation's, as it was read: a conflict where it was updated since. Left out: as it is now."""


class ApplyBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to apply it. The body may be left out: a dry run."""

    dry_run: bool = True
    """Only says what it would change; false does it."""
    updated_at: UpdatedAt | None = None
    """The recommendation's, as it was read: a conflict where it was updated since. Left out: as it is now."""


_recommendation = msgspec.json.Decoder(RecommendationSpec)
_reason = msgspec.json.Decoder(ReasonBody)
_approve = msgspec.json.Decoder(ApproveBody)
_apply = msgspec.json.Decoder(ApplyBody)


class RecommendationController(Controller):
    """Reading needs scope ``query``, ``alerts`` or ``remediate``, posting ``ingest`` or ``alerts``, deciding and
    applying ``remediate``."""

    path = PATH
    tags: Sequence[str] = [TAG]  # Litestar declares it as an instance's
    guards = [authenticated]  # noqa: RUF012  # the same

    @post("/", operation_id="post_recommendation", summary="Recommend something")
    async def create(self, request: ApiRequest, services: ServicesDependency) -> Response[Recommendation]:
        """Records what would mend a drift event that is known. `recommendation_json` is an object, or the same as a
        string. With a `rec_id` that is known, nothing changes and the answer is 200 with the recommendation as it is
        stored; a new one is 201. `auto_approved` needs a key that may remediate."""
        spec = await json_body(request, _recommendation)
        recommendation, new = await services.recommendations.post(request.user, spec)
        location = f"{PATH}/{quote(recommendation.rec_id, safe='')}"
        return Response(recommendation, status_code=201 if new else 200, headers={"location": location})

    @get("/", operation_id="list_recommendations", summary="Recommendations")
    async def list_all(
        self,
        request: ApiRequest,
        services: ServicesDependency,
        cluster: InCluster = None,
        env: InEnv = None,
        drift: OfDrift = None,
        of_type: OfType = None,
        in_state: StateOfRecommendation = None,
        limit: DocumentsLimit = PAGE_DEFAULT,
        cursor: PageCursor = None,
    ) -> RecommendationPage:
        """Recommendations, newest first, a page at a time: what was sent, and what Sextant recommends itself. Where
        `next_cursor` is not null there are more: repeat the request with it as `cursor`."""
        wanted = RecommendationFilter(
            cluster_id=cluster, env=env, drift_id=drift, recommendation_type=of_type, state=in_state
        )
        return await services.recommendations.list(request.user, wanted, limit=limit, cursor=cursor)

    @get("/{rec_id:str}", operation_id="get_recommendation", summary="One recommendation")
    async def get_one(
        self, request: ApiRequest, services: ServicesDependency, rec_id: RecommendationInPath
    ) -> RecommendationDetail:
        """The recommendation with what it would change. Once it was applied, `outcome` sets predicted against realised
        savings, and shows how close the workload was to its requests before and after."""
        return await services.recommendations.get(request.user, _id(rec_id))

    @post("/{rec_id:str}/approve", operation_id="approve_recommendation", summary="Approve", status_code=200)
    async def approve(
        self, request: ApiRequest, services: ServicesDependency, rec_id: RecommendationInPath
    ) -> Recommendation:
        """Agrees that it may be applied. Nothing is done yet: `apply` does it. A conflict while it is being applied,
        or where it was, or where it was updated since `updated_at`: Sextant renews its own proposals until somebody has
        decided, so send the one that was read."""
        wanted = _id(rec_id)
        body = await optional_json_body(request, _approve) or ApproveBody()
        return await services.recommendations.decide(
            request.user, wanted, approved=True, reason=body.reason, updated_at=body.updated_at
        )

    @post("/{rec_id:str}/reject", operation_id="reject_recommendation", summary="Reject", status_code=200)
    async def reject(
        self, request: ApiRequest, services: ServicesDependency, rec_id: RecommendationInPath
    ) -> Recommendation:
        """Says that it must not be applied, and why. A conflict while it is being applied, or where it was."""
        wanted = _id(rec_id)
        body = await optional_json_body(request, _reason) or ReasonBody()
        return await services.recommendations.decide(request.user, wanted, approved=False, reason=body.reason)

    @post("/{rec_id:str}/apply", operation_id="apply_recommendation", summary="Apply", status_code=202)
    async def apply(self, request: ApiRequest, services: ServicesDependency, rec_id: RecommendationInPath) -> Applied:
        """Starts a remediation of it: by default a dry run, which says what it would change and needs no approval. With
        `dry_run` false it must have been approved; then limits, blast radius, verification and rollback hold as for
        any remediation, and the remediation's own page tells how it goes. A conflict while another one of it runs,
        where it was updated since `updated_at`, or (unless it is a dry run) where Sextant's own drift event is
        resolved."""
        wanted = _id(rec_id)
        body = await optional_json_body(request, _apply) or ApplyBody()
        return await services.recommendations.apply(
            request.user, wanted, dry_run=body.dry_run, updated_at=body.updated_at
        )


def _id(segment: str) -> str:
    return id_in_path("recommendation", segment)
