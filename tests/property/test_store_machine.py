"""The invariant: at any moment every query equals numpy over the last acknowledged value of every (series, ts).

A state machine appends, retries, comes late, settles, refreshes, compresses, drops, abandons and restarts, in any
order, on every engine. `SEXTANT_TEST_STORE_EXAMPLES` sets how many histories each engine lives through.
"""

import asyncio
import os
from collections.abc import Coroutine, Sequence
from contextlib import AsyncExitStack, suppress
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from adapters.driven.memory.clock import FakeClock
from adapters.runtime.telemetry import PrometheusTelemetry
from core.domain.definitions import MetricDefinition
from core.domain.errors import Unavailable
from core.domain.points import Receipt
from core.domain.times import DAY_US, HOUR_US, MINUTE_US, SECOND_US, TimeRange
from core.services.policies import Policies
from core.services.query import QueryService
from ports.driven.journal import StoredReply
from tests.property.store_world import HOSTS, REGION_OF, RETENTION_DAYS, TenantWorld, check_everything
from tests.support.storages import LIMITS, RECENT_US, Row, Storage, Store, Tenancy, new_tenancy, settle_all, unique

EXAMPLES = {"memory": 60, "postgres": 12, "timescale-wasm": 6, "timescale-native": 8}
STEPS = 20

Answer = TypeVar("Answer")

tenants = st.sampled_from([0, 1])
names = st.sampled_from(sorted(RETENTION_DAYS))
hosts = st.sampled_from(HOSTS)
# Few days, few instants in each: collisions, late points and buckets with several samples are the rule.
instants = st.builds(
    lambda day, tick: RECENT_US + day * DAY_US + tick,
    st.integers(-3, 1),
    st.sampled_from([0, 1, SECOND_US, 30 * SECOND_US, 299 * SECOND_US, 5 * MINUTE_US, 61 * MINUTE_US, 7 * HOUR_US]),
)
values = st.one_of(st.integers(-5, 5).map(float), st.floats(-1e9, 1e9).map(lambda value: round(value, 3)))
samples = st.lists(st.tuples(names, hosts, instants, values), min_size=1, max_size=40)
intervals = st.sampled_from([SECOND_US, 30 * SECOND_US, 5 * MINUTE_US])
points_max = st.sampled_from([1, 10, 1_000_000])
ranges = st.tuples(instants, instants).map(lambda pair: TimeRange(min(pair) - 7, max(pair) + 11))
bucket_widths = st.sampled_from([MINUTE_US, 5 * MINUTE_US, 7 * MINUTE_US, HOUR_US, 6 * HOUR_US, DAY_US, 2 * DAY_US])

WIDEST = TimeRange(RECENT_US - 10 * DAY_US, RECENT_US + 10 * DAY_US)

Samples = Sequence[tuple[str, str, int, float]]


class StoreMachine(RuleBasedStateMachine):
    """Two tenants, two processes over one store, and a clock of ours."""

    def __init__(self, store: Store) -> None:
        super().__init__()
        self.store = store
        self.runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        self.processes: list[tuple[AsyncExitStack, Storage]] = []
        self.clock = FakeClock(RECENT_US + 3 * DAY_US)
        self.worlds: list[TenantWorld] = []
        self.keyed: list[tuple[int, str, list[Row]]] = []

    @initialize()
    def begin(self) -> None:
        """Two processes start; two tenants have the same metrics and labels."""
        self.processes = [self.run(self._start()) for _ in range(2)]
        self.worlds = [self.run(self._new_world()) for _ in range(2)]

    @rule(tenant=tenants, process=st.integers(0, 1), batch=samples)
    def append(self, tenant: int, process: int, batch: Samples) -> None:
        """A request is acknowledged."""
        rows = self.rows(tenant, batch)
        self.run(self.tenancy(tenant, process).append(rows))
        self.acknowledge(tenant, rows)

    @rule(tenant=tenants, name=names, start_us=instants, every_us=intervals, count=st.integers(50, 300))
    def backfill(self, tenant: int, name: str, start_us: int, every_us: int, count: int) -> None:
        """A regular run of samples of every host is acknowledged, as agents and replays send them."""
        rows = [
            (self.worlds[tenant].series[name, host], start_us + n * every_us, float(n * (7 - place) % 50))
            for n in range(count)
            for place, host in enumerate(HOSTS)
        ]
        self.run(self.tenancy(tenant, 0).append(rows))
        self.acknowledge(tenant, rows)

    @rule(tenant=tenants, process=st.integers(0, 1), batch=samples)
    def append_once(self, tenant: int, process: int, batch: Samples) -> None:
        """A request with an idempotency key is acknowledged."""
        rows, key = self.rows(tenant, batch), unique("key")
        assert isinstance(self.run(self.tenancy(tenant, process).append_once(rows, key)), Receipt)
        self.acknowledge(tenant, rows)
        self.keyed.append((tenant, key, rows))

    @rule(process=st.integers(0, 1), data=st.data())
    def retry(self, process: int, data: st.DataObject) -> None:
        """A request is sent again with its key, perhaps long after its samples were rewritten: nothing changes."""
        if self.keyed:
            tenant, key, rows = data.draw(st.sampled_from(self.keyed))
            assert isinstance(self.run(self.tenancy(tenant, process).append_once(rows, key)), StoredReply)

    @rule(tenant=tenants, process=st.integers(0, 1), batch=samples, turns=st.integers(0, 4))
    def abandon_and_retry(self, tenant: int, process: int, batch: Samples, turns: int) -> None:
        """A client goes away while its request is under way, comes back and sends it again."""
        rows, key = self.rows(tenant, batch), unique("key")
        self.run(self._abandon(self.tenancy(tenant, process), rows, key, turns))
        self.run(self.tenancy(tenant, process).append_once(rows, key))
        self.acknowledge(tenant, rows)

    @rule(process=st.integers(0, 1), points_max=points_max)
    def settle(self, process: int, points_max: int) -> None:
        """A settler moves some blocks."""
        self.run(self.storage(process).keeping.settle(points_max=points_max))

    @rule(tenant=tenants, batch=samples, work=st.sampled_from(["settle", "refresh", "compress"]))
    def append_meanwhile(self, tenant: int, batch: Samples, work: str) -> None:
        """A request is acknowledged while the other process works on the store."""
        rows = self.rows(tenant, batch)
        self.run(self._both(self.tenancy(tenant, 0).append(rows), self._try_upkeep(work, 1)))
        self.acknowledge(tenant, rows)

    @rule(work=st.sampled_from(["settle", "refresh", "compress"]), process=st.integers(0, 1))
    def settle_meanwhile(self, work: str, process: int) -> None:
        """One process settles while the other works on the store too."""
        self.run(self._both(self._try_upkeep("settle", process), self._try_upkeep(work, 1 - process)))

    @rule(work=st.sampled_from(["refresh", "compress", "drop"]), process=st.integers(0, 1))
    def keep(self, work: str, process: int) -> None:
        """The keeper refreshes aggregates, compresses everything that is over, or drops what has expired."""
        self.run(self._upkeep(work, process))

    @rule(days=st.integers(1, 3))
    def wait(self, days: int) -> None:
        """Days pass."""
        self.clock.advance(days * DAY_US)

    @rule(process=st.integers(0, 1))
    def restart(self, process: int) -> None:
        """A process ends and another starts in its place."""
        stack, _ = self.processes[process]
        self.run(stack.aclose())
        self.processes[process] = self.run(self._start())

    @rule(tenant=tenants, name=names, time_range=ranges, step_us=bucket_widths, process=st.integers(0, 1))
    def query(self, tenant: int, name: str, time_range: TimeRange, step_us: int, process: int) -> None:
        """Every query, from either process, equals numpy over what was acknowledged."""
        storage = self.storage(process)
        service = QueryService(
            storage.reader, Policies(storage.tenants, LIMITS, self.clock), self.clock, PrometheusTelemetry()
        )
        world = self.worlds[tenant]
        self.run(check_everything(service, world, name, time_range, step_us, self.clock.now_us()))

    def teardown(self) -> None:
        """Asks for everything once more, settles what is left and stops."""
        try:
            if self.worlds:
                self.query(0, "plain", WIDEST, DAY_US, 0)
                self.query(1, "short", WIDEST, HOUR_US, 0)
                self.run(settle_all(self.storage(0)))
                self.query(0, "plain", WIDEST, DAY_US, 1)
        finally:
            for stack, _ in self.processes:
                self.run(stack.aclose())
            self.runner.close()

    def run(self, work: Coroutine[Any, Any, Answer]) -> Answer:
        """Runs to the end."""
        return self.runner.run(work)

    def storage(self, process: int) -> Storage:
        """What one process works with."""
        return self.processes[process][1]

    def tenancy(self, tenant: int, process: int) -> Tenancy:
        """One tenant, served by one process."""
        return Tenancy(self.storage(process), self.worlds[tenant].tenant)

    def rows(self, tenant: int, batch: Samples) -> list[Row]:
        """A batch with series ids."""
        series = self.worlds[tenant].series
        return [(series[name, host], ts_us, value) for name, host, ts_us, value in batch]

    def acknowledge(self, tenant: int, rows: list[Row]) -> None:
        """The store has answered for these points."""
        self.worlds[tenant].model.update({(series_id, ts_us): value for series_id, ts_us, value in rows})

    async def _start(self) -> tuple[AsyncExitStack, Storage]:
        stack = AsyncExitStack()
        return stack, await stack.enter_async_context(self.store.open())

    async def _new_world(self) -> TenantWorld:
        tenancy = await new_tenancy(self.storage(0))
        await tenancy.storage.definitions.create(
            tenancy.id, MetricDefinition(name="short", retention_days=RETENTION_DAYS["short"])
        )
        series = {
            (name, host): await tenancy.series(name, host=host, region=REGION_OF[host])
            for name in RETENTION_DAYS
            for host in HOSTS
        }
        return TenantWorld(tenancy.tenant, series)

    async def _abandon(self, tenancy: Tenancy, rows: list[Row], key: str, turns: int) -> None:
        task = asyncio.create_task(tenancy.append_once(rows, key))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])

    async def _both(self, first: Coroutine[Any, Any, object], second: Coroutine[Any, Any, object]) -> None:
        await asyncio.gather(first, second)

    async def _try_upkeep(self, work: str, process: int) -> None:
        """Work beside other work may give way to it, and is then simply not done yet."""
        with suppress(Unavailable):
            await self._upkeep(work, process)

    async def _upkeep(self, work: str, process: int) -> None:
        keeping, now_us = self.storage(process).keeping, self.clock.now_us()
        match work:
            case "settle":
                await keeping.settle(points_max=50)
            case "refresh":
                await keeping.refresh_aggregates(now_us=now_us)
            case "compress":
                await keeping.compress(older_than_us=now_us)
            case "drop":
                await keeping.drop_expired(now_us=now_us)


@pytest.mark.slow
def test_store(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever happened, in whatever order, every query equals numpy over the last acknowledged values."""
    # So little data must take the ways that only much data takes: stored aggregates, direct compression, merging.
    monkeypatch.setattr("adapters.driven.timescale.reader.AGGREGATE_ROWS_MIN", 1)
    monkeypatch.setattr("adapters.driven.timescale.keeping.DIRECT_POINTS_PER_SERIES_MIN", 2)
    monkeypatch.setattr("core.domain.head.TAIL_POINTS_MIN", 10)
    examples = int(os.environ.get("SEXTANT_TEST_STORE_EXAMPLES", EXAMPLES[store.engine]))

    class Machine(StoreMachine):
        """The machine over this store."""

        def __init__(self) -> None:
            super().__init__(store)

    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            # Shrinking repeats histories on a server: worth its time in memory only.
            phases=(Phase.generate, Phase.shrink) if store.engine == "memory" else (Phase.generate,),
            suppress_health_check=list(HealthCheck),
        ),
    )
