"""All in-memory adapters over one database."""

import msgspec

from adapters.driven.memory.database import MemoryDatabase
from adapters.driven.memory.definition_store import MemoryDefinitionStore
from adapters.driven.memory.journal import MemoryJournal, MemoryJournalConsumers
from adapters.driven.memory.keeping import MemoryKeeping
from adapters.driven.memory.probe import MemoryProbe
from adapters.driven.memory.sample_reader import MemorySampleReader
from adapters.driven.memory.series_catalog import MemorySeriesCatalog
from adapters.driven.memory.tenant_store import MemoryKeyStore, MemoryTenantStore
from ports.driven.clock import Clock


class MemoryStorage(msgspec.Struct, frozen=True, eq=False):
    """One adapter for each driven storage port."""

    journal: MemoryJournal
    consumers: MemoryJournalConsumers
    catalog: MemorySeriesCatalog
    reader: MemorySampleReader
    definitions: MemoryDefinitionStore
    tenants: MemoryTenantStore
    keys: MemoryKeyStore
    keeping: MemoryKeeping
    probe: MemoryProbe
    clock: Clock


def memory_storage(database: MemoryDatabase) -> MemoryStorage:
    """New adapters over `database`, with a journal stream of their own, as a new process has them."""
    return MemoryStorage(
        journal=MemoryJournal(database),
        consumers=MemoryJournalConsumers(database),
        catalog=MemorySeriesCatalog(database),
        reader=MemorySampleReader(database),
        definitions=MemoryDefinitionStore(database),
        tenants=MemoryTenantStore(database),
        keys=MemoryKeyStore(database),
        keeping=MemoryKeeping(database),
        probe=MemoryProbe(),
        clock=database.clock,
    )
