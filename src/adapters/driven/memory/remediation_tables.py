"""Rows of the in-memory tables about remediation, where a domain value alone does not say everything."""

from datetime import datetime

import msgspec

from core.domain.remediation import Remediation, RemediationOrder, StoredPolicy


class PolicyRow(msgspec.Struct, eq=False, kw_only=True):
    """One policy with its secrets."""

    tenant_id: int
    policy: StoredPolicy
    secrets: dict[str, str]


class RemediationRow(msgspec.Struct, eq=False, kw_only=True):
    """One remediation; while it waits, an outbox row."""

    remediation: Remediation
    order: RemediationOrder
    next_attempt_at: datetime


class ActionRow(msgspec.Struct, eq=False, kw_only=True):
    """One action that was granted."""

    tenant_id: int
    key: str
    remediation_id: int
    policy: str
    target: str
    rollback: bool
    reserved_at: datetime
