"""What workflows, activities and clients hand to each other arrives as it was."""

import enum
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from adapters.runtime.temporal_data import DATA_CONVERTER
from core.domain.actions import Action, HttpAction, WaitAction
from core.domain.definitions import Aggregation
from core.domain.remediation import Decision, MetricCheck, RemediationPolicy, RemediationState, Step
from core.domain.rules import Condition

NOON = datetime(2026, 3, 1, 12, 0, 0, 123_456, tzinfo=UTC)
POLICY = RemediationPolicy(
    name="restart",
    preconditions=(MetricCheck(metric="cpu", condition=Condition.ABOVE, value=90.0, aggregation=Aggregation.AVG),),
    steps=(
        Step(name="drain", action=HttpAction(url="https://example.org/drain", headers={"X-Who": "sextant"})),
        Step(name="settle", action=WaitAction(duration="30s"), retries=0),
    ),
)


class Colour(enum.Enum):
    """A plain enum, which Temporal's own JSON refuses."""

    RED = "red"


class Holder(msgspec.Struct, frozen=True):
    """A struct with what JSON has no types for."""

    at: datetime
    took: timedelta
    colours: tuple[Colour, ...]


@dataclass
class Plain:
    """Not ours: Temporal's own converter knows dataclasses."""

    number: int


async def round_trip(value: object, hint: Any) -> object:
    """The value after encoding and decoding by a type hint."""
    (payload,) = await DATA_CONVERTER.encode([value])
    (decoded,) = await DATA_CONVERTER.decode([payload], [hint])
    return decoded


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        (POLICY, RemediationPolicy),
        (Decision(approved=True, by="key:abc"), Decision),
        (POLICY.steps, tuple[Step, ...]),
        (POLICY.steps[1].action, Action),
        (Holder(NOON, timedelta(seconds=1.5), (Colour.RED, Colour.RED)), Holder),
        (Colour.RED, Colour),
        (RemediationState.DRY_RUN, RemediationState),
        (NOON, datetime),
        ({"first": Decision(approved=False, by="link")}, dict[str, Decision]),
        ([], list[Decision]),
        (None, Decision | None),
        (Decision(approved=True, by="x"), Decision | None),
    ],
    ids=repr,
)
async def test_our_values_come_back_equal(value: object, hint: Any) -> None:
    """Structs, tagged unions, tuples, enums and instants, alone and inside containers."""
    decoded = await round_trip(value, hint)
    assert decoded == value
    assert type(decoded) is type(value)


@pytest.mark.parametrize(
    ("value", "hint"),
    [("text", str), (7, int), (None, None), (b"\x00\xff", bytes), ({"a": [1, 2.5]}, dict[str, list[float]])],
)
async def test_everything_else_is_temporals(value: object, hint: Any) -> None:
    """As any Temporal client would send it."""
    assert await round_trip(value, hint) == value


async def test_a_dataclass_is_still_one() -> None:
    """Temporal's own types of argument keep working."""
    assert await round_trip(Plain(3), Plain) == Plain(3)


async def test_ours_is_plain_json_to_others() -> None:
    """Temporal's tools show what a workflow was started with."""
    (payload,) = await DATA_CONVERTER.encode([Decision(approved=True, by="key:abc")])
    assert payload.metadata["encoding"] == b"json/plain"
    (shown,) = await DATA_CONVERTER.decode([payload])
    assert shown == {"approved": True, "by": "key:abc", "reason": None}


async def test_what_does_not_fit_its_hint_is_refused() -> None:
    """Instead of a value with fields of the wrong types."""
    (payload,) = await DATA_CONVERTER.encode([{"approved": "yes", "by": 1}])
    with pytest.raises(msgspec.ValidationError):
        await DATA_CONVERTER.decode([payload], [Decision])
