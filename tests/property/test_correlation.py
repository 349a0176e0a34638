"""What must hold whichever signals come: order does not matter, nothing is lost or taken twice, worlds stay apart."""

import itertools
import random
from collections.abc import Iterable, Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from core.detection.correlation import Decision, Nearby, correlate
from core.detection.correlation_edges import FADED, THRESHOLD
from core.detection.correlation_places import Places
from core.domain.dependencies import Dependency
from core.domain.incidents import CorrelationSettings, IncidentState, LearnedLag, Signal, SignalEdge
from core.domain.times import HOUR_US, MINUTE_US, SECOND_US
from tests.support.incident_things import T0_US, Signals, incident_of

NOW_US = T0_US + HOUR_US
WINDOW_US = 5 * MINUTE_US
CALLS = [Dependency("web", "cart"), Dependency("cart", "db-1"), Dependency("a", "b")]
LAGS = [LearnedLag(first="a", then="c", lag_us=10 * MINUTE_US, spread_us=10 * SECOND_US, incidents=3)]
PLACES = (
    {"host": "a", "service": "web"},
    {"host": "b", "service": None},
    {"host": "c", "service": "cart"},
    {"host": None, "service": "cart"},
    {"host": "db-1", "service": None, "labels": {"cluster": "eu", "env": "prod"}},
    {"host": "d", "service": None, "labels": {"cluster": "eu", "env": "prod"}},
    {"host": None, "service": None},
)
kinds = st.sampled_from(["error", "warning", "spike", "alert", "change"])
drawn = st.tuples(kinds, st.integers(0, 1_800), st.integers(0, len(PLACES) - 1), st.booleans(), st.booleans())


def signals_of(rows: Iterable[tuple[str, int, int, bool, bool]]) -> list[Signal]:
    """Signals with different keys."""
    make = {synthetic: Signals(synthetic=synthetic) for synthetic in (False, True)}
    return [
        getattr(make[synthetic], kind)(at_s, severe=severe, key=f"event:{number}", **PLACES[place])
        for number, (kind, at_s, place, severe, synthetic) in enumerate(rows)
    ]


@st.composite
def worlds(draw: st.DrawFn) -> tuple[list[Signal], list[Nearby]]:
    """Waiting signals, and incidents open or resolved."""
    signals = signals_of(draw(st.lists(drawn, min_size=1, max_size=30)))
    homes = draw(st.lists(st.integers(-3, 3), min_size=len(signals), max_size=len(signals)))
    nearby = []
    for home in (1, 2, 3):
        for synthetic in (False, True):
            mine = [
                one for one, number in zip(signals, homes, strict=True) if number == home and one.synthetic is synthetic
            ]
            if mine:
                state = IncidentState.RESOLVED if home == 3 else IncidentState.OPEN
                incident = incident_of(home + 10 * synthetic, mine, state=state, resolved_at_s=1_000)
                nearby.append(Nearby(incident, mine))
    return [one for one, number in zip(signals, homes, strict=True) if number <= 0], nearby


def decide(waiting: Sequence[Signal], nearby: Sequence[Nearby], now_us: int = NOW_US) -> Decision:
    """With the calls and lags above and the settings' defaults."""
    return correlate(waiting, nearby, CALLS, LAGS, CorrelationSettings(), now_us)


@given(worlds(), st.randoms(use_true_random=False))
def test_no_order_matters(world: tuple[list[Signal], list[Nearby]], random: random.Random) -> None:
    """Not of the signals, of the incidents, of their signals, of the calls."""
    waiting, nearby = world
    expected = decide(waiting, nearby)
    shuffled = [Nearby(one.incident, random.sample(one.signals, len(one.signals))) for one in nearby]
    random.shuffle(shuffled)
    calls = random.sample(CALLS, len(CALLS))
    mixed = random.sample(waiting, len(waiting))
    assert correlate(mixed, shuffled, calls, LAGS, CorrelationSettings(), NOW_US) == expected


@given(worlds(), st.integers(0, 60))
def test_each_signal_has_one_end(world: tuple[list[Signal], list[Nearby]], minutes: int) -> None:
    """Opened, joined, dropped or waiting; after an hour none waits. Incidents hold together by their edges."""
    waiting, nearby = world
    decision = decide(waiting, nearby, T0_US + minutes * MINUTE_US)
    ends = [one.key for opened in decision.opened for one in opened.signals]
    ends += [one.key for grown in decision.grown for one in grown.signals]
    ends += decision.dropped
    assert len(ends) == len(set(ends))
    assert set(ends) <= {one.key for one in waiting}
    assert minutes < 60 or len(ends) == len(waiting)
    assert len({one.incident_id for one in decision.grown}) == len(decision.grown)
    had = {one.incident.id: one.signals for one in nearby}
    for opened in decision.opened:
        assert_held([], opened.signals, opened.edges)
    for grown in decision.grown:
        assert_held(had[grown.incident_id], grown.signals, grown.edges)


@given(worlds())
def test_synthetic_and_real_do_not_know_of_each_other(world: tuple[list[Signal], list[Nearby]]) -> None:
    """Each part is decided as if the other one were not there."""
    waiting, nearby = world
    parts = [
        decide(
            [one for one in waiting if one.synthetic is synthetic],
            [one for one in nearby if one.incident.synthetic is synthetic],
        )
        for synthetic in (False, True)
    ]
    both = decide(waiting, nearby)
    assert both.opened == parts[0].opened + parts[1].opened
    assert both.grown == parts[0].grown + parts[1].grown
    assert both.dropped == parts[0].dropped + parts[1].dropped


@settings(deadline=None)
@given(st.lists(drawn, max_size=40), st.permutations(range(len(PLACES))))
def test_clusters_are_those_of_all_pairs(rows: list[tuple[str, int, int, bool, bool]], places: list[int]) -> None:
    """Looking at few candidates finds the same incidents as comparing every signal with every other one."""
    signals = signals_of((kind, at_s, places[place % 3], severe, False) for kind, at_s, place, severe, _ in rows)
    decision = correlate(signals, [], CALLS, [], CorrelationSettings(signals_min=2), NOW_US)
    found = {frozenset(one.key for one in opened.signals) for opened in decision.opened if len(opened.signals) > 1}
    assert found == {cluster for cluster in all_pairs(signals) if len(cluster) > 1}


def all_pairs(signals: Sequence[Signal]) -> set[frozenset[str]]:
    """The slow way."""
    places = Places(signals, CALLS)
    clusters = {one.key: frozenset({one.key}) for one in signals}
    for one, other in itertools.combinations(signals, 2):
        distance = abs(one.at_us - other.at_us) / WINDOW_US
        doubt = 1.0
        for reason in places.relation(places.place(one), places.place(other)):
            doubt *= 1 - reason.weight * (1 - FADED * distance)
        if distance <= 1 and 1 - doubt >= THRESHOLD - 1e-9:
            joined = clusters[one.key] | clusters[other.key]
            clusters |= dict.fromkeys(joined, joined)
    return set(clusters.values())


def assert_held(had: Sequence[Signal], signals: Sequence[Signal], edges: Sequence[SignalEdge]) -> None:
    """The edges are among the incident's signals, in the order of time, and join each of the new ones to the rest."""
    at_us = {one.key: one.at_us for one in (*had, *signals)}
    joined = {one.key for one in had} or {signals[0].key}
    for edge in edges:
        assert at_us[edge.first] <= at_us[edge.then]
        assert THRESHOLD <= edge.score <= 1
        assert edge.reasons
        assert not {edge.first, edge.then} <= {one.key for one in had}
    while fresh := {
        key
        for edge in edges
        for key in (edge.first, edge.then)
        if {edge.first, edge.then} & joined and key not in joined
    }:
        joined |= fresh
    assert joined == set(at_us)
