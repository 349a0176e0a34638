"""Configuration routes: changes with their diff, the state at an instant, and what was declared."""

from typing import Any
from uuid import uuid4

import httpx
import pytest

from core.domain.tenants import Scope
from tests.unit.http.memory_server import MemoryServer
from tests.unit.http.problems import problem_of

PATH = "/api/v1/config"
CHANGE_ID = "5b0c9a52-1f7e-4d0f-8a39-7c4b9be0d671"
CHANGE: dict[str, Any] = {
    "id": CHANGE_ID,
    "cluster_id": "prod",
    "namespace": "shop",
    "workload": "checkout",
    "kind": "image",
    "before": {"app": {"image": "shop/checkout:1"}},
    "after": {"app": {"image": "shop/checkout:2"}},
    "actor": "deploy-bot",
    "ts": "2026-01-31T12:00:00Z",
}
BASELINE: dict[str, Any] = {
    "cluster_id": "prod",
    "namespace": "shop",
    "workload": "checkout",
    "kind": "resource",
    "document": {"app": {"cpu": "500m"}},
}


def another(**change: Any) -> dict[str, Any]:
    """A change with an id of its own."""
    return {**CHANGE, "id": str(uuid4()), **change}


async def test_a_change_is_recorded_once_with_its_diff(api: httpx.AsyncClient) -> None:
    """It is at its id and in the list; sending it again changes nothing; it is an event as well."""
    for _ in range(2):
        recorded = await api.post(f"{PATH}/history", json=CHANGE)
        assert recorded.status_code == 201, recorded.text
        [stored] = recorded.json()["data"]
    assert stored["diff"] == [
        {"path": "/app/image", "op": "replace", "before": "shop/checkout:1", "after": "shop/checkout:2"}
    ]
    assert {name: stored[name] for name in CHANGE} == CHANGE
    assert (await api.get(f"{PATH}/history/{CHANGE_ID}")).json() == stored
    assert (await api.get(f"{PATH}/history")).json() == {"data": [stored], "next_cursor": None}
    events = (await api.get("/api/v1/events", params={"metric": "config_change"})).json()["data"]
    assert len(events) == 1


async def test_several_changes_are_recorded_or_none(api: httpx.AsyncClient) -> None:
    """In the order of the request; a bad one is named by its place, and then nothing is kept."""
    good = [another(workload="a"), another(workload="b", kind="policy")]
    recorded = await api.post(f"{PATH}/history", json=good)
    assert [change["workload"] for change in recorded.json()["data"]] == ["a", "b"]
    refused = await api.post(f"{PATH}/history", json=[another(workload="c"), another(after=CHANGE["before"])])
    assert problem_of(refused, 400)["field"] == "[1].after"
    assert len((await api.get(f"{PATH}/history")).json()["data"]) == 2


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"kind": "secret"}, "kind"),
        ({"before": None, "after": None}, "after"),
        ({"after": CHANGE["before"]}, "after"),
        ({"after": []}, "after"),
        ({"after": {"a": "\x00"}}, "after"),
        ({"after": {"a": "x" * 300_000}}, "after"),
        ({"ts": "2026-01-31T12:00:00"}, "ts"),
        ({"ts": "2199-01-01T00:00:00Z"}, "ts"),
        ({"ts": "0001-01-01T00:00:00+14:00"}, "ts"),
        ({"id": "7"}, "id"),
        ({"actor": ""}, "actor"),
        ({"workload": "x" * 254}, "workload"),
        ({"diff": []}, "diff"),
    ],
)
async def test_a_bad_change_is_refused_by_field(api: httpx.AsyncClient, change: dict[str, Any], field: str) -> None:
    """And not recorded."""
    assert problem_of(await api.post(f"{PATH}/history", json={**CHANGE, **change}), 400)["field"] == field
    assert (await api.get(f"{PATH}/history")).json()["data"] == []


async def test_documents_are_kept_as_they_are(api: httpx.AsyncClient) -> None:
    """Whatever JSON holds, large integers and nested lists too; what is nested too deeply is refused."""
    document = {"big": 2**70, "nested": [[{"a": None}], 1.5, "ü/~"], "": {}}
    [stored] = (await api.post(f"{PATH}/history", json=another(after=document))).json()["data"]
    assert stored["after"] == document
    deep: Any = {}
    for _ in range(60):
        deep = {"a": deep}
    assert problem_of(await api.post(f"{PATH}/history", json=another(after=deep)), 400)["field"] == "after"
    bottomless = b'{"a":' * 5_000 + b"1" + b"}" * 5_000
    body = b'{"cluster_id":"a","workload":"b","kind":"image","after":' + bottomless + b"}"
    problem_of(await api.post(f"{PATH}/history", content=body), 400)


async def test_history_is_filtered_and_paged(api: httpx.AsyncClient) -> None:
    """Newest first; each filter narrows."""
    hours = [another(ts=f"2026-01-31T1{hour}:00:00Z", namespace=f"ns-{hour % 2}") for hour in range(4)]
    await api.post(f"{PATH}/history", json=[*hours, another(cluster_id="other", kind="policy")])
    first = (await api.get(f"{PATH}/history", params={"cluster_id": "prod", "limit": 3})).json()
    second = await api.get(f"{PATH}/history", params={"cluster_id": "prod", "cursor": first["next_cursor"]})
    seen = [change["id"] for change in (*first["data"], *second.json()["data"])]
    assert seen == [change["id"] for change in reversed(hours)]
    for params, count in (
        ({}, 5),
        ({"namespace": "ns-1"}, 2),
        ({"workload": "absent"}, 0),
        ({"kind": "policy"}, 1),
        ({"cluster_id": "prod", "start": "2026-01-31T11:00:00Z", "end": "2026-01-31T13:00:00Z"}, 2),
    ):
        assert len((await api.get(f"{PATH}/history", params=params)).json()["data"]) == count, params
    for name in ("start", "end", "kind", "cursor"):
        assert problem_of(await api.get(f"{PATH}/history", params={name: "x"}), 400)["field"] == name


async def test_the_state_at_an_instant(api: httpx.AsyncClient) -> None:
    """By kind, with the change that made it so; several namespaces are a conflict that names them."""
    await api.post(f"{PATH}/history", json=[CHANGE, another(ts="2026-01-31T13:00:00Z", after=None)])
    path = f"{PATH}/at/prod/checkout"
    state = (await api.get(path, params={"ts": "2026-01-31T12:30:00Z"})).json()
    assert (state["namespace"], state["ts"]) == ("shop", "2026-01-31T12:30:00Z")
    assert state["configuration"] == {
        "image": {"document": CHANGE["after"], "since": "2026-01-31T12:00:00Z", "change_id": CHANGE_ID}
    }
    assert (await api.get(path)).json()["configuration"]["image"]["document"] is None
    problem_of(await api.get(path, params={"ts": "2026-01-31T11:00:00Z"}), 404)
    problem_of(await api.get(f"{PATH}/at/prod/a%2Fb"), 404)
    await api.post(f"{PATH}/history", json=[another(namespace="one"), another(namespace="two")])
    assert "one, two" in problem_of(await api.get(path), 409)["detail"]
    assert (await api.get(path, params={"namespace": "two"})).json()["namespace"] == "two"
    assert problem_of(await api.get(path, params={"ts": "now"}), 400)["field"] == "ts"


async def test_baselines_are_declared_listed_and_removed(api: httpx.AsyncClient) -> None:
    """One a workload and kind; replacing is the same as declaring."""
    for cpu in ("500m", "1"):
        body = {**BASELINE, "document": {"app": {"cpu": cpu}}}
        declared = await api.put(f"{PATH}/baselines", json=body)
        assert (declared.status_code, declared.json()) == (200, body)
    [stored] = (await api.get(f"{PATH}/baselines")).json()["data"]
    assert stored["baseline"] == body
    assert stored["declared_by"]
    assert stored["declared_at"]
    for params, count in (({"cluster_id": "prod"}, 1), ({"cluster_id": "x"}, 0), ({"workload": "checkout"}, 1)):
        assert len((await api.get(f"{PATH}/baselines", params=params)).json()["data"]) == count
    where = {"cluster_id": "prod", "workload": "checkout", "kind": "resource"}
    problem_of(await api.delete(f"{PATH}/baselines", params=where), 404)  # that is the namespace `default`
    there = {**where, "namespace": "shop"}
    assert (await api.delete(f"{PATH}/baselines", params=there)).status_code == 204
    problem_of(await api.delete(f"{PATH}/baselines", params=there), 404)
    for name in where:
        left = {key: value for key, value in where.items() if key != name}
        assert problem_of(await api.delete(f"{PATH}/baselines", params=left), 400)["field"] == name
    bad = problem_of(await api.put(f"{PATH}/baselines", json={**BASELINE, "document": 5}), 400)
    assert bad["field"] == "document"


@pytest.mark.parametrize("change_id", [str(uuid4()), "7", "x" * 36])
async def test_changes_of_nobody_are_not_found(api: httpx.AsyncClient, change_id: str) -> None:
    """Whatever stands for the id."""
    problem_of(await api.get(f"{PATH}/history/{change_id}"), 404)


async def test_scopes(memory_server: MemoryServer) -> None:
    """Collectors post, alert keepers declare, they and who queries look."""
    for scope in Scope:
        async with memory_server.client([scope]) as client:
            posted = await client.post(f"{PATH}/history", json=another())
            assert (posted.status_code != 403) is (scope is Scope.INGEST)
            declared = await client.put(f"{PATH}/baselines", json=BASELINE)
            assert (declared.status_code != 403) is (scope is Scope.ALERTS)
            looked = await client.get(f"{PATH}/history")
            assert (looked.status_code != 403) is (scope in (Scope.QUERY, Scope.ALERTS))
