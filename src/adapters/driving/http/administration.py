"""The routes of tenants, keys and limits."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Final

import msgspec
from litestar import Controller, Response, delete, get, post, put
from litestar.openapi.spec import Example
from litestar.params import PathParameter
from msgspec import Meta

from adapters.driving.http.guards import ApiRequest, ServicesDependency, authenticated, json_body
from adapters.driving.http.parameters import TenantInQuery
from core.domain.errors import NotFound
from core.domain.tenants import ApiKey, Scope, Tenant
from ports.driven.tenant_store import LimitOverrides
from ports.driving.administration import CreatedKey, Usage

TAG: Final = "Administration"
KEY_ID_MAX: Final = 2**31 - 1
"""No key has an id past a PostgreSQL integer; such a one is not looked up."""
NAME_CHARS_MAX: Final = 200
"""A key's name is for people."""

_PositiveFloat = Annotated[float, Meta(gt=0, le=1e12)]
_PositiveInt = Annotated[int, Meta(gt=0, le=2**31 - 1)]


class LimitsBody(LimitOverrides, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A tenant's own limits; what is absent or null is the server's default."""

    samples_per_s: _PositiveFloat | None = None
    samples_burst: _PositiveFloat | None = None
    series_max: _PositiveInt | None = None
    query_points_max: Annotated[int, Meta(gt=0, le=10**12)] | None = None
    query_timeout_s: Annotated[float, Meta(gt=0, le=3_600)] | None = None


class TenantBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A tenant to create."""

    name: str
    limits: LimitsBody = LimitsBody()


class KeyBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A key to create; `tenant` is a name or an id, by default the caller's."""

    scopes: Annotated[frozenset[Scope], Meta(min_length=1)]
    tenant: str | int | None = None
    name: Annotated[str, Meta(max_length=NAME_CHARS_MAX, pattern="^[^\x00]*$")] | None = None
    expires_at: Annotated[datetime, Meta(tz=True)] | None = None


class NewKeyReply(ApiKey, frozen=True, kw_only=True):
    """A new key, with its text for the only time."""

    key: str


class TenantsReply(msgspec.Struct, frozen=True):
    """Tenants by name."""

    data: Sequence[Tenant]


class KeysReply(msgspec.Struct, frozen=True):
    """A tenant's keys, revoked ones too, never their text."""

    data: Sequence[ApiKey]


_tenant_body = msgspec.json.Decoder(TenantBody)
_limits_body = msgspec.json.Decoder(LimitsBody)
_key_body = msgspec.json.Decoder(KeyBody)

TenantInPath = Annotated[
    str,
    PathParameter(description="Name or id of the tenant.", examples=[Example(summary="acme", value="acme")]),
]
KeyInPath = Annotated[int, PathParameter(description="Id of the key.", examples=[Example(summary="7", value=7)])]


class AdministrationController(Controller):
    """Scope ``admin``. An admin of the tenant ``default`` acts on every tenant, others on their own."""

    path = "/api/v1"
    tags: Sequence[str] = [TAG]  # Litestar declares it as an instance's
    guards = [authenticated]  # noqa: RUF012  # the same

    @get("/tenants", operation_id="list_tenants", summary="Tenants")
    async def tenants(self, request: ApiRequest, services: ServicesDependency) -> TenantsReply:
        """The tenants that this admin may see."""
        return TenantsReply(await services.administration.tenants(request.user))

    @post("/tenants", operation_id="create_tenant", summary="Create a tenant")
    async def create_tenant(self, request: ApiRequest, services: ServicesDependency) -> Response[Tenant]:
        """Adds a tenant, for the operator only. It has no key yet: create one with its name as `tenant`."""
        body = await json_body(request, _tenant_body)
        tenant = await services.administration.create_tenant(request.user, body.name, body.limits)
        return Response(tenant, status_code=201)

    @put("/tenants/{tenant:str}/limits", operation_id="put_tenant_limits", summary="Set a tenant's limits")
    async def set_limits(self, request: ApiRequest, services: ServicesDependency, tenant: TenantInPath) -> Tenant:
        """Replaces the tenant's own limits, for the operator only; in force within seconds."""
        limits = await json_body(request, _limits_body)
        return await services.administration.set_limits(request.user, tenant, limits)

    @get("/keys", operation_id="list_keys", summary="API keys")
    async def keys(self, request: ApiRequest, services: ServicesDependency, tenant: TenantInQuery = None) -> KeysReply:
        """A tenant's keys: who may do what, until when, and which are revoked."""
        return KeysReply(await services.administration.keys(request.user, tenant))

    @post("/keys", operation_id="create_key", summary="Create an API key")
    async def create_key(self, request: ApiRequest, services: ServicesDependency) -> Response[NewKeyReply]:
        """Makes a key. Its text is in this reply and nowhere else: the server keeps only a hash."""
        body = await json_body(request, _key_body)
        created = await services.administration.create_key(
            request.user,
            None if body.tenant is None else str(body.tenant),
            name=body.name,
            scopes=body.scopes,
            expires_at=body.expires_at,
        )
        return Response(
            _new_key(created),
            status_code=201,
            headers={"location": f"/api/v1/keys/{created.key.id}", "cache-control": "no-store"},
        )

    @delete("/keys/{key_id:int}", operation_id="revoke_key", summary="Revoke an API key")
    async def revoke_key(self, request: ApiRequest, services: ServicesDependency, key_id: KeyInPath) -> None:
        """Ends a key at once. Safe to repeat."""
        if not 1 <= key_id <= KEY_ID_MAX:
            raise NotFound("key", str(key_id)[:32])
        await services.administration.revoke_key(request.user, key_id)

    @get("/limits", operation_id="get_limits", summary="Limits and use")
    async def limits(self, request: ApiRequest, services: ServicesDependency) -> Usage:
        """The limits of the key's own tenant, and how near it is to them. Any scope will do."""
        return await services.administration.usage(request.user)


def _new_key(created: CreatedKey) -> NewKeyReply:
    return NewKeyReply(**msgspec.structs.asdict(created.key), key=created.secret)
