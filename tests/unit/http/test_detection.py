"""Detection and anomaly routes."""

from typing import Any

import httpx
import msgspec
import pytest

from core.detection.plan import DetectionPlan, DetectionSettings, SpikeSettings, VarianceSettings
from core.domain.anomalies import AnomalyFilter, Detector, Verdict
from core.domain.errors import Unavailable
from core.domain.times import HOUR_US, TimeRange
from tests.unit.http.conftest import World
from tests.unit.http.detection_fakes import ANOMALY_ID, FINDING, NOW_US
from tests.unit.http.fakes import raised_by
from tests.unit.http.problems import problem_of

DETECT = "/api/v1/detect"
ANOMALIES = "/api/v1/anomalies"
ANOMALY = f"{ANOMALIES}/{ANOMALY_ID}"
SHOWN_FINDING = {
    "detector": "spike",
    "component": None,
    "risk": 0.9,
    "start": "2026-01-31T11:00:00Z",
    "end": "2026-01-31T12:00:00.000001Z",
    "baseline_start": "2026-01-31T10:00:00Z",
    "baseline_end": "2026-01-31T11:00:00Z",
    "usual_low": 20.5,
    "usual_high": 20.5,
    "observed": 94.98,
    "count": 46,
    "phrase": "46 spikes up to 94.98",
    "moments": [{"at": "2026-01-31T11:59:59.500000Z", "value": 94.98}],
}
SHOWN = {
    "id": str(ANOMALY_ID),
    "metric": "cpu",
    "labels": {"host": "a"},
    "host": "a",
    "service": None,
    "fingerprint": "a:cpu",
    "text": "a:cpu 46 spikes up to 94.98 (risk 0.90)",
    "risk": 0.9,
    "risk_max": 0.95,
    "first_seen_at": "2026-01-31T12:00:00Z",
    "last_seen_at": "2026-01-31T12:00:00Z",
    "ended_at": None,
    "shadow": False,
    "synthetic": True,
    "mark": None,
    "finding": SHOWN_FINDING,
}
SHOWN_SERIES = {name: SHOWN[name] for name in ("metric", "labels", "fingerprint", "text", "finding")}
SETTINGS = {
    "enabled": True,
    "interval": "15m",
    "window": "48h",
    "include": [],
    "exclude": [],
    "matchers": [],
    "time_limit": "10m",
    "alert_risk": 0.8,
    "alert_detectors": ["spike", "trend"],
    "shadow": False,
    "channels": None,
    "remediation": None,
    "plan": {
        "detectors": ["variance", "spike", "trend", "streaming"],
        "variance": {"window": "4h", "increase_min": 0.5, "increase_full": 2.0, "errors_min": 3.0, "fill_min": 0.5},
        "spike": {"deviations": 2.5, "baseline_share": 1.0, "share_full": 0.05, "deviations_full": 5.0},
        "trend": {"increase_min": 0.3, "increase_full": 1.0, "errors_min": 4.0},
        "streaming": {"bucket": "5m"},
    },
    "correlation": {"window": "5m", "signals_min": 3, "reopen_within": "30m", "resolve_after": "1h"},
}


def asked(world: World) -> tuple[object, ...]:
    """The last question, settings aside."""
    return [question for question in world.detections.asked if question][-1]


@pytest.mark.parametrize("content", [b"", b"{}"])
async def test_looking_without_saying_how(world: World, client: httpx.AsyncClient, content: bytes) -> None:
    """All metrics, the last 48 hours, as the settings have it; the reply has instants and no microseconds."""
    response = await client.post(DETECT, content=content)
    assert response.status_code == 200, response.text
    assert response.json() == {
        "start": "2026-01-31T12:00:00Z",
        "end": "2026-01-31T12:00:00Z",
        "series": 1,
        "samples": 10,
        "findings": [SHOWN_SERIES],
        "findings_total": 1,
    }
    assert asked(world) == (None, (), TimeRange(NOW_US - 48 * HOUR_US, NOW_US), DetectionPlan())


async def test_what_is_said_of_how_to_look_reaches_the_core(world: World, client: httpx.AsyncClient) -> None:
    """What is not said is as the settings have it: detectors, and the parameters of each."""
    own = DetectionPlan(detectors=(Detector.TREND,), variance=VarianceSettings(window="1h"))
    world.detections.settings_now = DetectionSettings(plan=own)
    body = {
        "metric": "cpu",
        "matchers": ["host=a"],
        "since": "6h",
        "end": "2026-01-31T10:00:00Z",
        "parameters": {"spike": {"deviations": 3}},
    }
    assert (await client.post(DETECT, json=body)).status_code == 200
    end_us = NOW_US - 2 * HOUR_US
    plan = msgspec.structs.replace(own, spike=SpikeSettings(deviations=3.0))
    assert asked(world) == ("cpu", ("host=a",), TimeRange(end_us - 6 * HOUR_US, end_us), plan)
    body = {"detectors": ["spike", "variance"], "start": "2026-01-31T11:00:00Z", "parameters": {"variance": {}}}
    assert (await client.post(DETECT, json=body)).status_code == 200
    plan = DetectionPlan(detectors=(Detector.SPIKE, Detector.VARIANCE))
    assert asked(world) == (None, (), TimeRange(NOW_US - HOUR_US, NOW_US), plan)


@pytest.mark.parametrize(
    ("body", "field", "reason"),
    [
        ({"metric": "a b"}, "metric", "is not a metric name"),
        ({"metric": ["cpu"]}, "metric", "must be a string or null, not a list"),
        ({"matchers": ["host"]}, "matchers", "is not a matcher"),
        ({"matchers": ["host=~("]}, "matchers", "is not an RE2 pattern"),
        ({"since": "2 days"}, "since", "is not a duration such as"),
        ({"since": "0s"}, "since", "longer than zero"),
        ({"since": "1h", "start": "2026-01-31T10:00:00Z"}, "since", "either since, such as 48h, or start"),
        ({"start": "2026-01-31T10:00:00"}, "start", "has no time zone"),
        ({"start": "2026-01-31T13:00:00Z"}, "end", "is not after start"),
        ({"end": 5}, "end", "must be a string or null"),
        ({"detectors": ["magic"]}, "detectors[0]", "'magic' is not one of variance, spike, trend, streaming"),
        ({"detectors": []}, "detectors", "at least one"),
        ({"detectors": ["spike", "spike"]}, "detectors", "each once"),
        ({"parameters": {"spike": {"deviations": -1}}}, "parameters.spike.deviations", "not below 0"),
        ({"parameters": {"spike": {"sigma": 3}}}, "parameters.spike.sigma", "is not a field that is known here"),
        ({"parameters": {"variance": {"window": "1s"}}}, "parameters.variance.window", "is not between"),
        ({"parameters": {"isolation": {}}}, "parameters.isolation", "is not a field that is known here"),
        ({"hours": 48}, "hours", "is not a field that is known here"),
    ],
)
async def test_a_wrong_way_to_look_is_named(
    client: httpx.AsyncClient, body: dict[str, Any], field: str, reason: str
) -> None:
    """By field, with what it may be."""
    problem = problem_of(await client.post(DETECT, json=body), 400)
    assert problem["field"] == field
    assert reason in problem["detail"]


async def test_detection_is_backtested(world: World, client: httpx.AsyncClient) -> None:
    """With the settings in force over the last day, or with other ones over another stretch."""
    world.detections.settings_now = DetectionSettings(alert_risk=0.5)
    reply = await client.post(f"{DETECT}/backtest")
    assert reply.status_code == 200, reply.text
    assert reply.json() == {
        "start": "2026-01-31T12:00:00Z",
        "end": "2026-01-31T12:00:00Z",
        "series": 1,
        "samples": 10,
        "runs": 96,
        "alerts": 1,
        "alerting_s": 900.0,
        "steps": [{"at": "2026-01-31T12:00:00Z", "findings": 1, "alarming": [SHOWN_SERIES]}],
    }
    day = TimeRange(NOW_US - 24 * HOUR_US, NOW_US)
    assert asked(world) == (world.detections.settings_now, day)
    body = {"settings": {"interval": "1h"}, "start": "2026-01-31T10:00:00Z", "end": "2026-01-31T11:00:00Z"}
    assert (await client.post(f"{DETECT}/backtest", json=body)).status_code == 200
    assert asked(world) == (DetectionSettings(interval="1h"), TimeRange(NOW_US - 2 * HOUR_US, NOW_US - HOUR_US))
    wrong = problem_of(await client.post(f"{DETECT}/backtest", json={"settings": {"interval": "1s"}}), 400)
    assert wrong["field"].endswith("interval")


async def test_settings_are_read_and_replaced_whole(world: World, client: httpx.AsyncClient) -> None:
    """What comes back may be sent again; what is left out gets its default."""
    shown = (await client.get(f"{DETECT}/settings")).json()
    assert shown == SETTINGS
    changed = {**SETTINGS, "interval": "5m", "plan": {**SETTINGS["plan"], "trend": {"increase_min": 0.5}}}  # type: ignore[dict-item]  # the plan is one
    put = await client.put(f"{DETECT}/settings", json=changed)
    assert put.status_code == 200
    assert (put.json()["interval"], put.json()["plan"]["trend"]["increase_full"]) == ("5m", 1.0)
    assert (await client.put(f"{DETECT}/settings", json=put.json())).json() == put.json()
    assert (await client.put(f"{DETECT}/settings", json={})).json() == SETTINGS


@pytest.mark.parametrize(
    ("change", "field", "reason"),
    [
        ({"interval": "1s"}, "interval", "is not between 1 and"),
        ({"window": "400d"}, "window", "is not between 60 and"),
        ({"alert_risk": 1}, "alert_risk", "below 1"),
        ({"alert_risk": "high"}, "alert_risk", "must be a number, not a string"),
        ({"include": ["("]}, "include", "is not an RE2 pattern"),
        ({"matchers": "env=prod"}, "matchers", "must be a list, not a string"),
        ({"plan": {"detectors": ["magic"]}}, "plan.detectors[0]", "'magic' is not one of variance"),
        ({"plan": {"spike": {"baseline_share": 0}}}, "spike.baseline_share", "above 0"),
        ({"correlation": {"signals_min": 0}}, "correlation.signals_min", "from 1 to"),
        ({"correlation": {"window": "2h"}}, "correlation.window", "1h"),
        ({"risk": 0.5}, "risk", "is not a field that is known here"),
    ],
)
async def test_bad_settings_are_refused_by_field(
    world: World, client: httpx.AsyncClient, change: dict[str, Any], field: str, reason: str
) -> None:
    """And nothing is changed."""
    problem = problem_of(await client.put(f"{DETECT}/settings", json=change), 400)
    assert problem["field"] == field
    assert reason in problem["detail"]
    assert world.detections.settings_now == DetectionSettings()


async def test_precision_and_runs_are_shown(world: World, client: httpx.AsyncClient) -> None:
    """Precision of the last 30 days or as many as asked for; runs a page at a time."""
    assert (await client.get(f"{DETECT}/precision")).json() == {
        "data": [{"detector": "spike", "anomalies": 3, "marked_true": 1, "marked_false": 1, "precision": 0.5}]
    }
    await client.get(f"{DETECT}/precision?days=7")
    runs = (await client.get(f"{DETECT}/runs?limit=3&cursor=c")).json()
    assert (runs["next_cursor"], runs["data"][0]["state"], runs["data"][0]["points"]) == (None, "done", 10)
    assert world.detections.asked == [(30,), (7,), (3, "c")]
    for query, field in (("days=0", "days"), ("days=9999999", "days"), ("days=all", "days"), ("day=1", "day")):
        assert problem_of(await client.get(f"{DETECT}/precision?{query}"), 400)["field"] == field


async def test_a_run_is_asked_for(world: World, client: httpx.AsyncClient) -> None:
    """202 with the run; a conflict where detection is switched off."""
    asked_for = await client.post(f"{DETECT}/runs")
    assert (asked_for.status_code, asked_for.json()["id"]) == (202, 1)
    world.detections.settings_now = DetectionSettings(enabled=False)
    assert "switched off" in problem_of(await client.post(f"{DETECT}/runs"), 409)["detail"]


async def test_anomalies_are_listed_and_shown(world: World, client: httpx.AsyncClient) -> None:
    """With their findings, in instants; where the samples can be found again, and no id of a series."""
    assert FINDING.series_id == 7
    assert (await client.get(ANOMALIES)).json() == {"data": [SHOWN], "next_cursor": "next"}
    assert world.detections.asked == [(AnomalyFilter(), 100, None)]
    assert (await client.get(ANOMALY)).json() == SHOWN


async def test_every_filter_of_anomalies_reaches_the_core(world: World, client: httpx.AsyncClient) -> None:
    """Each as the value that it stands for."""
    params = {
        "start": "1970-01-01T00:00:01Z",
        "end": "1970-01-01T00:00:02Z",
        "detector": "trend",
        "metric": "cpu",
        "host": "a",
        "service": "shop",
        "fingerprint": "a:cpu",
        "open": "true",
        "risk_min": "0.8",
        "marked": "false",
        "synthetic": "false",
        "limit": "7",
        "cursor": "next",
    }
    assert (await client.get(ANOMALIES, params=params)).status_code == 200
    wanted = AnomalyFilter(
        start_us=1_000_000,
        end_us=2_000_000,
        detector=Detector.TREND,
        metric="cpu",
        host="a",
        service="shop",
        fingerprint="a:cpu",
        open=True,
        risk_min=0.8,
        marked=False,
        synthetic=False,
    )
    assert world.detections.asked == [(wanted, 7, "next")]


@pytest.mark.parametrize(
    ("query", "field", "reason"),
    [
        ("detector=magic", "detector", "'magic' is not one of variance, spike, trend, streaming"),
        ("open=maybe", "open", "must be true or false"),
        ("risk_min=1.5", "risk_min", "at most 1"),
        ("risk_min=-1", "risk_min", "at least 0"),
        ("risk_min=nan", "risk_min", ""),
        ("risk_min=high", "risk_min", "must be a number"),
        ("marked=true&marked=true", "marked", "is given more than once"),
        ("end=2026-01-31", "end", "is not an RFC 3339 timestamp"),
        ("risk=1", "risk", "is not a query parameter of this route"),
    ],
)
async def test_a_wrong_filter_is_named(client: httpx.AsyncClient, query: str, field: str, reason: str) -> None:
    """With what it may be."""
    problem = problem_of(await client.get(f"{ANOMALIES}?{query}"), 400)
    assert problem["field"] == field
    assert reason in problem["detail"]


@pytest.mark.parametrize(
    ("verdict", "expected"),
    [("true", Verdict.TRUE), ("false", Verdict.FALSE), (True, Verdict.TRUE), (False, Verdict.FALSE)],
)
async def test_an_anomaly_is_marked_and_unmarked(
    world: World, client: httpx.AsyncClient, verdict: object, expected: Verdict
) -> None:
    """The verdict may stand in quotation marks or not; taking it back is safe to repeat."""
    marked = await client.put(f"{ANOMALY}/mark", json={"verdict": verdict, "note": "known"})
    assert marked.status_code == 200, marked.text
    assert world.detections.asked[-1] == (expected, "known")
    mark = {"verdict": expected.value, "by": "key:abc123", "at": "2026-01-31T12:00:00Z", "note": "known"}
    assert marked.json() == {**SHOWN, "mark": mark}
    for _ in range(2):
        unmarked = await client.delete(f"{ANOMALY}/mark")
        assert (unmarked.status_code, unmarked.json()) == (200, SHOWN)


@pytest.mark.parametrize(
    ("body", "field", "reason"),
    [
        ({}, "verdict", "is missing; give one of true, false"),
        ({"verdict": "maybe"}, "verdict", "'maybe' is not one of true, false"),
        ({"verdict": 1}, "verdict", ""),
        ({"verdict": "true", "note": ""}, "note", ""),
        ({"verdict": "true", "note": "n" * 1_001}, "note", ""),
        ({"verdict": "true", "note": "a\x00b"}, "note", ""),
        ({"verdict": "true", "by": "me"}, "by", "is not a field that is known here"),
    ],
)
async def test_a_bad_mark_is_refused_by_field(
    client: httpx.AsyncClient, body: dict[str, Any], field: str, reason: str
) -> None:
    """Who marked it is who calls, not who is named."""
    problem = problem_of(await client.put(f"{ANOMALY}/mark", json=body), 400)
    assert problem["field"] == field
    assert reason in problem["detail"]


@pytest.mark.parametrize("name", ["1", "7a1d7c1e-52b4-5c0e-8a44-0d3c5f4b9e22", "x" * 5_000])
async def test_what_is_no_anomalys_id_is_not_found(client: httpx.AsyncClient, name: str) -> None:
    """By every method."""
    problem_of(await client.get(f"{ANOMALIES}/{name}"), 404)
    problem_of(await client.put(f"{ANOMALIES}/{name}/mark", json={"verdict": True}), 404)
    problem_of(await client.delete(f"{ANOMALIES}/{name}/mark"), 404)


@pytest.mark.parametrize(
    ("key", "method", "path", "body", "status"),
    [
        ("query-key", "POST", DETECT, {}, 200),
        ("ingest-key", "POST", DETECT, {}, 403),
        ("query-key", "POST", f"{DETECT}/backtest", {}, 200),
        ("query-key", "GET", f"{DETECT}/settings", None, 200),
        ("query-key", "PUT", f"{DETECT}/settings", {}, 403),
        ("alerts-key", "PUT", f"{DETECT}/settings", {}, 200),
        ("admin-key", "GET", f"{DETECT}/runs", None, 403),
        ("query-key", "POST", f"{DETECT}/runs", None, 403),
        ("alerts-key", "POST", f"{DETECT}/runs", None, 202),
        ("query-key", "GET", ANOMALIES, None, 200),
        ("remediate-key", "GET", ANOMALIES, None, 403),
        ("query-key", "PUT", f"{ANOMALY}/mark", {"verdict": True}, 403),
        ("alerts-key", "PUT", f"{ANOMALY}/mark", {"verdict": True}, 200),
    ],
)
async def test_the_callers_scopes_reach_the_core(
    client: httpx.AsyncClient, key: str, method: str, path: str, body: dict[str, Any] | None, status: int
) -> None:
    """Who may what is the core's to say; HTTP passes on who asks."""
    response = await client.request(method, path, json=body, headers={"x-api-key": key})
    assert response.status_code == status, response.text


async def test_a_database_that_is_away_is_503(world: World, client: httpx.AsyncClient) -> None:
    """On every part of detection and incidents, with Retry-After."""
    fakes = (world.events, world.detections, world.incidents)
    raised_by(*fakes, error=Unavailable("the database is away", retry_after_s=2))
    for method, path in (
        ("GET", "/api/v1/events"),
        ("GET", "/api/v1/dependencies"),
        ("POST", "/api/v1/synthetic/purge"),
        ("POST", DETECT),
        ("POST", f"{DETECT}/backtest"),
        ("GET", f"{DETECT}/precision"),
        ("GET", f"{DETECT}/runs"),
        ("GET", ANOMALIES),
        ("GET", "/api/v1/incidents"),
        ("POST", "/api/v1/incidents/1/resolve"),
    ):
        response = await client.request(method, path)
        problem_of(response, 503)
        assert response.headers["retry-after"] == "2"
