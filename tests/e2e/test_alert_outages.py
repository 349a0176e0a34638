"""Temporal, PostgreSQL or the process that tells people go away while alerts fire: nothing is lost or done twice."""

import json
import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import httpx
import psutil
import pytest

from tests.e2e.alerting import WAIT_S, Api, Feed, alert_ids, has_passed, sample, sent_again, temporal_of, workflows
from tests.e2e.hooks import LOOPBACK, Hooks
from tests.e2e.program import KEY, Program, frozen, is_alive, run_sextant, running, wait_until
from tests.support.temporal import require_temporal

pytestmark = [pytest.mark.postgres, pytest.mark.slow]

TEMPORAL_AWAY_S = float(os.environ.get("SEXTANT_TEST_TEMPORAL_AWAY", "8"))
"""For how long Temporal does not answer, in seconds; what is promised is five minutes."""
EPISODES = 10
STATUS_WITHIN_S = 5.0
"""In which a probe has its answer, whatever is away."""
DRAINED_WITHIN_S = 90.0
"""The dispatcher looks again after 10 s, and workers' calls to a frozen server end after a minute."""

log = logging.getLogger(__name__)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """Yield a server with PostgreSQL and Temporal of its own."""
    require_temporal()
    with running(tmp_path_factory.mktemp("outages"), environment=LOOPBACK) as program:
        yield program


@pytest.fixture(scope="module")
def hooks() -> Iterator[Hooks]:
    """Yield the receiver."""
    with Hooks().listening() as hooks:
        yield hooks


@pytest.fixture(scope="module")
def api(program: Program) -> Iterator[Api]:
    """Yield the server's API."""
    with Api(program.url) as api:
        yield api


def watch(api: Api, hooks: Hooks, name: str) -> None:
    """A metric `name` with a rule, a channel at /`name` and a policy that runs dry."""
    api.webhook(name, hooks.url(f"/{name}"), default=False)
    api.repairing(name, hooks.url("/never"), dry_run=True)
    api.post("alerts/rules", {"name": name, "metric": name, "warning": 80, "channels": [name], "remediation": name})


def fire(api: Api, name: str) -> None:
    """Makes `EPISODES` series bad, each by a request that is repeated until it is acknowledged."""
    for number in range(EPISODES):
        wait_until(partial(taken, api, sample(name, 90.0, host=f"h{number}")), WAIT_S)


def taken(api: Api, one: dict[str, Any]) -> bool:
    """Whether a sample was acknowledged."""
    with suppress(httpx.HTTPError):
        headers = {"x-api-key": KEY}
        return httpx.post(f"{api.url}/api/v1/metrics/ingest", json=one, headers=headers, timeout=10).status_code == 200
    return False


def states(api: Api, name: str) -> Counter[str]:
    """How many remediations of a rule are in each state."""
    return Counter(one["state"] for one in api.all("remediations") if one["rule"] == name)


def reasons(api: Api) -> list[str | None]:
    """Why remediations wait."""
    return [one["last_error"] for one in api.all("remediations", state="waiting")]


def assert_told_once(api: Api, hooks: Hooks, name: str) -> None:
    """Waits until each episode was told of and its remediation has ended; asserts that nothing happened twice."""
    wait_until(lambda: len(told(hooks, name)) == EPISODES, DRAINED_WITHIN_S, lambda: f"told {told(hooks, name)}")
    wait_until(lambda: states(api, name) == {"dry_run": EPISODES}, DRAINED_WITHIN_S, lambda: f"{states(api, name)}")
    alerts = [alert for alert in api.all("alerts") if alert["rule"] == name]
    assert told(hooks, name) == {alert["id"]: 1 for alert in alerts}
    assert {alert["episode"] for alert in alerts} == {1}


def told(hooks: Hooks, name: str) -> Counter[int]:
    """How many messages said of each alert that it fired."""
    return alert_ids(hooks.messages(f"/{name}", "fired"))


def readiness(program: Program) -> tuple[Any, float]:
    """What /readyz says of remediation, and after how many seconds."""
    started_s = time.monotonic()
    reply = httpx.get(f"{program.url}/readyz", timeout=30)
    assert reply.status_code == 200, reply.text
    return reply.json()["remediation"], time.monotonic() - started_s


def test_temporal_is_away_under_ingest(program: Program, hooks: Hooks, api: Api) -> None:
    """Ingest never notices; alerts fire and are told of; remediations wait, and it says so; later all of them run."""
    name = "without-temporal"
    watch(api, hooks, name)
    [temporal] = temporal_of(program)
    with Feed(program.url) as feed:
        with frozen(temporal):
            frozen_s = time.monotonic()
            fire(api, name)
            wait_until(lambda: len(told(hooks, name)) == EPISODES, WAIT_S, lambda: f"told {told(hooks, name)}")
            assert states(api, name) == {"waiting": EPISODES}
            found, took_s = readiness(program)
            assert (found["available"], found["waiting"]) == (False, EPISODES), found
            assert "Temporal does not answer" in found["detail"]
            assert took_s < STATUS_WITHIN_S, f"/readyz took {took_s:.1f} s"
            done = run_sextant("status", "--json", "--data-dir", str(program.data_dir))
            shown = json.loads(done.stdout)
            assert (shown["temporal_available"], shown["remediations_waiting"]) == (False, EPISODES), shown
            wait_until(lambda: all(reasons(api)), WAIT_S, lambda: f"nobody says why they wait: {reasons(api)}")
            wait_until(partial(has_passed, frozen_s + TEMPORAL_AWAY_S), TEMPORAL_AWAY_S + 1)
            assert states(api, name) == {"waiting": EPISODES}
        back_s = time.monotonic()
        assert_told_once(api, hooks, name)
        drained_s = time.monotonic() - back_s
        wait_until(lambda: readiness(program)[0]["available"], WAIT_S)
        assert readiness(program)[0]["waiting"] == 0
    assert feed.errors == []
    assert feed.acknowledged > 0
    ordered = [one["workflow_id"] for one in api.all("remediations")]
    listed = workflows(program, ordered)
    assert all(listed.count(workflow_id) == 1 for workflow_id in ordered)
    log.info(
        "Temporal frozen for %.0f s: %d requests taken, 0 refused; /readyz %.2f s; drained %.1f s after it was back",
        *(back_s - frozen_s, feed.acknowledged, took_s, drained_s),
    )


def test_what_heals_while_temporal_is_away_is_left_alone(program: Program, hooks: Hooks, api: Api) -> None:
    """A remediation that could begin only after its alert had resolved asks nobody for anything, and says why."""
    name = "healed"
    api.webhook(name, hooks.url(f"/{name}"), default=False)
    api.repairing(name, hooks.url("/too-late"))
    api.post("alerts/rules", {"name": name, "metric": name, "warning": 80, "channels": [name], "remediation": name})
    [temporal] = temporal_of(program)
    with frozen(temporal):
        for value, event in ((90.0, "fired"), (10.0, "resolved")):
            api.send(name, value)
            wait_until(partial(hooks.messages, f"/{name}", event), WAIT_S)
    wait_until(lambda: states(api, name) == {"refused": 1}, DRAINED_WITHIN_S, lambda: f"{states(api, name)}")
    assert "resolved meanwhile" in next(one["detail"] for one in api.all("remediations") if one["rule"] == name)
    assert hooks.at("/too-late") == []


VICTIMS: dict[str, Callable[[Program], list[psutil.Process]]] = {
    "database": Program.postgres,
    "alerts": lambda program: program.named("alerts"),
}


@pytest.mark.parametrize("victim", VICTIMS)
def test_a_process_is_killed_while_alerts_fire(program: Program, hooks: Hooks, api: Api, victim: str) -> None:
    """kill -9 of PostgreSQL, or of who evaluates and tells: every episode is told of and worked on once."""
    name = f"killed-{victim}"
    watch(api, hooks, name)
    wait_until(lambda: bool(VICTIMS[victim](program)), WAIT_S)
    killed = VICTIMS[victim](program)[0]
    with Feed(program.url) as feed:
        killed.kill()
        killed_s = time.monotonic()
        fire(api, name)
        assert_told_once(api, hooks, name)
        ended_s = time.monotonic() - killed_s
        wait_until(lambda: not is_alive(killed) and bool(VICTIMS[victim](program)), WAIT_S)
    program.wait_ready()
    assert all("503" in error for error in feed.errors), feed.errors
    assert victim == "database" or feed.errors == []
    assert sent_again(hooks.at(f"/{name}")).total() <= 1
    log.info("%s killed: %d refused; all told and worked on after %.1f s", victim, len(feed.errors), ended_s)
