"""How fast a source may be asked, how often in one run, and what that may cost."""

from typing import Final

from core.domain.collection import Problem, ProblemKind
from core.domain.sources import SourceSpec
from ports.driven.clock import Clock
from ports.driven.metric_source import Usage
from ports.driven.pause import Pause

BURST_S: Final = 30.0
"""So much of its pace a source may use at once when it was idle: a few queries begin without waiting for each other."""
BURST_CALLS_MAX: Final = 10
"""Vendors that allow many calls a minute still limit those at the same moment."""
ROUNDING_USD: Final = 1e-9
"""Far below any price: sums of prices are not exact."""


class BudgetSpent(Exception):
    """The run's own limit of calls or cost does not allow the call; carries the `Problem` for what is left."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.problem = Problem(kind=ProblemKind.BUDGET, message=message)


class CallBudget:
    """The calls of one run, by the generic cell rate algorithm (ATM Forum, Traffic Management 4.0).

    For one event loop; may be asked concurrently: callers then go on one after the other.
    """

    def __init__(self, spec: SourceSpec, clock: Clock, pause: Pause) -> None:
        """Takes `spec`'s pace, calls and cost of a run."""
        self._calls_max = spec.calls_per_run_max
        self._cost_usd_max = spec.cost_usd_per_run_max
        self._interval_s = 60.0 / spec.pace_per_minute
        self._ahead_s = self._interval_s * (min(max(int(BURST_S / self._interval_s), 1), BURST_CALLS_MAX) - 1)
        self._clock = clock
        self._pause = pause
        self._due_s = clock.monotonic_s()
        self._calls = 0
        self._cost_usd = 0.0

    async def spend(self, *, calls: int = 1, cost_usd: float = 0.0) -> None:
        """Counts calls that are about to be made, and waits until the pace allows them.

        Raises `BudgetSpent`, counting nothing, where the run's budget does not allow them.
        """
        if self._calls + calls > self._calls_max:
            raise BudgetSpent(
                f"the run's limit of {self._calls_max} calls (calls_per_run_max) is used up; "
                "the next run goes on from there"
            )
        if self._cost_usd_max is not None and self._cost_usd + cost_usd > self._cost_usd_max + ROUNDING_USD:
            limit = f"the run's limit of {self._cost_usd_max:g} USD (cost_usd_per_run_max)"
            if not self._cost_usd:
                raise BudgetSpent(f"{limit} is less than one call costs: nothing can be asked for")
            raise BudgetSpent(f"{limit} is used up; the next run goes on from there")
        self._calls += calls
        self._cost_usd += cost_usd
        now_s = self._clock.monotonic_s()
        begin_s = max(self._due_s, now_s)
        self._due_s = begin_s + calls * self._interval_s
        wait_s = begin_s - self._ahead_s - now_s
        if wait_s > 0:
            await self._pause.sleep(wait_s)

    def affordable(self, price_usd: float) -> int | None:
        """How many things of that price the run's budget of cost has room for; None: it has no limit."""
        if self._cost_usd_max is None:
            return None
        return int((self._cost_usd_max - self._cost_usd + ROUNDING_USD / 2) / price_usd)

    def usage(self) -> Usage:
        """What was spent so far."""
        return Usage(calls=self._calls, cost_usd=self._cost_usd)
