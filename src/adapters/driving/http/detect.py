"""The routes of detection: looking now, over history, how it is set, and what scheduled detection did."""

from collections.abc import Sequence
from typing import Final

import msgspec
from litestar import Controller, get, post, put

from adapters.driving.http.alert_parameters import PAGE_DEFAULT, PageCursor, PageLimit
from adapters.driving.http.detection_parameters import PRECISION_DAYS_DEFAULT, Days, stretch
from adapters.driving.http.detection_replies import (
    DetectionBacktestReply,
    DetectionReply,
    backtest_reply,
    detection_reply,
)
from adapters.driving.http.guards import (
    ApiRequest,
    ClockDependency,
    ServicesDependency,
    authenticated,
    json_body,
    optional_json_body,
)
from core.detection.plan import (
    DetectionPlan,
    DetectionSettings,
    SpikeSettings,
    StreamingSettings,
    TrendSettings,
    VarianceSettings,
)
from core.domain.alerts import check_matchers
from core.domain.anomalies import Detector, Precision
from core.domain.detection_runs import DetectionRun
from core.domain.errors import InvalidInput
from core.domain.series import check_name
from ports.driving.detecting import RunPage

TAG: Final = "Detection"
SINCE_DEFAULT: Final = "48h"
"""What scheduled detection looks at by default, too."""
BACKTEST_SINCE_DEFAULT: Final = "24h"
"""A day of runs; each looks back further by itself."""


class DetectorParameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Parameters by detector; a detector that is left out has those of the detection settings."""

    variance: VarianceSettings | None = None
    spike: SpikeSettings | None = None
    trend: TrendSettings | None = None
    streaming: StreamingSettings | None = None


class DetectBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to look at, and how. The body may be left out: all metrics, the last 48 hours."""

    metric: str | None = None
    """Null: all metrics."""
    matchers: tuple[str, ...] = ()
    """`host=a`, `host!=a`, `host=~a.*` or `host!~a.*` over the labels of the series; all must hold."""
    since: str | None = None
    """How far back from `end`; `48h` unless `start` is given."""
    start: str | None = None
    """The first instant, RFC 3339 with a zone, instead of `since`."""
    end: str | None = None
    """The end, itself not looked at, RFC 3339 with a zone; null: now."""
    detectors: tuple[Detector, ...] | None = None
    """Null: those of the detection settings."""
    parameters: DetectorParameters = DetectorParameters()


class DetectionBacktestBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which settings to try, and over which stretch of history. The body may be left out."""

    settings: DetectionSettings | None = None
    """Null: those that are in force."""
    since: str | None = None
    """How far back from `end`; `24h` unless `start` is given."""
    start: str | None = None
    """The first instant, RFC 3339 with a zone, instead of `since`."""
    end: str | None = None
    """The end, RFC 3339 with a zone; null: now."""


class PrecisionReply(msgspec.Struct, frozen=True):
    """How often each detector was right."""

    data: Sequence[Precision]


_detect = msgspec.json.Decoder(DetectBody)
_backtest = msgspec.json.Decoder(DetectionBacktestBody)
_settings = msgspec.json.Decoder(DetectionSettings)


class DetectController(Controller):
    """Reading needs scope ``alerts`` or ``query``, changing ``alerts``."""

    path = "/api/v1/detect"
    tags: Sequence[str] = [TAG]  # Litestar declares it as an instance's
    guards = [authenticated]  # noqa: RUF012  # the same

    @post("/", operation_id="detect", summary="Look for anomalies", status_code=200)
    async def detect(self, request: ApiRequest, services: ServicesDependency, clock: ClockDependency) -> DetectionReply:
        """Looks through stored samples now and answers with what the detectors find, the highest risk first. Nothing is
        recorded and nobody is told, so it is safe to try detectors and parameters."""
        body = await optional_json_body(request, _detect) or DetectBody()
        if body.metric is not None:
            check_name(body.metric, "metric")
        if body.matchers:
            check_matchers("matchers", body.matchers)
        time_range = stretch(since=body.since, start=body.start, end=body.end, since_default=SINCE_DEFAULT, clock=clock)
        settings = await services.detections.settings(request.user)
        plan = _plan(settings.plan, body)
        return detection_reply(
            await services.detections.detect(request.user, body.metric, body.matchers, time_range, plan)
        )

    @post("/backtest", operation_id="backtest_detection", summary="Backtest detection", status_code=200)
    async def backtest(
        self, request: ApiRequest, services: ServicesDependency, clock: ClockDependency
    ) -> DetectionBacktestReply:
        """Runs scheduled detection over history: what each run would have found and which alerts would have begun. Each
        run sees only what was stored before it. Nothing is recorded, nobody is told."""
        body = await optional_json_body(request, _backtest) or DetectionBacktestBody()
        time_range = stretch(
            since=body.since, start=body.start, end=body.end, since_default=BACKTEST_SINCE_DEFAULT, clock=clock
        )
        settings = body.settings or await services.detections.settings(request.user)
        return backtest_reply(await services.detections.backtest(request.user, settings, time_range))

    @get("/precision", operation_id="get_precision", summary="Precision by detector")
    async def precision(
        self, request: ApiRequest, services: ServicesDependency, days: Days = PRECISION_DAYS_DEFAULT
    ) -> PrecisionReply:
        """How often each detector was right, by the verdicts of operators; `precision` is null where nobody has
        marked an anomaly of it. Synthetic anomalies do not count."""
        return PrecisionReply(await services.detections.precision(request.user, days=days))

    @get("/settings", operation_id="get_detection_settings", summary="Detection settings")
    async def settings(self, request: ApiRequest, services: ServicesDependency) -> DetectionSettings:
        """How scheduled detection looks: how often, how far back, at which series, with which detectors, and from what
        risk it alerts."""
        return await services.detections.settings(request.user)

    @put("/settings", operation_id="put_detection_settings", summary="Set detection")
    async def replace_settings(self, request: ApiRequest, services: ServicesDependency) -> DetectionSettings:
        """Replaces the settings whole; what is left out gets its default, so `{}` resets everything. The channels and
        the remediation policy that they name must be there."""
        settings = await json_body(request, _settings)
        return await services.detections.replace_settings(request.user, settings)

    @get("/runs", operation_id="list_detection_runs", summary="Runs of detection")
    async def runs(
        self,
        request: ApiRequest,
        services: ServicesDependency,
        limit: PageLimit = PAGE_DEFAULT,
        cursor: PageCursor = None,
    ) -> RunPage:
        """What scheduled detection did, newest first, a page at a time: how far each run came, what it looked at, what
        it found."""
        return await services.detections.runs(request.user, limit=limit, cursor=cursor)

    @post("/runs", operation_id="request_detection_run", summary="Run detection now", status_code=202)
    async def request_run(self, request: ApiRequest, services: ServicesDependency) -> DetectionRun:
        """Asks for a run now instead of at the next due time; it begins within seconds, and the list of runs shows what
        became of it. A conflict while a run is under way, or where detection is switched off."""
        return await services.detections.request_run(request.user)


def _plan(plan: DetectionPlan, body: DetectBody) -> DetectionPlan:
    """The tenant's plan with what the body says otherwise; raises `InvalidInput`."""
    changes = {name: given for name, given in msgspec.structs.asdict(body.parameters).items() if given is not None}
    if body.detectors is not None:
        changes["detectors"] = body.detectors
    try:
        return msgspec.structs.replace(plan, **changes)
    except InvalidInput as error:
        inside = "" if error.field == "detectors" else "parameters."
        raise InvalidInput(f"{inside}{error.field}", error.reason) from None
