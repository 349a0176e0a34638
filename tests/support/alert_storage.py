"""The driven ports of alerts and notifications over a store."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from adapters.driven.memory.alerts import MemoryAlertStore
from adapters.driven.memory.channels import MemoryChannelStore
from adapters.driven.memory.notification_outbox import MemoryNotificationOutbox
from adapters.driven.memory.notifications import MemoryNotificationStore
from adapters.driven.memory.rules import MemoryRuleStore
from adapters.driven.memory.silences import MemorySilenceStore
from adapters.driven.postgres.alerts import PostgresAlertStore
from adapters.driven.postgres.channels import PostgresChannelStore
from adapters.driven.postgres.database import open_database
from adapters.driven.postgres.notification_outbox import PostgresNotificationOutbox
from adapters.driven.postgres.notifications import PostgresNotificationStore
from adapters.driven.postgres.rules import PostgresRuleStore
from adapters.driven.postgres.silences import PostgresSilenceStore
from ports.driven.alerting_store import AlertStore, ChannelStore, RuleStore, SilenceStore
from ports.driven.notification_store import NotificationOutbox, NotificationStore
from tests.support.storages import Store

POOL_SIZE = 6
CONNECT_TIMEOUT_S = 10


@dataclass(frozen=True)
class AlertStorage:
    """One adapter for each port."""

    rules: RuleStore
    silences: SilenceStore
    channels: ChannelStore
    alerts: AlertStore
    notifications: NotificationStore
    outbox: NotificationOutbox


@asynccontextmanager
async def open_alert_storage(store: Store) -> AsyncIterator[AlertStorage]:
    """New adapters over `store`, as a new process has them."""
    if not isinstance(store.place, str):
        tables = store.place
        yield AlertStorage(
            rules=MemoryRuleStore(tables),
            silences=MemorySilenceStore(tables),
            channels=MemoryChannelStore(tables),
            alerts=MemoryAlertStore(tables),
            notifications=MemoryNotificationStore(tables),
            outbox=MemoryNotificationOutbox(tables),
        )
        return
    async with open_database(
        store.place, pool_size=POOL_SIZE, connect_timeout_s=CONNECT_TIMEOUT_S, application_name="test"
    ) as database:
        yield AlertStorage(
            rules=PostgresRuleStore(database),
            silences=PostgresSilenceStore(database),
            channels=PostgresChannelStore(database),
            alerts=PostgresAlertStore(database),
            notifications=PostgresNotificationStore(database),
            outbox=PostgresNotificationOutbox(database),
        )
