"""What the demo tells of detection, against a server whose background work the test does."""

import asyncio
import json
from collections.abc import Sequence
from datetime import timedelta

import pytest

from adapters.driving.cli import demo_detection
from adapters.driving.cli.api import Api
from adapters.driving.cli.client import IngestClient, Target
from adapters.driving.cli.demo_detection import tell_detection
from adapters.driving.cli.display import present
from adapters.driving.cli.simulation import LENGTH_US, MEMORY
from adapters.runtime.telemetry import PrometheusTelemetry
from core.domain.times import HOUR_US, format_time
from core.services.correlation import CorrelationService
from core.services.scheduled_detection import ScheduledDetection
from tests.unit.cli.served_api import Commands, ServedApi

WORK_EVERY_S = 0.05
POINTS_MAX = 1_000_000


class Background:
    """What the processes of a server do beside its requests."""

    def __init__(self, api: ServedApi) -> None:
        self._api = api
        self._storage = storage = api.storage
        self._detection = ScheduledDetection(
            storage.detection_runs,
            storage.reader,
            storage.catalog,
            storage.journal,
            storage.clock,
            PrometheusTelemetry(),
        )
        self._correlation = CorrelationService(
            storage.incident_work, storage.dependencies, storage.reader, storage.clock
        )

    async def work(self) -> None:
        """Does it until it is cancelled."""
        while True:
            await asyncio.to_thread(lambda: self._api.within(self._round()))
            await asyncio.sleep(WORK_EVERY_S)

    async def _round(self) -> None:
        await self._storage.keeping.settle(points_max=POINTS_MAX)
        for purge_id in await self._storage.synthetic_purger.waiting():
            await self._storage.synthetic_purger.purge(purge_id, now=present())
        await self._detection.run_due()
        await self._correlation.round()


def tell(api: ServedApi, *, working: bool = True) -> None:
    """Tells once, beside a server that does its background work or does not."""

    async def both() -> None:
        target = Target(api.url, api.key)
        async with IngestClient(target) as client:
            tasks = [asyncio.ensure_future(tell_detection(Api(client, target)))]
            if working:
                tasks.append(asyncio.ensure_future(Background(api).work()))
            done, others = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            for task in done:
                task.result()

    asyncio.run(both())


def told(capsys: pytest.CaptureFixture[str]) -> Sequence[tuple[str, str]]:
    """The lines that were printed: what each is about, and what it says."""
    lines = capsys.readouterr().out.splitlines()
    return [(line[12:27].rstrip(), line[29:]) for line in lines]


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Incidents count as told after a moment."""
    monkeypatch.setattr(demo_detection, "QUIET", timedelta(seconds=5))


@pytest.mark.usefixtures("hasty")
def test_the_strongest_finding_and_an_incident_are_told(
    api: ServedApi, sextant: Commands, capsys: pytest.CaptureFixture[str]
) -> None:
    """In words, with the command that shows more, and that works."""
    tell(api)
    hosts, anomaly, incident = told(capsys)
    assert hosts == (
        "simulated hosts",
        "48 hours of host-healthy and host-stressed, all made up; detection looks at them",
    )
    assert anomaly[0] == "anomaly"
    assert anomaly[1].startswith("host-stressed:cpu variance escalated 4.")
    assert anomaly[1].endswith(" (risk 1.00), and 3 more: sextant anomalies")
    number = incident[0].removeprefix("incident ")
    narrative, more = incident[1].split(" More: sextant ")
    assert "host-stressed experienced: " in narrative
    assert "Hypothesis: " in narrative
    assert more == f"incidents show {number}"
    assert narrative in sextant(*more.split())


@pytest.mark.usefixtures("hasty")
def test_another_demo_begins_anew(api: ServedApi, sextant: Commands, capsys: pytest.CaptureFixture[str]) -> None:
    """What was simulated for an earlier moment is taken away first, and mixes with nothing."""
    sextant("simulate", "--until", format_time(api.database.clock.now_us() - 2 * HOUR_US))
    tell(api)
    assert [what.split()[0] for what, _ in told(capsys)] == ["simulated", "anomaly", "incident"]
    events = json.loads(sextant("events", "list", "--host", "host-healthy", "--limit", "10000", "--json"))
    memory = [one for one in events if one["metric"] == MEMORY.name]
    assert len(memory) == LENGTH_US // MEMORY.every_us


def test_what_does_not_come_in_time_is_not_told(
    api: ServedApi, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No failure where detection does not run: its lines stay away."""
    async def never(*_: object) -> None:
        raise TimeoutError

    monkeypatch.setattr(demo_detection, "_ended", never)
    tell(api, working=False)
    assert [what for what, _ in told(capsys)] == ["simulated hosts"]


def test_nothing_is_told_of_a_server_that_refuses(
    api: ServedApi, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nor is that a failure."""
    monkeypatch.setattr(demo_detection, "PATIENCE_S", 0.5)
    api.key = "sx_unknown"
    tell(api)
    assert told(capsys) == []
