"""The two ingest routes as plain ASGI: a framework would cost more per request than all else together.

receive (`body`) → decode (`decode`) → the core → reply. A success is not logged; it is counted.
"""

import asyncio
import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Final

import msgspec
import structlog
from litestar.types import HTTPScope, Send

from adapters.driving.http.answer import JSON, Answer, send_answer
from adapters.driving.http.asgi import HttpReceive
from adapters.driving.http.auth import authenticate
from adapters.driving.http.body import BodyLimits, ClientGoneError, RequestBody
from adapters.driving.http.body_budget import BodyBudget
from adapters.driving.http.decode import Decoded
from adapters.driving.http.failures import REQUEST_FAILED
from adapters.driving.http.media_type import check_json
from adapters.driving.http.problem import WRONG_METHOD, RequestError, bug_answer, problem_answer, refused_answer
from adapters.driving.http.query_string import parse_flag, parse_query
from adapters.driving.http.request_id import request_id_of
from adapters.runtime.telemetry import PrometheusTelemetry
from core.domain.errors import InvalidInput, SextantError
from core.domain.tenants import Scope
from ports.driving.ingestion import IngestRequest
from ports.driving.services import Services

LARGE_BODY_BYTES_MIN: Final = 64 * 1024
"""Larger ones take the processor for milliseconds; a crowd of them at once would hold up the commit of all."""

log = structlog.get_logger(__name__)

_IDEMPOTENCY_KEY = re.compile(rb"[!-~]{1,255}\Z")
_encoder = msgspec.json.Encoder()


class IngestRoute:
    """One ingest route; `decode` says what its body is."""

    def __init__(
        self,
        route: str,
        decode: Callable[[bytes], Decoded],
        *,
        services: Services,
        limits: BodyLimits,
        budget: BodyBudget,
        telemetry: PrometheusTelemetry,
    ) -> None:
        self._route = route
        self._decode = decode
        self._authentication = services.authentication
        self._ingestion = services.ingestion
        self._limits = limits
        self._budget = budget
        self._telemetry = telemetry
        self._turn = asyncio.Lock()

    async def __call__(self, scope: HTTPScope, receive: HttpReceive, send: Send) -> None:
        """Answers one request, whatever comes."""
        headers = dict(scope["headers"])
        request_id = request_id_of(headers)
        body = RequestBody(receive, headers, self._limits)
        try:
            answer = await self._answer(scope, headers, body, request_id)
        except ClientGoneError:
            return
        except (SextantError, RequestError) as error:
            answer = problem_answer(error, request_id)
            await body.discard()
        except Exception:
            log.exception(REQUEST_FAILED, route=self._route, request_id=request_id)
            answer = bug_answer(request_id)
        self._telemetry.http_answered(self._route, answer.status)
        await send_answer(send, answer, request_id)

    async def _answer(
        self, scope: HTTPScope, headers: Mapping[bytes, bytes], body: RequestBody, request_id: str
    ) -> Answer:
        if scope["method"] != "POST":
            raise RequestError(WRONG_METHOD, "metrics are sent with POST", headers=((b"allow", b"POST"),))
        principal = await authenticate(self._authentication, headers)
        principal.require(Scope.INGEST)
        query = parse_query(scope["query_string"], single=("atomic",))
        check_json(headers)
        key = _idempotency_key(headers)
        with self._budget.hold(body.expected_bytes):
            content = await body.read()
            decoded = await self._decoded(content)
            ingesting = self._ingestion.ingest(
                IngestRequest(
                    principal=principal,
                    points=decoded.points,
                    indexes=decoded.indexes,
                    rejections=decoded.rejections,
                    atomic=parse_flag(dict(query), "atomic"),
                    idempotency_key=key,
                    body_sha256=b"" if key is None else hashlib.sha256(content).digest(),
                )
            )
            del content, decoded  # megabytes that nobody needs while the points wait for their commit
        reply = await ingesting
        if reply.accepted == 0:
            return refused_answer(reply, request_id)
        return Answer(200, JSON, _encoder.encode(reply))

    async def _decoded(self, content: bytes) -> Decoded:
        """Decodes; large bodies one at a time, the event loop turning in between."""
        if len(content) < LARGE_BODY_BYTES_MIN:
            return self._decode(content)
        async with self._turn:
            await asyncio.sleep(0)
            return self._decode(content)


def _idempotency_key(headers: Mapping[bytes, bytes]) -> str | None:
    key = headers.get(b"idempotency-key")
    if key is None:
        return None
    if not _IDEMPOTENCY_KEY.match(key):
        raise InvalidInput("Idempotency-Key", "must be 1 to 255 visible ASCII characters")
    return key.decode("ascii")
