"""Kill anything while detection runs and incidents are made: what was to be found is found, once, and told once.

The reference is computed from the simulation by the same pure functions, undisturbed (tests/e2e/simulated.py).
"""

import json
import logging
import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import psutil
import psycopg
import pytest

from adapters.runtime.embedded_access import embedded_database
from adapters.runtime.embedded_temporal import embedded_temporal_address
from tests.conftest import on_postgres, on_timescale_native
from tests.e2e.alerting import WAIT_S, Api, alert_ids, temporal_of
from tests.e2e.detecting import (
    HOOK,
    Shop,
    finds_as_if_nothing_had_happened,
    is_purged,
    simulate,
)
from tests.e2e.hooks import LOOPBACK, Hooks
from tests.e2e.program import Program, frozen, is_alive, run_sextant, running, wait_until
from tests.e2e.simulated import WINDOW
from tests.support.store_fixtures import empty_database
from tests.support.temporal import require_temporal

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("SEXTANT_TEST_KILLS", "2"))
"""How often detection is killed, even; raise it to search for longer. The pauses before its restarts double."""
MIDDLES = ("anomalies", "published_risks")
"""Tables that a run uses when it has computed, and when it publishes."""
UNEVALUATED = """SELECT count(*) FROM sextant.journal j LEFT JOIN sextant.journal_cursors c
    ON c.consumer = 'alerts' AND c.writer = j.writer WHERE j.sequence > coalesce(c.sequence, 0)"""
WITHOUT_TEMPORAL_S = 20.0
"""Runs are looked for every second; machines are rarely idle."""

log = logging.getLogger(__name__)


@pytest.fixture(scope="module", params=[on_postgres, on_timescale_native])
def shop(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """Yield a server with a Temporal of its own: with its own PostgreSQL, then on the native TimescaleDB."""
    require_temporal()
    directory = tmp_path_factory.mktemp("detecting")
    with ExitStack() as opened:
        named = None
        if request.param != "postgres":
            named = opened.enter_context(empty_database(request, request.param)).url
        program = opened.enter_context(running(directory, database_url=named, environment=LOOPBACK))
        url = named or opened.enter_context(embedded_database(program.data_dir))
        hooks = opened.enter_context(Hooks().listening())
        api = opened.enter_context(Api(program.url))
        api.webhook("hook", hooks.url(HOOK))
        # Runs only when they are asked for.
        api.put("detect/settings", {"interval": "7d", "window": WINDOW})
        wait_until(lambda: {run["state"] for run in api.all("detect/runs")} == {"done"}, WAIT_S, lambda: program.log)
        yield Shop(
            program, api, hooks, url, simulate(program), {} if named is None else {"SEXTANT_DATABASE_URL": named}
        )


@pytest.fixture(autouse=True)
def nothing_failed(shop: Shop) -> Iterator[None]:
    """No test may leave an error that nobody expected in the server's log."""
    yield
    assert "Traceback" not in shop.program.log, shop.program.log[-5_000:]


def test_detection_is_killed_again_and_again(shop: Shop) -> None:
    """Whatever was under way, a run or correlation: all is found, joined and told once, as if nothing had happened."""
    for _ in range(KILLS // 2):
        with shop.held_at(shop.chance.choice(MIDDLES)) as run_id:
            kill(shop.detection()[0])
        shop.let_the_lease_end()
        wait_until(lambda: bool(shop.detection()), WAIT_S)
        shop.pass_some_time()
        kill(shop.detection()[0])
        shop.let_the_lease_end()
        assert shop.await_done(run_id)["attempts"] > 1
    finds_as_if_nothing_had_happened(shop)


def kill(process: psutil.Process) -> None:
    """kill -9, to its end."""
    process.kill()
    wait_until(lambda: not is_alive(process), WAIT_S)


def test_the_database_goes_away_during_a_run(shop: Shop) -> None:
    """kill -9 of PostgreSQL in the middle of a run: it goes on from where it was, and nothing is lost or doubled."""
    if not shop.program.postgres():
        pytest.skip("this server's database is not its own; tests/e2e/test_database_away.py takes such a one away")
    asked: list[int] = []
    with suppress(psycopg.OperationalError), shop.held_at(shop.chance.choice(MIDDLES)) as run_id:
        asked.append(run_id)
        kill(shop.program.postgres()[0])
    wait_until(lambda: bool(shop.program.postgres()), WAIT_S)
    shop.program.wait_ready()
    shop.let_the_lease_end()
    assert shop.await_done(asked[0])["attempts"] > 1
    finds_as_if_nothing_had_happened(shop)


def test_temporal_is_away(shop: Shop) -> None:
    """A run that somebody asks for is done within seconds all the same; readiness and status say what is away."""
    [temporal] = temporal_of(shop.program)
    with frozen(temporal):
        asked_s = time.monotonic()
        shop.await_done(shop.ask())
        took_s = time.monotonic() - asked_s
        ready = httpx.get(f"{shop.program.url}/readyz", timeout=30)
        assert ready.status_code == 200
        assert ready.json()["remediation"]["detail"] == "Temporal does not answer"
        shown = run_sextant("status", "--json", "--data-dir", str(shop.program.data_dir), environment=shop.settings)
        assert json.loads(shown.stdout)["temporal_available"] is False
    log.info("without Temporal a run was done %.1f s after it was asked for", took_s)
    assert took_s < WITHOUT_TEMPORAL_S
    temporal.kill()
    wait_until(lambda: [one for one in temporal_of(shop.program) if one != temporal], WAIT_S)
    shop.await_done(shop.ask())
    finds_as_if_nothing_had_happened(shop)


def test_two_servers_share_the_work(shop: Shop, tmp_path: Path) -> None:
    """Each run is done by one of them; what one leaves lying the other finishes, and who wakes late harms nothing."""
    address = embedded_temporal_address(shop.program.data_dir)
    assert address is not None
    settings = {**LOOPBACK, "SEXTANT_TEMPORAL_ADDRESS": address}
    with running(tmp_path, database_url=shop.database_url, environment=settings) as second:
        assert shop.await_done(shop.ask())["attempts"] == 1
        wait_until(lambda: set(runs_done(shop.program, second).values()) == {1}, WAIT_S)
        wait_until(lambda: shop.detection() and second.named("detect"), WAIT_S)
        both = [program.named("detect")[0] for program in (shop.program, second)]
        for sleeper, other in (both, both[::-1]):
            sleeps_over_its_lease(shop, sleeper, other)
    finds_as_if_nothing_had_happened(shop)


def sleeps_over_its_lease(shop: Shop, sleeper: psutil.Process, other: psutil.Process) -> None:
    """One detection process freezes in the middle of a run, until after its end, which the other one brings about."""
    with ExitStack() as asleep:
        with shop.held_at(shop.chance.choice(MIDDLES), other) as run_id:
            asleep.enter_context(frozen(sleeper))
        shop.let_the_lease_end()
        assert shop.await_done(run_id)["attempts"] > 1


def test_a_purge_takes_everything_whoever_dies_or_sleeps(shop: Shop) -> None:
    """kill -9 of the keeper that purges, and a run that slept through it: nothing synthetic is left or comes back."""
    shop.api.send("cpu", 12.0, host="host-real")
    shop.await_done(shop.ask())
    wait_until(lambda: shop.rows(UNEVALUATED) == [(0,)], WAIT_S)
    wait_until(lambda: shop.api.all("alerts", state="firing"), WAIT_S)
    purges_while_a_run_sleeps(shop)
    shop.await_done(shop.ask())
    assert shop.api.all("anomalies") == shop.api.all("incidents") == shop.api.all("events") == []
    hosts = {series["labels"]["host"] for series in shop.api.get("metrics/latest/cpu")["data"]}
    assert hosts == {"host-real"}
    assert shop.rows("SELECT fingerprint FROM sextant.published_risks") == []
    wait_until(lambda: {one["state"] for one in shop.api.all("alerts")} == {"resolved"}, WAIT_S)
    alerts = dict.fromkeys((one["id"] for one in shop.api.all("alerts")), 1)
    wait_until(lambda: alert_ids(shop.hooks.messages(HOOK, "resolved")) == alerts, WAIT_S)
    assert alert_ids(shop.hooks.messages(HOOK, "fired")) == alerts, "and nobody was told of another"


def purges_while_a_run_sleeps(shop: Shop) -> None:
    """Freezes a run until a purge is done, whose keeper is killed: a run that was about to publish what is purged."""
    with ExitStack() as asleep:
        with shop.held_at("published_risks") as run_id:
            asleep.enter_context(frozen(shop.detection()[0]))
        shop.let_the_lease_end()
        purge_id = shop.api.post("synthetic/purge")["id"]
        kill(shop.program.keepers()[0])
        wait_until(lambda: is_purged(shop, purge_id), WAIT_S, lambda: shop.program.log[-3_000:])
    shop.await_done(run_id)


def runs_done(*programs: Program) -> Counter[str]:
    """How many processes say of each run, by its due instant, that they did it."""
    written = [line for program in programs for line in program.log.splitlines(keepends=True)]
    lines = [json.loads(line) for line in written if line.startswith("{") and line.endswith("\n")]
    return Counter(line["due_at"] for line in lines if line.get("event") == "detection_run" and line["state"] == "done")
