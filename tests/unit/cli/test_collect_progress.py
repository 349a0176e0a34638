"""What `sextant collect` shows while it lasts, and where nobody collects."""

import asyncio
import os
import pty
import signal
import termios
import threading

import pytest

from adapters.driving.cli import collect_progress
from tests.support.scripted_source import ScriptedVendor
from tests.unit.cli.served_api import Commands, ServedApi
from tests.unit.cli.served_collector import collecting

pytestmark = pytest.mark.usefixtures("no_vendors")

DONE = b"the end"


def test_a_server_without_a_collector_is_told_of(
    api: ServedApi, sextant: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a minute, which here has passed at once; the run waits for a collector."""
    monkeypatch.setattr(collect_progress, "BEGUN_WITHIN_S", 0.0)
    said = sextant.refused("collect", "synthetic")
    assert said.startswith("sextant: no collector has begun it")
    assert "SEXTANT_COLLECTION_ENABLED" in said
    assert "waiting" in sextant("sources", "runs")


def test_lines_tell_of_progress_where_there_is_no_terminal(
    api: ServedApi, sextant: Commands, datadog: ScriptedVendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Plain ones, on standard error."""
    monkeypatch.setattr(collect_progress, "LINE_EVERY_S", 0.0)
    with collecting(api, datadog):
        _, err, _ = sextant.both("collect", "datadog")
    lines = err.splitlines()
    assert all(line.startswith("sextant: datadog: ") for line in lines)
    assert lines[-1] == "sextant: datadog: 2 of 2, 2,400 samples, 2,400 new"


def test_a_terminal_shows_a_bar_until_it_ends(
    api: ServedApi, sextant: Commands, datadog: ScriptedVendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a terminal of 80 columns; the bar is gone when the summary comes."""
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (24, 80))
    seen = bytearray()
    begun = asyncio.Event()

    def read() -> None:
        while b"0 of 2" not in seen:
            seen.extend(os.read(master, 4_096))
        api.within(_set(begun))
        while DONE not in seen:
            seen.extend(os.read(master, 4_096))

    async def hold(_: str) -> None:
        await begun.wait()

    datadog.before = hold
    reading = threading.Thread(target=read)
    reading.start()
    with os.fdopen(slave, "w") as terminal, collecting(api, datadog), monkeypatch.context() as patched:
        patched.setenv("TERM", "xterm")
        patched.setattr("sys.stderr", terminal)
        out, _, status = sextant.both("collect", "datadog")
        terminal.write(DONE.decode())
        terminal.flush()
        reading.join(20)
    os.close(master)
    assert status == 0, out
    shown = seen.decode()
    assert "datadog" in shown
    assert "\x1b[2K" in shown, "the bar is taken away"
    assert "\x1b" not in out


def test_a_run_goes_on_when_nobody_watches(
    api: ServedApi, sextant: Commands, datadog: ScriptedVendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C ends the command, which says where to look."""
    begun, left = asyncio.Event(), asyncio.Event()

    async def hold(_: str) -> None:
        begun.set()
        await left.wait()

    def interrupt(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    datadog.before = hold
    ignored = signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs tests beside others ignores it
    try:
        with collecting(api, datadog), monkeypatch.context() as patched:
            patched.setattr(collect_progress.CollectProgress, "show", interrupt)
            _, err, status = sextant.both("collect", "datadog")
            api.within(asyncio.wait_for(begun.wait(), 20))  # a collector that stops begins no run
            api.within(_set(left))
    finally:
        signal.signal(signal.SIGINT, ignored)
    assert status == 130
    assert err == "sextant: not watched any more; the run goes on by itself: sextant sources run 1\n"
    assert "done" in sextant("sources", "run", "1").splitlines()[0]


async def _set(event: asyncio.Event) -> None:
    event.set()
