"""The dispatcher: every waiting remediation is started once, whatever dies or goes away in between."""

from collections import Counter

from adapters.driven.memory.clock import FakeClock
from core.domain.errors import InvalidInput, Unavailable
from core.domain.remediation import Decision, RemediationOrder
from core.domain.times import SECOND_US
from core.services.dispatch import AWAY_S_FIRST, AWAY_S_MAX, BATCH, LEASE_S, POLL_S, REFUSED_S, DispatchService
from ports.driven.workflow_engine import EngineStatus
from tests.support.filled_outbox import FilledOutbox
from tests.support.orders import order


class Engine:
    """An engine that counts real starts; starting what was started is nothing new."""

    def __init__(self) -> None:
        self.started: set[str] = set()
        self.calls: Counter[str] = Counter()
        self.away = False
        self.refused: set[str] = set()

    async def start(self, order: RemediationOrder) -> None:
        if self.away:
            raise Unavailable("Temporal is away")
        if order.workflow_id in self.refused:
            raise InvalidInput("remediation", "too large")
        self.calls[order.workflow_id] += 1
        self.started.add(order.workflow_id)

    async def decide(self, workflow_id: str, decision: Decision) -> None:
        raise AssertionError("a dispatcher only starts")

    async def cancel(self, workflow_id: str, by: str) -> None:
        raise AssertionError("a dispatcher only starts")

    async def status(self) -> EngineStatus:
        raise AssertionError("a dispatcher only starts")


class Dispatching:
    """A dispatcher with its surroundings."""

    def __init__(self, count: int) -> None:
        self.clock = FakeClock()
        self.outbox = FilledOutbox(count, self.clock)
        self.engine = Engine()
        self.dispatcher = self.another()

    def another(self) -> DispatchService:
        """One more dispatcher over the same outbox and engine."""
        return DispatchService(self.outbox, self.engine, self.clock)

    async def drain(self, dispatcher: DispatchService, rounds: int = 100) -> None:
        """Runs rounds, with their pauses, until nothing waits."""
        for _ in range(rounds):
            if not self.outbox.waiting:
                return
            _, pause_s = await dispatcher.round()
            self.clock.advance(round(pause_s * SECOND_US))
        raise AssertionError(f"still waiting: {self.outbox.waiting}")


async def test_what_waits_is_started_and_confirmed() -> None:
    """More than one batch at once goes on without a pause; then the outbox is only looked at now and then."""
    dispatching = Dispatching(BATCH + 3)
    done, pause_s = await dispatching.dispatcher.round()
    assert (done.started, pause_s) == (BATCH, 0.0)
    done, pause_s = await dispatching.dispatcher.round()
    assert (done.started, pause_s) == (3, POLL_S)
    assert len(dispatching.engine.started) == BATCH + 3
    assert not dispatching.outbox.waiting


async def test_a_crash_before_the_confirmation_is_repaired_by_another() -> None:
    """Its lease ends, the start is repeated, which starts nothing new, and confirmed."""
    dispatching = Dispatching(1)
    dispatching.outbox.lose_confirmations = True
    done, _ = await dispatching.dispatcher.round()
    assert done.away == "the database went away"
    dispatching.outbox.lose_confirmations = False
    other = dispatching.another()
    assert (await other.round())[0].started == 0
    dispatching.clock.advance(round(LEASE_S * SECOND_US))
    assert (await other.round())[0].started == 1
    assert dispatching.engine.calls == {order(1).workflow_id: 2}
    assert dispatching.engine.started == {order(1).workflow_id}
    assert not dispatching.outbox.waiting


async def test_while_the_engine_is_away_everything_waits_with_its_reason() -> None:
    """The pause grows to its bound, and nothing is tried more often than that."""
    dispatching = Dispatching(3)
    dispatching.engine.away = True
    pauses = []
    for _ in range(8):
        done, pause_s = await dispatching.dispatcher.round()
        assert (done.started, done.waiting, done.away) == (0, 3, "Temporal is away")
        pauses.append(pause_s)
        dispatching.clock.advance(round(pause_s * SECOND_US))
    assert pauses[0] == AWAY_S_FIRST
    assert pauses == sorted(pauses)
    assert pauses[-1] == AWAY_S_MAX
    assert dispatching.outbox.errors == dict.fromkeys((1, 2, 3), "Temporal is away")
    dispatching.engine.away = False
    await dispatching.drain(dispatching.dispatcher)
    assert len(dispatching.engine.started) == 3


async def test_two_dispatchers_share_the_work() -> None:
    """What one has claimed the other leaves alone."""
    dispatching = Dispatching(2 * BATCH)
    other = dispatching.another()
    assert (await dispatching.dispatcher.round())[0].started == BATCH
    assert (await other.round())[0].started == BATCH
    assert set(dispatching.engine.calls.values()) == {1}


async def test_an_order_that_is_refused_does_not_hold_up_the_others() -> None:
    """It is looked at again much later, with the reason kept."""
    dispatching = Dispatching(3)
    dispatching.engine.refused = {order(1).workflow_id}
    done, _ = await dispatching.dispatcher.round()
    assert (done.started, done.refused, done.away) == (2, 1, None)
    assert dispatching.outbox.errors == {1: "remediation: too large"}
    assert (await dispatching.dispatcher.round())[0].refused == 0
    dispatching.clock.advance(round(REFUSED_S * SECOND_US))
    assert (await dispatching.dispatcher.round())[0].refused == 1


async def test_a_database_that_is_away_is_waited_for() -> None:
    """It is an outcome, not an error."""
    dispatching = Dispatching(1)
    dispatching.outbox.away = True
    done, pause_s = await dispatching.dispatcher.round()
    assert (done.away, pause_s) == ("the database is away", AWAY_S_FIRST)
    dispatching.outbox.away = False
    await dispatching.drain(dispatching.dispatcher)
