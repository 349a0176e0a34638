"""How fast, how often and at what cost a source may be asked."""

import pytest

from adapters.driven.memory.clock import FakeClock
from adapters.driven.sources.call_budget import BudgetSpent, CallBudget
from core.domain.collection import ProblemKind
from core.domain.source_configs import DatadogConfig
from core.domain.sources import SourceSpec
from ports.driven.metric_source import Usage
from tests.support.vendors.passing import PassingPause


def budget(spec: SourceSpec) -> tuple[CallBudget, FakeClock, PassingPause]:
    """A budget whose waits pass at once."""
    clock = FakeClock()
    pause = PassingPause(clock)
    return CallBudget(spec, clock, pause), clock, pause


def spec(
    *, calls_per_minute: int | None = None, calls_per_run_max: int = 1_000, cost_usd_per_run_max: float | None = None
) -> SourceSpec:
    """A source of Datadog, whose usual pace is five calls a minute."""
    return SourceSpec(
        name="dd",
        config=DatadogConfig(),
        calls_per_minute=calls_per_minute,
        calls_per_run_max=calls_per_run_max,
        cost_usd_per_run_max=cost_usd_per_run_max,
    )


@pytest.mark.parametrize("per_minute", [1, 5, 120, 60_000])
async def test_in_the_long_run_the_pace_is_kept(per_minute: int) -> None:
    """A few calls go ahead; after that no minute holds more than the pace."""
    asked, clock, _ = budget(spec(calls_per_minute=per_minute, calls_per_run_max=100_000))
    instants_s = []
    for _ in range(200):
        await asked.spend()
        instants_s.append(clock.monotonic_s())
    ahead = min(10, max(1, per_minute // 2))
    assert instants_s[ahead - 1] == 0
    expected_s = [max(0.0, (index - ahead + 1) * 60 / per_minute) for index in range(200)]
    assert instants_s == pytest.approx(expected_s, abs=1e-3)


async def test_datadogs_two_default_queries_need_no_wait() -> None:
    """Its pace of five a minute lets two go at once."""
    asked, _, pause = budget(spec())
    await asked.spend()
    await asked.spend()
    assert pause.waits_s == []
    await asked.spend()
    assert pause.waits_s == [pytest.approx(12)]


async def test_an_idle_source_saves_up_no_more_than_a_few_calls() -> None:
    """An hour without a call does not allow a burst of an hour's calls."""
    asked, clock, pause = budget(spec())
    clock.advance(3_600_000_000)
    for _ in range(5):
        await asked.spend()
    assert len(pause.waits_s) == 3


async def test_calls_of_a_run_are_limited() -> None:
    """The call that goes beyond is not counted, and what is left is told as a problem."""
    asked, _, _ = budget(spec(calls_per_run_max=2))
    await asked.spend(calls=2)
    with pytest.raises(BudgetSpent, match="2 calls") as spent:
        await asked.spend()
    assert spent.value.problem.kind is ProblemKind.BUDGET
    assert asked.usage() == Usage(calls=2)


async def test_how_much_is_affordable_can_be_spent() -> None:
    """To the last thing, however sums are rounded; a limit below any price is said to be one."""
    assert budget(spec())[0].affordable(1e-5) is None
    for metrics in (1, 3, 7, 300, 499):
        asked, _, _ = budget(spec(cost_usd_per_run_max=metrics * 1e-5))
        await asked.spend(cost_usd=1e-5 * (metrics // 3))
        left = asked.affordable(1e-5)
        assert left == metrics - metrics // 3
        await asked.spend(cost_usd=left * 1e-5)
        assert asked.affordable(1e-5) == 0
        with pytest.raises(BudgetSpent, match="used up"):
            await asked.spend(cost_usd=1e-5)
    with pytest.raises(BudgetSpent, match="less than one call costs"):
        await budget(spec(cost_usd_per_run_max=1e-6))[0].spend(cost_usd=1e-5)


async def test_costs_of_a_run_are_limited() -> None:
    """A dearer call may not fit where a cheaper one does."""
    asked, _, _ = budget(spec(cost_usd_per_run_max=0.05))
    await asked.spend(cost_usd=0.04)
    with pytest.raises(BudgetSpent, match=r"0\.05 USD"):
        await asked.spend(cost_usd=0.02)
    await asked.spend(cost_usd=0.01)
    assert asked.usage().calls == 2
    assert asked.usage().cost_usd == pytest.approx(0.05)
