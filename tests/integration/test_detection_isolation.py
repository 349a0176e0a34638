"""Two tenants' events, anomalies and incidents: none appears in the other's lists, or is reached through its own."""

import pytest

from tests.integration.detection_things import detection_things
from tests.integration.in_process import InProcess
from tests.integration.owners import Owner, assert_problem, everything_of
from tests.support.storages import Tenancy, unique

LISTS = (
    "/api/v1/events",
    "/api/v1/dependencies",
    "/api/v1/detect/runs",
    "/api/v1/anomalies",
    "/api/v1/incidents",
)


@pytest.mark.parametrize("path", LISTS)
async def test_a_list_without_filters_shows_nothing_of_another_tenant(
    server: InProcess, owner: Owner, path: str
) -> None:
    """The owner's is not empty, a new tenant's is; a cursor of the owner's opens nothing either."""
    async with server.client(owner.key) as client:
        shown = (await client.get(path)).json()
        assert shown["data"] != []
        cursor = (await client.get(path, params={"limit": "1"})).json()["next_cursor"] if "events" in path else None
    async with server.client(await server.new_key(await server.new_tenant())) as client:
        assert (await client.get(path)).json()["data"] == []
        if cursor is not None:
            assert (await client.get(path, params={"cursor": cursor})).json()["data"] == []


async def test_own_incidents_reach_nothing_of_another_tenant(server: InProcess, owner: Owner) -> None:
    """Merging another tenant's incident into one's own, splitting its signals off, undoing its changes: as if there
    were no such thing."""
    before = await everything_of(server, owner)
    stranger = await server.new_tenant()
    async with server.client(await server.new_key(stranger)) as client:
        own = await detection_things(server, Tenancy(server.storage, stranger), client, unique("own").replace("-", "_"))
        path = f"/api/v1/incidents/{own['incident_id']}"
        async with server.client(owner.key) as owners:
            [change] = (await owners.get(f"/api/v1/incidents/{owner.things.incident_id}")).json()["history"]
        merged = await client.post(f"{path}/merge", json={"from": owner.things.incident_id})
        assert_problem(merged, 404, "not-found")
        split = await client.post(f"{path}/split", json={"keys": [f"event:{owner.things.event_id}"]})
        assert_problem(split, 400, "invalid-input")
        undone = await client.post(f"{path}/undo", json={"change": change["id"]})
        assert_problem(undone, 404, "not-found")
        shown = await client.get(path)
        assert shown.json()["signals"] == 2
        assert owner.things.value not in shown.text
    assert await everything_of(server, owner) == before


async def test_the_same_event_id_may_be_used_by_two_tenants(server: InProcess, owner: Owner) -> None:
    """Each has its own event under it."""
    async with server.client(await server.new_key(await server.new_tenant())) as client:
        event = {"id": owner.things.event_id, "metric": "up", "host": "own"}
        assert (await client.post("/api/v1/events", json=event)).json()["ids"] == [owner.things.event_id]
        shown = (await client.get(f"/api/v1/events/{owner.things.event_id}")).json()
        assert (shown["host"], shown["message"]) == ("own", None)
    async with server.client(owner.key) as client:
        shown = (await client.get(f"/api/v1/events/{owner.things.event_id}")).json()
        assert shown["host"] == owner.things.value
