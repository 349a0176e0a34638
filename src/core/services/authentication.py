"""Who is calling: API keys to principals, remembered for a few seconds."""

from collections import OrderedDict
from datetime import UTC, datetime
from hmac import compare_digest
from typing import Final

import msgspec

from core.domain.errors import Unauthenticated
from core.domain.tenants import Principal, key_sha256
from core.domain.times import SECOND_US
from ports.driven.clock import Clock
from ports.driven.tenant_store import KeyStore

KEPT_S: Final = 5.0
"""A key revoked through another process still works for at most this long."""
KEYS_MAX: Final = 20_000
"""Hashes remembered, right and wrong ones; about 10 MB."""


class _Known(msgspec.Struct, frozen=True):
    principal: Principal | None
    refusal: str
    expires_us: int | None
    until_s: float


class AuthenticationService:
    """Implements `ports.driving.administration.Authentication`."""

    def __init__(self, keys: KeyStore, clock: Clock) -> None:
        self._keys = keys
        self._clock = clock
        self._known: OrderedDict[bytes, _Known] = OrderedDict()

    async def authenticate(self, key: str) -> Principal:
        """See `Authentication.authenticate`."""
        sha256 = key_sha256(key)
        known = self._known.get(sha256)
        if known is None or known.until_s < self._clock.monotonic_s():
            known = await self._look_up(sha256)
        if known.principal is None:
            raise Unauthenticated(known.refusal)
        if known.expires_us is not None and known.expires_us <= self._clock.now_us():
            raise Unauthenticated("this API key has expired")
        return known.principal

    def forget(self) -> None:
        """Asks the store again from now on; called when a key was made or revoked here."""
        self._known.clear()

    async def _look_up(self, sha256: bytes) -> _Known:
        record = await self._keys.find(sha256)
        until_s = self._clock.monotonic_s() + KEPT_S
        if record is None or not compare_digest(record.sha256, sha256):
            known = _Known(None, "this API key is not known", None, until_s)
        elif record.key.revoked_at is not None:
            known = _Known(None, "this API key was revoked", None, until_s)
        else:
            principal = Principal(
                tenant_id=record.tenant_id,
                tenant=record.key.tenant,
                key_id=record.key.id,
                scopes=record.key.scopes,
            )
            known = _Known(principal, "", _microseconds(record.key.expires_at), until_s)
        self._known[sha256] = known
        while len(self._known) > KEYS_MAX:
            self._known.popitem(last=False)
        return known


def _microseconds(instant: datetime | None) -> int | None:
    if instant is None:
        return None
    return round(instant.astimezone(UTC).timestamp() * SECOND_US)
