"""Sources, runs and claims as tests need them, and rows of collection's tables that no port gives away or deletes.

`place` is a store's: the tables in memory, or a superuser's URL of the database.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import psycopg

from adapters.driven.memory.database import MemoryDatabase
from core.domain.collection import CollectionRequest, CollectionRun, CollectionState, Progress
from core.domain.source_configs import PrometheusConfig, PromQuery, SourceKind, SyntheticConfig
from core.domain.sources import SourceSpec
from ports.driven.source_store import CollectionClaim, RunOrder
from tests.support.storages import Storage, Tenancy

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
LEASE_S = 60.0
RUNNING_MAX = 2
SPEC = SourceSpec(name="fleet", config=SyntheticConfig(), interval="5m")
FULL = SourceSpec(
    name="shop-prometheus",
    config=PrometheusConfig(
        url="https://prometheus.example/größe?x=“1”",
        queries=(PromQuery(metric="up", promql='up{job=~"a|b\\\\.c"} > 0 # ✓'),),
        step="30s",
    ),
    enabled=False,
    interval=None,
    lookback="2h",
    settle="90s",
    calls_per_minute=7,
    calls_per_run_max=99,
    cost_usd_per_run_max=0.1 + 0.2,
)
REQUEST = CollectionRequest(
    cluster_id="prod “1” ✓", start_time=NOON - timedelta(hours=1), end_time=NOON, namespaces=("shop", "größe")
)

ROWS = """
INSERT INTO sextant.metric_sources (tenant_id, name, spec, credential_names, credentials, created_at, updated_at)
    VALUES (:tenant, 'isolated', '{}', '{api_key}', 'sealed', now(), now());
INSERT INTO sextant.collection_runs (tenant_id, source, kind, scope, spec, credentials, request, requested_by, state,
        progress, requested_at, finished_at)
    VALUES (:tenant, 'isolated', 'synthetic', 'once:a', '{}', 'sealed', '{}', 'a', 'done', '{}', now(), now());
INSERT INTO sextant.collection_items (tenant_id, run_id, digest, key, finished, failed, result)
    SELECT :tenant, max(id), 'a', 'a', true, false, '{}' FROM sextant.collection_runs WHERE tenant_id = :tenant;
INSERT INTO sextant.collection_checkpoints (tenant_id, scope, digest, item, series, through)
    VALUES (:tenant, 'once:a', 'a', 'a', '', now());
INSERT INTO sextant.instances (tenant_id, provider, external_id, kind, tags, first_seen_at, last_seen_at, synthetic)
    VALUES (:tenant, 'eks', 'a', 'node', '{}', now(), now(), false)
"""


def write_collection_rows(url: str, tenant_id: int) -> None:
    """Gives a tenant one row in every table of collection; as the owner, who must be a superuser."""
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in ROWS.replace(":tenant", str(int(tenant_id))).split(";"):
            connection.execute(statement.encode())


def forget_collection(place: MemoryDatabase | str) -> None:
    """Deletes every tenant's sources and runs: a claim looks at all of them."""
    if isinstance(place, MemoryDatabase):
        tables = place.collection
        for table in (tables.sources, tables.runs, tables.checkpoints):
            table.clear()
        return
    with psycopg.connect(place, autocommit=True) as connection:
        connection.execute("DELETE FROM sextant.collection_runs")
        connection.execute("DELETE FROM sextant.collection_checkpoints")
        connection.execute("DELETE FROM sextant.metric_sources")


def run_credentials(place: MemoryDatabase | str, run_id: int) -> bytes | None:
    """What the store keeps of a run's own credentials."""
    if isinstance(place, MemoryDatabase):
        return place.collection.runs[run_id].sealed
    with psycopg.connect(place, autocommit=True) as connection:
        statement = "SELECT credentials FROM sextant.collection_runs WHERE id = %s"
        row = connection.execute(statement, (run_id,)).fetchone()
    assert row is not None
    sealed: bytes | None = row[0]
    return sealed


def later(**by: float) -> datetime:
    """An instant some time after noon."""
    return NOON + timedelta(**by)


def spec(name: str = "fleet", **changes: Any) -> SourceSpec:
    """A source that is collected every 5 minutes."""
    return msgspec.structs.replace(SPEC, name=name, **changes)


def order(scope: str = "once:a", *, sealed: bytes | None = None, **changes: Any) -> RunOrder:
    """A run with a configuration of its own."""
    usual = RunOrder(
        spec=spec("synthetic"),
        scope=scope,
        sealed=sealed,
        stored=False,
        request=CollectionRequest(),
        requested_by="key:5",
    )
    return msgspec.structs.replace(usual, **changes)


def waiting_run(run_id: int, source: str = "synthetic", **changes: Any) -> CollectionRun:
    """A run as it is put in line at noon."""
    usual = CollectionRun(
        id=run_id,
        source=source,
        kind=SourceKind.SYNTHETIC,
        request=CollectionRequest(),
        requested_by="key:5",
        state=CollectionState.WAITING,
        problem=None,
        progress=Progress(),
        attempts=0,
        requested_at=NOON,
        started_at=None,
        finished_at=None,
    )
    return msgspec.structs.replace(usual, **changes)


async def create(storage: Storage, tenancy: Tenancy, name: str = "fleet", **changes: Any) -> str:
    """Adds a source at noon; returns the scope of its runs."""
    return (await storage.sources.create(tenancy.id, spec(name, **changes), (), None, now=NOON)).scope


async def request(storage: Storage, tenancy: Tenancy, *orders: RunOrder) -> list[int]:
    """Asks for runs at noon; returns their ids."""
    return [run.id for run in await storage.collection_runs.request(tenancy.id, orders, now=NOON)]


async def look(storage: Storage, now: datetime = NOON, *, running_max: int = RUNNING_MAX) -> CollectionClaim | None:
    """Asks for something to do."""
    return await storage.collection_work.claim(now=now, lease_s=LEASE_S, running_max=running_max)


async def claimed(storage: Storage, now: datetime = NOON, *, running_max: int = RUNNING_MAX) -> CollectionClaim:
    """What there must be to do."""
    claim = await look(storage, now, running_max=running_max)
    assert claim is not None
    return claim


async def advance(storage: Storage, claim: CollectionClaim, **changes: Any) -> None:
    """Renews a claim at noon, and notes what is given."""
    usual: dict[str, Any] = {
        "checkpoints": (),
        "caught_up": (),
        "results": (),
        "finished": (),
        "progress": Progress(),
        "now": NOON,
        "lease_s": LEASE_S,
    }
    await storage.collection_work.advance(claim, **{**usual, **changes})


async def finish(
    storage: Storage, claim: CollectionClaim, state: CollectionState = CollectionState.DONE, now: datetime = NOON
) -> None:
    """Ends a run, without a problem."""
    await storage.collection_work.finish(claim, state, None, now=now)
