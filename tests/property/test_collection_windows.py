"""Windows and checkpoints: whatever runs fail and whatever ranges are asked for, no checkpoint passes over a gap."""

from itertools import pairwise

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from core.domain.collection import CollectionRequest
from core.domain.source_configs import SyntheticConfig
from core.domain.sources import BACKFILL_US_MAX, SourceSpec
from core.domain.times import DAY_US, HOUR_US, MINUTE_US, TimeRange
from core.services.collection_windows import (
    Asked,
    asked_for,
    instant_of,
    refused_from,
    series_through_after,
    through_after,
    window_of,
)

BEGAN_US = 1_767_225_600_000_000
LOOKBACK_US = 6 * HOUR_US
SETTLE_US = 20 * MINUTE_US
SPEC = SourceSpec(name="made-up", config=SyntheticConfig(), lookback="6h", settle="20m")


class Run(msgspec.Struct, frozen=True):
    """One run: when it is, what it asks for, and how much of that the source answers."""

    after_us: int
    ago_us: int | None
    """An explicit start, so long before the run."""
    end_ago_us: int | None
    tenths: int
    """Of the window, from its start on."""
    has_room: bool


durations = st.integers(1, 3 * DAY_US)
runs = st.lists(
    st.builds(
        Run, st.integers(1, 2 * DAY_US), st.none() | durations, st.none() | durations, st.integers(0, 10), st.booleans()
    ),
    max_size=12,
)


def ask(run: Run, now_us: int) -> Asked | None:
    """What the run asks for; None where its end is not after its start."""
    start_us = None if run.ago_us is None else now_us - run.ago_us
    end_us = None if run.end_ago_us is None else now_us - run.end_ago_us
    if start_us is not None and end_us is not None and end_us <= start_us:
        return None
    request = CollectionRequest(
        start_time=None if start_us is None else instant_of(start_us),
        end_time=None if end_us is None else instant_of(end_us),
    )
    return asked_for(request, SPEC, now_us=now_us, cutoff_us=BEGAN_US - 30 * DAY_US)


def covers(stored: list[tuple[int, int]], start_us: int, end_us: int) -> bool:
    """Whether the ranges together hold all of [start, end)."""
    reached_us = start_us
    for first_us, last_us in sorted(stored):
        if first_us > reached_us:
            break
        reached_us = max(reached_us, last_us)
    return reached_us >= end_us


def share_of(window: TimeRange, tenths: int) -> TimeRange | None:
    """What was answered of a window; None: nothing."""
    until_us = window.start_us + (window.end_us - window.start_us) * tenths // 10
    return TimeRange(window.start_us, until_us) if until_us > window.start_us else None


@given(runs)
def test_no_checkpoint_passes_over_a_gap(history: list[Run]) -> None:
    """Everything from where the first checkpoint's window began up to the checkpoint has been stored, of a series that
    had no room as well, and a checkpoint never moves back."""
    now_us = BEGAN_US
    through_us: int | None = None
    base_us = 0
    stored: list[tuple[int, int]] = []
    behind_us: int | None = None
    behind_base_us = 0
    stored_of_series: list[tuple[int, int]] = []
    for run in history:
        now_us += run.after_us
        asked = ask(run, now_us)
        if asked is None:
            continue
        catching_up = [behind_us] if behind_us is not None and run.has_room else []
        window = window_of(asked, through_us, catching_up)
        if window is None:
            continue
        assert asked.floor_us <= window.start_us < window.end_us <= now_us
        assert window.start_us >= now_us - BACKFILL_US_MAX
        answered = share_of(window, run.tenths)
        if answered is None:
            continue
        stored.append((answered.start_us, answered.end_us))
        moved_us = through_after(asked, through_us, answered)
        if through_us is None and moved_us is not None:
            base_us = window.start_us
        assert through_us is None or (moved_us is not None and moved_us >= through_us)
        if run.has_room:
            stored_of_series.append((answered.start_us, answered.end_us))
            if behind_us is not None:
                behind_us = series_through_after(asked, behind_us, answered)
                assert covers(stored_of_series, max(behind_base_us, asked.floor_us), behind_us)
                if behind_us >= (window.end_us if moved_us is None else moved_us):
                    behind_us = None
        elif behind_us is None:
            behind_us = behind_base_us = refused_from(through_us, window)
            stored_of_series.clear()
        through_us = moved_us
        if through_us is not None:
            assert covers(stored, base_us, through_us)


@given(st.lists(st.tuples(st.integers(1, DAY_US), st.booleans()), min_size=1, max_size=10))
def test_each_instant_is_read_once_more_after_it_has_settled(gaps: list[tuple[int, bool]]) -> None:
    """Of runs by themselves the last that stores an instant ends no sooner than `settle` after it, unless it is later
    than the newest checkpoint less `settle`."""
    now_us, through_us = BEGAN_US, None
    windows = []
    for after_us, succeeds in gaps:
        now_us += after_us
        asked = asked_for(CollectionRequest(), SPEC, now_us=now_us, cutoff_us=0)
        window = window_of(asked, through_us)
        assert window is not None
        if succeeds:
            windows.append(window)
            through_us = through_after(asked, through_us, window)
    for earlier, later in pairwise(windows):
        assert later.start_us == earlier.end_us - SETTLE_US


def test_the_first_window_reaches_back_by_the_lookback() -> None:
    """And a source without a checkpoint that was asked for a range of last week goes on as if it had not been."""
    asked = asked_for(CollectionRequest(), SPEC, now_us=BEGAN_US, cutoff_us=0)
    window = window_of(asked, None)
    assert window is not None
    assert (window.start_us, window.end_us) == (BEGAN_US - LOOKBACK_US, BEGAN_US)
    backfill = CollectionRequest(
        start_time=instant_of(BEGAN_US - 8 * DAY_US), end_time=instant_of(BEGAN_US - 7 * DAY_US)
    )
    asked = asked_for(backfill, SPEC, now_us=BEGAN_US, cutoff_us=0)
    window = window_of(asked, None)
    assert window is not None
    assert (window.start_us, window.end_us) == (BEGAN_US - 8 * DAY_US, BEGAN_US - 7 * DAY_US)
    assert through_after(asked, None, window) is None


def test_a_request_that_leaves_a_gap_moves_no_checkpoint() -> None:
    """One that begins where a run by itself would have does; one for the future or past all retention has no window."""
    through_us = BEGAN_US - 2 * HOUR_US
    late = CollectionRequest(start_time=instant_of(BEGAN_US - HOUR_US))
    asked = asked_for(late, SPEC, now_us=BEGAN_US, cutoff_us=0)
    window = window_of(asked, through_us)
    assert window is not None
    assert through_after(asked, through_us, window) == through_us
    enough = CollectionRequest(start_time=instant_of(through_us - SETTLE_US))
    asked = asked_for(enough, SPEC, now_us=BEGAN_US, cutoff_us=0)
    window = window_of(asked, through_us)
    assert window is not None
    assert through_after(asked, through_us, window) == BEGAN_US
    for start_us, end_us in ((BEGAN_US + 1, BEGAN_US + HOUR_US), (BEGAN_US - 50 * DAY_US, BEGAN_US - 40 * DAY_US)):
        request = CollectionRequest(start_time=instant_of(start_us), end_time=instant_of(end_us))
        assert window_of(asked_for(request, SPEC, now_us=BEGAN_US, cutoff_us=0), None) is None
