"""Incident routes."""

from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import msgspec
import pytest

from core.domain.incidents import IncidentFilter, IncidentState
from tests.unit.http.conftest import World
from tests.unit.http.detection_fakes import ANOMALY_ID, DETAIL, EVENT_ID, INCIDENT
from tests.unit.http.problems import problem_of
from tests.unit.http.test_alerts import IDS_OF_NOTHING

PATH = "/api/v1/incidents"
SHOWN = {
    "id": 1,
    "state": "open",
    "title": "a: error burst",
    "severe": True,
    "started_at": "2026-01-31T12:00:00Z",
    "last_signal_at": "2026-01-31T12:00:00Z",
    "hosts": ["a"],
    "services": [],
    "signals": 2,
    "synthetic": False,
    "acknowledged_at": None,
    "acknowledged_by": None,
    "resolved_at": None,
    "resolved_by": None,
    "merged_into": None,
    "narrative_text": "Errors followed a spike. The spike caused them.",
    "revision": 2,
    "created_at": "2026-01-31T12:00:00Z",
    "updated_at": "2026-01-31T12:00:00Z",
}
_NO_SAMPLES: dict[str, Any] = {"metric": None, "labels": {}, "start": None, "end": None}
TO_EVENT = {"kind": "event", "id": str(EVENT_ID), **_NO_SAMPLES, "href": f"/api/v1/events/{EVENT_ID}"}
TO_ANOMALY = {"kind": "anomaly", "id": str(ANOMALY_ID), **_NO_SAMPLES, "href": f"/api/v1/anomalies/{ANOMALY_ID}"}
SAMPLES = {
    "kind": "samples",
    "id": None,
    "metric": "cpu",
    "labels": {"host": "a&b", "zone": "é"},
    "start": "1970-01-01T00:00:00Z",
    "end": "1970-01-01T00:00:01.000005Z",
}
TO_ALL_SAMPLES = {
    **_NO_SAMPLES,
    "kind": "samples",
    "id": None,
    "start": "1970-01-01T00:00:00Z",
    "end": "2026-01-31T12:00:00Z",
    "href": None,
}
SIGNAL = {
    "key": "alert:42",
    "kind": "alert",
    "at": "2026-01-31T11:59:59.999999Z",
    "host": "a",
    "service": None,
    "metric": "cpu",
    "value": 97.5,
    "text": "busy",
    "labels": {"host": "a"},
    "severe": True,
    "synthetic": False,
    "anomaly_id": None,
    "href": "/api/v1/alerts/42",
}


async def test_incidents_are_listed_as_they_are(world: World, client: httpx.AsyncClient) -> None:
    """Without filters, all of them; the page says where the next one begins."""
    assert (await client.get(PATH)).json() == {"data": [SHOWN], "next_cursor": "next"}
    assert world.incidents.asked == [(IncidentFilter(), 100, None)]


async def test_every_filter_reaches_the_core(world: World, client: httpx.AsyncClient) -> None:
    """Each as the value that it stands for."""
    params = {
        "state": "acknowledged",
        "active": "true",
        "start": "1970-01-01T00:00:01Z",
        "end": "1970-01-01T00:00:02Z",
        "host": "a",
        "service": "shop",
        "text": "100% of memory",
        "synthetic": "false",
        "limit": "7",
        "cursor": "next",
    }
    assert (await client.get(PATH, params=params)).status_code == 200
    wanted = IncidentFilter(
        state=IncidentState.ACKNOWLEDGED,
        active=True,
        start_us=1_000_000,
        end_us=2_000_000,
        host="a",
        service="shop",
        text="100% of memory",
        synthetic=False,
    )
    assert world.incidents.asked == [(wanted, 7, "next")]


@pytest.mark.parametrize(
    ("query", "field", "reason"),
    [
        ("state=closed", "state", "'closed' is not one of open, acknowledged, resolved, merged"),
        ("active=maybe", "active", "must be true or false"),
        ("start=yesterday", "start", "is not an RFC 3339 timestamp"),
        ("start=2026-01-31T12:00:00Z&end=2026-01-31T11:00:00Z", "end", "is not after start"),
        (f"text={'t' * 201}", "text", "200"),
        ("limit=0", "limit", "at least 1"),
        ("q=memory", "q", "is not a query parameter of this route; it knows: active"),
    ],
)
async def test_a_wrong_filter_is_named(
    world: World, client: httpx.AsyncClient, query: str, field: str, reason: str
) -> None:
    """With what it may be."""
    problem = problem_of(await client.get(f"{PATH}?{query}"), 400)
    assert problem["field"] == field
    assert reason in problem["detail"]
    assert world.incidents.asked == []


async def test_one_incident_comes_with_its_story(client: httpx.AsyncClient) -> None:
    """Narrative, hypotheses, evidence, graph, timeline, links, history."""
    reply = (await client.get(f"{PATH}/1")).json()
    assert {name: reply[name] for name in SHOWN} == SHOWN
    assert reply["narrative"] == [
        {"text": "Errors followed a spike.", "references": [TO_EVENT, TO_ANOMALY]},
        {"text": "The spike caused them.", "references": [TO_ANOMALY, TO_ALL_SAMPLES]},
    ]
    assert " ".join(sentence["text"] for sentence in reply["narrative"]) == reply["narrative_text"]
    [hypothesis] = reply["hypotheses"]
    assert (hypothesis["entity"], hypothesis["score"], hypothesis["counter_evidence"]) == (
        "a",
        1.5,
        ["its memory did not"],
    )
    [samples] = hypothesis["evidence"][0]["references"]
    assert {name: samples[name] for name in SAMPLES} == SAMPLES
    assert reply["evidence"] == [TO_EVENT, TO_ANOMALY, TO_ALL_SAMPLES, samples]
    assert reply["graph"] == {
        "nodes": [{"entity": "a", "signals": 2, "first_at": "2026-01-31T12:00:00Z", "score": 1.5}],
        "edges": [{"cause": "a", "effect": "b", "score": 0.5, "reasons": ["b calls a"]}],
    }
    anomaly = {
        **SIGNAL,
        "key": f"event:{EVENT_ID}",
        "kind": "anomaly",
        "anomaly_id": str(ANOMALY_ID),
        "href": TO_EVENT["href"],
    }
    assert reply["timeline"] == [SIGNAL, anomaly]
    assert reply["links"] == [
        {"first": "alert:42", "then": f"event:{EVENT_ID}", "score": 0.8, "reasons": ["same host a"]}
    ]
    assert reply["history"] == [
        {
            "id": 1,
            "incident_id": 1,
            "kind": "merged",
            "at": "2026-01-31T12:00:00Z",
            "by": "key:abc123",
            "summary": "took the signals of incident 2",
            "detail": {"from": 2, "into": 1, "keys": ["alert:42"]},
            "undone": False,
        }
    ]
    assert reply["analysed_at"] == "2026-01-31T12:00:00Z"


async def test_every_reference_can_be_followed(client: httpx.AsyncClient) -> None:
    """Events, anomalies and alerts by id; samples as a query for exactly them."""
    reply = (await client.get(f"{PATH}/1")).json()
    to_event, to_anomaly, _, to_samples = (reference["href"] for reference in reply["evidence"])
    assert (await client.get(to_event)).json()["id"] == str(EVENT_ID)
    assert (await client.get(to_anomaly)).json()["id"] == str(ANOMALY_ID)
    assert (await client.get(to_samples)).status_code == 200
    assert parse_qsl(urlsplit(to_samples).query) == [
        ("name", "cpu"),
        ("label", "host=a&b"),
        ("label", "zone=é"),
        ("start", "1970-01-01T00:00:00Z"),
        ("end", "1970-01-01T00:00:01.000005Z"),
    ]


async def test_an_incident_that_is_not_analysed_yet_is_shown(world: World, client: httpx.AsyncClient) -> None:
    """With its timeline; what is still to come is empty, and `analysed_at` says so."""
    waiting = msgspec.structs.replace(INCIDENT, narrative=None)
    world.incidents.detail = msgspec.structs.replace(DETAIL, incident=waiting, analysis=None)
    reply = (await client.get(f"{PATH}/1")).json()
    assert (reply["narrative_text"], reply["narrative"], reply["hypotheses"], reply["evidence"]) == (None, [], [], [])
    assert reply["graph"] == {"nodes": [], "edges": []}
    assert reply["analysed_at"] is None
    assert len(reply["timeline"]) == 2


async def test_an_incident_lives_its_life(world: World, client: httpx.AsyncClient) -> None:
    """Acknowledged, resolved, reopened; what was merged is a conflict."""
    for action, state in (("acknowledge", "acknowledged"), ("resolve", "resolved"), ("reopen", "open")):
        reply = await client.post(f"{PATH}/1/{action}")
        assert (reply.status_code, reply.json()) == (200, {**SHOWN, "state": state})
    merged = msgspec.structs.replace(INCIDENT, state=IncidentState.MERGED)
    world.incidents.detail = msgspec.structs.replace(DETAIL, incident=merged)
    for action in ("acknowledge", "resolve", "reopen"):
        assert "merged into 2" in problem_of(await client.post(f"{PATH}/1/{action}"), 409)["detail"]


async def test_incidents_are_merged_split_and_that_undone(world: World, client: httpx.AsyncClient) -> None:
    """What is named in the body reaches the core; a split answers with the new incident and where it is."""
    merged = await client.post(f"{PATH}/1/merge", json={"from": 2})
    assert (merged.status_code, merged.json()) == (200, SHOWN)
    split = await client.post(f"{PATH}/1/split", json={"keys": ["alert:42", f"event:{EVENT_ID}"]})
    assert (split.status_code, split.headers["location"]) == (201, f"{PATH}/2")
    assert split.json() == {**SHOWN, "id": 2, "narrative_text": None}
    undone = await client.post(f"{PATH}/1/undo", json={"change": 1})
    assert (undone.status_code, undone.json()) == (200, SHOWN)
    assert world.incidents.asked == [("merge", 2), ("split", ("alert:42", f"event:{EVENT_ID}")), ("undo", 1)]


@pytest.mark.parametrize(
    ("action", "body", "field", "reason"),
    [
        ("merge", {}, "from", "is missing"),
        ("merge", {"from": "2"}, "from", "must be a whole number, not a string"),
        ("merge", {"from": 0}, "from", "at least 1"),
        ("merge", {"from": 2**63}, "from", ""),
        ("merge", {"from": 10**400}, "from", ""),
        ("merge", {"from_": 2}, "from_", "is not a field that is known here"),
        ("split", {}, "keys", "is missing"),
        ("split", {"keys": []}, "keys", ""),
        ("split", {"keys": "alert:42"}, "keys", "must be a list, not a string"),
        ("split", {"keys": [42]}, "keys[0]", "must be a string, not a whole number"),
        ("split", {"keys": ["alert:42"] * 5_001}, "keys", "5000"),
        ("undo", {"change": None}, "change", "must be a whole number, not null"),
        ("undo", [], "body", "must be an object, not a list"),
    ],
)
async def test_a_bad_change_is_refused_by_field(
    world: World, client: httpx.AsyncClient, action: str, body: Any, field: str, reason: str
) -> None:
    """And nothing is changed."""
    problem = problem_of(await client.post(f"{PATH}/1/{action}", json=body), 400)
    assert problem["field"] == field
    assert reason in problem["detail"]
    assert world.incidents.asked == []


@pytest.mark.parametrize("number", IDS_OF_NOTHING)
async def test_what_is_no_incidents_id_is_not_found(client: httpx.AsyncClient, number: str) -> None:
    """However large or odd, by every method."""
    for action, body in (
        ("acknowledge", None),
        ("resolve", None),
        ("reopen", None),
        ("merge", {"from": 1}),
        ("split", {"keys": ["alert:42"]}),
        ("undo", {"change": 1}),
    ):
        problem_of(await client.post(f"{PATH}/{number}/{action}", json=body), 404)
    problem_of(await client.get(f"{PATH}/{number}"), 404)


@pytest.mark.parametrize(
    ("key", "method", "path", "body", "status"),
    [
        ("query-key", "GET", PATH, None, 200),
        ("alerts-key", "GET", f"{PATH}/1", None, 200),
        ("ingest-key", "GET", PATH, None, 403),
        ("query-key", "POST", f"{PATH}/1/acknowledge", None, 403),
        ("alerts-key", "POST", f"{PATH}/1/acknowledge", None, 200),
        ("query-key", "POST", f"{PATH}/1/merge", {"from": 2}, 403),
        ("alerts-key", "POST", f"{PATH}/1/split", {"keys": ["alert:42"]}, 201),
    ],
)
async def test_the_callers_scopes_reach_the_core(
    client: httpx.AsyncClient, key: str, method: str, path: str, body: dict[str, Any] | None, status: int
) -> None:
    """Who may what is the core's to say; HTTP passes on who asks."""
    response = await client.request(method, path, json=body, headers={"x-api-key": key})
    assert response.status_code == status, response.text
