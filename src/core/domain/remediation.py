"""Remediation: policies (what may be done about an alert, under which conditions) and what became of each attempt."""

import enum
import math
from datetime import datetime
from typing import Final

import msgspec

from core.domain.actions import (
    NAME_CHARS_MAX,
    TEXT_CHARS_MAX,
    Action,
    RestartAction,
    SetContainerAction,
    WaitAction,
    check_action,
    check_duration,
    check_template_text,
    check_text,
)
from core.domain.alerts import Alert
from core.domain.definitions import Aggregation
from core.domain.errors import InvalidInput
from core.domain.matchers import parse_matchers
from core.domain.rules import AlertRule, Condition, Threshold
from core.domain.series import check_name
from core.domain.times import SECOND_US

STEPS_MAX: Final = 20
"""A longer procedure belongs into a script that one step runs."""
CHECKS_MAX: Final = 10
SECRETS_MAX: Final = 20
SIZE_BYTES_MAX: Final = 256 << 10
"""Temporal refuses arguments of 2 MB, and a workflow's holds the policy beside the alert."""
RETRIES_MAX: Final = 10
TIMEOUT: Final = "1m"
ROLLING_OUT: Final = (RestartAction, SetContainerAction)
"""Done once a Deployment has rolled out."""
ROLLOUT_TIMEOUT: Final = "15m"
"""Kubernetes itself calls a rollout stuck after 10 minutes without progress, which is then told."""


class Risk(enum.Enum):
    """How much an action can break."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


RISK_ORDER: Final = {Risk.LOW: 0, Risk.MEDIUM: 1, Risk.HIGH: 2}


class ApprovalMode(enum.Enum):
    """When a person must agree before anything is done."""

    NONE = "none"
    ABOVE_RISK = "above_risk"
    """Where any step is riskier than the policy's `approval_above`."""
    ALWAYS = "always"


class MetricCheck(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A condition on current metrics: holds if it does for every matching series that has samples, and any has."""

    metric: str
    matchers: tuple[str, ...] = ()
    """Values may be templates over the alert: ``host={{ labels.host }}``."""
    aggregation: Aggregation = Aggregation.LAST
    window: str = "5m"
    condition: Condition
    value: Threshold


class Verification(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What must become true for a remediation to have worked, judged on samples newer than its last action."""

    within: str = "10m"
    every: str = "5s"
    check: MetricCheck | None = None
    """None: the alert's own rule finds the alert's own target good again."""


class Step(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One action with what surrounds it."""

    name: str
    action: Action
    risk: Risk = Risk.MEDIUM
    preconditions: tuple[MetricCheck, ...] = ()
    timeout: str | None = None
    """For each attempt; None: as long as such an action takes."""
    retries: int = 2

    @property
    def timeout_us(self) -> int:
        """Microseconds; raises `InvalidInput` where `timeout` is no duration."""
        usual = ROLLOUT_TIMEOUT if isinstance(self.action, ROLLING_OUT) else TIMEOUT
        return check_duration("timeout", self.timeout or usual)


class RemediationPolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is done about the alerts of the rules that name it. Raises `InvalidInput` naming the field."""

    name: str
    description: str = ""
    enabled: bool = True
    dry_run: bool = True
    """Everything but the actions happens, and they say what they would have changed."""
    preconditions: tuple[MetricCheck, ...] = ()
    steps: tuple[Step, ...]
    approval: ApprovalMode = ApprovalMode.ABOVE_RISK
    approval_above: Risk = Risk.LOW
    approval_timeout: str = "1h"
    """Without an answer by then nothing is done, and the escalation channel is told."""
    cooldown: str = "15m"
    """After an attempt on a target, none of this policy on the same target for this long."""
    actions_per_hour_max: int = 20
    """Of the whole tenant."""
    actions_per_target_per_hour_max: int = 4
    verification: Verification = Verification()
    rollback: tuple[Step, ...] = ()
    """Done in this order where verification fails."""
    escalation_channel: str | None = None
    """Who is told when a remediation fails, is refused or waits for approval; None: the rule's channels."""

    def __post_init__(self) -> None:
        check_text("name", self.name, chars_max=NAME_CHARS_MAX)
        if len(self.description) > TEXT_CHARS_MAX or "\x00" in self.description:
            raise InvalidInput("description", f"at most {TEXT_CHARS_MAX} characters, none of them NUL")
        if len(msgspec.json.encode(self)) > SIZE_BYTES_MAX:
            raise InvalidInput("steps", f"the whole policy takes more than {SIZE_BYTES_MAX // 1024} KiB")
        if not 1 <= len(self.steps) <= STEPS_MAX:
            raise InvalidInput("steps", f"give 1 to {STEPS_MAX} steps")
        _check_checks("preconditions", self.preconditions)
        for field, steps in (("steps", self.steps), ("rollback", self.rollback)):
            if len(steps) > STEPS_MAX:
                raise InvalidInput(field, f"at most {STEPS_MAX} steps")
            for index, step in enumerate(steps):
                _check_step(f"{field}[{index}]", step)
        for field in ("approval_timeout", "cooldown"):
            check_duration(field, getattr(self, field))
        for field in ("actions_per_hour_max", "actions_per_target_per_hour_max"):
            if not 1 <= getattr(self, field) <= 1_000:
                raise InvalidInput(field, "must be from 1 to 1000")
        check_duration("verification.within", self.verification.within)
        if check_duration("verification.every", self.verification.every) < SECOND_US:
            raise InvalidInput("verification.every", "must be 1s or longer")
        if self.escalation_channel is not None:
            check_text("escalation_channel", self.escalation_channel, chars_max=NAME_CHARS_MAX)
        if self.verification.check is not None:
            _check_checks("verification.check", (self.verification.check,))

    @property
    def needs_approval(self) -> bool:
        """Whether a person must agree; a dry run changes nothing, so it asks nobody."""
        if self.dry_run or self.approval is ApprovalMode.NONE:
            return False
        limit = RISK_ORDER[self.approval_above]
        return self.approval is ApprovalMode.ALWAYS or any(RISK_ORDER[step.risk] > limit for step in self.steps)


class StoredPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """A policy with what the store knows of it; secrets by name only."""

    id: int
    policy: RemediationPolicy
    secret_names: tuple[str, ...]
    revision: int
    created_at: datetime
    updated_at: datetime


class RemediationState(enum.Enum):
    """Where a remediation stands."""

    WAITING = "waiting"
    """Its workflow has not been started yet: Temporal is away, or was until a moment ago."""
    RUNNING = "running"
    AWAITING_APPROVAL = "awaiting_approval"
    VERIFYING = "verifying"
    SUCCEEDED = "succeeded"
    DRY_RUN = "dry_run"
    """Ended: it said what it would have done."""
    REFUSED = "refused"
    """Ended before any action: preconditions, limits, cooldown or a kill switch."""
    REJECTED = "rejected"
    EXPIRED = "expired"
    """Nobody approved in time."""
    ROLLED_BACK = "rolled_back"
    FAILED = "failed"
    CANCELLED = "cancelled"


ENDED: Final = frozenset(RemediationState) - {
    RemediationState.WAITING,
    RemediationState.RUNNING,
    RemediationState.AWAITING_APPROVAL,
    RemediationState.VERIFYING,
}


class Remediation(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt to repair what one alert is about, or to apply one recommendation."""

    id: int
    alert_id: int | None
    """None: it applies a recommendation."""
    rule: str
    policy: str
    workflow_id: str
    state: RemediationState
    dry_run: bool
    detail: str | None
    """Why it stands where it stands."""
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    attempts: int
    """How often starting the workflow was tried."""
    last_error: str | None
    recommendation: str | None = None
    """The `rec_id` of what it applies."""


class RemediationOrder(msgspec.Struct, frozen=True, kw_only=True):
    """What a workflow works from: everything as it was when the alert fired, so that later edits change nothing."""

    tenant_id: int
    tenant: str
    remediation_id: int
    workflow_id: str
    alert: Alert
    rule: AlertRule
    policy_id: int
    """0: the policy is stored nowhere else."""
    policy: RemediationPolicy

    @property
    def alert_id(self) -> int | None:
        """None where it applies a recommendation: its `alert` is made up and has no row."""
        return self.alert.id or None


class KillSwitch(msgspec.Struct, frozen=True, kw_only=True):
    """Whether new actions are stopped, for one tenant or (tenant None) the whole server."""

    tenant: str | None
    engaged: bool
    by: str | None
    reason: str | None
    changed_at: datetime | None


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """A person's answer to a request for approval."""

    approved: bool
    by: str
    reason: str | None = None


def workflow_id(tenant_id: int, rule_id: int, target_key: str, episode: int) -> str:
    """The one workflow of an episode: the same for everybody who tries to start it."""
    return f"sextant-remediation-{tenant_id}-{rule_id}-{target_key}-{episode}"


def check_secrets(secrets: dict[str, str]) -> None:
    """Raises `InvalidInput` where a policy's secrets cannot be."""
    if len(secrets) > SECRETS_MAX:
        raise InvalidInput("secrets", f"at most {SECRETS_MAX}")
    for name, value in secrets.items():
        if not name.isidentifier() or len(name) > 100:
            raise InvalidInput("secrets", f"{name[:64]!r} is not a name: letters, digits and _")
        if not 1 <= len(value) <= TEXT_CHARS_MAX or not value.isprintable():
            raise InvalidInput(f"secrets.{name}", f"must have 1 to {TEXT_CHARS_MAX} printable characters")


def _check_step(field: str, step: Step) -> None:
    check_text(f"{field}.name", step.name, chars_max=NAME_CHARS_MAX)
    _check_checks(f"{field}.preconditions", step.preconditions)
    if step.timeout is not None:
        check_duration(f"{field}.timeout", step.timeout)
    if isinstance(step.action, WaitAction):
        wait = step.action.duration
        if check_duration(f"{field}.action.duration", wait) > step.timeout_us:
            raise InvalidInput(f"{field}.timeout", f"{step.timeout or TIMEOUT!r} is shorter than the wait of {wait!r}")
    if not 0 <= step.retries <= RETRIES_MAX:
        raise InvalidInput(f"{field}.retries", f"must be from 0 to {RETRIES_MAX}")
    check_action(f"{field}.action", step.action)


def _check_checks(field: str, checks: tuple[MetricCheck, ...]) -> None:
    if len(checks) > CHECKS_MAX:
        raise InvalidInput(field, f"at most {CHECKS_MAX}")
    for check in checks:
        check_name(check.metric, f"{field}.metric")
        check_duration(f"{field}.window", check.window)
        if not all(math.isfinite(bound) for bound in _bounds(check.value)):
            raise InvalidInput(f"{field}.value", "must be finite")
        is_band = isinstance(check.value, tuple)
        if is_band is not (check.condition in (Condition.OUTSIDE, Condition.INSIDE)):
            raise InvalidInput(f"{field}.value", "must be [low, high] for outside and inside, else one number")
        for matcher in check.matchers:
            check_template_text(f"{field}.matchers", matcher, TEXT_CHARS_MAX)
            if "{{" not in matcher:
                parse_matchers((matcher,))


def _bounds(value: Threshold) -> tuple[float, ...]:
    return value if isinstance(value, tuple) else (value,)
