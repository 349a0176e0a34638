"""The notifier over the in-memory outbox: what it decides, sends, repeats and gives up."""

from datetime import timedelta
from uuid import UUID, uuid4

import msgspec
import pytest

from core.domain.alerts import EpisodeState, SilenceSpec
from core.domain.errors import Unavailable
from core.domain.notifications import AlertEvent, Message, NotificationState
from core.services.notify import (
    AWAY_S,
    GIVEN_UP_S,
    KEPT_S,
    LEASE_MARGIN_S,
    PER_CHANNEL_MAX,
    POLL_S,
    RETRY_AFTER_MAX_S,
    RETRY_MAX_S,
    backoff_s,
)
from ports.driven.notifier import NotifierError
from tests.support.waiting_events import PAGER, SLACK, alert
from tests.unit.services.notifying import PLAN, TENANT, Stepped

BUSY = NotifierError("answered 503", retryable=True)
LEASE_S = PLAN.send_timeout_s + LEASE_MARGIN_S


@pytest.fixture
async def world() -> Stepped:
    """One chat channel."""
    made = Stepped()
    await made.channels.create(TENANT, SLACK, ("https://hooks.example/x",))
    return made


def heard(world: Stepped) -> list[tuple[str, str, tuple[int, ...]]]:
    """(channel, event, alerts) of what receivers have taken."""
    return [(name, each.event.value, tuple(one.id for one in each.alerts)) for name, each in world.receivers.taken]


async def test_alerts_of_one_moment_are_told_together(world: Stepped) -> None:
    """After the time that they are waited for, not before; then once."""
    world.fired(1)
    world.advance(0.3)
    world.fired(2)
    await world.step(0.1)
    assert heard(world) == []
    await world.step(1.0)
    assert heard(world) == [("chat", "fired", (1, 2))]
    await world.step(100.0)
    assert len(world.receivers.taken) == 1
    assert world.telemetry.rounds == [(1, 0, 0)]
    assert world.telemetry.states == [("slack", "delivered")]


async def test_a_crash_after_sending_repeats_the_same_message_once(world: Stepped) -> None:
    """It was sent, and nobody wrote it down: when the lease ends it is sent again under its id, then no more."""
    world.fired(1)
    world.advance(1.0)
    await world.decide()
    (claimed,) = await world.service.claim(busy=frozenset(), places=10)
    await world.service.send(claimed)
    world.restart()
    assert await world.step(LEASE_S - 2.0) == []
    (attempt,) = await world.step(3.0)
    assert attempt.claimed.attempts == 1
    assert await world.step(LEASE_S + 1.0) == []
    first, second = (message for _, message in world.receivers.taken)
    assert first == second


async def test_a_crash_while_deciding_loses_and_repeats_nothing(world: Stepped) -> None:
    """What was not committed is decided on again, with the same result."""
    world.fired(1)
    world.advance(1.0)
    started = world.outbox.undecided(now=world.now(), created_before=world.now(), limit=10)
    undecided = await started.__aenter__()
    await undecided.decide((), suppressed=[(1, "crashed")], kept=(), look_again_at=world.now())
    world.outbox.away = True
    with pytest.raises(Unavailable):
        await started.__aexit__(None, None, None)
    world.outbox.away = False
    world.restart()
    await world.step()
    assert heard(world) == [("chat", "fired", (1,))]


async def test_a_failure_is_tried_again_later_and_later(world: Stepped) -> None:
    """With the reason and the next time to be read meanwhile."""
    world.receivers.failures = [BUSY, BUSY, BUSY]
    world.fired(1)
    pauses = []
    await world.step()
    for _ in range(3):
        (row,) = world.messages
        assert (row.state, row.last_error) == (NotificationState.WAITING, "answered 503")
        assert row.next_attempt_at is not None
        pause_s = (row.next_attempt_at - world.now()).total_seconds()
        pauses.append(pause_s)
        assert await world.step(pause_s - 0.01) == []
        await world.step(0.01)
    assert 0.75 <= pauses[0] <= 1.0 < pauses[1] <= 2.0 < pauses[2] <= 4.0
    assert world.messages[0].state is NotificationState.DELIVERED
    assert world.messages[0].attempts == 4


async def test_a_receiver_is_given_the_time_it_asks_for(world: Stepped) -> None:
    """Up to an hour."""
    world.receivers.failures = [
        NotifierError("answered 429", retryable=True, retry_after_s=120.0),
        NotifierError("answered 429", retryable=True, retry_after_s=1e12),
    ]
    world.fired(1)
    await world.step()
    assert world.messages[0].next_attempt_at == world.now() + timedelta(seconds=120)
    await world.step(120.0)
    assert world.messages[0].next_attempt_at == world.now() + timedelta(seconds=RETRY_AFTER_MAX_S)


async def test_what_nobody_takes_within_a_day_is_given_up(world: Stepped) -> None:
    """It is dead, says why, and can be sent again by hand under the same id."""
    world.fired(1)
    world.receivers.failures = [BUSY] * 1_000
    await world.step()
    ended_s = 0.0
    while world.messages[0].state is NotificationState.WAITING:
        await world.step(RETRY_MAX_S)
        ended_s += RETRY_MAX_S
    assert GIVEN_UP_S - 2 * RETRY_MAX_S <= ended_s <= GIVEN_UP_S
    (row,) = world.messages
    assert (row.state, row.last_error) == (NotificationState.DEAD, "given up after a day: answered 503")
    assert world.telemetry.states[-1] == ("slack", "dead")
    world.receivers.failures = []
    await world.store.resend(TENANT, row.id, now=world.now())
    await world.step()
    assert [message.id for _, message in world.receivers.taken] == [row.id]


async def test_a_refusal_is_final(world: Stepped) -> None:
    """What will never be taken is not tried again."""
    world.receivers.failures = [NotifierError("answered 400", retryable=False)]
    world.fired(1)
    await world.step()
    assert world.messages[0].state is NotificationState.DEAD
    assert await world.step(GIVEN_UP_S) == []


@pytest.mark.parametrize("retryable", [False, True])
async def test_a_receiver_that_is_gone_disables_its_channel(world: Stepped, retryable: bool) -> None:
    """With the reason; what happens next is not sent through it, and says so."""
    world.receivers.failures = [NotifierError("answered 410 Gone", retryable=retryable, gone=True)]
    world.fired(1)
    await world.step()
    (channel,) = await world.channels.list(TENANT)
    assert (channel.config.enabled, channel.disabled_reason) == (False, "answered 410 Gone")
    assert world.messages[0].state is NotificationState.DEAD
    world.fired(2)
    await world.step()
    assert world.tables.notification_events[2].suppressed == "the channel 'chat' is disabled: answered 410 Gone"
    assert world.receivers.taken == []


async def test_a_test_is_sent_once(world: Stepped) -> None:
    """Whoever asked waits for the answer, and asks again."""
    world.receivers.failures = [BUSY]
    message = Message(
        id=uuid4(),
        event=AlertEvent.TEST,
        tenant="acme",
        rule="test",
        alerts=(alert(0),),
        alerts_total=1,
        created_at=world.now(),
    )
    await world.store.put(TENANT, 1, message)
    await world.deliver()
    assert world.messages[0].state is NotificationState.DEAD
    assert world.messages[0].last_error == "answered 503"


async def test_an_end_never_overtakes_the_beginning(world: Stepped) -> None:
    """While the beginning is tried again the end waits, and other alerts do not."""
    world.receivers.failures = [BUSY]
    about = world.fired(1)
    await world.step()
    world.resolved(about)
    world.fired(2, rule_id=8)
    await world.step(0.6)
    assert heard(world) == [("chat", "fired", (2,))]
    await world.step()
    assert heard(world)[1:] == [("chat", "fired", (1,))]
    await world.step()
    assert heard(world)[2:] == [("chat", "resolved", (1,))]


async def test_what_outlasts_a_silence_is_told_when_it_ends(world: Stepped) -> None:
    """And what resolved meanwhile never is."""
    spec = SilenceSpec(matchers=("alertname=busy",), ends_at=world.now() + timedelta(hours=1), reason="upgrade")
    await world.silences.create_silence(TENANT, spec, author="key:1", now=world.now())
    over = world.fired(1)
    world.fired(2)
    for _ in range(20):
        await world.step(KEPT_S)
    world.resolved(over)
    await world.step(3_395.0)
    assert heard(world) == []
    assert world.tables.notification_events[1].suppressed == "resolved before anybody was told"
    assert world.tables.notification_events[3].suppressed == "nobody was told that it fired"
    await world.step(6.0)
    assert heard(world) == [("chat", "fired", (2,))]


async def test_a_silence_that_is_ended_early_is_noticed_soon(world: Stepped) -> None:
    """Within the time after which kept events are looked at again."""
    spec = SilenceSpec(matchers=("alertname=busy",), ends_at=world.now() + timedelta(hours=1), reason="upgrade")
    silence = await world.silences.create_silence(TENANT, spec, author="key:1", now=world.now())
    world.fired(1)
    await world.step()
    await world.silences.end_silence(TENANT, silence.id, now=world.now())
    await world.step(KEPT_S)
    assert heard(world) == [("chat", "fired", (1,))]


async def test_one_tenants_silence_delays_nobody_else(world: Stepped) -> None:
    """Events that are kept are out of the way of others that are younger."""
    spec = SilenceSpec(matchers=("alertname=busy",), ends_at=world.now() + timedelta(hours=1), reason="upgrade")
    await world.silences.create_silence(TENANT, spec, author="key:1", now=world.now())
    world.fired(1)
    await world.step()
    await world.channels.create(3, msgspec.structs.replace(SLACK, name="theirs"), ("https://hooks.example/y",))
    world.happened(AlertEvent.FIRED, alert(2), tenant_id=3)
    await world.step()
    assert heard(world) == [("theirs", "fired", (2,))]


async def test_escalation_and_resolution_follow(world: Stepped) -> None:
    """One story, in order, to the one who heard its beginning; a channel made later hears nothing of its end."""
    about = world.fired(1)
    await world.step()
    world.happened(AlertEvent.ESCALATED, about)
    await world.step()
    await world.channels.create(TENANT, PAGER, ("key",))
    world.happened(AlertEvent.ACKNOWLEDGED, about)
    await world.step()
    world.resolved(about)
    await world.step()
    assert [event for name, event, _ in heard(world) if name == "chat"] == [
        "fired",
        "escalated",
        "acknowledged",
        "resolved",
    ]
    assert [name for name, _, _ in heard(world)] == ["chat"] * 4


async def test_a_channel_takes_no_more_than_its_places(world: Stepped) -> None:
    """And none while it is busy; others go on."""
    await world.channels.create(TENANT, PAGER, ("key",))
    for number in range(1, 11):
        world.fired(number, rule_id=number)
    world.advance(1.0)
    await world.decide()
    claimed = await world.service.claim(busy=frozenset(), places=99)
    by_channel = [one.channel.id for one in claimed]
    assert (by_channel.count(1), by_channel.count(2)) == (PER_CHANNEL_MAX, PER_CHANNEL_MAX)
    more = await world.service.claim(busy=frozenset({1}), places=99)
    assert {one.channel.id for one in more} == {2}
    assert len(await world.service.claim(busy=frozenset(), places=3)) == 3


async def test_a_message_of_a_deleted_channel_ends_quietly(world: Stepped) -> None:
    """The channel was deleted while something was sent through it."""
    world.fired(1)
    world.advance(1.0)
    await world.decide()
    (claimed,) = await world.service.claim(busy=frozenset(), places=10)
    world.receivers.failures = [NotifierError("gone", retryable=False, gone=True)]
    attempt = await world.service.send(claimed)
    await world.channels.delete(TENANT, 1)
    await world.service.settle(attempt)
    assert world.messages == []


async def test_an_absent_database_makes_it_wait(world: Stepped) -> None:
    """It says why, and goes on when the database is back."""
    world.fired(1)
    world.advance(1.0)
    world.outbox.away = True
    done, pause_s = await world.service.decide_round()
    assert (done.away, pause_s) == ("the database is away", AWAY_S)
    world.outbox.away = False
    await world.step()
    assert len(world.receivers.taken) == 1


async def test_old_notifications_are_forgotten_by_the_hour(world: Stepped) -> None:
    """After 30 days, except of alerts that still fire: they say who is to hear of the end."""
    over, still = world.fired(1), world.fired(2, rule_id=8)
    await world.step()
    world.resolved(over)
    await world.step()
    world.advance(31 * 86_400.0)
    done, pause_s = await world.service.decide_round()
    assert (done.forgotten > 0, pause_s) == (True, POLL_S)
    assert [row.alert_ids for row in world.messages] == [(still.id,)]
    assert world.tables.alerts[over.id].alert.state is EpisodeState.RESOLVED


def test_backoff_is_bounded_and_spread() -> None:
    """From a second to five minutes, the same for the same message, different for others."""
    some = UUID(int=1)
    assert backoff_s(some, 3, None) == backoff_s(some, 3, None)
    assert len({backoff_s(UUID(int=number), 5, None) for number in range(50)}) == 50
    for attempts in (0, 1, 8, 9, 100, 10_000):
        full_s = min(2.0 ** min(attempts, 30), RETRY_MAX_S)
        assert 0.75 * full_s <= backoff_s(some, attempts, None) <= full_s
    assert backoff_s(some, 0, 1e9) == RETRY_AFTER_MAX_S
    assert backoff_s(some, 20, 1.0) >= 0.75 * RETRY_MAX_S
