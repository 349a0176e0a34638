"""A request's body: bounded in bytes and in time, then inflated, bounded again."""

import asyncio
from collections.abc import Mapping
from typing import Final

import msgspec
from litestar.types import HTTPReceiveMessage

from adapters.driving.http.asgi import HttpReceive
from adapters.driving.http.body_budget import INFLATION
from adapters.driving.http.inflate import inflate, stream_opener
from adapters.driving.http.problem import BODY_TIMEOUT, MALFORMED, RequestError
from core.domain.errors import TooLarge

STALL_GRACE_S: Final = 10.0
"""A connection may hang this long; after that the body must have kept up with `BYTES_PER_S_MIN`."""
BYTES_PER_S_MIN: Final = 8 * 1024
"""Slower than any modem that still sends metrics; a client below it holds a place for nothing."""
DISCARD_S: Final = 2.0
"""What a client may still send, to hear why it was refused; a batch takes milliseconds."""
DISCARD_BYTES_MAX: Final = 32 << 20
"""The same in bytes: four bodies of the default largest size."""


class BodyLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What one body may take."""

    sent_bytes_max: int
    inflated_bytes_max: int
    timeout_s: float


class ClientGoneError(RequestError):
    """The client hung up; nobody is there to be answered."""

    def __init__(self) -> None:
        super().__init__(MALFORMED, "the connection closed before the body was complete")


class RequestBody:
    """The body of one request, read at most once."""

    __slots__ = ("_declared_bytes", "_headers", "_limits", "_over", "_receive")

    def __init__(self, receive: HttpReceive, headers: Mapping[bytes, bytes], limits: BodyLimits) -> None:
        self._receive = receive
        self._headers = headers
        self._limits = limits
        self._declared_bytes = _declared_bytes(headers)
        self._over = False

    @property
    def expected_bytes(self) -> int:
        """What reading it may take in memory, as far as its headers tell."""
        limits = self._limits
        is_chunked = b"transfer-encoding" in self._headers
        sent_bytes = limits.sent_bytes_max if is_chunked else max(0, self._declared_bytes)
        if self._headers.get(b"content-encoding", b"identity") == b"identity":
            return min(sent_bytes, limits.sent_bytes_max)
        return min(sent_bytes * INFLATION, limits.inflated_bytes_max)

    async def read(self) -> bytes:
        """The whole body, inflated as ``Content-Encoding`` says.

        Raises `TooLarge`, `ClientGoneError`, and `RequestError` for a body that is slow, truncated, corrupt or in
        another encoding.
        """
        limits = self._limits
        opener = stream_opener(self._headers.get(b"content-encoding", b"identity"))
        if self._declared_bytes > limits.sent_bytes_max:
            raise _too_large(limits)
        try:
            async with asyncio.timeout(min(STALL_GRACE_S, limits.timeout_s)) as deadline:
                sent = await self._next()
                if not self._over:
                    sent = await self._rest(sent, deadline)
        except TimeoutError:
            self._over = True  # nothing that still comes is waited for
            raise RequestError(
                BODY_TIMEOUT,
                f"the body must arrive within {limits.timeout_s:g} s, {BYTES_PER_S_MIN} bytes a second at the least",
            ) from None
        if len(sent) > limits.sent_bytes_max:
            raise _too_large(limits)
        return sent if opener is None else inflate(opener, sent, limits.inflated_bytes_max)

    async def discard(self) -> None:
        """Takes in what the client is still sending, for a while: else it would find the connection closed, and
        not the answer."""
        announced = self._declared_bytes > 0 or b"transfer-encoding" in self._headers
        if self._over or not announced or b"expect" in self._headers:
            return
        left_bytes = DISCARD_BYTES_MAX
        try:
            async with asyncio.timeout(DISCARD_S):
                while not self._over and left_bytes > 0:
                    left_bytes -= len(await self._next())
        except (TimeoutError, ClientGoneError):
            return

    async def _next(self) -> bytes:
        """The next piece."""
        message: HTTPReceiveMessage = await self._receive()
        if message["type"] == "http.disconnect":
            self._over = True
            raise ClientGoneError
        piece = message.get("body", b"")
        # Servers say that more follows even after the last byte; asking again would cost another turn.
        self._over = not message.get("more_body", False) or len(piece) == self._declared_bytes
        return piece

    async def _rest(self, first: bytes, deadline: asyncio.Timeout) -> bytes:
        """`first` and all that follows; each piece that arrives moves the deadline."""
        received = bytearray(first)
        started_s = asyncio.get_running_loop().time()
        while not self._over:
            received += await self._next()
            if len(received) > self._limits.sent_bytes_max:
                raise _too_large(self._limits)
            kept_up_s = STALL_GRACE_S + len(received) / BYTES_PER_S_MIN
            deadline.reschedule(started_s + min(self._limits.timeout_s, kept_up_s))
        return bytes(received)


def _declared_bytes(headers: Mapping[bytes, bytes]) -> int:
    """``Content-Length``, or -1 where there is none; the server has seen to it that the body is as long."""
    length = headers.get(b"content-length", b"")
    return int(length[:20]) if length.isdigit() else -1


def _too_large(limits: BodyLimits) -> TooLarge:
    return TooLarge(f"the body is larger than {limits.sent_bytes_max} bytes", limit=limits.sent_bytes_max)
