"""The routes of signal events."""

import asyncio
from collections.abc import Sequence
from typing import Final

from litestar import Controller, get, post

from adapters.driving.http.alert_parameters import PAGE_DEFAULT, PageCursor, PageLimit, started_range
from adapters.driving.http.detection_parameters import (
    AboutMetric,
    EventInPath,
    HappenedBefore,
    HappenedFrom,
    OfFingerprint,
    OfService,
    OnHost,
    SeverityOfEvent,
    Synthetic,
    TellsOfAnomaly,
)
from adapters.driving.http.event_body import decode_event, raw_events
from adapters.driving.http.guards import ApiRequest, ServicesDependency, authenticated
from adapters.driving.http.media_type import check_json
from adapters.driving.http.problem import NoEventStoredError
from core.domain.events import EventFilter, EventSpec, SignalEvent
from core.domain.points import Rejection
from core.domain.tenants import Scope
from ports.driving.detecting import EventPage, EventsReply

PATH: Final = "/api/v1/events"
TAG: Final = "Events"
DECODED_AT_ONCE: Final = 500
"""Some milliseconds of the event loop; a batch of the greatest size would take a hundred."""


class EventController(Controller):
    """Posting needs scope ``ingest``, reading ``alerts`` or ``query``."""

    path = PATH
    tags: Sequence[str] = [TAG]  # Litestar declares it as an instance's
    guards = [authenticated]  # noqa: RUF012  # the same

    @post("/", operation_id="post_events", summary="Send events", status_code=200)
    async def create(self, request: ApiRequest, services: ServicesDependency) -> EventsReply:
        """Stores what happened: one event, a list of them, or `{"events": […]}`, up to 10,000. An event names what it
        is about (`metric`) and where it happened (`host`, `service` or both); those of severity `warn` and `error`, and
        changes (metric `config_change`) of any severity, become part of incidents. A 200 means that what was accepted
        is on disk. Good events are stored, bad ones answered by index, field and reason (the first 20). With an `id` of
        your own, sending an event again adds nothing. A body may be compressed, with `Content-Encoding: gzip` or
        `zstd`; it holds at most 8 MiB as sent and 32 MiB inflated."""
        request.user.require(Scope.INGEST)  # before megabytes are read for nothing
        check_json(dict(request.scope["headers"]))
        reply = await services.events.post(request.user, await _decoded(await request.body()))
        if reply.accepted == 0:
            raise NoEventStoredError(rejected=reply.rejected, errors=reply.errors)
        return reply

    @get("/", operation_id="list_events", summary="Events")
    async def list_all(
        self,
        request: ApiRequest,
        services: ServicesDependency,
        start: HappenedFrom = None,
        end: HappenedBefore = None,
        severity: SeverityOfEvent = None,
        host: OnHost = None,
        service: OfService = None,
        metric: AboutMetric = None,
        fingerprint: OfFingerprint = None,
        synthetic: Synthetic = None,
        of_anomalies: TellsOfAnomaly = None,
        limit: PageLimit = PAGE_DEFAULT,
        cursor: PageCursor = None,
    ) -> EventPage:
        """Events, newest first, a page at a time: what was posted, and what detection wrote for each anomaly. Where
        `next_cursor` is not null there are more: repeat the request with it as `cursor`."""
        start_us, end_us = started_range(start, end)
        wanted = EventFilter(
            start_us=start_us,
            end_us=end_us,
            severity=severity,
            host=host,
            service=service,
            metric=metric,
            fingerprint=fingerprint,
            synthetic=synthetic,
            anomalies=of_anomalies,
        )
        return await services.events.list(request.user, wanted, limit=limit, cursor=cursor)

    @get("/{event_id:uuid}", operation_id="get_event", summary="One event")
    async def get_one(self, request: ApiRequest, services: ServicesDependency, event_id: EventInPath) -> SignalEvent:
        """The event of this id."""
        return await services.events.get(request.user, event_id)


async def _decoded(body: bytes) -> Sequence[EventSpec | Rejection]:
    """The events and refusals of a body; others are answered in between."""
    decoded: list[EventSpec | Rejection] = []
    for index, raw in enumerate(raw_events(body)):
        if index and index % DECODED_AT_ONCE == 0:
            await asyncio.sleep(0)
        decoded.append(decode_event(raw, index))
    return decoded
