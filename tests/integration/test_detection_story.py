"""From samples and events to anomalies, incidents and verdicts: as a user sees it over HTTP, over every store."""

from collections.abc import AsyncIterator
from typing import Any, cast

import httpx
import pytest

from adapters.bootstrap import Storage as BootstrapStorage
from adapters.runtime.clock import SystemClock
from adapters.runtime.telemetry import PrometheusTelemetry
from core.domain.tenants import Tenant
from core.domain.times import DAY_US, HOUR_US, MINUTE_US, SECOND_US, format_time
from core.services.correlation import CorrelationService
from core.services.scheduled_detection import ScheduledDetection
from tests.integration.in_process import InProcess, in_process
from tests.support.storages import Store, settle_all

STEP_US = 5 * MINUTE_US
TROUBLE_AGO_US = 10 * MINUTE_US
"""Far enough back that nothing is waited for."""


@pytest.fixture
async def served(store: Store) -> AsyncIterator[InProcess]:
    """Yield the application over each store in turn."""
    async with store.open() as storage:
        yield in_process(storage, store=store)


async def test_the_whole_story(served: InProcess) -> None:
    """A leak is found, recorded, judged; errors become an incident with a story that can be followed to its rows."""
    tenant = await served.new_tenant()
    async with served.client(await served.new_key(tenant)) as client:
        await ingest_a_leak(client)
        await settle_all(served.storage)
        await look_now(client)
        anomaly = await run_detection(served, tenant, client)
        await judge(client, anomaly)
        incident = await errors_become_an_incident(served, client)
        await follow(client, incident)
        await change(client, incident)


async def ingest_a_leak(client: httpx.AsyncClient) -> None:
    """Two days of a host whose memory fills, and of one whose does not."""
    now_us = SystemClock().now_us()
    metrics = [
        {"name": "memory", "value": value, "labels": {"host": host}, "timestamp": format_time(at_us)}
        for at_us in range(now_us - 2 * DAY_US + STEP_US, now_us, STEP_US)
        for host, value in (("leaky", 40.0 + 50.0 * (1 - (now_us - at_us) / (2 * DAY_US))), ("sound", 40.0))
    ]
    reply = await client.post("/ingest/batch", json={"metrics": metrics})
    assert (reply.status_code, reply.json()["rejected"]) == (200, 0)


async def look_now(client: httpx.AsyncClient) -> None:
    """Detection on demand finds the leak, records nothing, and a backtest finds it as well."""
    found = (await client.post("/api/v1/detect", json={"metric": "memory", "detectors": ["trend"]})).json()
    assert found["series"] == 2
    [finding] = found["findings"]
    assert (finding["labels"], finding["finding"]["detector"]) == ({"host": "leaky"}, "trend")
    assert (await client.get("/api/v1/anomalies")).json()["data"] == []
    body = {"settings": {"include": ["memory"], "plan": {"detectors": ["trend"]}}, "since": "1h"}
    tried = await client.post("/api/v1/detect/backtest", json=body)
    assert tried.status_code == 200, tried.text
    assert tried.json()["runs"] >= 3


async def run_detection(served: InProcess, tenant: Tenant, client: httpx.AsyncClient) -> dict[str, Any]:
    """A run that was asked for records the anomaly, and writes an event of it."""
    assert (await client.put("/api/v1/detect/settings", json={"plan": {"detectors": ["trend"]}})).status_code == 200
    asked = await client.post("/api/v1/detect/runs")
    assert asked.status_code == 202, asked.text
    storage = cast("BootstrapStorage", served.storage)
    work = ScheduledDetection(
        storage.detection_runs, storage.reader, storage.catalog, storage.journal, SystemClock(), PrometheusTelemetry()
    )
    assert (await work.run_due(tenant_id=tenant.id)).tenant == tenant.name
    [run] = (await client.get("/api/v1/detect/runs")).json()["data"]
    assert (run["id"], run["state"], run["findings"]) == (asked.json()["id"], "done", 1)
    [anomaly] = (await client.get("/api/v1/anomalies?open=true&host=leaky&risk_min=0.8")).json()["data"]
    assert anomaly["text"].startswith("leaky:memory ")
    return cast("dict[str, Any]", anomaly)


async def judge(client: httpx.AsyncClient, anomaly: dict[str, Any]) -> None:
    """A verdict counts to the detector's precision, until it is taken back."""
    path = f"/api/v1/anomalies/{anomaly['id']}/mark"
    for verdict, precision in (("true", 1.0), ("false", 0.0)):
        marked = await client.put(path, json={"verdict": verdict, "note": "seen"})
        assert (marked.json()["mark"]["verdict"], marked.json()["mark"]["note"]) == (verdict, "seen")
        assert await precision_of_trend(client) == precision
    assert (await client.delete(path)).json()["mark"] is None
    assert await precision_of_trend(client) is None


async def precision_of_trend(client: httpx.AsyncClient) -> float | None:
    """As the API reports it."""
    reply = (await client.get("/api/v1/detect/precision?days=1")).json()
    [precision] = [row["precision"] for row in reply["data"] if row["detector"] == "trend"]
    return cast("float | None", precision)


async def errors_become_an_incident(served: InProcess, client: httpx.AsyncClient) -> dict[str, Any]:
    """Errors of one host within minutes are one incident."""
    trouble_us = SystemClock().now_us() - TROUBLE_AGO_US
    events = [
        {
            "metric": "error",
            "host": "leaky",
            "severity": "error",
            "value": 1 + number,
            "message": f"request {number} failed",
            "ts": format_time(trouble_us + number * 10 * SECOND_US),
        }
        for number in range(4)
    ]
    posted = await client.post("/api/v1/events", json=events)
    assert (posted.status_code, posted.json()["accepted"]) == (200, 4)
    work = CorrelationService(
        served.storage.incident_work, served.storage.dependencies, served.storage.reader, LaterClock()
    )
    for _ in range(3):
        await work.round()
    [incident] = (await client.get("/api/v1/incidents?active=true&host=leaky")).json()["data"]
    assert (incident["state"], incident["signals"] >= 4, incident["hosts"]) == ("open", True, ["leaky"])
    assert incident["narrative_text"]
    return cast("dict[str, Any]", incident)


class LaterClock(SystemClock):
    """Half an hour from now, and in a hurry: nothing has to wait for companions, or to come to rest."""

    def __init__(self) -> None:
        self._read = 0

    def now_us(self) -> int:
        return super().now_us() + HOUR_US // 2

    def monotonic_s(self) -> float:
        self._read += 1
        return super().monotonic_s() + 2.0 * self._read


async def follow(client: httpx.AsyncClient, incident: dict[str, Any]) -> None:
    """Every sentence rests on something, and everything can be read."""
    detail = (await client.get(f"/api/v1/incidents/{incident['id']}")).json()
    assert " ".join(sentence["text"] for sentence in detail["narrative"]) == detail["narrative_text"]
    assert [change["kind"] for change in detail["history"]] == ["opened"]
    times = [signal["at"] for signal in detail["timeline"]]
    assert times == sorted(times)
    hrefs = [reference["href"] for reference in detail["evidence"]] + [one["href"] for one in detail["timeline"]]
    assert len(hrefs) >= 4
    for href in hrefs:
        followed = await client.get(href)
        assert followed.status_code == 200, (href, followed.text)
    found = await client.get("/api/v1/incidents", params={"text": incident["title"].upper()})
    assert [one["id"] for one in found.json()["data"]] == [incident["id"]]


async def change(client: httpx.AsyncClient, incident: dict[str, Any]) -> None:
    """Split, undone, acknowledged, resolved, reopened."""
    path = f"/api/v1/incidents/{incident['id']}"
    timeline = (await client.get(path)).json()["timeline"]
    made = await client.post(f"{path}/split", json={"keys": [timeline[0]["key"]]})
    assert (made.status_code, made.json()["signals"]) == (201, 1)
    assert (await client.get(path)).json()["signals"] == incident["signals"] - 1
    split = (await client.get(path)).json()["history"][-1]
    undone = await client.post(f"{path}/undo", json={"change": split["id"]})
    assert (undone.status_code, undone.json()["signals"]) == (200, incident["signals"])
    assert (await client.post(f"{path}/undo", json={"change": split["id"]})).status_code == 409
    assert (await client.get(made.headers["location"])).json()["merged_into"] == incident["id"]
    for action, state in (("acknowledge", "acknowledged"), ("resolve", "resolved"), ("reopen", "open")):
        assert (await client.post(f"{path}/{action}")).json()["state"] == state
    history = [entry["kind"] for entry in (await client.get(path)).json()["history"]]
    assert history[-3:] == ["acknowledged", "resolved", "reopened"]
