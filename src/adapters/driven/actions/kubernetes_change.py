"""What each Kubernetes action would change, worked out from the object as it is."""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

import msgspec

from adapters.driven.actions.container_change import container_patch, field_changes, find_container, unexpected
from adapters.driven.actions.kubernetes_api import MERGE_PATCH, STRATEGIC_PATCH, KubernetesApi, NotThere, Resource
from adapters.driven.actions.kubernetes_objects import Deployment, Hpa, Metadata, Pod, Scale
from adapters.driven.actions.running import refusing
from core.domain.action_text import plain_text
from core.domain.actions import (
    Action,
    DeletePodAction,
    PatchHpaAction,
    RestartAction,
    ScaleAction,
    SetContainerAction,
)
from core.domain.alerts import Alert
from core.domain.kubernetes_names import check_label, check_object_name
from core.domain.times import SECOND_US, format_time
from ports.driven.action_runner import ActionError

RESTARTED_ANNOTATION: Final = "kubectl.kubernetes.io/restartedAt"


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One request, or none."""

    resource: Resource
    summary: str
    details: dict[str, str]
    patch: dict[str, Any] | None = None
    patch_type: str = MERGE_PATCH
    delete_uid: str | None = None
    repeated: bool = False
    """It was made already, under the same key."""
    rolls_out: bool = False
    """It is of a Deployment's template."""

    @property
    def needed(self) -> bool:
        """Whether there is anything to change."""
        return self.patch is not None or self.delete_uid is not None

    @property
    def request(self) -> dict[str, str]:
        """The request, to be shown."""
        if self.patch is not None:
            return {"request": f"PATCH {self.resource.path}", "body": msgspec.json.encode(self.patch).decode()}
        return {"request": f"DELETE {self.resource.path}"} if self.delete_uid is not None else {}

    async def send(self, api: KubernetesApi, *, dry_run: bool) -> None:
        """Makes it, or has the API server try it. Raises `ActionError`."""
        if self.patch is not None:
            await api.patch(self.resource, self.patch, dry_run=dry_run, patch_type=self.patch_type)
        if self.delete_uid is not None:
            try:
                await api.delete(self.resource, uid=self.delete_uid, dry_run=dry_run)
            except NotThere:
                return  # it went by itself since it was read


def target_of(action: Action, values: Mapping[str, object]) -> str:
    """The object that is changed. Raises `ActionError`."""
    resource = _resource(action, values)
    kind = {"pods": "pod/", "horizontalpodautoscalers": "hpa/"}.get(resource.plural, "")
    return f"kubernetes:{resource.namespace}/{kind}{resource.name}"


async def change_of(
    api: KubernetesApi, action: Action, alert: Alert, values: Mapping[str, object], *, key: str, now_us: int
) -> Change:
    """Reads the object and works out the change. Raises `ActionError`."""
    resource = _resource(action, values)
    mark = quote(key)  # no white space, which stands between keys
    match action:
        case ScaleAction():
            found = await (api.get(resource, Scale) if action.delta is None else api.get(resource, Deployment))
            return _scale(resource, action, found, mark)
        case RestartAction():
            return _restart(resource, await api.get(resource, Deployment), mark, now_us)
        case DeletePodAction():
            return await _delete_pod(api, resource, alert)
        case PatchHpaAction():
            return _patch_hpa(resource, action, await api.get(resource, Hpa))
        case SetContainerAction():
            return _set_container(resource, action, await api.get(resource, Deployment), values, mark)
        case _:
            raise AssertionError(action)


def _resource(action: Action, values: Mapping[str, object]) -> Resource:
    match action:
        case ScaleAction(replicas=replicas):
            # Setting needs no key on the Deployment, so the right to scale is enough for it.
            return _named(action, values, "deployment", subresource="" if replicas is None else "scale")
        case RestartAction() | SetContainerAction():
            return _named(action, values, "deployment")
        case DeletePodAction():
            return _named(action, values, "pod", group="", version="v1", plural="pods")
        case PatchHpaAction():
            return _named(action, values, "name", group="autoscaling", version="v2", plural="horizontalpodautoscalers")
        case _:
            raise AssertionError(action)


def _named(
    action: ScaleAction | RestartAction | DeletePodAction | PatchHpaAction | SetContainerAction,
    values: Mapping[str, object],
    name_field: str,
    *,
    group: str = "apps",
    version: str = "v1",
    plural: str = "deployments",
    subresource: str = "",
) -> Resource:
    with refusing():
        namespace = plain_text("namespace", action.namespace, values)
        name = plain_text(name_field, getattr(action, name_field), values)
        check_label("namespace", namespace)
        check_object_name(name_field, name)
    return Resource(
        group=group, version=version, plural=plural, namespace=namespace, name=name, subresource=subresource
    )


def _scale(resource: Resource, action: ScaleAction, found: Deployment | Scale, mark: str) -> Change:
    before = found.spec.replicas
    what = f"replicas of {resource}"
    if mark in found.metadata.keys:
        return _made_before(resource, f"{what} stand at {before}; an earlier attempt had changed them")
    if action.replicas is not None:
        after = action.replicas
    else:
        assert action.delta is not None
        bounded = max(action.replicas_min, min(before + action.delta, action.replicas_max))
        # Where the number is out of bounds already, a bound must not turn an increase into a decrease.
        after = max(before, bounded) if action.delta > 0 else min(before, bounded)
    if after == before:
        return Change(resource=resource, summary=f"{what} are {before} already", details=_steps(before, before))
    if action.expected not in (None, before):
        raise unexpected(f"the number of {what}", before, action.expected)
    marks = {} if resource.subresource else {"annotations": found.metadata.with_key(mark)}
    return Change(
        resource=resource,
        summary=f"{what}: {before} → {after}",
        details=_steps(before, after),
        patch=_patch(found.metadata, {"spec": {"replicas": after}}, marks),
    )


def _restart(resource: Resource, found: Deployment, mark: str, now_us: int) -> Change:
    if mark in found.metadata.keys:
        return _made_before(resource, f"{resource} was restarted by an earlier attempt", rolls_out=True)
    if found.spec.paused:
        raise ActionError(f"{resource} is paused, so it cannot be restarted; resume it first", retryable=False)
    now = format_time(now_us - now_us % SECOND_US)
    template = {"metadata": {"annotations": {RESTARTED_ANNOTATION: now}}}
    return Change(
        resource=resource,
        summary=f"a rollout restart of {resource}",
        details={"template annotation": f"{RESTARTED_ANNOTATION}: {now}"},
        patch=_patch(found.metadata, {"spec": {"template": template}}, {"annotations": found.metadata.with_key(mark)}),
        rolls_out=True,
    )


async def _delete_pod(api: KubernetesApi, resource: Resource, alert: Alert) -> Change:
    try:
        found = (await api.get(resource, Pod)).metadata
    except NotThere:
        return Change(resource=resource, summary=f"{resource} is gone already", details={})
    details = {"uid": found.uid}
    if found.deletion_timestamp is not None:
        return Change(resource=resource, summary=f"{resource} is being deleted already", details=details)
    fired_at = alert.fired_at
    if fired_at is not None and found.creation_timestamp is not None and found.creation_timestamp > fired_at:
        # A StatefulSet's new pod has the old one's name; a repeat must not delete it as well.
        summary = f"{resource} was created after the alert fired, so the pod that it was about is gone already"
        return Change(resource=resource, summary=summary, details=details)
    return Change(resource=resource, summary=f"deletion of {resource}", details=details, delete_uid=found.uid)


def _patch_hpa(resource: Resource, action: PatchHpaAction, found: Hpa) -> Change:
    low, high = found.spec.min_replicas, found.spec.max_replicas
    new_low = low if action.replicas_min is None else action.replicas_min
    new_high = high if action.replicas_max is None else action.replicas_max
    if new_low > new_high:
        raise ActionError(
            f"{resource} would scale from {new_low} to at most {new_high} replicas; give both bounds", retryable=False
        )
    before, after = f"{low} to {high}", f"{new_low} to {new_high}"
    if before == after:
        return Change(resource=resource, summary=f"bounds of {resource} are {before} already", details={})
    for field, now, wanted in (("replicas_min", low, new_low), ("replicas_max", high, new_high)):
        expected = getattr(action.expected, field, None)
        if now != wanted and expected not in (None, now):
            raise unexpected(f"{field} of {resource}", now, expected)
    spec = {"minReplicas": new_low, "maxReplicas": new_high}
    return Change(
        resource=resource,
        summary=f"bounds of {resource}: {before} → {after}",
        details=_steps(before, after),
        patch=_patch(found.metadata, {"spec": spec}, {}),
    )


def _set_container(
    resource: Resource, action: SetContainerAction, found: Deployment, values: Mapping[str, object], mark: str
) -> Change:
    with refusing():
        name = None if action.container is None else plain_text("container", action.container, values)
    container = find_container(resource, name, found.spec.template.spec.containers)
    what = f"container {container.name} of {resource}"
    if mark in found.metadata.keys:
        return _made_before(resource, f"{what} was set by an earlier attempt", rolls_out=True)
    changes = field_changes(container, action, what)
    if not changes:
        return Change(resource=resource, summary=f"{what} is as wanted already", details={})
    if found.spec.paused:
        raise ActionError(f"{resource} is paused, so it would not be rolled out; resume it first", retryable=False)
    details = {field.replace("_", " "): f"{before or 'none'} → {after}" for field, before, after in changes}
    spec = {"template": {"spec": {"containers": [container_patch(container.name, changes)]}}}
    return Change(
        resource=resource,
        summary=f"{what}: {', '.join(f'{field} {step}' for field, step in details.items())}",
        details=details,
        patch=_patch(found.metadata, {"spec": spec}, {"annotations": found.metadata.with_key(mark)}),
        patch_type=STRATEGIC_PATCH,
        rolls_out=True,
    )


def _made_before(resource: Resource, summary: str, *, rolls_out: bool = False) -> Change:
    return Change(resource=resource, summary=summary, details={}, repeated=True, rolls_out=rolls_out)


def _patch(found: Metadata, body: dict[str, Any], metadata: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {"resourceVersion": found.resource_version, **metadata}, **body}


def _steps(before: object, after: object) -> dict[str, str]:
    return {"before": str(before), "after": str(after)}
