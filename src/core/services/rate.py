"""A token bucket: how many samples may pass now, and when more may."""

from core.domain.errors import RateLimited


class TokenBucket:
    """Fills at `rate_per_s` up to `burst`; starts full."""

    def __init__(self, rate_per_s: float, burst: float, now_s: float) -> None:
        self.rate_per_s = rate_per_s
        self.burst = burst
        self._tokens = burst
        self._at_s = now_s

    def available(self, now_s: float) -> float:
        """Tokens at this moment."""
        self._tokens = min(self.burst, self._tokens + (now_s - self._at_s) * self.rate_per_s)
        self._at_s = now_s
        return self._tokens

    def take(self, count: int, now_s: float) -> None:
        """Takes `count` tokens, or raises `RateLimited` and takes none.

        A full bucket lets any count pass and goes into debt, so that a burst smaller than a batch blocks nobody.
        """
        available = self.available(now_s)
        if count > available and available < self.burst:
            wait_s = (min(count, self.burst) - available) / self.rate_per_s
            raise RateLimited(
                f"{count} samples now would pass the tenant's limit of {self.rate_per_s:g} samples/s "
                f"(burst {self.burst:g})",
                retry_after_s=wait_s,
            )
        self._tokens -= count
