"""The HTTP application over fakes, in this process."""

from collections.abc import AsyncIterator

import httpx
import msgspec
import pytest

from adapters.driving.http.app import build_app
from adapters.runtime.settings import Settings
from adapters.runtime.telemetry import PrometheusTelemetry
from ports.driving.services import Services
from tests.unit.http.fakes import (
    Administrations,
    Authentications,
    DefinitionBook,
    FixedClock,
    HealthState,
    Ingestions,
    Queries,
)


class World(msgspec.Struct, frozen=True, eq=False):
    """The fakes behind the application, and the application."""

    authentication: Authentications
    ingestion: Ingestions
    querying: Queries
    definitions: DefinitionBook
    administration: Administrations
    health: HealthState
    app: object


@pytest.fixture
def world() -> World:
    """Return the application over fresh fakes."""
    fakes = (Authentications(), Ingestions(), Queries(), DefinitionBook(), Administrations(), HealthState())
    return World(*fakes, build_app(Services(*fakes), Settings(), PrometheusTelemetry(), FixedClock()))


@pytest.fixture
async def client(world: World) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client that holds a key with every scope."""
    transport = httpx.ASGITransport(world.app)  # type: ignore[arg-type]  # httpx types ASGI more loosely
    headers = {"x-api-key": "all-scopes-key"}
    async with httpx.AsyncClient(transport=transport, base_url="http://sextant", headers=headers) as client:
        yield client
