"""A recommendation's document: an object, or the same as a string."""

import pytest

from core.domain.configurations import Document
from core.domain.errors import InvalidInput
from core.domain.recommendations import RecommendationSpec


def spec(document: Document | str) -> RecommendationSpec:
    """A recommendation with this document."""
    return RecommendationSpec(
        cluster_id="prod", drift_id="d", recommendation_type="right_size", recommendation_json=document
    )


def test_a_string_is_the_object_it_says() -> None:
    """Numbers keep their types."""
    assert spec('{"a": [1, 2.5, null]}').document == spec({"a": [1, 2.5, None]}).document


@pytest.mark.parametrize(
    "text", ["", "no", "[1]", '"x"', '{"a": NaN}', '{"a": 1e999}', '{"a": "\ud800"}', "[" * 100_000]
)
def test_a_string_that_is_none(text: str) -> None:
    """What is no JSON object is refused, and what Python alone takes for JSON."""
    with pytest.raises(InvalidInput) as refused:
        spec(text)
    assert refused.value.field == "recommendation_json"
