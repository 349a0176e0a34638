"""The demo's real data: two weeks of one machine's processor use, played in a loop that ends now."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from adapters.driving.cli.replay_source import Line, Source, shifted
from core.domain.points import Point
from core.domain.times import MINUTE_US

RECORDING: Final = Path(__file__).parent / "demo_data" / "ec2_cpu_utilization.csv"
METRIC: Final = "ec2_cpu_utilization"
LABELS: Final = {"instance": "i-ac20cd", "region": "us-east-1"}
STEP_US: Final = 5 * MINUTE_US
"""Between two samples of the recording."""


class Recording:
    """Samples that repeat for ever, at the same instants whenever it is asked."""

    def __init__(self) -> None:
        source = Source(str(RECORDING), name=METRIC, labels=LABELS, rereadable=False)
        lines = [line for line in source.lines() if isinstance(line, Line)]
        self._lines = [(line, line.ts_us) for line in lines if line.ts_us is not None]
        instants = [ts_us for _, ts_us in self._lines]
        self.period_us = max(instants) - min(instants) + STEP_US

    def between(self, start_us: int, end_us: int) -> Sequence[Point]:
        """The samples in ``[start_us, end_us)``, at most one period of them, in the order of time."""
        start_us = max(start_us, end_us - self.period_us)
        moved = (shifted(line, (end_us - 1 - ts_us) // self.period_us * self.period_us) for line, ts_us in self._lines)
        found = [line for line in moved if line.ts_us is not None and line.ts_us >= start_us]
        return [line.point for line in sorted(found, key=lambda line: line.ts_us or 0)]
