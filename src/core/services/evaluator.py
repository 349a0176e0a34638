"""Evaluation itself: which points concern which rules, in arrays, and only what may change something one by one.

Theory of operation. Every series that was ever seen has a place in flat arrays by its id: whether any rule watches it,
its newest instant, and the band between which no instant rule of it could fire. A batch of points is held against these
arrays at once; a point that is late, or lies within the band of a series with nothing pending or firing, costs no more
than that. What is left goes to the targets' state machines. Rules with windows, groups or delays keep their own samples
(`watched_rule`).

Nothing here reads or writes: the owner tells which series there are (`learn`), brings what was stored before
(`remember`), and takes what happened (`effects`).
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
import numpy as np

from core.domain.alert_state import Level
from core.domain.alerts import Resolution
from core.domain.columns import Columns, Int32s, concat_columns, empty_columns, keep_last
from core.domain.compiled_rule import CompiledRule, watches_silence
from core.domain.head import JournalBlock
from core.domain.rules import NoData
from core.domain.times import DAY_US
from core.services.targets import Targets
from core.services.watched_rule import Line, WatchedRule
from ports.driven.evaluation_store import Effects, SeriesInfo, StoredState, Target

SEEN: Final = 1
INSTANT: Final = 2
WATCHED: Final = 4
SILENCE_US_MAX: Final = DAY_US
"""A series without a sample for a day is gone, not silent: it fires nothing that does not fire already."""


class History(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """Stored samples that evaluation needs to have seen before it judges newer ones."""

    tenant_id: int
    newest_of: Int32s
    """Series of which the newest sample is enough."""
    windows: Sequence[tuple[WatchedRule, Int32s]]
    """Rules with the series that are new to them, whose windows reach back."""


class Evaluator:
    """All rules with all their targets. Its owner calls it from one event loop only."""

    def __init__(
        self, rules: Sequence[CompiledRule], stored: Sequence[StoredState], *, fresh_us: int, now_us: int
    ) -> None:
        self._targets = Targets(stored, fresh_us=fresh_us)
        self._since_us = now_us
        self._rules: dict[int, CompiledRule] = {}
        self._watched: dict[int, WatchedRule] = {}
        self._last_us = np.empty(0, np.int64)
        self._grow(1)
        self.replace_rules(rules, stored, now_us)

    @property
    def is_idle(self) -> bool:
        """Whether there is no rule at all."""
        return not self._rules

    @property
    def whole_metrics(self) -> set[tuple[int, str]]:
        """(tenant, metric) of the rules that need all series, those that send nothing too: for groups, and silence."""
        rules = (one for one in self._rules.values() if one.rule.group_by is not None or watches_silence(one.rule))
        return {(one.tenant_id, one.rule.metric) for one in rules}

    def replace_rules(self, rules: Sequence[CompiledRule], stored: Sequence[StoredState], now_us: int) -> None:
        """Takes the rules now in force; episodes of rules that are gone or watch something else end, and those that a
        person wants closed. Every series is to be learned anew."""
        self._rules = {compiled.id: compiled for compiled in rules}
        for target, live in self._targets.items():
            compiled = self._rules.get(target.rule_id)
            if compiled is None or compiled.subject != live.subject:
                self._targets.end(target, compiled, now_us, Resolution.RULE_CHANGED)
        self._targets.adopt(stored)
        for one in stored:
            if one.close_requested and self._targets.is_active(one.target):
                self._targets.end(one.target, self._rules.get(one.target.rule_id), now_us, Resolution.CLOSED)
        kept, self._watched = self._watched, {}
        for compiled in rules:
            if not compiled.is_instant:
                before = kept.get(compiled.id)
                same = before is not None and before.compiled.subject == compiled.subject
                watched = before if before is not None and same else WatchedRule(compiled)
                watched.compiled = compiled
                self._watched[compiled.id] = watched
        self._index = _RuleIndex(rules)
        self._instant_of: dict[int, list[tuple[CompiledRule, Line]]] = {}
        self._silent_of: dict[int, list[tuple[int, Line]]] = defaultdict(list)
        self._flags[:] = 0
        self._high[:], self._low[:] = np.inf, -np.inf
        self._active[:] = False

    def unknown(self, blocks: Iterable[JournalBlock]) -> Int32s:
        """The ids in `blocks` that have not been learned, ascending."""
        missing = []
        for block in blocks:
            ids = block.points.series_ids
            if len(ids):
                self._grow(int(ids.max()) + 1)
                missing.append(np.unique(ids[self._flags[ids] == 0]))
        return np.unique(np.concatenate(missing)) if missing else np.empty(0, np.int32)

    @property
    def truncated(self) -> set[int]:
        """The rules whose windows reach less far back than they should: there are more samples than can be kept."""
        return {rule_id for rule_id, watched in self._watched.items() if watched.truncated}

    def not_learned(self, series_ids: Int32s) -> Int32s:
        """Those of `series_ids` that have not been learned."""
        if len(series_ids):
            self._grow(int(series_ids.max()) + 1)
        missing: Int32s = series_ids[self._flags[series_ids] == 0]
        return missing

    def learn(self, series: Sequence[SeriesInfo], asked: Int32s) -> Sequence[History]:
        """Finds each series' rules; returns what of their past is to be remembered. `asked` ids that are not among
        `series` are nobody's."""
        self._grow(int(asked.max()) + 1 if len(asked) else 1)
        self._flags[asked] = SEEN
        newest: dict[int, list[int]] = defaultdict(list)
        bound: dict[int, list[tuple[int, Line]]] = defaultdict(list)
        for info in series:
            for compiled in self._index.of(info):
                line = line_of(compiled, info)
                if compiled.is_instant:
                    self._bind_instant(compiled, info.series_id, line)
                    if not self._followed[info.series_id]:
                        newest[info.tenant_id].append(info.series_id)
                else:
                    bound[compiled.id].append((info.series_id, line))
        self._followed[asked] = (self._flags[asked] & INSTANT) != 0
        windows: dict[int, list[tuple[WatchedRule, Int32s]]] = defaultdict(list)
        for rule_id, lines in bound.items():
            watched = self._watched[rule_id]
            added = np.array(sorted(watched.bind(lines)), np.int32)
            self._flags[[series_id for series_id, _ in lines]] |= WATCHED
            if len(added):
                windows[watched.compiled.tenant_id].append((watched, added))
        return [
            History(
                tenant_id=tenant_id,
                newest_of=np.unique(np.array(newest[tenant_id], np.int32)),
                windows=windows[tenant_id],
            )
            for tenant_id in sorted({*newest, *windows})
        ]

    def remember(self, newest: Columns) -> None:
        """Takes each series' newest stored sample: older ones that come now are late."""
        if len(newest):
            np.maximum.at(self._last_us, newest.series_ids, newest.ts_us)

    def observe(self, blocks: Iterable[JournalBlock], now_us: int) -> int:
        """Judges new points, all of learned series; returns how many concern any rule."""
        points = keep_last(concat_columns([self._concerning(block.points) for block in blocks]))
        if len(points):
            self._observe_instant(points.take((self._flags[points.series_ids] & INSTANT) != 0))
        watched = points.take((self._flags[points.series_ids] & WATCHED) != 0) if self._watched else points
        for rule in self._watched.values():
            self._observe_watched(rule, watched, now_us)
        return len(points)

    def tick(self, now_us: int) -> None:
        """Judges what time alone has made due: waits for late samples that are over."""
        for rule in self._watched.values():
            if rule.compiled.delay_us:
                self._observe_watched(rule, empty_columns(), now_us)

    def judge_silence(self, now_us: int) -> None:
        """Looks for targets whose samples have stayed away; to be called only when nothing waits to be observed."""
        for compiled in self._rules.values():
            if not watches_silence(compiled.rule):
                continue
            for line, last_us in self._last_of(compiled):
                due_us = max(last_us, self._since_us) + compiled.no_data_after_us
                if last_us < 0 or due_us > now_us or last_us < now_us - SILENCE_US_MAX:
                    continue
                if compiled.rule.no_data is NoData.ALERT:
                    self._targets.silent(compiled, line, last_us + compiled.no_data_after_us)
                else:
                    self._targets.calm(compiled, line, due_us)
                self._mark(compiled, line)

    def effects(self, now_us: int) -> Effects:
        """What happened since the last call, for the store."""
        return self._targets.effects(now_us)

    def _concerning(self, points: Columns) -> Columns:
        return points.take(self._flags[points.series_ids] > SEEN)

    def _observe_instant(self, points: Columns) -> None:
        points = points.take(points.ts_us > self._last_us[points.series_ids])
        if len(points) == 0:
            return
        ids, values = points.series_ids, points.values
        self._last_us[ids] = points.ts_us  # sorted: the last assignment, the newest instant, stays
        notable = (values >= self._high[ids]) | (values <= self._low[ids]) | self._active[ids]
        if not notable.any():
            return
        notable_ids = np.unique(ids[notable])
        starts = np.searchsorted(ids, notable_ids, "left").tolist()
        ends = np.searchsorted(ids, notable_ids, "right").tolist()
        for series_id, start, end in zip(notable_ids.tolist(), starts, ends, strict=True):
            ts_us, mine = points.ts_us[start:end], values[start:end]
            for compiled, line in self._instant_of[series_id]:
                self._targets.read(compiled, line, ts_us, mine, compiled.levels(mine))
            self._active[series_id] = self._is_active(series_id)

    def _observe_watched(self, rule: WatchedRule, points: Columns, now_us: int) -> None:
        compiled = rule.compiled
        active = rule.numbers_of(self._targets.active_of(compiled.id))
        readings = rule.observe(points, now_us, active)
        if len(readings) == 0:
            return
        levels = compiled.levels(readings.values)
        starts = np.append(0, np.flatnonzero(readings.lines[1:] != readings.lines[:-1]) + 1)
        worst = np.maximum.reduceat(levels, starts)
        ends = np.append(starts[1:], len(readings))
        numbers = readings.lines[starts]
        notable = (worst >= Level.WARNING) | np.isin(numbers, active)
        for number, start, end in zip(
            numbers[notable].tolist(), starts[notable].tolist(), ends[notable].tolist(), strict=True
        ):
            mine = slice(start, end)
            self._targets.read(compiled, rule.lines[number], readings.ts_us[mine], readings.values[mine], levels[mine])

    def _bind_instant(self, compiled: CompiledRule, series_id: int, line: Line) -> None:
        self._flags[series_id] |= INSTANT
        self._instant_of.setdefault(series_id, []).append((compiled, line))
        low, high = compiled.quiet_band()
        self._high[series_id] = min(self._high[series_id], high)
        self._low[series_id] = max(self._low[series_id], low)
        self._active[series_id] |= self._targets.is_active(Target(compiled.tenant_id, compiled.id, line.key))
        if watches_silence(compiled.rule):
            self._silent_of[compiled.id].append((series_id, line))

    def _last_of(self, compiled: CompiledRule) -> Iterable[tuple[Line, int]]:
        """The rule's lines with the instant each was judged last, -1 where never."""
        if compiled.is_instant:
            return ((line, int(self._last_us[series_id])) for series_id, line in self._silent_of[compiled.id])
        watched = self._watched[compiled.id]
        return zip(watched.lines, watched.newest_us().tolist(), strict=True)

    def _mark(self, compiled: CompiledRule, line: Line) -> None:
        if compiled.is_instant:
            series_id = int(line.key[1:])
            self._active[series_id] = self._is_active(series_id)

    def _is_active(self, series_id: int) -> bool:
        return any(
            self._targets.is_active(Target(compiled.tenant_id, compiled.id, line.key))
            for compiled, line in self._instant_of[series_id]
        )

    def _grow(self, size: int) -> None:
        have = len(self._last_us)
        if size <= have:
            return
        more = max(size, 2 * have) - have
        if have == 0:
            self._flags, self._active = np.empty(0, np.uint8), np.empty(0, np.bool_)
            self._followed = np.empty(0, np.bool_)  # the newest instant is known, whatever rules come and go
            self._high, self._low = np.empty(0, np.float64), np.empty(0, np.float64)
        self._last_us = np.append(self._last_us, np.full(more, -1, np.int64))
        self._flags = np.append(self._flags, np.zeros(more, np.uint8))
        self._active = np.append(self._active, np.zeros(more, np.bool_))
        self._followed = np.append(self._followed, np.zeros(more, np.bool_))
        self._high = np.append(self._high, np.full(more, np.inf))
        self._low = np.append(self._low, np.full(more, -np.inf))


class _RuleIndex:
    """Rules by tenant and metric, then by how one label's value must begin: a series is held against few rules."""

    def __init__(self, rules: Sequence[CompiledRule]) -> None:
        self._general: dict[tuple[int, str], list[CompiledRule]] = defaultdict(list)
        self._by_prefix: dict[tuple[int, str, str, str], list[CompiledRule]] = defaultdict(list)
        self._sizes: dict[tuple[int, str, str], set[int]] = defaultdict(set)
        """By tenant, metric and label the lengths of the prefixes there are."""
        for compiled in rules:
            metric = compiled.tenant_id, compiled.rule.metric
            narrow = max(compiled.matchers, key=lambda one: len(one.prefix), default=None)
            if narrow is not None and narrow.prefix:
                self._by_prefix[*metric, narrow.label, narrow.prefix].append(compiled)
                self._sizes[*metric, narrow.label].add(len(narrow.prefix))
            else:
                self._general[metric].append(compiled)

    def of(self, info: SeriesInfo) -> list[CompiledRule]:
        """The rules that watch a series."""
        metric = info.tenant_id, info.name
        found = list(self._general.get(metric, ()))
        for label, value in info.labels.items():
            for size in self._sizes.get((*metric, label), ()):
                if size <= len(value):
                    found += self._by_prefix.get((*metric, label, value[:size]), ())
        return [compiled for compiled in found if compiled.selects(info.labels)]


def line_of(compiled: CompiledRule, info: SeriesInfo) -> Line:
    """What of a rule a series belongs to: itself, or the group of its labels."""
    group_by = compiled.rule.group_by
    if group_by is None:
        return Line(f"s{info.series_id}", info.labels)
    labels = {label: info.labels[label] for label in group_by if label in info.labels}
    digest = hashlib.blake2b(msgspec.json.encode(labels, order="sorted"), digest_size=8).hexdigest()
    return Line(f"g{digest}", labels)
