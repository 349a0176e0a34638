"""The routes of instances: the machines, nodes and hosts that collected metrics are about."""

from collections.abc import Sequence
from typing import Final

from litestar import Controller, get

from adapters.driving.http.alert_parameters import BIGINT_MAX, PAGE_DEFAULT, PageCursor, PageLimit, existing_id
from adapters.driving.http.cluster_parameters import instant_of
from adapters.driving.http.collection_parameters import (
    InRegion,
    InstanceInPath,
    OfInstanceKind,
    OfProvider,
    SeenSince,
    WithTag,
    tag_pair,
)
from adapters.driving.http.guards import ApiRequest, ServicesDependency, authenticated
from adapters.driving.http.sources import TAG
from core.domain.collection import Instance, InstanceFilter
from ports.driving.collecting import InstancePage

PATH: Final = "/api/v1/instances"


class InstanceController(Controller):
    """Needs scope ``query``, ``ingest`` or ``admin``."""

    path = PATH
    tags: Sequence[str] = [TAG]  # Litestar declares it as an instance's
    guards = [authenticated]  # noqa: RUF012  # the same

    @get("/", operation_id="list_instances", summary="Instances")
    async def list_all(
        self,
        request: ApiRequest,
        services: ServicesDependency,
        provider: OfProvider = None,
        of_kind: OfInstanceKind = None,
        region: InRegion = None,
        tag: WithTag = None,
        seen_since: SeenSince = None,
        limit: PageLimit = PAGE_DEFAULT,
        cursor: PageCursor = None,
    ) -> InstancePage:
        """Instances by id, a page at a time: each appears when a source first tells of it, and says when it was last
        seen. Where `next_cursor` is not null there are more: repeat the request with it as `cursor`."""
        wanted = InstanceFilter(
            provider=provider,
            kind=of_kind,
            region=region,
            tag=tag_pair(tag),
            seen_since=instant_of("seen_since", seen_since),
        )
        return await services.sources.instances(request.user, wanted, limit=limit, cursor=cursor)

    @get("/{instance_id:int}", operation_id="get_instance", summary="One instance")
    async def get_one(self, request: ApiRequest, services: ServicesDependency, instance_id: InstanceInPath) -> Instance:
        """The instance of this id, with its tags."""
        return await services.sources.instance(request.user, existing_id("instance", instance_id, id_max=BIGINT_MAX))
