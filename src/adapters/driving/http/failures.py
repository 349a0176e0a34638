"""Whatever a Litestar route raises, as problem+json."""

import re
from typing import Any, Final

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException, MethodNotAllowedException, NotFoundException, ValidationException
from litestar.params import ParameterKwarg
from litestar.types import ExceptionHandlersMap

from adapters.driving.http.answer import Answer
from adapters.driving.http.json_text import explained
from adapters.driving.http.problem import (
    MALFORMED_TARGET,
    NO_ROUTE,
    WRONG_METHOD,
    RequestError,
    bug_answer,
    problem_answer,
)
from core.domain.errors import InvalidInput, SextantError

REQUEST_FAILED: Final = "http_request_failed"

AnyRequest = Request[Any, Any, Any]

_MISSING: Final = re.compile(r"[Mm]issing required \w+ parameter '(?P<name>[^']+)'")

log = structlog.get_logger(__name__)


def refused(request: AnyRequest, error: SextantError | RequestError) -> Response[bytes]:
    """The reply to an error that the caller, or a remote, is at fault for."""
    return _response(problem_answer(error, request.state.request_id))


def refused_by_litestar(request: AnyRequest, error: HTTPException) -> Response[bytes]:
    """The reply to what Litestar itself refused: no such route or method, a parameter that does not fit."""
    match error:
        case NotFoundException():
            return refused(request, RequestError(NO_ROUTE, f"there is nothing at {request.url.path[:200]!r}"))
        case MethodNotAllowedException():
            allowed = ", ".join(sorted((error.headers or {}).get("allow", "").split(", ")))
            detail = f"{request.method} is not taken here; use {allowed}"
            return refused(request, RequestError(WRONG_METHOD, detail, headers=((b"allow", allowed.encode()),)))
        case ValidationException():
            return refused(request, _invalid_parameter(request, error))
        case _ if error.status_code < 500:
            return refused(request, RequestError(MALFORMED_TARGET, error.detail))
        case _:
            return failed(request, error)


def failed(request: AnyRequest, error: Exception) -> Response[bytes]:
    """The reply to a bug, which is logged here and nowhere else."""
    log.error(REQUEST_FAILED, route=request.scope.get("path_template", ""), exc_info=error)
    return _response(bug_answer(request.state.request_id))


HANDLERS: Final[ExceptionHandlersMap] = {
    SextantError: refused,
    RequestError: refused,
    HTTPException: refused_by_litestar,
    Exception: failed,
}


def _invalid_parameter(request: AnyRequest, error: ValidationException) -> InvalidInput:
    """The first of the parameters that Litestar found wrong."""
    if missing := _MISSING.search(error.detail):
        return InvalidInput(missing["name"], "is missing")
    found = error.extra[0] if isinstance(error.extra, list) and error.extra else {}
    field = str(found.get("key", "request"))
    message = msgspec.ValidationError(found.get("message", error.detail))
    parameter = request.route_handler.parsed_fn_signature.parameters.get(field)
    _, reason = explained(message, None if parameter is None else parameter.annotation)
    if parameter is not None and isinstance(parameter.kwarg_definition, ParameterKwarg):
        field = parameter.kwarg_definition.name or field
    # Everything in a URL is a string, so that is not what is wrong with it.
    return InvalidInput(field, reason.removesuffix(", not a string"))


def _response(answer: Answer) -> Response[bytes]:
    return Response(
        answer.body,
        status_code=answer.status,
        media_type=answer.media_type.decode(),
        headers={name.decode(): value.decode() for name, value in answer.headers},
    )
