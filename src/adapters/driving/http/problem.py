"""Errors as RFC 9457 problem+json: the one table from what went wrong to what the client is told.

Source: https://www.rfc-editor.org/rfc/rfc9457
"""

import math
from collections.abc import Sequence
from typing import Final

import msgspec

from adapters.driving.http.answer import Answer
from core.domain.errors import (
    Conflict,
    Forbidden,
    InvalidInput,
    NotFound,
    RateLimited,
    SextantError,
    TooExpensive,
    TooLarge,
    Unauthenticated,
    Unavailable,
)
from core.domain.points import IngestReply, Rejection

MEDIA_TYPE: Final = "application/problem+json"
TYPE_PREFIX: Final = "urn:sextant:problem:"


class ProblemDetails(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a client is told of a request that failed; members that do not apply are absent."""

    type: str
    """``urn:sextant:problem:`` and the kind's name, which never changes."""
    title: str
    status: int
    detail: str
    request_id: str
    field: str | None = None
    limit: float | None = None
    retry_after_s: float | None = None
    accepted: int | None = None
    rejected: int | None = None
    errors: tuple[Rejection, ...] | None = None
    receipt: str | None = None


class Kind(msgspec.Struct, frozen=True):
    """One kind of problem."""

    status: int
    name: str
    title: str


MALFORMED: Final = Kind(400, "malformed-body", "The body cannot be read")
MALFORMED_TARGET: Final = Kind(400, "malformed-target", "The path or the query string cannot be read")
NO_ROUTE: Final = Kind(404, "no-such-route", "There is nothing at this path")
WRONG_METHOD: Final = Kind(405, "wrong-method", "This path does not take this method")
BODY_TIMEOUT: Final = Kind(408, "body-timeout", "The body took too long to arrive")
UNSUPPORTED: Final = Kind(415, "unsupported-media-type", "The body is in a format that is not read here")
ALL_REFUSED: Final = Kind(422, "all-metrics-refused", "No metric of the request was stored")
NO_EVENT_STORED: Final = Kind(422, "all-events-refused", "No event of the request was stored")
BUG: Final = Kind(500, "internal-error", "A bug in Sextant")

_KINDS: Final[dict[type[SextantError], Kind]] = {
    InvalidInput: Kind(400, "invalid-input", "A field of the request is wrong"),
    Unauthenticated: Kind(401, "unauthenticated", "A valid API key is needed"),
    Forbidden: Kind(403, "forbidden", "The API key may not do this"),
    NotFound: Kind(404, "not-found", "There is no such thing"),
    Conflict: Kind(409, "conflict", "It does not go with what is there"),
    TooLarge: Kind(413, "too-large", "The request holds too much"),
    TooExpensive: Kind(422, "too-expensive", "The query reads or answers too much"),
    RateLimited: Kind(429, "rate-limited", "Too many samples for this tenant's rate"),
    Unavailable: Kind(503, "unavailable", "The store cannot answer now"),
}


class RequestError(Exception):
    """A request that is wrong as HTTP, before the core hears of it."""

    def __init__(self, kind: Kind, detail: str, *, headers: Sequence[tuple[bytes, bytes]] = ()) -> None:
        super().__init__(detail)
        self.kind = kind
        self.headers = headers


class NoEventStoredError(RequestError):
    """Every event of a request was refused."""

    def __init__(self, *, rejected: int, errors: tuple[Rejection, ...]) -> None:
        first = f": {errors[0].field}: {errors[0].reason}" if errors else ""
        super().__init__(NO_EVENT_STORED, f"{rejected} refused{first}")
        self.accepted = 0
        self.rejected = rejected
        self.errors = errors


def problem_answer(error: SextantError | RequestError, request_id: str) -> Answer:
    """The reply to a request that failed with `error`."""
    headers: list[tuple[bytes, bytes]] = []
    retry_after_s = getattr(error, "retry_after_s", None)
    if retry_after_s is not None:
        headers.append((b"retry-after", b"%d" % max(1, math.ceil(retry_after_s))))
    if isinstance(error, RequestError):
        kind = error.kind
        headers.extend(error.headers)
    else:
        kind = next(_KINDS[cls] for cls in type(error).__mro__ if cls in _KINDS)
        if kind.status == 401:
            headers.append((b"www-authenticate", b'Bearer realm="sextant"'))
    problem = ProblemDetails(
        type=TYPE_PREFIX + kind.name,
        title=kind.title,
        status=kind.status,
        detail=str(error),
        request_id=request_id,
        field=getattr(error, "field", None),
        limit=getattr(error, "limit", None),
        retry_after_s=retry_after_s,
        accepted=getattr(error, "accepted", None),
        rejected=getattr(error, "rejected", None),
        errors=getattr(error, "errors", None),
    )
    return _answer(problem, headers)


def refused_answer(reply: IngestReply, request_id: str) -> Answer:
    """The reply to a request of whose metrics none was stored."""
    first = f": {reply.errors[0].field}: {reply.errors[0].reason}" if reply.errors else ""
    problem = ProblemDetails(
        type=TYPE_PREFIX + ALL_REFUSED.name,
        title=ALL_REFUSED.title,
        status=ALL_REFUSED.status,
        detail=f"{reply.rejected} refused{first}",
        request_id=request_id,
        accepted=reply.accepted,
        rejected=reply.rejected,
        errors=reply.errors,
        receipt=reply.receipt,
    )
    return _answer(problem, [])


def bug_answer(request_id: str) -> Answer:
    """The reply where our own code failed; the log has the traceback under the same request id."""
    problem = ProblemDetails(
        type=TYPE_PREFIX + BUG.name,
        title=BUG.title,
        status=BUG.status,
        detail=f"please report it with the log of request {request_id}",
        request_id=request_id,
    )
    return _answer(problem, [])


def _answer(problem: ProblemDetails, headers: list[tuple[bytes, bytes]]) -> Answer:
    return Answer(problem.status, MEDIA_TYPE.encode(), msgspec.json.encode(problem), headers)
