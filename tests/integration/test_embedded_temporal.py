"""The embedded Temporal: a real server that keeps its address and its workflows, and leaves nothing behind."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import psutil
import pytest
from temporalio.client import Client
from temporalio.service import RPCError

from adapters.runtime.embedded_temporal import (
    EmbeddedTemporalError,
    embedded_temporal_address,
    find_temporal,
    run_embedded_temporal,
)
from adapters.runtime.settings import TemporalSettings
from adapters.runtime.supervision import supervised_temporal
from adapters.runtime.temporal_client import connect_temporal
from core.domain.errors import Unavailable
from tests.support.children import children_named
from tests.support.temporal import eventually, require_temporal

PARENT = """
import sys, time
from pathlib import Path
from adapters.runtime.embedded_temporal import run_embedded_temporal
with run_embedded_temporal(Path(sys.argv[1])) as server:
    print(server.pid, flush=True)
    time.sleep(60)
"""


@pytest.fixture(autouse=True)
def _temporal_is_installed() -> None:
    require_temporal()


def wait_until(holds: Callable[[], object], timeout_s: float = 20) -> None:
    """Wait for a condition."""
    deadline_s = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


async def client_of(address: str) -> Client:
    """A client of the server."""
    return await connect_temporal(TemporalSettings(address=address))


async def test_a_killed_server_comes_back_with_its_address_and_workflows(tmp_path: Path) -> None:
    """kill -9 of the server loses nothing that it had acknowledged."""
    with run_embedded_temporal(tmp_path) as server:
        client = await client_of(server.address)
        await client.start_workflow("remediation", id="kept", task_queue="nobody")
        os.kill(server.pid, signal.SIGKILL)
        wait_until(lambda: not server.is_alive())
    with run_embedded_temporal(tmp_path) as again:
        assert again.address == server.address == embedded_temporal_address(tmp_path)
        client = await client_of(again.address)
        described = await client.get_workflow_handle("kept").describe()
        assert described.status is not None
        assert described.status.name == "RUNNING"


def test_a_second_server_on_the_same_directory_is_refused(tmp_path: Path) -> None:
    """It says who is there and what to do; the first goes on."""
    with run_embedded_temporal(tmp_path) as server:
        with (
            pytest.raises(EmbeddedTemporalError, match=rf"pid {os.getpid()}\): stop it first"),
            run_embedded_temporal(tmp_path),
        ):
            pass
        assert server.is_alive()


def test_it_listens_on_loopback_only_and_sees_no_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All its ports; and its environment holds nothing of ours."""
    monkeypatch.setenv("SEXTANT_AGENT_KEY", "hunter2")
    with run_embedded_temporal(tmp_path) as server:
        process = psutil.Process(server.pid)
        listening = [one.laddr for one in process.net_connections("tcp") if one.status == psutil.CONN_LISTEN]
        assert {place.ip for place in listening} == {"127.0.0.1"}
        assert int(server.address.rpartition(":")[2]) in {place.port for place in listening}
        assert "hunter2" not in process.environ().values()


def test_another_port_is_taken_where_somebody_else_has_it(tmp_path: Path) -> None:
    """Unless the address must stay what others know it as."""
    with run_embedded_temporal(tmp_path) as server:
        address = server.address
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # the server's own connections are hardly over
        taken.bind(("127.0.0.1", int(address.rpartition(":")[2])))
        taken.listen()
        with (
            pytest.raises(EmbeddedTemporalError, match=f"{address}.* is taken"),
            run_embedded_temporal(tmp_path, address=address),
        ):
            pass
        assert embedded_temporal_address(tmp_path) == address
        with run_embedded_temporal(tmp_path) as moved:
            assert moved.address != address
    assert embedded_temporal_address(tmp_path) == moved.address


def test_a_directory_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    """The reason is for a person."""
    (tmp_path / "temporal").write_text("a file, not a directory")
    with pytest.raises(EmbeddedTemporalError, match=r"cannot keep Temporal's database in .*/temporal"):  # noqa: SIM117
        with run_embedded_temporal(tmp_path):
            pass


def test_a_server_that_ends_at_its_start_leaves_its_last_words(tmp_path: Path) -> None:
    """A database file that is none, for one."""
    (tmp_path / "temporal").mkdir()
    (tmp_path / "temporal" / "temporal.db").write_text("this is not a database" * 100)
    with pytest.raises(EmbeddedTemporalError, match=r"(?s)while starting\. Its last words, from .*not a database"):  # noqa: SIM117
        with run_embedded_temporal(tmp_path):
            pass


def test_it_dies_with_its_parent(tmp_path: Path) -> None:
    """kill -9 of whoever started it leaves no server, and the next start works."""
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    with run_embedded_temporal(tmp_path) as server:
        with suppress(psutil.NoSuchProcess):
            assert psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
        assert server.is_alive()


async def test_a_supervised_server_is_started_again_where_it_was(tmp_path: Path) -> None:
    """A client's connection mends by itself; leaving stops the server."""
    with supervised_temporal(tmp_path) as address:
        client = await client_of(address)
        await client.start_workflow("remediation", id="one", task_queue="nobody")
        (server,) = children_named("temporal")
        server.kill()
        wait_until(lambda: any(child.pid != server.pid for child in children_named("temporal")))
        await eventually(partial(is_known, client), timeout_s=60)
    assert children_named("temporal") == []
    with pytest.raises(Unavailable, match=rf"cannot connect to Temporal at {address}: Connection refused"):
        await client_of(address)


async def is_known(client: Client) -> bool:
    """Whether the workflow is; the client gives up after 10 s, which a start may take on a busy machine."""
    with suppress(RPCError):
        await client.get_workflow_handle("one").describe()
        return True
    return False


def test_the_program_is_the_wheels() -> None:
    """Not some other `temporal` of the machine."""
    program = find_temporal()
    assert program is not None
    assert program.name == "temporal"
    assert program.is_relative_to(Path(sys.prefix).resolve())
