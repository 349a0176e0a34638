"""The routes of silences, which maintenance windows are too, and of inhibitions."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec
from litestar import Controller, Response, delete, get, post, put

from adapters.driving.http.alert_parameters import Ended, InhibitionInPath, SilenceInPath, existing_id
from adapters.driving.http.guards import ApiRequest, ServicesDependency, authenticated, json_body
from core.domain.alerts import Inhibition, InhibitionSpec, Silence, SilenceSpec

SILENCES_PATH: Final = "/api/v1/alerts/silences"
INHIBITIONS_PATH: Final = "/api/v1/alerts/inhibitions"
TAG: Final = "Silences"


class SilencesReply(msgspec.Struct, frozen=True):
    """Silences by id."""

    data: Sequence[Silence]


class InhibitionReply(InhibitionSpec, frozen=True, kw_only=True):
    """A stored inhibition."""

    id: int
    created_at: datetime


class InhibitionsReply(msgspec.Struct, frozen=True):
    """All inhibitions of the tenant, by name."""

    data: Sequence[InhibitionReply]


_silence = msgspec.json.Decoder(SilenceSpec)
_inhibition = msgspec.json.Decoder(InhibitionSpec)


class SilenceController(Controller):
    """Reading needs scope ``alerts`` or ``query``, changing ``alerts``."""

    path = SILENCES_PATH
    tags: Sequence[str] = [TAG]  # Litestar declares it as an instance's
    guards = [authenticated]  # noqa: RUF012  # the same

    @get("/", operation_id="list_silences", summary="Silences")
    async def list_all(self, request: ApiRequest, services: ServicesDependency, ended: Ended = False) -> SilencesReply:
        """Silences that are in force or will be; with `ended=true` past ones, too."""
        return SilencesReply(await services.silences.list(request.user, ended=ended))

    @post("/", operation_id="create_silence", summary="Silence alerts")
    async def create(self, request: ApiRequest, services: ServicesDependency) -> Response[Silence]:
        """Nobody is told of alerts that all `matchers` hold for, from `starts_at` (null: now) until `ends_at`. They are
        evaluated, listed and repaired as ever. Matchers see an alert's labels, `alertname`, `metric` and `severity`."""
        silence = await services.silences.create(request.user, await json_body(request, _silence))
        return Response(silence, status_code=201, headers={"location": f"{SILENCES_PATH}/{silence.id}"})

    @get("/{silence_id:int}", operation_id="get_silence", summary="One silence")
    async def get_one(self, request: ApiRequest, services: ServicesDependency, silence_id: SilenceInPath) -> Silence:
        """The silence of this id, whether or not it has ended."""
        return await services.silences.get(request.user, _silence_id(silence_id))

    @put("/{silence_id:int}", operation_id="put_silence", summary="Change a silence")
    async def replace(self, request: ApiRequest, services: ServicesDependency, silence_id: SilenceInPath) -> Silence:
        """Replaces matchers, times and reason; without `starts_at` it keeps its own."""
        spec = await json_body(request, _silence)
        return await services.silences.replace(request.user, _silence_id(silence_id), spec)

    @delete("/{silence_id:int}", operation_id="end_silence", summary="End a silence")
    async def end(self, request: ApiRequest, services: ServicesDependency, silence_id: SilenceInPath) -> None:
        """Ends it now; it stays in the list of ended ones. Safe to repeat."""
        await services.silences.end(request.user, _silence_id(silence_id))


class InhibitionController(Controller):
    """Reading needs scope ``alerts`` or ``query``, changing ``alerts``."""

    path = INHIBITIONS_PATH
    tags: Sequence[str] = [TAG]  # Litestar declares it as an instance's
    guards = [authenticated]  # noqa: RUF012  # the same

    @get("/", operation_id="list_inhibitions", summary="Inhibitions")
    async def list_all(self, request: ApiRequest, services: ServicesDependency) -> InhibitionsReply:
        """The tenant's inhibitions by name."""
        return InhibitionsReply([_reply(stored) for stored in await services.silences.inhibitions(request.user)])

    @post("/", operation_id="create_inhibition", summary="Inhibit alerts")
    async def create(self, request: ApiRequest, services: ServicesDependency) -> Response[InhibitionReply]:
        """While an alert that matches `source` fires, nobody is told of alerts that match `target` and have the same
        values of the labels in `equal`."""
        stored = await services.silences.create_inhibition(request.user, await json_body(request, _inhibition))
        return Response(_reply(stored), status_code=201)

    @delete("/{inhibition_id:int}", operation_id="delete_inhibition", summary="Delete an inhibition")
    async def remove(self, request: ApiRequest, services: ServicesDependency, inhibition_id: InhibitionInPath) -> None:
        """Removes the inhibition; alerts that it would have held back are told from now on."""
        await services.silences.delete_inhibition(request.user, existing_id("inhibition", inhibition_id))


def _silence_id(number: int) -> int:
    return existing_id("silence", number)


def _reply(stored: Inhibition) -> InhibitionReply:
    return InhibitionReply(**msgspec.structs.asdict(stored.spec), id=stored.id, created_at=stored.created_at)
