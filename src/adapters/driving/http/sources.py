"""The routes of metric sources: where samples are pulled from, and the history of doing so."""

from collections.abc import Sequence
from typing import Final

import msgspec
from litestar import Controller, Response, delete, get, post, put

from adapters.driving.http.alert_parameters import BIGINT_MAX, PAGE_DEFAULT, PageCursor, PageLimit, existing_id
from adapters.driving.http.collection_parameters import OfSource, RunInPath, SourceInPath, StateOfRun
from adapters.driving.http.collection_replies import CollectionRunsReply
from adapters.driving.http.guards import ApiRequest, ServicesDependency, authenticated, json_body
from adapters.driving.http.parameters import segment_text
from core.domain.collection import CollectionRunDetail
from core.domain.errors import InvalidInput, NotFound
from core.domain.source_configs import NAME_CHARS_MAX, SourceKind
from core.domain.sources import SourceSpec, StoredSource

PATH: Final = "/api/v1/sources"
TAG: Final = "Sources"
PATH_WORDS: Final = ("all", "runs")
"""Names that paths have for something else."""


class SourceBody(SourceSpec, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A source with its credentials."""

    credentials: dict[str, str] | None = None
    """By name: what the vendor wants to see. They are encrypted and never shown again."""

    def spec(self) -> SourceSpec:
        """The source without its credentials."""
        return SourceSpec(**{field: getattr(self, field) for field in SourceSpec.__struct_fields__})


class SourceUpdateBody(SourceBody, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A source as sent to its own path, which already names it."""

    name: str = ""
    """Another one renames it; left out, it keeps its name."""
    credentials: dict[str, str] | None = None
    """All of them by name; null or absent keeps those that are set."""

    def __post_init__(self) -> None:
        """Nothing: a source is checked when it has its name."""

    def named(self, name: str) -> SourceSpec:
        """The source, under `name` unless the body has another; raises `InvalidInput`."""
        members = {field: getattr(self, field) for field in SourceSpec.__struct_fields__}
        return SourceSpec(**{**members, "name": self.name or name})


class SourcesReply(msgspec.Struct, frozen=True):
    """All sources of the tenant, by name."""

    data: Sequence[StoredSource]


_source = msgspec.json.Decoder(SourceBody)
_update = msgspec.json.Decoder(SourceUpdateBody)


class SourceController(Controller):
    """Reading needs scope ``query``, ``ingest`` or ``admin``, changing ``admin``."""

    path = PATH
    tags: Sequence[str] = [TAG]  # Litestar declares it as an instance's
    guards = [authenticated]  # noqa: RUF012  # the same

    @get("/", operation_id="list_sources", summary="All sources")
    async def list_all(self, request: ApiRequest, services: ServicesDependency) -> SourcesReply:
        """The tenant's metric sources by name. Credentials are never shown, only their names."""
        return SourcesReply(await services.sources.list(request.user))

    @post("/", operation_id="create_source", summary="Add a source")
    async def create(self, request: ApiRequest, services: ServicesDependency) -> Response[StoredSource]:
        """Adds a source of type `datadog`, `cloudwatch`, `newrelic`, `hawkeye`, `eks`, `prometheus` or `synthetic`.
        With an `interval` it is collected by itself from now on. Addresses must be public and https, unless the
        operator trusts the tenant; only then may a source use the server's own cloud credentials or cluster."""
        body = await json_body(request, _source)
        spec = _free(body.spec())
        stored = await services.sources.create(request.user, spec, body.credentials or {})
        return Response(stored, status_code=201, headers={"location": f"{PATH}/{stored.spec.name}"})

    @get("/{source:str}", operation_id="get_source", summary="One source")
    async def get_one(self, request: ApiRequest, services: ServicesDependency, source: SourceInPath) -> StoredSource:
        """The source of this name, without its credentials."""
        return await services.sources.get(request.user, source_name(source))

    @put("/{source:str}", operation_id="put_source", summary="Replace a source")
    async def replace(self, request: ApiRequest, services: ServicesDependency, source: SourceInPath) -> StoredSource:
        """Replaces the source whole; what is left out gets its default, except that without `credentials` it keeps
        those it has, and without `name` its name. Where the type or the address changes, credentials must be sent
        again: they are not shown to another server."""
        wanted = source_name(source)
        body = await json_body(request, _update)
        spec = _free(body.named(wanted))
        return await services.sources.replace(request.user, wanted, spec, body.credentials)

    @delete("/{source:str}", operation_id="delete_source", summary="Delete a source")
    async def remove(self, request: ApiRequest, services: ServicesDependency, source: SourceInPath) -> None:
        """Removes the source, its credentials and its place in what it collects. What it collected stays, and so do
        its runs."""
        await services.sources.delete(request.user, source_name(source))

    @get("/runs", operation_id="list_collection_runs", summary="Runs of sources")
    async def runs(
        self,
        request: ApiRequest,
        services: ServicesDependency,
        source: OfSource = None,
        in_state: StateOfRun = None,
        limit: PageLimit = PAGE_DEFAULT,
        cursor: PageCursor = None,
    ) -> CollectionRunsReply:
        """What was collected, newest first, a page at a time: scheduled runs and those that somebody asked for, how far
        each came and what it brought. Where `next_cursor` is not null there are more: repeat the request with it as
        `cursor`."""
        page = await services.sources.runs(request.user, source=source, state=in_state, limit=limit, cursor=cursor)
        return CollectionRunsReply(page.data, page.next_cursor)

    @get("/runs/{run_id:int}", operation_id="get_collection_run", summary="One run")
    async def run(self, request: ApiRequest, services: ServicesDependency, run_id: RunInPath) -> CollectionRunDetail:
        """The run with what came of each query, or of each metric of an instance; failed ones first."""
        number = existing_id("run", run_id, id_max=BIGINT_MAX)
        return await services.sources.run(request.user, number)


def source_name(segment: str) -> str:
    """The name that a path segment holds, where some source could have it; else raises `NotFound`."""
    name = segment_text(segment)
    if len(name) > NAME_CHARS_MAX or not name.isascii():
        raise NotFound("source", name[:NAME_CHARS_MAX])
    return name


def _free(spec: SourceSpec) -> SourceSpec:
    """`spec`, unless a path means something else by its name; raises `InvalidInput`."""
    kinds = [kind.value for kind in SourceKind if kind is not spec.kind]
    if spec.name in (*PATH_WORDS, *kinds):
        raise InvalidInput("name", f"{spec.name!r} means something else in paths; give it another name")
    return spec
