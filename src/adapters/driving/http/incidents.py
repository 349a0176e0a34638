"""The routes of incidents."""

from collections.abc import Sequence
from typing import Annotated, Final

import msgspec
from litestar import Controller, Response, get, post
from msgspec import Meta

from adapters.driving.http.alert_parameters import (
    BIGINT_MAX,
    PAGE_DEFAULT,
    PageCursor,
    PageLimit,
    existing_id,
    started_range,
)
from adapters.driving.http.detection_parameters import (
    Active,
    BeganBefore,
    BeganFrom,
    IncidentInPath,
    OfService,
    OnHost,
    Search,
    StateOfIncident,
    Synthetic,
)
from adapters.driving.http.guards import ApiRequest, ServicesDependency, authenticated, json_body
from adapters.driving.http.incident_replies import (
    IncidentDetailReply,
    IncidentReply,
    IncidentsReply,
    incident_detail_reply,
    incident_reply,
    incidents_reply,
)
from core.domain.incidents import SIGNALS_MAX, IncidentFilter

PATH: Final = "/api/v1/incidents"
TAG: Final = "Incidents"

RowId = Annotated[int, Meta(ge=1, le=BIGINT_MAX)]


class MergeBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"from_": "from"}):
    """Whose signals are taken over."""

    from_: RowId
    """Id of the other incident."""


class SplitBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which signals do not belong here."""

    keys: Annotated[tuple[str, ...], Meta(min_length=1, max_length=SIGNALS_MAX)]
    """Keys of the incident's timeline."""


class UndoBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is taken back."""

    change: RowId
    """Id of a merge or a split in the incident's history."""


_merge = msgspec.json.Decoder(MergeBody)
_split = msgspec.json.Decoder(SplitBody)
_undo = msgspec.json.Decoder(UndoBody)


class IncidentController(Controller):
    """Reading needs scope ``alerts`` or ``query``, changing ``alerts``."""

    path = PATH
    tags: Sequence[str] = [TAG]  # Litestar declares it as an instance's
    guards = [authenticated]  # noqa: RUF012  # the same

    @get("/", operation_id="list_incidents", summary="Incidents")
    async def list_all(
        self,
        request: ApiRequest,
        services: ServicesDependency,
        in_state: StateOfIncident = None,
        active: Active = None,
        start: BeganFrom = None,
        end: BeganBefore = None,
        host: OnHost = None,
        service: OfService = None,
        search: Search = None,
        synthetic: Synthetic = None,
        limit: PageLimit = PAGE_DEFAULT,
        cursor: PageCursor = None,
    ) -> IncidentsReply:
        """Incidents, newest first, a page at a time: active ones and history alike. Where `next_cursor` is not null
        there are more: repeat the request with it as `cursor`."""
        start_us, end_us = started_range(start, end)
        wanted = IncidentFilter(
            state=in_state,
            active=active,
            start_us=start_us,
            end_us=end_us,
            host=host,
            service=service,
            text=search,
            synthetic=synthetic,
        )
        return incidents_reply(await services.incidents.list(request.user, wanted, limit=limit, cursor=cursor))

    @get("/{incident_id:int}", operation_id="get_incident", summary="One incident")
    async def get_one(
        self, request: ApiRequest, services: ServicesDependency, incident_id: IncidentInPath
    ) -> IncidentDetailReply:
        """The incident with its timeline, causal graph, ranked hypotheses, evidence, narrative, and the history of what
        people did. Every sentence names the rows or samples that it rests on, and where to read them."""
        return incident_detail_reply(await services.incidents.get(request.user, _id(incident_id)))

    @post("/{incident_id:int}/acknowledge", operation_id="acknowledge_incident", summary="Acknowledge", status_code=200)
    async def acknowledge(
        self, request: ApiRequest, services: ServicesDependency, incident_id: IncidentInPath
    ) -> IncidentReply:
        """Says that somebody is on it. Safe to repeat; a conflict where it was resolved or merged."""
        return incident_reply(await services.incidents.acknowledge(request.user, _id(incident_id)))

    @post("/{incident_id:int}/resolve", operation_id="resolve_incident", summary="Resolve", status_code=200)
    async def resolve(
        self, request: ApiRequest, services: ServicesDependency, incident_id: IncidentInPath
    ) -> IncidentReply:
        """Says that it is over; a signal soon afterwards opens it again. Safe to repeat; a conflict where it was
        merged."""
        return incident_reply(await services.incidents.resolve(request.user, _id(incident_id)))

    @post("/{incident_id:int}/reopen", operation_id="reopen_incident", summary="Reopen", status_code=200)
    async def reopen(
        self, request: ApiRequest, services: ServicesDependency, incident_id: IncidentInPath
    ) -> IncidentReply:
        """Says that it was not over. Safe to repeat; a conflict where it was merged."""
        return incident_reply(await services.incidents.reopen(request.user, _id(incident_id)))

    @post("/{incident_id:int}/merge", operation_id="merge_incidents", summary="Merge another in", status_code=200)
    async def merge(
        self, request: ApiRequest, services: ServicesDependency, incident_id: IncidentInPath
    ) -> IncidentReply:
        """Takes all signals of another incident into this one, which is analysed again within seconds; the other one
        becomes `merged`. A conflict where either was merged before, or one is synthetic and the other is not."""
        number = _id(incident_id)
        body = await json_body(request, _merge)
        return incident_reply(await services.incidents.merge(request.user, number, body.from_))

    @post("/{incident_id:int}/split", operation_id="split_incident", summary="Split signals off")
    async def split(
        self, request: ApiRequest, services: ServicesDependency, incident_id: IncidentInPath
    ) -> Response[IncidentReply]:
        """Makes a new incident of some of this one's signals, at least one of which stays. Answers with the new
        incident; both are analysed again within seconds."""
        number = _id(incident_id)
        body = await json_body(request, _split)
        made = await services.incidents.split(request.user, number, body.keys)
        return Response(incident_reply(made), status_code=201, headers={"location": f"{PATH}/{made.id}"})

    @post("/{incident_id:int}/undo", operation_id="undo_incident_change", summary="Undo", status_code=200)
    async def undo(
        self, request: ApiRequest, services: ServicesDependency, incident_id: IncidentInPath
    ) -> IncidentReply:
        """Takes a merge or a split back, by its id in the history: its signals go back to where they were. A conflict
        where it is undone already, is neither, or a later merge or split stands on it."""
        number = _id(incident_id)
        body = await json_body(request, _undo)
        return incident_reply(await services.incidents.undo(request.user, number, body.change))


def _id(number: int) -> int:
    return existing_id("incident", number, id_max=BIGINT_MAX)
