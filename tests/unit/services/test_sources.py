"""Metric sources: who may have which, starting runs of them, and waiting for those; over the in-memory stores."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from adapters.driven.memory.audit import MemoryAuditLog
from adapters.driven.memory.clock import FakeClock
from adapters.driven.memory.collection_runs import MemoryCollectionRunStore
from adapters.driven.memory.collection_work import MemoryCollectionWorkStore
from adapters.driven.memory.instances import MemoryInstanceStore
from adapters.driven.memory.sources import MemorySourceStore
from adapters.runtime.sealing import FernetSealing
from adapters.runtime.settings import CollectionSettings, Settings
from core.domain.collection import (
    WAITING_RUNS_MAX,
    CollectionRequest,
    CollectionState,
    InstanceFilter,
    OneOffSource,
)
from core.domain.errors import CallerError, Conflict, Forbidden, InvalidInput, NotFound
from core.domain.source_configs import (
    CloudWatchConfig,
    DatadogConfig,
    EksConfig,
    HawkeyeConfig,
    NewRelicConfig,
    PrometheusConfig,
    SourceConfig,
    SourceKind,
    SyntheticConfig,
)
from core.domain.sources import SourceSpec
from core.domain.tenants import Principal, Scope
from core.services.sources import SourceService
from ports.driven.metric_source import SeenInstance
from ports.driven.source_store import CollectionClaim
from ports.driving.collecting import StartedRuns
from tests.support.callers import ListedAddresses, database, principal, recorded, secrets_in

KEYS = {"api_key": "dd-api-secret", "app_key": "dd-app-secret"}
AWS_KEYS = {"access_key_id": "AKIA1", "secret_access_key": "aws-secret"}
DATADOG = SourceSpec(name="dog", config=DatadogConfig())
PROMETHEUS = SourceSpec(name="prom", config=PrometheusConfig(url="https://prometheus.example/"))
NEWRELIC = SourceSpec(name="relic", config=NewRelicConfig(account_id=1))
HAWKEYE = SourceSpec(name="hawk", config=HawkeyeConfig(base_url="https://hawkeye.example/v1"))
CLOUDWATCH = SourceSpec(name="watch", config=CloudWatchConfig(region="eu-central-1"))
EKS = SourceSpec(name="eks", config=EksConfig(cluster_id="prod", metrics_url="https://prometheus.example/"))
SYNTHETIC = SourceSpec(name="made-up", config=SyntheticConfig())
ENVIRONMENT = {
    SourceKind.DATADOG: OneOffSource(config=DatadogConfig(site="datadoghq.eu"), credentials=KEYS),
    SourceKind.EKS: OneOffSource(config=EksConfig(cluster_id="own")),
}
EVERYTHING = CollectionRequest()
SETTINGS = Settings(collection=CollectionSettings(keys="of-tests-which-keep-no-file-anywhere"))
OPERATOR = principal(tenant_id=1)
"""Of the one tenant that is trusted."""


class World:
    """The service over its stores; while somebody sleeps, time passes and `tick` happens."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.tables = database(self.clock)
        self.work = MemoryCollectionWorkStore(self.tables)
        self.sealing = FernetSealing(SETTINGS)
        self.guard = ListedAddresses("https://prometheus.example", "https://hawkeye.example")
        self.naps = 0
        self.service = SourceService(
            MemorySourceStore(self.tables),
            MemoryCollectionRunStore(self.tables),
            MemoryInstanceStore(self.tables),
            self.sealing,
            self.guard,
            MemoryAuditLog(self.tables),
            self.clock,
            self,
            trusted=["default"],
            environment=ENVIRONMENT,
        )

    async def sleep(self, duration_s: float) -> None:
        """As a `Pause`: lets time pass and, every second time, a run end."""
        self.clock.advance(round(duration_s * 1e6))
        self.naps += 1
        if self.naps % 2 == 0 and (claim := await self.claim()) is not None:
            await self.work.finish(claim, CollectionState.DONE, None, now=self.tables.now())

    async def claim(self) -> CollectionClaim | None:
        """What there is to do."""
        return await self.work.claim(now=self.tables.now(), lease_s=60.0, running_max=99)

    async def claims(self) -> list[CollectionClaim]:
        """All that there is to do."""
        claims = []
        while (claim := await self.claim()) is not None:
            claims.append(claim)
        return claims

    async def start(self, kind: SourceKind | None = None, who: Principal | None = None, **more: Any) -> StartedRuns:
        """Starts runs of everything."""
        return await self.service.start(
            who or principal(Scope.INGEST), kind, EVERYTHING, more.pop("once", None), **more
        )

    def unsealed(self, claim: CollectionClaim) -> Mapping[str, str] | None:
        """The credentials that a run gets."""
        return self.sealing.unseal(claim.sealed) if claim.sealed is not None else None

    @property
    def told(self) -> list[str]:
        """What the audit trail says."""
        return [entry.record.summary for entry in recorded(self.tables)]


@pytest.fixture
def world() -> World:
    """A new one."""
    return World()


async def test_changes_are_recorded_without_secrets(world: World) -> None:
    """Making, changing and deleting a source; its credentials are kept sealed and never told."""
    made = await world.service.create(principal(), DATADOG, KEYS)
    assert made.credential_names == ("api_key", "app_key")
    slower = msgspec.structs.replace(DATADOG, interval="10m")
    await world.service.replace(principal(), "dog", slower, None)
    claim = await world.claim()
    assert claim is not None
    assert world.unsealed(claim) == KEYS
    await world.service.replace(principal(), "dog", slower, {**KEYS, "app_key": "newer-secret"})
    await world.service.delete(principal(), "dog")
    assert world.told == [
        "made the source 'dog'",
        "changed the source 'dog'",
        "changed the source 'dog', with new credentials",
        "deleted the source 'dog'",
    ]
    trail = recorded(world.tables)
    assert trail[1].record.details == {"before": {"interval": "5m"}, "after": {"interval": "10m"}}
    assert secrets_in(trail, *KEYS.values(), "newer-secret") == []
    assert not any(secret.encode() in (claim.sealed or b"") for secret in KEYS.values())


async def test_scopes(world: World) -> None:
    """Changing needs admin, starting ingest, reading either of them or query."""
    for scope in set(Scope) - {Scope.ADMIN}:
        for change in (
            world.service.create(principal(scope), DATADOG, KEYS),
            world.service.replace(principal(scope), "dog", DATADOG, None),
            world.service.delete(principal(scope), "dog"),
        ):
            with pytest.raises(Forbidden, match="admin"):
                await change
    await world.service.create(principal(Scope.ADMIN), DATADOG, KEYS)
    for scope in set(Scope) - {Scope.INGEST}:
        with pytest.raises(Forbidden, match="ingest"):
            await world.start(who=principal(scope))
    await world.start(SourceKind.DATADOG)
    for scope in (Scope.QUERY, Scope.INGEST, Scope.ADMIN):
        assert len(await world.service.list(principal(scope))) == 1
    for scope in (Scope.ALERTS, Scope.REMEDIATE):
        for read in (
            world.service.list(principal(scope)),
            world.service.get(principal(scope), "dog"),
            world.service.runs(principal(scope), source=None, state=None, limit=1, cursor=None),
            world.service.run(principal(scope), 1),
            world.service.finished(principal(scope), [1], wait_s=0.0),
            world.service.instances(principal(scope), InstanceFilter(), limit=1, cursor=None),
            world.service.instance(principal(scope), 1),
        ):
            with pytest.raises(Forbidden, match="query"):
                await read


@pytest.mark.parametrize(
    ("spec", "credentials", "says"),
    [
        (DATADOG, {"api_key": "a"}, "credentials.app_key"),
        (SYNTHETIC, {"api_key": "a"}, "credentials.api_key"),
        (PROMETHEUS, {"username": "a"}, "go together"),
        (EKS, {}, "SEXTANT_WORKER_TENANTS"),
        (CLOUDWATCH, {}, "SEXTANT_WORKER_TENANTS"),
        (
            msgspec.structs.replace(
                CLOUDWATCH, config=CloudWatchConfig(region="eu-central-1", endpoint_url="https://prometheus.example")
            ),
            AWS_KEYS,
            "SEXTANT_WORKER_TENANTS",
        ),
        (msgspec.structs.replace(PROMETHEUS, config=PrometheusConfig(url="http://10.0.0.1/")), {}, "config.url"),
        (
            msgspec.structs.replace(HAWKEYE, config=HawkeyeConfig(base_url="http://127.0.0.1/")),
            {"api_key": "a"},
            "config.base_url",
        ),
    ],
    ids=lambda value: value.name if isinstance(value, SourceSpec) else None,
)
async def test_what_is_refused(world: World, spec: SourceSpec, credentials: dict[str, str], says: str) -> None:
    """Wrong credentials of anybody; what is the server's own of all but trusted tenants, by whichever way."""
    with pytest.raises(CallerError, match=says):
        await world.service.create(principal(), spec, credentials)
    with pytest.raises(CallerError, match=says):
        await world.start(once=OneOffSource(config=spec.config, credentials=credentials))
    await world.service.create(principal(), msgspec.structs.replace(SYNTHETIC, name=spec.name), {})
    with pytest.raises(CallerError, match=says):
        await world.service.replace(principal(), spec.name, spec, credentials)
    assert len(world.told) == 1
    if "credentials" not in says and "together" not in says:
        await world.service.create(OPERATOR, spec, credentials)


@pytest.mark.parametrize(
    ("spec", "credentials", "elsewhere"),
    [
        (DATADOG, KEYS, DatadogConfig(site="evil.example")),
        (DATADOG, KEYS, SyntheticConfig()),
        (CLOUDWATCH, AWS_KEYS, CloudWatchConfig(region="eu-west-1")),
        (CLOUDWATCH, AWS_KEYS, CloudWatchConfig(region="eu-central-1", endpoint_url="https://evil.example")),
        (NEWRELIC, {"api_key": "a"}, NewRelicConfig(account_id=2)),
        (NEWRELIC, {"api_key": "a"}, NewRelicConfig(account_id=1, region="eu")),
        (NEWRELIC, {"api_key": "a"}, HawkeyeConfig(base_url="https://evil.example")),
        (HAWKEYE, {"api_key": "a"}, HawkeyeConfig(base_url="https://hawkeye.example/v2")),
        (PROMETHEUS, {"bearer_token": "a"}, PrometheusConfig(url="https://prometheus.example:444/")),
        (EKS, {"metrics_token": "a"}, EksConfig(cluster_id="prod", metrics_url="https://evil.example")),
    ],
)
async def test_kept_credentials_go_nowhere_else(
    world: World, spec: SourceSpec, credentials: dict[str, str], elsewhere: SourceConfig
) -> None:
    """Whoever changes a source without knowing its credentials cannot have them sent to another address."""
    await world.service.create(OPERATOR, spec, credentials)
    with pytest.raises(InvalidInput, match="credentials"):
        await world.service.replace(OPERATOR, spec.name, msgspec.structs.replace(spec, config=elsewhere), None)
    assert (await world.service.get(OPERATOR, spec.name)).spec == spec


async def test_what_may_change_while_credentials_are_kept(world: World) -> None:
    """Everything else; and without any all may, as long as the new kind needs none."""
    await world.service.create(principal(), CLOUDWATCH, AWS_KEYS)
    tagged = msgspec.structs.replace(
        CLOUDWATCH, name="renamed", config=CloudWatchConfig(region="eu-central-1", tags={"team": "a"}), interval="1h"
    )
    await world.service.replace(principal(), "watch", tagged, None)
    assert (await world.service.get(principal(), "renamed")).credential_names == tuple(AWS_KEYS)
    await world.service.create(principal(), PROMETHEUS, {})
    await world.service.replace(principal(), "prom", SYNTHETIC, None)
    with pytest.raises(InvalidInput, match=r"credentials\.api_key"):
        await world.service.replace(principal(), "made-up", DATADOG, None)


async def test_starting_what_is_stored(world: World) -> None:
    """All that is enabled, of one kind or of every; by name also what is not."""
    for spec, credentials in (
        (DATADOG, KEYS),
        (PROMETHEUS, {}),
        (msgspec.structs.replace(PROMETHEUS, name="off", enabled=False), {}),
    ):
        await world.service.create(principal(), msgspec.structs.replace(spec, interval=None), credentials)
    assert [run.source for run in (await world.start()).runs] == ["dog", "prom"]
    assert [run.source for run in (await world.start(SourceKind.PROMETHEUS)).runs] == ["prom"]
    [by_name] = (await world.start(name="off")).runs
    assert (by_name.source, by_name.requested_by, by_name.state) == ("off", "key:5", CollectionState.WAITING)
    with pytest.raises(NotFound):
        await world.start(name="none")
    claim = (await world.claims())[0]
    assert (claim.scope, world.unsealed(claim)) == ("source:1", KEYS)


async def test_the_servers_own_for_those_it_trusts(world: World) -> None:
    """Of kinds of which they have none stored; with checkpoints of their own by kind."""
    started = await world.start(who=OPERATOR)
    assert [(run.source, run.kind) for run in started.runs] == [
        ("datadog", SourceKind.DATADOG),
        ("eks", SourceKind.EKS),
    ]
    datadog, eks = await world.claims()
    assert (datadog.scope, world.unsealed(datadog), datadog.spec.config) == (
        "server:datadog",
        KEYS,
        DatadogConfig(site="datadoghq.eu"),
    )
    assert (eks.scope, eks.sealed) == ("server:eks", None)
    await world.service.create(OPERATOR, DATADOG, KEYS)
    assert [run.source for run in (await world.start(who=OPERATOR)).runs] == ["dog", "eks"]


@pytest.mark.parametrize(
    ("tenant_id", "kind", "says"),
    [
        (1, SourceKind.CLOUDWATCH, "AWS_REGION"),
        (1, SourceKind.NEWRELIC, "NEWRELIC_API_KEY and NEWRELIC_ACCOUNT_ID"),
        (1, SourceKind.HAWKEYE, "HAWKEYE_BASE_URL and HAWKEYE_API_KEY"),
        (1, SourceKind.PROMETHEUS, "PROMETHEUS_URL where the server starts, or add one with POST /api/v1/sources"),
        (2, SourceKind.DATADOG, "add one with POST /api/v1/sources.*SEXTANT_WORKER_TENANTS"),
        (2, None, "add one with POST /api/v1/sources"),
    ],
)
async def test_nothing_to_start(world: World, tenant_id: int, kind: SourceKind | None, says: str) -> None:
    """It says what to set; what others may use is no secret, and not for whom it is not."""
    with pytest.raises(InvalidInput, match=says):
        await world.start(kind, principal(tenant_id=tenant_id))


async def test_what_is_disabled_is_named(world: World) -> None:
    """A source that somebody switched off is not worked around."""
    await world.service.create(OPERATOR, msgspec.structs.replace(DATADOG, enabled=False), KEYS)
    with pytest.raises(InvalidInput, match=r"enable a source \(dog\)"):
        await world.start(SourceKind.DATADOG, OPERATOR)


async def test_synthetic_data_only_where_asked_for(world: World) -> None:
    """Anybody may, without configuring anything."""
    with pytest.raises(InvalidInput):
        await world.start()
    [run] = (await world.start(SourceKind.SYNTHETIC)).runs
    assert (run.source, run.kind) == ("synthetic", SourceKind.SYNTHETIC)


async def test_once(world: World) -> None:
    """The same configuration and credentials share checkpoints, others do not; the credentials come with the run."""
    twice = OneOffSource(config=DatadogConfig(), credentials=KEYS)
    for once in (twice, twice, msgspec.structs.replace(twice, credentials={**KEYS, "app_key": "b"})):
        await world.start(SourceKind.DATADOG, once=once)
    assert len((await world.start(once=OneOffSource(config=SyntheticConfig()))).runs) == 1
    first, other, synthetic = await world.claims()
    assert world.unsealed(first) == KEYS
    assert len({first.scope, other.scope, synthetic.scope}) == 3
    await world.work.finish(first, CollectionState.DONE, None, now=world.tables.now())
    [second] = await world.claims()
    assert second.scope == first.scope
    with pytest.raises(InvalidInput, match="datadog"):
        await world.start(SourceKind.EKS, once=twice)
    assert "secret" not in first.scope + msgspec.json.encode(first.run).decode()


async def test_those_that_cannot_start(world: World) -> None:
    """They are named with the reason, the others start: one of a tenant that is trusted no longer, one without room."""
    trusting = SourceService(
        MemorySourceStore(world.tables),
        MemoryCollectionRunStore(world.tables),
        MemoryInstanceStore(world.tables),
        world.sealing,
        world.guard,
        MemoryAuditLog(world.tables),
        world.clock,
        world,
        trusted=["acme"],
        environment={},
    )
    await trusting.create(principal(), EKS, {})
    for name in ("a", "b"):
        await world.service.create(principal(), msgspec.structs.replace(SYNTHETIC, name=name), {})
    for _ in range(WAITING_RUNS_MAX - 1):
        await world.start(once=OneOffSource(config=SyntheticConfig()))
    started = await world.start()
    assert [run.source for run in started.runs] == ["a"]
    assert sorted(started.errors) == ["b", "eks"]
    assert "SEXTANT_WORKER_TENANTS" in started.errors["eks"]
    with pytest.raises(Conflict):
        await world.start(name="a")


async def test_windows(world: World) -> None:
    """A window lies in the past, and reaches back no further than vendors keep data."""
    now = world.tables.now()
    for start_time in (now, now + timedelta(days=1), now - timedelta(days=35, microseconds=1)):
        with pytest.raises(InvalidInput, match="start_time"):
            await world.service.start(principal(), SourceKind.SYNTHETIC, CollectionRequest(start_time=start_time), None)
    asked = CollectionRequest(start_time=now - timedelta(days=35), cluster_id="demo", namespaces=("shop",))
    started = await world.service.start(principal(), SourceKind.SYNTHETIC, asked, None)
    assert [run.request for run in started.runs] == [asked]


async def test_waiting_for_runs(world: World) -> None:
    """It answers once all have ended, or with what there is when the time is up."""
    for name in ("a", "b"):
        spec = msgspec.structs.replace(SYNTHETIC, name=name, interval=None)
        await world.service.create(principal(), spec, {})
    run_ids = [run.id for run in (await world.start()).runs]
    ended = await world.service.finished(principal(), run_ids, wait_s=60.0)
    assert [(detail.run.id, detail.run.state) for detail in ended] == [(each, CollectionState.DONE) for each in run_ids]
    assert world.clock.monotonic_s() == pytest.approx(0.8)
    again = [run.id for run in (await world.start()).runs]
    cut_off = await world.service.finished(principal(), again, wait_s=0.5)
    assert [detail.run.state for detail in cut_off] == [CollectionState.DONE, CollectionState.WAITING]
    with pytest.raises(NotFound):
        await world.service.finished(principal(tenant_id=3), run_ids, wait_s=60.0)


async def test_pages(world: World) -> None:
    """Runs newest first, instances by id; each page says where the next begins."""
    for _ in range(3):
        await world.start(SourceKind.SYNTHETIC)
    claim = await world.claim()
    assert claim is not None
    seen = [SeenInstance(external_id=name, kind="ec2") for name in "abc"]
    await world.work.see_instances(claim, SourceKind.SYNTHETIC, seen, now=world.tables.now())
    runs, instances = [], []
    cursor = None
    while True:
        page = await world.service.runs(principal(), source=None, state=None, limit=2, cursor=cursor)
        runs += [run.id for run in page.data]
        if (cursor := page.next_cursor) is None:
            break
    while True:
        found = await world.service.instances(principal(), InstanceFilter(), limit=2, cursor=cursor)
        instances += [instance.external_id for instance in found.data]
        if (cursor := found.next_cursor) is None:
            break
    assert (runs, instances) == ([3, 2, 1], ["a", "b", "c"])
    assert (await world.service.instance(principal(), 1)).external_id == "a"
    for limit, wrong in ((0, None), (1_001, None), (1, "x")):
        with pytest.raises(InvalidInput):
            await world.service.runs(principal(), source=None, state=None, limit=limit, cursor=wrong)
        with pytest.raises(InvalidInput):
            await world.service.instances(principal(), InstanceFilter(), limit=limit, cursor=wrong)
