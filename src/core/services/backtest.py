"""Backtesting: what a rule would have done over stored samples, by the same windows and the same state machine."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final

import msgspec
import numpy as np

from core.domain.alert_state import IDLE, AlertState, Change, Happening, Level, Phase, Timing, advance, drop_pending
from core.domain.alerts import Silence, matches
from core.domain.columns import Columns, Float64s, Int64s, overriding
from core.domain.compiled_rule import CompiledRule, compile_rule
from core.domain.definitions import RETENTION_DAYS_DEFAULT, retention_cutoff
from core.domain.notifications import AlertEvent, Channel
from core.domain.readings import Levels, walk
from core.domain.rules import AlertRule, Condition, NoData, RuleMode, Severity
from core.domain.tenants import Principal
from core.domain.times import EPOCH, SECOND_US, TimeRange
from core.domain.windows import readings_of
from core.services.evaluator import line_of
from core.services.policies import Policies
from ports.driven.alerting_store import ChannelStore, SilenceStore
from ports.driven.clock import Clock
from ports.driven.evaluation_store import SeriesInfo
from ports.driven.sample_reader import SampleReader, SeriesTable
from ports.driving.alerting import Backtest, BacktestEpisode

EPISODES_MAX: Final = 1_000
"""A rule that fires more often is wrong, and the first thousand show how."""


class BacktestService:
    """Runs rules over history; stores and tells nothing."""

    def __init__(
        self,
        reader: SampleReader,
        channels: ChannelStore,
        silences: SilenceStore,
        policies: Policies,
        clock: Clock,
    ) -> None:
        self._reader = reader
        self._channels = channels
        self._silences = silences
        self._policies = policies
        self._clock = clock

    async def backtest(self, principal: Principal, rule: AlertRule, time_range: TimeRange) -> Backtest:
        """See `Rules.backtest`. The range reaches no further back than the metric's retention."""
        compiled = compile_rule(principal.tenant_id, 0, 0, rule)
        limits = (await self._policies.of(principal.tenant_id)).limits
        async with self._reader.snapshot(principal.tenant_id, limits) as snapshot:
            definition = await snapshot.definition(rule.metric)
            days = definition.retention_days if definition is not None else RETENTION_DAYS_DEFAULT
            cutoff_us = retention_cutoff(self._clock.now_us(), days)
            table = await snapshot.find(rule.metric, compiled.matchers)
            reach = TimeRange(
                max(cutoff_us, time_range.start_us - 2 * (compiled.window_us or 0)),
                max(time_range.end_us, cutoff_us + 1),
            )
            settled = await snapshot.settled_points(table.series_ids, reach)
            points = overriding(settled, snapshot.head(table.series_ids, reach))
        silences = await self._silences.silences(principal.tenant_id, ended_before=None)
        channels = _told(rule, await self._channels.list(principal.tenant_id))
        episodes = [
            episode
            for labels, ts_us, values in _lines(compiled, principal.tenant_id, table, points, time_range)
            for episode in _Replay(compiled, labels, time_range, silences, channels).run(ts_us, values)
        ]
        episodes.sort(key=lambda episode: episode.fired_at)
        return Backtest(
            rule=rule.name,
            start=_at(time_range.start_us),
            end=_at(time_range.end_us),
            series=len(table.series_ids),
            samples=int((points.ts_us >= time_range.start_us).sum()),
            firing_s=sum(episode.duration_s for episode in episodes),
            notifications=sum(len(episode.notifications) * len(episode.channels) for episode in episodes),
            remediations=sum(episode.remediation is not None for episode in episodes),
            episodes=episodes[:EPISODES_MAX],
            episodes_total=len(episodes),
        )


def _lines(
    compiled: CompiledRule, tenant_id: int, table: SeriesTable, points: Columns, time_range: TimeRange
) -> Iterator[tuple[dict[str, str], Int64s, Float64s]]:
    """The labels, instants and values of everything that would have had an alert of its own."""
    number_of: dict[str, int] = {}
    labels: list[dict[str, str]] = []
    lines = np.empty(len(table.series), np.int32)
    for row, one in enumerate(table.series):
        info = SeriesInfo(series_id=one.series_id, tenant_id=tenant_id, name=one.name, labels=one.labels)
        line = line_of(compiled, info)
        lines[row] = number_of.setdefault(line.key, len(labels))
        if lines[row] == len(labels):
            labels.append(line.labels)
    if len(points) == 0:
        return
    point_lines = lines[np.searchsorted(table.series_ids, points.series_ids)]
    before = np.full(len(labels), time_range.start_us - 1, np.int64)
    readings = readings_of(
        points, point_lines, compiled.rule.aggregation, compiled.window_us, before, time_range.end_us - 1
    )
    bounds = np.searchsorted(readings.lines, np.arange(len(labels) + 1)).tolist()
    for number, (start, end) in enumerate(pairwise(bounds)):
        if end > start:
            yield labels[number], readings.ts_us[start:end], readings.values[start:end]


class _Open(msgspec.Struct, eq=False):
    """An episode under way."""

    started_us: int
    fired_us: int | None = None
    escalated_us: int | None = None
    severity: Severity = Severity.WARNING
    value: float | None = None


class _Replay:
    """One target's history through the state machine."""

    def __init__(
        self,
        compiled: CompiledRule,
        labels: dict[str, str],
        time_range: TimeRange,
        silences: Sequence[Silence],
        channels: tuple[str, ...],
    ) -> None:
        self._compiled = compiled
        self._labels = {**labels, **compiled.rule.labels}
        self._range = time_range
        self._silences = silences
        self._channels = channels
        self._open: _Open | None = None
        self._episodes: list[BacktestEpisode] = []

    def run(self, ts_us: Int64s, values: Float64s) -> list[BacktestEpisode]:
        """The episodes that fired; what never was more than pending is none."""
        self._ts_us, self._values = ts_us, values
        levels = self._compiled.levels(values)
        state = IDLE
        for start, end, silent_us in self._stretches(ts_us):
            state = self._read(state, ts_us[start:end], values[start:end], levels[start:end])
            if silent_us is not None:
                state = self._silence(state, silent_us)
        if self._open is not None and self._open.fired_us is not None:
            self._close(None)
        return self._episodes

    def _stretches(self, ts_us: Int64s) -> Iterator[tuple[int, int, int | None]]:
        """Rows between silences, each with the instant at which the silence after it was noticed."""
        if self._compiled.rule.no_data is NoData.KEEP:
            yield 0, len(ts_us), None
            return
        after_us = self._compiled.no_data_after_us
        nexts = np.append(ts_us[1:], self._range.end_us)
        ends = (np.flatnonzero(nexts - ts_us > after_us) + 1).tolist()
        for start, end in zip([0, *ends], [*ends, len(ts_us)], strict=True):
            if end > start:
                yield start, end, int(ts_us[end - 1]) + after_us if end in ends else None

    def _read(self, state: AlertState, ts_us: Int64s, values: Float64s, levels: Levels) -> AlertState:
        for row, after, changes in walk(state, self._compiled.timing, ts_us, levels):
            state = after
            for change in changes:
                self._note(change, float(values[row]))
        return state

    def _silence(self, state: AlertState, at_us: int) -> AlertState:
        changes: tuple[Change, ...] = ()
        if self._compiled.rule.no_data is NoData.OK:
            state, changes = drop_pending(state, at_us)
        elif state.phase is not Phase.FIRING:
            level = Level.WARNING if self._compiled.lowest is Severity.WARNING else Level.CRITICAL
            state, changes = advance(state, at_us, level, Timing())
        for change in changes:
            self._note(change, None)
        return state

    def _note(self, change: Change, value: float | None) -> None:
        match change.what:
            case Happening.PENDING:
                self._open = _Open(change.at_us)
            case Happening.DROPPED:
                self._open = None
            case Happening.FIRED:
                episode = self._open = self._open or _Open(change.at_us)
                assert change.severity is not None
                episode.fired_us, episode.severity, episode.value = change.at_us, change.severity, value
            case Happening.ESCALATED:
                assert self._open is not None
                self._open.escalated_us, self._open.severity = change.at_us, Severity.CRITICAL
            case Happening.RESOLVED:
                self._close(change.at_us)

    def _close(self, resolved_us: int | None) -> None:
        episode, self._open = self._open, None
        assert episode is not None
        assert episode.fired_us is not None
        rule = self._compiled.rule
        end_us = resolved_us if resolved_us is not None else self._range.end_us
        live = rule.mode is RuleMode.LIVE and rule.enabled
        told = live and bool(self._channels) and not self._silenced(episode)
        events = [AlertEvent.FIRED]
        if episode.escalated_us is not None:
            events.append(AlertEvent.ESCALATED)
        if resolved_us is not None:
            events.append(AlertEvent.RESOLVED)
        self._episodes.append(
            BacktestEpisode(
                labels=self._labels,
                severity=episode.severity,
                started_at=_at(episode.started_us),
                fired_at=_at(episode.fired_us),
                escalated_at=_at(episode.escalated_us) if episode.escalated_us is not None else None,
                resolved_at=_at(resolved_us) if resolved_us is not None else None,
                duration_s=(end_us - episode.fired_us) / SECOND_US,
                value=episode.value,
                worst=self._worst(episode.started_us, end_us),
                threshold=self._compiled.threshold(episode.severity),
                notifications=tuple(events) if told else (),
                channels=self._channels if told else (),
                remediation=rule.remediation if live else None,
            )
        )

    def _worst(self, start_us: int, end_us: int) -> float | None:
        """The value furthest past the threshold in ``[start, end)``; of a band's the greatest."""
        first, last = np.searchsorted(self._ts_us, [start_us, end_us])
        within = self._values[first:last]
        if len(within) == 0:
            return None
        falling = self._compiled.rule.condition in (Condition.BELOW, Condition.AT_MOST)
        return float(within.min() if falling else within.max())

    def _silenced(self, episode: _Open) -> bool:
        assert episode.fired_us is not None
        at = _at(episode.fired_us)
        rule = self._compiled.rule
        labels = {
            **self._labels,
            "alertname": rule.name,
            "metric": rule.metric,
            "severity": episode.severity.value,
        }
        return any(
            silence.starts_at <= at < silence.ends_at and matches(silence.matchers, labels)
            for silence in self._silences
        )


def _told(rule: AlertRule, channels: Sequence[Channel]) -> tuple[str, ...]:
    """The names of the channels that hear of the rule's alerts."""
    return tuple(
        channel.config.name
        for channel in channels
        if channel.config.enabled
        and (channel.config.default if rule.channels is None else channel.config.name in rule.channels)
    )


def _at(ts_us: int) -> datetime:
    return EPOCH + timedelta(microseconds=ts_us)
