"""Doing nothing for a while."""

# A wait needs nothing but its duration, but all runners are called alike.
# ruff: noqa: ARG002

import asyncio
from collections.abc import Callable, Mapping

from adapters.driven.actions.running import beating, refusing
from adapters.driven.actions.shown import target_name
from core.domain.actions import Action, WaitAction
from core.domain.alerts import Alert
from core.domain.times import SECOND_US, parse_duration
from ports.driven.action_runner import ActionError, ActionOutcome


class WaitRunner:
    """Runs `WaitAction`s. A repeat waits anew."""

    def target(self, action: Action, alert: Alert) -> str:
        """The alert itself, or the recommendation: nothing outside is changed."""
        assert isinstance(action, WaitAction)
        return f"alert:{alert.id}" if alert.id else target_name(alert.rule)

    async def preview(self, action: Action, alert: Alert, secrets: Mapping[str, str]) -> ActionOutcome:
        """How long it would wait."""
        assert isinstance(action, WaitAction)
        return ActionOutcome(summary=f"would wait {action.duration}", changed=False)

    async def run(
        self,
        action: Action,
        alert: Alert,
        secrets: Mapping[str, str],
        *,
        key: str,
        timeout_s: float,
        heartbeat: Callable[[], None],
    ) -> ActionOutcome:
        """Waits; one that cannot end within the time-out is refused at once."""
        assert isinstance(action, WaitAction)
        with refusing():
            duration_s = parse_duration(action.duration, "duration") / SECOND_US
        if duration_s > timeout_s:
            raise ActionError(f"waiting {action.duration} takes longer than the step's time-out", retryable=False)
        async with beating(heartbeat):
            await asyncio.sleep(duration_s)
        return ActionOutcome(summary=f"waited {action.duration}", changed=False)
