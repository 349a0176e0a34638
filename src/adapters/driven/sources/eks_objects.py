"""The fields of Kubernetes objects that collecting looks at; where the API server leaves one out, its default stands.

Field names are the API's (https://kubernetes.io/docs/reference/kubernetes-api/); `read_quantity` decodes its amounts.
"""

from datetime import datetime
from typing import Annotated, Any, Final

import msgspec

from adapters.driven.sources.eks_api import Listing
from core.domain.errors import InvalidInput
from core.domain.quantities import check_amount

AMOUNT_MAX: Final = 1e18
"""What a capacity snapshot takes: an exabyte, in bytes."""

NODES: Final = Listing("", "v1", "nodes")
PODS: Final = Listing("", "v1", "pods")
DEPLOYMENTS: Final = Listing("apps", "v1", "deployments")
STATEFULSETS: Final = Listing("apps", "v1", "statefulsets")
DAEMONSETS: Final = Listing("apps", "v1", "daemonsets")
AUTOSCALERS: Final = Listing("autoscaling", "v2", "horizontalpodautoscalers")
NODE_METRICS: Final = Listing("metrics.k8s.io", "v1beta1", "nodes")
POD_METRICS: Final = Listing("metrics.k8s.io", "v1beta1", "pods")


class Quantity(float):
    """An amount: cores, bytes, or a count."""


Amounts = dict[str, Quantity]
"""By resource: ``cpu`` in cores, ``memory`` in bytes, ``pods``."""


def read_quantity(of: type[Any], value: Any) -> Any:
    """For msgspec: a `Quantity` as Kubernetes writes it. Raises `ValueError`."""
    if of is not Quantity:
        raise NotImplementedError(of)
    try:
        amount = float(check_amount("quantity", value if isinstance(value, str) else str(value)))
    except InvalidInput as error:
        raise ValueError(error.reason) from None
    if amount > AMOUNT_MAX:
        raise ValueError("more than there can be")
    return Quantity(amount)


class Owner(msgspec.Struct, frozen=True):
    kind: str = ""
    name: str = ""
    controller: bool = False


class ManagedFields(msgspec.Struct, frozen=True, rename="camel"):
    manager: str = ""
    time: datetime | None = None
    subresource: str = ""
    fields: dict[str, Any] = msgspec.field(default_factory=dict, name="fieldsV1")


class Metadata(msgspec.Struct, frozen=True, rename="camel"):
    name: str
    namespace: str = ""
    labels: dict[str, str] = {}
    owner_references: list[Owner] = []
    managed_fields: list[ManagedFields] = []


class KeyRef(msgspec.Struct, frozen=True):
    name: str = ""
    key: str = ""


class FieldRef(msgspec.Struct, frozen=True, rename="camel"):
    field_path: str = ""
    resource: str = ""


class ValueFrom(msgspec.Struct, frozen=True, rename="camel"):
    secret_key_ref: KeyRef | None = None
    config_map_key_ref: KeyRef | None = None
    field_ref: FieldRef | None = None
    resource_field_ref: FieldRef | None = None


class EnvVar(msgspec.Struct, frozen=True, rename="camel"):
    name: str
    value: str = ""
    value_from: ValueFrom | None = None


class EnvFrom(msgspec.Struct, frozen=True, rename="camel"):
    prefix: str = ""
    config_map_ref: KeyRef | None = None
    secret_ref: KeyRef | None = None


class ContainerResources(msgspec.Struct, frozen=True):
    requests: Amounts = {}
    limits: Amounts = {}


class Container(msgspec.Struct, frozen=True, rename="camel"):
    name: str
    image: str = ""
    command: list[str] = []
    args: list[str] = []
    env: list[EnvVar] = []
    env_from: list[EnvFrom] = []
    resources: ContainerResources = ContainerResources()
    restart_policy: str = ""
    """`Always` makes an init container one that goes on running."""


class PodSpec(msgspec.Struct, frozen=True, rename="camel"):
    node_name: str = ""
    containers: list[Container] = []
    init_containers: list[Container] = []
    overhead: Amounts = {}


class ContainerStatus(msgspec.Struct, frozen=True, rename="camel"):
    restart_count: int = 0


class PodStatus(msgspec.Struct, frozen=True, rename="camel"):
    phase: str = ""
    container_statuses: list[ContainerStatus] = []
    init_container_statuses: list[ContainerStatus] = []


class Pod(msgspec.Struct, frozen=True):
    metadata: Metadata
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()


class NodeCondition(msgspec.Struct, frozen=True):
    type: str = ""
    status: str = ""


class NodeSpec(msgspec.Struct, frozen=True, rename="camel"):
    provider_id: str = msgspec.field(default="", name="providerID")


class NodeStatus(msgspec.Struct, frozen=True):
    allocatable: Amounts = {}
    conditions: list[NodeCondition] = []


class Node(msgspec.Struct, frozen=True):
    metadata: Metadata
    spec: NodeSpec = NodeSpec()
    status: NodeStatus = NodeStatus()


class RawResources(msgspec.Struct, frozen=True):
    """As they are written: a configuration shows ``500m``, not 0.5."""

    requests: dict[str, str] = {}
    limits: dict[str, str] = {}


class TemplateContainer(Container, frozen=True, rename="camel"):
    resources: RawResources = RawResources()  # type: ignore[assignment]  # read in another form here


class TemplateSpec(msgspec.Struct, frozen=True, rename="camel"):
    containers: list[TemplateContainer] = []
    init_containers: list[TemplateContainer] = []


class Template(msgspec.Struct, frozen=True):
    spec: TemplateSpec = TemplateSpec()


class WorkloadSpec(msgspec.Struct, frozen=True):
    replicas: int | None = None
    template: Template = Template()


class Workload(msgspec.Struct, frozen=True):
    """A Deployment, StatefulSet or DaemonSet."""

    metadata: Metadata
    spec: WorkloadSpec = WorkloadSpec()


class ScaleTarget(msgspec.Struct, frozen=True):
    kind: str = ""
    name: str = ""


class AutoscalerSpec(msgspec.Struct, frozen=True, rename="camel"):
    max_replicas: int
    min_replicas: int = 1
    scale_target_ref: ScaleTarget = ScaleTarget()
    metrics: list[Any] = []


class Autoscaler(msgspec.Struct, frozen=True):
    metadata: Metadata
    spec: AutoscalerSpec


class NodeUse(msgspec.Struct, frozen=True):
    metadata: Metadata
    usage: Amounts = {}


class ContainerUse(msgspec.Struct, frozen=True):
    name: str = ""
    usage: Amounts = {}


class PodUse(msgspec.Struct, frozen=True):
    metadata: Metadata
    timestamp: Annotated[datetime, msgspec.Meta(tz=True)]
    containers: list[ContainerUse] = []
