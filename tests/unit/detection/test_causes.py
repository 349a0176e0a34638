"""Each kind of fault, in a small hand-made shop, points at the service that has it."""

import numpy as np

from core.detection.cause_evidence import NOTABLE_SCALES, EvidenceKind
from core.detection.causes import Suspect, rank_causes
from core.detection.metric_meaning import ObservedSeries
from core.detection.service_graph import service_graph
from core.domain.times import HOUR_US, MINUTE_US
from tests.support.small_shop import AT_US, CALLS, TIMES_US, SmallShop


def first(shop: SmallShop) -> Suspect:
    """The one suspected most."""
    return shop.suspects()[0]


def named(suspect: Suspect, kind: EvidenceKind) -> str:
    """What the evidence of a kind that counts says."""
    return next(one.said for one in suspect.evidence if one.kind is kind and one.counts)


def test_a_quiet_shop_has_nothing_notable() -> None:
    """Noise makes no strong suspect, and the hypothesis says so."""
    for suspect in SmallShop().suspects():
        assert max(one.strength for one in suspect.evidence) < NOTABLE_SCALES
        assert suspect.hypothesis.startswith("nothing notable")


def test_processor_time_of_a_callee() -> None:
    """The callee whose processor is busy is suspected, not its callers, who wait as long as it does."""
    shop = SmallShop().times("cpu_usage_percent", 4, service="stock")
    shop.times("http_server_duration_seconds", 4, service="stock")
    shop.longer(0.2, ("cart", "stock"), ("web", "cart"))
    suspect = first(shop)
    assert suspect.service == "stock"
    assert "cpu_usage_percent of stock-" in named(suspect, EvidenceKind.RESOURCE)
    assert "cpu_usage_percent" in suspect.hypothesis


def test_memory_of_one_pod() -> None:
    """One pod of several is enough, and it is named."""
    suspect = first(SmallShop().times("memory_used_bytes", 1.8, service="ads", pod="ads-2"))
    assert suspect.service == "ads"
    assert "memory_used_bytes of ads-2: " in named(suspect, EvidenceKind.RESOURCE)


def test_network_delay_on_one_edge() -> None:
    """Slow for the client and not for the server is the network, and the hypothesis says so."""
    suspect = first(SmallShop().longer(0.2, ("web", "ads"), sides=("client",)))
    assert suspect.service == "ads"
    assert suspect.hypothesis.startswith("network to ads")
    assert "calls from web to ads, client's side: " in named(suspect, EvidenceKind.LATENCY)
    assert "no resource of ads" in " ".join(one.said for one in suspect.counter_evidence)


def test_a_delay_travels_to_callers_that_are_explained_by_it() -> None:
    """The callers' latency moves as much, and counts for nothing; the callee is named as the reason."""
    shop = SmallShop().longer(0.3, ("cart", "stock"), ("web", "cart"))
    suspects = {suspect.service: suspect for suspect in shop.suspects()}
    assert first(shop).service == "stock"
    assert suspects["cart"].score < suspects["stock"].score / 4
    said = " ".join(one.said for one in suspects["cart"].counter_evidence)
    assert "of the latency of cart is explained by edge_latency_seconds of calls from cart to stock" in said


def test_a_callee_that_slowed_less_explains_only_that() -> None:
    """A caller that slowed far more than its callee is slow by itself."""
    shop = SmallShop().longer(1.0, ("web", "cart")).longer(0.05, ("cart", "stock"))
    assert first(shop).service == "cart"


def test_a_callee_that_slowed_later_explains_nothing() -> None:
    """Effects do not come before their causes."""
    late = np.array([0.0, 0.0, 0.3, 0.3, 0.3])
    shop = SmallShop().longer(0.3, ("web", "cart"))
    for side in ("client", "server"):
        shop.change("edge_latency_seconds", lambda values: values + late, client="cart", server="stock", side=side)
    cart = next(suspect for suspect in shop.suspects() if suspect.service == "cart")
    assert not any("is explained by" in one.said for one in cart.counter_evidence)
    assert cart.score > 3


def test_errors_travel_to_callers_too() -> None:
    """Of all who fail, the one whose callees do not is suspected."""
    shop = SmallShop()
    for service in ("stock", "cart", "web"):
        shop.times("errors_per_second", 40, service=service)
    suspect = first(shop)
    assert suspect.service == "stock"
    assert suspect.hypothesis == "stock fails by itself"


def test_an_exception_before_the_calls() -> None:
    """A service whose calls to a healthy callee stop, fails before it calls."""
    shop = SmallShop().lose("edge_latency_seconds", client="cart", server="stock")
    shop.times("requests_per_second", 0.02, service="stock")
    suspect = first(shop)
    assert suspect.service == "cart"
    said = [one.said for one in suspect.evidence if one.kind is EvidenceKind.CALLS]
    assert "calls from cart to stock are missing since 2026-01-01T00:00:00Z" in said
    assert any(one.startswith("requests_per_second of stock-") for one in said)
    assert suspect.hypothesis == "cart fails, or decides otherwise, before it calls others"


def test_a_lost_service() -> None:
    """All its pods fall silent, and with them the calls to it; its caller is not blamed for those."""
    shop = SmallShop().lose(service="stock").lose(client="cart", server="stock")
    suspects = {suspect.service: suspect for suspect in shop.suspects()}
    assert first(shop).service == "stock"
    assert "stock, or a replica of it, is gone" in first(shop).hypothesis
    assert all(one.strength < NOTABLE_SCALES for one in suspects["cart"].evidence)


def test_a_lost_pod() -> None:
    """One replica of two is missing."""
    suspect = first(SmallShop().lose(service="cart", pod="cart-2"))
    assert suspect.service == "cart"
    assert "replicas, are missing since" in named(suspect, EvidenceKind.SILENCE)


def test_a_replaced_pod_is_not_missing() -> None:
    """A rolling update ends a pod and begins another."""
    shop = SmallShop().lose(service="cart", pod="cart-2")
    after_us = TIMES_US[TIMES_US >= AT_US]
    new = ObservedSeries("cpu_usage_percent", {"service": "cart", "pod": "cart-3"}, after_us, np.full(5, 20.0))
    suspects = rank_causes([*shop.series(), new], service_graph(CALLS), AT_US)
    assert all(one.kind is not EvidenceKind.SILENCE for suspect in suspects for one in suspect.evidence if one.counts)


def test_a_collector_that_was_away_blames_nobody() -> None:
    """When everything falls silent, nothing is known of any service."""
    assert SmallShop().lose().suspects() == ()


def test_what_moved_long_before_is_not_the_cause() -> None:
    """A series that stands where it stood in the minutes before did not move at the instant."""
    cpu = np.where(TIMES_US < AT_US - 10 * MINUTE_US, 20.0, 80.0)
    moved = ObservedSeries("cpu_usage_percent", {"service": "old"}, TIMES_US, cpu)
    suspects = rank_causes([*SmallShop().series(), moved], service_graph(CALLS), AT_US)
    assert "old" not in [suspect.service for suspect in suspects]


def test_traffic_is_the_callers_doing() -> None:
    """More requests speak against who sends them."""
    assert first(SmallShop().times("requests_per_second", 5, service="ads")).service == "web"


def test_without_a_graph_the_measured_calls_are_one() -> None:
    """Edges that are measured need no declaration."""
    shop = SmallShop().longer(0.3, ("cart", "stock"), ("web", "cart"))
    assert rank_causes(shop.series(), service_graph(()), AT_US)[0].service == "stock"


def test_only_the_window_counts() -> None:
    """Samples outside [at - before, at + after) change nothing."""
    shop = SmallShop().times("cpu_usage_percent", 4, service="ads")
    graph = service_graph(CALLS)
    far = AT_US + np.array([-HOUR_US - 1, 5 * MINUTE_US, HOUR_US])
    outside = ObservedSeries("cpu_usage_percent", {"service": "web", "pod": "web-1"}, far, np.array([1e9, 1e9, 1e9]))
    assert rank_causes([*shop.series(), outside], graph, AT_US) == rank_causes(shop.series(), graph, AT_US)
