"""Evaluation in arrays against an oracle that looks at one sample after the other and remembers everything."""

import os
from collections.abc import Sequence

import msgspec
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from core.domain.alert_state import FLAP_EPISODES, FLAP_KEEP_US, FLAP_WINDOW_US
from core.domain.alerts import EpisodeState, Resolution
from core.domain.columns import Columns, Int32s, keep_last
from core.domain.compiled_rule import compile_rule
from core.domain.definitions import Aggregation
from core.domain.head import JournalBlock
from core.domain.notifications import AlertEvent
from core.domain.rules import AlertRule, Condition, NoData, RuleMode, Severity, Threshold, holds
from core.domain.times import MINUTE_US, SECOND_US, parse_duration
from core.services.evaluator import SILENCE_US_MAX, Evaluator, line_of
from ports.driven.evaluation_store import Effects, SeriesInfo, StoredState, Target

TENANT = 1
START_US = 1_800_000_000 * SECOND_US
FRESH_US = 10 * MINUTE_US
SERIES = [
    SeriesInfo(series_id=1, tenant_id=TENANT, name="cpu", labels={"host": "a", "zone": "x"}),
    SeriesInfo(series_id=2, tenant_id=TENANT, name="cpu", labels={"host": "b", "zone": "x"}),
    SeriesInfo(series_id=3, tenant_id=TENANT, name="cpu", labels={"host": "c"}),
    SeriesInfo(series_id=4, tenant_id=TENANT, name="disk", labels={"host": "a"}),
]


class Row(msgspec.Struct):
    """An episode as a store would show it."""

    state: EpisodeState
    severity: Severity | None
    started_us: int
    fired_us: int | None = None
    resolved_us: int | None = None
    resolution: Resolution | None = None
    no_data: bool = False
    announced: bool = False
    events: list[AlertEvent] = []
    remediated: int = 0


Rows = dict[tuple[int, str, int], Row]
"""By rule, target and episode."""


class Sample(msgspec.Struct, frozen=True):
    """One sample of one series."""

    series_id: int
    ts_us: int
    value: float


class Step(msgspec.Struct, frozen=True):
    """One thing that happens: a transaction with samples, quiet time, an edit of the rules, a request to close."""

    samples: tuple[Sample, ...] = ()
    pass_us: int = 0
    rule: AlertRule | None = None
    slot: int = 0
    delete: bool = False
    close: bool = False


class Store:
    """Takes effects as a database does: episodes by key, states by target."""

    def __init__(self) -> None:
        self.rows: Rows = {}
        self.states: dict[Target, StoredState] = {}

    def write(self, effects: Effects) -> None:
        for target, state in effects.states.items():
            if state is None:
                del self.states[target]
            else:
                self.states[target] = state
        for one in effects.episodes:
            key = (one.target.rule_id, one.target.key, one.episode)
            if one.state is None:
                assert self.rows[key].state is EpisodeState.PENDING if key in self.rows else True
                self.rows.pop(key, None)
                continue
            row = self.rows.setdefault(key, Row(one.state, None, one.started_us, events=[]))
            row.state, row.started_us = one.state, one.started_us
            row.severity = one.severity or row.severity
            row.fired_us = row.fired_us if row.fired_us is not None else one.fired_us
            row.resolved_us, row.resolution = one.resolved_us, one.resolution
            row.no_data |= one.no_data
            row.announced |= one.announced
            row.events = [*row.events, *one.events]
            row.remediated += one.remediate


class Memory(msgspec.Struct):
    """What the oracle knows of one target: every reading that counted, and the episode it is in."""

    readings: list[tuple[int, float | None]] = []
    """(instant, value), None for noticed silence."""
    episode: int = 0
    row: Row | None = None
    fired: list[int] = []
    active_us: int = -1
    """The newest reading while anything was pending or firing: nothing before it counts, in any life of the rule."""
    from_reading: int = 0
    """Readings before this one belong to another life of the rule."""


class Oracle:
    """One sample after the other, nothing clever."""

    def __init__(self, rules: dict[int, AlertRule]) -> None:
        self.rows: Rows = {}
        self._rules = dict(rules)
        self._memories: dict[tuple[int, str], Memory] = {}
        self._points: dict[int, dict[int, float]] = {}
        self._judged: dict[tuple[int, str], int] = {}
        self._looked_at: dict[int, int] = {}
        """By series the newest instant that any instant rule has looked at."""
        self._learned: dict[int, set[int]] = {}
        """By rule the series whose past is known to have been judged before."""
        self._known: dict[tuple[int, int], dict[int, float]] = {}
        """By rule and series the samples that the rule knows of."""

    def transaction(self, samples: Sequence[Sample], now_us: int, quiet: bool) -> None:
        sent = {sample.series_id for sample in samples}
        rules = self._rules.values()
        whole = {rule.metric for rule in rules if rule.group_by is not None or rule.no_data is not NoData.KEEP}
        self._learn(sent | {info.series_id for info in SERIES if info.name in whole})
        for sample in samples:
            self._points.setdefault(sample.series_id, {})[sample.ts_us] = sample.value
            for rule_id, learned in self._learned.items():
                if sample.series_id in learned:
                    self._known[rule_id, sample.series_id][sample.ts_us] = sample.value
        for rule_id, rule in self._rules.items():
            self._judge(rule_id, rule, samples, now_us)
        for rule_id, rule in self._rules.items():
            if _is_instant(rule):
                for sample in samples:
                    if sample.series_id in self._learned.get(rule_id, ()):
                        newest = max(sample.ts_us, self._looked_at.get(sample.series_id, -1))
                        self._looked_at[sample.series_id] = newest
        if quiet:
            for rule_id, rule in self._rules.items():
                self._judge_silence(rule_id, rule, now_us)
        self._announce(now_us)

    def edit(self, rule_id: int, rule: AlertRule | None, now_us: int) -> None:
        before = self._rules.pop(rule_id, None)
        if rule is not None:
            self._rules[rule_id] = rule
        if rule is None or (before is not None and before.subject != rule.subject):
            for (owner, key), memory in self._memories.items():
                if owner == rule_id:
                    self._end(rule_id, key, memory, now_us, Resolution.RULE_CHANGED)
        if rule is None or before is None or before.subject != rule.subject or _is_instant(before) != _is_instant(rule):
            self._judged = {at: us for at, us in self._judged.items() if at[0] != rule_id}
            self._learned.pop(rule_id, None)
        for owner, other in self._rules.items():
            if _is_instant(other):
                self._learned.pop(owner, None)

    def _learn(self, series_ids: set[int]) -> None:
        """What was stored of a series before a rule sees it for the first time counts as judged."""
        for rule_id, rule in self._rules.items():
            learned = self._learned.setdefault(rule_id, set())
            for key, members in self._groups(rule).items():
                for member in (series_ids & set(members)) - learned:
                    learned.add(member)
                    before = dict(self._points.get(member, {}))
                    self._known[rule_id, member] = before
                    past = max(before, default=-1)
                    if _is_instant(rule):
                        self._looked_at[member] = max(past, self._looked_at.get(member, -1))
                    else:
                        self._judged[rule_id, key] = max(past, self._judged.get((rule_id, key), -1))

    def close(self, now_us: int) -> None:
        for (rule_id, key), memory in self._memories.items():
            self._end(rule_id, key, memory, now_us, Resolution.CLOSED)

    def active(self) -> list[Target]:
        return [Target(TENANT, rule_id, key) for (rule_id, key), memory in self._memories.items() if memory.row]

    def _end(self, rule_id: int, key: str, memory: Memory, now_us: int, why: Resolution) -> None:
        if memory.row is not None:
            self._resolve(rule_id, key, memory, now_us, why)
        memory.from_reading = len(memory.readings)

    def _judge(self, rule_id: int, rule: AlertRule, samples: Sequence[Sample], now_us: int) -> None:
        for key, members in self._groups(rule).items():
            members = [member for member in members if member in self._learned.get(rule_id, ())]
            if _is_instant(rule):
                judged = self._looked_at.get(members[0], -1) if members else 0
                instants = sorted({s.ts_us for s in samples if s.series_id in members})
            else:
                judged = self._judged.get((rule_id, key), -1)
                until_us = now_us - parse_duration(rule.evaluation_delay, "") if rule.evaluation_delay else 2**62
                mine = {ts for member in members for ts in self._known[rule_id, member]}
                instants = sorted(ts for ts in mine if ts <= until_us)
            for at_us in instants:
                if at_us > judged:
                    value = self._value(rule_id, rule, members, at_us)
                    judged = self._judged[rule_id, key] = at_us
                    self._read(rule_id, rule, key, at_us, value)

    def _groups(self, rule: AlertRule) -> dict[str, list[int]]:
        compiled = compile_rule(TENANT, 0, 0, rule)
        groups: dict[str, list[int]] = {}
        for info in SERIES:
            if info.name == rule.metric and compiled.selects(info.labels):
                groups.setdefault(line_of(compiled, info).key, []).append(info.series_id)
        return groups

    def _value(self, rule_id: int, rule: AlertRule, members: list[int], at_us: int) -> float:
        window_us = parse_duration(rule.window, "") if rule.window else 1
        points = [
            (ts, value)
            for member in members
            for ts, value in self._known[rule_id, member].items()
            if at_us - window_us < ts <= at_us
        ]
        values = [value for _, value in points]
        match rule.aggregation:
            case Aggregation.AVG:
                return sum(values) / len(values)
            case Aggregation.MAX:
                return max(values)
            case Aggregation.MIN:
                return min(values)
            case Aggregation.COUNT:
                return float(len(values))
            case Aggregation.SUM:
                return float(sum(values))
            case _:
                return max(points)[1]

    def _read(self, rule_id: int, rule: AlertRule, key: str, at_us: int, value: float | None) -> None:
        memory = self._memories.setdefault((rule_id, key), Memory(readings=[], fired=[]))
        if at_us <= memory.active_us:
            return
        memory.readings.append((at_us, value))
        if memory.row is not None or self._is_bad(rule, value):
            memory.active_us = at_us
        hold_us = parse_duration(rule.for_, "") if rule.for_ and value is not None else 0
        severity = self._severity(rule, memory, hold_us)
        row = memory.row
        if not self._is_bad(rule, value):
            if row is not None and row.state is EpisodeState.PENDING:
                self._drop(rule_id, key, memory)
            elif row is not None and self._good_for(rule, memory, at_us) is not None:
                keep_us = parse_duration(rule.keep_firing_for, "") if rule.keep_firing_for else 0
                recent = memory.fired[-FLAP_EPISODES:]
                if len(recent) == FLAP_EPISODES and at_us - recent[0] < FLAP_WINDOW_US:
                    keep_us = max(keep_us, FLAP_KEEP_US)
                good_us = self._good_for(rule, memory, at_us)
                if good_us is not None and good_us >= keep_us:
                    self._resolve(rule_id, key, memory, at_us, Resolution.RECOVERED)
            return
        if row is None:
            memory.episode += 1
            row = memory.row = Row(EpisodeState.PENDING, None, at_us, events=[])
            self.rows[rule_id, key, memory.episode] = row
        if severity is None:
            return
        if row.state is EpisodeState.PENDING:
            row.state, row.severity, row.fired_us = EpisodeState.FIRING, severity, at_us
            row.no_data = value is None
            memory.fired.append(at_us)
        elif row.severity is Severity.WARNING and severity is Severity.CRITICAL:
            row.severity = severity
            if row.announced:
                row.events.append(AlertEvent.ESCALATED)

    def _level(self, rule: AlertRule, value: float | None) -> int:
        """0 good, 1 unclear, 2 warning, 3 critical."""
        if value is None:
            return 2 if rule.warning is not None else 3
        if rule.critical is not None and holds(rule.condition, value, rule.critical):
            return 3
        if rule.warning is not None and holds(rule.condition, value, rule.warning):
            return 2
        return int(rule.clear is not None and holds(rule.condition, value, rule.clear))

    def _is_bad(self, rule: AlertRule, value: float | None) -> bool:
        return self._level(rule, value) >= 2

    def _severity(self, rule: AlertRule, memory: Memory, hold_us: int) -> Severity | None:
        """What has held for long enough, counted back from the last reading."""
        at_us = memory.readings[-1][0]
        for level, severity in ((3, Severity.CRITICAL), (2, Severity.WARNING)):
            since_us = None
            for ts, value in reversed(memory.readings[memory.from_reading :]):
                if self._levels_then(rule, value) < level:
                    break
                since_us = ts
            if since_us is not None and at_us - since_us >= hold_us:
                return severity
        return None

    def _levels_then(self, rule: AlertRule, value: float | None) -> int:
        return self._level(rule, value)

    def _good_for(self, rule: AlertRule, memory: Memory, at_us: int) -> int | None:
        assert memory.row is not None
        since_us = None
        for ts, value in reversed(memory.readings[memory.from_reading :]):
            if self._level(rule, value) > 0 or ts < (memory.row.fired_us or 0):
                break
            since_us = ts
        return None if since_us is None else at_us - since_us

    def _resolve(self, rule_id: int, key: str, memory: Memory, at_us: int, why: Resolution) -> None:
        row = memory.row
        assert row is not None
        if row.state is EpisodeState.PENDING:
            self._drop(rule_id, key, memory)
            return
        memory.row = None
        row.state, row.resolved_us, row.resolution = EpisodeState.RESOLVED, at_us, why
        if row.announced:
            row.events.append(AlertEvent.RESOLVED)

    def _drop(self, rule_id: int, key: str, memory: Memory) -> None:
        """What never fired is forgotten."""
        del self.rows[rule_id, key, memory.episode]
        memory.row, memory.episode = None, memory.episode - 1
        if memory.episode == 0:
            memory.active_us = -1

    def _judge_silence(self, rule_id: int, rule: AlertRule, now_us: int) -> None:
        if rule.no_data is NoData.KEEP:
            return
        after_us = parse_duration(rule.no_data_after, "")
        for key, members in self._groups(rule).items():
            last_us = self._looked_at.get(members[0], -1) if _is_instant(rule) else self._judged.get((rule_id, key), -1)
            if last_us < 0 or max(last_us, START_US) + after_us > now_us or last_us < now_us - SILENCE_US_MAX:
                continue
            memory = self._memories.get((rule_id, key))
            row = memory.row if memory is not None else None
            if rule.no_data is NoData.ALERT:
                if row is None or row.state is EpisodeState.PENDING:
                    self._read(rule_id, rule, key, last_us + after_us, None)
            elif row is not None and row.state is EpisodeState.PENDING and memory is not None:
                self._drop(rule_id, key, memory)
                memory.from_reading = len(memory.readings)

    def _announce(self, now_us: int) -> None:
        for (rule_id, _), memory in self._memories.items():
            row, rule = memory.row, self._rules.get(rule_id)
            if row is None or row.state is not EpisodeState.FIRING or row.announced or rule is None:
                continue
            if rule.mode is RuleMode.LIVE and memory.readings[-1][0] >= now_us - FRESH_US:
                row.announced = True
                row.events.insert(0, AlertEvent.FIRED)
                row.remediated += rule.remediation is not None


def _is_instant(rule: AlertRule) -> bool:
    return rule.window is None and rule.evaluation_delay is None


values = st.sampled_from([0.0, 5.0, 7.0, 9.0, 10.0, 11.0, 19.0, 20.0, 21.0, 30.0])
thresholds: dict[Condition, tuple[list[Threshold | None], ...]] = {
    Condition.ABOVE: ([10.0, None], [20.0, None], [7.0, None]),
    Condition.AT_LEAST: ([10.0, None], [20.0, None], [7.0, None]),
    Condition.BELOW: ([10.0, None], [7.0, None], [20.0, None]),
    Condition.OUTSIDE: ([(7.0, 20.0), None], [(5.0, 21.0), None], [(9.0, 11.0), None]),
    Condition.EQUAL: ([10.0, None], [20.0, None], [None]),
}


@st.composite
def rules(draw: st.DrawFn) -> AlertRule:
    """A rule of any kind, over few series, so that things happen."""
    condition = draw(st.sampled_from(list(thresholds)))
    warning, critical, clear = (draw(st.sampled_from(options)) for options in thresholds[condition])
    if warning is None and critical is None:
        warning = thresholds[condition][0][0]
    windowed = draw(st.booleans())
    return AlertRule(
        name=f"r{draw(st.integers(0, 3))}",
        metric=draw(st.sampled_from(["cpu", "cpu", "disk"])),
        matchers=draw(st.sampled_from([(), ("host=a",), ("host!=a",), ("zone=~x.*",)])),
        aggregation=draw(st.sampled_from([Aggregation.AVG, Aggregation.MAX, Aggregation.MIN, Aggregation.COUNT]))
        if windowed
        else Aggregation.LAST,
        window=draw(st.sampled_from(["30s", "1m"])) if windowed else None,
        group_by=draw(st.sampled_from([None, (), ("zone",)])) if windowed else None,
        condition=condition,
        warning=warning,
        critical=critical,
        clear=clear,
        for_=draw(st.sampled_from([None, None, "20s", "1m"])),
        keep_firing_for=draw(st.sampled_from([None, None, "25s"])),
        no_data=draw(st.sampled_from(list(NoData))),
        no_data_after=draw(st.sampled_from(["30s", "2m"])),
        evaluation_delay=draw(st.sampled_from([None, None, "15s"])),
        remediation=draw(st.sampled_from([None, "policy"])),
        mode=draw(st.sampled_from([RuleMode.LIVE, RuleMode.LIVE, RuleMode.SHADOW])),
    )


samples = st.builds(
    Sample,
    series_id=st.sampled_from([1, 1, 1, 2, 3, 4]),
    # Around the present, mostly in order, with late ones, duplicates and a sender's backlog of an hour.
    ts_us=st.sampled_from([-3600, -60, -20, -10, -5, -1, 0, 0, 1, 5, 10]).map(lambda s: s * SECOND_US),
    value=values,
)
arrivals = st.builds(
    Step,
    samples=st.lists(samples, min_size=1, max_size=6).map(tuple),
    pass_us=st.sampled_from([0, 5 * SECOND_US, 20 * SECOND_US, 61 * SECOND_US]),
)
steps = st.one_of(
    arrivals,
    arrivals,
    arrivals,
    st.builds(Step, pass_us=st.sampled_from([SECOND_US, 10 * SECOND_US, 40 * SECOND_US, 5 * MINUTE_US])),
    st.builds(Step, rule=rules(), slot=st.integers(1, 3)),
    st.builds(Step, delete=st.just(True), slot=st.integers(1, 3)),
    st.builds(Step, close=st.just(True)),
)


plain_rules = st.builds(
    AlertRule,
    name=st.just("plain"),
    metric=st.just("cpu"),
    warning=st.just(10.0),
    critical=st.just(20.0),
    clear=st.sampled_from([None, 7.0]),
    for_=st.sampled_from([None, None, "20s"]),
    keep_firing_for=st.sampled_from([None, None, "40s"]),
    remediation=st.just("policy"),
)
ticks = st.builds(
    Step,
    samples=st.lists(
        st.builds(
            Sample,
            series_id=st.just(1),
            ts_us=st.sampled_from([0, 0, 0, -5 * SECOND_US, -120 * SECOND_US]),
            value=st.sampled_from([5.0, 8.0, 15.0, 25.0]),
        ),
        min_size=1,
        max_size=2,
    ).map(tuple),
    pass_us=st.sampled_from([10 * SECOND_US, 30 * SECOND_US, 6 * MINUTE_US]),
)
EXAMPLES = int(os.environ.get("SEXTANT_TEST_ALERT_EXAMPLES", "2000"))


@settings(max_examples=EXAMPLES, deadline=None)
@given(first=st.lists(rules(), min_size=1, max_size=3), story=st.lists(steps, min_size=1, max_size=25))
def test_every_transition_is_that_of_the_oracle(first: list[AlertRule], story: list[Step]) -> None:
    """Flapping, late, repeated and missing samples, edits and deletions mid-episode: the same episodes and events."""
    play(first, story)


@settings(max_examples=EXAMPLES // 4, deadline=None)
@given(rule=plain_rules, story=st.lists(ticks, min_size=5, max_size=40))
def test_one_series_in_order(rule: AlertRule, story: list[Step]) -> None:
    """A value that goes up and down, now and then late: escalation, holding, clearing, damping as the oracle has it."""
    play([rule], story)


def play(first: list[AlertRule], story: list[Step]) -> None:
    """The same story to both, compared after every step."""
    now_us = START_US
    in_force = dict(enumerate(first, 1))
    store, oracle = Store(), Oracle(in_force)
    stored: list[Sample] = []

    def compiled() -> list[object]:
        return [compile_rule(TENANT, rule_id, 1, rule) for rule_id, rule in in_force.items()]

    evaluator = Evaluator(compiled(), (), fresh_us=FRESH_US, now_us=now_us)  # type: ignore[arg-type]  # see `compiled`
    for sequence, step in enumerate(story, 1):
        now_us += step.pass_us
        arrived = [msgspec.structs.replace(sample, ts_us=now_us + sample.ts_us) for sample in step.samples]
        if step.rule is not None or step.delete or step.close:
            closing = [msgspec.structs.replace(one, close_requested=step.close) for one in store.states.values()]
            if step.close:
                oracle.close(now_us)
                oracle.edit(0, None, now_us)
            else:
                oracle.edit(step.slot, step.rule, now_us)
                in_force.pop(step.slot, None)
                if step.rule is not None:
                    in_force[step.slot] = step.rule
            evaluator.replace_rules(compiled(), closing, now_us)  # type: ignore[arg-type]  # see `compiled`
        blocks = [_block(arrived, sequence)] if arrived else []
        whole = [info.series_id for info in SERIES if (TENANT, info.name) in evaluator.whole_metrics]
        _learn(evaluator, evaluator.not_learned(np.array(whole, np.int32)), stored)
        _learn(evaluator, evaluator.unknown(blocks), stored)
        stored += arrived
        evaluator.observe(blocks, now_us)
        evaluator.tick(now_us)
        if not blocks:
            evaluator.judge_silence(now_us)
        store.write(evaluator.effects(now_us))
        oracle.transaction(arrived, now_us, quiet=not blocks)
        assert store.rows == oracle.rows, f"{first}\n{story}\n{store.rows}\n{oracle.rows}"


def _learn(evaluator: Evaluator, unknown: Int32s, past: Sequence[Sample]) -> None:
    """As the service does it: what was stored before is remembered."""
    for history in evaluator.learn([info for info in SERIES if info.series_id in unknown.tolist()], unknown):
        evaluator.remember(_columns([sample for sample in past if sample.series_id in history.newest_of.tolist()]))
        for watched, series_ids in history.windows:
            known = [sample for sample in past if sample.series_id in series_ids.tolist()]
            watched.remember(keep_last(_columns(known)))


def _block(arrived: Sequence[Sample], sequence: int) -> JournalBlock:
    points = _columns(sorted(arrived, key=lambda sample: sample.series_id))
    return JournalBlock(1, sequence, sequence, (TENANT,), (len(points),), points)


def _columns(samples: Sequence[Sample]) -> Columns:
    return Columns(
        np.array([sample.series_id for sample in samples], np.int32),
        np.array([sample.ts_us for sample in samples], np.int64),
        np.array([sample.value for sample in samples], np.float64),
    )
