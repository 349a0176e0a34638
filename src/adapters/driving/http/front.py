"""What stands between the server and Litestar: a readable target, a bounded body, a request id, a count."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack
from typing import Final
from urllib.parse import quote, unquote_to_bytes

import structlog
from litestar.types import HTTPReceiveMessage, HTTPScope, Message, Send

from adapters.driving.http.answer import send_answer
from adapters.driving.http.asgi import HttpApp, HttpReceive
from adapters.driving.http.body import BodyLimits, RequestBody
from adapters.driving.http.body_budget import BodyBudget
from adapters.driving.http.problem import MALFORMED_TARGET, RequestError, problem_answer
from adapters.driving.http.request_id import HEADER, request_id_of
from adapters.runtime.telemetry import PrometheusTelemetry

BODY_BYTES_MAX: Final = 1 << 20
"""Far more than a definition or a key can take; only ingest and a few routes that are named have larger bodies."""
NO_ROUTE_LABEL: Final = "unknown"
"""What requests to paths that do not exist are counted under."""


class Front:
    """Litestar's doorkeeper; `app` answers everything but ingest."""

    def __init__(
        self,
        app: HttpApp,
        *,
        body_timeout_s: float,
        large: Mapping[tuple[str, str], BodyLimits],
        budget: BodyBudget,
        telemetry: PrometheusTelemetry,
    ) -> None:
        """`large`: the limits of routes (method, path) with larger bodies than others, which count to `budget`."""
        self._app = app
        self._large = large
        self._budget = budget
        self._telemetry = telemetry
        self._limits = BodyLimits(
            sent_bytes_max=BODY_BYTES_MAX, inflated_bytes_max=BODY_BYTES_MAX, timeout_s=body_timeout_s
        )

    async def __call__(self, scope: HTTPScope, receive: HttpReceive, send: Send) -> None:
        """Answers one request."""
        headers = dict(scope["headers"])
        request_id = request_id_of(headers)
        scope.setdefault("state", {})["request_id"] = request_id
        status = 0
        large = self._large.get((scope["method"], scope["path"]))
        body = RequestBody(receive, headers, large or self._limits)

        async def send_named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (HEADER, request_id.encode())]
                await body.discard()
            await send(message)

        try:
            scope["path"] = _path(scope)
        except RequestError as refusal:
            status = refusal.kind.status
            await send_answer(send, problem_answer(refusal, request_id), request_id)
        else:
            with structlog.contextvars.bound_contextvars(request_id=request_id), ExitStack() as held:
                room = None if large is None else self._budget.hold(body.expected_bytes)
                await self._app(scope, _OneMessage(body, receive, room, held), send_named)
        self._telemetry.http_answered(scope.get("path_template") or NO_ROUTE_LABEL, status)


class _OneMessage:
    """A `receive` that reads the whole body, within limits, when it is first asked, and gives it at once."""

    def __init__(
        self, body: RequestBody, receive: HttpReceive, room: AbstractContextManager[None] | None, held: ExitStack
    ) -> None:
        """`room` is entered before the body is read, and left with `held`."""
        self._body = body
        self._receive = receive
        self._room = room
        self._held = held
        self._given = False

    async def __call__(self) -> HTTPReceiveMessage:
        if self._given:
            return await self._receive()
        self._given = True
        if self._room is not None:
            self._held.enter_context(self._room)
        return {"type": "http.request", "body": await self._body.read(), "more_body": False}


def _path(scope: HTTPScope) -> str:
    """The path to route by. A slash that was sent encoded, as label names have it, stays ``%2F``, and a percent sign
    ``%25``, so that both can be told from what looks like them."""
    raw_path = scope.get("raw_path") or quote(scope["path"]).encode()
    try:
        segments = [unquote_to_bytes(segment).decode() for segment in raw_path.split(b"/")]
    except UnicodeDecodeError:
        raise RequestError(MALFORMED_TARGET, "the path is not percent-encoded UTF-8") from None
    path = "/".join(segment.replace("%", "%25").replace("/", "%2F") for segment in segments)
    if "\x00" in path:
        raise RequestError(MALFORMED_TARGET, "the path contains a NUL character")
    return path
