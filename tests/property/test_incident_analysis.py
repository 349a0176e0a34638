"""What must hold of every analysis: each sentence rests on rows that were given, and no order matters."""

import math
import random
from typing import NamedTuple

import msgspec
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from core.detection.correlation import correlate
from core.detection.incident_analysis import analyse
from core.detection.metric_meaning import ObservedSeries
from core.domain.anomalies import Anomaly, Detector
from core.domain.dependencies import Dependency
from core.domain.incidents import CorrelationSettings, IncidentAnalysis, ReferenceKind, Sentence, Signal, SignalEdge
from core.domain.times import HOUR_US, MINUTE_US
from tests.support.incident_things import T0_US, Signals, condition, instant

HOSTS = ("a", "b", "db-1")
SERVICES = ("web", "cart", "db-1")
METRICS = ("cpu", "memory", "disk_used_bytes", "error", "latency_seconds", "orders")
SOME_ANALYSES = settings(max_examples=60, deadline=None)
"""An analysis takes some milliseconds, and many times that on a busy machine."""
values = st.sampled_from([0.0, 1.0, 50.0, 99.5, -3.0, 1e12, 1e300, 5e-324])


class World(NamedTuple):
    """Everything that an analysis looks at."""

    signals: list[Signal]
    edges: list[SignalEdge]
    series: list[ObservedSeries]
    calls: list[Dependency]
    conditions: list[Anomaly]

    def analysis(self) -> IncidentAnalysis:
        """What is made of it."""
        return analyse(*self, instant(T0_US))


@st.composite
def signals(draw: st.DrawFn) -> list[Signal]:
    """Some of every kind, anywhere."""
    make, drawn = Signals(), []
    for _ in range(draw(st.integers(1, 25))):
        kind = draw(st.sampled_from(["error", "warning", "spike", "unusual", "alert", "change"]))
        more: dict[str, object] = {"service": draw(st.sampled_from([None, *SERVICES]))}
        if kind != "change" and draw(st.booleans()):
            more |= {"metric": draw(st.sampled_from(METRICS)), "value": draw(st.none() | values)}
        if kind in ("spike", "unusual"):
            phrases = ["rose 132%", "rose from 0", "variance escalated 4.30x", "variance escalated from none", "?"]
            more |= {"text": f"x {draw(st.sampled_from(phrases))} (risk 1.00)"} if draw(st.booleans()) else {}
            more.setdefault("value", draw(values))
        # The builders of anomalies need a number.
        given = {name: value for name, value in more.items() if name != "value" or value is not None}
        at_s, host = draw(st.integers(-400, 4_000)), draw(st.sampled_from([None, *HOSTS]))
        drawn.append(getattr(make, kind)(at_s, host, **given))
    return drawn


@st.composite
def observed(draw: st.DrawFn) -> ObservedSeries:
    """Few samples of any value, with labels that may say nothing."""
    labels = draw(
        st.one_of(
            st.fixed_dictionaries({"host": st.sampled_from(HOSTS)}),
            st.fixed_dictionaries({"service": st.sampled_from(SERVICES)}, optional={"pod": st.sampled_from(HOSTS)}),
            st.fixed_dictionaries({"client": st.sampled_from(SERVICES), "server": st.sampled_from(SERVICES)}),
            st.just({}),
        )
    )
    minutes = draw(st.lists(st.integers(-70, 20), max_size=30, unique=True))
    level, odd = draw(values), draw(st.sampled_from([math.nan, math.inf, 1e300, 3.0]))
    measured = [odd if minute >= 0 or minute % 7 == 0 else level for minute in minutes]
    ts_us = T0_US + np.array(minutes, np.int64) * MINUTE_US
    return ObservedSeries(draw(st.sampled_from(METRICS)), labels, ts_us, np.array(measured, np.float64))


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """An incident with what was measured around it."""
    found = draw(signals())
    names = st.sampled_from(sorted({*HOSTS, *SERVICES}))
    calls = draw(st.lists(st.tuples(names, names).filter(lambda call: call[0] != call[1]), max_size=6, unique=True))
    dependencies = [Dependency(*call) for call in calls]
    opened = correlate(found, [], dependencies, [], CorrelationSettings(signals_min=1), T0_US + HOUR_US).opened
    edges = [edge for one in opened for edge in one.edges]
    series = draw(st.lists(observed(), max_size=8, unique_by=lambda one: (one.name, tuple(sorted(one.labels.items())))))
    states = st.tuples(st.sampled_from(HOSTS), st.sampled_from(METRICS), st.sampled_from(Detector))
    conditions = [
        condition(host, metric, detector=one) for host, metric, one in draw(st.lists(states, max_size=4, unique=True))
    ]
    return World(found, edges, series, dependencies, conditions)


@SOME_ANALYSES
@given(worlds())
def test_every_sentence_rests_on_what_was_given(world: World) -> None:
    """On events, anomalies and alerts of the incident, on its conditions, and on samples that there are."""
    analysis = world.analysis()
    assert analysis.narrative
    sentences: list[Sentence] = [*analysis.narrative]
    sentences += [sentence for hypothesis in analysis.hypotheses for sentence in hypothesis.evidence]
    anomalies = {str(one.anomaly_id) for one in world.signals} | {str(one.id) for one in world.conditions}
    keys = {one.key for one in world.signals}
    series = [(one.name, dict(one.labels)) for one in world.series]
    for sentence in sentences:
        assert sentence.text.endswith(".")
        assert "  " not in sentence.text
        assert 1 <= len(sentence.references) <= 50 or sentence not in analysis.narrative
        assert sentence.references
        for one in sentence.references:
            match one.kind:
                case ReferenceKind.EVENT | ReferenceKind.ALERT:
                    assert f"{one.kind.value}:{one.id}" in keys
                case ReferenceKind.ANOMALY:
                    assert one.id in anomalies
                case ReferenceKind.SAMPLES:
                    assert (one.metric, one.labels) in series
                    assert one.start is not None
                    assert one.end is not None
                    assert one.start < one.end


@SOME_ANALYSES
@given(worlds(), st.randoms(use_true_random=False))
def test_no_order_matters(world: World, random: random.Random) -> None:
    """Not of signals, edges, series, samples, calls or conditions."""
    series = []
    for one in random.sample(world.series, len(world.series)):
        order = random.sample(range(one.ts_us.size), one.ts_us.size)
        series.append(msgspec.structs.replace(one, ts_us=one.ts_us[order], values=one.values[order]))
    mixed = World(
        signals=random.sample(world.signals, len(world.signals)),
        edges=random.sample(world.edges, len(world.edges)),
        series=series,
        calls=random.sample(world.calls, len(world.calls)),
        conditions=random.sample(world.conditions, len(world.conditions)),
    )
    assert mixed.analysis() == world.analysis()


@SOME_ANALYSES
@given(worlds())
def test_the_graph_and_the_ranking_are_whole(world: World) -> None:
    """Every signal is counted at one node, edges join nodes, scores are finite and hypotheses descend."""
    analysis = world.analysis()
    nodes = [one.entity for one in analysis.nodes]
    assert len(nodes) == len(set(nodes))
    assert sum(one.signals for one in analysis.nodes) == len(world.signals)
    for edge in analysis.edges:
        assert {edge.cause, edge.effect} <= set(nodes)
        assert 0 < edge.score <= 1
        assert edge.reasons
    scores = [one.score for one in analysis.hypotheses]
    assert scores == sorted(scores, reverse=True)
    assert all(math.isfinite(score) and score > 0 for score in scores)
    assert {one.entity for one in analysis.hypotheses} <= set(nodes)
    msgspec.json.encode(analysis)
