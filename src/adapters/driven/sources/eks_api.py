"""Listing what a cluster has: paged, within the budget, asked again where that helps, and read object by object.

    ListFailed              one listing cannot be had, others may; carries a `Problem`
    SourceError             the API server does not know us: nothing can be had

Of a list the API server gives pages by ``limit`` and ``continue``; a token that is too old (410) begins the list anew.
https://kubernetes.io/docs/reference/using-api/api-concepts/#retrieving-large-results-sets-in-chunks
"""

import asyncio
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Generic, TypeVar

import aiohttp
import msgspec

from adapters.driven.actions.kubernetes_api import ApiCaller
from adapters.driven.actions.shown import shown
from adapters.driven.notification_http import retry_after_s
from adapters.driven.sources.call_budget import CallBudget
from adapters.driven.sources.surroundings import RESPONSE_BYTES_MAX
from adapters.driven.sources.vendor_failures import Refusal
from core.domain.collection import Problem, ProblemKind
from ports.driven.clock import Clock
from ports.driven.metric_source import SourceError
from ports.driven.pause import Pause

OBJECTS_PER_PAGE: Final = 250
"""A pod is some 10 KB with all that manages its fields, so a page is some megabytes."""
PAGES_MAX: Final = 1_000
"""250,000 objects: more than Kubernetes' own limit of pods in a cluster."""
BEGUN_ANEW_MAX: Final = 3
"""A token lasts five minutes; a list that does not come in that time three times over will not come."""
TRIES_MAX: Final = 4
WAIT_S_MAX: Final = 60.0
CALL_S: Final = 30.0
"""Lists come in a second; the API server itself gives up after 60."""
SAID_CHARS_MAX: Final = 300

_NAMESPACE = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\Z", re.ASCII)

T = TypeVar("T")


class Listing(msgspec.Struct, frozen=True):
    """One kind of object."""

    group: str
    """Empty for the core."""
    version: str
    plural: str

    def path(self, namespace: str | None) -> str:
        """Of those in a namespace, or of all."""
        api = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        return f"{api}/{self.plural}" if namespace is None else f"{api}/namespaces/{namespace}/{self.plural}"

    @property
    def right(self) -> str:
        """As a role names it."""
        return f"list {self.plural}{f' of API group {self.group}' if self.group else ''}"

    def __str__(self) -> str:
        return f"{self.plural}{f' of {self.group}' if self.group else ''}"


class ListFailed(Exception):
    """A listing that cannot be had."""

    def __init__(self, kind: ProblemKind, message: str) -> None:
        super().__init__(message)
        self.problem = Problem(kind=kind, message=message)


class Listed(msgspec.Struct, Generic[T], frozen=True):
    """Objects, and how many others could not be read."""

    objects: Sequence[T]
    unreadable: int


def check_namespaces(namespaces: Iterable[str]) -> None:
    """Raises `SourceError` unless all can stand in a path, and between quotes."""
    for namespace in namespaces:
        if not _NAMESPACE.match(namespace):
            message = f"{namespace[:64]!r} is not a name that Kubernetes has (RFC 1123)"
            raise SourceError(ProblemKind.CONFIGURATION, message)


class _ListMeta(msgspec.Struct):
    go_on: str = msgspec.field(default="", name="continue")


class _Page(msgspec.Struct):
    items: list[msgspec.Raw] | None
    """None is what Go writes for no items; without the field it is no list."""
    metadata: _ListMeta = msgspec.field(default_factory=_ListMeta)


class _Status(msgspec.Struct):
    message: str = ""


class _Expired(Exception):
    """The token of a page is too old."""


class ClusterLists:
    """Listings of one cluster. Not for concurrent calls."""

    def __init__(self, client: ApiCaller, budget: CallBudget, clock: Clock, pause: Pause) -> None:
        self._client = client
        self._clock = clock
        self._budget = budget
        self._pause = pause

    async def all(
        self, listing: Listing, namespace: str | None, of: type[T], read: Callable[[type[Any], Any], Any] | None = None
    ) -> Listed[T]:
        """All objects of a kind, of a namespace that was checked; `read` decodes what msgspec does not know.

        Raises `ListFailed`, `SourceError`, `BudgetSpent`.
        """
        decoder = msgspec.json.Decoder(of, dec_hook=read)
        for _ in range(BEGUN_ANEW_MAX):
            try:
                return await self._pages(listing, namespace, decoder)
            except _Expired:
                continue
        message = f"the cluster changes too fast to {listing.right}: each list expired before it was read"
        raise ListFailed(ProblemKind.UNREACHABLE, message)

    async def _pages(self, listing: Listing, namespace: str | None, decoder: msgspec.json.Decoder[T]) -> Listed[T]:
        objects: list[T] = []
        unreadable, token = 0, ""
        for _ in range(PAGES_MAX):
            page = await self._page(listing, namespace, token)
            for raw in page.items or ():
                try:
                    objects.append(decoder.decode(raw))
                except (msgspec.DecodeError, RecursionError):
                    unreadable += 1
            token = page.metadata.go_on
            if not token:
                return Listed(objects, unreadable)
        raise ListFailed(ProblemKind.BAD_ANSWER, f"there are more than {PAGES_MAX} pages of {listing.plural}")

    async def _page(self, listing: Listing, namespace: str | None, token: str) -> _Page:
        for tried in range(1, TRIES_MAX + 1):
            await self._budget.spend()
            outcome = await self._tried(listing, namespace, token)
            if isinstance(outcome, _Page):
                return outcome
            if not outcome.again or tried == TRIES_MAX:
                if outcome.kind is ProblemKind.CREDENTIALS:
                    raise SourceError(outcome.kind, outcome.message)
                raise ListFailed(outcome.kind, outcome.message)
            await self._pause.sleep(min(2.0 ** (tried - 1) if outcome.wait_s is None else outcome.wait_s, WAIT_S_MAX))
        raise AssertionError("the last try returns or raises")

    async def _tried(self, listing: Listing, namespace: str | None, token: str) -> _Page | Refusal:
        query = [("limit", str(OBJECTS_PER_PAGE)), *([("continue", token)] if token else [])]
        try:
            async with asyncio.timeout(CALL_S):
                response = await self._client.call_api(
                    listing.path(namespace),
                    "GET",
                    query_params=query,
                    header_params={"Accept": "application/json"},
                    body=None,
                    auth_settings=["BearerToken"],
                    _preload_content=False,
                )
                async with response:
                    content = await _bounded(response)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            said = f"the Kubernetes API server cannot be reached ({type(error).__name__})"
            return Refusal(kind=ProblemKind.UNREACHABLE, message=said, again=True)
        if response.history:
            return Refusal(kind=ProblemKind.BAD_ANSWER, message="the Kubernetes API server redirects elsewhere")
        if response.status == 410 and token:
            raise _Expired
        if response.status != 200:
            retry_after, now_s = response.headers.get("Retry-After"), self._clock.now_us() / 1e6
            return _refused(listing, namespace, response.status, retry_after, content or b"", now_s)
        if content is None:
            said = f"a page of {listing.plural} is larger than {RESPONSE_BYTES_MAX >> 20} MiB"
            return Refusal(kind=ProblemKind.BAD_ANSWER, message=said)
        try:
            return msgspec.json.decode(content, type=_Page)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return Refusal(kind=ProblemKind.BAD_ANSWER, message=f"the list of {listing.plural} cannot be read")


async def _bounded(response: aiohttp.ClientResponse) -> bytes | None:
    """The body, or None where it is longer than may be."""
    received = bytearray()
    async for chunk in response.content.iter_any():
        received += chunk
        if len(received) > RESPONSE_BYTES_MAX:
            response.close()
            return None
    return bytes(received)


def _refused(
    listing: Listing, namespace: str | None, status: int, retry_after: str | None, content: bytes, now_s: float
) -> Refusal:
    """What a status means, by the Kubernetes API conventions."""
    try:
        said = shown(msgspec.json.decode(content, type=_Status).message, chars_max=SAID_CHARS_MAX)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        said = ""
    where = "in all namespaces" if namespace is None else f"in namespace {namespace}"
    answered = f"the Kubernetes API server answered {status}{f': {said}' if said else ''}"
    match status:
        case 401:
            message = "the Kubernetes API server does not know the credentials of EKS_KUBECONFIG_PATH or of this pod"
            return Refusal(kind=ProblemKind.CREDENTIALS, message=message)
        case 403:
            message = f"the cluster role of Sextant lacks the right to {listing.right} {where}"
            return Refusal(kind=ProblemKind.PERMISSION, message=message)
        case 404 if listing.group == "metrics.k8s.io":
            message = "the cluster does not serve metrics.k8s.io; metrics-server, which does, is not installed"
            return Refusal(kind=ProblemKind.NO_DATA, message=message)
        case 404:
            return Refusal(kind=ProblemKind.NO_DATA, message=f"the cluster does not serve {listing.plural}")
        case 429 | 500 | 502 | 503 | 504:
            wait_s = retry_after_s(retry_after, now_s)
            kind = ProblemKind.RATE_LIMITED if status == 429 else ProblemKind.UNREACHABLE
            return Refusal(kind=kind, message=answered, again=True, wait_s=wait_s)
        case _:
            return Refusal(kind=ProblemKind.BAD_ANSWER, message=answered)
