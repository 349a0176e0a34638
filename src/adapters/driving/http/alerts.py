"""The routes of alerts."""

from collections.abc import Sequence
from typing import Final

import msgspec
from litestar import Controller, get, post

from adapters.driving.http.alert_parameters import (
    BIGINT_MAX,
    PAGE_DEFAULT,
    Acknowledged,
    AlertInPath,
    LabelsOfAlert,
    MetricOfAlert,
    PageCursor,
    PageLimit,
    RuleOfAlert,
    SeverityOfAlert,
    Shadow,
    StartedBefore,
    StartedFrom,
    StateOfAlert,
    existing_id,
    matcher_texts,
    started_range,
)
from adapters.driving.http.audit import AuditEntryReply, timeline
from adapters.driving.http.guards import ApiRequest, ServicesDependency, authenticated
from core.domain.alerts import Alert, AlertFilter
from core.domain.notifications import Notification
from ports.driving.alerting import AlertDetail, AlertPage

TAG: Final = "Alerts"


class AlertDetailReply(Alert, frozen=True, kw_only=True):
    """An alert with all that was said and done about it."""

    notifications: Sequence[Notification]
    """Newest first."""
    timeline: Sequence[AuditEntryReply]
    """Oldest first."""


class AlertController(Controller):
    """Reading needs scope ``alerts`` or ``query``, changing ``alerts``."""

    path = "/api/v1/alerts"
    tags: Sequence[str] = [TAG]  # Litestar declares it as an instance's
    guards = [authenticated]  # noqa: RUF012  # the same

    @get("/", operation_id="list_alerts", summary="Alerts")
    async def list_all(
        self,
        request: ApiRequest,
        services: ServicesDependency,
        in_state: StateOfAlert = None,
        severity: SeverityOfAlert = None,
        rule: RuleOfAlert = None,
        metric: MetricOfAlert = None,
        label: LabelsOfAlert = None,
        acknowledged: Acknowledged = None,
        shadow: Shadow = None,
        start: StartedFrom = None,
        end: StartedBefore = None,
        limit: PageLimit = PAGE_DEFAULT,
        cursor: PageCursor = None,
    ) -> AlertPage:
        """Episodes of alerts, newest first, a page at a time: active ones and history alike. Where `next_cursor` is
        not null there are more: repeat the request with it as `cursor`."""
        start_us, end_us = started_range(start, end)
        wanted = AlertFilter(
            state=in_state,
            severity=severity,
            rule=rule,
            metric=metric,
            matchers=matcher_texts(label),
            acknowledged=acknowledged,
            shadow=shadow,
            start_us=start_us,
            end_us=end_us,
        )
        return await services.alerts.list(request.user, wanted, limit=limit, cursor=cursor)

    @get("/{alert_id:int}", operation_id="get_alert", summary="One alert")
    async def get_one(
        self, request: ApiRequest, services: ServicesDependency, alert_id: AlertInPath
    ) -> AlertDetailReply:
        """The alert with its notifications and its timeline."""
        return _detail(await services.alerts.get(request.user, _id(alert_id)))

    @post("/{alert_id:int}/acknowledge", operation_id="acknowledge_alert", summary="Acknowledge", status_code=200)
    async def acknowledge(self, request: ApiRequest, services: ServicesDependency, alert_id: AlertInPath) -> Alert:
        """Says that somebody is on it: nobody is paged about it again, and its resolution is still told. Safe to
        repeat; a conflict where it has resolved."""
        return await services.alerts.acknowledge(request.user, _id(alert_id))

    @post("/{alert_id:int}/close", operation_id="close_alert", summary="Close", status_code=200)
    async def close(self, request: ApiRequest, services: ServicesDependency, alert_id: AlertInPath) -> Alert:
        """Ends an alert whose samples will not come back, such as of a host that is gone. It resolves within about a
        second, so the reply may still show it firing; a conflict where it has resolved."""
        return await services.alerts.close(request.user, _id(alert_id))


def _id(number: int) -> int:
    return existing_id("alert", number, id_max=BIGINT_MAX)


def _detail(detail: AlertDetail) -> AlertDetailReply:
    return AlertDetailReply(
        **msgspec.structs.asdict(detail.alert),
        notifications=detail.notifications,
        timeline=timeline(detail.timeline),
    )
