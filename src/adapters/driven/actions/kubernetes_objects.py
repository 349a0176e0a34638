"""The fields of Kubernetes objects that actions look at; where the API server leaves one out, its default stands."""

from datetime import datetime
from typing import Final

import msgspec

KEYS_ANNOTATION: Final = "sextant.dev/last-actions"
"""The keys of the latest actions on an object, newest first."""
KEYS_MAX: Final = 8
"""As many actions as may hit one object between an action and its repeat."""


class Metadata(msgspec.Struct, rename="camel"):
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    """Grows with each change of the spec."""
    annotations: dict[str, str] | None = None
    creation_timestamp: datetime | None = None
    deletion_timestamp: str | None = None

    @property
    def keys(self) -> list[str]:
        """Of the latest actions, newest first."""
        return (self.annotations or {}).get(KEYS_ANNOTATION, "").split()

    def with_key(self, key: str) -> dict[str, str]:
        """The annotation that says that the action of this key, which has no white space, was done too."""
        return {KEYS_ANNOTATION: " ".join([key, *self.keys][:KEYS_MAX])}


class ContainerResources(msgspec.Struct):
    requests: dict[str, str] | None = None
    limits: dict[str, str] | None = None


class Container(msgspec.Struct):
    name: str
    image: str = ""
    resources: ContainerResources = msgspec.field(default_factory=ContainerResources)


class PodSpec(msgspec.Struct):
    containers: list[Container] = []


class PodTemplate(msgspec.Struct):
    spec: PodSpec = msgspec.field(default_factory=PodSpec)


class DeploymentSpec(msgspec.Struct):
    replicas: int = 1
    paused: bool = False
    template: PodTemplate = msgspec.field(default_factory=PodTemplate)


class Condition(msgspec.Struct):
    type: str
    status: str
    reason: str = ""
    message: str = ""


class DeploymentStatus(msgspec.Struct, rename="camel"):
    observed_generation: int = 0
    replicas: int = 0
    updated_replicas: int = 0
    """Of the template as it is."""
    available_replicas: int = 0
    conditions: list[Condition] = []


class Deployment(msgspec.Struct):
    metadata: Metadata
    spec: DeploymentSpec
    status: DeploymentStatus = msgspec.field(default_factory=DeploymentStatus)


class ScaleSpec(msgspec.Struct):
    replicas: int = 0
    """The API server leaves out a zero here."""


class Scale(msgspec.Struct):
    metadata: Metadata
    spec: ScaleSpec = msgspec.field(default_factory=ScaleSpec)


class HpaSpec(msgspec.Struct, rename="camel"):
    max_replicas: int
    min_replicas: int = 1


class Hpa(msgspec.Struct):
    metadata: Metadata
    spec: HpaSpec


class Pod(msgspec.Struct):
    metadata: Metadata
