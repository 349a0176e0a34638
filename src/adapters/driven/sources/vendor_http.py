"""Asking a vendor over HTTP: paced, within a budget, tried again where that helps, and read strictly.

Theory of operation. One request is up to `TRIES_MAX` tries, each of which spends from the `CallBudget` and has a time
limit. What may pass (no answer, half an answer, 408, 425, 429, 5xx, and what the vendor itself says may pass) is tried
again after what the vendor asks for, where that is no more than `WAIT_S_MAX`, else after a random time of up to twice
the last one ("full jitter", https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/). Redirects are
never followed: the address after one was checked by nobody, and the credentials would travel along.
"""

import math
import random
from collections.abc import Callable, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from adapters.driven.notification_http import retry_after_s
from adapters.driven.sources.call_budget import CallBudget
from adapters.driven.sources.surroundings import RESPONSE_BYTES_MAX
from adapters.driven.sources.vendor_failures import AnswerTooLarge, Refusal, VendorFailed, usual_refusal
from adapters.driven.sources.vendor_json import NotAsDocumented, TooManyValues, decoded
from adapters.runtime.outbound import OutboundClient, OutboundFailed, OutboundRefused, OutboundReply
from core.domain.collection import Problem, ProblemKind
from ports.driven.clock import Clock
from ports.driven.metric_source import SourceError
from ports.driven.pause import Pause

T = TypeVar("T")

TRIES_MAX: Final = 4
"""Four tries outlast a restart at the vendor; the next run begins soon anyway."""
WAIT_S_MAX: Final = 60.0
"""A run that waits holds its claim; a vendor that wants more time gets it until the next run."""
BACKOFF_S: Final = 1.0
"""The longest first wait where the vendor names none; each is at most twice the one before."""
TIMEOUT_S: Final = 30.0
"""Of one try: vendors give up on a query themselves after about as long."""
URL_QUERY_CHARS_MAX: Final = 4_000
"""Of what stands after the `?`; proxies commonly take 8 KiB of a URL."""
MESSAGE_CHARS_MAX: Final = 400
SKEW_S_TOLD: Final = 60.0
"""A clock that is further off moves points out of the windows that are asked for."""


class Vendor(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """How one vendor is addressed and understood."""

    name: str
    """As problems call it."""
    base_url: str
    """Without a slash at the end."""
    headers: Mapping[str, str]
    secrets: tuple[str, ...]
    """Never repeated in a problem."""
    explain: Callable[[OutboundReply], Refusal | None] = lambda _: None
    """What an answer that is not 2xx means at this vendor; None: what it means anywhere."""
    reset_header: str | None = None
    """In lower case: says in how many seconds the rate limit ends, whatever it was that a request met; so it is obeyed
    with 429 only."""
    timeout_s: float = TIMEOUT_S


class VendorHttp:
    """Requests to one vendor in one run. Not for concurrent calls."""

    def __init__(
        self,
        vendor: Vendor,
        client: OutboundClient,
        budget: CallBudget,
        clock: Clock,
        pause: Pause,
        *,
        jitter: Callable[[float, float], float] = random.uniform,
    ) -> None:
        """`client` is made with `RESPONSE_BYTES_MAX`; `jitter` draws from a range."""
        self.vendor = vendor
        self._client = client
        self._budget = budget
        self._clock = clock
        self._pause = pause
        self._jitter = jitter
        self._skew_s = 0.0

    async def get(self, path: str, model: type[T], params: Mapping[str, str] | None = None) -> T:
        """What the vendor answers to a GET. Raises `VendorFailed`, `BudgetSpent`."""
        url = f"{self.vendor.base_url}{path}"
        return await self._asked("GET", f"{url}?{_encoded(params)}" if params else url, None, {}, model, _taken)

    async def post(
        self, path: str, model: type[T], body: bytes, kind: str, judge: Callable[[T], Refusal | None] | None = None
    ) -> T:
        """What it answers to a POST of a body of media type `kind`; `judge` finds refusals in answers of status 200."""
        url, headers = f"{self.vendor.base_url}{path}", {"Content-Type": kind}
        return await self._asked("POST", url, body, headers, model, judge or _taken)

    async def form(self, path: str, model: type[T], params: Mapping[str, str]) -> T:
        """A GET, or a POST of a form where the parameters are too long for a URL."""
        if len(_encoded(params)) <= URL_QUERY_CHARS_MAX:
            return await self.get(path, model, params)
        return await self.post(path, model, _encoded(params).encode(), "application/x-www-form-urlencoded")

    def clock_note(self) -> str:
        """A sentence on the vendor's clock where it differs from ours by more than `SKEW_S_TOLD`, else nothing."""
        if abs(self._skew_s) <= SKEW_S_TOLD:
            return ""
        which = "ahead of" if self._skew_s > 0 else "behind"
        return (
            f" Its clock is {round(abs(self._skew_s))} s {which} this server's: the windows asked for are off by that."
        )

    def failure(self, kind: ProblemKind, message: str) -> VendorFailed:
        """The failure with that text, without any secret that the vendor may have repeated."""
        return VendorFailed(Problem(kind=kind, message=self._clean(message)))

    async def _asked(
        self,
        method: str,
        url: str,
        body: bytes | None,
        headers: Mapping[str, str],
        model: type[T],
        judge: Callable[[T], Refusal | None],
    ) -> T:
        for tried in range(1, TRIES_MAX + 1):
            await self._budget.spend()
            outcome = await self._tried(method, url, body, headers, model)
            refusal = outcome if isinstance(outcome, Refusal) else judge(outcome)
            if not isinstance(outcome, Refusal) and refusal is None:
                return outcome
            assert refusal is not None
            if not refusal.again or tried == TRIES_MAX:
                raise self._failed(refusal, f" ({tried} tries)" if tried > 1 else "")
            wait_s = refusal.wait_s
            if wait_s is not None and wait_s > WAIT_S_MAX:
                raise self._failed(refusal, f"; it asks to wait {math.ceil(wait_s)} s, which is left to the next run")
            await self._pause.sleep(self._jitter(0.0, BACKOFF_S * 2 ** (tried - 1)) if wait_s is None else wait_s)
        raise AssertionError("the last try returns or raises")

    async def _tried(
        self, method: str, url: str, body: bytes | None, headers: Mapping[str, str], model: type[T]
    ) -> T | Refusal:
        name = self.vendor.name
        try:
            reply = await self._client.request(
                method,
                url,
                headers={"Accept": "application/json", **self.vendor.headers, **headers},
                body=body,
                timeout_s=self.vendor.timeout_s,
            )
        except OutboundRefused as error:
            return Refusal(kind=ProblemKind.CONFIGURATION, message=f"{name} is not asked: {error.reason}")
        except OutboundFailed as error:
            return Refusal(kind=ProblemKind.UNREACHABLE, message=f"{name}: {error.reason}", again=True)
        self._note_clock(reply)
        if not 200 <= reply.status < 300:
            return self._refused(reply)
        if not reply.complete:
            if len(reply.body) >= RESPONSE_BYTES_MAX:
                said = f"{name} answered more than {RESPONSE_BYTES_MAX >> 20} MiB: narrow the query"
                return Refusal(kind=ProblemKind.BAD_ANSWER, message=said, too_large=True)
            said = f"{name} broke off in the middle of its answer"
            return Refusal(kind=ProblemKind.BAD_ANSWER, message=said, again=True)
        try:
            return decoded(reply.body, model)
        except NotAsDocumented as error:
            return Refusal(
                kind=ProblemKind.BAD_ANSWER,
                message=f"{name} answered what is not documented: {error}",
                too_large=isinstance(error, TooManyValues),
            )

    def _refused(self, reply: OutboundReply) -> Refusal:
        refusal = self.vendor.explain(reply) or usual_refusal(self.vendor.name, reply.status)
        if not refusal.again or refusal.wait_s is not None:
            return refusal
        asked = retry_after_s(reply.headers.get("retry-after"), self._clock.now_us() / 1e6)
        if asked is None and self.vendor.reset_header is not None and reply.status == 429:
            asked = retry_after_s(reply.headers.get(self.vendor.reset_header), self._clock.now_us() / 1e6)
        return msgspec.structs.replace(refusal, wait_s=asked)

    def _failed(self, refusal: Refusal, note: str) -> VendorFailed:
        problem = Problem(kind=refusal.kind, message=self._clean(refusal.message) + note)
        return AnswerTooLarge(problem) if refusal.too_large else VendorFailed(problem)

    def _clean(self, message: str) -> str:
        for secret in self.vendor.secrets:
            message = message.replace(secret, "…")
        return "".join(each if each.isprintable() else " " for each in message[:MESSAGE_CHARS_MAX]).strip()

    def _note_clock(self, reply: OutboundReply) -> None:
        try:
            theirs = parsedate_to_datetime(reply.headers.get("date", ""))
        except (ValueError, OverflowError):
            return
        theirs = theirs if theirs.tzinfo else theirs.replace(tzinfo=UTC)
        self._skew_s = theirs.timestamp() - self._clock.now_us() / 1e6


def base_address(url: str) -> str:
    """An address from a configuration as `Vendor.base_url`; raises `SourceError`."""
    if "?" in url or "#" in url:
        raise SourceError(ProblemKind.CONFIGURATION, "the address must not have a query (?…) or a fragment (#…)")
    return url.rstrip("/")


def _taken(_: object) -> Refusal | None:
    return None


def _encoded(params: Mapping[str, str]) -> str:
    return urlencode(params, quote_via=quote, safe="")
