"""Opening sources of every kind."""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext

import pytest

from adapters.driven.sources.opening import VendorSources
from adapters.driven.sources.surroundings import Surroundings
from adapters.runtime.outbound import OutboundClient
from adapters.runtime.outbound_address import IPAddress
from core.domain.collection import ProblemKind
from core.domain.source_configs import (
    CloudWatchConfig,
    DatadogConfig,
    HawkeyeConfig,
    NewRelicConfig,
    PrometheusConfig,
    SourceConfig,
    SyntheticConfig,
)
from core.domain.times import HOUR_US, TimeRange
from ports.driven.metric_source import ItemWindow, SourceError
from tests.support.receiver import Receiver
from tests.support.vendors.gathered import gather
from tests.support.vendors.opened import World, spec_of
from tests.support.vendors.passing import PassingPause, loopback_surroundings

CONFIGURED: list[tuple[SourceConfig, Mapping[str, str]]] = [
    (DatadogConfig(), {"api_key": "a", "app_key": "b"}),
    (NewRelicConfig(account_id=1), {"api_key": "a"}),
    (HawkeyeConfig(base_url="https://hawkeye.example"), {"api_key": "a"}),
    (PrometheusConfig(url="https://prometheus.example"), {}),
    (SyntheticConfig(), {}),
    (CloudWatchConfig(region="eu-central-1"), {"access_key_id": "a", "secret_access_key": "b"}),
]


@pytest.mark.parametrize(("config", "credentials"), CONFIGURED, ids=lambda value: type(value).__name__)
async def test_sources_open_without_asking_anything(config: SourceConfig, credentials: Mapping[str, str]) -> None:
    """What a vendor says comes with discovery."""
    async with World().opened(config, credentials) as source:
        assert source.usage().calls == 0


@pytest.mark.parametrize(
    ("config", "credentials", "missing"),
    [
        (DatadogConfig(), {"api_key": "a"}, "app_key"),
        (DatadogConfig(), {}, "api_key and app_key"),
        (NewRelicConfig(account_id=1), {}, "api_key"),
        (HawkeyeConfig(base_url="https://h.example"), {}, "api_key"),
    ],
)
async def test_missing_credentials_are_named(
    config: SourceConfig, credentials: Mapping[str, str], missing: str
) -> None:
    """Before anything is opened."""
    with pytest.raises(SourceError, match=missing) as error:
        async with World().opened(config, credentials):
            pass
    assert error.value.problem.kind is ProblemKind.CREDENTIALS


@pytest.mark.parametrize("trusted", [False, True])
async def test_private_addresses_are_for_those_the_operator_trusts(*, trusted: bool) -> None:
    """All others reach public ones only, over https."""
    world = World()
    surroundings = loopback_surroundings(world.clock, PassingPause(world.clock), guarded=())
    async with Receiver().listening() as inside:
        opened = VendorSources(surroundings).open(
            spec_of(PrometheusConfig(url=inside.url(""))), {}, trusted=trusted, cluster_id=None, namespaces=()
        )
        async with opened as source:
            now_us = world.clock.now_us()
            with nullcontext() if trusted else pytest.raises(SourceError, match="not a public address"):
                await gather(source, TimeRange(now_us - HOUR_US, now_us))
        assert bool(inside.requests) is trusted


@pytest.mark.parametrize(
    ("config", "host"),
    [
        (DatadogConfig(), "api.datadoghq.com"),
        (DatadogConfig(site="us5.datadoghq.com"), "api.us5.datadoghq.com"),
        (NewRelicConfig(account_id=1), "api.newrelic.com"),
        (NewRelicConfig(account_id=1, region="eu"), "api.eu.newrelic.com"),
    ],
)
async def test_site_and_region_say_which_address_is_asked(config: SourceConfig, host: str) -> None:
    """Over https, with no way round the guard: here no name can be looked up."""
    asked = set()

    async def resolve(name: str) -> Sequence[IPAddress]:
        asked.add(name)
        raise OSError

    world = World()
    surroundings = Surroundings(
        client=OutboundClient(resolve=resolve),
        trusted_client=world.surroundings.trusted_client,
        clock=world.clock,
        pause=world.pause,
    )
    now_us = world.clock.now_us()
    opened = VendorSources(surroundings).open(
        spec_of(config), {"api_key": "a", "app_key": "b"}, trusted=False, cluster_id=None, namespaces=()
    )
    async with opened as source:
        item = (await source.discover(TimeRange(now_us - HOUR_US, now_us))).items[0]
        parts = [part async for part in source.collect([ItemWindow(item, TimeRange(now_us - HOUR_US, now_us))])]
    assert [part.problem.kind for part in parts if part.problem] == [ProblemKind.UNREACHABLE]
    assert asked == {host}


def test_vendors_libraries_are_loaded_only_when_they_are_needed() -> None:
    """A server that collects nothing from AWS or Kubernetes pays nothing for them."""
    program = (
        "import sys; import adapters.driven.sources.opening\n"
        "heavy = {'aiobotocore', 'botocore', 'kubernetes_asyncio'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
