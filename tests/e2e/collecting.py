"""A Prometheus that remembers what it answered, and a server that collects from it: is what is stored just that?"""

import asyncio
import math
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import numpy as np
import psutil
import psycopg
from aiohttp import web

from adapters.driven.memory.clock import FakeClock
from core.domain.times import format_time, parse_time
from tests.e2e.alerting import WAIT_S, Api
from tests.e2e.program import Program, frozen, is_alive, wait_until
from tests.e2e.served import in_thread
from tests.support.receiver import Behaviour
from tests.support.vendors.prometheus import PrometheusDouble, Scraped

STEP_S: Final = 15
SCRAPED_S: Final = 4_000
"""A little more than what a first run reaches back."""
METRIC: Final = "wire_load"

Points = dict[tuple[str, int], float]
"""By item and microsecond."""


class Wire(PrometheusDouble):
    """A Prometheus of so many series, each asked for by a query of its own, that remembers its last answers."""

    def __init__(self, items: int, *, metric: str = METRIC, seed: int = 20_261_122) -> None:
        super().__init__(FakeClock(time.time_ns() // 1_000))
        self.metric = metric
        self.answered: Points = {}
        self.items_max = math.inf
        """How many items `slowly` answers for now: what is to be met in its middle does not come to its end."""
        self.asked: Counter[str] = Counter()
        """How often each item was asked for and answered."""
        now_s = time.time_ns() // 1_000_000_000 // STEP_S * STEP_S
        ts_s = np.arange(now_s - SCRAPED_S, now_s, STEP_S)
        chance = np.random.default_rng(seed)
        for item in range(items):
            labels = {"__name__": "load", "item": str(item)}
            self.scraped.append(Scraped(labels, ts_s, chance.normal(size=len(ts_s))))

    def respond(self, request: web.Request, body: bytes) -> web.Response:
        """As it does, and takes note."""
        response = super().respond(request, body)
        if response.status == 200:
            assert isinstance(response.body, bytes)
            for series in msgspec.json.decode(response.body)["data"]["result"]:
                item = series["metric"]["item"]
                self.asked[item] += 1
                self.answered |= {(item, round(at * 1_000_000)): float(value) for at, value in series["values"]}
        return response

    def revise(self) -> None:
        """All values are others from now on."""
        for each in self.scraped:
            each.values = each.values + 1.0

    def slowly(self, delay_s: float) -> Behaviour:
        """Answers, after a while."""

        async def behave(request: web.Request) -> web.StreamResponse:
            await asyncio.sleep(delay_s)
            while len(self.asked) >= self.items_max:  # noqa: ASYNC110  # what changes has no event
                await asyncio.sleep(delay_s)
            return self.respond(request, b"")

        return behave

    def spec(self, name: str, **fields: object) -> dict[str, Any]:
        """It as a source, collected when asked for; one try after the other without a pause."""
        return {"name": name, "interval": None, "calls_per_minute": 60_000, "config": self.config(), **fields}

    def config(self) -> dict[str, Any]:
        """How it is asked: a query for each item."""
        queries = [{"metric": self.metric, "promql": f'load{{item="{each.labels["item"]}"}}'} for each in self.scraped]
        return {"type": "prometheus", "url": self.url, "queries": queries, "step": f"{STEP_S}s"}

    @property
    def since(self) -> str:
        """From where all of it is asked for: a request's own start does not move on while its run waits."""
        return format_time(self.clock.now_us() - (SCRAPED_S - STEP_S) * 1_000_000)

    @contextmanager
    def serving_beside(self) -> Iterator["Wire"]:
        """Listens in a thread of its own while the block runs."""
        with in_thread(self.serving()):
            yield self


@dataclass
class Collecting:
    """A server that collects, and its tables."""

    program: Program
    api: Api
    database_url: str

    def start(self, name: str, **request: object) -> int:
        """Puts a run of a source in line without waiting for it; returns its id."""
        [started] = self.api.post(f"ingest/{name}?wait=0s", request)["runs"]
        run_id: int = started["run"]["id"]
        return run_id

    def run(self, run_id: int) -> dict[str, Any]:
        """One run with its items."""
        found: dict[str, Any] = self.api.get(f"sources/runs/{run_id}")
        return {**found["run"], "shown": found["items"]}

    def await_ended(self, run_id: int, timeout_s: float = WAIT_S) -> dict[str, Any]:
        """Waits until a run is over, and returns it."""
        wait_until(
            lambda: self.run(run_id)["state"] not in ("waiting", "running"),
            timeout_s,
            lambda: f"{self.run(run_id)}\n{self.program.log[-3_000:]}",
        )
        return self.run(run_id)

    def await_done(self, run_id: int, timeout_s: float = WAIT_S) -> dict[str, Any]:
        """The same of one that must end well."""
        run = self.await_ended(run_id, timeout_s)
        assert (run["state"], run["progress"]["failed"]) == ("done", 0), run
        return run

    def await_items(self, run_id: int, count: int) -> None:
        """Waits until so many items of a run are done; it must not be over by then."""
        wait_until(lambda: self.run(run_id)["progress"]["done"] >= count, WAIT_S, lambda: str(self.run(run_id)))
        assert self.run(run_id)["state"] == "running", "it was to be met in its middle"

    def stored(self, wire: Wire) -> Points:
        """What is stored of a source; fails where a point is there twice."""
        rows = self.api.all(
            "metrics", name=wire.metric, start=format_time(wire.clock.now_us() - 2 * SCRAPED_S * 1_000_000)
        )
        points = [((row["labels"]["item"], parse_time(row["timestamp"], "timestamp")), row["value"]) for row in rows]
        assert len(points) == len(dict(points)), "a point is there twice"
        return dict(points)

    def rows(self, query: str) -> list[Any]:
        """What a query of the tables brings; a connection of its own, as the database may have been away."""
        with psycopg.connect(self.database_url, autocommit=True) as database:
            return database.execute(query).fetchall()

    def let_the_lease_end(self, run_id: int, lease_s: float) -> None:
        """What some seconds do to the claim of somebody who died, if it holds; it may not hold for longer."""
        with psycopg.connect(self.database_url, autocommit=True) as database:
            held = "FROM sextant.collection_runs WHERE state = 'running' AND id = %s"
            for (left_s,) in database.execute(
                f"SELECT extract(epoch FROM leased_until - now())::float8 {held}", (run_id,)
            ):
                assert left_s <= lease_s
            self.rows_changed(
                f"UPDATE sextant.collection_runs SET leased_until = now() WHERE state = 'running' AND id = {run_id:d}"
            )

    def rows_changed(self, statement: str) -> None:
        """Runs a statement that brings no rows."""
        with psycopg.connect(self.database_url, autocommit=True) as database:
            database.execute(statement)

    def collectors(self) -> list[psutil.Process]:
        """The process that collects, where it is not just being replaced."""
        return self.program.named("collect")

    @contextmanager
    def frozen_at_rest(self, process: psutil.Process) -> Iterator[None]:
        """A collector that is frozen between two transactions: from one it would keep the others from claiming."""
        with ExitStack() as night:
            wait_until(lambda: self._falls_asleep(process, night), WAIT_S)
            yield

    def _falls_asleep(self, process: psutil.Process, night: ExitStack) -> bool:
        with ExitStack() as trial:
            trial.enter_context(frozen(process))
            try:
                with psycopg.connect(self.database_url) as database:
                    database.execute("SET LOCAL lock_timeout = '500ms'")
                    database.execute("SELECT pg_advisory_xact_lock(hashtext('sextant.collection'), 0)")
                    database.execute("SELECT FROM sextant.collection_runs WHERE state = 'running' FOR UPDATE")
            except psycopg.errors.LockNotAvailable:
                return False
            night.enter_context(trial.pop_all())
            return True

    def kill_collector(self) -> None:
        """kill -9 of it, to its end, and until there is another."""
        [victim] = self.collectors()
        victim.kill()
        wait_until(lambda: not is_alive(victim) and bool(self.collectors()), WAIT_S)
