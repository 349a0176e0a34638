"""From simulated hosts to the dry run of a repair, through the shipped program: what a person does to see detection.

simulate → scheduled detection → anomalies → incident with narrative → alert → remediation → mark → purge.
"""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import on_postgres, on_timescale_native
from tests.e2e.alerting import WAIT_S, Api
from tests.e2e.hooks import LOOPBACK, Hooks
from tests.e2e.program import KEY, Program, run_sextant, running, wait_until
from tests.support.store_fixtures import empty_database
from tests.support.temporal import require_temporal

pytestmark = pytest.mark.slow

STRESSED = "host-stressed"
HEALTHY = "host-healthy"
HOOK = "/detection/hook"


@pytest.fixture(scope="module", params=[on_postgres, on_timescale_native])
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """Yield a server with a Temporal of its own: with its own PostgreSQL, then on the native TimescaleDB."""
    require_temporal()
    directory = tmp_path_factory.mktemp("detection")
    if request.param == "postgres":
        with running(directory, environment=LOOPBACK) as program:
            yield program
        return
    with (
        empty_database(request, request.param) as engine,
        running(directory, database_url=engine.url, environment=LOOPBACK) as program,
    ):
        yield program


def typed(program: Program, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command against the server."""
    return run_sextant(*arguments, environment={"SEXTANT_AGENT_URL": program.url, "SEXTANT_AGENT_KEY": KEY})


def sextant(program: Program, *arguments: str) -> str:
    """What a command prints; it must succeed."""
    done = typed(program, *arguments)
    assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
    return done.stdout


def printed(program: Program, *arguments: str) -> Any:
    """The JSON that a command prints."""
    return json.loads(sextant(program, *arguments, "--json"))


def run_detection(program: Program, api: Api) -> dict[str, Any]:
    """Asks for a run and waits until it is done."""
    asked: dict[str, Any] = {}

    def is_asked() -> bool:
        """The server's own first run may be under way, and then another one is refused."""
        done = typed(program, "detection", "run", "--json")
        assert done.returncode == 0 or "under way" in done.stderr, done.stderr
        asked.update(json.loads(done.stdout or "{}"))
        return bool(asked)

    wait_until(is_asked, WAIT_S)

    def run() -> dict[str, Any]:
        found: dict[str, Any] = next(one for one in api.all("detect/runs") if one["id"] == asked["id"])
        return found

    wait_until(lambda: run()["state"] != "running", WAIT_S, lambda: f"{run()}\n{program.log[-2_000:]}")
    assert run()["state"] == "done", run()
    return run()


def test_what_is_simulated_is_found_explained_alerted_and_taken_away(program: Program) -> None:
    """Every planted illness of the stressed host, nothing of the healthy one, and nothing is left of it in the end."""
    with Hooks().listening() as hooks, Api(program.url) as api:
        api.webhook("hook", hooks.url(HOOK))
        api.repairing("relieve", hooks.url("/relieve"), dry_run=True)
        api.put("detect/settings", {**api.get("detect/settings"), "remediation": "relieve"})
        sent = printed(program, "simulate")
        assert printed(program, "simulate", "--until", sent["end"])["samples"] == sent["samples"], "the same again"
        run = run_detection(program, api)
        assert run["series"] >= 6
        finds_what_was_planted(program, events=sent["events"])
        tells_the_incident(program, api)
        alert = alerts_and_rehearses(program, api, hooks)
        ends_what_is_marked_as_false(program, api, alert)
        leaves_nothing(program, api)


def finds_what_was_planted(program: Program, *, events: int) -> None:
    """The reference findings, in words and numbers."""
    assert 2_100 <= events <= 2_500
    anomalies = printed(program, "anomalies", "list", "--all", "--limit", "1000")
    assert {one["host"] for one in anomalies} == {STRESSED}
    found = {(one["metric"], one["finding"]["detector"]): one for one in anomalies if one["ended_at"] is None}
    assert found["cpu", "variance"]["risk"] == 1.0
    assert found["memory", "trend"]["risk"] == 1.0
    assert found["disk", "trend"]
    assert found["cpu", "spike"]["risk"] == pytest.approx(0.9, abs=0.05)
    looked = sextant(program, "detect", "--metric", "cpu", "--detector", "variance", "--since", "48h")
    assert "host-stressed:cpu variance escalated" in looked
    assert "nothing unusual" in sextant(program, "detect", "--label", f"host={HEALTHY}", "--since", "48h")


def tells_the_incident(program: Program, api: Api) -> None:
    """An incident of the stressed host with a narrative whose sentences lead to the rows behind them."""

    def told() -> list[dict[str, Any]]:
        return [one for one in api.all("incidents") if one["narrative_text"]]

    def bursts() -> list[dict[str, Any]]:
        return [one for one in told() if "error" in one["narrative_text"] and "Hypothesis" in one["narrative_text"]]

    wait_until(bursts, WAIT_S, lambda: f"no incident is told\n{program.log[-3_000:]}")
    assert all(set(one["hosts"]) <= {STRESSED} and one["synthetic"] for one in told())
    burst = bursts()[0]
    detail = printed(program, "incidents", "show", str(burst["id"]))
    assert STRESSED in detail["narrative_text"]
    assert "Hypothesis" in detail["narrative_text"]
    for reference in detail["evidence"][:20]:
        assert httpx.get(program.url + reference["href"], headers={"x-api-key": KEY}, timeout=30).status_code == 200
    text = sextant(program, "incidents", "show", str(burst["id"]))
    assert detail["narrative_text"].split()[0] in text


def alerts_and_rehearses(program: Program, api: Api, hooks: Hooks) -> dict[str, Any]:
    """One alert a fingerprint, told once, whose remediation says what it would do; returns the cpu's."""

    def firing() -> dict[str, dict[str, Any]]:
        alerts = api.all("alerts", state="firing", rule="anomaly risk")
        return {alert["labels"]["fingerprint"]: alert for alert in alerts}

    wait_until(lambda: f"{STRESSED}:cpu" in firing(), WAIT_S, lambda: f"{api.all('alerts')}\n{program.log[-2_000:]}")
    assert f"{STRESSED}:memory" in firing()
    assert not any(fingerprint.startswith(HEALTHY) for fingerprint in firing())
    wait_until(lambda: hooks.messages(HOOK, "fired"), WAIT_S, lambda: "nobody was told")
    run_detection(program, api)
    assert len(api.all("alerts", rule="anomaly risk")) == len(firing()), "found again, and still one episode each"

    def rehearsed() -> bool:
        return {one["state"] for one in api.all("remediations")} == {"dry_run"}

    wait_until(rehearsed, WAIT_S, lambda: f"{api.all('remediations')}")
    assert not hooks.at("/relieve"), "a dry run asks nobody"
    return firing()[f"{STRESSED}:cpu"]


def ends_what_is_marked_as_false(program: Program, api: Api, alert: dict[str, Any]) -> None:
    """Once its anomalies are marked as false the alert resolves, and precision counts no synthetic verdict."""
    for one in printed(program, "anomalies", "list", "--fingerprint", f"{STRESSED}:cpu"):
        sextant(program, "anomalies", "mark", one["id"][:8], "false", "--note", "as planted")
    run_detection(program, api)

    def state() -> str:
        return str(api.get(f"alerts/{alert['id']}")["state"])

    wait_until(lambda: state() == "resolved", WAIT_S, lambda: f"{alert}: {state()}")
    assert all(one["marked_false"] == 0 for one in printed(program, "anomalies", "precision"))


def leaves_nothing(program: Program, api: Api) -> None:
    """Purging takes all that is synthetic, and a sample and an event of our own stay."""
    api.send("cpu", 12.0, host="host-real")
    api.post("events", {"metric": "deployment", "host": "host-real"})
    purged = printed(program, "purge")
    assert purged["samples"] > 0
    assert purged["events"] > 0
    assert printed(program, "anomalies", "list", "--all") == []
    assert printed(program, "incidents", "list", "--all") == []
    assert [one["host"] for one in printed(program, "events", "list")] == ["host-real"]
    hosts = {series["labels"]["host"] for series in api.get("metrics/latest/cpu")["data"]}
    assert hosts == {"host-real"}


def test_events_of_our_own_make_an_incident_that_people_work_on(program: Program, tmp_path: Path) -> None:
    """A deployment and errors of two services that call each other: one incident, acknowledged, split, undone."""
    calls = tmp_path / "calls.csv"
    calls.write_text("client,server\ncheckout,payment\n")
    assert sextant(program, "dependencies", "apply", str(calls)) == "1 calls between 2 services\n"
    sextant(program, "events", "send", "config_change", "--service", "payment", "--message", "version 42")
    for service in ("payment", "payment", "checkout"):
        sextant(program, "events", "send", "error", "--service", service, "--severity", "error", "--message", "500")

    def whole() -> list[dict[str, Any]]:
        with Api(program.url) as api:
            incidents = api.all("incidents", service="payment")
        return [one for one in incidents if one["narrative_text"] and one["signals"] == 4]

    wait_until(whole, WAIT_S, lambda: f"{printed(program, 'incidents', 'list')}\n{program.log[-2_000:]}")
    number = str(whole()[0]["id"])
    sextant(program, "incidents", "ack", number)
    detail = printed(program, "incidents", "show", number)
    assert detail["hypotheses"][0]["entity"] == "payment"
    key = next(one["key"] for one in detail["timeline"] if one["service"] == "checkout")
    made = printed(program, "incidents", "split", number, key)
    split = next(one for one in printed(program, "incidents", "show", number)["history"] if one["kind"] == "split")
    sextant(program, "incidents", "undo", number, str(split["id"]))
    assert printed(program, "incidents", "show", number)["signals"] == 4
    assert printed(program, "incidents", "show", str(made["id"]))["state"] == "merged"
    sextant(program, "incidents", "resolve", number)
    assert "no active incidents" in sextant(program, "incidents")
