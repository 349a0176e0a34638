"""The routes of the service graph."""

from collections.abc import Sequence
from typing import Annotated

import msgspec
from litestar import Controller, get, put
from msgspec import Meta

from adapters.driving.http.guards import ApiRequest, ServicesDependency, authenticated, json_body
from adapters.driving.http.incidents import TAG
from core.domain.dependencies import DEPENDENCIES_MAX, Dependency


class DependenciesBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole service graph, as call edges."""

    data: Annotated[tuple[Dependency, ...], Meta(max_length=DEPENDENCIES_MAX)]


class DependenciesReply(msgspec.Struct, frozen=True):
    """The whole service graph, as call edges in ascending order."""

    data: Sequence[Dependency]


_body = msgspec.json.Decoder(DependenciesBody)


class DependencyController(Controller):
    """Reading needs scope ``alerts`` or ``query``, changing ``alerts``."""

    path = "/api/v1/dependencies"
    tags: Sequence[str] = [TAG]  # Litestar declares it as an instance's
    guards = [authenticated]  # noqa: RUF012  # the same

    @get("/", operation_id="get_dependencies", summary="The service graph")
    async def get_all(self, request: ApiRequest, services: ServicesDependency) -> DependenciesReply:
        """Who calls whom, as it was declared: what incidents are joined and explained by."""
        return DependenciesReply(await services.events.dependencies(request.user))

    @put("/", operation_id="put_dependencies", summary="Declare the service graph")
    async def replace(self, request: ApiRequest, services: ServicesDependency) -> DependenciesReply:
        """Replaces the whole graph, so that a script may send what it knows every day; an empty list removes it. The
        body has the shape of the reply. Names are those of services, or of hosts, as labels and events have them."""
        body = await json_body(request, _body)
        await services.events.replace_dependencies(request.user, body.data)
        return DependenciesReply(await services.events.dependencies(request.user))
