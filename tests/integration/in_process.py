"""The HTTP application over a real storage, in this process, with tenants and keys of its own."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any, cast

import httpx

from adapters.bootstrap import Storage as BootstrapStorage
from adapters.bootstrap import open_services
from adapters.driving.http.app import build_app
from adapters.runtime.clock import SystemClock
from adapters.runtime.settings import CollectionSettings, Settings
from adapters.runtime.telemetry import PrometheusTelemetry
from core.domain.tenants import OPERATOR_TENANT, Scope, Tenant, key_prefix, key_sha256, new_key
from core.services.operator_key import ensure_operator_tenant
from ports.driven.clock import Clock
from ports.driven.tenant_store import LimitOverrides
from tests.support.storages import Storage, Store, unique

ALL_SCOPES = tuple(Scope)
SETTINGS = Settings(collection=CollectionSettings(keys="of-tests-which-keep-no-file-anywhere"))


class InProcess:
    """The application, and the storage behind it."""

    def __init__(self, storage: Storage, clock: Clock, store: Store | None) -> None:
        self.storage = storage
        self._store = store
        telemetry = PrometheusTelemetry()
        services = open_services(SETTINGS, cast("BootstrapStorage", storage), telemetry)
        self.app = build_app(services, SETTINGS, telemetry, clock)

    @property
    def store(self) -> Store:
        """Where everything is kept."""
        assert self._store is not None
        return self._store

    async def new_tenant(self) -> Tenant:
        """A tenant that nobody else uses."""
        return await self.storage.tenants.create(unique("tenant"), LimitOverrides())

    async def operator_tenant(self) -> Tenant:
        """The tenant whose admin keys administer the server."""
        tenant = await ensure_operator_tenant(self.storage.tenants)
        assert tenant.name == OPERATOR_TENANT
        return tenant

    async def new_key(self, tenant: Tenant, scopes: Iterable[Scope] = ALL_SCOPES) -> str:
        """A key of a tenant."""
        key = new_key()
        await self.storage.keys.create(
            tenant,
            name="test",
            prefix=key_prefix(key),
            sha256=key_sha256(key),
            scopes=frozenset(scopes),
            expires_at=None,
        )
        return key

    @asynccontextmanager
    async def client(self, key: str | None = None, **headers: str) -> AsyncIterator[httpx.AsyncClient]:
        """A client that sends a key, if any, with every request; a bug in the server is a 500 and no exception."""
        if key is not None:
            headers["x-api-key"] = key
        transport = httpx.ASGITransport(cast("Any", self.app), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://sextant", headers=headers) as client:
            yield client


def in_process(storage: Storage, clock: Clock | None = None, *, store: Store | None = None) -> InProcess:
    """The application over `storage`; `clock` says what "now" is in a query.

    `store`, where it is given, is what `storage` was opened from: tests write rows there that no port writes.
    """
    return InProcess(storage, clock or SystemClock(), store)
