"""The sender's side of the ingest API: batches go out, each reply is one of four things.

    Stored              2xx: what was kept and, by index, what was refused for good
    Refused             a 4xx that the same body will always get
    TryLater            408, 425, 429, 5xx, a time-out, a broken connection: the same body may succeed later
    ConfigurationError  401, 403, 404, 405, a redirect: hopeless until somebody mends key or URL; raised

Every batch carries a hash of its own body as ``Idempotency-Key``, so sending one again, even after a crash of
either side, stores nothing twice.
"""

import asyncio
import email.utils
import errno
import hashlib
import itertools
import os
import random
import ssl
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

import msgspec

from adapters.driving.cli.output import CommandError
from core.domain.points import POINTS_PER_REQUEST_MAX, IngestReply, Point, Rejection

if TYPE_CHECKING:
    import aiohttp

BATCH_PATH: Final = "/api/v1/metrics/ingest/batch"
BODY_BYTES_MAX: Final = 4 << 20
"""Of JSON, before compression: half of what a server takes uncompressed, so no server's limit is ever near."""
ATTEMPT_TIMEOUT_S: Final = 30.0
"""A commit takes milliseconds; a server silent for this long is frozen, and the batch is safe to send again."""
CONNECT_TIMEOUT_S: Final = 5.0
"""Longer than any reachable host takes to answer a connection."""
BACKOFF_S_FIRST: Final = 0.25
BACKOFF_S_MAX: Final = 15.0
"""A server that comes back is found again within this time."""
RETRY_AFTER_S_MAX: Final = 300.0
"""A server that asks for more is probably mistaken; a sender asks again after five minutes."""
REPLY_BYTES_MAX: Final = 1 << 20
"""A reply is twenty errors at most; more comes from something that is not Sextant."""
REASON_CHARS_MAX: Final = 300
"""What a person reads of an error page."""

_LATER: Final = frozenset({408, 425, 429})
_MISCONFIGURED: Final = frozenset({401, 403, 404, 405})


class Target(msgspec.Struct, frozen=True):
    """Where to send, and with which key."""

    url: str
    key: str

    def __repr__(self) -> str:
        return f"Target({self.url!r}, …)"


class Batch(msgspec.Struct, frozen=True):
    """One request's body, ready for the wire (JSON, zstd), and how many metrics it holds."""

    body: bytes
    points: int

    def idempotency_key(self, salt: bytes = b"") -> str:
        """The same for the same body and salt, on every machine."""
        return hashlib.blake2b(self.body, digest_size=16, key=salt).hexdigest()


class Stored(msgspec.Struct, frozen=True):
    """The server has it: `rejected` of the metrics were refused, the first of them named in `errors`."""

    accepted: int
    rejected: int
    errors: tuple[Rejection, ...]


class Refused(msgspec.Struct, frozen=True):
    """Nothing was stored and nothing ever will be of this body."""

    status: int
    reason: str
    errors: tuple[Rejection, ...] = ()


class TryLater(msgspec.Struct, frozen=True):
    """Nothing is known to be stored; `retry_after_s` is the server's wish, where it has one."""

    reason: str
    retry_after_s: float | None = None


class ConfigurationError(CommandError):
    """The key or the URL is wrong; says which, and what the server said."""


class GaveUpError(CommandError):
    """The server did not take a batch for as long as the caller was ready to wait."""


Outcome = Stored | Refused | TryLater
Decided = TypeVar("Decided")


def encode_batches(points: Sequence[Point]) -> Iterator[Batch]:
    """Bodies that hold `points` in order, each within the API's count and `BODY_BYTES_MAX` (a single larger
    one alone).
    """
    import cramjam

    for start in range(0, len(points), POINTS_PER_REQUEST_MAX):
        part = points[start : start + POINTS_PER_REQUEST_MAX]
        body = msgspec.json.encode({"metrics": part})
        if len(body) > BODY_BYTES_MAX and len(part) > 1:
            middle = len(part) // 2
            yield from encode_batches(part[:middle])
            yield from encode_batches(part[middle:])
        else:
            yield Batch(bytes(cramjam.zstd.compress(body, level=1)), len(part))


def backoff_s(attempt: int, retry_after_s: float | None) -> float:
    """How long to wait after failure number `attempt` (from 0): the server's wish, else doubling; spread by chance."""
    spread = random.random()  # noqa: S311 (keeps senders apart; no secret)
    if retry_after_s is not None:
        return min(retry_after_s, RETRY_AFTER_S_MAX) * (1.0 + 0.1 * spread)
    ceiling_s: float = min(BACKOFF_S_MAX, BACKOFF_S_FIRST * 2.0 ** min(attempt, 16))
    return ceiling_s * (0.5 + 0.5 * spread)


class Patience:
    """Repeats what may succeed later, within bounds; the one owner of retries of whoever uses it."""

    def __init__(self, give_up_after_s: float, on_failure: Callable[[TryLater, float], None] | None = None) -> None:
        """`give_up_after_s` is for one thing to be decided; `on_failure` hears of each failure and wait."""
        self._give_up_after_s = give_up_after_s
        self._on_failure = on_failure

    async def until_decided(self, attempt: Callable[[], Awaitable[Decided | TryLater]]) -> Decided:
        """What `attempt` comes to; raises `GaveUpError` where the next wait would end too late."""
        started_s = time.monotonic()
        for failures in itertools.count():
            outcome = await attempt()
            if not isinstance(outcome, TryLater):
                return outcome
            wait_s = backoff_s(failures, outcome.retry_after_s)
            if time.monotonic() - started_s + wait_s > self._give_up_after_s:
                raise GaveUpError(f"no success for {self._give_up_after_s:g} s: {outcome.reason}")
            if self._on_failure is not None:
                self._on_failure(outcome, wait_s)
            await asyncio.sleep(wait_s)
        raise AssertionError("unreachable: counting does not end")


class IngestClient:
    """A connection pool to one server; an async context manager. Safe to use from several tasks of one loop."""

    def __init__(
        self,
        target: Target,
        *,
        attempt_timeout_s: float = ATTEMPT_TIMEOUT_S,
        reply_bytes_max: int = REPLY_BYTES_MAX,
        salt: bytes = b"",
    ) -> None:
        self._target = target
        self._attempt_timeout_s = attempt_timeout_s
        self._reply_bytes_max = reply_bytes_max
        self._salt = salt
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        import aiohttp

        self._session = aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {self._target.key}"},
            timeout=aiohttp.ClientTimeout(total=self._attempt_timeout_s, sock_connect=CONNECT_TIMEOUT_S),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def send(self, batch: Batch) -> Outcome:
        """One attempt; raises `ConfigurationError`."""
        answer = await self.request(
            "POST",
            BATCH_PATH,
            body=batch.body,
            headers={"Content-Encoding": "zstd", "Idempotency-Key": batch.idempotency_key(self._salt)},
        )
        return answer if isinstance(answer, TryLater) else _outcome(answer, self._target)

    async def deliver(self, batch: Batch, patience: "Patience") -> Stored | Refused:
        """Sends until the server has decided; raises `ConfigurationError`, `GaveUpError`."""
        return await patience.until_decided(lambda: self.send(batch))

    async def request(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        parameters: Sequence[tuple[str, str]] = (),
    ) -> "Answer | TryLater":
        """One attempt at any route of the API, with a JSON body where there is one."""
        import aiohttp

        if self._session is None:
            raise RuntimeError("the client is used outside its `async with`")
        sent = dict(headers or {})
        if body is not None:
            sent["Content-Type"] = "application/json"
        try:
            async with self._session.request(
                method,
                self._target.url.rstrip("/") + path,
                data=body,
                headers=sent,
                params=list(parameters),
                allow_redirects=False,
            ) as response:
                answer = Answer(response.status, await _beginning(response.content, self._reply_bytes_max))
                later = answer.status in _LATER or answer.status >= 500
                return TryLater(answer.reason, _retry_after_s(response.headers)) if later else answer
        except aiohttp.InvalidURL as error:
            raise ConfigurationError(f"{self._target.url} is not a URL such as http://127.0.0.1:8000") from error
        except TimeoutError:
            return TryLater(f"no reply within {self._attempt_timeout_s:g} s")
        except aiohttp.ClientConnectorError as error:
            return TryLater(_unconnected(error))
        except (aiohttp.ClientError, OSError) as error:
            return TryLater(str(error) or type(error).__name__)


class Answer(msgspec.Struct, frozen=True):
    """A reply that is final."""

    status: int
    body: bytes

    @property
    def document(self) -> dict[str, Any]:
        """The JSON object of the body, or nothing where there is none."""
        try:
            return msgspec.json.decode(self.body, type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeDecodeError):
            return {}

    @property
    def reason(self) -> str:
        """What a problem document says, or the beginning of whatever was sent instead."""
        problem = self.document
        said = problem.get("detail") or problem.get("title") or self.body.decode("utf-8", "replace").strip()
        return f"{self.status} {str(said)[:REASON_CHARS_MAX]}".rstrip()


async def _beginning(content: "aiohttp.StreamReader", bytes_max: int) -> bytes:
    """Up to `bytes_max` of a body; a single read gives no more than has arrived."""
    read = bytearray()
    while len(read) < bytes_max and (part := await content.read(bytes_max - len(read))):
        read += part
    return bytes(read)


def _outcome(answer: Answer, target: Target) -> Stored | Refused:
    match answer.status:
        case 200 | 201 | 202 | 204:
            reply = _reply(answer)
            if reply is None:
                raise ConfigurationError(f"{target.url} answered 2xx, but not as Sextant does: {answer.reason}")
            return Stored(reply.accepted, reply.rejected, reply.errors)
        case status if status in _MISCONFIGURED or 300 <= status < 400:
            raise ConfigurationError(advice(answer, target))
        case status:
            reply = _reply(answer)
            return Refused(status, answer.reason, reply.errors if reply is not None else ())


def _reply(answer: Answer) -> IngestReply | None:
    """The ingest reply; a refusal of all metrics carries one beside its problem members."""
    try:
        return msgspec.json.decode(answer.body, type=IngestReply)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def advice(answer: Answer, target: Target) -> str:
    """What to mend after an answer that no repetition changes."""
    match answer.status:
        case 401:
            mend = "the API key is unknown, expired or revoked; `sextant key list` shows those that exist"
        case 403:
            mend = "the API key may not do this"
        case _:
            mend = "the URL does not lead to a Sextant server"
    return f"{target.url}: {mend} ({answer.reason})"


def _unconnected(error: "aiohttp.ClientConnectorError") -> str:
    """Why nobody could be talked to, and what may mend it."""
    reason = error.os_error
    code = reason.errno
    if isinstance(reason, ssl.SSLError) or code is None or code not in errno.errorcode:  # no TLS there, an unknown name
        return str(error)
    return f"{os.strerror(code)}; is `sextant serve` running there?"


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds from a ``Retry-After`` of either form (RFC 9110, 10.2.3); None where there is none that can be read."""
    said = headers.get("Retry-After")
    if said is None:
        return None
    try:
        return max(0.0, float(said))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(said).timestamp() - time.time())
    except ValueError:
        return None
