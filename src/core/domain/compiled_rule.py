"""A rule as evaluation uses it: microseconds, a label filter, and thresholds that compare whole arrays."""

import hashlib
import math
from collections.abc import Callable
from typing import Final

import msgspec
import numpy as np

from core.domain.alert_state import Level, Timing
from core.domain.columns import Bools, Float64s
from core.domain.matchers import LabelMatcher, label_filter, parse_matchers
from core.domain.readings import Levels
from core.domain.rules import AlertRule, Condition, NoData, Severity, Threshold
from core.domain.series import Labels
from core.domain.times import parse_duration

SUBJECT_BYTES: Final = 16
"""Tells subjects of one rule apart."""


class CompiledRule(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """A rule of one tenant, ready to be evaluated."""

    tenant_id: int
    id: int
    revision: int
    rule: AlertRule
    matchers: tuple[LabelMatcher, ...]
    selects: Callable[[Labels], bool]
    """Whether a series of the rule's metric, by its labels, is the rule's business."""
    window_us: int | None
    delay_us: int
    no_data_after_us: int
    timing: Timing
    subject: bytes
    """A digest of what the rule watches."""

    @property
    def is_instant(self) -> bool:
        """Whether each sample is judged by itself, when it comes."""
        return self.window_us is None and self.delay_us == 0

    @property
    def lowest(self) -> Severity:
        """The severity it fires with first."""
        return Severity.WARNING if self.rule.warning is not None else Severity.CRITICAL

    def threshold(self, severity: Severity) -> Threshold | None:
        """What a value is compared with."""
        return self.rule.critical if severity is Severity.CRITICAL else self.rule.warning

    def levels(self, values: Float64s) -> Levels:
        """What each value says."""
        rule = self.rule
        levels = np.zeros(len(values), np.int8)
        if rule.clear is not None:
            levels[past(rule.condition, values, rule.clear)] = Level.UNCLEAR
        if rule.warning is not None:
            levels[past(rule.condition, values, rule.warning)] = Level.WARNING
        if rule.critical is not None:
            levels[past(rule.condition, values, rule.critical)] = Level.CRITICAL
        return levels

    def quiet_band(self) -> tuple[float, float]:
        """(low, high): a value strictly between them is no reason to look closer while nothing is pending or firing."""
        threshold = self.rule.warning if self.rule.warning is not None else self.rule.critical
        match self.rule.condition:
            case Condition.ABOVE | Condition.AT_LEAST if isinstance(threshold, float):
                return -math.inf, threshold
            case Condition.BELOW | Condition.AT_MOST if isinstance(threshold, float):
                return threshold, math.inf
            case Condition.OUTSIDE if isinstance(threshold, tuple):
                return threshold
            case _:
                return math.inf, -math.inf


def compile_rule(tenant_id: int, rule_id: int, revision: int, rule: AlertRule) -> CompiledRule:
    """The rule, ready to be evaluated."""
    matchers = parse_matchers(rule.matchers)
    subject = hashlib.blake2b(msgspec.json.encode(rule.subject), digest_size=SUBJECT_BYTES).digest()
    return CompiledRule(
        tenant_id=tenant_id,
        id=rule_id,
        revision=revision,
        rule=rule,
        matchers=matchers,
        selects=label_filter(matchers),
        window_us=_us(rule.window) or None,
        delay_us=_us(rule.evaluation_delay),
        no_data_after_us=_us(rule.no_data_after),
        timing=Timing(hold_us=_us(rule.for_), keep_us=_us(rule.keep_firing_for)),
        subject=subject,
    )


def watches_silence(rule: AlertRule) -> bool:
    """Whether samples that stay away mean anything to the rule."""
    return rule.no_data is not NoData.KEEP


def past(condition: Condition, values: Float64s, threshold: Threshold) -> Bools:
    """Which of `values` are wrong by `condition` against `threshold`: `core.domain.rules.holds` for arrays."""
    if isinstance(threshold, tuple):
        inside: Bools = (values >= threshold[0]) & (values <= threshold[1])
        return inside if condition is Condition.INSIDE else ~inside
    found: Bools
    match condition:
        case Condition.ABOVE:
            found = values > threshold
        case Condition.AT_LEAST:
            found = values >= threshold
        case Condition.BELOW:
            found = values < threshold
        case Condition.AT_MOST:
            found = values <= threshold
        case Condition.EQUAL:
            found = values == threshold
        case Condition.NOT_EQUAL:
            found = values != threshold
        case Condition.OUTSIDE | Condition.INSIDE:
            raise ValueError(f"{condition} needs a band")
    return found


def _us(duration: str | None) -> int:
    return parse_duration(duration, "duration") if duration is not None else 0
