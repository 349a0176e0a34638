"""How errors of the work become Temporal's."""

import asyncio
import dataclasses

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from adapters.driving.temporal.activities import BUG_ATTEMPTS_MAX, RemediationActivities
from core.domain.errors import InvalidInput, NotFound, Unavailable
from core.domain.remediation import RemediationState
from ports.driven.action_runner import ActionError
from tests.support.remediation import RememberedWork, order, step


@pytest.mark.parametrize(
    ("error", "attempt", "kind", "again"),
    [
        (Unavailable("the database is away"), 1_000, "Unavailable", True),
        (InvalidInput("metric", "is wrong"), 1, "InvalidInput", False),
        (NotFound("tenant", "7"), 1, "NotFound", False),
        (ActionError("answered 500", retryable=True), 1, "ActionError", True),
        (ActionError("answered 404", retryable=False), 1, "ActionError", False),
        (ActionError("not as expected", retryable=False, began=False), 1, "Unavailable", False),
        (KeyError("host"), BUG_ATTEMPTS_MAX - 1, "KeyError", True),
        (KeyError("host"), BUG_ATTEMPTS_MAX, "KeyError", False),
    ],
)
@pytest.mark.parametrize("method", ["act", "progress"])
async def test_which_errors_are_repeated(method: str, error: Exception, attempt: int, kind: str, again: bool) -> None:
    """What is away for now, and for a while what nobody expected."""
    work = RememberedWork()
    work.troubles = {"restart": [error], "progress": [error]}
    activities, environment = RemediationActivities(work), ActivityEnvironment()
    environment.info = dataclasses.replace(environment.info, attempt=attempt)
    call = (
        environment.run(activities.act, order(), step("restart"), "key/1")
        if method == "act"
        else environment.run(activities.progress, order(), RemediationState.RUNNING, None)
    )
    with pytest.raises(ApplicationError) as failed:
        await call
    assert (failed.value.type, failed.value.non_retryable) == (kind, not again)


async def test_calls_send_heartbeats() -> None:
    """While they last, so that a worker that dies in the middle is noticed."""
    work, beaten = RememberedWork(), asyncio.Event()

    async def wait_for_heartbeat() -> None:
        async with asyncio.timeout(5):
            await beaten.wait()

    work.at = {"verify": wait_for_heartbeat}
    environment = ActivityEnvironment()
    environment.on_heartbeat = lambda *_: beaten.set()
    await environment.run(RemediationActivities(work).verify, order(), 0)
