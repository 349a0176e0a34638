"""The token bucket."""

import pytest

from core.domain.errors import RateLimited
from core.services.rate import TokenBucket


def test_a_burst_passes_and_then_the_rate_holds() -> None:
    """What the bucket holds passes at once; after that only what has flowed in since."""
    bucket = TokenBucket(10.0, 100.0, now_s=0.0)
    bucket.take(100, 0.0)
    with pytest.raises(RateLimited) as refused:
        bucket.take(20, 1.0)
    assert refused.value.retry_after_s == pytest.approx(1.0)
    bucket.take(20, 2.0)


def test_a_refusal_takes_nothing() -> None:
    """A refused request does not use up what later ones could have."""
    bucket = TokenBucket(10.0, 100.0, now_s=0.0)
    bucket.take(95, 0.0)
    for _ in range(5):
        with pytest.raises(RateLimited):
            bucket.take(50, 0.0)
    bucket.take(5, 0.0)


def test_a_batch_larger_than_the_burst_is_not_refused_for_ever() -> None:
    """A full bucket lets it pass into debt, which is then worked off at the rate."""
    bucket = TokenBucket(10.0, 100.0, now_s=0.0)
    bucket.take(1_000, 0.0)
    with pytest.raises(RateLimited) as refused:
        bucket.take(1, 1.0)
    assert refused.value.retry_after_s == pytest.approx(89.1)
    bucket.take(1, 91.0)


def test_the_wait_it_names_is_enough() -> None:
    """Whoever waits as told is let through."""
    bucket = TokenBucket(7.0, 50.0, now_s=0.0)
    bucket.take(50, 0.0)
    with pytest.raises(RateLimited) as refused:
        bucket.take(33, 0.0)
    bucket.take(33, refused.value.retry_after_s)
