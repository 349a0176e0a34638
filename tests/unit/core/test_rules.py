"""Rules: what is refused, and how it is named."""

from typing import Any

import msgspec
import pytest

from core.domain.definitions import AlertThreshold
from core.domain.errors import InvalidInput
from core.domain.rules import AlertRule, Condition, definition_rule

GOOD: dict[str, Any] = {"name": "r", "metric": "cpu", "warning": 80, "critical": 90}


def rule(**changes: object) -> AlertRule:
    """A rule as it comes over the wire; raises as the server does."""
    return msgspec.json.decode(msgspec.json.encode({**GOOD, **changes}), type=AlertRule)


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("name", {"name": ""}),
        ("name", {"name": "x" * 201}),
        ("name", {"name": "a\u0000b"}),
        ("metric", {"metric": "no spaces"}),
        ("matchers", {"matchers": ["host"]}),
        ("matchers", {"matchers": ["host=~("]}),
        ("matchers", {"matchers": ["a=b"] * 21}),
        ("group_by", {"window": "5m", "group_by": ["host", "host"]}),
        ("group_by", {"window": "5m", "group_by": ["no spaces"]}),
        ("window", {"aggregation": "avg"}),
        ("window", {"group_by": ["host"]}),
        ("window", {"window": "2d"}),
        ("window", {"window": "soon"}),
        ("warning", {"warning": None, "critical": None}),
        ("warning", {"warning": [1, 2]}),
        ("warning", {"condition": "outside", "warning": 5, "critical": None}),
        ("warning", {"condition": "outside", "warning": [5, 1], "critical": None}),
        ("critical", {"critical": 70}),
        ("critical", {"condition": "<", "warning": 10, "critical": 20}),
        ("critical", {"condition": "outside", "warning": [1, 9], "critical": [2, 8]}),
        ("critical", {"condition": "inside", "warning": [1, 9], "critical": [0, 10]}),
        ("warning", {"clear": 85}),
        ("for", {"for": "8d"}),
        ("for", {"for": "0s"}),
        ("keep_firing_for", {"keep_firing_for": "x"}),
        ("no_data_after", {"no_data_after": "-5m"}),
        ("evaluation_delay", {"evaluation_delay": "2h"}),
        ("labels", {"labels": {"a b": "x"}}),
        ("annotations", {"annotations": {"a b": "x"}}),
        ("annotations.a", {"annotations": {"a": "{{ value"}}),
        ("runbook_url", {"runbook_url": "javascript:alert(1)"}),
        ("channels", {"channels": ["x"] * 21}),
        ("channels", {"channels": ["a\u0000"]}),
        ("remediation", {"remediation": ""}),
    ],
)
def test_refused_by_name(field: str, changes: dict[str, object]) -> None:
    """The field is the one that the caller wrote."""
    with pytest.raises((InvalidInput, msgspec.ValidationError)) as refused:
        rule(**changes)
    error = refused.value.__cause__ or refused.value
    assert isinstance(error, InvalidInput)
    assert error.field == field


@pytest.mark.parametrize(
    "changes",
    [
        {"warning": 80, "critical": 80},
        {"clear": 80},
        {"condition": "<", "warning": 20, "critical": 10, "clear": 25},
        {"condition": "outside", "warning": [2, 8], "critical": [1, 9], "clear": [3, 7]},
        {"condition": "inside", "warning": [1, 9], "critical": [2, 8]},
        {"condition": "==", "warning": 1, "critical": 0},
        {"aggregation": "p95", "window": "5m", "group_by": []},
    ],
)
def test_accepted(changes: dict[str, object]) -> None:
    """What can be meant is taken, and comes back as it was sent."""
    made = rule(**changes)
    assert msgspec.json.decode(msgspec.json.encode(made), type=AlertRule) == made


def test_a_definitions_thresholds() -> None:
    """Above is bad, unless critical lies below warning; without a threshold there is no rule."""
    rising = definition_rule("cpu", AlertThreshold(80, 90))
    falling = definition_rule("disk_free", AlertThreshold(20, 10))
    assert rising is not None
    assert falling is not None
    assert (rising.condition, falling.condition) == (Condition.ABOVE, Condition.BELOW)
    assert definition_rule("cpu", AlertThreshold()) is None
