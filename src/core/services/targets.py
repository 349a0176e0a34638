"""The targets of all rules that are, or were, more than inactive, and what happens to them within one transaction.

Theory of operation. Readings of a target go through the state machine of `core.domain.alert_state`; what happens is
gathered in drafts, one for each episode that is touched, until `effects` is asked for. Only then it is decided who is
told: an episode is announced when it still fires after all that is known has been looked at, and its newest reading is
fresh. So catching up after an outage, or a sender's backlog, is history and not a page, unless it is still so.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Final

import msgspec

from core.domain.alert_state import (
    IDLE,
    AlertState,
    Change,
    Happening,
    Level,
    Phase,
    Timing,
    advance,
    drop_pending,
    withdraw,
)
from core.domain.alerts import EpisodeState, Resolution
from core.domain.annotations import render
from core.domain.columns import Float64s, Int64s
from core.domain.compiled_rule import CompiledRule
from core.domain.notifications import AlertEvent
from core.domain.readings import Levels, walk
from core.domain.rules import AlertRule, RuleMode, Severity, Threshold
from core.services.watched_rule import Line
from ports.driven.evaluation_store import Effects, EpisodeWrite, StoredState, Target

AT_ONCE: Final = Timing()
"""Silence has had its delay already."""


class Live(msgspec.Struct, eq=False):
    """A target that is, or was, more than inactive."""

    labels: dict[str, str]
    subject: bytes
    state: AlertState = IDLE
    announced: bool = False
    value: float | None = None
    """Of the newest reading; None where samples stayed away."""
    stored: StoredState | None = None
    """What the store has of it."""


class _Draft(msgspec.Struct, eq=False):
    """An episode as this transaction changes it."""

    rule: AlertRule | None
    labels: dict[str, str]
    state: EpisodeState | None
    severity: Severity | None
    value: float | None
    threshold: Threshold | None
    started_us: int
    fired_us: int | None = None
    resolved_us: int | None = None
    resolution: Resolution | None = None
    no_data: bool = False
    announced: bool = False
    annotations: dict[str, str] = {}
    events: list[AlertEvent] = []
    remediate: bool = False


class Targets:
    """All live targets. Its owner calls it from one event loop only."""

    def __init__(self, stored: Sequence[StoredState], *, fresh_us: int) -> None:
        self._fresh_us = fresh_us
        self._live: dict[Target, Live] = {}
        self._active_of: dict[int, set[str]] = defaultdict(set)
        self._drafts: dict[tuple[Target, int], _Draft] = {}
        self._touched: dict[Target, CompiledRule | None] = {}
        self.adopt(stored)

    def is_active(self, target: Target) -> bool:
        """Whether the target is pending or firing, so that good readings matter as well."""
        return target.key in self.active_of(target.rule_id)

    def active_of(self, rule_id: int) -> Collection[str]:
        """The keys of a rule's targets that are pending or firing."""
        return self._active_of.get(rule_id, ())

    def items(self) -> list[tuple[Target, Live]]:
        """All live targets."""
        return list(self._live.items())

    def read(self, compiled: CompiledRule, line: Line, ts_us: Int64s, values: Float64s, levels: Levels) -> None:
        """Readings of one target, in order of their instants; those that can cause nothing are passed over."""
        target = Target(compiled.tenant_id, compiled.id, line.key)
        live = self._live.get(target) or Live(line.labels, compiled.subject)
        for row, state, changes in walk(live.state, compiled.timing, ts_us, levels):
            self._live[target] = live
            live.value = float(values[row])
            self._apply(compiled, target, live, (state, changes))

    def silent(self, compiled: CompiledRule, line: Line, at_us: int) -> None:
        """The target's samples have stayed away until `at_us`, and the rule says that this is wrong."""
        target = Target(compiled.tenant_id, compiled.id, line.key)
        level = Level.WARNING if compiled.lowest is Severity.WARNING else Level.CRITICAL
        live = self._live.setdefault(target, Live(line.labels, compiled.subject))
        if live.state.phase is not Phase.FIRING:
            live.value = None
            self._apply(compiled, target, live, advance(live.state, at_us, level, AT_ONCE), no_data=True)

    def calm(self, compiled: CompiledRule, line: Line, at_us: int) -> None:
        """The target's samples have stayed away, and the rule says that this is all right: nothing is pending."""
        target = Target(compiled.tenant_id, compiled.id, line.key)
        live = self._live.get(target)
        if live is not None:
            self._apply(compiled, target, live, drop_pending(live.state, at_us))

    def end(self, target: Target, compiled: CompiledRule | None, at_us: int, resolution: Resolution) -> None:
        """Ends the target's episode, whatever its samples say."""
        live = self._live[target]
        self._apply(compiled, target, live, withdraw(live.state, at_us), resolution=resolution)

    def adopt(self, stored: Sequence[StoredState]) -> None:
        """Takes what the store has of targets that are not known here, such as those of a rule enabled again."""
        for one in stored:
            if one.target not in self._live:
                self._live[one.target] = Live(one.labels, one.subject, one.state, one.announced, stored=one)
                self._count(one.target, one.state)

    def effects(self, now_us: int) -> Effects:
        """What happened since the last call, for the store."""
        for target, compiled in self._touched.items():
            if compiled is not None:
                self._announce(compiled, target, self._live[target], now_us)
        states: dict[Target, StoredState | None] = {}
        for target in self._touched:
            live = self._live[target]
            if live.state.is_default:
                del self._live[target]
                if live.stored is not None:
                    states[target] = None
                continue
            now_is = StoredState(
                target=target,
                state=live.state,
                labels=live.labels,
                subject=live.subject,
                announced=live.announced,
                close_requested=False,
            )
            if not _same(live.stored, now_is):
                states[target] = live.stored = now_is
        episodes = [_written(target, episode, draft) for (target, episode), draft in self._drafts.items()]
        self._drafts, self._touched = {}, {}
        return Effects(states=states, episodes=episodes)

    def _apply(
        self,
        compiled: CompiledRule | None,
        target: Target,
        live: Live,
        outcome: tuple[AlertState, tuple[Change, ...]],
        *,
        no_data: bool = False,
        resolution: Resolution = Resolution.RECOVERED,
    ) -> None:
        state, changes = outcome
        for change in changes:
            draft = self._draft(compiled, target, live, change.episode)
            draft.started_us = state.started_us
            _note(draft, live, change, no_data=no_data, resolution=resolution)
            if compiled is not None and change.severity is not None:
                draft.threshold = compiled.threshold(change.severity)
        live.state = IDLE if state.is_default else state  # what never fired leaves nothing behind, not even an instant
        self._count(target, live.state)
        if compiled is not None:
            live.subject = compiled.subject
        self._touched[target] = compiled

    def _count(self, target: Target, state: AlertState) -> None:
        """Keeps `active_of` true."""
        if state.phase is Phase.INACTIVE:
            self._active_of[target.rule_id].discard(target.key)
        else:
            self._active_of[target.rule_id].add(target.key)

    def _announce(self, compiled: CompiledRule, target: Target, live: Live, now_us: int) -> None:
        """Has people told of a target that fires, if nobody was and it is no old story."""
        told = live.announced or live.state.phase is not Phase.FIRING or compiled.rule.mode is RuleMode.SHADOW
        if told or live.state.last_us < now_us - self._fresh_us:
            return
        live.announced = True
        draft = self._draft(compiled, target, live, live.state.episode)
        draft.state, draft.severity, draft.announced = EpisodeState.FIRING, live.state.severity, True
        draft.remediate = compiled.rule.remediation is not None
        draft.events.insert(0, AlertEvent.FIRED)

    def _draft(self, compiled: CompiledRule | None, target: Target, live: Live, episode: int) -> _Draft:
        draft = self._drafts.get((target, episode))
        if draft is None:
            rule = compiled.rule if compiled is not None else None
            severity = live.state.severity
            threshold = compiled.threshold(severity) if compiled is not None and severity is not None else None
            labels = {**live.labels, **rule.labels} if rule is not None else live.labels
            draft = _Draft(rule, labels, None, severity, live.value, threshold, live.state.started_us, events=[])
            self._drafts[target, episode] = draft
        return draft


def _note(draft: _Draft, live: Live, change: Change, *, no_data: bool, resolution: Resolution) -> None:
    """Puts one thing that happened into the draft of its episode."""
    match change.what:
        case Happening.PENDING:
            live.announced = False
            draft.state = EpisodeState.PENDING
        case Happening.DROPPED:
            draft.state = None
        case Happening.FIRED:
            live.announced = False
            draft.state, draft.severity, draft.fired_us = EpisodeState.FIRING, change.severity, change.at_us
            draft.no_data = no_data
        case Happening.ESCALATED:
            draft.state, draft.severity = EpisodeState.FIRING, change.severity
            if live.announced:
                draft.events.append(AlertEvent.ESCALATED)
        case Happening.RESOLVED:
            draft.state, draft.severity = EpisodeState.RESOLVED, change.severity
            draft.resolved_us, draft.resolution = change.at_us, resolution
            if live.announced:
                draft.events.append(AlertEvent.RESOLVED)
    draft.value = live.value


def _written(target: Target, episode: int, draft: _Draft) -> EpisodeWrite:
    rule = draft.rule
    annotations: dict[str, str] = {}
    # One that a person closes right after a restart has no value: what was said of it stays.
    told_before = draft.state is EpisodeState.RESOLVED and draft.value is None
    if rule is not None and draft.severity is not None and not told_before:
        said = {
            "value": draft.value,
            "threshold": draft.threshold,
            "severity": draft.severity.value,
            "metric": rule.metric,
            "rule": rule.name,
            "labels": draft.labels,
        }
        annotations = {name: render(text, said) for name, text in rule.annotations.items()}
    fields = {name: getattr(draft, name) for name in _Draft.__struct_fields__}
    fields.update(annotations=annotations, events=tuple(draft.events))
    return EpisodeWrite(target=target, episode=episode, **fields)


def _same(stored: StoredState | None, now_is: StoredState) -> bool:
    """Whether the store knows all of it but the newest instant, which samples themselves tell after a restart."""
    if stored is None:
        return False
    seen = msgspec.structs.replace(stored.state, last_us=now_is.state.last_us)
    return msgspec.structs.replace(stored, state=seen, close_requested=False) == now_is
