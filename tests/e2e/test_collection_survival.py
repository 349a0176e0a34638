"""Kill anything while metrics are collected, and let vendors misbehave: what they answered is stored, exactly once."""

import itertools
import json
import math
import os
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from adapters.runtime.embedded_access import embedded_database
from adapters.runtime.sealing import KEY_FILE
from core.domain.collection import WAITING_RUNS_MAX
from core.domain.sources import SOURCES_MAX
from tests.e2e.alerting import WAIT_S, Api
from tests.e2e.collecting import SCRAPED_S, STEP_S, Collecting, Wire
from tests.e2e.program import COLLECTING, KEY, STOP_TIMEOUT_S, is_alive, run_sextant, running, wait_until
from tests.e2e.served import in_thread
from tests.support.receiver import Receiver, answer, garbage, reset
from tests.support.vendors.faults import GIGABYTE, half, redirect

pytestmark = [pytest.mark.postgres, pytest.mark.slow]

KILLS = int(os.environ.get("SEXTANT_TEST_KILLS", "2"))
"""How often the collector is killed in the middle of one run; raise it to search for longer."""
ITEMS = 30
PACE_S = 0.3
"""Of an answer where a run is to be met in its middle: what has come is stored once a second."""
AHEAD = 6
"""Answers beyond those that are waited for: a few are on their way to the store."""
UNDER_WAY_MAX = 25
"""Items whose answers a killed collector may lose: it stores once a second at least."""
DUE = 3
"""Instants at which the source of two servers is due."""
LEASE_S = 30.0
"""Nobody waits longer for a run whose collector died."""
MEMORY_BYTES_MAX = 300 << 20
SECRET = "s3cret-of-acme"
SETTINGS = {**COLLECTING, "SEXTANT_TEMPORAL_ADDRESS": "127.0.0.1:1"}
"""Collecting needs no Temporal, and one of the server's own takes seconds to start."""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collecting]:
    """Yield a server that collects, with its own PostgreSQL."""
    with (
        running(tmp_path_factory.mktemp("collecting"), environment=SETTINGS) as program,
        embedded_database(program.data_dir) as url,
        Api(program.url) as api,
    ):
        yield Collecting(program, api, url)


@pytest.fixture(autouse=True)
def nothing_failed(shop: Collecting) -> Iterator[None]:
    """No test may leave an error that nobody expected in the server's log."""
    yield
    assert "Traceback" not in shop.program.log, shop.program.log[-5_000:]


@pytest.fixture
def wire(shop: Collecting, request: pytest.FixtureRequest) -> Iterator[Wire]:
    """Yield a Prometheus of the test's own, which is a source of the test's name."""
    wire = Wire(ITEMS, metric=request.node.name)
    with wire.serving_beside():
        shop.api.post("sources", wire.spec(request.node.name))
        yield wire


@pytest.fixture
def acme(shop: Collecting, request: pytest.FixtureRequest) -> Iterator[Api]:
    """Yield a tenant that the operator does not trust with what is the server's own."""
    shop.api.post("tenants", {"name": request.node.name[:40]})
    wanted = {"tenant": request.node.name[:40], "scopes": ["ingest", "query", "admin"]}
    with Api(shop.program.url, shop.api.post("keys", wanted)["key"]) as api:
        yield api


def test_the_collector_is_killed_again_and_again(shop: Collecting, wire: Wire) -> None:
    """kill -9 in the middle of a run: it goes on from where it was, and fetches again only what it had not stored."""
    wire.fault = wire.slowly(PACE_S)
    run_id = shop.start(wire.metric, start_time=wire.since)
    for kill in range(KILLS):
        met = (kill + 1) * ITEMS // (KILLS + 2)
        wire.items_max = met + AHEAD
        shop.await_items(run_id, met)
        shop.kill_collector()
        wire.items_max = math.inf
        shop.let_the_lease_end(run_id, LEASE_S)
    assert shop.await_done(run_id)["attempts"] == KILLS + 1
    stores_what_was_answered(shop, wire)
    assert max(wire.asked.values()) <= KILLS + 1
    assert wire.asked.total() <= ITEMS + KILLS * UNDER_WAY_MAX, wire.asked
    wire.fault = None
    again = shop.await_done(shop.start(wire.metric, start_time=wire.since))["progress"]["counts"]
    assert again["revised"] == again["refused"] == again["created"] == 0
    assert again["unchanged"] == again["fetched"] - again["stored"] > 0
    stores_what_was_answered(shop, wire)


def test_the_database_goes_away_during_a_run(shop: Collecting, wire: Wire) -> None:
    """kill -9 of PostgreSQL: the run waits for it, and ends as if nothing had happened."""
    wire.fault = wire.slowly(PACE_S)
    run_id = shop.start(wire.metric, start_time=wire.since)
    shop.await_items(run_id, ITEMS // 4)
    postmaster = shop.program.postgres()[0]
    postmaster.kill()
    wait_until(lambda: not is_alive(postmaster), WAIT_S)
    wait_until(lambda: bool(shop.program.postgres()), WAIT_S)
    shop.program.wait_ready()
    shop.await_done(run_id)
    stores_what_was_answered(shop, wire)


def test_two_servers_share_the_work(shop: Collecting, wire: Wire, tmp_path: Path) -> None:
    """A source is collected once for each due instant, by one at a time; who wakes after its lease harms nothing."""
    with running(tmp_path, database_url=shop.database_url, environment=SETTINGS) as second:
        shop.api.put(f"sources/{wire.metric}", wire.spec(wire.metric, interval="1h"))
        for runs in range(1, DUE):
            wait_until(partial(have_ended, shop, wire, runs), WAIT_S)
            shop.rows_changed(f"UPDATE sextant.metric_sources SET next_run_at = now() WHERE name = '{wire.metric}'")
        wait_until(partial(have_ended, shop, wire, DUE), WAIT_S)
        spans = sorted((run["started_at"], run["finished_at"]) for run in ended(shop, wire))
        assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans)), spans
        wire.fault = wire.slowly(PACE_S)
        wait_until(lambda: shop.collectors() and second.named("collect"), WAIT_S)
        sleeps_over_its_lease(shop, wire, asleep=shop.collectors()[0], awake=second.named("collect")[0])
    assert have_ended(shop, wire, DUE + 1)
    stores_what_was_answered(shop, wire)


def sleeps_over_its_lease(shop: Collecting, wire: Wire, *, asleep: psutil.Process, awake: psutil.Process) -> None:
    """A collector freezes in the middle of a run, until another one has brought it to its end.

    What the vendor revises meanwhile stays: the sleeper holds older answers that it has not stored yet.
    """
    with ExitStack() as nights:
        with shop.frozen_at_rest(awake):
            wire.asked.clear()
            wire.items_max = ITEMS // 4 + 2 + AHEAD
            run_id = shop.start(wire.metric, start_time=wire.since)
            shop.await_items(run_id, ITEMS // 4)
            stored = wire.asked.total()
            wait_until(lambda: wire.asked.total() >= stored + 2, WAIT_S)  # less than it gathers before it stores
            nights.enter_context(shop.frozen_at_rest(asleep))
            wire.revise()
        wire.items_max = math.inf
        shop.let_the_lease_end(run_id, LEASE_S)
        assert shop.await_done(run_id)["attempts"] == 2


def have_ended(shop: Collecting, wire: Wire, count: int) -> bool:
    """Whether so many runs of a source are over, and no more."""
    return len(ended(shop, wire)) == count


def ended(shop: Collecting, wire: Wire) -> list[dict[str, Any]]:
    """The runs of a source that are over; all of them must have ended well."""
    runs = [one for one in shop.api.all("sources/runs", source=wire.metric) if one["finished_at"] is not None]
    assert {run["state"] for run in runs} <= {"done"}, runs
    return runs


def test_a_vendor_misbehaves_in_every_way_and_recovers(shop: Collecting, wire: Wire) -> None:
    """What failed is named, all else is stored, memory stays bounded; a run of the healthy vendor brings the rest."""
    at_once = {"Retry-After": "0"}
    passing = [GIGABYTE, half(b'{"status":"success"'), garbage, answer(429, headers={"Retry-After": "1"}), reset]
    lasting = [answer(200, "[" * 100_000), answer(200, '{"status":"success","data":{}}')]
    wire.script.extend([*passing, *lasting, *[answer(500, headers=at_once)] * 4])
    [collector] = shop.collectors()
    run = shop.await_ended(shop.start(wire.metric, start_time=wire.since))
    assert (run["state"], run["progress"]["done"]) == ("partial", ITEMS), run
    failed = [item for item in run["shown"] if item["problem"] is not None]
    assert len(failed) == run["progress"]["failed"] == ITEMS - len({item for item, _ in wire.answered}) >= 2
    assert {item["problem"]["kind"] for item in failed} <= {"bad_answer", "unreachable"}
    stores_what_was_answered(shop, wire)
    assert shop.collectors() == [collector], "it lives"
    assert collector.memory_info().rss < MEMORY_BYTES_MAX
    shop.await_done(shop.start(wire.metric, start_time=wire.since))
    assert len({item for item, _ in wire.answered}) == ITEMS
    stores_what_was_answered(shop, wire)


def test_a_redirect_is_not_followed(shop: Collecting, wire: Wire) -> None:
    """Not even within the operator's own network: nothing is sent to where it points."""
    elsewhere = Receiver()
    with in_thread(elsewhere.listening()):
        wire.fault = redirect(elsewhere.url("/api/v1/query_range"))
        run = shop.await_ended(shop.start(wire.metric))
    assert run["state"] == "failed"
    assert "redirect" in run["problem"]["message"]
    assert elsewhere.requests == []


def test_another_tenant_reaches_nothing_that_is_not_its_own(shop: Collecting, wire: Wire, acme: Api) -> None:
    """No private address in any writing, no name that leads to one; what others have is not there for it."""
    port = wire.url.rpartition(":")[2]
    hosts = ("127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "2130706433", "169.254.169.254", "10.0.0.1")
    for url in [*(f"https://{host}:{port}" for host in hosts), wire.url]:
        config = {**wire.config(), "url": url}
        for path, body in (("sources", {"name": "mine", "config": config}), ("ingest/prometheus", {"config": config})):
            refused = problem_of(acme, path, body)
            assert (refused["status"], "config.url" in refused["detail"]) == (400, True), refused
    run_id = shop.start(wire.metric, start_time=wire.since)
    shop.await_done(run_id)
    asked = len(wire.requests)
    for path in (f"sources/{wire.metric}", f"sources/runs/{run_id}"):
        assert missing(acme, path), path
    assert problem_of(acme, f"ingest/{wire.metric}", {})["status"] in (400, 404)
    assert acme.get("sources")["data"] == acme.all("sources/runs") == acme.get("metrics/names")["data"] == []
    assert len(wire.requests) == asked, "nothing was sent in its name"


def test_bad_requests_are_refused_by_name(shop: Collecting, acme: Api) -> None:
    """Each answer is a problem that says which field is wrong; nothing of it is kept."""
    prometheus = {"type": "prometheus", "url": "https://example.com"}
    wrong: Mapping[str, dict[str, Any]] = {
        "config": {"config": "prometheus"},
        "config.type": {"config": {"type": "splunk"}},
        "config.x": {"config": {**prometheus, "x": 1}},
        "config.queries": {"config": {**prometheus, "queries": [{"metric": "a", "promql": "a"}] * 201}},
        "config.queries[0].metric": {"config": {**prometheus, "queries": [{"metric": "a\0", "promql": "a"}]}},
        "config.step": {"config": {**prometheus, "step": "9" * 400 + "d"}},
        "config.url": {"config": {**prometheus, "url": "https://[::1"}},
        "interval": {"config": prometheus, "interval": "1s"},
        "lookback": {"config": prometheus, "lookback": "36d"},
        "calls_per_minute": {"config": prometheus, "calls_per_minute": 10**30},
        "credentials.bearer_token": {"config": prometheus, "credentials": {"bearer_token": "a\r\nX: y"}},
        "name": {"config": prometheus, "name": "runs"},
        "the body": {"config": {**prometheus, "url": "https://" + "x" * (1 << 20)}},
    }
    for field, body in wrong.items():
        refused = problem_of(acme, "sources", {"name": "mine", **body})
        assert (refused["status"] in (400, 413), refused["detail"].startswith(field)) == (True, True), refused
    now_s = time.time()
    for start_s in (now_s + 3_600, now_s - 36 * 86_400):
        start = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(start_s))
        refused = problem_of(acme, "ingest/synthetic", {"start_time": start})
        assert (refused["status"], refused["detail"].startswith("start_time")) == (400, True), refused
    assert problem_of(acme, "ingest/splunk", {})["status"] in (400, 404)
    assert acme.get("sources")["data"] == acme.all("sources/runs") == []
    for number in range(SOURCES_MAX):
        acme.post("sources", {"name": f"s{number}", "config": {"type": "synthetic"}, "interval": None})
    refused = problem_of(acme, "sources", {"name": "another", "config": {"type": "synthetic"}})
    assert (refused["status"], str(SOURCES_MAX) in refused["detail"]) == (409, True), refused


def test_restarts_lose_no_run(shop: Collecting, wire: Wire) -> None:
    """SIGTERM in the middle: it goes on. With collecting off runs wait, and are done once it is on again. What was
    encrypted by another key fails alone, with words that say why."""
    sealed = wire.spec("sealed", credentials={"bearer_token": SECRET})
    shop.api.post("sources", sealed)
    wire.fault = wire.slowly(PACE_S)
    run_id = shop.start(wire.metric, start_time=wire.since)
    shop.await_items(run_id, ITEMS // 4)
    restart(shop, {**SETTINGS, "SEXTANT_COLLECTION_ENABLED": "false"})
    assert shop.collectors() == []
    wire.fault = None
    later_ids = [shop.start(wire.metric) for _ in range(3)]
    shown = run_sextant(
        "sources", "runs", wire.metric, environment={"SEXTANT_AGENT_URL": shop.program.url, "SEXTANT_AGENT_KEY": KEY}
    )
    assert shown.stdout.count("waiting") == len(later_ids), shown.stdout + shown.stderr
    full = problem_of(shop.api, f"ingest/{wire.metric}?wait=0s", {}, times=WAITING_RUNS_MAX)
    assert (full["status"], str(WAITING_RUNS_MAX) in full["detail"]) == (409, True), full
    shop.rows_changed(f"DELETE FROM sextant.collection_runs WHERE state = 'waiting' AND id > {later_ids[-1]:d}")
    (shop.program.data_dir / KEY_FILE).write_bytes(b"another key altogether, of enough characters\n")
    restart(shop, SETTINGS)
    shop.let_the_lease_end(run_id, LEASE_S)
    for each in (run_id, *later_ids):
        shop.await_done(each)
    stores_what_was_answered(shop, wire)
    failed = shop.await_ended(shop.start("sealed"))
    assert (failed["state"], failed["problem"]["kind"]) == ("failed", "configuration"), failed
    assert "SEXTANT_COLLECTION_KEYS" in failed["problem"]["message"]
    shop.api.put("sources/sealed", sealed)
    shop.await_done(shop.start("sealed"))
    told = shop.program.log + json.dumps([shop.api.get("sources/sealed"), shop.api.all("sources/runs"), failed])
    assert SECRET not in told


def restart(shop: Collecting, environment: Mapping[str, str]) -> None:
    """SIGTERM, and another start with other settings."""
    assert shop.program.process is not None
    shop.program.process.send_signal(signal.SIGTERM)
    assert shop.program.process.wait(STOP_TIMEOUT_S) == 0
    shop.program.environment = environment
    shop.program.start()


def stores_what_was_answered(shop: Collecting, wire: Wire) -> None:
    """Compares the store with all that the vendor has ever answered."""
    stored, answered = shop.stored(wire), wire.answered
    assert len(answered) > len({item for item, _ in answered}) * (SCRAPED_S // STEP_S - 10)
    assert stored == answered, (
        f"{len(stored)} stored, {len(answered)} answered, {len(stored.items() ^ answered.items())}"
    )


def problem_of(api: Api, path: str, body: Mapping[str, Any], *, times: int = 1) -> dict[str, Any]:
    """The problem document that answers a request, or one of several."""
    headers = {"x-api-key": api.key}
    with httpx.Client(base_url=f"{api.url}/api/v1/", headers=headers, timeout=30) as client:
        for _ in range(times):
            reply = client.post(path, json=body)
            if reply.status_code >= 300:
                break
    assert reply.headers["content-type"] == "application/problem+json", f"{reply.status_code} {reply.text}"
    problem: dict[str, Any] = reply.json()
    return problem


def missing(api: Api, path: str) -> bool:
    """Whether the path leads nowhere."""
    return httpx.get(f"{api.url}/api/v1/{path}", headers={"x-api-key": api.key}, timeout=30).status_code == 404
