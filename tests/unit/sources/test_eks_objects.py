"""What is worked out from Kubernetes' objects: workloads and amounts."""

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.driven.sources.eks_objects import AMOUNT_MAX, Pod, PodSpec, Quantity, read_quantity
from adapters.driven.sources.eks_pods import (
    KnownPods,
    running_limits,
    running_requests,
    scheduled_requests,
    workload_of,
)
from adapters.driven.sources.eks_signals import golden_signals
from core.domain.telemetry import STANDARD_METRICS


def a_pod(name: str = "p", **fields: Any) -> Pod:
    """A pod as the API server would write it."""
    metadata = {"name": name, **fields.pop("metadata", {})}
    return msgspec.convert({"metadata": metadata, **fields}, Pod, dec_hook=read_quantity)


def owned(name: str, kind: str, owner: str, **labels: str) -> Pod:
    """A pod that something made."""
    owners = [{"kind": "Node", "name": "not the controller"}, {"kind": kind, "name": owner, "controller": True}]
    return a_pod(name, metadata={"name": name, "ownerReferences": owners, "labels": labels})


@pytest.mark.parametrize(
    ("pod", "workload"),
    [
        (owned("web-5d-x", "ReplicaSet", "web-5d", **{"pod-template-hash": "5d"}), "web"),
        (owned("web-5d-x", "ReplicaSet", "web-5d"), "web-5d"),
        (owned("db-0", "StatefulSet", "db"), "db"),
        (owned("log-abcde", "DaemonSet", "log"), "log"),
        (owned("report-29000000-x", "Job", "report-29000000"), "report"),
        (owned("migrate-x", "Job", "migrate"), "migrate"),
        (owned("kube-proxy-node-1", "Node", "node-1"), "kube-proxy"),
        (a_pod("alone"), "alone"),
    ],
)
def test_workloads(pod: Pod, workload: str) -> None:
    """The one that somebody would name, whatever stands between it and the pod."""
    assert workload_of(pod) == workload


@pytest.mark.parametrize(
    ("pod", "workload"),
    [
        ("web-7d9f8c6b5-x2x4z", "web"),
        ("web-api-7d9f8c6b5-x2x4z", "web-api"),
        ("web-x2x4z", "web"),
        ("db-12", "db"),
        ("other-7d9f8c6b5-x2x4z", None),
        ("web", None),
        ("report-28999940-abcde", "report"),
        ("report-28999940-3-abcde", "report"),
        ("migrate-abcde", "migrate"),
        ("pg-7", "pg"),
        ("alone-abcde", None),
    ],
)
def test_pods_that_are_gone(pod: str, workload: str | None) -> None:
    """Their names tell the workload, where it is one of those that are there or made the pods that are there, or has
    the form that a CronJob gives its pods' names."""
    there = [
        msgspec.structs.replace(one, metadata=msgspec.structs.replace(one.metadata, namespace="shop"))
        for one in (owned("migrate-x", "Job", "migrate"), owned("pg-1", "Cluster", "pg"), a_pod("alone"))
    ]
    known = KnownPods("prod", there, [("shop", "web"), ("shop", "web-api"), ("shop", "db"), ("other", "other")])
    assert known.labels("shop", pod).get("workload") == workload


@pytest.mark.parametrize(
    ("name", "kind", "owner"),
    [
        ("web-7d9f8c6b5-x2x4z", "ReplicaSet", "web-7d9f8c6b5"),
        ("report-29000000-abcde", "Job", "report-29000000"),
        ("report-29000000-0-abcde", "Job", "report-29000000"),
        ("log-abcde", "DaemonSet", "log"),
        ("db-0", "StatefulSet", "db"),
    ],
)
def test_the_past_of_a_pod_has_the_same_labels_when_it_is_gone(name: str, kind: str, owner: str) -> None:
    """Whether it is there, has moved, or is gone: the workload is the same, and no node is made up."""
    pod = owned(name, kind, owner, **{"pod-template-hash": "7d9f8c6b5"})
    pod = msgspec.structs.replace(pod, spec=PodSpec(node_name="node-1"))
    workloads = [("", each) for each in ("web", "log", "db")]
    there, gone = KnownPods("prod", [pod], workloads), KnownPods("prod", [], workloads)
    assert there.labels("", name, "") == gone.labels("", name, "")
    assert there.labels("", name)["node"] == "node-1"


def containers(*requests: str, limits: tuple[str, ...] = (), always: bool = False) -> list[Mapping[str, Any]]:
    """Containers that ask for so much cpu."""
    return [
        {
            "name": f"c{number}",
            "resources": {
                "requests": {"cpu": request} if request else {},
                "limits": {"cpu": limits[number]} if number < len(limits) else {},
            },
            **({"restartPolicy": "Always"} if always else {}),
        }
        for number, request in enumerate(requests)
    ]


def test_amounts_of_pods() -> None:
    """While it runs, its containers and sidecars count; for its node also what it needs to begin, and its overhead."""
    spec = {
        "containers": containers("100m", "200m", limits=("1", "2")),
        "initContainers": [*containers("50m", always=True), *containers("1")],
        "overhead": {"cpu": "10m"},
    }
    pod = a_pod(spec=spec)
    assert running_requests(pod, "cpu") == pytest.approx(0.35)
    assert scheduled_requests(pod, "cpu") == pytest.approx(1.06)
    assert running_limits(pod, "cpu") is None, "the sidecar has none"
    assert running_requests(pod, "memory") is None
    unbounded = a_pod(spec={"containers": containers("", "", limits=("1",))})
    assert running_requests(unbounded, "cpu") is None
    assert running_limits(unbounded, "cpu") is None
    assert running_limits(a_pod(spec={"containers": containers("", limits=("500m",))}), "cpu") == 0.5


@given(st.text(max_size=50) | st.from_regex(r"\A[+-]?\d{1,20}(\.\d{0,9})?([numkKMGTPE]i?|e\d{1,3})?\Z"))
def test_quantities_are_amounts_or_refused(text: str) -> None:
    """Nothing but an amount that can be stored comes of any text."""
    try:
        amount = read_quantity(Quantity, text)
    except ValueError:
        return
    assert 0 <= amount <= AMOUNT_MAX


def test_golden_signals_are_standard() -> None:
    """Each is stored by a name that replies know."""
    assert set(golden_signals([])) < {metric.name for metric in STANDARD_METRICS}
    assert all('namespace=~"a|b-c"' in promql for promql in golden_signals(["a", "b-c"]).values())
