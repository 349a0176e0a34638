"""From a recorded machine that gets busy to the proof of its repair, through the shipped program and a real Temporal.

The recording is NAB's: its last calm minutes and the rise to 99% come by `sextant replay`, as they would from a file of
anybody's. An action is a request to a service on loopback; from then on the recording's calm minutes are sent.
"""

import csv
import itertools
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from adapters.driving.cli.demo_feed import RECORDING
from tests.conftest import on_postgres, on_timescale_native
from tests.e2e.alerting import WAIT_S, Api, workflows
from tests.e2e.hooks import LOOPBACK, Hooks
from tests.e2e.program import Program, run_sextant, running, wait_until
from tests.support.store_fixtures import empty_database
from tests.support.temporal import require_temporal

pytestmark = pytest.mark.slow

BUSY = 90.0
CALM_ROWS = 60
PUBLIC_URL = "https://sextant.example"
SCOPES = ["ingest", "query", "alerts", "remediate"]


@pytest.fixture(scope="module", params=[on_postgres, on_timescale_native])
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """Yield a server with a Temporal of its own: with its own PostgreSQL, then on the native TimescaleDB."""
    require_temporal()
    directory = tmp_path_factory.mktemp("story")
    settings = {**LOOPBACK, "SEXTANT_ALERTS_PUBLIC_URL": PUBLIC_URL}
    if request.param == "postgres":
        with running(directory, environment=settings) as program:
            yield program
        return
    with (
        empty_database(request, request.param) as engine,
        running(directory, database_url=engine.url, environment=settings) as program,
    ):
        yield program


@pytest.fixture(scope="module")
def hooks(program: Program) -> Iterator[Hooks]:
    """Yield receiver and service."""
    with Hooks().listening() as hooks:
        yield hooks


@dataclass
class Tenant:
    """A tenant with a rule about a machine, told at /<name>/hook and repaired at /<name>/restart/<machine>."""

    name: str
    api: Api
    hooks: Hooks
    machine: str

    @property
    def hook(self) -> str:
        """The path that its notifications arrive at."""
        return f"/{self.name}/hook"

    @property
    def service(self) -> str:
        """The path of what its remediation asks."""
        return f"/{self.name}/restart/{self.machine}"

    def watch(self, **policy: object) -> None:
        """Makes channel, policy and rule."""
        self.api.webhook("hook", self.hooks.url(self.hook))
        url = self.hooks.url(f"/{self.name}/restart/") + "{{ labels.instance }}"
        self.api.repairing("restart it", url, **policy)
        rule = {
            "name": "machine busy",
            "metric": "cpu",
            "warning": 80,
            "critical": BUSY,
            "remediation": "restart it",
            "annotations": {"summary": "{{ labels.instance }} is at {{ value | round(1) }}%"},
        }
        self.api.post("alerts/rules", rule)

    def replay(self, recording: Path) -> None:
        """The recording up to the moment at which the machine is busy."""
        done = run_sextant(
            *("replay", str(recording), "--name", "cpu", "--label", f"instance={self.machine}", "--shift-to-now"),
            environment={"SEXTANT_AGENT_URL": self.api.url, "SEXTANT_AGENT_KEY": self.api.key},
        )
        assert done.returncode == 0, done.stderr

    def heard(self, event: str) -> list[dict[str, Any]]:
        """Its notifications of one event."""
        return self.hooks.messages(self.hook, event)

    def remediation(self) -> dict[str, Any] | None:
        """Its only remediation."""
        found = self.api.all("remediations")
        assert len(found) <= 1
        return found[0] if found else None

    def remediation_id(self) -> int:
        """Its remediation's id."""
        remediation = self.remediation()
        assert remediation is not None
        return int(remediation["id"])

    def status(self, path: str) -> int:
        """How a request for something is answered."""
        headers = {"x-api-key": self.api.key}
        return httpx.get(f"{self.api.url}/api/v1/{path}", headers=headers, timeout=30).status_code

    def state(self) -> str | None:
        """Where its remediation stands."""
        remediation = self.remediation()
        return None if remediation is None else remediation["state"]

    def stands(self, state: str) -> None:
        """Waits until its remediation is in a state."""
        wait_until(lambda: self.state() == state, WAIT_S, lambda: f"{self.remediation()}, not {state}")

    def recover(self) -> None:
        """Waits until the service is asked, then sends the recording's calm samples until the repair is proven.

        Who has not been told by then that it fired would not be told at all, so that is waited for too.
        """
        wait_until(lambda: self.heard("fired"), WAIT_S, lambda: "nobody was told")
        wait_until(lambda: self.hooks.at(self.service), WAIT_S, lambda: f"nobody asked: {self.remediation()}")
        calm = itertools.cycle(values()[:CALM_ROWS])

        def proven() -> bool:
            self.api.send("cpu", next(calm), instance=self.machine)
            return self.state() == "succeeded"

        wait_until(proven, WAIT_S, lambda: f"not proven: {self.remediation()}")
        wait_until(lambda: self.heard("resolved"), WAIT_S, lambda: "nobody was told of the end")
        wait_until(lambda: not self.api.all("alerts/notifications", state="waiting"), WAIT_S, lambda: "not noted")


@pytest.fixture
def tenant(program: Program, hooks: Hooks, request: pytest.FixtureRequest) -> Iterator[Tenant]:
    """Yield a new tenant."""
    with new_tenant(program, hooks, re.sub(r"[^a-z0-9]+", "-", request.node.name)[:60]) as tenant:
        yield tenant


@contextmanager
def new_tenant(program: Program, hooks: Hooks, name: str) -> Iterator[Tenant]:
    """A tenant with a key of its own."""
    with Api(program.url) as operator:
        operator.post("tenants", {"name": name})
        key = operator.post("keys", {"tenant": name, "scopes": SCOPES})["key"]
    with Api(program.url, key) as api:
        yield Tenant(name, api, hooks, machine="i-77c1ca")


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the part of NAB's recording that ends as the machine gets busy, as a file."""
    rise = next(row for row, value in enumerate(values()) if value > BUSY)
    lines = RECORDING.read_text().splitlines(keepends=True)
    path = tmp_path_factory.mktemp("recording") / "cpu.csv"
    path.write_text("".join([lines[0], *lines[1 + rise - CALM_ROWS : 1 + rise + 2]]))
    return path


def values() -> list[float]:
    """All of the recording."""
    with RECORDING.open(newline="") as file:
        return [float(row["value"]) for row in csv.DictReader(file)]


def test_two_tenants_live_through_it_apart(program: Program, hooks: Hooks, recording: Path) -> None:
    """The same machine at two tenants: each fires, is repaired by its own workflow, proven good and resolved.

    Alert, timeline, audit and messages tell that story, and nothing of either tenant reaches the other.
    """
    with new_tenant(program, hooks, "acme") as acme, new_tenant(program, hooks, "globex") as globex:
        both = (acme, globex)

        def live(tenant: Tenant) -> None:
            tenant.watch()
            tenant.replay(recording)
            tenant.recover()

        with ThreadPoolExecutor(len(both)) as pool:
            list(pool.map(live, both))
        for tenant in both:
            tells_the_story(tenant)
        ours = {alert["id"]: tenant.name for tenant in both for alert in tenant.api.all("alerts")}
        assert len(ours) == 2, "an episode for each"
        ids = [{row["workflow_id"] for row in tenant.api.all("remediations")} for tenant in both]
        assert not ids[0] & ids[1]
        listed = workflows(program, ids[0] | ids[1])
        assert all(listed.count(workflow_id) == 1 for workflow_id in ids[0] | ids[1])
        for tenant, other in (both, both[::-1]):
            foreign = next(alert for alert, name in ours.items() if name == other.name)
            for path in (f"alerts/{foreign}", f"remediations/{other.remediation_id()}"):
                assert tenant.status(path) == 404
            for path in ("alerts", "alerts/notifications", "remediations", "audit", "alerts/rules", "alerts/channels"):
                assert other.name not in str(tenant.api.get(path)), path
            assert {message["tenant"] for message in hooks.messages(tenant.hook)} == {tenant.name}
        asked = {request for request in hooks.paths() if "/restart/" in request}
        assert asked == {acme.service, globex.service}


def tells_the_story(tenant: Tenant) -> None:
    """Asserts that everything shown to a tenant agrees about its one episode."""
    [listed] = tenant.api.all("alerts")
    alert = tenant.api.get(f"alerts/{listed['id']}")
    assert (alert["state"], alert["resolution"], alert["severity"]) == ("resolved", "recovered", "critical")
    assert (alert["rule"], alert["labels"], alert["episode"]) == ("machine busy", {"instance": tenant.machine}, 1)
    assert [(one["event"], one["state"]) for one in alert["notifications"]] == [
        ("resolved", "delivered"),
        ("fired", "delivered"),
    ]
    told = tenant.hooks.messages(tenant.hook)
    assert [message["event"] for message in told] == ["fired", "resolved"], "one page, one all-clear"
    assert [message["id"] for message in told] == [one["id"] for one in alert["notifications"]][::-1]
    assert f"{tenant.machine} is at 99." in told[0]["alerts"][0]["annotations"]["summary"]
    remediation = tenant.api.get(f"remediations/{alert['remediation']}")
    assert remediation["alert_id"] == alert["id"]
    assert remediation["detail"].startswith("verified: last of cpu is ")
    assert remediation["timeline"] == alert["timeline"], "one trail"
    kinds = [entry["kind"] for entry in remediation["timeline"]]
    assert kinds == ["decision", "request", "response", "verdict", "verdict"]
    [request] = tenant.hooks.at(tenant.service)
    assert request.headers["idempotency-key"] == f"{remediation['workflow_id']}/0"
    assert remediation["timeline"][1]["details"]["key"] == request.headers["idempotency-key"]
    times = [told[0]["created_at"], *(entry["at"] for entry in remediation["timeline"]), remediation["finished_at"]]
    assert times[1:] == sorted(times[1:])
    verdict = tenant.api.get("audit/verify")
    trail = tenant.api.all("audit")
    assert (verdict["broken"], verdict["entries"], verdict["head"]) == (None, len(trail), trail[0]["hash"])
    assert [entry for entry in trail[::-1] if entry["remediation_id"]] == remediation["timeline"]


@pytest.mark.parametrize("way", ["api", "link"])
def test_it_waits_for_a_person(tenant: Tenant, recording: Path, way: str) -> None:
    """Where approval is required nothing is done until it is given: through the API, or by the link that was sent."""
    tenant.watch(approval="always")
    tenant.replay(recording)
    tenant.stands("awaiting_approval")
    wait_until(lambda: tenant.heard("remediation"), WAIT_S, lambda: "nobody was asked")
    [asked] = tenant.heard("remediation")
    assert "approval is needed" in asked["text"]
    assert asked["link"].startswith(f"{PUBLIC_URL}/")
    assert tenant.hooks.at(tenant.service) == []
    if way == "api":
        tenant.api.post(f"remediations/{tenant.remediation_id()}/approve", {"reason": "go on"})
    else:
        follow(tenant, asked["link"])
    tenant.recover()
    timeline = tenant.api.get(f"remediations/{tenant.remediation_id()}")["timeline"]
    answer = next(entry for entry in timeline if "approved by" in entry["summary"])
    assert (answer["kind"], answer["actor"].split(":")[0]) == ("approval", "key" if way == "api" else "link")
    assert tenant.api.get("audit/verify")["broken"] is None
    assert len(tenant.hooks.at(tenant.service)) == 1


def follow(tenant: Tenant, link: str) -> None:
    """Opens a link, which does nothing, and presses the page's button; a second press is refused."""
    url = tenant.api.url + link.removeprefix(PUBLIC_URL)
    page = httpx.get(url, timeout=30)
    assert page.status_code == 200, page.text
    assert tenant.machine in page.text
    assert tenant.state() == "awaiting_approval"
    form = {"token": httpx.URL(url).params["token"], "answer": "approve"}
    pressed = httpx.post(url.partition("?")[0], data=form, timeout=30)
    assert pressed.status_code == 200, pressed.text
    wait_until(lambda: tenant.state() != "awaiting_approval", WAIT_S)
    assert httpx.post(url.partition("?")[0], data=form, timeout=30).status_code == 409


def test_a_kill_switch_stops_it(tenant: Tenant, recording: Path) -> None:
    """Engaged, no action is taken, people hear of the alert and of the refusal, and the trail says who stopped it."""
    tenant.watch()
    tenant.api.put("remediation/kill-switch", {"engaged": True, "reason": "release night"})
    tenant.replay(recording)
    tenant.stands("refused")
    wait_until(lambda: tenant.heard("remediation") and tenant.heard("fired"), WAIT_S, lambda: "nobody was told")
    assert tenant.hooks.at(tenant.service) == []
    remediation = tenant.api.get(f"remediations/{tenant.remediation_id()}")
    assert "kill switch" in remediation["detail"]
    assert "release night" in str(tenant.api.all("audit"))
    assert tenant.api.get("audit/verify")["broken"] is None
