"""The activities of remediation workflows: each passes one request on to `RemediationWork`.

Errors become Temporal's by one table, `_failure`:

    Unavailable                  repeated, with backoff, without end: something of ours is away
    CallerError                  never repeated: it cannot succeed as it is
    ActionError                  the workflow itself counts attempts at an action; tells it whether another may help,
                                 and (as Unavailable does) where nothing was begun, so that nothing is rolled back
    anything else, our bug       repeated `BUG_ATTEMPTS_MAX` times, in case it passes
    cancelled by a worker's end  repeated, by another worker

All send heartbeats while they last, so that a killed worker is noticed within seconds; but in `act` the action itself
does, so that one that hangs is noticed too.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final

from temporalio import activity
from temporalio.exceptions import ApplicationError

from core.domain.audit import AuditRecord
from core.domain.errors import CallerError, Unavailable
from core.domain.remediation import MetricCheck, RemediationOrder, RemediationState, Step
from ports.driven.action_runner import ActionError
from ports.driving.remediation_work import ActionReport, RemediationWork, Verdict

HEARTBEAT_EVERY_S: Final = 1.0
"""The port's own promise about actions."""
BUG_ATTEMPTS_MAX: Final = 10
"""About a minute with the workflow's backoff: a fault that lasts longer is for a person."""
UNAVAILABLE: Final = "Unavailable"
"""The type of failures that say nothing about what was asked, only that it could not be asked."""
WORKER_STOPPED: Final = "WorkerStopped"


class RemediationActivities:
    """All activities, over one `RemediationWork`. Safe to run concurrently."""

    def __init__(self, work: RemediationWork) -> None:
        self._work = work

    def all(self) -> Sequence[Callable[..., Any]]:
        """What a worker registers."""
        return [self.record, self.progress, self.check, self.reserve, self.act, self.verify, self.escalate]

    @activity.defn
    async def record(self, order: RemediationOrder, record: AuditRecord) -> None:
        """See `RemediationWork.record`."""
        async with alive():
            await self._work.record(order, record)

    @activity.defn
    async def progress(self, order: RemediationOrder, state: RemediationState, detail: str | None) -> None:
        """See `RemediationWork.progress`."""
        async with alive():
            await self._work.progress(order, state, detail)

    @activity.defn
    async def check(self, order: RemediationOrder, checks: tuple[MetricCheck, ...]) -> Verdict:
        """See `RemediationWork.check`."""
        async with alive():
            return await self._work.check(order, checks)

    @activity.defn
    async def reserve(self, order: RemediationOrder, step: Step, key: str, rollback: bool) -> Verdict:
        """See `RemediationWork.reserve`."""
        async with alive():
            return await self._work.reserve(order, step, key, rollback=rollback)

    @activity.defn
    async def act(self, order: RemediationOrder, step: Step, key: str) -> ActionReport:
        """See `RemediationWork.act`."""
        async with alive(beats=order.policy.dry_run):
            return await self._work.act(order, step, key, activity.heartbeat)

    @activity.defn
    async def verify(self, order: RemediationOrder, since_us: int) -> Verdict:
        """See `RemediationWork.verify`."""
        async with alive():
            return await self._work.verify(order, since_us)

    @activity.defn
    async def escalate(self, order: RemediationOrder, text: str, key: str, ask_approval: bool) -> None:
        """See `RemediationWork.escalate`."""
        async with alive():
            await self._work.escalate(order, text, key=key, ask_approval=ask_approval)


@asynccontextmanager
async def alive(*, beats: bool = True) -> AsyncIterator[None]:
    """Translates errors and, where it `beats`, sends heartbeats while it lasts."""
    beating = asyncio.create_task(_beat()) if beats else None
    try:
        with _translated():
            yield
    finally:
        if beating is not None:
            beating.cancel()


async def _beat() -> None:
    while True:
        activity.heartbeat()
        await asyncio.sleep(HEARTBEAT_EVERY_S)


@contextmanager
def _translated() -> Iterator[None]:
    """Domain errors as Temporal's."""
    try:
        yield
    except asyncio.CancelledError:
        details = activity.cancellation_details()
        if details is not None and details.worker_shutdown:
            raise ApplicationError("the worker was stopped", type=WORKER_STOPPED) from None
        raise
    except Exception as error:
        raise _failure(error, attempt=activity.info().attempt) from error


def _failure(error: Exception, *, attempt: int) -> ApplicationError:
    """The table in this module's docstring."""
    kind = type(error).__name__
    match error:
        case Unavailable():
            return ApplicationError(str(error), type=UNAVAILABLE)
        case CallerError():
            return ApplicationError(str(error), type=kind, non_retryable=True)
        case ActionError():
            told = kind if error.began else UNAVAILABLE
            return ApplicationError(error.reason, type=told, non_retryable=not error.retryable)
        case _:
            return ApplicationError(f"{kind}: {error}", type=kind, non_retryable=attempt >= BUG_ATTEMPTS_MAX)
