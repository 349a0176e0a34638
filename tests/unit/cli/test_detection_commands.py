"""The commands of detection, events and incidents: what a person reads, what a script gets."""

import json
from pathlib import Path
from typing import Any

import pytest

from adapters.runtime.telemetry import PrometheusTelemetry
from core.domain.incidents import IncidentFilter
from core.domain.times import format_time
from core.services.correlation import CorrelationService
from core.services.scheduled_detection import ScheduledDetection
from ports.driving.detecting import DetectionRound
from tests.e2e.program import wait_until
from tests.unit.cli.served_api import Commands, ServedApi

TOLD_TIMEOUT_S = 20.0
"""An incident is told once it has been quiet for a moment."""


def detect_now(api: ServedApi, sextant: Commands) -> DetectionRound:
    """A run of scheduled detection, asked for by the command and done as the server's process does it."""
    assert "begins within seconds" in sextant("detection", "run")
    storage = api.storage
    work = ScheduledDetection(
        storage.detection_runs, storage.reader, storage.catalog, storage.journal, storage.clock, PrometheusTelemetry()
    )
    return api.within(work.run_due())


def correlate_now(api: ServedApi) -> None:
    """Rounds of correlation until every incident is told."""
    storage = api.storage
    work = CorrelationService(storage.incident_work, storage.dependencies, storage.reader, storage.clock)

    def all_told() -> bool:
        api.within(work.round())
        incidents = api.within(told(api))
        return bool(incidents) and all(incidents)

    wait_until(all_told, TOLD_TIMEOUT_S, lambda: f"{api.within(told(api))}")


async def told(api: ServedApi) -> list[str | None]:
    """The narratives of all incidents."""
    found = await api.storage.incidents.list(api.tenant.id, IncidentFilter(), limit=100, before_id=None)
    return [incident.narrative for incident in found]


def printed(sextant: Commands, *words: str) -> Any:
    """The JSON that a command prints."""
    return json.loads(sextant(*words, "--json"))


def test_nothing_says_what_to_do_next(sextant: Commands) -> None:
    """An empty list is a sentence, and in JSON an empty list; a group without a command lists."""
    assert "sextant anomalies list --all" in sextant("anomalies")
    assert "sextant incidents list --all" in sextant("incidents")
    assert "sextant events send" in sextant("events")
    assert "no runs yet" in sextant("detection", "runs")
    assert "nobody has marked any" in sextant("anomalies", "precision")
    assert sextant("dependencies") == "client,server\n"
    assert "no series match" in sextant("detect", "--metric", "cpu")
    for words in (("anomalies", "list"), ("incidents", "list"), ("events", "list"), ("detection", "runs")):
        assert printed(sextant, *words) == []


def test_what_is_simulated_is_found_marked_and_shown(api: ServedApi, sextant: Commands) -> None:
    """Readings and events go in once, however often; findings are told with their risk and can be marked."""
    assert "wrote" in sextant("simulate", "--until", _now(api))
    assert printed(sextant, "simulate", "--until", _now(api))["hosts"] == ["host-healthy", "host-stressed"]
    looked = sextant("detect", "--metric", "memory")
    assert "host-stressed:memory rose 13" in looked
    assert "host-healthy" not in looked
    assert len(printed(sextant, "detect", "--detector", "trend")["findings"]) == 2
    done = detect_now(api, sextant)
    assert done.state == "done"
    assert "done" in sextant("detection", "runs")
    lines = sextant("anomalies").splitlines()
    assert lines[0].split() == ["ID", "DETECTOR", "RISK", "FIRST", "SEEN", "STATE", "FINDING"]
    assert any("host-stressed:cpu variance escalated 4." in line for line in lines)
    first = lines[1].split()[0]
    assert "marked as false" in sextant("anomalies", "mark", first, "false", "--note", "as planted")
    assert "marked false" in sextant("anomalies", "list")
    assert "taken back" in sextant("anomalies", "mark", first, "none")
    assert "no anomaly begins" in sextant.refused("anomalies", "mark", "ffffffff", "true", status=2)
    correlate_now(api)
    incident = printed(sextant, "incidents")[0]
    shown = sextant("incidents", "show", str(incident["id"]))
    assert "host-stressed experienced" in shown
    assert "What may have caused it" in shown


def test_events_become_an_incident_that_is_worked_on(api: ServedApi, sextant: Commands, tmp_path: Path) -> None:
    """Sent, joined by the declared graph, acknowledged, split, put together again, resolved."""
    calls = tmp_path / "calls.csv"
    calls.write_text("client,server\nweb,db\n")
    assert sextant("dependencies", "apply", str(calls)) == "1 calls between 2 services\n"
    assert sextant("dependencies", "show") == "client,server\nweb,db\n"
    for service in ("db", "web", "db"):
        sextant("events", "send", "error", "--service", service, "--severity", "error", "--message", "timed out")
    assert "timed out" in sextant("events", "list", "--severity", "error")
    correlate_now(api)
    number = str(printed(sextant, "incidents")[0]["id"])
    assert "acknowledged incident" in sextant("incidents", "ack", number)
    key = next(
        one["key"] for one in printed(sextant, "incidents", "show", number)["timeline"] if one["service"] == "web"
    )
    assert "split 1 signals" in sextant("incidents", "split", number, key)
    change = printed(sextant, "incidents", "show", number)["history"][-1]
    assert f"[{change['id']}]" in sextant("incidents", "show", number)
    assert "undone" in sextant("incidents", "undo", number, str(change["id"]))
    assert "resolved incident" in sextant("incidents", "resolve", number)
    assert "resolved" in sextant("incidents", "list", "--all")
    assert "no incident named" in sextant.refused("incidents", "show", "999")


def test_a_graph_goes_out_as_it_came_in(sextant: Commands, tmp_path: Path) -> None:
    """Names that hold commas and quotes are quoted, so that what is shown can be applied."""
    calls = tmp_path / "calls.csv"
    calls.write_text('client,server\n"a, b","say ""c"""\nd,e\n')
    assert sextant("dependencies", "apply", str(calls)) == "2 calls between 4 services\n"
    assert sextant("dependencies", "show") == calls.read_text()


def test_settings_go_out_and_in_as_a_file(sextant: Commands, tmp_path: Path) -> None:
    """What `settings` prints `apply` takes; what is wrong in it is named."""
    path = tmp_path / "detection.yaml"
    path.write_text(sextant("detection", "settings"))
    assert "every 15m over 48h, live" in sextant("detection", "apply", str(path))
    path.write_text("shadow: true\nwindow: 7d\n")
    assert "over 7d, shadow" in sextant("detection", "apply", str(path))
    assert printed(sextant, "detection", "settings")["window"] == "7d"
    path.write_text("window: tomorrow\n")
    assert "window" in sextant.refused("detection", "apply", str(path))
    path.write_text("enabled: false\n")
    assert "switched off" in sextant("detection", "apply", str(path))
    assert "switched off" in sextant.refused("detection", "run")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("detect", "--scores"), "--csv"),
        (("detect", "--csv", "-", "--metric", "cpu"), "--metric"),
        (("detect", "--since", "soon"), "since"),
        (("simulate", "--length", "1h"), "12 hours"),
        (("simulate", "--until", "now"), "--until"),
        (("events", "send", "error"), "host"),
        (("anomalies", "mark", "x", "none", "--note", "y"), "no anomaly begins"),
    ],
)
def test_what_does_not_go_together_is_named(sextant: Commands, words: tuple[str, ...], said: str) -> None:
    """On standard error, with a status that is not 0."""
    _, error, status = sextant.both(*words)
    assert status in (1, 2)
    assert said in error


def _now(api: ServedApi) -> str:
    return format_time(api.database.clock.now_us())
