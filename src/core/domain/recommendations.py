"""Recommendations: what would mend a drift, whether somebody agrees, and what came of doing it."""

import enum
import math
from datetime import date, datetime
from typing import Final

import msgspec

from core.domain.configurations import Document, check_document
from core.domain.drift import check_id
from core.domain.errors import InvalidInput
from core.domain.names import check_cluster_id
from core.domain.remediation import RemediationState, Step, Verification

TYPE_CHARS_MAX: Final = 64
SAVINGS_USD_ABS_MAX: Final = 1e12


class RecommendationState(enum.Enum):
    """Where a recommendation stands."""

    PROPOSED = "proposed"
    APPROVED = "approved"
    REJECTED = "rejected"
    APPLYING = "applying"
    APPLIED = "applied"
    FAILED = "failed"
    """Applying it did not succeed; it may be applied again."""
    ROLLED_BACK = "rolled_back"


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """What the well-known types change; read from `recommendation_json`, which may say more."""

    namespace: str | None = None
    workload: str | None = None
    """A Deployment's name."""
    container: str | None = None
    """None: the Deployment's only one."""
    hpa: str | None = None
    """A HorizontalPodAutoscaler's name; None: that of the workload."""
    current: "Settings" = msgspec.field(default_factory=lambda: Settings())
    """What it was made for: nothing is changed where the cluster says otherwise, and rolling back restores it."""
    proposed: "Settings" = msgspec.field(default_factory=lambda: Settings())
    steps: tuple[Step, ...] = ()
    """Of one's own, in the words of remediation policies, instead of what the type stands for."""
    rollback: tuple[Step, ...] = ()
    verification: Verification | None = None


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of a workload, in Kubernetes' notation; None: left as it is."""

    cpu_request: str | None = None
    cpu_limit: str | None = None
    memory_request: str | None = None
    memory_limit: str | None = None
    image: str | None = None
    replicas: int | None = None
    replicas_min: int | None = None
    replicas_max: int | None = None
    nodes: int | None = None


class RecommendationSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A recommendation as it is reported. Raises `InvalidInput` naming the field."""

    cluster_id: str
    env: str = "production"
    drift_date: date | None = None
    """None: that of the drift event."""
    drift_id: str
    """An existing drift event."""
    rec_id: str | None = None
    """Of the sender's own: sending it again is the same recommendation. None: made up."""
    recommendation_type: str
    """`hpa_tune`, `right_size`, `scale_workload`, `scale_nodes`, `rollback_config`, or another one with `steps`."""
    recommendation_json: Document | str
    """An object, or the same as a string."""
    estimated_savings_usd: float | None = None
    """A month."""
    auto_approved: bool = False
    synthetic: bool = False

    def __post_init__(self) -> None:
        for field in ("cluster_id", "env"):
            check_cluster_id(field, getattr(self, field))
        check_id("drift_id", self.drift_id)
        if self.rec_id is not None:
            check_id("rec_id", self.rec_id)
        kind = self.recommendation_type
        if not kind.replace("_", "a").isalnum() or not kind.isascii() or len(kind) > TYPE_CHARS_MAX:
            raise InvalidInput("recommendation_type", f"must have 1 to {TYPE_CHARS_MAX} letters, digits and _")
        savings = self.estimated_savings_usd
        if savings is not None and not (math.isfinite(savings) and abs(savings) <= SAVINGS_USD_ABS_MAX):
            raise InvalidInput("estimated_savings_usd", f"must be within ±{SAVINGS_USD_ABS_MAX:g}")
        check_document("recommendation_json", self.document)
        _ = self.target

    @property
    def document(self) -> Document:
        """`recommendation_json` as an object; raises `InvalidInput`."""
        given = self.recommendation_json
        if isinstance(given, dict):
            return given
        try:
            decoded = msgspec.json.decode(given)  # unlike Python's own it takes neither NaN nor 1e999
        except (msgspec.DecodeError, ValueError, RecursionError):
            raise InvalidInput("recommendation_json", "is a string that is not JSON") from None
        if not isinstance(decoded, dict):
            raise InvalidInput("recommendation_json", "must be a JSON object, or one as a string")
        return decoded

    @property
    def target(self) -> Target:
        """What it changes; raises `InvalidInput` naming the part that cannot be read."""
        return target_of(self.document)


def target_of(document: Document) -> Target:
    """What a recommendation's document would change; raises `InvalidInput`."""
    try:
        return msgspec.convert(document, Target)
    except msgspec.ValidationError as error:
        raise InvalidInput("recommendation_json", str(error)) from None


class Saturation(msgspec.Struct, frozen=True, kw_only=True):
    """How close a workload is to what it asks for, around a change: 95th percentiles of use ÷ request."""

    cpu_before: float | None = None
    cpu_after: float | None = None
    memory_before: float | None = None
    memory_after: float | None = None


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What applying a recommendation brought; None where it is not known (yet)."""

    predicted_savings_usd: float | None
    """A month."""
    realised_savings_usd: float | None
    """A month, by what the workload asked for before and after, at the cluster's price."""
    saturation: Saturation
    measured_until: datetime | None
    """None: nothing was measured after the change yet."""
    note: str
    """For a person: what it rests on, or why nothing can be said."""


class Recommendation(msgspec.Struct, frozen=True, kw_only=True):
    """One stored recommendation."""

    cluster_id: str
    env: str
    drift_date: date
    drift_id: str
    rec_id: str
    recommendation_type: str
    recommendation_json: Document
    estimated_savings_usd: float | None
    auto_approved: bool
    state: RecommendationState
    automatic: bool
    synthetic: bool
    created_at: datetime
    updated_at: datetime
    decided_at: datetime | None
    decided_by: str | None
    reason: str | None
    remediation: int | None
    """The remediation that last applied it, or tried to."""
    dry_run: bool | None
    """Whether that one changed nothing."""
    applied_at: datetime | None
    """When a remediation of it succeeded."""


class RecommendationFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which recommendations to list; None means any."""

    cluster_id: str | None = None
    env: str | None = None
    drift_id: str | None = None
    recommendation_type: str | None = None
    state: RecommendationState | None = None


STATE_OF_REMEDIATION: Final = {
    RemediationState.SUCCEEDED: RecommendationState.APPLIED,
    RemediationState.ROLLED_BACK: RecommendationState.ROLLED_BACK,
    RemediationState.FAILED: RecommendationState.FAILED,
    RemediationState.REFUSED: RecommendationState.FAILED,
    RemediationState.REJECTED: RecommendationState.FAILED,
    RemediationState.EXPIRED: RecommendationState.FAILED,
    RemediationState.CANCELLED: RecommendationState.FAILED,
    RemediationState.WAITING: RecommendationState.APPLYING,
    RemediationState.RUNNING: RecommendationState.APPLYING,
    RemediationState.AWAITING_APPROVAL: RecommendationState.APPLYING,
    RemediationState.VERIFYING: RecommendationState.APPLYING,
}
"""What a remediation that is no dry run makes of a recommendation; a dry run leaves it as it was decided."""
