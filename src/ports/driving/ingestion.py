"""What a sender may ask: keep these points."""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from core.domain.points import IngestReply, Point, Rejection
from core.domain.tenants import Principal


class IngestRequest(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """One decoded request.

    `points` are those that decoded, `indexes` their places in the request where some did not (None: all did, in
    order), `rejections` the others.
    """

    principal: Principal
    points: Sequence[Point]
    indexes: Sequence[int] | None = None
    rejections: Sequence[Rejection] = ()
    atomic: bool = False
    idempotency_key: str | None = None
    body_sha256: bytes = b""
    """Of the body as it was before decoding; compared when an idempotency key repeats."""


class Ingestion(Protocol):
    """Safe to call concurrently."""

    async def ingest(self, request: IngestRequest) -> IngestReply:
        """Stores what is valid, durably, and says what was refused and why.

        With `atomic`, one refused metric refuses all. A reply with ``accepted == 0`` and refusals means that nothing
        was stored. Repeating a request with its idempotency key stores nothing more and gets the first reply; with
        another body it raises `Conflict`. Raises `Forbidden`, `RateLimited`, `Unavailable`.
        """
        ...
