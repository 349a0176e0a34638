"""The processes behind the server: all come up, each is replaced, and without Temporal the rest goes on."""

import json
import re
from pathlib import Path

import psutil
import pytest

from tests.e2e.program import COLLECTING, Program, free_port, is_alive, name_of, run_sextant, running, wait_until
from tests.support.temporal import require_temporal

pytestmark = [pytest.mark.postgres, pytest.mark.slow]

WAIT_S = 60.0
"""A process takes about a second to start on an idle machine; test machines are rarely idle."""
PARTS = ("keeper", "alerts", "collect", "worker")


@pytest.fixture(autouse=True)
def _temporal_is_installed() -> None:
    require_temporal()


def temporal_of(program: Program) -> list[psutil.Process]:
    """The embedded Temporal's process."""
    return [one for one in program.family() if name_of(one) == "temporal"]


def status_of(program: Program) -> dict[str, object]:
    """What `sextant status` says beside the server."""
    done = run_sextant("status", "--json", "--data-dir", str(program.data_dir), environment=program.environment)
    assert done.returncode == 0, done.stderr
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


def test_every_process_comes_up_and_is_replaced(tmp_path: Path) -> None:
    """Keeper, alerts, collector, worker and Temporal: kill -9 of any brings another, Temporal at the same address."""
    with running(tmp_path, environment=COLLECTING) as program:
        wait_until(lambda: "Remediation" in program.log, WAIT_S, lambda: program.log)
        wait_until(lambda: all(program.named(part) for part in PARTS), WAIT_S, lambda: program.log)
        shown = re.search(r"Remediation +Temporal at (127\.0\.0\.1:\d+) \(embedded\)", program.log)
        assert shown, program.log
        wait_until(lambda: status_of(program)["temporal_available"], WAIT_S, lambda: program.log)
        before = status_of(program)
        assert (before["temporal"], before["temporal_available"], before["remediations_waiting"]) == (shown[1], True, 0)
        killed = [*temporal_of(program), *(one for part in PARTS for one in program.named(part))]
        assert len(killed) == 1 + len(PARTS)
        for one in killed:
            one.kill()
        wait_until(
            lambda: (
                len(temporal_of(program)) == 1
                and all(len(program.named(part)) == 1 for part in PARTS)
                and not any(map(is_alive, killed))
            ),
            WAIT_S,
            lambda: program.log,
        )
        wait_until(lambda: status_of(program)["temporal_available"], WAIT_S, lambda: program.log)
        assert status_of(program)["temporal"] == shown[1]
        family = program.family()
        assert program.stop() == 0
        wait_until(lambda: not any(map(is_alive, family)), WAIT_S)  # helpers of multiprocessing end last


def test_a_temporal_that_is_away_is_waited_for(tmp_path: Path) -> None:
    """The server is ready without it and says so; none is started in its place."""
    nowhere = f"127.0.0.1:{free_port()}"
    with running(tmp_path, environment={"SEXTANT_TEMPORAL_ADDRESS": nowhere}) as program:
        wait_until(lambda: f"Temporal at {nowhere}\n" in program.log, WAIT_S, lambda: program.log)
        assert temporal_of(program) == []
        wait_until(lambda: "remediation_worker_waits" in program.log, WAIT_S, lambda: program.log)
        found = status_of(program)
        assert (found["temporal"], found["temporal_available"]) == (nowhere, False)
        assert found["temporal_reason"] == f"cannot connect to Temporal at {nowhere}: Connection refused"
        (worker,) = program.named("worker")
        assert is_alive(worker)
