"""The routes of purging what was simulated."""

from collections.abc import Sequence
from typing import Final

from litestar import Controller, Response, get, post

from adapters.driving.http.alert_parameters import existing_id
from adapters.driving.http.detection_parameters import PurgeInPath
from adapters.driving.http.events import TAG
from adapters.driving.http.guards import ApiRequest, ServicesDependency, authenticated
from ports.driven.synthetic_store import Purge

PATH: Final = "/api/v1/synthetic/purge"


class SyntheticController(Controller):
    """Purging needs scope ``admin``."""

    path = PATH
    tags: Sequence[str] = [TAG]  # Litestar declares it as an instance's
    guards = [authenticated]  # noqa: RUF012  # the same

    @post("/", operation_id="purge_synthetic", summary="Purge synthetic data", status_code=202)
    async def purge(self, request: ApiRequest, services: ServicesDependency) -> Response[Purge]:
        """Deletes what the simulator wrote and what was concluded from it, and nothing else: samples labelled
        `synthetic=true`, synthetic events, and their anomalies and incidents. It is done within seconds, after the
        reply; while one purge waits, asking again answers with that one."""
        purge = await services.events.purge(request.user)
        return Response(purge, status_code=202, headers={"location": f"{PATH}/{purge.id}"})

    @get("/{purge_id:int}", operation_id="get_purge", summary="One purge")
    async def get_one(self, request: ApiRequest, services: ServicesDependency, purge_id: PurgeInPath) -> Purge:
        """How far the purge is; once `finished_at` is not null, how much was deleted."""
        return await services.events.purge_status(request.user, existing_id("purge", purge_id))
