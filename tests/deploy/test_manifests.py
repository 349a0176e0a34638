"""The Kubernetes objects, however rendered: valid, restricted, wired to one another, and true of the program."""

import copy
from collections.abc import Sequence
from typing import Any

import kubernetes_validate
import pytest
import yaml

from adapters.main import command_line
from adapters.runtime.environment import settings_of
from adapters.runtime.settings import ServerSettings, Settings, SettingsError, load_settings
from adapters.runtime.supervision import STOP_TIMEOUT_S
from adapters.runtime.vendors import SECRETS
from adapters.runtime.version import __version__
from tests.deploy.pod_security import violations
from tests.deploy.rendering import (
    CHART,
    KUSTOMIZE,
    ROOT,
    Object,
    matching,
    only,
    plain_settings,
    pod_named,
    pods,
    rendering,
)

KUBERNETES_VERSIONS = ("1.32", "1.37")
"""The oldest and the newest whose schemas kubernetes-validate has."""
NO_SECRETS = {"EKS_IN_CLUSTER", "EKS_CLUSTER_ID"}
"""Vendors' variables that the manifests set."""
SECRET_NAMES = {setting.variable for setting in settings_of(Settings) if setting.is_secret} | {
    variable for variables in SECRETS.values() for variable in variables.values()
}
COMPONENTS = {"sextant": "server", "sextant-keep": "keep", "sextant-worker": "worker"}


@pytest.mark.parametrize("version", KUBERNETES_VERSIONS)
def test_every_object_is_valid(objects: Sequence[Object], version: str) -> None:
    """Kubernetes' own schemas take each, and know every field."""
    for one in objects:
        kubernetes_validate.validate(one, version, strict=True)


def test_an_unknown_field_is_seen() -> None:
    """The schemas are the strict ones."""
    wrong = copy.deepcopy(only(rendering("kustomize base"), "Deployment", "sextant"))
    wrong["spec"]["template"]["spec"]["containers"][0]["readinesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, KUBERNETES_VERSIONS[0], strict=True)


def test_pods_meet_the_restricted_standard(objects: Sequence[Object]) -> None:
    """A namespace that enforces it lets them in; beyond it nothing but emptyDirs can be written."""
    for name, pod in pods(objects):
        assert violations(pod["spec"]) == [], name
        assert all("emptyDir" in volume for volume in pod["spec"].get("volumes", ())), name
        for container in pod["spec"]["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True


@pytest.mark.parametrize(
    "wrong",
    [
        {"hostNetwork": True},
        {"volumes": [{"name": "host", "hostPath": {"path": "/"}}]},
        {"securityContext": {"seccompProfile": {"type": "RuntimeDefault"}}},
        {"securityContext": {"runAsNonRoot": True}},
    ],
)
def test_a_pod_that_is_not_restricted_is_seen(wrong: dict[str, Any]) -> None:
    """The check can fail."""
    pod = pod_named(rendering("kustomize base"), "sextant")["spec"]
    assert violations({**pod, **wrong}) != []
    container = {**pod["containers"][0], "securityContext": {"runAsUser": 0, "capabilities": {"add": ["SYS_ADMIN"]}}}
    assert len(violations({**pod, "containers": [container]})) == 4


def test_what_selects_pods_finds_them(objects: Sequence[Object]) -> None:
    """Services, budgets, policies, autoscalers and Deployments name labels that the right pods have."""
    labels = {name: pod["metadata"]["labels"] for name, pod in pods(objects)}
    names = {one["metadata"]["name"]: one for one in objects if one["kind"] == "Deployment"}
    for name, deployment in names.items():
        wanted = deployment["spec"]["selector"]["matchLabels"]
        assert matching(wanted, labels) == [name]
        for spread in deployment["spec"]["template"]["spec"]["topologySpreadConstraints"]:
            assert spread["labelSelector"]["matchLabels"] == wanted
    assert matching(only(objects, "Service", "sextant")["spec"]["selector"], labels) == ["sextant"]
    budget = only(objects, "PodDisruptionBudget", "sextant")["spec"]
    assert matching(budget["selector"]["matchLabels"], labels) == ["sextant"]
    scaled = only(objects, "HorizontalPodAutoscaler", "sextant")["spec"]
    assert scaled["scaleTargetRef"]["name"] in names
    assert scaled["minReplicas"] == names["sextant"]["spec"].get("replicas", 3) == 3 <= scaled["maxReplicas"]
    accounts = {one["metadata"]["name"] for one in objects if one["kind"] == "ServiceAccount"}
    assert {pod["spec"].get("serviceAccountName", "sextant") for _, pod in pods(objects)} <= accounts


def test_every_variable_is_one_that_the_program_reads(objects: Sequence[Object]) -> None:
    """What is set by name, and what the ConfigMap adds, are settings; values that are given are taken."""
    known = {setting.variable for setting in settings_of(Settings)} | NO_SECRETS
    for name, pod in pods(objects):
        for container in pod["spec"]["containers"]:
            assert {one["name"] for one in container["env"]} <= known, name
            given = {one["name"]: one["value"] for one in container["env"] if "value" in one}
            load_settings({**plain_settings(objects), **given})
    assert set(plain_settings(objects)) <= known


def test_service_links_are_off(objects: Sequence[Object]) -> None:
    """What Kubernetes would add for a Service named sextant is refused by the program."""
    assert all(pod["spec"]["enableServiceLinks"] is False for _, pod in pods(objects))
    with pytest.raises(SettingsError, match="SEXTANT_PORT_8000_TCP is not a setting"):
        load_settings({"SEXTANT_PORT_8000_TCP": "tcp://10.0.0.1:8000"})


def test_no_secret_is_written_down(objects: Sequence[Object]) -> None:
    """There is no Secret among the objects, and no secret's value in an environment or a ConfigMap."""
    assert [one for one in objects if one["kind"] == "Secret"] == []
    assert not SECRET_NAMES & set(plain_settings(objects))
    for name, pod in pods(objects):
        for container in pod["spec"]["containers"]:
            given = {one["name"] for one in container["env"] if "value" in one}
            assert not SECRET_NAMES & given, name


def test_every_secret_that_must_be_there_is_in_the_example(objects: Sequence[Object]) -> None:
    """The example names exactly what pods cannot start without, with nothing filled in."""
    example = yaml.safe_load((KUSTOMIZE / "secret.example.yaml").read_text())
    references = [
        one["valueFrom"]["secretKeyRef"]
        for _, pod in pods(objects)
        for container in pod["spec"]["containers"]
        for one in container["env"]
        if "valueFrom" in one
    ]
    assert {one["name"] for one in references} == {example["metadata"]["name"]}
    assert {one["key"] for one in references if not one.get("optional")} == set(example["stringData"])
    assert set(example["stringData"].values()) == {""}
    assert set(example["stringData"]) <= SECRET_NAMES


def test_who_has_which_secrets(objects: Sequence[Object]) -> None:
    """The worker, which changes clusters, has the database and Temporal's key alone; Jobs have what they use."""
    whole = {
        name
        for name, pod in pods(objects)
        if any("secretRef" in one for one in pod["spec"]["containers"][0].get("envFrom", ()))
    }
    assert whole == {"sextant", "sextant-keep"}
    for name, wanted in {
        "sextant-worker": {"SEXTANT_DATABASE_URL", "SEXTANT_TEMPORAL_API_KEY"},
        "sextant-migrate": {"SEXTANT_DATABASE_URL"},
        "sextant-collect": {"SEXTANT_AGENT_KEY"},
    }.items():
        environment = pod_named(objects, name)["spec"]["containers"][0]["env"]
        assert {one["name"] for one in environment if "valueFrom" in one} == wanted


def test_arguments_are_commands(objects: Sequence[Object]) -> None:
    """Each container runs the image's own program with a command line that it understands."""
    found = {}
    for name, pod in pods(objects):
        [container] = pod["spec"]["containers"]
        assert "command" not in container
        command, _, _ = command_line().parse_args(container["args"], print_error=False, exit_on_error=False)
        found[name] = command.__name__
    assert found == {
        "sextant": "serve",
        "sextant-keep": "keep",
        "sextant-worker": "worker",
        "sextant-migrate": "migrate",
        "sextant-collect": "collect",
    }


def test_the_version_is_the_programs(objects: Sequence[Object]) -> None:
    """Image tags and the chart name the version of this source."""
    images = {container["image"] for _, pod in pods(objects) for container in pod["spec"]["containers"]}
    assert images == {f"sextant:{__version__}"}
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"] == __version__
    assert 'ENTRYPOINT ["sextant"]' in (ROOT / "Dockerfile").read_text()


def test_stopping_has_time_enough(objects: Sequence[Object]) -> None:
    """What is in progress may end before Kubernetes kills: preStop, draining, then the keeper and alerts."""
    pod = pod_named(objects, "sextant")["spec"]
    [_, pause_s] = pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
    needed_s = int(pause_s) + ServerSettings().drain_timeout_s + 2 * STOP_TIMEOUT_S
    assert pod["terminationGracePeriodSeconds"] > needed_s


def test_collection_is_hourly(objects: Sequence[Object]) -> None:
    """Once an hour, never two at once, over before the next, at the Service."""
    cron = only(objects, "CronJob", "sextant-collect")["spec"]
    minute, *others = cron["schedule"].split(" ")
    assert 0 < int(minute) < 60
    assert others == ["*", "*", "*", "*"]
    assert cron["concurrencyPolicy"] == "Forbid"
    assert cron["jobTemplate"]["spec"]["activeDeadlineSeconds"] < 3_600
    environment = pod_named(objects, "sextant-collect")["spec"]["containers"][0]["env"]
    [url] = [one["value"] for one in environment if one["name"] == "SEXTANT_AGENT_URL"]
    [port] = only(objects, "Service", "sextant")["spec"]["ports"]
    assert url == f"http://sextant:{port['port']}"


def test_each_part_runs_where_it_should() -> None:
    """Detection, collection and remediation run in the Deployments that are for them, not in the API's."""
    given = pod_named(rendering("kustomize base"), "sextant")["spec"]["containers"][0]["env"]
    settings = load_settings({one["name"]: one["value"] for one in given if "value" in one})
    assert (settings.detection.enabled, settings.collection.enabled, settings.worker.enabled) == (False, False, False)
    for name, component in COMPONENTS.items():
        labels = pod_named(rendering("kustomize base"), name)["metadata"]["labels"]
        assert labels["app.kubernetes.io/component"] == component
