"""What must not change who is suspected, and that nothing which can be measured breaks the ranking."""

import math
import random
from collections.abc import Sequence

import msgspec
import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from core.detection.causes import Suspect, rank_causes
from core.detection.metric_meaning import ObservedSeries
from core.detection.service_graph import service_graph
from core.domain.times import MINUTE_US
from tests.support.small_shop import AT_US, CALLS, LEVELS, SERVICES, TIMES_US, SmallShop

GRAPH = service_graph(CALLS)
WHOLE_SHOPS = settings(max_examples=40, deadline=None)
"""A ranking of all series takes some milliseconds, and many times that on a busy machine."""
FAULTS = (
    SmallShop(),
    SmallShop().times("cpu_usage_percent", 4, service="stock").longer(0.2, ("cart", "stock"), ("web", "cart")),
    SmallShop().longer(0.2, ("web", "ads"), sides=("client",)),
    SmallShop().times("errors_per_second", 40, service="cart"),
    SmallShop().lose(client="cart", server="stock"),
    SmallShop().lose(service="ads"),
)
faults = st.sampled_from(FAULTS)
names = st.sampled_from([*LEVELS, "edge_latency_seconds", "http_requests_total", "disk_free_bytes", "x"])
services = st.sampled_from([*SERVICES, "other", ""])
values = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from([0.0, -0.0, 1.0, 1e300, -1e300, 1.7e308, -1.7e308, 5e-324]),
)


def rank(series: Sequence[ObservedSeries]) -> tuple[Suspect, ...]:
    """The ranking over the shop's graph."""
    return rank_causes(series, GRAPH, AT_US)


@st.composite
def odd_series(draw: st.DrawFn) -> ObservedSeries:
    """Few samples, at any instants near, of any value, with labels that may say nothing."""
    labels = draw(
        st.one_of(
            st.fixed_dictionaries({"service": services}, optional={"pod": st.sampled_from(["1", "2"])}),
            st.fixed_dictionaries(
                {"client": services, "server": services}, optional={"side": st.sampled_from(["client", "server", "?"])}
            ),
            st.just({}),
        )
    )
    minutes = draw(st.lists(st.integers(-70, 10), max_size=25))
    offset_us = draw(st.sampled_from([-1, 0, 1, 7_000_000]))
    ts_us = AT_US + np.array(minutes, np.int64) * MINUTE_US + offset_us
    drawn = draw(st.lists(values, min_size=len(minutes), max_size=len(minutes)))
    return ObservedSeries(draw(names), labels, ts_us, np.array(drawn, np.float64))


@WHOLE_SHOPS
@given(faults, st.randoms(use_true_random=False))
def test_the_order_of_series_and_samples_does_not_matter(shop: SmallShop, random: random.Random) -> None:
    """Not for the ranking, and not for any word of its reasoning."""
    series = []
    for one in shop.series():
        order = random.sample(range(one.ts_us.size), one.ts_us.size)
        series.append(msgspec.structs.replace(one, ts_us=one.ts_us[order], values=one.values[order]))
    random.shuffle(series)
    assert rank(series) == rank(shop.series())


@WHOLE_SHOPS
@given(faults, st.sampled_from([*LEVELS, "edge_latency_seconds"]), st.sampled_from([1e-9, 1e-3, 8.0, 60.0, 1024.0**3]))
def test_the_unit_of_a_metric_does_not_matter(shop: SmallShop, name: str, factor: float) -> None:
    """Seconds or milliseconds, bytes or gibibytes: the same suspects with the same scores."""
    scaled = [
        msgspec.structs.replace(one, values=one.values * factor) if one.name == name else one for one in shop.series()
    ]
    expected, got = rank(shop.series()), rank(scaled)
    assert [one.service for one in got] == [one.service for one in expected]
    for one, other in zip(got, expected, strict=True):
        assert math.isclose(one.score, other.score, abs_tol=1e-6)


@WHOLE_SHOPS
@given(faults, st.floats(-1e6, 1e6), st.booleans())
def test_an_idle_service_changes_nothing(shop: SmallShop, level: float, connected: bool) -> None:
    """A service whose metrics never move is no suspect, and no other's reasoning changes."""
    idle = [
        ObservedSeries(name, {"service": "idle"}, TIMES_US, np.full(TIMES_US.size, level))
        for name in ("cpu_usage_percent", "http_server_duration_seconds", "requests_per_second")
    ]
    graph = service_graph([*CALLS, ("web", "idle")] if connected else CALLS, ["idle"])
    suspects = rank_causes([*shop.series(), *idle], graph, AT_US)
    assert [one for one in suspects if one.service != "idle"] == list(rank(shop.series()))
    assert all(one.score < 0.2 for one in suspects if one.service == "idle")


@WHOLE_SHOPS
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_constant_series_make_no_suspects(level: float) -> None:
    """All equal, whatever the level, is nothing that happened."""
    series = [msgspec.structs.replace(one, values=np.full(one.ts_us.size, level)) for one in SmallShop().series()]
    assert all(one.score < 0.2 for one in rank(series))


@settings(deadline=None)
@given(st.lists(odd_series(), max_size=12), st.booleans())
@example([], False)
def test_odd_input_is_ranked_without_nan(series: list[ObservedSeries], with_shop: bool) -> None:
    """Gaps, single points, infinities and NaN, calls to oneself, empty labels: finite scores, each service once."""
    suspects = rank([*series, *(FAULTS[1].series() if with_shop else ())])
    assert len({one.service for one in suspects}) == len(suspects)
    for suspect in suspects:
        assert math.isfinite(suspect.score)
        assert suspect.score > 0
        assert all(math.isfinite(one.strength) and one.strength > 0 for one in suspect.evidence)
        assert all(math.isfinite(one.value) for one in suspect.evidence if one.value is not None)
    assert [one.score for one in suspects] == sorted((one.score for one in suspects), reverse=True)
    msgspec.json.encode(suspects)
