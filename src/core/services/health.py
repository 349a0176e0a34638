"""Whether requests can be answered, and remediation can begin."""

from core.domain.errors import Unavailable
from ports.driven.probe import Probe
from ports.driven.remediation_store import RemediationStore
from ports.driven.workflow_engine import WorkflowEngine
from ports.driving.health import Check, Readiness, RemediationHealth


class HealthService:
    """Implements `ports.driving.health.Health`."""

    def __init__(
        self, probe: Probe, remediations: RemediationStore, engine: WorkflowEngine, *, schema_version: str
    ) -> None:
        self._probe = probe
        self._remediations = remediations
        self._engine = engine
        self._schema_version = schema_version

    async def readiness(self) -> Readiness:
        """See `Health.readiness`."""
        try:
            version = await self._probe.schema_version()
        except Unavailable as error:
            unknown = "unknown while the database is away"
            return Readiness(False, (Check("database", False, str(error)), Check("migrations", False, unknown)))
        current = version == self._schema_version
        detail = f"schema {version}" if current else f"schema {version}, and this program needs {self._schema_version}"
        checks = (Check("database", True, "answers"), Check("migrations", current, detail))
        return Readiness(current, checks, await self._remediation() if current else None)

    async def _remediation(self) -> RemediationHealth | None:
        """What anybody may know: no address, no error's own words."""
        status = await self._engine.status()
        try:
            waiting = await self._remediations.waiting(None)
        except Unavailable:
            return None
        if status.available:
            return RemediationHealth(True, waiting, "Temporal answers")
        detail = "Temporal does not answer" if status.address is not None else "no Temporal is set up"
        return RemediationHealth(False, waiting, detail)
