"""The machine's clock."""

import time


class SystemClock:
    """The `Clock` of the operating system; follows its corrections."""

    def now_us(self) -> int:
        """Microseconds since the Unix epoch."""
        return time.time_ns() // 1_000

    def monotonic_s(self) -> float:
        """Seconds since some start of this machine."""
        return time.monotonic()
