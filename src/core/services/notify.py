"""The notifier: makes messages of what happened, sends them, and tries again until they are taken or given up."""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, Protocol
from uuid import UUID

import msgspec

from core.domain.errors import NotFound, Unavailable
from core.domain.notifications import AlertEvent, ChannelConfig, NotificationState
from core.domain.times import EPOCH
from core.services.notify_grouping import decide
from ports.driven.alerting_store import ChannelStore
from ports.driven.clock import Clock
from ports.driven.notification_store import Claimed, NotificationOutbox
from ports.driven.notifier import Notifier, NotifierError

POLL_S: Final = 0.1
"""How often the outbox is looked at: little beside the time that alerts of one moment are waited for."""
AWAY_S: Final = 2.0
"""Pause after the database was away."""
EVENTS_MAX: Final = 500
"""Decided on in one transaction, which others wait for."""
KEPT_S: Final = 10.0
"""Who ends a silence early hears of what still fires after this long at most."""
PER_CHANNEL_MAX: Final = 4
"""Sent through one channel at once: receivers limit rates, and a slow one must not take all places."""
IN_FLIGHT_MAX: Final = 256
"""Sent by one process at once; a message is some 100 kB at most."""
LEASE_MARGIN_S: Final = 20.0
"""A lease outlasts sending by this, so that only the messages of a process that died are claimed again."""
RETRY_FIRST_S: Final = 1.0
RETRY_MAX_S: Final = 300.0
"""A receiver that is back is told within five minutes."""
RETRY_AFTER_MAX_S: Final = 3_600.0
"""A receiver may ask for more patience than that, and people would wait for news."""
GIVEN_UP_S: Final = 86_400.0
"""What nobody took within a day is history; it can be sent again by hand."""
ERROR_CHARS_MAX: Final = 500
KEPT_DAYS: Final = 30
"""How long notifications can be looked up."""
FORGET_EVERY_S: Final = 3_600.0


class NotifyTelemetry(Protocol):
    """What the notifier reports."""

    def notifications_decided(self, *, messages: int, suppressed: int, kept: int) -> None:
        """One round of decisions."""
        ...

    def notification_sent(self, kind: str, state: str, *, took_s: float) -> None:
        """One attempt through a channel of that kind: ``delivered``, ``waiting`` (to be tried again) or ``dead``."""
        ...


class NotifyPlan(msgspec.Struct, frozen=True, kw_only=True):
    """How the notifier works."""

    group_wait_s: float
    """How long events wait for others of their rule."""
    send_timeout_s: float
    """What the notifiers' own time-outs do not exceed."""


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """What one round of decisions did, for the log."""

    tenant: str | None = None
    messages: int = 0
    suppressed: int = 0
    kept: int = 0
    forgotten: int = 0
    away: str | None = None
    """Why nothing was done, where the database was not available."""


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt to send a message, and what follows from it."""

    claimed: Claimed
    state: NotificationState
    """WAITING: it is tried again at `next_attempt_at`."""
    ended_at: datetime
    error: str | None = None
    next_attempt_at: datetime | None = None
    disable: str | None = None
    """Why the channel is to be disabled."""


class NotifyService:
    """Runs in one background process a server; safe for several at once, and for concurrent calls of `send`.

    At least once: a message is sent, then that is written down. Who dies in between leaves a lease behind; when it
    ends the message is sent again under the same id, by which receivers know it.
    """

    def __init__(
        self,
        outbox: NotificationOutbox,
        channels: ChannelStore,
        notifiers: Mapping[type[ChannelConfig], Notifier],
        clock: Clock,
        telemetry: NotifyTelemetry,
        plan: NotifyPlan,
    ) -> None:
        self._outbox = outbox
        self._channels = channels
        self._notifiers = notifiers
        self._clock = clock
        self._telemetry = telemetry
        self._plan = plan
        self._forget_due_s = clock.monotonic_s()

    async def decide_round(self) -> tuple[Round, float]:
        """Decides on the events of one tenant; returns what was done and how many seconds to wait before the next."""
        try:
            return await self._decide_round()
        except Unavailable as error:
            return Round(away=str(error)), AWAY_S

    async def claim(self, *, busy: frozenset[int], places: int) -> Sequence[Claimed]:
        """Messages that this process is to send now, at most `places`, none through a channel of `busy`.

        Raises `Unavailable`.
        """
        return await self._outbox.claim(
            now=self._now(),
            lease_s=self._plan.send_timeout_s + LEASE_MARGIN_S,
            per_channel=PER_CHANNEL_MAX,
            busy=busy,
            limit=places,
        )

    async def send(self, claimed: Claimed) -> Attempt:
        """Tries to send one message; what came of it is to be passed to `settle`."""
        config = claimed.channel.config
        started_s = self._clock.monotonic_s()
        try:
            await self._notifiers[type(config)].send(claimed.channel, claimed.secrets, claimed.message)
        except NotifierError as error:
            attempt = self._failed(claimed, error)
        else:
            attempt = Attempt(claimed=claimed, state=NotificationState.DELIVERED, ended_at=self._now())
        took_s = self._clock.monotonic_s() - started_s
        kind = str(config.__struct_config__.tag)
        self._telemetry.notification_sent(kind, attempt.state.value, took_s=took_s)
        return attempt

    async def settle(self, attempt: Attempt) -> None:
        """Writes down what came of an attempt. Raises `Unavailable`: repeat it, or the message is sent once more."""
        tenant_id, message_id = attempt.claimed.tenant_id, attempt.claimed.message.id
        try:
            if attempt.disable is not None:
                await self._channels.disable(tenant_id, attempt.claimed.channel.id, attempt.disable)
            if attempt.error is None:
                await self._outbox.delivered(tenant_id, message_id, now=attempt.ended_at)
            else:
                await self._outbox.failed(
                    tenant_id, message_id, error=attempt.error, next_attempt_at=attempt.next_attempt_at
                )
        except NotFound:
            return  # the channel was deleted meanwhile, and its messages with it

    async def _decide_round(self) -> tuple[Round, float]:
        now = self._now()
        created_before = now - timedelta(seconds=self._plan.group_wait_s)
        async with self._outbox.undecided(now=now, created_before=created_before, limit=EVENTS_MAX) as undecided:
            events = undecided.events
            if events:
                surroundings = undecided.surroundings
                decided = decide(events, surroundings, now)
                ends = [silence.ends_at for silence in surroundings.silences if silence.ends_at > now]
                await undecided.decide(
                    decided.messages,
                    suppressed=decided.suppressed,
                    kept=decided.kept,
                    look_again_at=min([now + timedelta(seconds=KEPT_S), *ends]),
                )
        if not events:
            return await self._forget()
        done = Round(
            tenant=events[0].tenant,
            messages=len(decided.messages),
            suppressed=len(decided.suppressed),
            kept=len(decided.kept),
        )
        self._telemetry.notifications_decided(messages=done.messages, suppressed=done.suppressed, kept=done.kept)
        return done, 0.0

    async def _forget(self) -> tuple[Round, float]:
        """Deletes, by the hour and when nothing else waits, what nobody looks up any more."""
        if self._clock.monotonic_s() < self._forget_due_s:
            return Round(), POLL_S
        self._forget_due_s = self._clock.monotonic_s() + FORGET_EVERY_S
        return Round(forgotten=await self._outbox.forget(before=self._now() - timedelta(days=KEPT_DAYS))), POLL_S

    def _failed(self, claimed: Claimed, error: NotifierError) -> Attempt:
        now = self._now()
        reason = error.reason[:ERROR_CHARS_MAX]
        disable = reason if error.gone else None
        if error.retryable and not error.gone and claimed.message.event is not AlertEvent.TEST:
            pause_s = backoff_s(claimed.message.id, claimed.attempts, error.retry_after_s)
            next_attempt_at = now + timedelta(seconds=pause_s)
            if next_attempt_at <= claimed.message.created_at + timedelta(seconds=GIVEN_UP_S):
                return Attempt(
                    claimed=claimed,
                    state=NotificationState.WAITING,
                    ended_at=now,
                    error=reason,
                    next_attempt_at=next_attempt_at,
                )
            reason = f"given up after a day: {reason}"
        return Attempt(claimed=claimed, state=NotificationState.DEAD, ended_at=now, error=reason, disable=disable)

    def _now(self) -> datetime:
        return EPOCH + timedelta(microseconds=self._clock.now_us())


def backoff_s(message_id: UUID, attempts: int, retry_after_s: float | None) -> float:
    """How long to wait after a failure that `attempts` others came before.

    Doubles from `RETRY_FIRST_S` to `RETRY_MAX_S`, less up to a quarter that differs by message, so that messages which
    failed together do not all come back together; never less than the receiver asked for, up to `RETRY_AFTER_MAX_S`.
    """
    full_s = min(RETRY_FIRST_S * 2.0 ** min(attempts, 30), RETRY_MAX_S)
    digest = hashlib.sha256(message_id.bytes + attempts.to_bytes(8, "big")).digest()
    spread = int.from_bytes(digest[:8], "big") / 2.0**64
    asked_s = min(retry_after_s, RETRY_AFTER_MAX_S) if retry_after_s is not None else 0.0
    return max(full_s * (1.0 - spread / 4.0), asked_s)
