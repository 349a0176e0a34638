"""The cache from raw label bytes to series ids."""

import msgspec

from core.domain.points import Point
from core.services.series_cache import SeriesCache


def point(name: str, labels: bytes = b"{}", source: str | None = None) -> Point:
    return Point(name, 1.0, msgspec.Raw(labels), None, source)


def test_all_or_nothing_on_the_fast_path() -> None:
    """`ids` answers only where every point is known."""
    cache = SeriesCache(10)
    cache.put(point("cpu", b'{"host":"a"}'), 7)
    assert cache.ids([point("cpu", b'{"host":"a"}'), point("cpu", b'{"host":"b"}')]) is None
    cache.put(point("cpu", b'{"host":"b"}'), 8)
    found = cache.ids([point("cpu", b'{"host":"b"}'), point("cpu", b'{"host":"a"}')])
    assert found is not None
    assert found.tolist() == [8, 7]


def test_a_source_makes_another_series() -> None:
    """The same name and labels from a named source are looked up apart, mixed batches included."""
    cache = SeriesCache(10)
    cache.put(point("cpu"), 1)
    cache.put(point("cpu", source="agent"), 2)
    found = cache.ids([point("cpu", source="agent"), point("cpu")])
    assert found is not None
    assert found.tolist() == [2, 1]
    assert cache.get(point("cpu", source="other")) is None


def test_what_is_used_survives_and_the_rest_is_forgotten() -> None:
    """Past its bound the cache keeps what was asked for since, and drops the others within two generations."""
    cache = SeriesCache(100)
    kept = point("kept")
    cache.put(kept, 1)
    for number in range(1_000):
        cache.put(point("gone", b'{"n":"%d"}' % number), 10 + number)
        if number % 50 == 0:
            assert cache.get(kept) == 1
    assert cache.get(kept) == 1
    known = sum(cache.get(point("gone", b'{"n":"%d"}' % number)) is not None for number in range(1_000))
    assert known <= 200
