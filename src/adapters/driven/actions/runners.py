"""Which runner takes which action."""

from collections.abc import Mapping
from pathlib import Path

from adapters.driven.actions.annotate import AnnotateRunner
from adapters.driven.actions.command import CommandRunner
from adapters.driven.actions.http_action import HttpActionRunner
from adapters.driven.actions.kubernetes import KubernetesRunner
from adapters.driven.actions.kubernetes_api import Connect, no_connection
from adapters.driven.actions.wait import WaitRunner
from adapters.runtime.outbound import OutboundClient
from core.domain.actions import (
    Action,
    AnnotateAction,
    CommandAction,
    DeletePodAction,
    HttpAction,
    PatchHpaAction,
    RestartAction,
    ScaleAction,
    SetContainerAction,
    WaitAction,
)
from ports.driven.action_runner import ActionRunner
from ports.driven.clock import Clock


def action_runners(
    client: OutboundClient,
    clock: Clock,
    *,
    commands: Mapping[str, Path],
    kubeconfig: Path | None,
    kubernetes_in_cluster: bool,
) -> Mapping[type[Action], ActionRunner]:
    """A runner for each class of action; `commands` and the cluster are what the worker's operator allows."""
    connect: Connect = no_connection
    if kubeconfig is not None or kubernetes_in_cluster:
        # A second and 75 MB, which only a worker that has a cluster should pay.
        from adapters.driven.actions.kubernetes_connection import in_cluster_connection, kubeconfig_connection

        connect = in_cluster_connection() if kubeconfig is None else kubeconfig_connection(kubeconfig)
    kubernetes = KubernetesRunner(connect, clock)
    return {
        HttpAction: HttpActionRunner(client),
        ScaleAction: kubernetes,
        RestartAction: kubernetes,
        DeletePodAction: kubernetes,
        PatchHpaAction: kubernetes,
        SetContainerAction: kubernetes,
        CommandAction: CommandRunner(commands),
        WaitAction: WaitRunner(),
        AnnotateAction: AnnotateRunner(),
    }
