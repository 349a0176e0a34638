"""The parameters of drift and recommendations."""

from typing import Annotated, Final

from litestar.params import PathParameter

from adapters.driving.http.cluster_parameters import NAME_CHARS_MAX
from adapters.driving.http.parameter_words import example, only, only_instant
from adapters.driving.http.parameters import segment_text
from core.domain.drift import ID_CHARS_MAX, DriftCategory, DriftSeverity, DriftStatus, check_id
from core.domain.errors import InvalidInput, NotFound
from core.domain.recommendations import TYPE_CHARS_MAX, RecommendationState

_DRIFT: Final = "cpu-over-request-checkout-2026-01-31"
_RECOMMENDATION: Final = "right-size-checkout-2026-01-31"


DriftInPath = Annotated[str, PathParameter(description="Id of the drift event.", examples=example(_DRIFT))]
RecommendationInPath = Annotated[
    str, PathParameter(description="Id of the recommendation.", examples=example(_RECOMMENDATION))
]
InEnv = Annotated[str | None, only("what is in this environment", "production", name="env", chars_max=NAME_CHARS_MAX)]
OfCategory = Annotated[DriftCategory | None, only("drift of this category", "CPU_MEMORY_DRIFT", name="drift_category")]
SeverityOfDrift = Annotated[DriftSeverity | None, only("drift of this severity", "critical", name="severity")]
StatusOfDrift = Annotated[DriftStatus | None, only("drift events that stand so", "open", name="status")]
DriftOfWorkload = Annotated[
    str | None, only("drift of this workload", "checkout", name="workload_name", chars_max=NAME_CHARS_MAX)
]
DriftedFrom = Annotated[str | None, only_instant("drift that began at this instant or later", "2026-01-31T00:00:00Z")]
DriftedBefore = Annotated[str | None, only_instant("drift that began before this instant", "2026-02-01T00:00:00Z")]
OfDrift = Annotated[
    str | None, only("recommendations for this drift event", _DRIFT, name="drift_id", chars_max=ID_CHARS_MAX)
]
OfType = Annotated[
    str | None,
    only("recommendations of this type", "right_size", name="recommendation_type", chars_max=TYPE_CHARS_MAX),
]
StateOfRecommendation = Annotated[
    RecommendationState | None, only("recommendations in this state", "proposed", name="state")
]


def id_in_path(kind: str, segment: str) -> str:
    """The id that a path segment holds, where some `kind` could have it; else raises `NotFound`."""
    text = segment_text(segment)
    try:
        check_id(kind, text)
    except InvalidInput:
        raise NotFound(kind, text[:64]) from None
    return text
