"""What holds for each tenant's samples now: limits, retention, rate; read from the store, kept for a few seconds."""

from collections import OrderedDict
from typing import Final

from core.domain.definitions import RETENTION_DAYS_DEFAULT, retention_cutoff
from core.domain.tenants import Limits
from core.services.rate import TokenBucket
from ports.driven.clock import Clock
from ports.driven.tenant_store import TenantPolicy, TenantStore

KEPT_S: Final = 5.0
"""A change made through another process is in force after at most this long."""
TENANTS_MAX: Final = 10_000
"""About 10 MB; past it the least recently used tenants are read again."""


class TenantRules:
    """One tenant's policy and its token bucket."""

    def __init__(self, policy: TenantPolicy, limits: Limits, read_s: float, bucket: TokenBucket) -> None:
        self.policy = policy
        self.limits = limits
        self.read_s = read_s
        self.bucket = bucket
        self._shortest_days = min([RETENTION_DAYS_DEFAULT, *policy.retention_days.values()])

    def cutoff_us(self, name: str, now_us: int) -> int:
        """The oldest instant kept of a metric."""
        return retention_cutoff(now_us, self.policy.retention_days.get(name, RETENTION_DAYS_DEFAULT))

    def latest_cutoff_us(self, now_us: int) -> int:
        """From here on every metric is kept."""
        return retention_cutoff(now_us, self._shortest_days)


class Policies:
    """Rules by tenant. Safe to call concurrently."""

    def __init__(self, tenants: TenantStore, defaults: Limits, clock: Clock) -> None:
        self._tenants = tenants
        self._defaults = defaults
        self._clock = clock
        self._rules: OrderedDict[int, TenantRules] = OrderedDict()

    async def of(self, tenant_id: int) -> TenantRules:
        """The tenant's rules, at most `KEPT_S` old; raises `NotFound`, `Unavailable`."""
        rules = self._rules.get(tenant_id)
        if rules is not None and self._clock.monotonic_s() - rules.read_s < KEPT_S:
            return rules
        return await self.reread(tenant_id)

    async def reread(self, tenant_id: int) -> TenantRules:
        """The tenant's rules as the store has them at this moment."""
        policy = await self._tenants.policy(tenant_id)
        limits = policy.limits.applied(self._defaults)
        now_s = self._clock.monotonic_s()
        known = self._rules.get(tenant_id)
        bucket = known.bucket if known is not None else None
        if bucket is None or (bucket.rate_per_s, bucket.burst) != (limits.samples_per_s, limits.samples_burst):
            bucket = TokenBucket(limits.samples_per_s, limits.samples_burst, now_s)
        rules = self._rules[tenant_id] = TenantRules(policy, limits, now_s, bucket)
        self._rules.move_to_end(tenant_id)
        while len(self._rules) > TENANTS_MAX:
            self._rules.popitem(last=False)
        return rules
