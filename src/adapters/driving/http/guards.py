"""What stands before every Litestar route of the API: a key, and a query string that says only what is known."""

from collections.abc import Collection
from typing import Any, TypeVar

import msgspec
from litestar import Request
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.enums import ParamType
from litestar.handlers import BaseRouteHandler
from litestar.params import ParameterKwarg, SkipValidation

from adapters.driving.http.auth import authenticate
from adapters.driving.http.json_text import decode_body
from adapters.driving.http.media_type import check_json
from adapters.driving.http.query_string import parse_query
from adapters.runtime.telemetry import PrometheusTelemetry
from core.domain.tenants import Principal
from ports.driven.clock import Clock
from ports.driving.services import Services

T = TypeVar("T")

ApiRequest = Request[Principal, None, State]
ServicesDependency = NamedDependency[SkipValidation[Services]]
ClockDependency = NamedDependency[SkipValidation[Clock]]
TelemetryDependency = NamedDependency[SkipValidation[PrometheusTelemetry]]


async def authenticated(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Sets ``request.user`` to the caller's `Principal`; raises what `authenticate` and `parse_query` do."""
    services: Services = connection.app.state.services
    scope = connection.scope
    scope["user"] = await authenticate(services.authentication, dict(scope["headers"]))
    known_query(connection, handler)


def known_query(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Raises what `parse_query` does."""
    single, repeatable = _query_parameters(handler)
    parse_query(connection.scope["query_string"], single=single, repeatable=repeatable)


async def json_body(request: ApiRequest, decoder: msgspec.json.Decoder[T]) -> T:
    """The request's body as a value; raises `RequestError`, `InvalidInput` and `TooLarge`."""
    check_json(dict(request.scope["headers"]))
    return decode_body(decoder, await request.body())


async def optional_json_body(request: ApiRequest, decoder: msgspec.json.Decoder[T]) -> T | None:
    """The same, where a request may come without a body: None."""
    if not await request.body():
        return None
    return await json_body(request, decoder)


def _query_parameters(handler: BaseRouteHandler) -> tuple[Collection[str], Collection[str]]:
    """Names that may be given once, and names that may repeat."""
    single: set[str] = set()
    repeatable: set[str] = set()
    for name, field in handler.parsed_fn_signature.parameters.items():
        parameter = field.kwarg_definition
        if field.is_di_field or not isinstance(parameter, ParameterKwarg) or parameter.param_type != ParamType.QUERY:
            continue
        several = any(option.is_non_string_collection for option in (field, *field.inner_types))
        (repeatable if several else single).add(parameter.name or name)
    return single, repeatable
