"""Connections to a cluster, as kubernetes-asyncio makes them; it takes a second and 75 MB to import."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import yaml
from kubernetes_asyncio.client import ApiClient, Configuration
from kubernetes_asyncio.config import ConfigException, load_kube_config
from kubernetes_asyncio.config.incluster_config import (
    SERVICE_CERT_FILENAME,
    SERVICE_TOKEN_FILENAME,
    InClusterConfigLoader,
)

from adapters.driven.actions.kubernetes_api import ApiCaller, Connect, KubernetesApi
from ports.driven.action_runner import ActionError


def kubeconfig_connection(path: Path) -> Connect:
    """Connections to the current context of a kubeconfig file, which is read anew for each."""
    return lambda: _connected(kubeconfig_client(path))


def in_cluster_connection(
    token_path: str = SERVICE_TOKEN_FILENAME, certificate_path: str = SERVICE_CERT_FILENAME
) -> Connect:
    """Connections to the cluster that this pod runs in, as its service account; its token is read anew for each."""
    return lambda: _connected(in_cluster_client(token_path, certificate_path))


def kubeconfig_client(path: Path) -> AbstractAsyncContextManager[ApiCaller]:
    """A client of the current context of a kubeconfig file; raises `ActionError` where it cannot be made."""

    async def configure(configuration: Configuration) -> None:
        await load_kube_config(str(path), client_configuration=configuration, persist_config=False)

    return _client(configure)


def in_cluster_client(
    token_path: str = SERVICE_TOKEN_FILENAME, certificate_path: str = SERVICE_CERT_FILENAME
) -> AbstractAsyncContextManager[ApiCaller]:
    """A client of the cluster that this pod runs in; raises `ActionError` where it cannot be made."""

    async def configure(configuration: Configuration) -> None:
        InClusterConfigLoader(token_path, certificate_path).load_and_set(configuration)

    return _client(configure)


@asynccontextmanager
async def _connected(opened: AbstractAsyncContextManager[ApiCaller]) -> AsyncIterator[KubernetesApi]:
    async with opened as client:
        yield KubernetesApi(client)


@asynccontextmanager
async def _client(configure: Callable[[Configuration], Awaitable[None]]) -> AsyncIterator[ApiCaller]:
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
        yield client
    finally:
        await asyncio.shield(client.close())
