"""The routes of metric definitions."""

from collections.abc import Sequence
from typing import Final
from urllib.parse import quote

import msgspec
from litestar import Controller, Response, delete, get, post, put

from adapters.driving.http.guards import (
    ApiRequest,
    ClockDependency,
    ServicesDependency,
    authenticated,
    json_body,
)
from adapters.driving.http.parameters import MetricInPath, metric_name
from core.domain.definitions import (
    RETENTION_DAYS_DEFAULT,
    Aggregation,
    AlertThreshold,
    MetricDefinition,
    MetricType,
    retention_cutoff,
)
from core.domain.errors import InvalidInput
from core.domain.times import format_time
from ports.driven.clock import Clock

PATH: Final = "/api/v1/metrics/definitions"
TAG: Final = "Definitions"


class DefinitionBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A definition as sent to its own path, which already names it."""

    name: str | None = None
    display_name: str | None = None
    description: str | None = None
    unit: str | None = None
    type: MetricType = MetricType.GAUGE
    aggregation: Aggregation | None = None
    retention_days: int = RETENTION_DAYS_DEFAULT
    alert_threshold: AlertThreshold | None = None

    def named(self, name: str) -> MetricDefinition:
        """The definition; raises `InvalidInput` where the body names another metric."""
        if self.name not in (None, name):
            raise InvalidInput("name", f"{self.name[:64]!r} differs from {name!r} in the path; leave it out")
        return MetricDefinition(**{**msgspec.structs.asdict(self), "name": name})


class DefinitionReply(MetricDefinition, frozen=True, kw_only=True):
    """A definition with what follows from it."""

    effective_aggregation: Aggregation
    """What a query uses that names no aggregation."""
    effective_retention_days: int
    retained_since: str
    """The oldest instant that is kept now."""


class DefinitionsReply(msgspec.Struct, frozen=True):
    """All definitions of the tenant, by name."""

    data: Sequence[DefinitionReply]


_definition = msgspec.json.Decoder(MetricDefinition)
_body = msgspec.json.Decoder(DefinitionBody)


class DefinitionController(Controller):
    """Reading needs scope ``query``, changing ``admin``."""

    path = PATH
    tags: Sequence[str] = [TAG]  # Litestar declares it as an instance's
    guards = [authenticated]  # noqa: RUF012  # the same

    @get("/", operation_id="list_definitions", summary="All definitions")
    async def list_all(
        self, request: ApiRequest, services: ServicesDependency, clock: ClockDependency
    ) -> DefinitionsReply:
        """The tenant's metric definitions by name, each with the retention and aggregation in force."""
        definitions = await services.definitions.list(request.user)
        return DefinitionsReply([_reply(definition, clock) for definition in definitions])

    @post("/", operation_id="create_definition", summary="Define a metric")
    async def create(
        self, request: ApiRequest, services: ServicesDependency, clock: ClockDependency
    ) -> Response[DefinitionReply]:
        """Adds a definition. Its `retention_days` hold for samples that are stored already, too."""
        definition = await json_body(request, _definition)
        await services.definitions.create(request.user, definition)
        location = f"{PATH}/{quote(definition.name, safe='')}"
        return Response(_reply(definition, clock), status_code=201, headers={"location": location})

    @get("/{name:str}", operation_id="get_definition", summary="One definition")
    async def get_one(
        self, request: ApiRequest, services: ServicesDependency, clock: ClockDependency, name: MetricInPath
    ) -> DefinitionReply:
        """The definition of a metric, with the retention and aggregation in force."""
        return _reply(await services.definitions.get(request.user, metric_name(name)), clock)

    @put("/{name:str}", operation_id="put_definition", summary="Define or redefine a metric")
    async def replace(
        self, request: ApiRequest, services: ServicesDependency, clock: ClockDependency, name: MetricInPath
    ) -> Response[DefinitionReply]:
        """Creates the definition (201) or replaces it whole (200)."""
        definition = (await json_body(request, _body)).named(metric_name(name))
        created = await services.definitions.put(request.user, definition)
        return Response(_reply(definition, clock), status_code=201 if created else 200)

    @delete("/{name:str}", operation_id="delete_definition", summary="Delete a definition")
    async def remove(self, request: ApiRequest, services: ServicesDependency, name: MetricInPath) -> None:
        """Removes the definition; samples stay, under the default retention."""
        await services.definitions.delete(request.user, metric_name(name))


def _reply(definition: MetricDefinition, clock: Clock) -> DefinitionReply:
    return DefinitionReply(
        **msgspec.structs.asdict(definition),
        effective_aggregation=definition.default_aggregation,
        effective_retention_days=definition.retention_days,
        retained_since=format_time(retention_cutoff(clock.now_us(), definition.retention_days)),
    )
