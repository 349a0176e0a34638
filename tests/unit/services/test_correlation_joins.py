"""Which waiting signals are looked at together."""

import msgspec
import pytest

from core.domain.incidents import Signal, SignalKind
from core.services.correlation_joins import APART_US, STRETCHES_MAX, stretches

SIGNAL = Signal(
    key="event:1",
    kind=SignalKind.ERROR,
    at_us=0,
    host="db-1",
    service=None,
    metric="error",
    value=None,
    text="refused",
    labels={},
    severe=False,
    synthetic=False,
)


def cut(*times_us: int) -> list[list[int]]:
    """The times of signals, as they are looked at together."""
    waiting = [msgspec.structs.replace(SIGNAL, at_us=at_us) for at_us in times_us]
    return [[signal.at_us for signal in stretch] for stretch in stretches(waiting)]


@pytest.mark.parametrize(
    ("times_us", "together"),
    [
        ([], []),
        ([5], [[5]]),
        ([5, 5, 5 + APART_US], [[5, 5, 5 + APART_US]]),
        ([5, 6 + APART_US, 7 + APART_US], [[5], [6 + APART_US, 7 + APART_US]]),
    ],
)
def test_cut_where_nothing_reaches(times_us: list[int], together: list[list[int]]) -> None:
    """Only a gap that nothing joins over parts signals."""
    assert cut(*times_us) == together


def test_the_widest_gaps_count() -> None:
    """However many gaps there are, few stretches come of them."""
    times_us = [number * number * APART_US for number in range(1, 100)]
    found = cut(*times_us)
    assert len(found) == STRETCHES_MAX
    assert [at_us for stretch in found for at_us in stretch] == times_us
    assert [len(stretch) for stretch in found[1:]] == [1] * (STRETCHES_MAX - 1)
