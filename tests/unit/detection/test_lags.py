"""What earlier incidents teach about who moves after whom."""

from collections.abc import Sequence

from core.detection.lags import LAGS_MAX, learn_lags
from core.domain.incidents import LearnedLag, Signal
from core.domain.times import SECOND_US
from tests.support.incident_things import Signals


def history(**moves_s: float) -> list[Signal]:
    """An incident in which each host moved at its second, and often afterwards."""
    make = Signals()
    return [one for host, at_s in moves_s.items() for one in make.burst(3, at_s, host)]


def learned(*histories: Sequence[Signal]) -> list[tuple[str, str, float]]:
    """(first, then, lag in seconds)."""
    return [(lag.first, lag.then, lag.lag_us / SECOND_US) for lag in learn_lags(histories)]


def test_a_lag_is_the_median_of_first_moves() -> None:
    """In three incidents, with little spread; which name comes first in the alphabet does not matter."""
    lags = learn_lags([history(b=0, a=60), history(b=0, a=64), history(b=10, a=71)])
    assert lags == [LearnedLag(first="b", then="a", lag_us=61 * SECOND_US, spread_us=SECOND_US, incidents=3)]


def test_twice_may_be_chance() -> None:
    """Two incidents teach nothing."""
    assert learned(history(a=0, b=60), history(a=0, b=60)) == []


def test_no_lag_without_one_direction() -> None:
    """Once the other way round is enough to teach nothing."""
    assert learned(history(a=0, b=60), history(a=0, b=60), history(a=0, b=60), history(a=60, b=0)) == []


def test_no_lag_with_much_spread() -> None:
    """Moves that only happen to follow one another."""
    assert learned(history(a=0, b=20), history(a=0, b=60), history(a=0, b=100), history(a=0, b=180)) == []


def test_no_lag_of_what_moves_at_once() -> None:
    """Nor of what is hours apart."""
    assert learned(*[history(a=0, b=1)] * 3) == []
    assert learned(*[history(a=0, b=7_200)] * 3) == []


def test_incidents_without_both_do_not_count() -> None:
    """Those that have both do."""
    assert learned(history(a=0, c=60), history(b=0, c=50), *[history(a=0, b=30)] * 3) == [("a", "b", 30)]


def test_lags_are_bounded() -> None:
    """Storms of many hosts teach the lags that were seen most often."""
    storm = {f"h{number:02}": number * 10.0 for number in range(50)}
    lags = learn_lags([*[history(**storm)] * 3, history(h40=0, h41=10)])
    assert len(lags) == LAGS_MAX
    assert ("h40", "h41", 4) in [(lag.first, lag.then, lag.incidents) for lag in lags]
    assert lags == sorted(lags, key=lambda lag: (lag.first, lag.then))
