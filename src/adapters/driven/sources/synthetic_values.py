"""Numbers that look measured and are the same for the same seed and instant, whichever window they are asked in."""

import hashlib
import math
from typing import Final

import numpy as np
import numpy.typing as npt

from core.domain.columns import Float64s, Int64s
from core.domain.times import DAY_US, HOUR_US, TimeRange

ANCHOR_US: Final = 1_767_236_400_000_000
"""2026-01-01T03:00Z: cycles begin at whole multiples of their length from here, for ever in both directions."""

_Words = npt.NDArray[np.uint64]


def grid(time_range: TimeRange, step_us: int) -> Int64s:
    """The whole multiples of `step_us` in the range, int64, ascending."""
    first = -(-time_range.start_us // step_us)
    return np.arange(first, -(-time_range.end_us // step_us), dtype=np.int64) * step_us


def since_cycle_start(ts_us: Int64s, cycle_us: int) -> Float64s:
    """How much of its cycle has passed at each instant, in [0, 1)."""
    part: Float64s = ((ts_us - ANCHOR_US) % cycle_us) / cycle_us
    return part


def daily(ts_us: Int64s, *, peak_hour: float) -> Float64s:
    """A wave from -1 to 1 that is highest at `peak_hour` UTC of each day."""
    turns = (ts_us % DAY_US) / DAY_US - peak_hour * HOUR_US / DAY_US
    wave: Float64s = np.cos(2.0 * math.pi * turns)
    return wave


def noise(ts_us: Int64s, *key: object) -> Float64s:
    """Values that look random and independent, in [-1, 1), one for each instant and key."""
    digest = hashlib.blake2b(repr(key).encode(), digest_size=8).digest()
    mixed = _mixed(ts_us.astype(np.uint64) ^ np.uint64(int.from_bytes(digest)))
    values: Float64s = (mixed >> np.uint64(11)).astype(np.float64) * 2.0**-52 - 1.0
    return values


def _mixed(words: _Words) -> _Words:
    """SplitMix64's finaliser (Steele, Lea and Flood: Fast splittable pseudorandom number generators, 2014)."""
    words = words + np.uint64(0x9E3779B97F4A7C15)
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))
