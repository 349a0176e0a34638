"""Who may reach the pods, and what the pods may do in the cluster."""

from collections.abc import Iterator, Sequence

import pytest
import yaml

from adapters.driven.sources import eks_objects
from adapters.driven.sources.eks_api import Listing
from adapters.runtime.settings import load_settings
from adapters.runtime.vendors import read_vendors
from core.domain.source_configs import EksConfig, SourceKind
from tests.deploy.rendering import (
    RENDERINGS,
    ROOT,
    Object,
    Release,
    helm_objects,
    matching,
    only,
    plain_settings,
    pods,
    rendering,
)


def test_nothing_but_the_api_can_be_reached(objects: Sequence[Object]) -> None:
    """All pods are under the first policy, and one port of the server's is open."""
    labels = {name: pod["metadata"]["labels"] for name, pod in pods(objects)}
    policies = {one["metadata"]["name"]: one["spec"] for one in objects if one["kind"] == "NetworkPolicy"}
    assert matching(policies["sextant"]["podSelector"]["matchLabels"], labels) == sorted(labels)
    assert "ingress" not in policies["sextant"]
    open_to = {name: policy["ingress"] for name, policy in policies.items() if policy.get("ingress")}
    assert open_to == {"sextant-server": [{"ports": [{"protocol": "TCP", "port": 8_000}]}]}
    assert matching(policies["sextant-server"]["podSelector"]["matchLabels"], labels) == ["sextant"]
    assert matching(policies["sextant-collect"]["podSelector"]["matchLabels"], labels) == ["sextant-collect"]
    leaving = [port["port"] for rule in policies["sextant"]["egress"] for port in rule["ports"]]
    assert sorted(set(leaving)) == [53, 443, 5_432, 7_233]


@pytest.mark.parametrize("name", RENDERINGS)
def test_tokens_are_mounted_where_a_cluster_is_used(name: str) -> None:
    """Nobody may talk to Kubernetes but the collector and the worker, where they are meant to."""
    objects = rendering(name)
    with_token = {of for of, pod in pods(objects) if pod["spec"]["automountServiceAccountToken"] is not False}
    in_cluster = name.endswith("in-cluster")
    assert with_token == ({"sextant-keep", "sextant-worker"} if in_cluster else set())
    settings = load_settings(plain_settings(objects))
    assert (SourceKind.EKS in read_vendors(plain_settings(objects)).sources) is in_cluster
    assert settings.worker.kubernetes_in_cluster is in_cluster
    if in_cluster:
        config = read_vendors(plain_settings(objects)).sources[SourceKind.EKS].config
        assert isinstance(config, EksConfig)
        assert settings.worker.cluster_id == config.cluster_id
    if not in_cluster:
        assert [one for one in objects if "Role" in one["kind"]] == []


def test_the_chart_tells_the_worker_which_cluster_it_changes() -> None:
    """Also where nobody collects from it."""
    objects = helm_objects(Release({"cluster": {"repair": True, "id": "shop"}}))
    assert load_settings(plain_settings(objects)).worker.cluster_id == "shop"


@pytest.mark.parametrize("name", [name for name in RENDERINGS if name.endswith("in-cluster")])
def test_rights_are_those_that_are_used(name: str) -> None:
    """The collector may list what the EKS source lists; the worker may do what docs/remediation.md says of its role."""
    objects = rendering(name)
    listed = {("list", one.group, one.plural) for one in vars(eks_objects).values() if isinstance(one, Listing)}
    assert set(rights(only(objects, "ClusterRole", "sextant-collection"))) == listed
    block = (ROOT / "docs" / "remediation.md").read_text().split("```yaml")
    [documented] = [next(yaml.safe_load_all(text.split("```")[0])) for text in block if "kind: ClusterRole\n" in text]
    assert set(rights(only(objects, "ClusterRole", "sextant-remediation"))) == set(rights(documented))
    binding = only(objects, "ClusterRoleBinding", "sextant-collection")
    assert binding["roleRef"]["name"] == "sextant-collection"
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "sextant-keep", "namespace": "sextant"}]
    assert [one for one in objects if one["kind"] == "ClusterRoleBinding"] == [binding]


def rights(role: Object) -> Iterator[tuple[str, str, str]]:
    """(verb, API group, resource) of each."""
    for rule in role["rules"]:
        for verb in rule["verbs"]:
            for group in rule["apiGroups"]:
                for resource in rule["resources"]:
                    yield verb, group, resource
