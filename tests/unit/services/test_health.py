"""What readiness says, over the in-memory stores."""

import msgspec

from adapters.driven.memory.clock import FakeClock
from adapters.driven.memory.remediation_tables import RemediationRow
from adapters.driven.memory.remediations import MemoryRemediationStore
from core.domain.errors import Unavailable
from core.services.health import HealthService
from ports.driven.workflow_engine import EngineStatus
from ports.driving.health import RemediationHealth
from tests.support.callers import ScriptedEngine, database
from tests.support.orders import FIRED, order, waiting


class ScriptedProbe:
    """A database of one schema version, or none that answers."""

    version = "0005"

    async def schema_version(self) -> str:
        if self.version == "away":
            raise Unavailable("the database is away")
        return self.version


def made() -> tuple[HealthService, ScriptedProbe, ScriptedEngine]:
    """The service; two remediations wait, of two tenants."""
    tables = database(FakeClock())
    for number, tenant_id in ((1, 2), (2, 3)):
        one = msgspec.structs.replace(order(number), tenant_id=tenant_id)
        tables.remediations[number] = RemediationRow(remediation=waiting(one), order=one, next_attempt_at=FIRED)
    probe, engine = ScriptedProbe(), ScriptedEngine()
    return HealthService(probe, MemoryRemediationStore(tables), engine, schema_version="0005"), probe, engine


async def test_remediation_is_told_and_changes_nothing() -> None:
    """Without addresses and without the engine's own words, which anybody could read here."""
    service, _, engine = made()
    ready = await service.readiness()
    assert (ready.ready, ready.remediation) == (True, RemediationHealth(True, 2, "Temporal answers"))
    engine.now = EngineStatus(available=False, address="10.0.0.5:7233", reason="10.0.0.5 refused the connection")
    away = await service.readiness()
    assert (away.ready, away.remediation) == (True, RemediationHealth(False, 2, "Temporal does not answer"))
    engine.now = EngineStatus(available=False, address=None)
    none = await service.readiness()
    assert (none.ready, none.remediation) == (True, RemediationHealth(False, 2, "no Temporal is set up"))


async def test_nothing_is_known_while_the_database_is_away() -> None:
    """Nor where its schema is another one."""
    service, probe, _ = made()
    for version in ("away", "0004", ""):
        probe.version = version
        answer = await service.readiness()
        assert (answer.ready, answer.remediation) == (False, None)
