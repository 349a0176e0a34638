"""The driving ports as a few dictionaries: enough to see what HTTP makes of requests and answers.

They keep no samples; the shipped services over the memory adapter do, and the end-to-end tests use those.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec
import numpy as np

from core.domain.definitions import Aggregation, MetricDefinition
from core.domain.errors import Conflict, Forbidden, NotFound, SextantError, Unauthenticated
from core.domain.points import ERRORS_SHOWN_MAX, IngestReply
from core.domain.queries import (
    AggregateResult,
    AggregateRow,
    Fill,
    LatestSample,
    Line,
    RawPage,
    RawSample,
    SeriesResult,
)
from core.domain.tenants import ApiKey, Limits, Principal, Scope, Tenant
from core.domain.times import TimeRange
from ports.driven.tenant_store import LimitOverrides
from ports.driving.administration import CreatedKey, Usage
from ports.driving.health import Check, Readiness, RemediationHealth
from ports.driving.ingestion import IngestRequest
from ports.driving.querying import Selector

MADE_AT = datetime(2026, 1, 31, 12, tzinfo=UTC)


def principal(*scopes: Scope, tenant: str = "acme", tenant_id: int = 2) -> Principal:
    """A caller with these scopes."""
    return Principal(tenant_id=tenant_id, tenant=tenant, key_id=1, scopes=frozenset(scopes))


class Failing:
    """Raises `error`, where it is set, from every call."""

    error: Exception | None = None

    def _check(self) -> None:
        if self.error is not None:
            raise self.error


class Authentications(Failing):
    """Keys by their text."""

    def __init__(self) -> None:
        self.principals = {
            "all-scopes-key": principal(*Scope, tenant="default", tenant_id=1),
            "ingest-key": principal(Scope.INGEST),
            "query-key": principal(Scope.QUERY),
            "alerts-key": principal(Scope.ALERTS),
            "remediate-key": principal(Scope.REMEDIATE),
            "admin-key": principal(Scope.ADMIN),
        }

    async def authenticate(self, key: str) -> Principal:
        self._check()
        if key not in self.principals:
            raise Unauthenticated("unknown API key")
        return self.principals[key]


class Ingestions(Failing):
    """Takes every decoded point; keeps the requests."""

    def __init__(self) -> None:
        self.requests: list[IngestRequest] = []

    async def ingest(self, request: IngestRequest) -> IngestReply:
        self._check()
        self.requests.append(request)
        refused = len(request.rejections)
        shown = tuple(request.rejections[:ERRORS_SHOWN_MAX])
        if not request.points or (request.atomic and refused):
            return IngestReply(0, refused, shown)
        return IngestReply(len(request.points), refused, shown, f"1-{len(self.requests)}")


class Queries(Failing):
    """Answers every query with one sample; keeps the questions."""

    def __init__(self) -> None:
        self.asked: list[tuple[object, ...]] = []
        self.lines: list[Line] = []

    def _ask(self, principal: Principal, *question: object) -> None:
        self._check()
        principal.require(Scope.QUERY)
        self.asked.append(question)

    async def raw(
        self, principal: Principal, selector: Selector, time_range: TimeRange, *, limit: int, cursor: str | None
    ) -> RawPage:
        self._ask(principal, selector, time_range, limit, cursor)
        return RawPage([RawSample("2026-01-31T12:00:00Z", selector.name, {"host": "a"}, None, 1.5)], "next")

    async def latest(self, principal: Principal, selector: Selector) -> Sequence[LatestSample]:
        self._ask(principal, selector)
        return [LatestSample(selector.name, {"host": "a"}, "agent", "2026-01-31T12:00:00Z", 1.5)]

    async def aggregate(
        self, principal: Principal, selector: Selector, time_range: TimeRange, *, group_by: Sequence[str]
    ) -> AggregateResult:
        self._ask(principal, selector, time_range, list(group_by))
        return AggregateResult(selector.name, [AggregateRow({}, 2, 1.5, 1.0, 2.0, 3.0, 1.5, 1.95, 1.99)])

    async def series(
        self,
        principal: Principal,
        selector: Selector,
        time_range: TimeRange,
        *,
        bucket_us: int,
        group_by: Sequence[str],
        aggregation: Aggregation | None,
        fill: Fill,
    ) -> SeriesResult:
        self._ask(principal, selector, time_range, bucket_us, list(group_by), aggregation, fill)
        return SeriesResult(selector.name, bucket_us, (aggregation or Aggregation.AVG).value, self.lines)

    async def names(self, principal: Principal, prefix: str) -> Sequence[str]:
        self._ask(principal, prefix)
        return ["cpu", "mem"]

    async def label_names(self, principal: Principal) -> Sequence[str]:
        self._ask(principal)
        return ["host"]

    async def label_values(self, principal: Principal, label: str) -> Sequence[str]:
        self._ask(principal, label)
        return ["a", "b"]


class DefinitionBook(Failing):
    """Definitions by name."""

    def __init__(self) -> None:
        self.by_name: dict[str, MetricDefinition] = {}

    async def list(self, principal: Principal) -> Sequence[MetricDefinition]:
        self._check()
        return [self.by_name[name] for name in sorted(self.by_name)]

    async def get(self, principal: Principal, name: str) -> MetricDefinition:
        self._check()
        if name not in self.by_name:
            raise NotFound("metric definition", name)
        return self.by_name[name]

    async def create(self, principal: Principal, definition: MetricDefinition) -> None:
        self._check()
        if definition.name in self.by_name:
            raise Conflict(f"{definition.name!r} is defined already")
        self.by_name[definition.name] = definition

    async def put(self, principal: Principal, definition: MetricDefinition) -> bool:
        self._check()
        created = definition.name not in self.by_name
        self.by_name[definition.name] = definition
        return created

    async def delete(self, principal: Principal, name: str) -> None:
        await self.get(principal, name)
        del self.by_name[name]


class Administrations(Failing):
    """Tenants and keys by id."""

    def __init__(self) -> None:
        self.tenants_by_id = {1: Tenant(id=1, name="default", created_at=MADE_AT)}
        self.keys_by_id: dict[int, ApiKey] = {}
        self.limits_by_tenant: dict[str, LimitOverrides] = {}

    async def tenants(self, principal: Principal) -> Sequence[Tenant]:
        self._check()
        return list(self.tenants_by_id.values())

    async def create_tenant(self, principal: Principal, name: str, limits: LimitOverrides) -> Tenant:
        self._check()
        if not principal.is_operator:
            raise Forbidden("only the operator creates tenants")
        tenant = Tenant(id=len(self.tenants_by_id) + 1, name=name, created_at=MADE_AT)
        self.tenants_by_id[tenant.id] = tenant
        self.limits_by_tenant[name] = limits
        return tenant

    async def set_limits(self, principal: Principal, tenant: str, limits: LimitOverrides) -> Tenant:
        self.limits_by_tenant[tenant] = limits
        return self._tenant(tenant)

    async def keys(self, principal: Principal, tenant: str | None) -> Sequence[ApiKey]:
        self._check()
        wanted = self._tenant(tenant or principal.tenant).name
        return [key for key in self.keys_by_id.values() if key.tenant == wanted]

    async def create_key(
        self,
        principal: Principal,
        tenant: str | None,
        *,
        name: str | None,
        scopes: frozenset[Scope],
        expires_at: datetime | None,
    ) -> CreatedKey:
        key = ApiKey(
            id=len(self.keys_by_id) + 1,
            tenant=self._tenant(tenant or principal.tenant).name,
            name=name,
            prefix="abc123",
            scopes=scopes,
            created_at=MADE_AT,
            expires_at=expires_at,
        )
        self.keys_by_id[key.id] = key
        return CreatedKey(key, "sx_abc123secret")

    async def revoke_key(self, principal: Principal, key_id: int) -> None:
        if key_id not in self.keys_by_id:
            raise NotFound("key", str(key_id))
        self.keys_by_id[key_id] = msgspec.structs.replace(self.keys_by_id[key_id], revoked_at=MADE_AT)

    async def usage(self, principal: Principal) -> Usage:
        self._check()
        limits = Limits(
            samples_per_s=1e6, samples_burst=2e6, series_max=1_000, query_points_max=10_000, query_timeout_s=30.0
        )
        return Usage(tenant=principal.tenant, limits=limits, series_active=3, samples_available=2e6)

    def _tenant(self, tenant: str) -> Tenant:
        for known in self.tenants_by_id.values():
            if tenant in (known.name, str(known.id)):
                return known
        raise NotFound("tenant", tenant)


class HealthState:
    """Ready, or not."""

    ready = True

    async def readiness(self) -> Readiness:
        remediation = RemediationHealth(False, 2, "as told") if self.ready else None
        return Readiness(self.ready, (Check("database", self.ready, "as told"),), remediation)


class FixedClock:
    """Always the same instant: 2026-01-31T12:00:00Z."""

    def now_us(self) -> int:
        return 1_769_860_800_000_000

    def monotonic_s(self) -> float:
        return 0.0


def line(labels: dict[str, str], buckets_us: Sequence[int], values: Sequence[float]) -> Line:
    """A line of a series answer."""
    return Line(labels, np.array(buckets_us, np.int64), np.array(values, np.float64))


def raised_by(*fakes: Failing, error: SextantError | Exception | None) -> None:
    """Makes every call of `fakes` raise `error`."""
    for fake in fakes:
        fake.error = error
