"""The routes of notifications: what was sent, what waits, and the dead-letter list."""

from collections.abc import Sequence
from typing import Final

from litestar import Controller, get, post

from adapters.driving.http.alert_parameters import (
    PAGE_DEFAULT,
    NotificationInPath,
    PageCursor,
    PageLimit,
    StateOfNotification,
)
from adapters.driving.http.channels import TAG
from adapters.driving.http.guards import ApiRequest, ServicesDependency, authenticated
from core.domain.notifications import Notification
from ports.driving.alerting import NotificationPage

PATH: Final = "/api/v1/alerts/notifications"


class NotificationController(Controller):
    """Reading needs scope ``alerts`` or ``query``, sending again ``alerts``."""

    path = PATH
    tags: Sequence[str] = [TAG]  # Litestar declares it as an instance's
    guards = [authenticated]  # noqa: RUF012  # the same

    @get("/", operation_id="list_notifications", summary="Notifications")
    async def list_all(
        self,
        request: ApiRequest,
        services: ServicesDependency,
        in_state: StateOfNotification = None,
        limit: PageLimit = PAGE_DEFAULT,
        cursor: PageCursor = None,
    ) -> NotificationPage:
        """What was delivered, waits or was given up, newest first, a page at a time. `state=dead` is the dead-letter
        list."""
        return await services.channels.notifications(request.user, state=in_state, limit=limit, cursor=cursor)

    @post("/{notification_id:uuid}/resend", operation_id="resend_notification", summary="Send again", status_code=200)
    async def resend(
        self, request: ApiRequest, services: ServicesDependency, notification_id: NotificationInPath
    ) -> Notification:
        """Tries a dead notification again under the same id, by which receivers drop repeats; a conflict where it is
        not dead."""
        return await services.channels.resend(request.user, notification_id)
