"""The bytes of bodies that a process holds."""

from typing import Any

import pytest

from adapters.driving.http.body import BodyLimits, RequestBody
from adapters.driving.http.body_budget import BodyBudget
from adapters.driving.http.front import Front
from adapters.runtime.telemetry import PrometheusTelemetry
from core.domain.errors import Unavailable

LIMITS = BodyLimits(sent_bytes_max=1_000, inflated_bytes_max=4_000, timeout_s=1.0)


def test_a_full_process_asks_to_come_back_and_recovers() -> None:
    """What does not fit is refused with a time to retry; what is given back is free again, after an error too."""
    budget = BodyBudget(100)
    with budget.hold(60):
        with pytest.raises(Unavailable) as refused, budget.hold(41):
            raise AssertionError("there was no room")
        assert refused.value.retry_after_s > 0
        with budget.hold(40):
            pass
    with pytest.raises(ZeroDivisionError), budget.hold(100):
        raise ZeroDivisionError
    with budget.hold(100):
        pass


def test_one_body_is_always_let_in() -> None:
    """A body larger than the whole budget is not refused for ever."""
    budget = BodyBudget(100)
    with budget.hold(1_000), pytest.raises(Unavailable), budget.hold(1):
        raise AssertionError("there was no room")


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({b"content-length": b"300"}, 300),
        ({b"content-length": b"9000"}, 1_000),
        ({b"transfer-encoding": b"chunked"}, 1_000),
        ({b"content-length": b"100", b"content-encoding": b"gzip"}, 1_600),
        ({b"content-length": b"900", b"content-encoding": b"zstd"}, 4_000),
        ({}, 0),
    ],
)
def test_a_body_is_counted_by_what_its_headers_tell(headers: dict[bytes, bytes], expected: int) -> None:
    """Declared bytes, the most there may be where none are declared, and more for what will be inflated."""

    async def never() -> None:
        raise AssertionError("nothing is read")

    assert RequestBody(never, headers, LIMITS).expected_bytes == expected  # type: ignore[arg-type]  # never called


@pytest.mark.parametrize(("path", "free_bytes"), [("/large", 40), ("/small", 100)])
async def test_large_bodies_are_counted_wherever_they_are_read(path: str, free_bytes: int) -> None:
    """From when a route with large bodies reads one until it has answered; bodies of other routes are small."""
    budget = BodyBudget(100)

    async def route(_scope: Any, receive: Any, _send: Any) -> None:
        with budget.hold(100):
            pass
        assert (await receive())["body"] == b"x" * 60
        with budget.hold(free_bytes):
            pass
        if free_bytes < 100:
            with pytest.raises(Unavailable), budget.hold(free_bytes + 1):
                raise AssertionError("there was no room")

    async def sent() -> Any:
        return {"type": "http.request", "body": b"x" * 60, "more_body": False}

    async def nobody(_message: Any) -> None:
        raise AssertionError("nothing is answered")

    large = {("POST", "/large"): LIMITS}
    front = Front(route, body_timeout_s=1.0, large=large, budget=budget, telemetry=PrometheusTelemetry())
    scope: Any = {"type": "http", "method": "POST", "path": path, "headers": [(b"content-length", b"60")]}
    await front(scope, sent, nobody)
    with budget.hold(100):
        pass
