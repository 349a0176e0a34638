"""Arrays of finite floats brought to a size at which squares and sums neither overflow nor vanish."""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Instants = NDArray[np.int64]

ROUNDING: Final = 1e-12
"""Relative to the largest value: a spread below it is what floating point makes of equal values."""


def scaled(values: Floats) -> tuple[Floats, int]:
    """`values` times a power of two, which is exact, so that the largest is in [0.5, 1); and that power's exponent.

    `scaled * 2**exponent` are the values again. All zero or empty: as they are, exponent 0.
    """
    exponent = math.frexp(float(np.abs(values).max(initial=0.0)))[1]
    return np.ldexp(values, -exponent), exponent


def finite_rows(ts_us: Instants, values: Floats) -> tuple[Instants, Floats]:
    """The rows whose value is finite, in order of time, equal times in the order given.

    `ts_us`: int64, shape (n,), microseconds since the Unix epoch; `values`: float64, shape (n,). Raises ValueError
    where the shapes differ.
    """
    if ts_us.shape != values.shape or ts_us.ndim != 1:
        raise ValueError(f"ts_us has the shape {ts_us.shape}, values {values.shape}; both are to be (n,)")
    known = np.isfinite(values)
    ts_us, values = ts_us[known], values[known]
    order = np.argsort(ts_us, kind="stable")
    return ts_us[order], values[order]
