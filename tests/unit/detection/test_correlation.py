"""Which signals become an incident, join one, wait or are dropped, case by case."""

from collections.abc import Sequence

import pytest

from core.detection.correlation import Decision, Nearby, correlate, surroundings_range
from core.domain.dependencies import Dependency
from core.domain.incidents import CorrelationSettings, IncidentState, LearnedLag, Signal
from core.domain.times import HOUR_US, MINUTE_US, SECOND_US
from tests.support.incident_things import T0_US, Signals, incident_of

MINUTES = 60.0
LATER_US = T0_US + 3 * HOUR_US
"""When nothing waits any longer."""
PAIRS = CorrelationSettings(signals_min=2)


def decide(
    waiting: Sequence[Signal],
    nearby: Sequence[Nearby] = (),
    *,
    calls: Sequence[tuple[str, str]] = (),
    lags: Sequence[LearnedLag] = (),
    settings: CorrelationSettings = PAIRS,
    now_us: int = LATER_US,
) -> Decision:
    """The decision; two signals make an incident unless `settings` say otherwise."""
    return correlate(waiting, nearby, [Dependency(*call) for call in calls], lags, settings, now_us)


def open_incident(incident_id: int, *signals: Signal) -> Nearby:
    """An open incident of these signals."""
    return Nearby(incident_of(incident_id, signals), signals)


def resolved_incident(incident_id: int, at_s: float, *signals: Signal) -> Nearby:
    """An incident that was resolved at that second."""
    return Nearby(incident_of(incident_id, signals, state=IncidentState.RESOLVED, resolved_at_s=at_s), signals)


@pytest.mark.parametrize("apart_s", [0, 60, 300])
def test_one_host_within_the_window_is_one_incident(apart_s: int) -> None:
    """To the end of the window, and the edge says why."""
    make = Signals()
    first, then = make.error(0, "a"), make.error(apart_s, "a")
    (opened,) = decide([then, first]).opened
    assert opened.signals == (first, then)
    (edge,) = opened.edges
    assert (edge.first, edge.then, edge.reasons) == (first.key, then.key, ("same host a",))
    assert 0.6 <= edge.score <= 0.8


def test_one_host_beyond_the_window_is_none() -> None:
    """A second past it they are apart, and both are dropped once they have waited."""
    make = Signals()
    signals = [make.error(0, "a"), make.error(301, "a")]
    assert decide(signals) == Decision((), (), tuple(signal.key for signal in signals))


@pytest.mark.parametrize(
    ("one", "other", "calls", "joined"),
    [
        ({"service": "cart"}, {"service": "cart"}, [], True),
        ({"service": "cart"}, {"service": "stock"}, [("cart", "stock")], True),
        ({"service": "cart"}, {"service": "stock"}, [("stock", "cart")], True),
        ({"service": "cart"}, {"service": "stock"}, [("cart", "ads"), ("ads", "stock")], False),
        ({"service": "cart"}, {"service": "stock"}, [], False),
        ({"labels": {"env": "prod"}}, {"labels": {"env": "prod"}}, [], False),
        ({"labels": {"cluster": "eu-3"}}, {"labels": {"cluster": "eu-3"}}, [], True),
        ({"labels": {"cluster": "eu-3"}}, {"labels": {"cluster": "eu-4"}}, [], False),
        ({"labels": {"device": "sda", "mode": "user"}}, {"labels": {"device": "sda", "mode": "user"}}, [], False),
    ],
    ids=["service", "calls", "is called", "not directly", "stranger", "env", "cluster", "other cluster", "dimensions"],
)
def test_what_joins_two_hosts(
    one: dict[str, object], other: dict[str, object], calls: Sequence[tuple[str, str]], joined: bool
) -> None:
    """Their service, a declared call, or a rare label that says where they run; not a label that says little."""
    make = Signals()
    decision = decide([make.error(0, "a", **one), make.error(20, "b", **other)], calls=calls)  # type: ignore[arg-type]  # of the table above
    assert bool(decision.opened) is joined


def test_a_call_joins_to_the_end_of_the_window() -> None:
    """As a host does, though with a lower score."""
    make = Signals()
    (opened,) = decide([make.error(0, "a"), make.error(300, "b")], calls=[("b", "a")]).opened
    assert opened.edges[0].reasons == ("b calls a",)
    assert opened.edges[0].score == pytest.approx(0.525)


def test_the_latest_of_each_place_is_looked_at() -> None:
    """Another place that was silent for long hides none that was not."""
    make = Signals()
    old = [make.error(0, "a", service="web"), make.error(0, "a", service="cart")]
    new = [make.error(600, "a", service="web"), make.error(620, "a", service="ads")]
    assert [one.signals for one in decide([*old, *new]).opened] == [tuple(old), tuple(new)]


def test_many_edges_hide_no_other_cluster() -> None:
    """A signal that has all the edges that are kept still brings another host in."""
    make = Signals()
    signals = [make.error(at_s, "a", service=f"s{at_s}") for at_s in range(3)]
    signals += [make.error(3, "b", service="s"), make.error(4, "c", labels={"cluster": "eu"})]
    (opened,) = decide([*signals, make.error(5, "a", service="s", labels={"cluster": "eu"})]).opened
    assert len(opened.signals) == 6


def test_a_host_is_known_by_the_service_it_runs() -> None:
    """A signal of the host alone belongs to one of the service that calls what it runs."""
    make = Signals()
    signals = [make.spike(0, "b"), make.error(10, None, service="web"), make.error(20, "b", service="stock")]
    (opened,) = decide(signals, calls=[("web", "stock")]).opened
    assert len(opened.signals) == 3


def test_a_scope_that_all_have_joins_nothing() -> None:
    """One that forty hosts share says no more than env=prod."""
    make = Signals()
    assert not decide([make.error(0, f"h{n}", labels={"cluster": "eu"}) for n in range(40)]).opened


def test_a_metric_without_a_place_is_a_place() -> None:
    """Two alerts about the same sum over everything belong together."""
    make = Signals()
    assert decide([make.alert(0, metric="orders"), make.alert(9, metric="orders")]).opened
    assert not decide([make.alert(0, metric="orders"), make.alert(9, metric="visits")]).opened


def test_too_few_wait_and_are_dropped_together() -> None:
    """Each waits for the window and a little; one that still may find company keeps those it is joined with waiting."""
    make = Signals()
    signals = [make.error(0, "a"), make.error(240, "a")]
    for minutes, dropped in ((5.5, 0), (6.5, 0), (10.1, 2)):
        decision = decide(signals, settings=CorrelationSettings(), now_us=T0_US + int(minutes * MINUTE_US))
        assert decision == Decision((), (), tuple(one.key for one in signals[:dropped]))


def test_enough_open_at_once() -> None:
    """Nobody waits for the end of the window."""
    make = Signals()
    (opened,) = decide(make.burst(3, 0, "a"), settings=CorrelationSettings(), now_us=T0_US + 3 * SECOND_US).opened
    assert (opened.title, len(opened.signals)) == ("a: 3 errors", 3)


def test_waiting_counts_from_when_it_became_known() -> None:
    """Detection finds moments late, and one after the other."""
    make = Signals()
    found = make.spike(0, "a", seen_us=T0_US + 15 * MINUTE_US)
    assert decide([found], now_us=T0_US + 16 * MINUTE_US) == Decision((), (), ())
    assert decide([found], now_us=T0_US + 22 * MINUTE_US).dropped == (found.key,)


def test_a_severe_alert_opens_alone() -> None:
    """A warning does not, and a severe event does not."""
    make = Signals()
    critical = make.alert(0, "a", severe=True)
    decision = decide([critical, make.alert(0, "b"), make.error(0, "c")], now_us=T0_US)
    assert [one.signals for one in decision.opened] == [(critical,)]
    assert decision.dropped == ()


def test_synthetic_and_real_signals_never_meet() -> None:
    """Not even on one host, and not by way of an incident."""
    real, made = Signals().error(0, "a"), Signals(synthetic=True).alert(1, "a")
    assert decide([real, made]).dropped == (real.key, made.key)
    assert decide([made], [open_incident(1, real)]).grown == ()


def test_one_signal_joins_an_open_incident() -> None:
    """However few; the edge leads to a signal that the incident had."""
    make = Signals()
    had, late = make.error(0, "a"), make.error(200, "a")
    (grown,) = decide([late], [open_incident(7, had)], now_us=T0_US + 200 * SECOND_US).grown
    assert (grown.incident_id, grown.signals, grown.reopen) == (7, (late,), False)
    assert [(edge.first, edge.then) for edge in grown.edges] == [(had.key, late.key)]


def test_what_came_late_joins_by_when_it_happened() -> None:
    """Before the incident's own signals."""
    make = Signals()
    early, had = make.error(0, "a"), make.error(200, "a")
    (grown,) = decide([early], [open_incident(7, had)]).grown
    assert [(edge.first, edge.then) for edge in grown.edges] == [(early.key, had.key)]


def test_the_strongest_edge_decides_between_incidents() -> None:
    """A whole cluster goes where its strongest edge leads, and no edge to the other incident is left."""
    make = Signals()
    called, host = make.error(0, "db"), make.error(1, "web")
    waiting = [make.error(5, "web"), make.error(6, "web")]
    (grown,) = decide(waiting, [open_incident(1, called), open_incident(2, host)], calls=[("web", "db")]).grown
    assert (grown.incident_id, grown.signals) == (2, tuple(waiting))
    assert called.key not in {key for edge in grown.edges for key in (edge.first, edge.then)}


def test_the_older_of_equals_takes_the_signals() -> None:
    """Whatever the order of their ids."""
    make = Signals()
    older, newer = make.error(0, "a"), make.error(10, "b")
    waiting = [make.error(5, None, service="x")]
    calls = [("x", "a"), ("x", "b")]
    (grown,) = decide(waiting, [open_incident(9, older), open_incident(4, newer)], calls=calls).grown
    assert grown.incident_id == 9


def test_a_signal_that_is_part_of_an_incident_is_passed_over() -> None:
    """Deciding again after half of it was written changes nothing."""
    had = Signals().error(0, "a")
    assert decide([had], [open_incident(1, had)]) == Decision((), (), ())


@pytest.mark.parametrize(
    ("at_min", "grown", "reopened"),
    [(29, True, False), (32, True, True), (59, True, True), (61, False, False)],
    ids=["before", "after", "late", "too late"],
)
def test_a_resolved_incident_opens_again(at_min: float, grown: bool, reopened: bool) -> None:
    """By what happens within half an hour after it was resolved, half an hour in; what happened before joins only."""
    make = Signals()
    had = [make.error(0, "a"), make.error(27 * MINUTES, "a")]
    decision = decide([make.error(at_min * MINUTES, "a")], [resolved_incident(3, 30 * MINUTES, *had)])
    assert [(one.incident_id, one.reopen) for one in decision.grown] == ([(3, reopened)] if grown else [])


def test_another_host_does_not_open_it_again() -> None:
    """Being soon is not enough."""
    make = Signals()
    assert not decide([make.error(90, "b")], [resolved_incident(3, 60, make.error(0, "a"))]).grown


def test_an_incident_resolved_late_is_not_opened_by_what_came_meanwhile() -> None:
    """Signals of two days come at once, and all incidents of them are resolved then: hours apart they stay apart."""
    make = Signals()
    had, hours_later = make.error(0, "a"), make.error(3 * 60 * MINUTES, "a")
    soon, after = make.error(70 * MINUTES, "a"), make.error(9.5 * 60 * MINUTES, "a")
    assert not decide([soon, hours_later, after], [resolved_incident(3, 9 * 60 * MINUTES, had)]).grown


def test_what_happened_before_it_was_resolved_joins_like_any_other() -> None:
    """Within the window of one of its signals, or not at all."""
    make = Signals()
    assert not decide([make.error(28 * MINUTES, "a")], [resolved_incident(3, 30 * MINUTES, make.error(0, "a"))]).grown


def test_a_learned_lag_reaches_beyond_the_window() -> None:
    """Near the lag and not far from it, and the first one waits for as long as it takes."""
    make = Signals()
    lag = LearnedLag(first="a", then="b", lag_us=20 * MINUTE_US, spread_us=10 * SECOND_US, incidents=4)
    first = make.error(0, "a")
    (opened,) = decide([first, make.error(20 * MINUTES + 10, "b")], lags=[lag]).opened
    assert opened.edges[0].reasons == ("b usually moves 20 minutes after a (4 incidents)",)
    assert not decide([first, make.error(22 * MINUTES, "b")], lags=[lag]).opened
    assert not decide([first, make.error(-20 * MINUTES, "b")], lags=[lag]).opened
    assert decide([first], lags=[lag], now_us=T0_US + 21 * MINUTE_US).dropped == ()
    assert decide([first], lags=[lag], now_us=T0_US + 22 * MINUTE_US).dropped == (first.key,)


def test_a_storm_keeps_few_edges() -> None:
    """Those that hold it together and a few more."""
    make = Signals()
    signals = [one for host in range(20) for one in make.burst(20, host, f"h{host}", service="web")]
    (opened,) = decide(signals).opened
    assert len(opened.signals) == 400
    assert 399 <= len(opened.edges) <= 4 * 400


def test_surroundings_reach_as_far_as_anything_joins() -> None:
    """Back to incidents that may open again; forward over the window, or the longest lag."""
    signals = [Signals().error(0, "a"), Signals().error(60, "a")]
    near = surroundings_range(signals, [], CorrelationSettings())
    assert (near.start_us, near.end_us) == (T0_US - 90 * MINUTE_US, T0_US + 6 * MINUTE_US + 1)
    lag = LearnedLag(first="a", then="b", lag_us=2 * HOUR_US, spread_us=0, incidents=3)
    assert surroundings_range(signals, [lag], CorrelationSettings()).start_us < T0_US - 2 * HOUR_US
