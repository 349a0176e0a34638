"""Tenants, keys, limits and metric definitions: who may change what."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from core.domain.definitions import MetricDefinition
from core.domain.errors import Forbidden, InvalidInput, NotFound
from core.domain.series import check_name
from core.domain.tenants import ApiKey, Principal, Scope, Tenant, check_tenant_name, key_prefix, key_sha256, new_key
from core.domain.times import SECOND_US
from core.services.authentication import AuthenticationService
from core.services.policies import Policies
from ports.driven.clock import Clock
from ports.driven.definition_store import DefinitionStore
from ports.driven.tenant_store import KeyStore, LimitOverrides, TenantStore
from ports.driving.administration import CreatedKey, Usage

KEY_NAME_CHARS_MAX: Final = 200
"""A name is for a list on a screen."""


class AdministrationService:
    """Implements `ports.driving.administration.Administration`."""

    def __init__(
        self,
        tenants: TenantStore,
        keys: KeyStore,
        policies: Policies,
        authentication: AuthenticationService,
        clock: Clock,
    ) -> None:
        self._tenants = tenants
        self._keys = keys
        self._policies = policies
        self._authentication = authentication
        self._clock = clock

    async def tenants(self, principal: Principal) -> Sequence[Tenant]:
        """See `Administration.tenants`."""
        principal.require(Scope.ADMIN)
        if principal.is_operator:
            return await self._tenants.list()
        return [await self._tenants.get(principal.tenant)]

    async def create_tenant(self, principal: Principal, name: str, limits: LimitOverrides) -> Tenant:
        """See `Administration.create_tenant`."""
        _require_operator(principal)
        check_tenant_name(name)
        _check_limits(limits)
        return await self._tenants.create(name, limits)

    async def set_limits(self, principal: Principal, tenant: str, limits: LimitOverrides) -> Tenant:
        """See `Administration.set_limits`."""
        _require_operator(principal)
        _check_limits(limits)
        found = await self._tenants.get(tenant)
        await self._tenants.set_limits(found.id, limits)
        await self._policies.reread(found.id)
        return found

    async def keys(self, principal: Principal, tenant: str | None) -> Sequence[ApiKey]:
        """See `Administration.keys`."""
        return await self._keys.list((await self._administered(principal, tenant)).id)

    async def create_key(
        self,
        principal: Principal,
        tenant: str | None,
        *,
        name: str | None,
        scopes: frozenset[Scope],
        expires_at: datetime | None,
    ) -> CreatedKey:
        """See `Administration.create_key`."""
        found = await self._administered(principal, tenant)
        if not scopes:
            raise InvalidInput("scopes", f"name at least one of {', '.join(scope.value for scope in Scope)}")
        if name is not None and (len(name) > KEY_NAME_CHARS_MAX or "\x00" in name):
            raise InvalidInput("name", f"at most {KEY_NAME_CHARS_MAX} characters, none of them NUL")
        if expires_at is not None and expires_at <= datetime.fromtimestamp(self._clock.now_us() / SECOND_US, UTC):
            raise InvalidInput("expires_at", "has passed already")
        secret = new_key()
        key = await self._keys.create(
            found,
            name=name,
            prefix=key_prefix(secret),
            sha256=key_sha256(secret),
            scopes=scopes,
            expires_at=expires_at,
        )
        return CreatedKey(key, secret)

    async def revoke_key(self, principal: Principal, key_id: int) -> None:
        """See `Administration.revoke_key`."""
        principal.require(Scope.ADMIN)
        owners = await self._tenants.list() if principal.is_operator else [await self._tenants.get(principal.tenant)]
        for owner in owners:
            if any(key.id == key_id for key in await self._keys.list(owner.id)):
                await self._keys.revoke(owner.id, key_id)
                self._authentication.forget()
                return
        raise NotFound("key", str(key_id))

    async def usage(self, principal: Principal) -> Usage:
        """See `Administration.usage`."""
        rules = await self._policies.reread(principal.tenant_id)
        return Usage(
            tenant=principal.tenant,
            limits=rules.limits,
            series_active=rules.policy.series_active,
            samples_available=rules.bucket.available(self._clock.monotonic_s()),
        )

    async def _administered(self, principal: Principal, tenant: str | None) -> Tenant:
        """The tenant that the caller wants to, and may, administer; others' existence is not disclosed."""
        principal.require(Scope.ADMIN)
        if tenant is None or tenant in (principal.tenant, str(principal.tenant_id)):
            return await self._tenants.get(principal.tenant)
        if not principal.is_operator:
            raise NotFound("tenant", tenant)
        return await self._tenants.get(tenant)


class DefinitionService:
    """Implements `ports.driving.administration.Definitions`."""

    def __init__(self, definitions: DefinitionStore, policies: Policies) -> None:
        self._definitions = definitions
        self._policies = policies

    async def list(self, principal: Principal) -> Sequence[MetricDefinition]:
        """See `Definitions.list`."""
        principal.require(Scope.QUERY)
        return await self._definitions.list(principal.tenant_id)

    async def get(self, principal: Principal, name: str) -> MetricDefinition:
        """See `Definitions.get`."""
        principal.require(Scope.QUERY)
        check_name(name)
        return await self._definitions.get(principal.tenant_id, name)

    async def create(self, principal: Principal, definition: MetricDefinition) -> None:
        """See `Definitions.create`."""
        principal.require(Scope.ADMIN)
        await self._definitions.create(principal.tenant_id, definition)
        await self._policies.reread(principal.tenant_id)

    async def put(self, principal: Principal, definition: MetricDefinition) -> bool:
        """See `Definitions.put`."""
        principal.require(Scope.ADMIN)
        created = await self._definitions.put(principal.tenant_id, definition)
        await self._policies.reread(principal.tenant_id)
        return created

    async def delete(self, principal: Principal, name: str) -> None:
        """See `Definitions.delete`."""
        principal.require(Scope.ADMIN)
        check_name(name)
        await self._definitions.delete(principal.tenant_id, name)
        await self._policies.reread(principal.tenant_id)


def _require_operator(principal: Principal) -> None:
    principal.require(Scope.ADMIN)
    if not principal.is_operator:
        raise Forbidden("only an admin key of the tenant 'default' may do this")


def _check_limits(limits: LimitOverrides) -> None:
    for field in limits.__struct_fields__:
        value = getattr(limits, field)
        if value is not None and not 0 < value < 1e15:
            raise InvalidInput(f"limits.{field}", "must be greater than zero")
