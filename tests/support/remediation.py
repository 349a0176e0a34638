"""Remediation without an outside: orders as a test wants them, and a `RemediationWork` that remembers and obeys."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from core.domain.actions import HttpAction
from core.domain.audit import AuditKind, AuditRecord
from core.domain.remediation import (
    ApprovalMode,
    MetricCheck,
    RemediationOrder,
    RemediationPolicy,
    RemediationState,
    Step,
    Verification,
)
from core.domain.rules import AlertRule
from ports.driven.action_runner import ActionError
from ports.driving.remediation_work import ActionReport, Verdict
from tests.support import orders

YES = Verdict(holds=True, reason="cpu is 20", facts={"cpu": 20.0})
NO = Verdict(holds=False, reason="cpu is 97", facts={"cpu": 97.0})
HEARTBEAT_EVERY_S = 0.05


def step(name: str, **fields: Any) -> Step:
    """A step that asks a service to do something about the alert's host."""
    action = HttpAction(url=f"https://ops.example/{name}/{{{{ labels.host }}}}")
    return msgspec.convert({"name": name, "action": action, **fields}, Step)


def policy(**fields: Any) -> RemediationPolicy:
    """A live policy of two steps with a rollback, that asks nobody."""
    standard = {
        "name": "restart",
        "dry_run": False,
        "steps": (step("drain"), step("restart")),
        "rollback": (step("undrain"),),
        "approval": ApprovalMode.NONE,
        "verification": Verification(within="1m", every="5s"),
    }
    return msgspec.convert({**standard, **fields}, RemediationPolicy)


def order(number: int = 1, *, rule: AlertRule | None = None, **fields: Any) -> RemediationOrder:
    """An order of tenant 1, by `policy` with these fields."""
    standard = orders.order(number, policy=policy(**fields))
    return standard if rule is None else msgspec.structs.replace(standard, rule=rule)


class RememberedWork:
    """Implements `RemediationWork` in memory, as its port says; every answer is a field that a test may set."""

    def __init__(self) -> None:
        self.records: dict[str, AuditRecord] = {}
        self.states: list[tuple[RemediationState, str | None]] = []
        self.told: dict[str, tuple[str, bool]] = {}
        self.acted: list[tuple[str, str]] = []
        """Names of steps with their keys, one for each attempt that got through to the action."""
        self.reserved: list[tuple[str, bool]] = []
        self.verified_since: list[int] = []
        self.checks: Callable[[tuple[MetricCheck, ...]], Verdict] = lambda _: YES
        self.granted: Callable[[Step], Verdict] = lambda _: YES
        self.verdicts: list[Verdict] = [YES]
        """Of each verification in turn; the last one stays."""
        self.troubles: dict[str, list[Exception]] = {}
        """What attempts at a step or calls of a method raise, in turn, before they succeed."""
        self.holding: set[str] = set()
        """Steps whose actions do not end by themselves."""
        self.silent: set[str] = set()
        """Steps whose actions hang once, without a sign of life, as those of a killed worker do."""
        self.at: dict[str, Callable[[], Awaitable[None]]] = {}
        """What happens, once, while a method or a step's action is under way."""
        self.changes = True
        """Whether actions find anything to change."""
        self.broken_off: list[str] = []

    async def record(self, order: RemediationOrder, record: AuditRecord) -> None:
        """The first of each key counts."""
        await self._meet("record")
        self.records.setdefault(record.key, record)

    async def progress(self, order: RemediationOrder, state: RemediationState, detail: str | None) -> None:
        """All, in order."""
        await self._meet("progress")
        self.states.append((state, detail))

    async def check(self, order: RemediationOrder, checks: tuple[MetricCheck, ...]) -> Verdict:
        """As `checks` says."""
        await self._meet("check")
        return self.checks(checks)

    async def reserve(self, order: RemediationOrder, step: Step, key: str, *, rollback: bool) -> Verdict:
        """As `granted` says; rollbacks always."""
        await self._meet("reserve")
        self.reserved.append((key, rollback))
        return YES if rollback else self.granted(step)

    async def act(self, order: RemediationOrder, step: Step, key: str, heartbeat: Callable[[], None]) -> ActionReport:
        """Succeeds after the step's troubles, or holds until it is broken off."""
        heartbeat()
        troubles = self.troubles.get(step.name)
        if troubles:
            raise troubles.pop(0)
        self.acted.append((step.name, key))
        await self._meet(step.name)
        if step.name in self.silent:
            self.silent.remove(step.name)
            await asyncio.Event().wait()
        try:
            while step.name in self.holding:
                heartbeat()
                await asyncio.sleep(HEARTBEAT_EVERY_S)
        except asyncio.CancelledError:
            self.broken_off.append(step.name)
            raise
        would = "would " if order.policy.dry_run else ""
        return ActionReport(
            summary=f"{would}{step.name}",
            target=f"http:{step.name}",
            changed=self.changes and not order.policy.dry_run,
            details={"request": f"POST /{step.name}"},
        )

    async def verify(self, order: RemediationOrder, since_us: int) -> Verdict:
        """The verdicts in turn."""
        await self._meet("verify")
        self.verified_since.append(since_us)
        return self.verdicts.pop(0) if len(self.verdicts) > 1 else self.verdicts[0]

    async def escalate(self, order: RemediationOrder, text: str, *, key: str, ask_approval: bool) -> None:
        """The first of each key counts."""
        await self._meet("escalate")
        self.told.setdefault(key, (text, ask_approval))

    async def _meet(self, what: str) -> None:
        troubles = self.troubles.get(what)
        if troubles:
            raise troubles.pop(0)
        happens = self.at.pop(what, None)
        if happens is not None:
            await happens()

    @property
    def state(self) -> RemediationState:
        """The last one told."""
        return self.states[-1][0]

    @property
    def detail(self) -> str:
        """Its words."""
        return self.states[-1][1] or ""

    @property
    def done(self) -> list[str]:
        """Steps in the order in which their actions were taken."""
        return [name for name, _ in self.acted]

    @property
    def story(self) -> list[tuple[AuditKind, str]]:
        """What the record tells: kinds, and the names in the keys."""
        return [(record.kind, key.rpartition("/")[2].partition("-")[2]) for key, record in self.records.items()]


def refusal(reason: str = "the tenant's kill switch is engaged") -> Verdict:
    """What `reserve` answers where an action may not be taken."""
    return Verdict(holds=False, reason=reason)


def failure(reason: str = "answered 500", *, retryable: bool = True) -> ActionError:
    """An attempt that failed."""
    return ActionError(reason, retryable=retryable)
