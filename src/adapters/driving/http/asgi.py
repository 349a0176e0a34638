"""The part of ASGI that HTTP needs, typed more narrowly than Litestar types it, which has WebSockets in mind."""

from collections.abc import Awaitable, Callable

from litestar.types import HTTPReceiveMessage, HTTPScope, Send

HttpReceive = Callable[[], Awaitable[HTTPReceiveMessage]]
HttpApp = Callable[[HTTPScope, HttpReceive, Send], Awaitable[None]]
