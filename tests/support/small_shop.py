"""A hand-made shop of four services, an hour of its metrics before an instant and five minutes after it.

`web` calls `cart` and `ads`, `cart` calls `stock`. Every service has two pods. Noise is the same in every run.
"""

import itertools
from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from core.detection.causes import Suspect, rank_causes
from core.detection.metric_meaning import ObservedSeries
from core.detection.service_graph import service_graph
from core.domain.times import HOUR_US, MINUTE_US

AT_US: Final = 1_767_225_600_000_000
"""2026-01-01T00:00:00Z."""
CALLS: Final = (("web", "cart"), ("web", "ads"), ("cart", "stock"))
SERVICES: Final = ("ads", "cart", "stock", "web")
PODS: Final = ("1", "2")
TIMES_US: Final = np.arange(AT_US - HOUR_US, AT_US + 5 * MINUTE_US, MINUTE_US)
AFTER: Final = TIMES_US >= AT_US
LEVELS: Final = {
    "cpu_usage_percent": 20.0,
    "memory_used_bytes": 5e8,
    "http_server_duration_seconds": 0.05,
    "requests_per_second": 30.0,
    "errors_per_second": 0.2,
}
EDGE_LATENCY: Final = "edge_latency_seconds"
EDGE_LEVEL_S: Final = {("web", "cart"): 0.05, ("web", "ads"): 0.01, ("cart", "stock"): 0.02}

Values = NDArray[np.float64]
Key = tuple[str, tuple[tuple[str, str], ...]]


class SmallShop:
    """The shop's series, each of which can be changed from the instant on."""

    def __init__(self) -> None:
        """A shop in which nothing happens."""
        rng = np.random.default_rng(4)
        self._values: dict[Key, Values] = {}
        for service, pod, (name, level) in itertools.product(SERVICES, PODS, LEVELS.items()):
            labels = {"service": service, "pod": f"{service}-{pod}"}
            self._values[_key(name, labels)] = level * (1 + 0.05 * rng.standard_normal(TIMES_US.size))
        for (client, server), level in EDGE_LEVEL_S.items():
            inside = level * (1 + 0.05 * rng.standard_normal(TIMES_US.size))
            edge = {"client": client, "server": server}
            self._values[_key(EDGE_LATENCY, {**edge, "side": "server"})] = inside
            self._values[_key(EDGE_LATENCY, {**edge, "side": "client"})] = inside + 0.001

    def change(self, name: str, change: Callable[[Values], Values], **labels: str) -> "SmallShop":
        """The shop, with `change` done to the values after the instant of all series with these labels."""
        for key in self._matching(name, labels):
            values = self._values[key].copy()
            values[AFTER] = change(values[AFTER])
            self._values[key] = values
        return self

    def times(self, name: str, factor: float, **labels: str) -> "SmallShop":
        """The shop, with the values after the instant multiplied."""
        return self.change(name, lambda values: values * factor, **labels)

    def longer(
        self, by_s: float, *calls: tuple[str, str], sides: tuple[str, ...] = ("client", "server")
    ) -> "SmallShop":
        """The shop, with calls that take `by_s` longer after the instant, as seen from `sides`."""
        for (client, server), side in itertools.product(calls, sides):
            self.change(EDGE_LATENCY, lambda values: values + by_s, client=client, server=server, side=side)
        return self

    def lose(self, name: str | None = None, **labels: str) -> "SmallShop":
        """The shop, with samples after the instant missing, of one metric or of all."""
        for key in list(self._values):
            if name in (None, key[0]) and _has(key, labels):
                values = self._values[key].copy()
                values[AFTER] = np.nan
                self._values[key] = values
        return self

    def series(self) -> list[ObservedSeries]:
        """What was measured; a missing sample is no sample."""
        return [
            ObservedSeries(name, dict(labels), TIMES_US[np.isfinite(values)], values[np.isfinite(values)])
            for (name, labels), values in self._values.items()
        ]

    def suspects(self) -> tuple[Suspect, ...]:
        """The ranking over the shop's own graph."""
        return rank_causes(self.series(), service_graph(CALLS), AT_US)

    def _matching(self, name: str, labels: Mapping[str, str]) -> list[Key]:
        keys = [key for key in self._values if key[0] == name and _has(key, labels)]
        assert keys, f"the shop has no {name} with {labels}"
        return keys


def _key(name: str, labels: Mapping[str, str]) -> Key:
    return name, tuple(sorted(labels.items()))


def _has(key: Key, labels: Mapping[str, str]) -> bool:
    return labels.items() <= dict(key[1]).items()
