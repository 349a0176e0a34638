"""Changing a Kubernetes cluster: scaling and restarting Deployments, deleting pods, moving a HorizontalPodAutoscaler.

Each action reads the object and works out a change, which is sent on the condition that the object is still the one
that was read: a patch holds its resourceVersion, a deletion its uid. So a change that somebody makes in between is a
conflict and the action is repeated on what is there then. What would happen twice if it was repeated, a delta or a
restart, leaves its key on the object in the same request; whoever repeats it finds the key and changes nothing.

What rolls a Deployment out is done once the rollout is: until then nobody knows whether the new pods start at all.

A preview sends the same request with ``dryRun=All``: the API server checks it, and our rights, and changes nothing.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from typing import Final

from adapters.driven.actions.kubernetes_api import Connect, KubernetesApi
from adapters.driven.actions.kubernetes_change import Change, change_of, target_of
from adapters.driven.actions.rollout import rolled_out
from adapters.driven.actions.running import beating, limited
from adapters.driven.actions.shown import target_name
from core.domain.action_text import alert_values, target_values
from core.domain.actions import Action
from core.domain.alerts import Alert
from ports.driven.action_runner import ActionOutcome
from ports.driven.clock import Clock

PREVIEW_S: Final = 15.0
"""Two requests; a cluster that needs longer would not carry out the action either."""
PREVIEW_KEY: Final = "dry-run"


class KubernetesRunner:
    """Runs all Kubernetes actions. Each opens a connection of its own, so that rotated credentials are read anew."""

    def __init__(self, connect: Connect, clock: Clock) -> None:
        self._connect = connect
        self._clock = clock

    def target(self, action: Action, alert: Alert) -> str:
        """The object: ``kubernetes:shop/checkout`` for a Deployment, ``kubernetes:shop/pod/checkout-1`` and so on."""
        return target_name(target_of(action, target_values(alert)))

    async def preview(self, action: Action, alert: Alert, secrets: Mapping[str, str]) -> ActionOutcome:  # noqa: ARG002 (the operator's credentials are used)
        """What would change, from what to what; the API server has agreed to it."""
        async with limited(PREVIEW_S), self._connect() as api:
            change = await self._change(api, action, alert, PREVIEW_KEY)
            await change.send(api, dry_run=True)
        verb = "would change" if change.needed else "would change nothing"
        return ActionOutcome(
            summary=f"{verb}: {change.summary}", changed=False, details={**change.details, **change.request}
        )

    async def run(
        self,
        action: Action,
        alert: Alert,
        secrets: Mapping[str, str],  # noqa: ARG002 (the operator's credentials are used)
        *,
        key: str,
        timeout_s: float,
        heartbeat: Callable[[], None],
    ) -> ActionOutcome:
        """Makes the change, if it was not made under this key before, and sees it rolled out."""
        ends_at = asyncio.get_running_loop().time() + timeout_s
        async with beating(heartbeat), AsyncExitStack() as opened:
            async with limited(timeout_s):
                api = await opened.enter_async_context(self._connect())
                change = await self._change(api, action, alert, key)
                await change.send(api, dry_run=False)
            if change.rolls_out and (change.needed or change.repeated):
                await rolled_out(api, change.resource, ends_at=ends_at, timeout_s=timeout_s)
        return ActionOutcome(summary=change.summary, changed=change.needed or change.repeated, details=change.details)

    async def _change(self, api: KubernetesApi, action: Action, alert: Alert, key: str) -> Change:
        return await change_of(api, action, alert, alert_values(alert), key=key, now_us=self._clock.now_us())
