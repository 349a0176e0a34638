"""Waiting until a Deployment runs what it says: a template that is changed is no pod that is replaced.

Told as ``kubectl rollout status`` tells it, by the Deployment's status
(https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#deployment-status).
"""

import asyncio
import math
from typing import Final

from adapters.driven.actions.kubernetes_api import KubernetesApi, Resource
from adapters.driven.actions.kubernetes_objects import Deployment
from adapters.driven.actions.shown import shown
from ports.driven.action_runner import ActionError

POLL_S_FIRST: Final = 0.1
POLL_S_MAX: Final = 5.0
"""Between two looks, doubling: a rollout takes seconds at least and often minutes."""
GIVEN_UP_S: Final = 10.0
"""A Deployment that gave up is believed so long after its change was first seen observed: what its controller says
first is still of the change before."""
MESSAGE_CHARS_MAX: Final = 300


async def rolled_out(api: KubernetesApi, resource: Resource, *, ends_at: float, timeout_s: float) -> None:
    """Returns once all replicas are of the Deployment's template, available, and the only ones.

    `ends_at` is on the event loop's clock. Raises `ActionError` that repeating does not mend where that does not come
    in time, or the Deployment itself has given up.
    """
    clock = asyncio.get_running_loop()
    pause_s, missing, observed_at = POLL_S_FIRST, "its status was not read", math.inf
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
                    missing = _missing(found)
                    if not missing:
                        return
                    observed_at = min(observed_at, clock.time()) if _is_observed(found) else math.inf
                    if (gave_up := _gave_up(found)) and clock.time() - observed_at >= GIVEN_UP_S:
                        raise ActionError(f"{resource} was not rolled out: {gave_up}", retryable=False)
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, POLL_S_MAX)
    except TimeoutError:
        raise ActionError(f"{resource} was not rolled out within {timeout_s:g} s: {missing}", retryable=False) from None


def _is_observed(found: Deployment) -> bool:
    """Whether its controller has looked at the last change."""
    return found.status.observed_generation >= found.metadata.generation


def _missing(found: Deployment) -> str:
    """What is still to come, in words; empty where nothing is."""
    status, wanted = found.status, found.spec.replicas
    if not _is_observed(found):
        return "Kubernetes has not looked at the change yet"
    old = status.replicas - status.updated_replicas
    if status.updated_replicas == status.available_replicas == wanted and old <= 0:
        return ""
    left = f", and {old} old ones are left" if old > 0 else ""
    return f"of {wanted} replicas {status.updated_replicas} are new and {status.available_replicas} available{left}"


def _gave_up(found: Deployment) -> str:
    """Why it says that nothing more is to come, in its words; empty where it does not."""
    for condition in found.status.conditions:
        if condition.type == "Progressing" and condition.reason == "ProgressDeadlineExceeded":
            return shown(condition.message, chars_max=MESSAGE_CHARS_MAX) or condition.reason
    return ""
