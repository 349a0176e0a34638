"""Whether requests can be answered."""

from core.domain.errors import Unavailable
from ports.driven.probe import Probe
from ports.driving.health import Check, Readiness


class HealthService:
    """Implements `ports.driving.health.Health`."""

    def __init__(self, probe: Probe, *, schema_version: str) -> None:
        self._probe = probe
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
        return Readiness(current, (Check("database", True, "answers"), Check("migrations", current, detail)))
