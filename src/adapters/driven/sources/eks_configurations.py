"""Configurations of workloads as documents, without what is secret.

image     {"containers": {name: image}, "init_containers": {…}}
resource  {"containers": {name: {"requests": {…}, "limits": {…}}}, "init_containers": {…}}
runtime   {"kind": "Deployment", "replicas": n, "containers": {name: {"command": […], "args": […], "env": {…}, …}}, …}
policy    {"autoscalers": {name: {"min_replicas": n, "max_replicas": n, "metrics": […]}}}

Replicas stand there only where no autoscaler moves them: what it does is no change of configuration. A value that comes
from a Secret is never read, only where it comes from; one that stands in the open is masked by
eks_masking.py.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

import msgspec

from adapters.driven.sources.eks_masking import masked_arguments, masked_value
from adapters.driven.sources.eks_objects import (
    Autoscaler,
    Container,
    EnvFrom,
    EnvVar,
    Metadata,
    TemplateContainer,
    Workload,
)
from core.domain.configurations import (
    TEXT_CHARS_MAX,
    ConfigKind,
    Document,
    ObservedConfiguration,
    check_actor,
    check_document,
)
from core.domain.errors import InvalidInput
from core.domain.names import check_cluster_id


class WorkloadState(msgspec.Struct, frozen=True):
    """A workload, and of which kind it is."""

    kind: str
    workload: Workload


class Autoscalers(msgspec.Struct, frozen=True, kw_only=True):
    """The autoscalers of the namespaces that were looked at, as far as they could be listed and read."""

    found: Sequence[Autoscaler]
    unknown: frozenset[str | None]
    """Namespaces where some are missing, None for all: what those scale would count as not scaled."""
    come_again: frozenset[str | None]
    """Of these the ones where they are missing for now only: the next look may find them."""


class Observed(msgspec.Struct, frozen=True):
    """What a look at a cluster's workloads brought."""

    configurations: Sequence[ObservedConfiguration]
    names: frozenset[tuple[str, str]]
    """Namespace and name of each workload that was seen."""
    refused: int
    """How many configurations cannot be recorded."""


def observed(cluster_id: str, workloads: Iterable[WorkloadState], autoscalers: Autoscalers) -> Observed:
    """The configurations; where autoscalers are not known, nothing is said of scaling. Where that is so for now only,
    nothing is said of what runs either: replicas would be gone, and come again."""
    scaled: dict[tuple[str, str, str], list[Autoscaler]] = {}
    for autoscaler in autoscalers.found:
        target = autoscaler.spec.scale_target_ref
        scaled.setdefault((autoscaler.metadata.namespace, target.kind, target.name), []).append(autoscaler)
    found: dict[tuple[str, str, ConfigKind], ObservedConfiguration] = {}
    names = set()
    refused = 0
    for state in workloads:
        metadata = state.workload.metadata
        mine = scaled.get((metadata.namespace, state.kind, metadata.name), [])
        places = (metadata.namespace, None)
        scaling_known = autoscalers.unknown.isdisjoint(places)
        comes_again = not autoscalers.come_again.isdisjoint(places)
        for configuration in _of_workload(cluster_id, state, mine, scaling_known=scaling_known):
            if comes_again and configuration.kind is ConfigKind.RUNTIME:
                continue
            # A StatefulSet may have the name of a Deployment; the two would overwrite each other in each run.
            key = (configuration.namespace, configuration.workload, configuration.kind)
            if key in found:
                name = f"{state.kind.lower()}/{configuration.workload}"
                configuration = msgspec.structs.replace(configuration, workload=name)
                key = (configuration.namespace, name, configuration.kind)
            names.add(key[:2])
            try:
                _check(configuration)
            except InvalidInput:
                refused += 1
            else:
                found[key] = configuration
    return Observed(list(found.values()), frozenset(names), refused)


def _of_workload(
    cluster_id: str, state: WorkloadState, autoscalers: Sequence[Autoscaler], *, scaling_known: bool
) -> Iterable[ObservedConfiguration]:
    workload = state.workload
    replicas = workload.spec.replicas if scaling_known and not autoscalers else None
    runtime: Document = {"kind": state.kind, **({} if replicas is None else {"replicas": replicas})}
    documents = {
        ConfigKind.IMAGE: _by_container(workload, lambda container: container.image),
        ConfigKind.RESOURCE: _by_container(workload, lambda container: msgspec.to_builtins(container.resources)),
        ConfigKind.RUNTIME: {**runtime, **_by_container(workload, _runtime)},
    }
    actor, changed_at = _last_change(workload.metadata, with_scaling=replicas is not None)
    for kind, document in documents.items():
        yield _observed(cluster_id, workload.metadata, kind, document, actor, changed_at)
    if scaling_known:
        policy = {
            each.metadata.name: {
                "min_replicas": each.spec.min_replicas,
                "max_replicas": each.spec.max_replicas,
                "metrics": each.spec.metrics,
            }
            for each in sorted(autoscalers, key=lambda each: each.metadata.name)
        }
        changes = [_last_change(each.metadata, with_scaling=False) for each in autoscalers]
        actor, changed_at = max(changes, key=_when, default=(None, None))
        yield _observed(cluster_id, workload.metadata, ConfigKind.POLICY, {"autoscalers": policy}, actor, changed_at)


def _by_container(workload: Workload, value: "_ValueOf") -> Document:
    template = workload.spec.template.spec
    document: Document = {"containers": {each.name: value(each) for each in template.containers}}
    if template.init_containers:
        document["init_containers"] = {each.name: value(each) for each in template.init_containers}
    return document


def _runtime(container: Container) -> Mapping[str, Any]:
    found: dict[str, Any] = {}
    if container.command:
        found["command"] = masked_arguments(container.command)
    if container.args:
        found["args"] = masked_arguments(container.args)
    if container.env:
        found["env"] = {each.name: _value(each) for each in container.env}
    if container.env_from:
        found["env_from"] = [_origin(each) for each in container.env_from]
    return found


def _value(variable: EnvVar) -> Any:
    source = variable.value_from
    if source is None:
        return masked_value(variable.name, variable.value)
    for kind, reference in (("secret", source.secret_key_ref), ("config_map", source.config_map_key_ref)):
        if reference is not None:
            return {"from": f"{kind} {reference.name}", "key": reference.key}
    field = source.field_ref or source.resource_field_ref
    return {"from": "field", "key": field.field_path or field.resource} if field is not None else {"from": "elsewhere"}


def _origin(origin: EnvFrom) -> str:
    kind, reference = ("secret", origin.secret_ref) if origin.secret_ref else ("config_map", origin.config_map_ref)
    name = reference.name if reference is not None else ""
    return f"{kind} {name}{f' as {origin.prefix}*' if origin.prefix else ''}"


def _last_change(metadata: Metadata, *, with_scaling: bool) -> tuple[str | None, datetime | None]:
    """Who changed the object's spec last, and when, as far as its managed fields tell."""
    subresources = ("", "scale") if with_scaling else ("",)
    changes = [
        (each.manager or None, each.time)
        for each in metadata.managed_fields
        if each.subresource in subresources and "f:spec" in each.fields
    ]
    return max(changes, key=_when, default=(None, None))


def _when(change: tuple[str | None, datetime | None]) -> float:
    return change[1].timestamp() if change[1] is not None and change[1].tzinfo is not None else 0.0


def _observed(
    cluster_id: str,
    metadata: Metadata,
    kind: ConfigKind,
    document: Document,
    actor: str | None,
    changed_at: datetime | None,
) -> ObservedConfiguration:
    return ObservedConfiguration(
        cluster_id=cluster_id,
        namespace=metadata.namespace,
        workload=metadata.name,
        kind=kind,
        document=document,
        actor=None if actor is None else actor[:TEXT_CHARS_MAX],
        changed_at=changed_at,
    )


def _check(configuration: ObservedConfiguration) -> None:
    check_cluster_id("namespace", configuration.namespace)
    check_cluster_id("workload", configuration.workload)
    if configuration.document is not None:
        check_document("document", configuration.document)
    if configuration.actor is not None:
        check_actor("actor", configuration.actor)


class _ValueOf(Protocol):
    def __call__(self, container: TemplateContainer, /) -> Any: ...
