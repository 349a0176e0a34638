"""What a tenant's metric source may use, and where it sends its credentials."""

from collections.abc import Collection
from typing import Final

from core.domain.errors import Forbidden, InvalidInput
from core.domain.source_configs import (
    KIND_OF,
    CloudWatchConfig,
    DatadogConfig,
    EksConfig,
    HawkeyeConfig,
    NewRelicConfig,
    PrometheusConfig,
    SourceConfig,
    SyntheticConfig,
)
from core.domain.tenants import Principal
from ports.driven.notifier import AddressGuard

TRUST: Final = "SEXTANT_WORKER_TENANTS"
"""The setting that names the tenants who may use what is the server's own."""


class SourceReach:
    """Keeps tenants that the operator does not trust from what is the server's own."""

    def __init__(self, guard: AddressGuard, trusted: Collection[str]) -> None:
        self._guard = guard
        self._trusted = frozenset(trusted)

    def trusts(self, principal: Principal) -> bool:
        """Whether the caller's tenant may use the server's environment, cluster, credentials and network."""
        return principal.tenant in self._trusted

    async def check(self, principal: Principal, config: SourceConfig, credential_names: Collection[str]) -> None:
        """Raises as `check_rights` does, and `InvalidInput` where the source would connect to what it must not."""
        self.check_rights(principal, config, credential_names)
        if self.trusts(principal):
            return
        match config:
            case HawkeyeConfig():
                await self._guard.check_url("config.base_url", config.base_url)
            case PrometheusConfig():
                await self._guard.check_url("config.url", config.url)
            case _:  # of the others the vendor is at a known place; EKS is for trusted tenants
                return

    def check_rights(self, principal: Principal, config: SourceConfig, credential_names: Collection[str]) -> None:
        """Raises `Forbidden` or `InvalidInput` where only a tenant that the operator trusts may have such a source."""
        if self.trusts(principal):
            return
        unless = f"tenants that {TRUST} names, and this one is not among them"
        match config:
            case EksConfig():
                raise Forbidden(f"an EKS source reads the server's own cluster; that is for {unless}")
            case CloudWatchConfig() if config.endpoint_url is not None:
                raise Forbidden(f"another endpoint_url than AWS' own is for {unless}")
            case CloudWatchConfig() if "access_key_id" not in credential_names:
                raise InvalidInput(
                    "credentials.access_key_id", f"is missing; the server's own AWS credentials are for {unless}"
                )
            case _:
                return


def destination(config: SourceConfig) -> tuple[object, ...]:
    """The system that takes the credentials, and where it is: what may not change while they are kept."""
    kind = KIND_OF[type(config)]
    match config:
        case DatadogConfig():
            return kind, config.site
        case CloudWatchConfig():
            return kind, config.region, config.endpoint_url
        case NewRelicConfig():
            return kind, config.region, config.account_id
        case HawkeyeConfig():
            return kind, config.base_url
        case EksConfig():
            return kind, config.metrics_url
        case PrometheusConfig():
            return kind, config.url
        case SyntheticConfig():
            return (kind,)
