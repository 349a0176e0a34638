"""What a pod should ask for, from what pods of its workload used.

Theory of operation. All pods of a workload are made from one template, so their use is looked at together: a percentile
is over the buckets of all pods. CPU is shared out again when it is short, so a request that holds 95 % of the time is
enough, with some room. A pod that runs out of memory is killed, so memory takes the 99th percentile of what the pods
held at the worst moment of each bucket, and more room.
"""

import math
from typing import Final

import msgspec
import numpy as np

from core.domain.columns import Float64s
from core.domain.resource_prices import ResourcePrices

OVERSIZED_FROM: Final = 1.25
"""A request so many times the proposed one is too large: less is not worth a restart of the pods."""
UNDERSIZED_BELOW: Final = 0.9
"""A request below this part of the proposed one is too small: it has hardly any room left."""
AMOUNT_MAX: Final = 1e18
"""As in `core.domain.capacity.Amount`: beyond it is nonsense, and sums of nonsense overflow."""


class SizingRule(msgspec.Struct, frozen=True, kw_only=True):
    """How a request follows from use."""

    percent: float
    room: float
    """Times the percentile."""
    step: float
    """Requests are rounded up to whole steps."""
    least: float
    """No request is below it."""


CPU_RULE: Final = SizingRule(percent=95.0, room=1.15, step=0.01, least=0.01)
"""In steps of 10 millicores, which is also the least that a runtime can make anything of."""
MEMORY_RULE: Final = SizingRule(percent=99.0, room=1.2, step=float(4 << 20), least=float(16 << 20))
"""In steps of 4 MiB: finer ones are never written down. Most containers do not start in less than 16 MiB."""


class Sizing(msgspec.Struct, frozen=True, kw_only=True):
    """One resource of one workload, for each pod; None where it is not known."""

    request: float | None
    observed: float | None
    """The percentile of use."""
    proposed: float | None

    @property
    def ratio(self) -> float | None:
        """Request ÷ proposed."""
        return None if self.request is None or self.proposed is None else self.request / self.proposed

    @property
    def saved(self) -> float | None:
        """Request less proposed."""
        return None if self.request is None or self.proposed is None else self.request - self.proposed


def sized(rule: SizingRule, use: Float64s, request: float | None) -> Sizing:
    """What should be asked for; `use`: all values of all pods, shape (n,), NaN where there is none."""
    known = np.clip(use[~np.isnan(use)], 0.0, AMOUNT_MAX)
    if not len(known):
        return Sizing(request=request, observed=None, proposed=None)
    observed = float(np.percentile(known, rule.percent))
    # Less a rounding error: what is a whole number of steps already stays what it is.
    steps = math.ceil(observed * rule.room / rule.step - 1e-9)
    return Sizing(request=request, observed=observed, proposed=max(rule.least, round(steps * rule.step, 3)))


def verdict_of(*sizings: Sizing) -> str:
    """`undersized` where one resource is, else `oversized` where one is, else `fits`; `no request` where no resource
    has both a request and samples of use."""
    ratios = [ratio for sizing in sizings if (ratio := sizing.ratio) is not None]
    if not ratios:
        return "no request"
    if min(ratios) < UNDERSIZED_BELOW:
        return "undersized"
    return "oversized" if max(ratios) >= OVERSIZED_FROM else "fits"


def monthly_savings(cpu: Sizing, memory: Sizing, prices: ResourcePrices | None, pods: float) -> float | None:
    """What asking for the proposed amounts saves, negative where they are more.

    A resource without a request, or without samples of use, saves nothing. None where neither has both, or where
    prices are not known or no sensible ones.
    """
    if prices is None or (cpu.saved is None and memory.saved is None):
        return None
    saved = pods * prices.of(cpu_cores=cpu.saved or 0.0, memory_bytes=memory.saved or 0.0)
    return saved if math.isfinite(saved) else None
