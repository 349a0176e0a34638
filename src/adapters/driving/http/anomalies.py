"""The routes of anomalies: what scheduled detection found, and whether it was right."""

from collections.abc import Sequence
from typing import Annotated

import msgspec
from litestar import Controller, delete, get, put
from msgspec import Meta

from adapters.driving.http.alert_parameters import PAGE_DEFAULT, PageCursor, PageLimit, started_range
from adapters.driving.http.detect import TAG
from adapters.driving.http.detection_parameters import (
    AboutMetric,
    AnomalyInPath,
    Marked,
    OfDetector,
    OfFingerprint,
    OfService,
    OnHost,
    OpenAnomaly,
    RiskMin,
    SeenBefore,
    SeenFrom,
    Synthetic,
)
from adapters.driving.http.detection_replies import AnomaliesReply, AnomalyReply, anomalies_reply, anomaly_reply
from adapters.driving.http.guards import ApiRequest, ServicesDependency, authenticated, json_body
from core.domain.anomalies import NOTE_CHARS_MAX, AnomalyFilter, Verdict


class MarkBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An operator's verdict."""

    verdict: Verdict | bool
    """Whether it was worth attention: `"true"` or `"false"`, with or without the quotation marks."""
    note: Annotated[str, Meta(min_length=1, max_length=NOTE_CHARS_MAX, pattern="^[^\x00]*$")] | None = None
    """Why, for whoever comes next."""


_mark = msgspec.json.Decoder(MarkBody)


class AnomalyController(Controller):
    """Reading needs scope ``alerts`` or ``query``, marking ``alerts``."""

    path = "/api/v1/anomalies"
    tags: Sequence[str] = [TAG]  # Litestar declares it as an instance's
    guards = [authenticated]  # noqa: RUF012  # the same

    @get("/", operation_id="list_anomalies", summary="Anomalies")
    async def list_all(
        self,
        request: ApiRequest,
        services: ServicesDependency,
        start: SeenFrom = None,
        end: SeenBefore = None,
        detector: OfDetector = None,
        metric: AboutMetric = None,
        host: OnHost = None,
        service: OfService = None,
        fingerprint: OfFingerprint = None,
        still_open: OpenAnomaly = None,
        risk_min: RiskMin = None,
        marked: Marked = None,
        synthetic: Synthetic = None,
        limit: PageLimit = PAGE_DEFAULT,
        cursor: PageCursor = None,
    ) -> AnomaliesReply:
        """What scheduled detection found, last seen first, a page at a time: open anomalies and history alike. Where
        `next_cursor` is not null there are more: repeat the request with it as `cursor`."""
        start_us, end_us = started_range(start, end)
        wanted = AnomalyFilter(
            start_us=start_us,
            end_us=end_us,
            detector=detector,
            metric=metric,
            host=host,
            service=service,
            fingerprint=fingerprint,
            open=still_open,
            risk_min=risk_min,
            marked=marked,
            synthetic=synthetic,
        )
        return anomalies_reply(await services.detections.anomalies(request.user, wanted, limit=limit, cursor=cursor))

    @get("/{anomaly_id:uuid}", operation_id="get_anomaly", summary="One anomaly")
    async def get_one(
        self, request: ApiRequest, services: ServicesDependency, anomaly_id: AnomalyInPath
    ) -> AnomalyReply:
        """The anomaly with its latest finding: window, baseline, statistic, risk and the moments that stand out."""
        return anomaly_reply(await services.detections.anomaly(request.user, anomaly_id))

    @put("/{anomaly_id:uuid}/mark", operation_id="mark_anomaly", summary="Mark as true or false")
    async def mark(self, request: ApiRequest, services: ServicesDependency, anomaly_id: AnomalyInPath) -> AnomalyReply:
        """Says whether the anomaly was worth attention; precision is counted from these verdicts. One marked as false
        raises no alert, and the next run ends the alert that it raised. Marking again replaces the verdict."""
        body = await json_body(request, _mark)
        verdict = body.verdict if isinstance(body.verdict, Verdict) else Verdict(str(body.verdict).lower())
        return anomaly_reply(await services.detections.mark(request.user, anomaly_id, verdict, body.note))

    @delete("/{anomaly_id:uuid}/mark", operation_id="unmark_anomaly", summary="Take a mark back", status_code=200)
    async def unmark(
        self, request: ApiRequest, services: ServicesDependency, anomaly_id: AnomalyInPath
    ) -> AnomalyReply:
        """Takes the verdict back; safe to repeat."""
        return anomaly_reply(await services.detections.mark(request.user, anomaly_id, None, None))
