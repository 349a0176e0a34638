"""Calls to AWS: aiobotocore makes, signs and reads them; the way they take is Sextant's own.

Theory of operation. botocore offers each signed request to the handlers of ``before-send`` before it connects by
itself; ours sends it through the `OutboundClient`, so that addresses are guarded, bodies bounded, redirects not
followed, and no proxy of this machine is used. Repeats are made here, not by botocore: each is paid from the budget.

A tenant that is not trusted gets a session that reads nothing of this machine: no environment variable, no file, no
profile, no metadata service. It has the credentials that it was given, or none.
"""

import os
from collections.abc import Mapping
from contextlib import AsyncExitStack
from functools import cache
from typing import Any, Final, Literal, TypeVar

import msgspec
from aiobotocore.awsrequest import AioAWSResponse
from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession
from botocore.awsrequest import AWSPreparedRequest, HeadersDict
from botocore.configprovider import BOTOCORE_DEFAUT_SESSION_VARIABLES
from botocore.exceptions import BotoCoreError, ClientError
from botocore.loaders import Loader
from botocore.parsers import ResponseParserError

from adapters.driven.sources.call_budget import CallBudget
from adapters.driven.sources.cloudwatch_failures import AnswerCut, AwsFailure, failure_of
from adapters.driven.sources.surroundings import RESPONSE_BYTES_MAX
from adapters.driven.sources.vendor_json import VALUES_MAX
from adapters.runtime.outbound import OutboundClient, OutboundFailed, OutboundRefused
from ports.driven.metric_source import SourceError
from ports.driven.pause import Pause

ATTEMPTS_MAX: Final = 4
"""AWS advises to repeat throttled calls; what does not pass within some seconds will be tried by the next run."""
BACKOFF_FIRST_S: Final = 1.0
"""Doubled with each attempt; the quotas are counted by the second."""
CALL_S: Final = 60.0
"""100,800 points take some seconds to come; the same as botocore's own limit."""

T = TypeVar("T")
Service = Literal["cloudwatch", "ec2"]
_HEADERS_OF_TRANSPORT: Final = frozenset({"host", "content-length", "transfer-encoding", "accept-encoding", "expect"})
"""They say how a message is framed, which is the client's own to say; `host` is the address that was signed."""


_CALL_ERRORS: Final = (ClientError, BotoCoreError, OutboundFailed, OutboundRefused, AnswerCut)
_READING_ERRORS: Final = (
    ResponseParserError,
    msgspec.ValidationError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    RecursionError,
)
"""botocore takes an answer apart without looking at its shape first, and fails in any of these ways."""


class AwsAccount:
    """One account in one region. For one event loop, one call at a time; closes its clients with the block."""

    def __init__(
        self,
        *,
        region: str,
        credentials: Mapping[str, str],
        endpoint_url: str | None,
        trusted: bool,
        outbound: OutboundClient,
        budget: CallBudget,
        pause: Pause,
    ) -> None:
        """`credentials` by their names in `CREDENTIALS`; none are AWS's standard chain, for trusted tenants only."""
        if not trusted and "access_key_id" not in credentials:
            raise ValueError("a tenant that is not trusted has credentials of its own")
        self._session = AioSession() if trusted else _sealed_off_session()
        self._session.register_component("data_loader", _models())
        self._session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=_as_it_is)
        self._options = {
            "region_name": region,
            "endpoint_url": endpoint_url,
            "aws_access_key_id": credentials.get("access_key_id"),
            "aws_secret_access_key": credentials.get("secret_access_key"),
            "aws_session_token": credentials.get("session_token"),
            "config": AioConfig(
                retries={"mode": "standard", "total_max_attempts": 1},
                ignore_configured_endpoint_urls=not trusted,
                defaults_mode="legacy",
            ),
        }
        self._outbound = outbound
        self._budget = budget
        self._pause = pause
        self._clients: dict[Service, Any] = {}
        self._opened = AsyncExitStack()

    async def __aenter__(self) -> "AwsAccount":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._opened.aclose()

    async def call(
        self, service: Service, operation: str, parameters: Mapping[str, Any], model: type[T], *, cost_usd: float = 0.0
    ) -> T:
        """The answer to one call, such as ``get_metric_data``; instants in it are seconds since the Unix epoch.

        Fields that `model` lacks are passed over.

        Raises `SourceError`, or `BudgetSpent`.
        """
        attempt = 1
        while True:
            await self._budget.spend(calls=1, cost_usd=cost_usd)
            outcome = await self._attempt(service, operation, parameters, model)
            if not isinstance(outcome, AwsFailure):
                return outcome
            if not outcome.retryable or attempt == ATTEMPTS_MAX:
                times = f" (asked {attempt} times)" if attempt > 1 else ""
                raise SourceError(outcome.kind, outcome.message + times)
            await self._pause.sleep(BACKOFF_FIRST_S * 2 ** (attempt - 1))
            attempt += 1

    async def _attempt(
        self, service: Service, operation: str, parameters: Mapping[str, Any], model: type[T]
    ) -> T | AwsFailure:
        try:
            client = await self._client(service)
            return msgspec.convert(await getattr(client, operation)(**parameters), model)
        except (*_CALL_ERRORS, *_READING_ERRORS) as error:
            return failure_of(error, operation)

    async def _client(self, service: Service) -> Any:
        if service not in self._clients:
            client = await self._opened.enter_async_context(self._session.create_client(service, **self._options))
            client.meta.events.register("before-send", self._send)
            self._clients[service] = client
        return self._clients[service]

    async def _send(self, request: AWSPreparedRequest, **_: object) -> AioAWSResponse:
        headers = {
            name: value.decode("latin-1") if isinstance(value, bytes) else str(value)
            for name, value in request.headers.items()
            if name.lower() not in _HEADERS_OF_TRANSPORT
        }
        body = request.body.encode() if isinstance(request.body, str) else request.body
        reply = await self._outbound.request(request.method, request.url, headers=headers, body=body, timeout_s=CALL_S)
        if not reply.complete:
            raise AnswerCut(too_large=len(reply.body) >= RESPONSE_BYTES_MAX)
        if reply.body.count(b",") > VALUES_MAX:
            raise AnswerCut(too_large=True)
        return AioAWSResponse(request.url, reply.status, HeadersDict(reply.headers), _Body(reply.body))


class _Body:
    """A body that has been read, as `AioAWSResponse` reads one."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    async def read(self) -> bytes:
        return self._content


@cache
def _models() -> Loader:
    """AWS's descriptions of its services, which take a third of a second to read; they never change, and none of them
    is this machine's own."""
    return Loader(extra_search_paths=[Loader.BUILTIN_DATA_PATH], include_default_search_paths=False)


def _sealed_off_session() -> AioSession:
    """A session whose every setting is botocore's default, whatever this machine's environment and files say."""
    variables = {
        name: (None, None, default, conversion)
        for name, (_, _, default, conversion) in BOTOCORE_DEFAUT_SESSION_VARIABLES.items()
    }
    for name in ("config_file", "credentials_file"):
        variables[name] = (None, None, os.devnull, None)
    return AioSession(variables)


def _as_it_is(value: T) -> T:
    """An instant as it stands in the answer; botocore would make datetimes of them all, in this machine's zone."""
    return value
