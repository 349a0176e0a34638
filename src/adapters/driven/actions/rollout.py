"""Waiting until a Deployment runs what it says: a template that is changed is no pod that is replaced.

Told as ``kubectl rollout status`` tells it, by the Deployment's status
(https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#deployment-status).
"""

import asyncio
from typing import Final

from adapters.driven.actions.kubernetes_api import KubernetesApi, Resource
from adapters.driven.actions.kubernetes_objects import Deployment
from adapters.driven.actions.shown import shown
from ports.driven.action_runner import ActionError

POLL_S_FIRST: Final = 0.1
POLL_S_MAX: Final = 5.0
"""Between two looks, doubling: a rollout takes seconds at least and often minutes."""
MESSAGE_CHARS_MAX: Final = 300


async def rolled_out(api: KubernetesApi, resource: Resource, *, ends_at: float, timeout_s: float) -> None:
    """Returns once all replicas are of the Deployment's template, available, and the only ones.

    `ends_at` is on the event loop's clock. Raises `ActionError` that repeating does not mend where that does not come
    in time, or the Deployment itself has given up.
    """
    pause_s, missing = POLL_S_FIRST, "its status was not read"
    try:
        async with asyncio.timeout_at(ends_at):
            while True:
                try:
                    found = await api.get(resource, Deployment)
                except ActionError as error:
                    if not error.retryable:
                        raise
                    missing = error.reason
                else:
                    missing = _missing(resource, found)
                    if not missing:
                        return
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, POLL_S_MAX)
    except TimeoutError:
        raise ActionError(f"{resource} was not rolled out within {timeout_s:g} s: {missing}", retryable=False) from None


def _missing(resource: Resource, found: Deployment) -> str:
    """What is still to come, in words; empty where nothing is. Raises `ActionError` where nothing will."""
    status, wanted = found.status, found.spec.replicas
    if status.observed_generation < found.metadata.generation:
        return "Kubernetes has not looked at the change yet"
    for condition in status.conditions:
        if condition.type == "Progressing" and condition.reason == "ProgressDeadlineExceeded":
            said = shown(condition.message, chars_max=MESSAGE_CHARS_MAX)
            raise ActionError(f"{resource} was not rolled out: {said or condition.reason}", retryable=False)
    old = status.replicas - status.updated_replicas
    if status.updated_replicas == status.available_replicas == wanted and old <= 0:
        return ""
    left = f", and {old} old ones are left" if old > 0 else ""
    return f"of {wanted} replicas {status.updated_replicas} are new and {status.available_replicas} available{left}"
