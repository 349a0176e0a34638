"""The agent through outages of the server, restarts of itself, and refusals."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from adapters.driving.cli.agent_loop import Agent, next_tick_us
from adapters.driving.cli.client import ConfigurationError, IngestClient, Target
from adapters.driving.cli.host_metrics import counter_definitions
from adapters.driving.cli.spool import Spool
from core.domain.points import Point
from core.domain.times import format_time, parse_time
from tests.e2e.program import free_port
from tests.unit.cli.ingest_double import KEY, IngestDouble, answers, hangs, ingest_double, resets, until

INTERVAL_S = 0.02
SIZE = 1 << 20


class CountingSampler:
    """Samples whose values count up, so that a gap or a repeat shows."""

    def __init__(self, name: str = "count") -> None:
        self.taken = 0
        self._name = name

    def sample(self, ts_us: int) -> list[Point]:
        """One point."""
        self.taken += 1
        return [Point(self._name, float(self.taken), timestamp=format_time(ts_us))]


@asynccontextmanager
async def working(
    target: Target, spool: Spool, sampler: CountingSampler, *, flush_s: float = 5.0, attempt_timeout_s: float = 60.0
) -> AsyncIterator[Agent]:
    """An agent at work; leaving asks it to stop and waits for that."""
    async with IngestClient(target, attempt_timeout_s=attempt_timeout_s) as client:
        rejected = spool._directory / "rejected.ndjson"
        agent = Agent(sampler, spool, client, interval_s=INTERVAL_S, rejected_file=rejected)
        stop = asyncio.Event()
        running = asyncio.ensure_future(agent.run(stop, flush_s=flush_s))
        try:
            yield agent
        finally:
            stop.set()
            await running


async def test_samples_lie_on_ticks_and_arrive_in_order(tmp_path: Path) -> None:
    """Every value once, at multiples of the interval; what was taken last is flushed at the end."""
    sampler = CountingSampler()
    with Spool(tmp_path, SIZE) as spool:
        async with ingest_double() as server:
            async with working(server.target, spool, sampler) as agent:
                await until(lambda: len(server.stored) >= 5)
            assert server.values == [float(number) for number in range(1, sampler.taken + 1)]
        times = [parse_time(metric["timestamp"], "") for metric in server.stored]
        assert all(ts_us % round(INTERVAL_S * 1e6) == 0 for ts_us in times)
        assert len(set(times)) == len(times)
        assert agent.tally.accepted == agent.tally.sampled == sampler.taken
        assert len(spool) == 0


async def test_trouble_of_every_kind_loses_and_repeats_nothing(tmp_path: Path) -> None:
    """429, 503, 500, broken connections and silence."""
    sampler = CountingSampler()
    with Spool(tmp_path, SIZE) as spool:
        async with ingest_double() as server:
            server.troubles = [
                answers(503, Retry_After="0"),
                resets,
                answers(429, Retry_After="0"),
                hangs,
                answers(500),
            ]
            async with working(server.target, spool, sampler, attempt_timeout_s=1.0):
                await until(lambda: not server.troubles and len(server.stored) >= 10)
        assert server.values == [float(number) for number in range(1, sampler.taken + 1)]


async def test_a_server_that_restarts_gets_what_was_sampled_meanwhile(tmp_path: Path) -> None:
    """Sampling goes on while it is away, and timestamps are those of the sampling."""
    sampler = CountingSampler()
    with Spool(tmp_path, SIZE) as spool:
        port = free_port()
        async with ingest_double(port) as double:
            pass
        async with working(double.target, spool, sampler):
            await until(lambda: len(spool) >= 10)
            async with ingest_double(port, double):
                await until(lambda: len(double.stored) >= 12)
            at_restart = len(double.stored)
            await until(lambda: len(spool) >= 3)
            async with ingest_double(port, double):
                await until(lambda: len(double.stored) >= at_restart + 3)
        # The second restart is over too: what came after it is still in the spool.
        assert double.values == [float(number) for number in range(1, len(double.stored) + 1)]
        assert len(double.stored) + len(spool) == sampler.taken


async def test_an_agent_that_was_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    """The next one sends what the first left, before its own samples."""
    first, second = CountingSampler("first"), CountingSampler("second")
    async with ingest_double() as server:
        with Spool(tmp_path, SIZE) as spool:
            async with working(Target("http://127.0.0.1:9", KEY), spool, first, flush_s=0.01):
                await until(lambda: len(spool) >= 5)
        with Spool(tmp_path, SIZE) as spool:
            async with working(server.target, spool, second):
                await until(lambda: len(server.stored) >= first.taken + 3)
    names = [metric["name"] for metric in server.stored]
    assert names == ["first"] * first.taken + ["second"] * second.taken


async def test_what_will_never_be_stored_is_put_aside(tmp_path: Path) -> None:
    """It does not block what comes after it, and it is kept with the reason."""
    sampler = CountingSampler()
    with Spool(tmp_path, SIZE) as spool:
        async with ingest_double() as server:
            server.troubles = [answers(413, "too large")]
            async with working(server.target, spool, sampler) as agent:
                await until(lambda: len(server.stored) >= 3)
        assert server.values == [float(number) for number in range(2, sampler.taken + 1)]
        assert agent.tally.rejected == 1
    [kept] = (tmp_path / "rejected.ndjson").read_text().splitlines()
    refusal = json.loads(kept)
    assert (refusal["status"], refusal["reason"]) == (413, "413 too large")
    assert refusal["metrics"][0]["value"] == 1.0


async def test_metrics_refused_one_by_one_are_put_aside_with_their_reasons(tmp_path: Path) -> None:
    """The others of the batch are stored."""

    class Mixed(CountingSampler):
        def sample(self, ts_us: int) -> list[Point]:
            return [*super().sample(ts_us), Point("not ok", -1.0, timestamp=format_time(ts_us))]

    sampler = Mixed()
    with Spool(tmp_path, SIZE) as spool:
        async with ingest_double() as server, working(server.target, spool, sampler) as agent:
            await until(lambda: len(server.stored) >= 2)
        assert agent.tally.rejected == agent.tally.accepted == sampler.taken
    refusal = json.loads((tmp_path / "rejected.ndjson").read_text().splitlines()[0])
    assert [metric["name"] for metric in refusal["metrics"]] == ["not ok"]
    assert "not a metric name" in refusal["errors"][0]["reason"]


async def test_a_wrong_key_stops_the_agent_and_keeps_its_samples(tmp_path: Path) -> None:
    """They are sent once the key is right."""
    sampler = CountingSampler()
    with Spool(tmp_path, SIZE) as spool:
        async with ingest_double() as server:
            with pytest.raises(ConfigurationError, match="API key is unknown"):
                async with working(Target(server.url, "sx_wrong-key-of-some-length"), spool, sampler):
                    await until(lambda: sampler.taken >= 1)
            assert len(spool) == sampler.taken
            sampler_after = CountingSampler("after")
            async with working(server.target, spool, sampler_after):
                await until(lambda: len(server.stored) > sampler.taken)
        assert server.values[: sampler.taken] == [float(number) for number in range(1, sampler.taken + 1)]


async def test_stopping_does_not_wait_for_a_server_that_hangs(tmp_path: Path) -> None:
    """What was not flushed in time stays in the spool."""
    sampler = CountingSampler()
    with Spool(tmp_path, SIZE) as spool:
        async with ingest_double() as server:
            server.troubles = [hangs] * 100
            async with working(server.target, spool, sampler, flush_s=0.05, attempt_timeout_s=3_600):
                await until(lambda: sampler.taken >= 3)
                started_s = time.monotonic()
            assert time.monotonic() - started_s < 2
        assert len(spool) == sampler.taken


@pytest.mark.parametrize(
    ("now_us", "last_us", "tick_us"),
    [
        (0, 0, 10),
        (9, 0, 10),
        (10, 10, 20),
        (9, 10, 20),  # woke a little early: not the same tick again
        (35, 10, 40),  # slept too long: the ticks between are gone
        (4, 1_000, 10),  # the clock was set back: follow it
    ],
)
def test_ticks_follow_the_wall_clock(now_us: int, last_us: int, tick_us: int) -> None:
    """Each is a multiple of the interval, and never the one before again."""
    assert next_tick_us(now_us, last_us, 10) == tick_us


class Process:
    """`sextant agent` in a process of its own."""

    def __init__(self, server: IngestDouble, spool: Path, *arguments: str) -> None:
        run = (
            "from cyclopts import App\nfrom adapters.driving.cli.agent import agent\n"
            "app = App()\napp.default(agent)\napp()"
        )
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SEXTANT_")}
        self.process = subprocess.Popen(
            [sys.executable, "-c", run, "--json", "--spool-dir", str(spool), *arguments],
            env={**environment, "SEXTANT_AGENT_URL": server.url, "SEXTANT_AGENT_KEY": KEY},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    async def ended(self) -> tuple[int, dict[str, int], str]:
        """Exit status, summary and log."""
        out, err = await asyncio.to_thread(self.process.communicate, None, 30)
        return self.process.returncode, json.loads(out) if out else {}, err.decode()


async def test_the_command_measures_this_machine_until_sigterm(tmp_path: Path) -> None:
    """Real metrics with the host's label; counters are declared; it ends in time with status 0."""
    async with ingest_double() as server:
        agent = Process(server, tmp_path / "spool", "--interval", "100ms", "--label", "rack=r1", "--per-cpu")
        await until(lambda: len(server.requests) >= 3 and len(server.definitions) == len(counter_definitions()))
        started_s = time.monotonic()
        agent.process.send_signal(signal.SIGTERM)
        status, summary, _ = await agent.ended()
        assert time.monotonic() - started_s < 5
    assert status == 0
    assert summary["accepted"] == summary["sampled"] == len(server.stored)
    assert summary["pending"] == summary["rejected"] == 0
    names = {metric["name"] for metric in server.stored}
    assert {"host_cpu_usage_percent", "host_cpu_core_usage_percent", "host_memory_used_bytes", "host_load1"} <= names
    assert all({"host", "rack"} <= set(metric["labels"]) for metric in server.stored)
    assert server.definitions["host_cpu_seconds_total"]["type"] == "counter"


async def test_once_sends_one_sample_and_what_was_left(tmp_path: Path) -> None:
    """Status 0 and an empty spool; for timers."""
    with Spool(tmp_path, SIZE) as spool:
        async with working(Target("http://127.0.0.1:9", KEY), spool, CountingSampler("left"), flush_s=0.01):
            await until(lambda: len(spool) >= 2)
        left = len(spool)
    async with ingest_double() as server:
        status, summary, _ = await Process(server, tmp_path, "--once").ended()
    assert status == 0
    names = [metric["name"] for metric in server.stored]
    assert names[:left] == ["left"] * left
    assert names.count("host_cpu_usage_percent") == 1
    assert summary["pending"] == 0


async def test_a_key_that_may_not_define_metrics_still_sends_them(tmp_path: Path) -> None:
    """It is not an error."""
    async with ingest_double() as server:
        server.definitions_status = 403
        agent = Process(server, tmp_path, "--interval", "1s")  # a busy machine skips shorter ones
        await until(lambda: server.definitions_asked > 0)
        ticks = len(server.requests) + 3  # by then the refusal has been read
        await until(lambda: len(server.requests) >= ticks)
        agent.process.send_signal(signal.SIGTERM)
        status, _, log = await agent.ended()
    assert status == 0
    levels = {line["event"]: line["level"] for line in map(msgspec.json.decode, log.splitlines())}
    assert levels["counters_not_declared"] == "info"
    assert not {"warning", "error"} & set(levels.values())


async def test_the_command_says_what_is_wrong_with_its_key(tmp_path: Path) -> None:
    """Status 2, one line, and the key is not in it."""
    async with ingest_double() as server:
        agent = Process(server, tmp_path, "--interval", "100ms", "--key", "sx_wrong-key-of-some-length")
        status, _, log = await agent.ended()
    assert status == 2
    assert "the API key is unknown" in log.splitlines()[-1]
    assert "sx_wrong" not in log
