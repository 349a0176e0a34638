"""Arithmetic over many stretches of rows at once: those of each series, of each window, of each bucket.

Segments lie one after the other, cover all rows and are not empty; results have one number for each segment.
"""

import msgspec
import numpy as np

from core.detection.scaling import Floats, Instants
from core.domain.columns import Int32s, Int64s


class Segments(msgspec.Struct, frozen=True, eq=False):
    """`starts`: the first row of each, int64, ascending from 0; `counts`: its rows, int64."""

    starts: Int64s
    counts: Int64s

    def __len__(self) -> int:
        return len(self.starts)

    def first(self, rows: Instants) -> Instants:
        """Each segment's first of `rows`."""
        return rows[self.starts]

    def last(self, rows: Instants) -> Instants:
        """Each segment's last of `rows`."""
        ends: Int64s = self.starts + self.counts - 1
        return rows[ends]

    def spread(self, numbers: Floats) -> Floats:
        """Each segment's number, for each of its rows."""
        return np.repeat(numbers, self.counts)

    def sums(self, rows: Floats) -> Floats:
        """Of each segment."""
        return np.add.reduceat(rows, self.starts)

    def lowest(self, rows: Floats) -> Floats:
        """Of each segment."""
        return np.minimum.reduceat(rows, self.starts)

    def highest(self, rows: Floats) -> Floats:
        """Of each segment."""
        return np.maximum.reduceat(rows, self.starts)

    def means(self, rows: Floats) -> Floats:
        """Of each segment; `rows` are scaled."""
        means = self.sums(rows) / self.counts
        return means + self.sums(rows - self.spread(means)) / self.counts

    def bounded_means(self, rows: Floats) -> Floats:
        """Of each segment, of any finite floats: divided first, since sums of the largest overflow.

        A mean lies between the segment's extremes, whatever rounding says.
        """
        with np.errstate(over="ignore"):
            means = self.sums(rows / self.spread(self.counts.astype(np.float64)))
        return means.clip(self.lowest(rows), self.highest(rows))

    def deviations(self, rows: Floats) -> Floats:
        """The sample standard deviation of each segment, 0 of a single row; `rows` are scaled."""
        return np.sqrt(self.sums((rows - self.spread(self.means(rows))) ** 2) / np.maximum(self.counts - 1, 1))


def segments_of(*keys: Int32s | Int64s) -> Segments:
    """The stretches within which no key changes; each key is of shape (n,)."""
    size = len(keys[0])
    begins = np.ones(size, np.bool_)
    if size:
        begins[1:] = np.logical_or.reduce([key[1:] != key[:-1] for key in keys])
    starts = np.flatnonzero(begins)
    return Segments(starts, np.diff(starts, append=size))


def segments_with(counts: Int64s) -> Segments:
    """Of so many rows each, all above 0."""
    return Segments(np.cumsum(counts) - counts, counts)


def leading_rows(segments: Segments, counts: Int64s) -> Int64s:
    """The first so many rows of each segment."""
    firsts = segments_with(counts)
    return np.repeat(segments.starts - firsts.starts, counts) + np.arange(int(counts.sum()))
