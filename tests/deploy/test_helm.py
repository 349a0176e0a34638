"""The chart: the same as the kustomization, strict about values, and safe beside another release."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jsonschema_rs
import pytest
import yaml

from tests.deploy.rendering import (
    CHART,
    IN_CLUSTER,
    Object,
    RefusedError,
    Release,
    helm_objects,
    kustomized,
    only,
    pods,
    templates,
)

HELMS_OWN = {
    "app.kubernetes.io/instance",
    "app.kubernetes.io/managed-by",
    "app.kubernetes.io/version",
    "helm.sh/chart",
    "helm.sh/hook",
    "helm.sh/hook-delete-policy",
    "checksum/config",
    "imagePullPolicy",
}
"""Labels, annotations and a field that kustomize has no use for."""
HASH = re.compile(r"\Asextant-[a-z0-9]{10}\Z")
"""The name of a generated ConfigMap."""


@pytest.mark.parametrize(
    ("folder", "values"), [("base", {}), ("overlays/in-cluster", IN_CLUSTER)], ids=["default", "in-cluster"]
)
def test_the_chart_is_the_kustomization(folder: str, values: Mapping[str, Any]) -> None:
    """Each object is in both, and alike but for what only Helm writes."""
    from_helm, from_kustomize = by_name(helm_objects(Release(values))), by_name(kustomized(folder))
    assert from_kustomize["Deployment", "sextant"]["spec"].pop("replicas") == 3  # which kustomize cannot leave away
    assert sorted(from_helm) == sorted(from_kustomize)
    for key, expected in from_kustomize.items():
        assert from_helm[key] == expected, key


def by_name(objects: Sequence[Object]) -> dict[tuple[str, str], Any]:
    """Objects without what is one tool's alone, by kind and name."""
    plain = [comparable(one) for one in objects]
    return {(one["kind"], one["metadata"]["name"]): one for one in plain}


def comparable(value: Any, key: str = "") -> Any:
    """`value` without what is Helm's own, hashes, namespaces and what is empty; variables in order of their names."""
    match value:
        case dict():
            dropped = HELMS_OWN | ({"namespace"} if key == "metadata" else set())
            kept = {name: comparable(inner, name) for name, inner in value.items() if name not in dropped}
            return {name: inner for name, inner in kept.items() if inner not in ({}, [])}
        case list():
            items = [comparable(inner) for inner in value]
            return sorted(items, key=lambda one: one["name"]) if key == "env" else items
        case str() if HASH.match(value):
            return "sextant"
        case _:
            return value


WRONG: list[dict[str, Any]] = [
    {"server": {"replicas": 0}},
    {"server": {"replicas": "three"}},
    {"servers": {}},
    {"image": {"repository": ""}},
    {"image": {"pullPolicy": "Sometimes"}},
    {"secretName": ""},
    {"config": {"SEXTANT_DATABASE_URL": "postgresql://somewhere"}},
    {"config": {"DATADOG_API_KEY": "a secret"}},
    {"config": {"SEXTANT_QUERY_POINTS_MAX": 20_000_000}},
    {"collect": {"schedule": "hourly"}},
    {"networkPolicy": {"egressPorts": [70_000]}},
    {"cluster": {"collect": "yes"}},
    {"keep": {"resources": {"claims": []}}},
]


def test_wrong_values_are_refused() -> None:
    """By the schema, which Helm asks before it renders; a validator of its own says the same."""
    validator = jsonschema_rs.validator_for(json.loads((CHART / "values.schema.json").read_text()))
    usual = yaml.safe_load((CHART / "values.yaml").read_text())
    assert validator.is_valid(usual)
    replies = templates(*(Release(values) for values in WRONG))
    assert [type(reply) for reply in replies] == [RefusedError] * len(WRONG)
    assert [values for values in WRONG if validator.is_valid(values)] == []


def test_every_value_has_a_place_in_the_schema_and_in_a_template() -> None:
    """Nothing is offered that does nothing."""
    used = "".join(path.read_text() for path in (CHART / "templates").iterdir())
    schema = json.loads((CHART / "values.schema.json").read_text())["properties"]
    usual = yaml.safe_load((CHART / "values.yaml").read_text())
    assert set(usual) == set(schema) - {"global"}
    for name, inner in usual.items():
        fields = inner if isinstance(inner, dict) and name != "config" else [""]
        for path in (f"{name}.{field}".rstrip(".") for field in fields):
            assert f".Values.{path}" in used, path


def test_another_release_keeps_apart() -> None:
    """Names and selectors of two releases in one namespace have nothing in common; long names are cut."""
    first, second = helm_objects(Release()), helm_objects(Release(name="staging"))
    named = {(one["kind"], one["metadata"]["name"]) for one in first}
    assert not named & {(one["kind"], one["metadata"]["name"]) for one in second}
    wanted = only(second, "Service", "staging-sextant")["spec"]["selector"]
    assert not any(wanted.items() <= pod["metadata"]["labels"].items() for _, pod in pods(first))
    long = helm_objects(Release(name="a-release-with-a-name-of-fifty-three-characters-at-mo"))
    assert max(len(one["metadata"]["name"]) for one in long) <= 52  # a CronJob's may have no more


def test_options_change_what_they_say() -> None:
    """Switches leave objects out; settings, image, Secret and namespaces come where they belong."""
    objects = helm_objects(
        Release(
            {
                "image": {"repository": "registry.example/sextant", "tag": "1.2"},
                "imagePullSecrets": [{"name": "pull"}],
                "secretName": "mine",
                "config": {"SEXTANT_LOG_LEVEL": "debug"},
                "server": {"autoscaling": {"enabled": False}},
                "keep": {"serviceAccountAnnotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/a"}},
                "collect": {"enabled": False},
                "networkPolicy": {"enabled": False},
                "cluster": {"repair": True, "repairNamespaces": ["shop", "stock"]},
            },
            namespace="metrics",
        )
    )
    kinds = {one["kind"] for one in objects}
    assert not kinds & {"HorizontalPodAutoscaler", "CronJob", "NetworkPolicy", "ClusterRoleBinding"}
    for _, pod in pods(objects):
        assert pod["spec"]["imagePullSecrets"] == [{"name": "pull"}]
        [container] = pod["spec"]["containers"]
        assert container["image"] == "registry.example/sextant:1.2"
        references = [one["valueFrom"]["secretKeyRef"]["name"] for one in container["env"] if "valueFrom" in one]
        assert set(references) == {"mine"}
    assert only(objects, "ConfigMap", "sextant")["data"]["SEXTANT_LOG_LEVEL"] == "debug"
    account = only(objects, "ServiceAccount", "sextant-keep")
    assert account["metadata"]["annotations"] == {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/a"}
    bindings = [one for one in objects if one["kind"] == "RoleBinding"]
    assert [one["metadata"]["namespace"] for one in bindings] == ["shop", "stock"]
    assert {one["subjects"][0]["namespace"] for one in bindings} == {"metrics"}


def test_an_upgrade_leaves_replicas_to_the_autoscaler() -> None:
    """Only where there is none does the Deployment say how many."""
    scaled, fixed = (
        helm_objects(Release({"server": {"replicas": 4, "autoscaling": {"enabled": enabled}}}))
        for enabled in (True, False)
    )
    assert "replicas" not in only(scaled, "Deployment", "sextant")["spec"]
    assert only(scaled, "HorizontalPodAutoscaler", "sextant")["spec"]["minReplicas"] == 4
    assert only(fixed, "Deployment", "sextant")["spec"]["replicas"] == 4


def test_a_changed_setting_replaces_pods() -> None:
    """The checksum of the ConfigMap is in the pods' annotations."""
    before, after = (
        dict(pods(helm_objects(Release({"config": {"SEXTANT_LOG_LEVEL": level}})))) for level in ("info", "debug")
    )
    for name in ("sextant", "sextant-keep", "sextant-worker"):
        assert before[name]["metadata"]["annotations"] != after[name]["metadata"]["annotations"]


def test_the_schema_is_migrated_first() -> None:
    """The Job is a hook, and needs nothing that is installed after it."""
    job = only(helm_objects(Release()), "Job", "sextant-migrate")
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    pod = job["spec"]["template"]["spec"]
    assert "serviceAccountName" not in pod
    assert "envFrom" not in pod["containers"][0]
