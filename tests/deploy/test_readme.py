"""What deploy/README.md tells people to write, and the numbers in it."""

import os
from pathlib import Path
from textwrap import dedent

import yaml

from adapters.background import ALERTS_POOL_SIZE, COLLECTION_POOL_SIZE, DETECTION_POOL_SIZE, KEEPER_POOL_SIZE
from adapters.runtime.settings import DatabaseSettings, load_settings
from adapters.runtime.version import __version__
from tests.deploy.rendering import DEPLOY, KUSTOMIZE, kustomized, only, plain_settings, pods, rendering

README = (DEPLOY / "README.md").read_text()


def test_the_readmes_overlay_renders(tmp_path: Path) -> None:
    """One's own namespace, image and settings come where they belong."""
    start, end = README.index("    apiVersion: kustomize"), README.index("    kubectl apply -k")
    overlay = yaml.safe_load(dedent(README[start:end]))
    overlay["resources"] = [os.path.relpath(KUSTOMIZE / "base", tmp_path)]
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(overlay))
    objects = kustomized(tmp_path)
    assert {one["metadata"]["namespace"] for one in objects} == {"sextant"}
    images = {container["image"] for _, pod in pods(objects) for container in pod["spec"]["containers"]}
    assert images == {f"registry.example.org/sextant:{__version__}"}
    assert load_settings(plain_settings(objects)).alerts.public_url == "https://sextant.example.org"


def test_the_readmes_patch_leaves_replicas_to_the_autoscaler(tmp_path: Path) -> None:
    """It takes the one field, of the one Deployment."""
    start, end = README.index("    patches:"), README.index("Where the Deployment is there already")
    overlay = {
        "resources": [os.path.relpath(KUSTOMIZE / "base", tmp_path)],
        **yaml.safe_load(dedent(README[start:end])),
    }
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(overlay))
    deployments = [one for one in kustomized(tmp_path) if one["kind"] == "Deployment"]
    assert {one["metadata"]["name"] for one in deployments if "replicas" not in one["spec"]} == {"sextant"}


def test_the_readmes_name_of_the_cluster_is_heard(tmp_path: Path) -> None:
    """By the collector and by the worker, in an overlay over the one that has the components."""
    [literal] = {word for word in README.replace("`", " ").split() if word.startswith("EKS_CLUSTER_ID=")}
    overlay = {
        "resources": [os.path.relpath(KUSTOMIZE / "overlays" / "in-cluster", tmp_path)],
        "configMapGenerator": [{"name": "sextant", "behavior": "merge", "literals": [literal]}],
    }
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(overlay))
    settings = plain_settings(kustomized(tmp_path))
    assert settings["EKS_CLUSTER_ID"] == literal.partition("=")[2] != "default"
    assert load_settings(settings).worker.cluster_id == settings["EKS_CLUSTER_ID"]


def test_the_readme_counts_connections() -> None:
    """What a pod opens at most follows from the pools of its processes."""
    keeping = KEEPER_POOL_SIZE + ALERTS_POOL_SIZE
    server = DatabaseSettings().pool_size + keeping
    background = keeping + DETECTION_POOL_SIZE + COLLECTION_POOL_SIZE
    worker = DatabaseSettings().pool_size
    objects = rendering("kustomize base")
    replicas = {
        name: only(objects, "Deployment", name)["spec"]["replicas"]
        for name in ("sextant", "sextant-keep", "sextant-worker")
    }
    replicas_max = only(objects, "HorizontalPodAutoscaler", "sextant")["spec"]["maxReplicas"]
    fixed = replicas["sextant-keep"] * background + replicas["sextant-worker"] * worker
    said = " ".join(README.split())
    assert f"at most {server} connections, one of `keep` {background}, one of `worker` {worker}" in said
    assert f"is {replicas['sextant'] * server + fixed} with the replicas above" in said
    assert f"and {replicas_max * server + fixed} with all" in said


def test_the_readme_has_the_statements_of_the_views() -> None:
    """A login is made the same way wherever it is written."""
    script = (DEPLOY / "grafana" / "views.sql").read_text()
    statements = [line.removeprefix("--   ") for line in script.splitlines() if line.startswith("--   ")]
    assert len(statements) == 3
    assert "\n".join(f"    {statement}" for statement in statements) in README
