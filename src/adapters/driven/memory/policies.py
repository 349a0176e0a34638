"""Remediation policies in memory."""

from collections.abc import Mapping, Sequence

import msgspec

from adapters.driven.memory.database import MemoryDatabase
from adapters.driven.memory.remediation_tables import PolicyRow
from core.domain.errors import Conflict, NotFound
from core.domain.remediation import RemediationPolicy, StoredPolicy


class MemoryPolicyStore:
    """Implements `PolicyStore`."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database

    async def list(self, tenant_id: int) -> Sequence[StoredPolicy]:
        """All of the tenant's, by name."""
        stored = (row.policy for row in self._database.policies.values() if row.tenant_id == tenant_id)
        return sorted(stored, key=lambda each: each.policy.name)

    async def get(self, tenant_id: int, policy_id: int) -> StoredPolicy:
        """One of them, or `NotFound`."""
        return self._row(tenant_id, policy_id).policy

    async def create(self, tenant_id: int, policy: RemediationPolicy, secrets: Mapping[str, str]) -> StoredPolicy:
        """Adds one, or raises `Conflict`."""
        self._refuse_taken(tenant_id, policy.name, but=None)
        now = self._database.now()
        stored = StoredPolicy(
            id=self._database.next_id("policies"),
            policy=policy,
            secret_names=tuple(sorted(secrets)),
            revision=1,
            created_at=now,
            updated_at=now,
        )
        self._database.policies[stored.id] = PolicyRow(tenant_id=tenant_id, policy=stored, secrets=dict(secrets))
        return stored

    async def replace(
        self, tenant_id: int, policy_id: int, policy: RemediationPolicy, secrets: Mapping[str, str] | None
    ) -> StoredPolicy:
        """Replaces one, and its secrets where some are given."""
        row = self._row(tenant_id, policy_id)
        self._refuse_taken(tenant_id, policy.name, but=policy_id)
        if secrets is not None:
            row.secrets = dict(secrets)
        row.policy = msgspec.structs.replace(
            row.policy,
            policy=policy,
            secret_names=tuple(sorted(row.secrets)),
            revision=row.policy.revision + 1,
            updated_at=self._database.now(),
        )
        return row.policy

    async def delete(self, tenant_id: int, policy_id: int) -> None:
        """Removes one, or raises `NotFound`."""
        self._row(tenant_id, policy_id)
        del self._database.policies[policy_id]

    async def secrets(self, tenant_id: int, policy_id: int) -> Mapping[str, str]:
        """Its secrets; none where it is gone."""
        row = self._database.policies.get(policy_id)
        return dict(row.secrets) if row is not None and row.tenant_id == tenant_id else {}

    def _row(self, tenant_id: int, policy_id: int) -> PolicyRow:
        row = self._database.policies.get(policy_id)
        if row is None or row.tenant_id != tenant_id:
            raise NotFound("remediation policy", str(policy_id))
        return row

    def _refuse_taken(self, tenant_id: int, name: str, *, but: int | None) -> None:
        for policy_id, row in self._database.policies.items():
            if policy_id != but and row.tenant_id == tenant_id and row.policy.policy.name == name:
                raise Conflict(f"a remediation policy named {name!r} exists already")
