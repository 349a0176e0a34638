"""Connections to a cluster, as kubernetes-asyncio makes them; it takes a second and 75 MB to import."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import yaml
from kubernetes_asyncio.client import ApiClient, Configuration
from kubernetes_asyncio.config import ConfigException, load_kube_config
from kubernetes_asyncio.config.incluster_config import (
    SERVICE_CERT_FILENAME,
    SERVICE_TOKEN_FILENAME,
    InClusterConfigLoader,
)

from adapters.driven.actions.kubernetes_api import Connect, KubernetesApi
from ports.driven.action_runner import ActionError


def kubeconfig_connection(path: Path) -> Connect:
    """Connections to the current context of a kubeconfig file, which is read anew for each."""

    async def configure(configuration: Configuration) -> None:
        await load_kube_config(str(path), client_configuration=configuration, persist_config=False)

    return lambda: _connected(configure)


def in_cluster_connection(
    token_path: str = SERVICE_TOKEN_FILENAME, certificate_path: str = SERVICE_CERT_FILENAME
) -> Connect:
    """Connections to the cluster that this pod runs in, as its service account; its token is read anew for each."""

    async def configure(configuration: Configuration) -> None:
        InClusterConfigLoader(token_path, certificate_path).load_and_set(configuration)

    return lambda: _connected(configure)


@asynccontextmanager
async def _connected(configure: Callable[[Configuration], Awaitable[None]]) -> AsyncIterator[KubernetesApi]:
    configuration = Configuration()
    try:
        await configure(configuration)
        client = ApiClient(configuration)
    except (ConfigException, yaml.YAMLError, OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        # Their texts name files and servers of the operator's, which are not for tenants.
        raise ActionError(
            f"the worker's Kubernetes configuration cannot be used ({type(error).__name__})", retryable=False
        ) from None
    try:
        yield KubernetesApi(client)
    finally:
        await asyncio.shield(client.close())
