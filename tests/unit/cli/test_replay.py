"""The replay command against a double of the ingest API."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from adapters.driving.cli.client import IngestClient, Patience
from adapters.driving.cli.replay import replay
from adapters.driving.cli.replay_run import Replay, in_thread, newest_us
from adapters.driving.cli.replay_source import Source
from core.domain.times import format_time, parse_time
from tests.unit.cli.ingest_double import KEY, IngestDouble, answers, hangs, ingest_double, resets, until

RUN = """
from cyclopts import App
from adapters.driving.cli.replay import replay
app = App()
app.default(replay)
app()
"""
"""The command alone, in a process of its own."""


def csv_file(path: Path, count: int, start: str = "2026-01-01T00:00:00Z", step_s: int = 60) -> Path:
    start_us = parse_time(start, "start")
    rows = [f"{format_time(start_us + number * step_s * 1_000_000)},{number}" for number in range(count)]
    path.write_text("timestamp,value\n" + "\n".join(rows) + "\n")
    return path


async def replayed(server: IngestDouble, *arguments: str | Path) -> tuple[int, dict[str, Any], str]:
    """Exit status, summary and standard error of the command in a process of its own."""
    process = await asyncio.create_subprocess_exec(
        *command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(server)
    )
    out, err = await process.communicate()
    return process.returncode or 0, json.loads(out) if out else {}, err.decode()


def command(*arguments: str | Path) -> Sequence[str]:
    return sys.executable, "-c", RUN, "--json", *map(str, arguments)


def environment(server: IngestDouble) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("SEXTANT_")}
    return {**inherited, "SEXTANT_AGENT_URL": server.url, "SEXTANT_AGENT_KEY": KEY}


async def run(
    server: IngestDouble,
    *paths: Path,
    batch_size: int = 100,
    lanes: int = 2,
    speed: float | None = None,
    shift_us: int = 0,
    retention_days: int | None = None,
) -> Replay:
    sources = [Source(str(path), name=None, labels={}, rereadable=False) for path in paths]
    async with IngestClient(server.target) as client:
        work = Replay(
            sources,
            client,
            Patience(60),
            batch_size=batch_size,
            lanes=lanes,
            speed=speed,
            retention_days=retention_days,
        )
        await work.run(shift_us=shift_us)
    return work


async def test_every_sample_arrives_once_and_each_series_in_order(tmp_path: Path) -> None:
    """Over several lanes, with every kind of trouble on the way."""
    files = [csv_file(tmp_path / f"m{number}.csv", 1_050) for number in range(3)]
    async with ingest_double() as server:
        server.troubles = [answers(503), resets, answers(429, Retry_After="0"), answers(500)]
        replay = await run(server, *files, lanes=3)
    assert replay.tally.accepted == replay.tally.sent == replay.tally.read == 3_150
    assert replay.tally.rejected == 0
    for number in range(3):
        values = [metric["value"] for metric in server.stored if metric["name"] == f"m{number}"]
        assert values == [float(value) for value in range(1_050)]


async def test_a_repeated_replay_stores_nothing_twice(tmp_path: Path) -> None:
    """The same files and options make the same batches with the same keys."""
    files = [csv_file(tmp_path / f"m{number}.csv", 450) for number in range(3)]
    async with ingest_double() as server:
        await run(server, *files)
        first = len(server.requests)
        again = await run(server, *files)
    assert again.tally.accepted == 1_350
    assert len(server.stored) == 1_350
    assert len(server.requests) == 2 * first


async def test_refusals_are_reported_by_file_and_line(tmp_path: Path) -> None:
    """Those of the server, and those that were never sent."""
    path = tmp_path / "m.csv"
    path.write_text("timestamp,value\n2010-01-01 00:00:00,1\n\n2026-01-01 00:00:00,2\nnever,3\n2010-01-01 00:00:01,4\n")
    async with ingest_double() as server:
        server.refuse_before_us = parse_time("2020-01-01T00:00:00Z", "")
        status, summary, err = await replayed(server, path)
    assert status == 1
    assert {name: summary[name] for name in ("read", "sent", "accepted", "rejected")} == {
        "read": 4,
        "sent": 3,
        "accepted": 1,
        "rejected": 3,
    }
    assert [reason.removeprefix(str(path)).split(":")[1:3] for reason in summary["reasons"]] == [
        ["5", " timestamp"],
        ["2", " timestamp"],
        ["6", " timestamp"],
    ]
    assert "--shift-to-now" in summary["advice"][0]
    assert "--retention-days" in summary["advice"][0]
    assert err == ""


async def test_shift_to_now_keeps_the_spacing_and_ends_now(tmp_path: Path) -> None:
    """The newest sample of all files lands at the start of the replay, the others as far before it as they were."""
    old = csv_file(tmp_path / "old.csv", 3, "2014-01-01T00:00:00Z")
    older = csv_file(tmp_path / "older.csv", 2, "2013-12-31T23:00:00Z")
    async with ingest_double() as server:
        started_us = time.time_ns() // 1_000
        status, summary, _ = await replayed(server, "--shift-to-now", older, old)
        ended_us = time.time_ns() // 1_000
    assert (status, summary["accepted"]) == (0, 5)
    at = {(metric["name"], metric["value"]): parse_time(metric["timestamp"], "") for metric in server.stored}
    newest = at["old", 2.0]
    assert started_us - 1_000_000 <= newest <= ended_us, "in whole seconds"
    assert newest - at["old", 0.0] == 120_000_000
    assert newest - at["older", 0.0] == 3_720_000_000


async def test_retention_days_defines_the_metrics_first(tmp_path: Path) -> None:
    """Old samples are then kept; what else the definition says stays."""
    path = csv_file(tmp_path / "m.csv", 5, "2014-01-01T00:00:00Z")
    async with ingest_double() as server:
        server.refuse_before_us = parse_time("2020-01-01T00:00:00Z", "")
        server.definitions["m"] = {"name": "m", "unit": "percent", "type": "gauge", "retention_days": 7, "effective": 1}
        assert (await replayed(server, path))[0] == 1
        status, summary, _ = await replayed(server, path, "--retention-days", "5000")
    assert (status, summary["accepted"]) == (0, 5)
    assert server.definitions["m"]["retention_days"] == 5_000
    assert server.definitions["m"]["unit"] == "percent"


async def test_retention_days_without_the_right_to_define_is_said(tmp_path: Path) -> None:
    """Nothing is sent then."""
    path = csv_file(tmp_path / "m.csv", 5)
    async with ingest_double() as server:
        server.definitions_status = 403
        status, summary, _ = await replayed(server, path, "--retention-days", "5000")
    assert status == 2
    assert "needs scope admin" in summary["failure"]
    assert server.requests == []


async def test_retention_days_leaves_bad_names_to_the_server(tmp_path: Path) -> None:
    """One bad name does not stop the others."""
    path = tmp_path / "m.ndjson"
    path.write_text(
        '{"name":"a/b","value":1,"timestamp":"2026-01-01T00:00:00Z"}\n'
        '{"name":"ok","value":2,"timestamp":"2026-01-01T00:00:00Z"}\n'
    )
    async with ingest_double() as server:
        work = await run(server, path, retention_days=90)
    assert (work.tally.accepted, work.tally.rejected) == (1, 1)
    assert set(server.definitions) == {"ok"}


async def test_speed_spreads_samples_in_real_time(tmp_path: Path) -> None:
    """Files are merged by time, and no sample is sent before it is due."""
    one = csv_file(tmp_path / "one.csv", 4, step_s=10)
    two = csv_file(tmp_path / "two.csv", 4, "2026-01-01T00:00:05Z", step_s=10)
    async with ingest_double() as server:
        started_s = time.monotonic()
        replay = await run(server, one, two, speed=100.0, batch_size=2, lanes=1)
        took_s = time.monotonic() - started_s
    assert replay.tally.accepted == 8
    assert 0.35 <= took_s < 5
    times = [metric["timestamp"] for metric in server.stored]
    assert times == sorted(times)


async def test_standard_input_is_read_as_a_stream(tmp_path: Path) -> None:
    """Also where it must be read twice."""
    content = csv_file(tmp_path / "m.csv", 300).read_bytes()
    async with ingest_double() as server:
        for options in ([], ["--shift-to-now"]):
            process = await asyncio.create_subprocess_exec(
                *command("-", "--name", "piped", *options),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=environment(server),
            )
            out, _ = await process.communicate(content)
            assert json.loads(out)["accepted"] == 300
    assert {metric["name"] for metric in server.stored} == {"piped"}


class HangsAtTheThird(IngestDouble):
    """Two replies, then none: who asks a third time has read both."""

    arrived = 0

    async def ingest(self, request: web.Request) -> web.StreamResponse:
        """POST /api/v1/metrics/ingest/batch."""
        self.arrived += 1
        return await (hangs(request) if self.arrived == 3 else super().ingest(request))


async def test_an_interrupt_ends_it_with_a_summary_even_while_it_reads(tmp_path: Path) -> None:
    """A silent pipe does not hold it up."""
    double = HangsAtTheThird()
    async with ingest_double(double=double) as server:
        process = await asyncio.create_subprocess_exec(
            *command("-", "--batch", "10", "--concurrency", "1"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment(server),
        )
        assert process.stdin is not None
        process.stdin.write(csv_file(tmp_path / "m.csv", 35).read_bytes())
        await until(lambda: double.arrived == 3)
        process.send_signal(signal.SIGINT)
        assert process.stdout is not None
        summary = json.loads(await process.stdout.read())
        process.stdin.close()
        assert await process.wait() == 130
    assert summary["failure"] == "interrupted"
    assert summary["accepted"] == 20


async def test_a_wrong_key_stops_it_at_once(tmp_path: Path) -> None:
    """With a status of its own and a message that says what to mend."""
    path = csv_file(tmp_path / "m.csv", 5)
    async with ingest_double() as server:
        status, summary, _ = await replayed(server, path, "--key", "sx_another-key-entirely")
    assert status == 2
    assert "API key is unknown" in summary["failure"]


@pytest.mark.parametrize(
    ("files", "options", "reason"),
    [
        ("absent.csv", {}, "absent.csv: No such file"),
        ("FILE", {"speed": 0.0}, "--speed"),
        ("FILE", {"batch": 10_001}, "--batch must be from 1 to 10000"),
        ("FILE", {"concurrency": 0}, "--concurrency"),
        ("FILE", {"retention_days": 0}, "--retention-days"),
        ("FILE", {"label": ("host",)}, "--label 'host' is not of the form name=value"),
        ("FILE", {"label": ("1x=y",)}, "'1x' is not a label name"),
        ("FILE", {"name": "a b"}, "'a b' is not a metric name"),
        ("FILE", {"url": "localhost:8000"}, "is not a URL such as"),
        ("FILE", {"url": "http://host:port"}, "is not a URL"),
        ("FILE", {"key": None, "data_dir": Path("absent")}, "no API key: give --key"),
    ],
)
def test_wrong_options_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], files: str, options: dict[str, Any], reason: str
) -> None:
    """Before anything is sent, with status 2."""
    path = csv_file(tmp_path / "m.csv", 1)
    status = replay((files.replace("FILE", str(path)),), **{"key": KEY, **options})
    assert status == 2
    assert reason in capsys.readouterr().err


async def test_memory_stays_bounded_while_the_server_hangs(tmp_path: Path) -> None:
    """Reading stops when a lane is full; it does not run ahead of the server."""
    path = csv_file(tmp_path / "m.csv", 10_000)
    async with ingest_double() as server:
        server.troubles = [hangs]
        source = Source(str(path), name=None, labels={}, rereadable=False)
        async with IngestClient(server.target) as client:
            work = Replay([source], client, Patience(60), batch_size=100, lanes=1, speed=None, retention_days=None)
            running = asyncio.ensure_future(work.run(shift_us=0))
            await until(lambda: not server.troubles and work.tally.read >= 400)
            for _ in range(20):
                await asyncio.sleep(0.005)
            assert work.tally.read <= 500
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        source.close()


def test_the_newest_time_is_found_over_all_sources(tmp_path: Path) -> None:
    """Whatever the order, bad lines aside; none where there are no times."""
    one = csv_file(tmp_path / "one.csv", 3)
    (tmp_path / "two.csv").write_text("timestamp,value\n2030-01-01 00:00:00,1\nnever,1\n2020-01-01 00:00:00,1\n")
    (tmp_path / "three").write_text('{"name":"m","value":1}\n')
    sources = [
        Source(str(path), name=None, labels={}, rereadable=False)
        for path in (one, tmp_path / "two.csv", tmp_path / "three")
    ]
    assert newest_us(sources) == parse_time("2030-01-01T00:00:00Z", "")
    assert newest_us(sources[2:]) is None


async def test_what_fails_in_a_thread_fails_its_caller() -> None:
    """With the same exception."""
    with pytest.raises(ZeroDivisionError):
        await in_thread(lambda: 1 // 0)
