"""Drives the notifier: decides round by round, and sends each claimed message in a task of its own."""

import asyncio
from typing import Final

import structlog

from core.domain.errors import Unavailable
from core.domain.notifications import NotificationState
from core.services.notify import AWAY_S, IN_FLIGHT_MAX, Attempt, NotifyService
from ports.driven.notification_store import Claimed

SEND_POLL_S: Final = 0.25
"""How often due messages are looked for that this process did not make: retries, tests, other processes' ones."""
SETTLE_PAUSE_S: Final = 1.0
"""Between attempts to write down an outcome; the message is sent again if it cannot be before its lease ends."""
GRACE_S: Final = 10.0
"""What is being sent when the process is to stop may end; the rest is sent again when its lease has ended."""

log = structlog.get_logger(__name__)


class NotifyLoop:
    """Runs until told to stop. A slow receiver holds up nothing but its own channel."""

    def __init__(self, service: NotifyService, *, grace_s: float = GRACE_S) -> None:
        self._service = service
        self._grace_s = grace_s
        self._wake = asyncio.Event()
        self._sending: dict[asyncio.Task[None], int] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Works until `stop`, then lets what is being sent end; cancelled, it ends at once. To be called once."""
        async with asyncio.TaskGroup() as both:
            both.create_task(self._decide(stop))
            both.create_task(self._deliver(stop))

    async def _decide(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            done, pause_s = await self._service.decide_round()
            if done.away is not None:
                log.warning("notifier_waits", reason=done.away)
            elif done.tenant is not None:
                log.info(
                    "notifications_decided",
                    tenant=done.tenant,
                    messages=done.messages,
                    suppressed=done.suppressed,
                    kept=done.kept,
                )
            elif done.forgotten:
                log.info("notifications_forgotten", notifications=done.forgotten)
            if done.messages:
                self._wake.set()
            await _wait(stop, pause_s)
        self._wake.set()

    async def _deliver(self, stop: asyncio.Event) -> None:
        async with asyncio.TaskGroup() as group:
            while not stop.is_set():
                self._wake.clear()
                for claimed in await self._claim(stop):
                    task = group.create_task(self._send(claimed))
                    self._sending[task] = claimed.channel.id
                    task.add_done_callback(self._sent)
                await _wait(self._wake, SEND_POLL_S)
            if self._sending:
                _, late = await asyncio.wait(self._sending, timeout=self._grace_s)
                for task in late:
                    task.cancel()

    async def _claim(self, stop: asyncio.Event) -> list[Claimed]:
        places = IN_FLIGHT_MAX - len(self._sending)
        if places <= 0:
            return []
        try:
            return list(await self._service.claim(busy=frozenset(self._sending.values()), places=places))
        except Unavailable as error:
            log.warning("notifier_waits", reason=str(error))
            await _wait(stop, AWAY_S)
            return []

    def _sent(self, task: asyncio.Task[None]) -> None:
        del self._sending[task]
        self._wake.set()

    async def _send(self, claimed: Claimed) -> None:
        """Sends one message and writes down what came of it."""
        try:
            attempt = await self._service.send(claimed)
        except Exception:
            # A defect of ours in one kind of channel must not silence the others; the lease brings the message back.
            log.exception("notification_defect", message=str(claimed.message.id), channel=claimed.channel.config.name)
            return
        _report(attempt)
        while True:
            try:
                await self._service.settle(attempt)
            except Unavailable as error:
                log.warning("notifier_waits", reason=str(error))
                await asyncio.sleep(SETTLE_PAUSE_S)
            else:
                return


def _report(attempt: Attempt) -> None:
    claimed = attempt.claimed
    facts = {
        "tenant": claimed.message.tenant,
        "channel": claimed.channel.config.name,
        "message": str(claimed.message.id),
        "about": claimed.message.event.value,
        "alerts": claimed.message.alerts_total,
        "attempt": claimed.attempts + 1,
    }
    match attempt.state:
        case NotificationState.DELIVERED:
            log.info("notification_delivered", **facts)
        case NotificationState.WAITING:
            log.warning("notification_retried", **facts, reason=attempt.error, next_at=str(attempt.next_attempt_at))
        case NotificationState.DEAD:
            log.error("notification_dead", **facts, reason=attempt.error)


async def _wait(event: asyncio.Event, pause_s: float) -> None:
    """Until `event`, for at most so long."""
    if pause_s <= 0.0:
        await asyncio.sleep(0)
        return
    try:
        async with asyncio.timeout(pause_s):
            await event.wait()
    except TimeoutError:
        return
