"""The routes of workloads' configuration: its history, its state at any time, and what it is meant to be."""

from collections.abc import Sequence
from typing import Final

import msgspec
from litestar import Controller, Response, delete, get, post, put

from adapters.driving.http.alert_parameters import PAGE_DEFAULT, DocumentsLimit, PageCursor
from adapters.driving.http.cluster_parameters import (
    AtInstant,
    BaselineCluster,
    BaselineKind,
    BaselineNamespace,
    BaselineWorkload,
    ChangedBefore,
    ChangedFrom,
    ClusterInPath,
    ConfigChangeInPath,
    InCluster,
    InNamespace,
    OfConfigKind,
    OfOneNamespace,
    OfWorkload,
    WorkloadInPath,
    cluster_name,
    instant_of,
)
from adapters.driving.http.guards import ApiRequest, ServicesDependency, authenticated, json_body
from adapters.driving.http.json_list import one_or_many
from core.domain.configurations import (
    ConfigBaseline,
    ConfigChange,
    ConfigChangeSpec,
    ConfigFilter,
    ConfigState,
    StoredBaseline,
)
from ports.driving.clusters import ConfigPage

TAG: Final = "Configurations"


class StoredChanges(msgspec.Struct, frozen=True):
    """The changes of a request in its order, as they are stored."""

    data: Sequence[ConfigChange]


class BaselinesReply(msgspec.Struct, frozen=True):
    """Baselines, ascending by cluster, namespace, workload and kind."""

    data: Sequence[StoredBaseline]


_change = msgspec.json.Decoder(ConfigChangeSpec)
_baseline = msgspec.json.Decoder(ConfigBaseline)


class ConfigurationController(Controller):
    """Reading needs scope ``query`` or ``alerts``, posting changes ``ingest``, declaring baselines ``alerts``."""

    path = "/api/v1/config"
    tags: Sequence[str] = [TAG]  # Litestar declares it as an instance's
    guards = [authenticated]  # noqa: RUF012  # the same

    @post("/history", operation_id="post_config_changes", summary="Record changes of configuration")
    async def create(self, request: ApiRequest, services: ServicesDependency) -> Response[StoredChanges]:
        """Records one change, or a list of up to 1,000 (1 MiB), all or none. `before` and `after` are the documents;
        the reply shows in `diff` where they differ. A change also becomes an event (metric `config_change`), so that
        incidents show it. With an `id` of your own, sending a change again changes nothing: the reply shows it as it
        was stored."""
        changes = await one_or_many(request, _change)
        return Response(StoredChanges(await services.configurations.post(request.user, changes)), status_code=201)

    @get("/history", operation_id="list_config_changes", summary="History of configuration")
    async def list_all(
        self,
        request: ApiRequest,
        services: ServicesDependency,
        cluster: InCluster = None,
        namespace: InNamespace = None,
        workload: OfWorkload = None,
        of_kind: OfConfigKind = None,
        start: ChangedFrom = None,
        end: ChangedBefore = None,
        limit: DocumentsLimit = PAGE_DEFAULT,
        cursor: PageCursor = None,
    ) -> ConfigPage:
        """Changes, newest first, a page at a time: what was sent, and what collecting from Kubernetes found by itself.
        Where `next_cursor` is not null there are more: repeat the request with it as `cursor`."""
        since, until = instant_of("start", start), instant_of("end", end)
        wanted = ConfigFilter(
            cluster_id=cluster,
            namespace=namespace,
            workload=workload,
            kind=of_kind,
            start=since,
            end=until,
        )
        return await services.configurations.list(request.user, wanted, limit=limit, cursor=cursor)

    @get("/history/{change_id:uuid}", operation_id="get_config_change", summary="One change")
    async def get_one(
        self, request: ApiRequest, services: ServicesDependency, change_id: ConfigChangeInPath
    ) -> ConfigChange:
        """The change of this id, with its documents and where they differ."""
        return await services.configurations.get(request.user, change_id)

    @get("/at/{cluster:str}/{workload:str}", operation_id="config_at", summary="Configuration at an instant")
    async def at(
        self,
        request: ApiRequest,
        services: ServicesDependency,
        cluster: ClusterInPath,
        workload: WorkloadInPath,
        at: AtInstant = None,
        namespace: OfOneNamespace = None,
    ) -> ConfigState:
        """What a workload's configuration was at an instant, by kind, and which change made it so. A conflict where no
        namespace was given and several have a workload of that name."""
        return await services.configurations.at(
            request.user,
            cluster_name("cluster", cluster),
            cluster_name("workload", workload),
            namespace=namespace,
            ts=instant_of("ts", at),
        )

    @get("/baselines", operation_id="list_config_baselines", summary="Declared configuration")
    async def baselines(
        self,
        request: ApiRequest,
        services: ServicesDependency,
        cluster: InCluster = None,
        workload: OfWorkload = None,
    ) -> BaselinesReply:
        """What workloads' configuration is meant to be, as it was declared."""
        found = await services.configurations.baselines(request.user, cluster_id=cluster, workload=workload)
        return BaselinesReply(found)

    @put("/baselines", operation_id="put_config_baseline", summary="Declare configuration")
    async def declare(self, request: ApiRequest, services: ServicesDependency) -> ConfigBaseline:
        """Declares or replaces what one part of a workload's configuration is meant to be. Where the live configuration
        differs that is found as drift; fields that `document` lacks are not compared. A conflict where all baselines
        together would take more than 16 MiB."""
        baseline = await json_body(request, _baseline)
        await services.configurations.put_baseline(request.user, baseline)
        return baseline

    @delete("/baselines", operation_id="delete_config_baseline", summary="Remove a declared configuration")
    async def forget(
        self,
        request: ApiRequest,
        services: ServicesDependency,
        cluster: BaselineCluster,
        workload: BaselineWorkload,
        kind: BaselineKind,
        namespace: BaselineNamespace = "default",
    ) -> None:
        """Removes a baseline; nothing is compared with it any more."""
        await services.configurations.delete_baseline(request.user, cluster, namespace, workload, kind)
