"""Reading bodies: bounded in bytes, in inflated bytes and in time."""

import asyncio
import gzip
from collections.abc import Callable, Iterable, Mapping

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from litestar.types import HTTPReceiveMessage

from adapters.driving.http import body as body_module
from adapters.driving.http.asgi import HttpReceive
from adapters.driving.http.body import BodyLimits, ClientGoneError, RequestBody
from adapters.driving.http.inflate import MEMBERS_MAX, zstd
from adapters.driving.http.problem import RequestError
from core.domain.errors import TooLarge

LIMITS = BodyLimits(sent_bytes_max=1_000, inflated_bytes_max=10_000, timeout_s=5)

Compress = Callable[[bytes], bytes]

encodings = pytest.mark.parametrize(
    ("encoding", "compress"), [(b"gzip", gzip.compress), (b"x-gzip", gzip.compress), (b"zstd", zstd.compress)]
)


def receiving(chunks: Iterable[bytes], *, complete: bool = True) -> HttpReceive:
    """A `receive` that gives these chunks, then the end, or a hang-up."""
    left = list(chunks)

    async def receive() -> HTTPReceiveMessage:
        if left:
            return {"type": "http.request", "body": left.pop(0), "more_body": bool(left) or not complete}
        return {"type": "http.disconnect"}

    return receive


async def read_body(receive: HttpReceive, headers: Mapping[bytes, bytes], limits: BodyLimits) -> bytes:
    """The body, read in one go."""
    return await RequestBody(receive, headers, limits).read()


@given(st.lists(st.binary(max_size=100), min_size=1, max_size=8))
async def test_chunks_are_joined(chunks: list[bytes]) -> None:
    """However a body is cut into pieces, it comes out whole."""
    assert await read_body(receiving(chunks), {}, LIMITS) == b"".join(chunks)


@encodings
async def test_a_compressed_body_is_inflated(encoding: bytes, compress: Compress) -> None:
    """One stream, and several joined ones, give what was compressed."""
    once, twice = compress(b"a" * 5_000), compress(b"one") + compress(b"two")
    assert await read_body(receiving([once]), {b"content-encoding": encoding}, LIMITS) == b"a" * 5_000
    assert await read_body(receiving([twice]), {b"content-encoding": encoding.upper()}, LIMITS) == b"onetwo"


@encodings
async def test_inflating_stops_at_the_limit(encoding: bytes, compress: Compress) -> None:
    """A body of just the limit passes, one byte more does not, and a bomb is not unpacked to find out."""
    headers = {b"content-encoding": encoding}
    assert len(await read_body(receiving([compress(b"a" * 10_000)]), headers, LIMITS)) == 10_000
    for size in (10_001, 900_000):
        with pytest.raises(TooLarge) as refusal:
            await read_body(receiving([compress(b"a" * size)]), headers, LIMITS)
        assert refusal.value.limit == 10_000


@encodings
async def test_a_spoilt_compressed_body_is_refused(encoding: bytes, compress: Compress) -> None:
    """Truncated, corrupt, empty, or followed by something else: a 400 that says so."""
    whole = compress(bytes(range(256)))
    spoilt = [whole[:-5], whole[:4], b"not compressed", b"", whole + b"junk", whole + compress(b"") * MEMBERS_MAX]
    for body in spoilt:
        with pytest.raises(RequestError) as refusal:
            await read_body(receiving([body]), {b"content-encoding": encoding}, LIMITS)
        assert refusal.value.kind.status == 400
        assert "compressed" in str(refusal.value)


async def test_a_zstd_window_past_what_http_allows_is_refused() -> None:
    """A frame that asks for a large window would make the decoder take that much memory."""
    compressor = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: 25})
    body = compressor.compress(b"a" * 100) + compressor.flush()
    with pytest.raises(RequestError, match="memory"):
        await read_body(receiving([body]), {b"content-encoding": b"zstd"}, LIMITS)


@pytest.mark.parametrize("encoding", [b"br", b"deflate", b"gzip, gzip", b"\xff"])
async def test_another_encoding_is_refused(encoding: bytes) -> None:
    """The refusal says which ones are read."""
    with pytest.raises(RequestError) as refusal:
        await read_body(receiving([b""]), {b"content-encoding": encoding}, LIMITS)
    assert refusal.value.kind.status == 415
    assert (b"accept-encoding", b"gzip, zstd, identity") in refusal.value.headers


async def test_a_body_past_the_limit_is_refused_without_being_read() -> None:
    """What declares too much is refused at once; what does not declare it, as soon as it is too much."""
    with pytest.raises(TooLarge) as refusal:
        await read_body(receiving([]), {b"content-length": b"1001"}, LIMITS)
    assert refusal.value.limit == 1_000
    with pytest.raises(TooLarge):
        await read_body(receiving([b"a" * 600, b"a" * 600, b"never read"]), {}, LIMITS)
    with pytest.raises(TooLarge):
        await read_body(receiving([b"a" * 1_001]), {}, LIMITS)
    assert len(await read_body(receiving([b"a" * 1_000]), {b"content-length": b"1000"}, LIMITS)) == 1_000


async def test_a_declared_body_is_done_when_it_is_all_there() -> None:
    """A server that says more is to come after the last byte is not waited for."""
    receive = receiving([b"abc"], complete=False)
    assert await read_body(receive, {b"content-length": b"3"}, LIMITS) == b"abc"


async def test_a_hang_up_is_no_body() -> None:
    """What was sent before the client went away is dropped."""
    with pytest.raises(ClientGoneError):
        await read_body(receiving([b"abc"], complete=False), {}, LIMITS)


async def test_a_body_that_stalls_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a client that sends nothing nor one that stops half-way holds a place for ever."""
    monkeypatch.setattr(body_module, "STALL_GRACE_S", 0.02)
    pieces = iter([b"some"])

    async def receive() -> HTTPReceiveMessage:
        for piece in pieces:
            return {"type": "http.request", "body": piece, "more_body": True}
        await asyncio.Event().wait()
        raise AssertionError

    for _ in range(2):
        with pytest.raises(RequestError) as refusal:
            await read_body(receive, {}, LIMITS)
        assert refusal.value.kind.status == 408


async def test_a_body_that_drips_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte now and then does not move the deadline past the whole body's time."""
    monkeypatch.setattr(body_module, "STALL_GRACE_S", 0.02)
    monkeypatch.setattr(body_module, "BYTES_PER_S_MIN", 1_000)

    async def receive() -> HTTPReceiveMessage:
        await asyncio.sleep(0.005)
        return {"type": "http.request", "body": b"a", "more_body": True}

    with pytest.raises(RequestError) as refusal:
        await asyncio.wait_for(read_body(receive, {}, LIMITS), 2)
    assert refusal.value.kind.status == 408


async def test_a_body_that_keeps_up_may_take_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Data that flows is not cut off by the grace that a stalled connection gets."""
    monkeypatch.setattr(body_module, "STALL_GRACE_S", 0.03)
    monkeypatch.setattr(body_module, "BYTES_PER_S_MIN", 1)
    left = [b"a" * 100] * 9

    async def receive() -> HTTPReceiveMessage:
        if len(left) < 8:  # the first two have earned the time
            await asyncio.sleep(0.005)
        return {"type": "http.request", "body": left.pop(), "more_body": bool(left)}

    started_s = asyncio.get_running_loop().time()
    assert len(await read_body(receive, {}, msgspec.structs.replace(LIMITS, timeout_s=60))) == 900
    assert asyncio.get_running_loop().time() - started_s >= 0.03


async def test_what_a_refused_client_still_sends_is_taken_in() -> None:
    """All that was announced is received, so that the answer is read; what was read already is not waited for."""
    left = [b"a" * 600] * 3
    headers = {b"content-length": b"1800"}

    async def receive() -> HTTPReceiveMessage:
        return {"type": "http.request", "body": left.pop(), "more_body": bool(left)}

    body = RequestBody(receive, headers, LIMITS)
    with pytest.raises(TooLarge):
        await body.read()
    await body.discard()
    assert left == []
    await body.discard()


@pytest.mark.parametrize(
    "headers", [{}, {b"content-length": b"0"}, {b"content-length": b"9", b"expect": b"100-continue"}]
)
async def test_a_body_that_is_not_coming_is_not_waited_for(headers: dict[bytes, bytes]) -> None:
    """Without a body, or with one that the client holds back until it is asked, there is nothing to take in."""

    async def receive() -> HTTPReceiveMessage:
        raise AssertionError

    await RequestBody(receive, headers, LIMITS).discard()


async def test_discarding_ends_with_patience_or_the_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a client that stalls, nor one that sends for ever, nor one that hangs up keeps us."""
    monkeypatch.setattr(body_module, "DISCARD_S", 0.02)
    headers = {b"transfer-encoding": b"chunked"}

    async def stalled() -> HTTPReceiveMessage:
        await asyncio.Event().wait()
        raise AssertionError

    async def endless() -> HTTPReceiveMessage:
        return {"type": "http.request", "body": b"a" * (1 << 20), "more_body": True}

    for receive in (stalled, endless, receiving([b"abc"], complete=False)):
        await asyncio.wait_for(RequestBody(receive, headers, LIMITS).discard(), 2)
