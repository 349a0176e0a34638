"""A recommendation from being posted to being applied, on a real Temporal, against a double of the Kubernetes API."""

import asyncio
import copy
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from adapters.driven.actions import rollout
from adapters.driven.actions.annotate import AnnotateRunner
from adapters.driven.actions.kubernetes import KubernetesRunner
from adapters.driven.actions.kubernetes_connection import kubeconfig_connection
from adapters.driven.memory.capacity import MemoryCapacityStore
from adapters.driven.memory.drift import MemoryDriftStore
from adapters.driven.memory.recommendations import MemoryRecommendationStore
from adapters.driven.memory.remediations import MemoryRemediationOutbox
from adapters.driven.temporal.engine import workflow_engine
from adapters.driving.temporal.worker import build_worker
from adapters.runtime.clock import SystemClock
from adapters.runtime.settings import TemporalSettings
from adapters.runtime.temporal_client import connect_temporal
from core.domain.actions import AnnotateAction, SetContainerAction
from core.domain.notifications import AlertEvent, WebhookConfig
from core.domain.recommendations import RecommendationSpec, RecommendationState
from core.domain.remediation import ENDED, Remediation, RemediationState
from core.domain.telemetry import CPU_USAGE
from core.domain.tenants import Principal, Scope
from core.services.dispatch import DispatchService
from core.services.policies import Policies
from core.services.recommendations import RecommendationService
from core.services.telemetry_reading import TelemetryReading
from tests.support.kubernetes_api import KubernetesApiServer
from tests.support.recommending import drift_event
from tests.support.temporal import eventually, run_temporal
from tests.unit.remediation_work.world import LIMITS, World

CALLER = Principal(tenant_id=1, tenant="default", key_id=5, scopes=frozenset(Scope))
CHECK = {
    "metric": CPU_USAGE,
    "matchers": ["cluster_id={{ labels.cluster_id }}", "workload={{ labels.workload }}"],
    "condition": "<",
    "value": 0.45,
}
WHERE = {"cluster_id": "prod-eu", "namespace": "shop", "workload": "checkout", "pod": "checkout-1"}
BEFORE = {"requests": {"cpu": "2", "memory": "2Gi"}}
AFTER = {"requests": {"cpu": "500m", "memory": "2Gi"}}


class Shop:
    """A tenant with its worker, and a cluster in which checkout asks for more than it needs."""

    def __init__(self, settings: TemporalSettings, directory: Path) -> None:
        self._settings = settings
        self._directory = directory
        self.cluster = KubernetesApiServer()
        containers = [{"name": "proxy", "image": "proxy:9"}, {"name": "web", "image": "shop:1", "resources": BEFORE}]
        self.cluster.add("deployments", "shop", "checkout", {"template": {"spec": {"containers": containers}}})
        self.world = World()
        clock, database = self.world.clock, self.world.database
        clock.set(time.time_ns() // 1_000)
        self.service = RecommendationService(
            MemoryRecommendationStore(database),
            MemoryDriftStore(database),
            self.world.remediations,
            TelemetryReading(self.world.storage.reader, Policies(self.world.storage.tenants, LIMITS, clock), clock),
            MemoryCapacityStore(database),
            self.world.audit,
            clock,
        )

    @asynccontextmanager
    async def open(self) -> AsyncIterator["Shop"]:
        """Serves and works while the block runs."""
        await self.world.opened()
        await self.world.channels.create(1, WebhookConfig(name="all", url="https://hooks.example/", default=True), ())
        await MemoryDriftStore(self.world.database).add(1, drift_event())
        engine = workflow_engine(self._settings)
        self._dispatch = DispatchService(MemoryRemediationOutbox(self.world.database), engine, self.world.clock)
        client = await connect_temporal(self._settings)
        async with (
            asyncio.timeout(60),
            self.cluster.served(),
            build_worker(client, self._settings.task_queue, self.world.work, 4),
        ):
            connect = kubeconfig_connection(self.cluster.kubeconfig(self._directory / "config"))
            self.world.runners[SetContainerAction] = KubernetesRunner(connect, SystemClock())
            self.world.runners[AnnotateAction] = AnnotateRunner()
            yield self

    async def post(self, rec_id: str, *, within: str = "30s", **fields: Any) -> None:
        """To let it ask for less cpu, if that does not heat it up; approved."""
        document = {
            "container": "web",
            "current": {"cpu_request": "2"},
            "proposed": {"cpu_request": "500m"},
            "verification": {"within": within, "every": "1s", "check": CHECK},
        }
        standard = {
            "cluster_id": "prod-eu",
            "drift_id": "drift-1",
            "recommendation_type": "right_size",
            "recommendation_json": document,
        }
        spec = RecommendationSpec(rec_id=rec_id, **{**standard, **fields})
        await self.service.post(CALLER, spec)
        await self.service.decide(CALLER, rec_id, approved=True, reason=None)

    async def apply(self, rec_id: str, *, dry_run: bool) -> int:
        """Starts the remediation, whose id this is."""
        applied = await self.service.apply(CALLER, rec_id, dry_run=dry_run)
        done, _ = await self._dispatch.round()
        assert done.started == 1
        return applied.remediation.id

    def set(self, *, cpu: str) -> None:
        """Somebody else sets what the container asks for."""
        found = self.cluster.get("deployments", "shop", "checkout")
        assert found is not None
        template = copy.deepcopy(found["spec"]["template"])
        template["spec"]["containers"][1]["resources"]["requests"]["cpu"] = cpu
        self.cluster.change("deployments", "shop", "checkout", {"template": template})

    async def changed(self) -> None:
        """Waits until the Deployment is as recommended."""

        async def is_changed() -> bool:
            return self.resources == AFTER

        await eventually(is_changed)

    async def ended(self, remediation_id: int) -> Remediation:
        """Waits for the end."""

        async def has_ended() -> bool:
            return (await self.world.remediations.get(1, remediation_id)).state in ENDED

        await eventually(has_ended)
        return await self.world.remediations.get(1, remediation_id)

    async def state(self, rec_id: str) -> RecommendationState:
        """Where the recommendation stands."""
        return (await self.service.get(CALLER, rec_id)).recommendation.state

    @property
    def resources(self) -> object:
        """Of the container; its neighbour and its image are as they were."""
        found = self.cluster.get("deployments", "shop", "checkout")
        assert found is not None
        proxy, web = found["spec"]["template"]["spec"]["containers"]
        assert (proxy, web["image"]) == ({"name": "proxy", "image": "proxy:9"}, "shop:1")
        return web["resources"]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TemporalSettings]:
    """Yield the way to a server for this module."""
    with run_temporal(tmp_path_factory.mktemp("temporal")) as settings:
        yield settings


@pytest.fixture
async def shop(settings: TemporalSettings, tmp_path: Path) -> AsyncIterator[Shop]:
    """Yield a shop that is open."""
    async with Shop(settings, tmp_path).open() as shop:
        yield shop


async def test_tried_then_applied_and_verified(shop: Shop) -> None:
    """The dry run's timeline has the very change, and nothing is changed; then it is made, once telemetry is good."""
    await shop.post("rec-1")
    tried = await shop.ended(await shop.apply("rec-1", dry_run=True))
    assert tried.state is RemediationState.DRY_RUN
    assert shop.resources == BEFORE
    entries = await shop.world.audit.list(1, alert_id=None, remediation_id=tried.id, limit=100, after=None)
    [details] = [details for entry in entries if (details := entry.record.details.get("details")) is not None]
    assert details["cpu request"] == "2 → 500m"
    assert '"cpu":"500m"' in details["body"]
    assert {entry.record.alert_id for entry in entries} == {None}
    assert entries[0].record.summary == "asked for a dry run of the recommendation 'rec-1'"
    assert entries[1].record.summary.startswith("remediation of recommendation rec-1 by policy")
    assert await shop.state("rec-1") is RecommendationState.APPROVED

    remediation_id = await shop.apply("rec-1", dry_run=False)
    await shop.changed()
    assert await shop.state("rec-1") is RecommendationState.APPLYING
    shop.world.clock.set(time.time_ns() // 1_000)
    await shop.world.sampled(CPU_USAGE, WHERE, (-30, 0.4))
    done = await shop.ended(remediation_id)
    assert (done.state, done.alert_id, done.recommendation) == (RemediationState.SUCCEEDED, None, "rec-1")
    assert "should be: < 0.45" in (done.detail or "")
    assert shop.resources == AFTER
    assert await shop.state("rec-1") is RecommendationState.APPLIED
    assert shop.world.messages == []


async def test_what_does_not_help_is_rolled_back(shop: Shop) -> None:
    """The pods run hot with less: the Deployment is as it was, and people are told, without an alert that is none."""
    await shop.post("rec-2", within="1s")
    remediation_id = await shop.apply("rec-2", dry_run=False)
    shop.world.clock.set(time.time_ns() // 1_000)
    await shop.world.sampled(CPU_USAGE, WHERE, (-30, 0.5))
    undone = await shop.ended(remediation_id)
    assert undone.state is RemediationState.ROLLED_BACK
    assert "rolled back by: undo right size" in (undone.detail or "")
    assert len(shop.cluster.writes) == 2
    assert shop.resources == BEFORE
    assert await shop.state("rec-2") is RecommendationState.ROLLED_BACK
    [(_, message)] = shop.world.messages
    assert (message.event, message.rule, message.alerts) == (AlertEvent.REMEDIATION, "recommendation rec-2", ())
    [stored] = shop.world.database.notifications.values()
    assert stored.alert_ids == ()


async def test_pods_that_never_start_are_rolled_back(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Telemetry of the old pods, which serve on, looks as good as ever; nobody asks for it."""
    monkeypatch.setattr(rollout, "GIVEN_UP_S", 0.2)
    shop.cluster.new_pods_start, shop.cluster.gives_up = False, True
    shop.world.clock.set(time.time_ns() // 1_000)
    await shop.world.sampled(CPU_USAGE, WHERE, (-30, 0.4))
    await shop.post("rec-4")
    undone = await shop.ended(await shop.apply("rec-4", dry_run=False))
    assert undone.state is RemediationState.ROLLED_BACK
    assert "timed out progressing" in (undone.detail or "")
    assert (len(shop.cluster.writes), shop.resources) == (2, BEFORE)
    assert await shop.state("rec-4") is RecommendationState.ROLLED_BACK


async def test_what_somebody_has_changed_since_is_left_alone(shop: Shop) -> None:
    """The recommendation was made for something else; nor is anything rolled back."""
    shop.set(cpu="3")
    await shop.post("rec-5")
    refused = await shop.ended(await shop.apply("rec-5", dry_run=False))
    assert refused.state is RemediationState.FAILED
    assert "is 3 now, and this change was made for 2" in (refused.detail or "")
    assert "nothing had been changed" in (refused.detail or "")
    assert shop.cluster.writes == []


async def test_a_rollback_undoes_its_own_change_alone(shop: Shop) -> None:
    """Not what somebody has set in its place while it was being verified."""
    await shop.post("rec-6", within="2s")
    remediation_id = await shop.apply("rec-6", dry_run=False)
    await shop.changed()
    shop.set(cpu="1")
    stuck = await shop.ended(remediation_id)
    assert stuck.state is RemediationState.FAILED
    assert "the rollback stopped" in (stuck.detail or "")
    assert "is 1 now, and this change was made for 500m" in (stuck.detail or "")
    assert len(shop.cluster.writes) == 1


async def test_a_recommendation_for_another_cluster(shop: Shop) -> None:
    """Has a Deployment of that name too, which is not this one."""
    await shop.world.storage.drift.add(1, drift_event("elsewhere", cluster_id="prod-us"))
    await shop.post("rec-7", cluster_id="prod-us", drift_id="elsewhere")
    for dry_run in (True, False):
        refused = await shop.ended(await shop.apply("rec-7", dry_run=dry_run))
        assert "'prod-us', and this worker changes cluster 'prod-eu'" in (refused.detail or "")
        assert refused.state is (RemediationState.DRY_RUN if dry_run else RemediationState.REFUSED)
    assert shop.cluster.requests == []


async def test_nodes_are_only_talked_of(shop: Shop) -> None:
    """A dry run of what nothing here can do says what would change."""
    document = {"current": {"nodes": 5}, "proposed": {"nodes": 7}}
    await shop.post("rec-3", recommendation_type="scale_nodes", recommendation_json=document)
    tried = await shop.ended(await shop.apply("rec-3", dry_run=True))
    assert tried.state is RemediationState.DRY_RUN
    assert tried.detail == "would do: would note: nodes of cluster prod-eu: 5 → 7"
