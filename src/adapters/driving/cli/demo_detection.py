"""What detection makes of simulated hosts, told beside the demo's story.

The demo does what anybody would do: it simulates, asks for a run, and looks. What does not come in time is not told.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any, Final, TypeVar

from adapters.driving.cli import anomalies, detection, incidents, purge
from adapters.driving.cli.api import Api
from adapters.driving.cli.demo_story import tell
from adapters.driving.cli.display import present
from adapters.driving.cli.output import CommandError
from adapters.driving.cli.simulate import END_STEP_US, Sent, send_simulation
from adapters.driving.cli.simulation import CPU, LENGTH_US, Simulation
from adapters.driving.http.detection_replies import AnomalyReply
from adapters.driving.http.incident_replies import IncidentReply
from core.domain.detection_runs import DetectionRun, RunState
from core.domain.times import format_time
from ports.driven.synthetic_store import Purge

PATIENCE_S: Final = 90.0
"""It takes five to ten seconds; detection has the lowest priority, and much later nobody knows what it is about."""
POLL_S: Final = 0.2
QUIET: Final = timedelta(seconds=3)
"""An incident that did not change for so long has taken in what belongs to it, and its narrative is complete."""
RUNS_LOOKED_AT: Final = 10
"""The one that was asked for is the newest, or nearly."""
FOUND_MAX: Final = 100
"""Detection finds four things in what is simulated, and some fifteen incidents."""
SYNTHETIC: Final = ("synthetic", "true")

T = TypeVar("T")


async def tell_detection(api: Api) -> None:
    """Simulates hosts, has detection look, and tells the strongest finding and the largest incident."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE_S):
            await _without_earlier(api)
            hosts = await _insist(lambda: _simulate(api))
            tell("simulated hosts", f"48 hours of {' and '.join(hosts)}, all made up; detection looks at them")
            asked = await _insist(lambda: api.send("POST", f"{detection.PATH}/runs", DetectionRun))
            await _insist(lambda: _ended(api, asked))
            tell("anomaly", _anomaly_text(await _insist(lambda: _anomalies(api))))
            incident = await _insist(lambda: _incident(api))
            tell(f"incident {incident.id}", f"{incident.narrative_text} More: sextant incidents show {incident.id}")


async def _insist(attempt: Callable[[], Awaitable[T | None]]) -> T:
    """What `attempt` gives once it gives something; what a server refuses now it may grant later."""
    while True:
        with contextlib.suppress(CommandError):
            found = await attempt()
            if found is not None:
                return found
        await asyncio.sleep(POLL_S)


async def _without_earlier(api: Api) -> None:
    """Takes away what an earlier demo simulated, with which today's would mix."""

    async def done(asked: Purge) -> Purge | None:
        found = await api.get(f"{purge.PATH}/{asked.id}", Purge)
        return found if found.finished_at is not None else None

    latest = f"/api/v1/metrics/latest/{CPU.name}"
    if await _insist(lambda: api.all(latest, dict[str, Any], [("label", "=".join(SYNTHETIC))])):
        asked = await _insist(lambda: api.send("POST", purge.PATH, Purge))
        await _insist(lambda: done(asked))


async def _simulate(api: Api) -> Sequence[str]:
    """Sends what `sextant simulate` does; the names of the hosts."""
    now_us = time.time_ns() // 1_000
    end_us = now_us - now_us % END_STEP_US
    simulation = Simulation(end_us=end_us)
    hosts = [host.name for host in simulation.hosts]
    sent = Sent(start=format_time(end_us - LENGTH_US), end=format_time(end_us), hosts=hosts)
    await send_simulation(api, simulation, sent)
    return hosts


async def _ended(api: Api, asked: DetectionRun) -> DetectionRun | None:
    runs, _ = await api.first(f"{detection.PATH}/runs", DetectionRun, [], limit=RUNS_LOOKED_AT)
    return next((run for run in runs if run.id == asked.id and run.state is not RunState.RUNNING), None)


async def _anomalies(api: Api) -> Sequence[AnomalyReply] | None:
    """Those of the simulated hosts, the strongest first, where there are any."""
    found, _ = await api.first(anomalies.PATH, AnomalyReply, [SYNTHETIC, ("open", "true")], limit=FOUND_MAX)
    return sorted(found, key=lambda one: (-one.risk, one.text)) or None


def _anomaly_text(found: Sequence[AnomalyReply]) -> str:
    others = f", and {len(found) - 1} more" if len(found) > 1 else ""
    return f"{found[0].text}{others}: sextant anomalies"


async def _incident(api: Api) -> IncidentReply | None:
    """The one with most signals, the newest of such, once all of them are told."""
    changing_since = present() - QUIET
    found, _ = await api.first(incidents.PATH, IncidentReply, [SYNTHETIC], limit=FOUND_MAX)
    if not all(one.narrative_text is not None and one.updated_at < changing_since for one in found):
        return None
    return max(found, key=lambda one: (one.signals, one.started_at), default=None)
