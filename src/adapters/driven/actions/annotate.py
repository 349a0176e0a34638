"""A sentence for the alert's timeline: it is the outcome's summary, which the audit trail keeps."""

# A note needs nothing but its text, but all runners are called alike.
# ruff: noqa: ARG002

from collections.abc import Callable, Mapping
from typing import Final

from adapters.driven.actions.shown import shown, target_name
from core.domain.action_text import alert_values
from core.domain.actions import Action, AnnotateAction
from core.domain.alerts import Alert
from core.domain.annotations import render
from ports.driven.action_runner import ActionOutcome

TEXT_CHARS_MAX: Final = 2_000
"""A note, not a document."""


class AnnotateRunner:
    """Runs `AnnotateAction`s."""

    def target(self, action: Action, alert: Alert) -> str:
        """The alert itself, or the recommendation: nothing outside is changed."""
        assert isinstance(action, AnnotateAction)
        return f"alert:{alert.id}" if alert.id else target_name(alert.rule)

    async def preview(self, action: Action, alert: Alert, secrets: Mapping[str, str]) -> ActionOutcome:
        """The text as it would be written."""
        return ActionOutcome(summary=f"would note: {_text(action, alert)}", changed=False)

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
        """The text. What cannot be filled in stands in it: a note is no reason to stop a repair."""
        return ActionOutcome(summary=_text(action, alert), changed=False)


def _text(action: Action, alert: Alert) -> str:
    assert isinstance(action, AnnotateAction)
    return shown(render(action.text, alert_values(alert)), chars_max=TEXT_CHARS_MAX)
