"""Tenants, API keys and limits."""

import enum
import hashlib
import re
import secrets
from datetime import datetime
from typing import Final

import msgspec

from core.domain.errors import Forbidden, InvalidInput

KEY_MARK: Final = "sx_"
"""Lets secret scanners and people recognise a key."""
KEY_PREFIX_CHARS: Final = 6
"""Enough to tell keys apart on a screen; the rest still holds more than 128 random bits."""
KEY_CHARS_MIN: Final = 16
"""A key that an operator names must not be guessable either."""
SECRET_BYTES: Final = 24
"""192 random bits: beyond guessing, so a plain SHA-256 is enough to store."""
OPERATOR_TENANT: Final = "default"
"""Admin keys of this tenant administer the server; those of others only their own tenant."""

_TENANT_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}\Z", re.ASCII)
_KEY = re.compile(r"[!-~]{16,256}\Z", re.ASCII)


class Scope(enum.Enum):
    """What a key may do."""

    INGEST = "ingest"
    QUERY = "query"
    ALERTS = "alerts"
    REMEDIATE = "remediate"
    ADMIN = "admin"


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What one tenant may use."""

    samples_per_s: float
    samples_burst: float
    series_max: int
    query_points_max: int
    """Samples that one query may read."""
    query_timeout_s: float


class Tenant(msgspec.Struct, frozen=True, kw_only=True):
    """One tenant; `id` is also what ``X-Scope-OrgID`` may name, beside the name."""

    id: int
    name: str
    created_at: datetime


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a key after it was made: never the key itself."""

    id: int
    tenant: str
    name: str | None
    prefix: str
    scopes: frozenset[Scope]
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None


class KeyRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A stored key with what authentication needs."""

    key: ApiKey
    tenant_id: int
    sha256: bytes


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """Who is calling: a tenant, with what its key may do."""

    tenant_id: int
    tenant: str
    key_id: int
    scopes: frozenset[Scope]

    @property
    def is_operator(self) -> bool:
        """Whether this key administers the whole server."""
        return Scope.ADMIN in self.scopes and self.tenant == OPERATOR_TENANT

    def require(self, scope: Scope) -> None:
        """Raises `Forbidden` unless the key carries `scope`."""
        self.require_any(scope)

    def require_any(self, *scopes: Scope) -> None:
        """Raises `Forbidden` unless the key carries one of `scopes`."""
        if self.scopes.isdisjoint(scopes):
            wanted = " or ".join(repr(scope.value) for scope in scopes)
            held = ", ".join(sorted(held.value for held in self.scopes)) or "none"
            raise Forbidden(f"this needs a key with scope {wanted}; this key's scopes: {held}")


def new_key() -> str:
    """A fresh random key, as it is shown once."""
    return KEY_MARK + secrets.token_urlsafe(SECRET_BYTES)


def check_key(key: str) -> None:
    """Raises `InvalidInput` unless `key`, chosen by an operator, can serve as an API key."""
    if not _KEY.match(key):
        raise InvalidInput("api key", f"must be {KEY_CHARS_MIN} to 256 printable ASCII characters without spaces")


def key_sha256(key: str) -> bytes:
    """What the store keeps of a key, and finds it by."""
    return hashlib.sha256(key.encode()).digest()


def key_prefix(key: str) -> str:
    """The part of a key that is shown again, to tell keys apart."""
    return key.removeprefix(KEY_MARK)[:KEY_PREFIX_CHARS]


def check_tenant_name(name: str) -> None:
    """Raises `InvalidInput` unless `name` can be a tenant's."""
    if not _TENANT_NAME.match(name):
        raise InvalidInput(
            "name", f"{name[:64]!r} is not a tenant name: 1 to 63 of a-z, 0-9, - and _, a letter or digit first"
        )
