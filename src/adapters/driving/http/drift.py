"""The routes of drift events."""

from collections.abc import Sequence
from typing import Annotated, Final
from urllib.parse import quote

import msgspec
from litestar import Controller, Response, get, patch, post
from msgspec import Meta

from adapters.driving.http.alert_parameters import PAGE_DEFAULT, DocumentsLimit, PageCursor
from adapters.driving.http.cluster_parameters import InCluster, InNamespace, instant_of
from adapters.driving.http.drift_parameters import (
    DriftedBefore,
    DriftedFrom,
    DriftInPath,
    DriftOfWorkload,
    InEnv,
    OfCategory,
    SeverityOfDrift,
    StatusOfDrift,
    id_in_path,
)
from adapters.driving.http.guards import ApiRequest, ServicesDependency, authenticated, json_body
from core.domain.alerts import REASON_CHARS_MAX
from core.domain.drift import DriftEvent, DriftFilter, DriftSpec, DriftStatus
from core.domain.names import check_cluster_id
from ports.driving.drifting import DriftFound, DriftPage

PATH: Final = "/api/v1/drift/events"
TAG: Final = "Drift"


class DriftStatusBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a drift event stands from now on."""

    status: DriftStatus
    note: Annotated[str, Meta(min_length=1, max_length=REASON_CHARS_MAX, pattern="^[^\x00]*$")] | None = None
    """Why, for whoever looks at it next."""


class DriftDetectBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where to look."""

    cluster_id: str


_event = msgspec.json.Decoder(DriftSpec)
_status = msgspec.json.Decoder(DriftStatusBody)
_detect = msgspec.json.Decoder(DriftDetectBody)


class DriftController(Controller):
    """Reading needs scope ``query``, ``alerts`` or ``remediate``, posting ``ingest`` or ``alerts``, else ``alerts``."""

    path = "/api/v1/drift"
    tags: Sequence[str] = [TAG]  # Litestar declares it as an instance's
    guards = [authenticated]  # noqa: RUF012  # the same

    @post("/events", operation_id="post_drift_event", summary="Report drift")
    async def create(self, request: ApiRequest, services: ServicesDependency) -> Response[DriftEvent]:
        """Records that a cluster has moved away from what was asked for, declared or planned. With a `drift_id` that is
        known, nothing changes and the answer is 200 with the event as it is stored; a new one is 201."""
        event, new = await services.drift.post(request.user, await json_body(request, _event))
        location = f"{PATH}/{quote(event.drift_id, safe='')}"
        return Response(event, status_code=201 if new else 200, headers={"location": location})

    @get("/events", operation_id="list_drift_events", summary="Drift")
    async def list_all(
        self,
        request: ApiRequest,
        services: ServicesDependency,
        cluster: InCluster = None,
        env: InEnv = None,
        category: OfCategory = None,
        severity: SeverityOfDrift = None,
        status: StatusOfDrift = None,
        workload: DriftOfWorkload = None,
        namespace: InNamespace = None,
        start: DriftedFrom = None,
        end: DriftedBefore = None,
        limit: DocumentsLimit = PAGE_DEFAULT,
        cursor: PageCursor = None,
    ) -> DriftPage:
        """Drift events, newest first, a page at a time: what was reported, and what Sextant found by itself. Where
        `next_cursor` is not null there are more: repeat the request with it as `cursor`."""
        since, until = instant_of("start", start), instant_of("end", end)
        wanted = DriftFilter(
            cluster_id=cluster,
            env=env,
            drift_category=category,
            severity=severity,
            status=status,
            workload_name=workload,
            namespace=namespace,
            start=since,
            end=until,
        )
        return await services.drift.list(request.user, wanted, limit=limit, cursor=cursor)

    @get("/events/{drift_id:str}", operation_id="get_drift_event", summary="One drift event")
    async def get_one(self, request: ApiRequest, services: ServicesDependency, drift_id: DriftInPath) -> DriftEvent:
        """The drift event of this id, with what shows it in `evidence`."""
        return await services.drift.get(request.user, _id(drift_id))

    @patch("/events/{drift_id:str}", operation_id="set_drift_status", summary="Change where a drift event stands")
    async def set_status(self, request: ApiRequest, services: ServicesDependency, drift_id: DriftInPath) -> DriftEvent:
        """Acknowledges, resolves, ignores or reopens it. Detection leaves an ignored one ignored for as long as it
        finds the drift without a gap; one that was resolved and is found again hours later becomes a new event."""
        wanted = _id(drift_id)
        body = await json_body(request, _status)
        return await services.drift.set_status(request.user, wanted, body.status, note=body.note)

    @post("/detect", operation_id="detect_drift", summary="Look for drift now", status_code=200)
    async def detect(self, request: ApiRequest, services: ServicesDependency) -> DriftFound:
        """Looks at a cluster now, as the schedule does: use of cpu and memory against requests, limits and its own
        past, live configuration against baselines, capacity against the plan. What is found is recorded, what is no
        longer found is resolved; `skipped` says what could not be looked at, and why."""
        body = await json_body(request, _detect)
        check_cluster_id("cluster_id", body.cluster_id)
        return await services.drift.detect(request.user, body.cluster_id)


def _id(segment: str) -> str:
    return id_in_path("drift event", segment)
