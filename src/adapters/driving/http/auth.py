"""Who is calling: the API key of a request, and the tenant it says it means."""

from collections.abc import Mapping
from typing import Final

from core.domain.errors import Forbidden, Unauthenticated
from core.domain.tenants import Principal
from ports.driving.administration import Authentication

KEY_BYTES_MAX: Final = 256
"""No key is longer; what is, is not worth hashing."""


async def authenticate(authentication: Authentication, headers: Mapping[bytes, bytes]) -> Principal:
    """The caller; raises `Unauthenticated`, and `Forbidden` where ``X-Scope-OrgID`` names another tenant."""
    principal = await authentication.authenticate(_api_key(headers))
    tenant = headers.get(b"x-scope-orgid")
    if tenant is not None and tenant.decode("latin-1") not in (principal.tenant, str(principal.tenant_id)):
        raise Forbidden(f"X-Scope-OrgID is not {principal.tenant!r}, the tenant of this key; leave it out")
    return principal


def _api_key(headers: Mapping[bytes, bytes]) -> str:
    authorization = headers.get(b"authorization")
    if authorization is not None:
        scheme, _, key = authorization.partition(b" ")
        if scheme.lower() != b"bearer":
            raise Unauthenticated("the Authorization header must be: Bearer, a space and an API key")
    else:
        key = headers.get(b"x-api-key", b"")
    key = key.strip()
    if not key:
        raise Unauthenticated("no API key came with the request: send Authorization: Bearer … or X-API-Key")
    if len(key) > KEY_BYTES_MAX or not key.isascii():
        raise Unauthenticated("this cannot be an API key")
    return key.decode("ascii")
