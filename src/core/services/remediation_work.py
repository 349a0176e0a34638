"""The work behind a remediation workflow's activities. Each method may be repeated: what it writes has a key."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from core.domain.actions import (
    Action,
    AnnotateAction,
    CommandAction,
    DeletePodAction,
    PatchHpaAction,
    RestartAction,
    ScaleAction,
    SetContainerAction,
    WaitAction,
)
from core.domain.audit import AuditRecord
from core.domain.blast_radius import Taken, refusal
from core.domain.errors import InvalidInput, TooExpensive
from core.domain.remediation import MetricCheck, RemediationOrder, RemediationState, Step
from core.domain.telemetry import CLUSTER
from core.domain.times import EPOCH, SECOND_US, parse_duration
from core.services.escalation import Escalation
from core.services.metric_checks import check, recovered
from core.services.policies import Policies
from ports.driven.action_runner import ActionError, ActionRunner
from ports.driven.audit_log import AuditLog
from ports.driven.clock import Clock
from ports.driven.remediation_store import ActionLimits, PolicyStore, RemediationStore, Reservation
from ports.driven.sample_reader import SampleReader, Snapshot
from ports.driving.remediation_work import ActionReport, Verdict

HARMLESS: Final = (WaitAction, AnnotateAction)
"""They change nothing outside, so no limit counts them; a kill switch stops them like the rest."""


OF_THE_CLUSTER: Final = (ScaleAction, RestartAction, DeletePodAction, PatchHpaAction, SetContainerAction)
OF_THE_WORKER: Final = (CommandAction, *OF_THE_CLUSTER)
"""They use the worker's own machine and cluster, which all tenants share."""


class RemediationWorkService:
    """Implements `ports.driving.remediation_work.RemediationWork`."""

    def __init__(
        self,
        remediations: RemediationStore,
        policies: PolicyStore,
        limits: ActionLimits,
        audit: AuditLog,
        runners: Mapping[type[Action], ActionRunner],
        reader: SampleReader,
        tenants: Policies,
        escalation: Escalation,
        clock: Clock,
        *,
        trusted: Collection[str],
        cluster_id: str | None,
    ) -> None:
        """`tenants` says how much a tenant may read; `runners` has one for each class of action that can be done;
        `trusted` names the tenants that may use what belongs to the worker and not to a tenant, such as the cluster
        that recommendations know as `cluster_id` (None: there is none)."""
        self._remediations = remediations
        self._policies = policies
        self._limits = limits
        self._audit = audit
        self._runners = runners
        self._reader = reader
        self._tenants = tenants
        self._escalation = escalation
        self._clock = clock
        self._trusted = frozenset(trusted)
        self._cluster_id = cluster_id

    async def record(self, order: RemediationOrder, record: AuditRecord) -> None:
        """See `RemediationWork.record`."""
        await self._audit.append(order.tenant_id, record, now=self._now())

    async def progress(self, order: RemediationOrder, state: RemediationState, detail: str | None) -> None:
        """See `RemediationWork.progress`."""
        await self._remediations.progress(order.tenant_id, order.remediation_id, state, detail=detail, now=self._now())

    async def check(self, order: RemediationOrder, checks: tuple[MetricCheck, ...]) -> Verdict:
        """See `RemediationWork.check`; what cannot be asked, or costs too much, does not hold."""

        async def ask(snapshot: Snapshot, now_us: int) -> Verdict:
            return _joined([await check(snapshot, asked, order.alert, now_us=now_us) for asked in checks])

        return await self._judged(order, ask)

    async def verify(self, order: RemediationOrder, since_us: int) -> Verdict:
        """See `RemediationWork.verify`; the same goes for it."""
        asked = order.policy.verification.check

        async def ask(snapshot: Snapshot, now_us: int) -> Verdict:
            if asked is not None:
                return await check(snapshot, asked, order.alert, now_us=now_us, since_us=since_us)
            return await recovered(snapshot, order.rule, order.alert, now_us=now_us, since_us=since_us)

        return await self._judged(order, ask)

    async def reserve(self, order: RemediationOrder, step: Step, key: str, *, rollback: bool) -> Verdict:
        """See `RemediationWork.reserve`."""
        try:
            target = self._runner(order, step.action).target(step.action, order.alert)
        except ActionError as error:
            return Verdict(holds=False, reason=error.reason)
        policy = order.policy
        reservation = Reservation(
            key=key,
            remediation_id=order.remediation_id,
            policy=policy.name,
            target=target,
            rollback=rollback,
            cooldown_s=parse_duration(policy.cooldown, "cooldown") / SECOND_US,
            tenant_per_hour_max=policy.actions_per_hour_max,
            target_per_hour_max=policy.actions_per_target_per_hour_max,
        )
        if isinstance(step.action, HARMLESS):
            refused = None if rollback else await self._stopped(order.tenant_id, reservation)
        else:
            refused = await self._limits.reserve(order.tenant_id, reservation, now=self._now())
        return Verdict(holds=refused is None, reason=refused or f"{target} may be changed", facts={"target": target})

    async def act(self, order: RemediationOrder, step: Step, key: str, heartbeat: Callable[[], None]) -> ActionReport:
        """See `RemediationWork.act`."""
        action, alert = step.action, order.alert
        runner = self._runner(order, action)
        target = runner.target(action, alert)
        secrets = await self._policies.secrets(order.tenant_id, order.policy_id)
        if order.policy.dry_run:
            outcome = await runner.preview(action, alert, secrets)
        else:
            outcome = await runner.run(
                action, alert, secrets, key=key, timeout_s=step.timeout_us / SECOND_US, heartbeat=heartbeat
            )
        return ActionReport(
            summary=outcome.summary, target=target, changed=outcome.changed, details=dict(outcome.details)
        )

    async def escalate(self, order: RemediationOrder, text: str, *, key: str, ask_approval: bool) -> None:
        """See `RemediationWork.escalate`."""
        await self._escalation.tell(order, text, key=key, ask_approval=ask_approval)

    async def _judged(self, order: RemediationOrder, ask: Callable[[Snapshot, int], Awaitable[Verdict]]) -> Verdict:
        """What `ask` finds in the tenant's data, all of it as it is at one moment."""
        limits = (await self._tenants.of(order.tenant_id)).limits
        try:
            async with self._reader.snapshot(order.tenant_id, limits) as snapshot:
                return await ask(snapshot, self._clock.now_us())
        except (InvalidInput, TooExpensive) as error:
            return Verdict(holds=False, reason=str(error))

    async def _stopped(self, tenant_id: int, reservation: Reservation) -> str | None:
        """Which kill switch is engaged, in words."""
        taken = Taken(
            switches=await self._limits.kill_switches(tenant_id),
            repeated=True,
            tenant_full_at=None,
            target_full_at=None,
            touched_at=None,
        )
        return refusal(
            taken,
            policy=reservation.policy,
            target=reservation.target,
            tenant_per_hour_max=reservation.tenant_per_hour_max,
            target_per_hour_max=reservation.target_per_hour_max,
            cooldown=timedelta(seconds=reservation.cooldown_s),
        )

    def _runner(self, order: RemediationOrder, action: Action) -> ActionRunner:
        if isinstance(action, OF_THE_WORKER) and order.tenant not in self._trusted:
            reason = f"tenant {order.tenant!r} may neither run commands nor change the cluster here"
            raise ActionError(f"{reason}: SEXTANT_WORKER_TENANTS does not name it", retryable=False)
        if isinstance(action, OF_THE_CLUSTER) and order.alert_id is None:
            self._check_cluster(order.alert.labels.get(CLUSTER))
        runner = self._runners.get(type(action))
        if runner is None:
            raise ActionError(f"no worker here can do {type(action).__name__}", retryable=False)
        return runner

    def _check_cluster(self, wanted: str | None) -> None:
        """Raises `ActionError` where a recommendation is for another cluster than the one that would be changed."""
        if self._cluster_id is not None and wanted != self._cluster_id:
            raise ActionError(
                f"the recommendation is for cluster {wanted!r}, and this worker changes cluster {self._cluster_id!r}: "
                "SEXTANT_WORKER_CLUSTER_ID names it",
                retryable=False,
            )

    def _now(self) -> datetime:
        return EPOCH + timedelta(microseconds=self._clock.now_us())


def _joined(verdicts: Sequence[Verdict]) -> Verdict:
    """All of them as one; where some do not hold, only they are told."""
    told = [verdict for verdict in verdicts if not verdict.holds] or verdicts
    facts = {name: value for verdict in told for name, value in verdict.facts.items()}
    return Verdict(
        holds=all(verdict.holds for verdict in verdicts),
        reason="; ".join(verdict.reason for verdict in told),
        facts=facts,
    )
