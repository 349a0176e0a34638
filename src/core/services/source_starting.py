"""Putting runs of metric sources in line: stored ones, one for once only, and those of the server's own."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Final

import msgspec

from core.domain.collection import CollectionRequest, CollectionRun, OneOffSource
from core.domain.errors import CallerError, Conflict, InvalidInput
from core.domain.source_configs import KIND_OF, SourceKind, SyntheticConfig, check_config
from core.domain.sources import BACKFILL_US_MAX, SourceSpec, StoredSource, check_credentials
from core.domain.tenants import Principal
from core.domain.times import DAY_US
from core.services.recording import actor
from core.services.source_checks import TRUST, SourceReach
from ports.driven.source_store import CollectionRunStore, RunOrder, Sealing, SourceStore
from ports.driving.collecting import StartedRuns

SYNTHETIC: Final = OneOffSource(config=SyntheticConfig())
"""Needs nothing of anybody's, so everybody has it."""
VARIABLES: Final[Mapping[SourceKind, str]] = {
    SourceKind.DATADOG: "DATADOG_API_KEY and DATADOG_APP_KEY",
    SourceKind.CLOUDWATCH: "AWS_REGION",
    SourceKind.NEWRELIC: "NEWRELIC_API_KEY and NEWRELIC_ACCOUNT_ID",
    SourceKind.HAWKEYE: "HAWKEYE_BASE_URL and HAWKEYE_API_KEY",
    SourceKind.EKS: "EKS_IN_CLUSTER or EKS_KUBECONFIG_PATH",
    SourceKind.PROMETHEUS: "PROMETHEUS_URL",
}
"""What configures a source of the server's own, by kind."""
SCOPE_CHARS: Final = 16
"""Of a one-off's digest: 64 bits tell one tenant's configurations apart."""


class SourceStarting:
    """Makes orders of what a caller names and puts them in line."""

    def __init__(
        self,
        sources: SourceStore,
        runs: CollectionRunStore,
        sealing: Sealing,
        reach: SourceReach,
        environment: Mapping[SourceKind, OneOffSource],
    ) -> None:
        self._sources = sources
        self._runs = runs
        self._sealing = sealing
        self._reach = reach
        self._environment = environment

    async def start(
        self,
        principal: Principal,
        kind: SourceKind | None,
        request: CollectionRequest,
        one_off: OneOffSource | None,
        *,
        name: str | None,
        now: datetime,
    ) -> StartedRuns:
        """See `ports.driving.collecting.Sources.start`."""
        _check_window(request, now)
        if one_off is not None:
            order = await self._one_off(principal, kind, request, one_off)
            return StartedRuns(runs=await self._runs.request(principal.tenant_id, [order], now=now))
        if name is not None:
            orders, errors = self._stored(principal, [await self._sources.get(principal.tenant_id, name)], request)
        else:
            orders, errors = await self._of_kind(principal, kind, request)
        runs, refused = await self._request(principal.tenant_id, orders, now)
        return StartedRuns(runs=runs, errors=errors | refused)

    async def _of_kind(
        self, principal: Principal, kind: SourceKind | None, request: CollectionRequest
    ) -> tuple[dict[str, RunOrder], dict[str, str]]:
        """Orders of all that is enabled, and why there is none of some; raises `InvalidInput` where nothing is."""
        stored = await self._sources.list(principal.tenant_id)
        of_kind = [source for source in stored if kind in (None, source.spec.kind)]
        own = self._own(principal, kind, {source.spec.kind for source in stored})
        enabled = [source for source in of_kind if source.spec.enabled]
        if not enabled and not own:
            disabled = [source.spec.name for source in of_kind]
            raise _nothing(kind, trusted=self._reach.trusts(principal), disabled=disabled)
        orders, errors = self._stored(principal, enabled, request)
        for each, source in own.items():
            orders[each.value] = self._order(principal, f"server:{each.value}", source, request)
        return orders, errors

    async def _one_off(
        self, principal: Principal, kind: SourceKind | None, request: CollectionRequest, source: OneOffSource
    ) -> RunOrder:
        own = KIND_OF[type(source.config)]
        if kind not in (None, own):
            raise InvalidInput("config.type", f"is {own.value}, but what is to be collected is {kind.value}")
        check_config(source.config)
        check_credentials(own, source.credentials)
        await self._reach.check(principal, source.config, source.credentials)
        # Runs of the same configuration with the same credentials share checkpoints.
        told = msgspec.json.encode([source.config, sorted(source.credentials.items())])
        scope = f"once:{self._sealing.fingerprint(told)[:SCOPE_CHARS]}"
        return self._order(principal, scope, source, request)

    def _own(
        self, principal: Principal, kind: SourceKind | None, stored: Collection[SourceKind]
    ) -> dict[SourceKind, OneOffSource]:
        """The sources of the server's own that the caller may use, of kinds of which it has none itself."""
        own = dict(self._environment) if self._reach.trusts(principal) else {}
        if kind is SourceKind.SYNTHETIC:  # made-up data only come where they are asked for
            own[kind] = SYNTHETIC
        return {each: source for each, source in own.items() if kind in (None, each) and each not in stored}

    def _stored(
        self, principal: Principal, sources: Sequence[StoredSource], request: CollectionRequest
    ) -> tuple[dict[str, RunOrder], dict[str, str]]:
        """Orders of stored sources, and why there is none of some: whose tenant may be trusted no longer."""
        orders, errors = {}, {}
        for source in sources:
            try:
                self._reach.check_rights(principal, source.spec.config, source.credential_names)
            except CallerError as error:
                errors[source.spec.name] = str(error)
                continue
            orders[source.spec.name] = RunOrder(
                spec=source.spec,
                scope=source.scope,
                sealed=None,
                stored=True,
                request=request,
                requested_by=actor(principal),
            )
        return orders, errors

    def _order(self, principal: Principal, scope: str, source: OneOffSource, request: CollectionRequest) -> RunOrder:
        """One of a source that is not stored."""
        return RunOrder(
            spec=SourceSpec(name=KIND_OF[type(source.config)].value, config=source.config, interval=None),
            scope=scope,
            sealed=self._sealing.seal(source.credentials) if source.credentials else None,
            stored=False,
            request=request,
            requested_by=actor(principal),
        )

    async def _request(
        self, tenant_id: int, orders: Mapping[str, RunOrder], now: datetime
    ) -> tuple[Sequence[CollectionRun], dict[str, str]]:
        """Puts them in line; where not all have room, as many as have, and says why not the others."""
        try:
            return await self._runs.request(tenant_id, list(orders.values()), now=now), {}
        except Conflict:
            if len(orders) == 1:
                raise
        runs: list[CollectionRun] = []
        errors = {}
        for name, order in orders.items():
            try:
                runs += await self._runs.request(tenant_id, [order], now=now)
            except Conflict as error:
                errors[name] = str(error)
        return runs, errors


def _nothing(kind: SourceKind | None, *, trusted: bool, disabled: Sequence[str]) -> InvalidInput:
    """What to do where there is nothing to collect from."""
    if disabled:
        names = ", ".join(disabled[:3])
        return InvalidInput("source", f"nothing is enabled: enable a source ({names}), or start it by its name")
    none = "there is none" if kind is None else f"there is none of kind {kind.value}"
    add = "add one with POST /api/v1/sources"
    if not trusted:
        return InvalidInput(
            "source", f"{none}: {add}; what the server's own environment configures is for tenants that {TRUST} names"
        )
    wanted = VARIABLES[kind] if kind is not None else "a vendor's variables (DATADOG_API_KEY and DATADOG_APP_KEY …)"
    return InvalidInput("source", f"{none}: set {wanted} where the server starts, or {add}")


def _check_window(request: CollectionRequest, now: datetime) -> None:
    if request.start_time is None:
        return
    if request.start_time >= now:
        raise InvalidInput("start_time", "must not be in the future")
    if request.end_time is None and (now - request.start_time).total_seconds() * 1e6 > BACKFILL_US_MAX:
        raise InvalidInput("start_time", f"at most {BACKFILL_US_MAX // DAY_US} days at once")
