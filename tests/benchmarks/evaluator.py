"""Evaluation by itself, in this process: a thousand rules over arrays, against one comparison after the other.

The reference looks at each point and each instant rule of its series in a loop, and has no windows, no states and no
order to keep: the least that a plain loop must do. Its work is a part of the evaluator's.
"""

import time
from collections.abc import Sequence

import numpy as np

from core.domain.columns import Columns
from core.domain.compiled_rule import CompiledRule, compile_rule
from core.domain.head import JournalBlock
from core.domain.rules import AlertRule
from core.services.evaluator import Evaluator
from ports.driven.evaluation_store import SeriesInfo
from tests.benchmarks.alert_rules import MIX, thousand_rules
from tests.benchmarks.report import Report
from tests.benchmarks.workload import INTERVAL_S, NAMES, REGIONS, Workload, host_name

TENANT = 1
FRESH_US = 600_000_000
BLOCKS_PER_ROUND = 15  # what bulk ingest brings in a third of a second
NAIVE_POINTS_MAX = 200_000
STORM_MOMENTS = 20
WRONG, RIGHT = 500.0, 50.0


def evaluator(work: Workload, *, repeats: int) -> Report:
    """Processor seconds per million points, of quiet series and in storms, and of starting."""
    report = Report("evaluator", "none", f"{work.points:,} points, {work.series:,} series; {MIX}")
    rules = thousand_rules()
    instant = [rule for rule in rules if rule.window is None]
    broad = [rule for rule in instant if not rule.matchers]
    quiet = [_block(work, at, work.values(at * work.series, work.series)) for at in range(work.moments)]
    firing = [_block(work, at, np.full(work.series, WRONG)) for at in range(STORM_MOMENTS)]
    flapping = [_block(work, at, np.full(work.series, RIGHT if at % 2 else WRONG)) for at in range(STORM_MOMENTS)]
    naive_s = report.figure(
        "naive loop, instant rules", "CPU s/M", [_naive(instant, quiet, work) for _ in range(repeats)]
    )
    one_s = report.figure("instant rules", "CPU s/M", [_evaluate(instant, quiet, work) for _ in range(repeats)])
    report.figure("all rules", "CPU s/M", [_evaluate(rules, quiet, work) for _ in range(repeats)])
    report.figure("4 rules, all series fire", "CPU s/M", [_evaluate(broad, firing, work) for _ in range(repeats)])
    report.figure("4 rules, all series flap", "CPU s/M", [_evaluate(broad, flapping, work) for _ in range(repeats)])
    report.figure("rules read, series learned", "CPU s", [_learn(rules, work) for _ in range(repeats)])
    report.check("naive loop ÷ instant rules", naive_s / one_s, least=5)
    return report


def _evaluate(rules: Sequence[AlertRule], blocks: Sequence[JournalBlock], work: Workload) -> float:
    ready = _ready(_compiled(rules), work)
    started_s = time.process_time()
    for first in range(0, len(blocks), BLOCKS_PER_ROUND):
        ready.observe(blocks[first : first + BLOCKS_PER_ROUND], work.end_us)
        ready.tick(work.end_us)
        ready.effects(work.end_us)
    return (time.process_time() - started_s) * 1e6 / (len(blocks) * work.series)


def _learn(rules: Sequence[AlertRule], work: Workload) -> float:
    started_s = time.process_time()
    _ready(_compiled(rules), work)
    return time.process_time() - started_s


def _naive(rules: Sequence[AlertRule], blocks: Sequence[JournalBlock], work: Workload) -> float:
    thresholds: dict[int, list[tuple[bool, float]]] = {}
    compiled = _compiled(rules)
    for info in _series(work):
        mine = [one for one in compiled if one.rule.metric == info.name and one.selects(info.labels)]
        thresholds[info.series_id] = [(one.quiet_band()[1] < np.inf, max(_finite(one))) for one in mine]
    points, found = 0, 0
    started_s = time.process_time()
    for block in blocks[: max(1, NAIVE_POINTS_MAX // work.series)]:
        columns = block.points
        for series_id, value in zip(columns.series_ids.tolist(), columns.values.tolist(), strict=True):
            for above, threshold in thresholds[series_id]:
                if value > threshold if above else value < threshold:
                    found += 1
        points += len(columns)
    return (time.process_time() - started_s) * 1e6 / points


def _finite(compiled: CompiledRule) -> list[float]:
    return [bound for bound in compiled.quiet_band() if np.isfinite(bound)]


def _compiled(rules: Sequence[AlertRule]) -> list[CompiledRule]:
    return [compile_rule(TENANT, number, 1, rule) for number, rule in enumerate(rules, 1)]


def _ready(rules: Sequence[CompiledRule], work: Workload) -> Evaluator:
    """An evaluator that knows every series."""
    ready = Evaluator(rules, (), fresh_us=FRESH_US, now_us=work.end_us)
    ready.learn(_series(work), np.arange(1, work.series + 1, dtype=np.int32))
    return ready


def _series(work: Workload) -> list[SeriesInfo]:
    return [
        SeriesInfo(
            series_id=number + 1,
            tenant_id=TENANT,
            name=NAMES[number % len(NAMES)],
            labels={"host": host_name(host), "region": REGIONS[host % len(REGIONS)]},
        )
        for number in range(work.series)
        for host in [number // len(NAMES)]
    ]


def _block(work: Workload, at: int, values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> JournalBlock:
    """One sample of each series, at one instant."""
    points = Columns(
        np.arange(1, work.series + 1, dtype=np.int32),
        np.full(work.series, work.start_us + at * INTERVAL_S * 1_000_000),
        values,
    )
    return JournalBlock(
        writer=1, sequence=at + 1, order=at + 1, tenant_ids=(TENANT,), tenant_ends=(work.series,), points=points
    )
