"""Remediation policies: what may be done about alerts."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from core.domain.actions import HttpAction
from core.domain.errors import Conflict, InvalidInput
from core.domain.remediation import RemediationPolicy, StoredPolicy, check_secrets
from core.domain.tenants import Principal, Scope
from core.services.recording import READ_REMEDIATION, Recorder
from ports.driven.alerting_store import ChannelStore, RuleStore
from ports.driven.audit_log import AuditLog
from ports.driven.clock import Clock
from ports.driven.notifier import AddressGuard
from ports.driven.remediation_store import PolicyStore

_TEMPLATE: Final = re.compile(r"\{[{%#]")
_WITH_HOST: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#\\]+[/?#]", re.ASCII)


class PolicyService:
    """Implements `ports.driving.remediating.Policies`."""

    def __init__(
        self,
        policies: PolicyStore,
        rules: RuleStore,
        channels: ChannelStore,
        guard: AddressGuard,
        audit: AuditLog,
        clock: Clock,
    ) -> None:
        self._policies = policies
        self._rules = rules
        self._channels = channels
        self._guard = guard
        self._recorder = Recorder(audit, clock)

    async def list(self, principal: Principal) -> Sequence[StoredPolicy]:
        """See `Policies.list`."""
        principal.require_any(*READ_REMEDIATION)
        return await self._policies.list(principal.tenant_id)

    async def get(self, principal: Principal, policy_id: int) -> StoredPolicy:
        """See `Policies.get`."""
        principal.require_any(*READ_REMEDIATION)
        return await self._policies.get(principal.tenant_id, policy_id)

    async def create(self, principal: Principal, policy: RemediationPolicy, secrets: Mapping[str, str]) -> StoredPolicy:
        """See `Policies.create`."""
        principal.require(Scope.REMEDIATE)
        check_secrets(dict(secrets))
        await self._check(principal.tenant_id, policy, secrets)
        stored = await self._policies.create(principal.tenant_id, policy, secrets)
        await self._recorder.changed(principal, f"made the remediation policy {policy.name!r}", after=policy)
        return stored

    async def replace(
        self,
        principal: Principal,
        policy_id: int,
        policy: RemediationPolicy,
        secrets: Mapping[str, str] | None,
    ) -> StoredPolicy:
        """See `Policies.replace`."""
        principal.require(Scope.REMEDIATE)
        before = await self._policies.get(principal.tenant_id, policy_id)
        if secrets is not None:
            check_secrets(dict(secrets))
        await self._check(principal.tenant_id, policy, before.secret_names if secrets is None else secrets)
        if policy.name != before.policy.name:
            await self._check_unnamed(principal.tenant_id, before.policy.name, "renamed")
        stored = await self._policies.replace(principal.tenant_id, policy_id, policy, secrets)
        rotated = ", with new secrets" if secrets is not None else ""
        summary = f"changed the remediation policy {before.policy.name!r}{rotated}"
        await self._recorder.changed(principal, summary, before=before.policy, after=policy)
        return stored

    async def delete(self, principal: Principal, policy_id: int) -> None:
        """See `Policies.delete`."""
        principal.require(Scope.REMEDIATE)
        before = await self._policies.get(principal.tenant_id, policy_id)
        await self._check_unnamed(principal.tenant_id, before.policy.name, "deleted")
        await self._policies.delete(principal.tenant_id, policy_id)
        summary = f"deleted the remediation policy {before.policy.name!r}"
        await self._recorder.changed(principal, summary, before=before.policy)

    async def _check(
        self, tenant_id: int, policy: RemediationPolicy, secret_names: Mapping[str, str] | Sequence[str]
    ) -> None:
        """Raises `InvalidInput` where the policy names what is not there, or an address that must not be used."""
        if policy.escalation_channel is not None:
            channels = await self._channels.list(tenant_id)
            if all(channel.config.name != policy.escalation_channel for channel in channels):
                name = policy.escalation_channel[:64]
                raise InvalidInput("escalation_channel", f"there is no channel named {name!r}")
        for field, action in _http_actions(policy):
            for header, name in action.secret_headers.items():
                if name not in secret_names:
                    raise InvalidInput(f"{field}.secret_headers.{header}", f"there is no secret named {name[:64]!r}")
            await self._guard.check_url(f"{field}.url", _known_part(f"{field}.url", action.url))

    async def _check_unnamed(self, tenant_id: int, name: str, done: str) -> None:
        """Raises `Conflict` where a rule would repair nothing without the policy."""
        users = [stored.rule.name for stored in await self._rules.list(tenant_id) if stored.rule.remediation == name]
        if users:
            others = f" and {len(users) - 1} more" if len(users) > 1 else ""
            raise Conflict(f"the policy {name!r} cannot be {done}: the rule {users[0]!r}{others} names it")


def _known_part(field: str, url: str) -> str:
    """What is known of a URL before it is filled in: all of it, or where it names its host what precedes a template."""
    template = _TEMPLATE.search(url)
    if template is None:
        return url
    known = url[: template.start()]
    if _WITH_HOST.match(known) is None:
        raise InvalidInput(field, "may be filled in only after the host: what sends metrics must not choose the host")
    return known


def _http_actions(policy: RemediationPolicy) -> Iterator[tuple[str, HttpAction]]:
    """The policy's HTTP actions with where they stand in it."""
    for part, steps in (("steps", policy.steps), ("rollback", policy.rollback)):
        for index, step in enumerate(steps):
            if isinstance(step.action, HttpAction):
                yield f"{part}[{index}].action", step.action
