"""Whether a PromQL expression is a plain threshold, and which: what would fire in Prometheus fires in Sextant.

Theory of operation. A Sextant rule compares one aggregate of the samples in a window, of one series or of all series of
a group together. So an aggregation over series translates only where folding the series' windows and then the series
is the same as folding all samples at once: the greatest of greatest, the least of least, sums of sums and of counts,
sums of increases. It does not for averages, which weigh a series and not a sample, nor for the latest samples of
several series, of which a window may hold more than one each. A window is judged when a sample arrives, not between, so
what waits for a window to run empty is not a threshold either.
"""

import math
from collections.abc import Callable
from typing import Final

import msgspec

from adapters.driving.cli.promql import (
    COMPARISONS,
    SET_OPERATORS,
    Aggregate,
    Binary,
    Call,
    Expression,
    Number,
    Selector,
    Text,
    Untranslatable,
    parse,
)
from core.domain.definitions import Aggregation
from core.domain.matchers import MatchOp
from core.domain.rules import Condition

WINDOWED: Final = {
    "avg_over_time": Aggregation.AVG,
    "min_over_time": Aggregation.MIN,
    "max_over_time": Aggregation.MAX,
    "sum_over_time": Aggregation.SUM,
    "count_over_time": Aggregation.COUNT,
    "last_over_time": Aggregation.LAST,
    "rate": Aggregation.RATE,
    "increase": Aggregation.INCREASE,
}
QUANTILES: Final = {0.5: Aggregation.P50, 0.9: Aggregation.P90, 0.95: Aggregation.P95, 0.99: Aggregation.P99}
FOLDS: Final = {
    ("max", Aggregation.MAX),
    ("min", Aggregation.MIN),
    ("sum", Aggregation.SUM),
    ("sum", Aggregation.COUNT),
    ("sum", Aggregation.RATE),
    ("sum", Aggregation.INCREASE),
}
"""An aggregation over series, and the one over time within it, that are one aggregation over all samples."""
MIRRORED: Final = {">": "<", "<": ">", ">=": "<=", "<=": ">=", "==": "==", "!=": "!="}

_ARITHMETIC: Final[dict[str, Callable[[float, float], float]]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "%": math.fmod,
    "^": math.pow,
}


class Watched(msgspec.Struct, frozen=True, kw_only=True):
    """What is compared: samples, and how they become one value."""

    metric: str
    matchers: tuple[tuple[str, MatchOp, str], ...]
    aggregation: Aggregation = Aggregation.LAST
    window_us: int | None = None
    group_by: tuple[str, ...] | None = None


class PlainThreshold(msgspec.Struct, frozen=True, kw_only=True):
    """A comparison with a number."""

    watched: Watched
    condition: Condition
    value: float


def threshold_of(text: str) -> PlainThreshold:
    """The threshold that an expression is; raises `Untranslatable`, and nothing else, with why it is none."""
    expression = parse(text)
    if not isinstance(expression, Binary) or expression.operator not in COMPARISONS:
        raise Untranslatable(_why_no_comparison(expression))
    if expression.is_bool:
        raise Untranslatable("compares with bool, so it has a value, and alerts, whichever way the comparison goes")
    left, right = _constant(expression.left), _constant(expression.right)
    if left is None and right is None:
        raise Untranslatable("compares two expressions, not one with a number")
    if left is not None and right is not None:
        raise Untranslatable("compares two numbers")
    value = right if right is not None else left
    assert value is not None
    if not math.isfinite(value):
        raise Untranslatable("compares with a number that is not finite")
    operator = expression.operator if right is not None else MIRRORED[expression.operator]
    watched = _watched(expression.left if right is not None else expression.right)
    condition = Condition(operator)
    if watched.aggregation is Aggregation.COUNT and condition not in (Condition.ABOVE, Condition.AT_LEAST):
        raise Untranslatable(
            "waits for samples to stay away, and a window is judged when one arrives; use no_data: alert"
        )
    return PlainThreshold(watched=watched, condition=condition, value=value)


def _watched(expression: Expression) -> Watched:
    match expression:
        case Selector(range_us=None):
            return Watched(metric=expression.metric, matchers=expression.matchers)
        case Call():
            return _windowed(expression)
        case Aggregate():
            return _folded(expression)
        case Binary(operator=operator) if operator in COMPARISONS or operator in SET_OPERATORS:
            raise Untranslatable(f"compares the result of {operator!r}")
        case Binary():
            raise Untranslatable("calculates with the metric before it compares; a rule compares the metric itself")
        case _:
            raise Untranslatable("is not PromQL that can be read: compares what is no set of series")


def _windowed(call: Call) -> Watched:
    aggregation = WINDOWED.get(call.name)
    arguments = call.arguments
    if call.name == "quantile_over_time" and len(arguments) == 2:
        quantile = _constant(arguments[0])
        aggregation = QUANTILES.get(quantile) if quantile is not None else None
        if aggregation is None:
            raise Untranslatable("asks for another quantile than 0.5, 0.9, 0.95 or 0.99")
        arguments = arguments[1:]
    if aggregation is None:
        raise Untranslatable(f"uses {call.name}(), which is no aggregation of a rule")
    if len(arguments) != 1 or not isinstance(arguments[0], Selector) or arguments[0].range_us is None:
        raise Untranslatable(f"is not PromQL that can be read: {call.name}() needs a metric over a range such as [5m]")
    selector = arguments[0]
    return Watched(
        metric=selector.metric,
        matchers=selector.matchers,
        aggregation=aggregation,
        window_us=selector.range_us,
    )


def _folded(aggregate: Aggregate) -> Watched:
    if aggregate.without:
        raise Untranslatable("groups by all labels without some; a rule names the labels it groups by")
    if len(aggregate.arguments) != 1:
        raise Untranslatable(f"uses {aggregate.name}(), which is no aggregation of a rule")
    inner = aggregate.arguments[0]
    if isinstance(inner, Selector):
        raise Untranslatable(
            f"takes the {aggregate.name} of several series' latest samples; a rule aggregates all samples of a window"
        )
    if not isinstance(inner, Call):
        raise Untranslatable(f"takes the {aggregate.name} of an expression")
    watched = _windowed(inner)
    if (aggregate.name, watched.aggregation) not in FOLDS:
        raise Untranslatable(
            f"takes the {aggregate.name} over series of {inner.name}() over time, "
            "which is not the same as one aggregation over all their samples"
        )
    return msgspec.structs.replace(watched, group_by=aggregate.by or ())


def _constant(expression: Expression) -> float | None:
    """The number that an expression without series is; None where it has any."""
    if isinstance(expression, Number):
        return expression.value
    if not isinstance(expression, Binary) or expression.operator not in _ARITHMETIC:
        return None
    left, right = _constant(expression.left), _constant(expression.right)
    if left is None or right is None:
        return None
    try:
        return float(_ARITHMETIC[expression.operator](left, right))
    except (ArithmeticError, ValueError):
        return math.nan


def _why_no_comparison(expression: Expression) -> str:
    match expression:
        case Binary(operator=operator) if operator in SET_OPERATORS:
            return f"joins conditions with {operator!r}; a rule has one condition"
        case Call(name="absent" | "absent_over_time"):
            return (
                "asks whether there is no series at all; "
                "no_data: alert on a rule of that metric watches each series that is known"
            )
        case Text() | Number():
            return "is a constant"
        case _:
            return "compares nothing with a number, so it fires whenever there is a value"
