"""The ingest client against every way in which a server can answer, or not."""

import email.utils
import socket
import time

import cramjam
import msgspec
import pytest

from adapters.driving.cli.client import (
    BODY_BYTES_MAX,
    RETRY_AFTER_S_MAX,
    Batch,
    ConfigurationError,
    GaveUpError,
    IngestClient,
    Patience,
    Refused,
    Stored,
    Target,
    TryLater,
    backoff_s,
    encode_batches,
)
from core.domain.points import Point
from tests.unit.cli.ingest_double import KEY, Handler, answers, hangs, ingest_double, resets


def batch_of(*values: float, name: str = "m") -> Batch:
    points = [
        Point(name, value, msgspec.Raw(b'{"host":"a"}'), f"2026-01-01T00:00:{number:02d}Z")
        for number, value in enumerate(values)
    ]
    [batch] = encode_batches(points)
    return batch


async def test_a_stored_batch_is_reported_with_its_refusals() -> None:
    """A 200 gives the counts and, by index, what was refused."""
    mixed = [
        Point("ok", 1.0, timestamp="2026-01-01T00:00:00Z"),
        Point("not ok", 2.0, timestamp="2026-01-01T00:00:00Z"),
    ]
    async with ingest_double() as server, IngestClient(server.target) as client:
        outcome = await client.send(next(encode_batches(mixed)))
    assert isinstance(outcome, Stored)
    assert (outcome.accepted, outcome.rejected) == (1, 1)
    assert [(error.index, error.field) for error in outcome.errors] == [(1, "name")]
    assert server.values == [1.0]


async def test_a_batch_refused_whole_still_names_its_metrics() -> None:
    """A 422 carries the same errors by index."""
    async with ingest_double() as server, IngestClient(server.target) as client:
        outcome = await client.send(batch_of(1.0, 2.0, name="not ok"))
    assert isinstance(outcome, Refused)
    assert outcome.status == 422
    assert [error.index for error in outcome.errors] == [0, 1]


@pytest.mark.parametrize("status", [400, 409, 413, 415])
async def test_other_4xx_are_final(status: int) -> None:
    """What the same body will always get is not tried again."""
    async with ingest_double() as server, IngestClient(server.target) as client:
        server.troubles = [answers(status, "no")]
        outcome = await client.deliver(batch_of(1.0), Patience(60))
    assert outcome == Refused(status, f"{status} no")


@pytest.mark.parametrize("status", [301, 307, 401, 403, 404, 405])
async def test_a_wrong_key_or_url_stops_the_sender(status: int) -> None:
    """Nothing else would succeed either, so it is raised and says what to mend."""
    async with ingest_double() as server, IngestClient(server.target) as client:
        server.troubles = [answers(status, "as it is")]
        with pytest.raises(ConfigurationError, match=r"key|URL"):
            await client.deliver(batch_of(1.0), Patience(60))


async def test_a_page_that_is_not_sextants_is_no_success() -> None:
    """A 200 of something else on that port must not empty a spool."""
    async with ingest_double() as server, IngestClient(server.target) as client:
        server.troubles = [answers(200, "Welcome to nginx")]
        with pytest.raises(ConfigurationError, match="not as Sextant does"):
            await client.send(batch_of(1.0))


@pytest.mark.parametrize("trouble", [answers(429), answers(503), answers(500), answers(408), resets])
async def test_what_may_succeed_later_is_sent_again_and_stored_once(trouble: Handler) -> None:
    """The same bytes go out again until the server takes them."""
    failures: list[TryLater] = []
    async with ingest_double() as server, IngestClient(server.target) as client:
        server.troubles = [trouble, trouble]
        patience = Patience(60, lambda failure, _: failures.append(failure))
        outcome = await client.deliver(batch_of(1.0, 2.0), patience)
    assert outcome == Stored(2, 0, ())
    assert server.values == [1.0, 2.0]
    assert len(failures) == 2


async def test_a_server_that_hangs_is_given_up_after_the_timeout_and_tried_again() -> None:
    """No reply is not a reply: the batch is sent again."""
    async with ingest_double() as server, IngestClient(server.target, attempt_timeout_s=0.05) as client:
        server.troubles = [hangs]
        assert await client.deliver(batch_of(1.0), Patience(60)) == Stored(1, 0, ())


async def test_a_reply_that_was_lost_does_not_store_twice() -> None:
    """A batch that was stored, whose reply never came, is answered alike when it is sent again."""
    async with ingest_double() as server, IngestClient(server.target) as client:
        batch = batch_of(1.0)
        first = await client.send(batch)
        assert await client.send(batch) == first
    assert server.values == [1.0]
    assert len(server.requests) == 2


async def test_nobody_listening_is_try_later() -> None:
    """A server that is being restarted refuses connections."""
    with socket.socket() as held:  # bound, so that nobody else has the port, and not listening
        held.bind(("127.0.0.1", 0))
        async with IngestClient(Target(f"http://127.0.0.1:{held.getsockname()[1]}", KEY)) as client:
            assert await client.send(batch_of(1.0)) == TryLater("Connection refused; is `sextant serve` running there?")
            with pytest.raises(GaveUpError, match="no success for 0 s"):
                await client.deliver(batch_of(1.0), Patience(0))


async def test_retry_after_is_read_in_both_its_forms() -> None:
    """Seconds and HTTP dates, and nothing where it is neither."""
    asked_s = time.time()
    date = email.utils.formatdate(asked_s + 90, usegmt=True)
    async with ingest_double() as server, IngestClient(server.target) as client:
        server.troubles = [
            answers(429, Retry_After="7"),
            answers(503, Retry_After=date),
            answers(503, Retry_After="soon"),
        ]
        waits = [await client.send(batch_of(1.0)) for _ in range(3)]
    first, second, third = [later.retry_after_s for later in waits if isinstance(later, TryLater)]
    assert (first, third) == (7.0, None)
    assert second is not None
    assert 89 - (time.time() - asked_s) <= second <= 90, "a date is in whole seconds"


def test_waiting_follows_the_server_within_bounds() -> None:
    """At least what the server asks, at most a bound; otherwise doubling up to a bound."""
    assert 7.0 <= backoff_s(0, 7.0) <= 7.7
    assert backoff_s(0, 1e9) <= RETRY_AFTER_S_MAX * 1.1
    assert 0 < backoff_s(0, None) <= 0.25
    assert 7.5 <= backoff_s(1_000, None) <= 15


def test_batches_stay_within_the_apis_limits() -> None:
    """10,000 metrics and 4 MiB of JSON a batch, in order, nothing lost."""
    long = msgspec.Raw(msgspec.json.encode({"text": "x" * 1_000}))
    points = [Point("m", float(number), long if number < 6_000 else msgspec.Raw(b"{}")) for number in range(25_000)]
    batches = list(encode_batches(points))
    bodies = [bytes(cramjam.zstd.decompress(batch.body)) for batch in batches]
    metrics = [metric for body in bodies for metric in msgspec.json.decode(body)["metrics"]]
    assert [metric["value"] for metric in metrics] == [float(number) for number in range(25_000)]
    assert max(map(len, bodies)) <= BODY_BYTES_MAX
    assert max(batch.points for batch in batches) <= 10_000
    assert sum(batch.points for batch in batches) == 25_000


def test_the_same_points_have_the_same_idempotency_key() -> None:
    """Across processes, so that a repeated replay is recognised; another salt makes another key."""
    one, same, other = batch_of(1.0), batch_of(1.0), batch_of(2.0)
    assert one.idempotency_key() == same.idempotency_key()
    assert one.idempotency_key() != other.idempotency_key()
    assert one.idempotency_key(b"salt") != one.idempotency_key()


def test_the_key_is_not_in_the_repr() -> None:
    """What is logged by accident must not open the server."""
    assert KEY not in repr(Target("http://x", KEY))
