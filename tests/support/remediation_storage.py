"""The driven ports of remediation and the audit trail over a store."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from ports.driven.audit_log import AuditLog
from ports.driven.remediation_store import ActionLimits, PolicyStore, RemediationOutbox, RemediationStore
from ports.driven.server_secrets import ServerSecrets
from tests.support.storages import Store


@dataclass(frozen=True)
class RemediationStorage:
    """One adapter for each port."""

    policies: PolicyStore
    remediations: RemediationStore
    outbox: RemediationOutbox
    limits: ActionLimits
    audit_log: AuditLog
    server_secrets: ServerSecrets


@asynccontextmanager
async def open_remediation_storage(store: Store) -> AsyncIterator[RemediationStorage]:
    """The part of `store`, opened once more as a new process does, that is about remediation."""
    async with store.open() as storage:
        yield RemediationStorage(
            policies=storage.policies,
            remediations=storage.remediations,
            outbox=storage.remediation_outbox,
            limits=storage.action_limits,
            audit_log=storage.audit_log,
            server_secrets=storage.server_secrets,
        )
