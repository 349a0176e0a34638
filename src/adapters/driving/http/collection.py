"""The routes that collect from metric sources now."""

from collections.abc import Sequence
from typing import Final

import msgspec
from litestar import Controller, Response, post

from adapters.driving.http.collection_parameters import WAIT_DEFAULT, CollectedInPath, Wait, wait_s
from adapters.driving.http.collection_replies import CollectionReply, all_ended, collection_reply
from adapters.driving.http.guards import ApiRequest, ServicesDependency, authenticated, optional_json_body
from adapters.driving.http.sources import TAG, source_name
from core.domain.collection import CollectionRequest, OneOffSource
from core.domain.errors import InvalidInput
from core.domain.source_configs import KIND_OF, SourceConfig, SourceKind
from ports.driving.collecting import StartedRuns
from ports.driving.services import Services

_KINDS: Final = {kind.value: kind for kind in SourceKind}


class CollectBody(CollectionRequest, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to collect, and from where. The body may be left out: whatever is new, as the sources are stored."""

    config: SourceConfig | None = None
    """A source for this run only, of the type that the path names; null: those that are stored."""
    credentials: dict[str, str] | None = None
    """Of `config`, by name; they are forgotten when the run ends."""

    def request(self) -> CollectionRequest:
        """What to collect."""
        return CollectionRequest(**{field: getattr(self, field) for field in CollectionRequest.__struct_fields__})


_all = msgspec.json.Decoder(CollectionRequest)
_one = msgspec.json.Decoder(CollectBody)


class CollectionController(Controller):
    """Needs scope ``ingest``."""

    path = "/api/v1/ingest"
    tags: Sequence[str] = [TAG]  # Litestar declares it as an instance's
    guards = [authenticated]  # noqa: RUF012  # the same

    @post("/all", operation_id="collect_all", summary="Collect from all sources", status_code=200)
    async def collect_all(
        self, request: ApiRequest, services: ServicesDependency, wait: Wait = WAIT_DEFAULT
    ) -> Response[CollectionReply]:
        """Collects from every enabled source of the tenant and waits for the runs to end: 200 when they have, 202 while
        some go on, which the list of runs then tells of. A run goes on from where the last one ended, unless the body
        names a stretch of time; collecting the same twice stores nothing twice. What one source could not do stands in
        `errors` and stops no other."""
        seconds = wait_s(wait)
        body = await optional_json_body(request, _all) or CollectionRequest()
        started = await services.sources.start(request.user, None, body, None)
        return await _answer(request, services, started, seconds)

    @post("/{source:str}", operation_id="collect", summary="Collect from a source", status_code=200)
    async def collect(
        self, request: ApiRequest, services: ServicesDependency, source: CollectedInPath, wait: Wait = WAIT_DEFAULT
    ) -> Response[CollectionReply]:
        """Collects from all enabled sources of one kind, or from one stored source, and waits as `/ingest/all` does.
        With `config` (and `credentials`) it collects once from what they describe, and nothing of them is kept.
        `totals` counts samples (fetched, stored, revised, unchanged, refused) and new series (`created`)."""
        name, seconds = source_name(source), wait_s(wait)
        body = await optional_json_body(request, _one) or CollectBody()
        kind, one_off = _KINDS.get(name), _one_off(name, body)
        started = await services.sources.start(
            request.user, kind, body.request(), one_off, name=name if kind is None else None
        )
        return await _answer(request, services, started, seconds)


async def _answer(
    request: ApiRequest, services: Services, started: StartedRuns, seconds: float
) -> Response[CollectionReply]:
    numbers = [run.id for run in started.runs]
    details = await services.sources.finished(request.user, numbers, wait_s=seconds) if numbers else ()
    status = 200 if all_ended(details) else 202
    return Response(collection_reply(started, details), status_code=status)


def _one_off(name: str, body: CollectBody) -> OneOffSource | None:
    """The source for this run only, where the body has one; raises `InvalidInput`."""
    if body.config is None:
        if body.credentials is not None:
            raise InvalidInput("config", "is missing: credentials without it are whose?")
        return None
    kind = KIND_OF[type(body.config)]
    if name != kind.value:
        raise InvalidInput("config", f"is of type {kind.value}, and the path says {name!r}")
    return OneOffSource(config=body.config, credentials=body.credentials or {})
