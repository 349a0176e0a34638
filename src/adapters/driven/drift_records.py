"""What drift events and recommendations become, and what is refused; the same whatever stores them."""

from datetime import datetime, timedelta
from typing import Final

from core.domain.errors import Conflict
from core.domain.recommendations import STATE_OF_REMEDIATION, Recommendation, RecommendationState
from core.domain.remediation import ENDED, RemediationState

NO_LONGER_FOUND: Final = "no longer found"
NO_LONGER_PROPOSED: Final = "what was found does not call for it any more"
UNAPPLIED_MAX: Final = timedelta(days=1)
"""So long is what was approved left to be applied before another proposal takes its place."""
IN_VAIN: Final = frozenset(
    remediation
    for remediation, state in STATE_OF_REMEDIATION.items()
    if state in (RecommendationState.FAILED, RecommendationState.ROLLED_BACK)
)
"""What remediations end as that did not apply a recommendation."""


def state_of(approved: bool | None, applying: RemediationState | None) -> RecommendationState:
    """Where a recommendation stands by its decision and its last remediation that was no dry run, None where there is
    none. One that was applied, or is being, cannot be rejected any more; one that failed can."""
    if approved is False:
        return RecommendationState.REJECTED
    if applying is not None:
        return STATE_OF_REMEDIATION[applying]
    return RecommendationState.APPROVED if approved else RecommendationState.PROPOSED


def check_unmoved(recommendation: Recommendation, updated_at: datetime | None) -> None:
    """Raises `Conflict` where it is not as it was at `updated_at` any more; None: as it is now."""
    if updated_at is not None and updated_at != recommendation.updated_at:
        raise Conflict(
            f"{recommendation.rec_id!r} was updated at {recommendation.updated_at.isoformat()}, not at "
            f"{updated_at.isoformat()}: what was read may not be what it says now; look at it again"
        )


def check_may_decide(recommendation: Recommendation) -> None:
    """Raises `Conflict` where it is too late to decide."""
    match recommendation.state:
        case RecommendationState.APPLYING:
            raise Conflict(f"remediation {recommendation.remediation} is applying {recommendation.rec_id!r} now")
        case RecommendationState.APPLIED:
            raise Conflict(f"{recommendation.rec_id!r} was applied already")
        case _:
            return


def check_may_apply(
    recommendation: Recommendation, *, approved: bool | None, last: RemediationState | None, dry_run: bool
) -> None:
    """Raises `Conflict` unless it may be applied; `last` is its last remediation's state, dry run or not."""
    if last is not None and last not in ENDED:
        raise Conflict(f"remediation {recommendation.remediation} of {recommendation.rec_id!r} is under way")
    if dry_run:
        return
    if recommendation.state is RecommendationState.APPLIED:
        raise Conflict(f"{recommendation.rec_id!r} was applied already")
    if not approved:
        raise Conflict(f"{recommendation.rec_id!r} is not approved: approve it first; a dry run needs no approval")
