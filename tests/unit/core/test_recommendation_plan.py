"""How recommendations become remediation policies."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.domain.action_text import alert_values, plain_text
from core.domain.actions import (
    Action,
    AnnotateAction,
    ExpectedBounds,
    ExpectedContainer,
    PatchHpaAction,
    ScaleAction,
    SetContainerAction,
)
from core.domain.annotations import render
from core.domain.definitions import Aggregation
from core.domain.errors import InvalidInput
from core.domain.recommendation_plan import made_up_alert, made_up_rule, policy_of, workflow_id_of
from core.domain.recommendations import target_of
from core.domain.recommended_changes import change_lines, place_of
from core.domain.remediation import ApprovalMode, RemediationPolicy
from core.domain.telemetry import CPU_USAGE, RESTARTS
from core.domain.times import MINUTE_US
from tests.support.recommending import AT, drift_event, recommendation

REPORTED = {RESTARTS: True, CPU_USAGE: True}
CHECK = {"metric": "queue_depth", "condition": "<", "value": 10}


def planned(
    kind: str, document: dict[str, Any], *, dry_run: bool = False, reported: Mapping[str, bool] = REPORTED, **event: Any
) -> RemediationPolicy:
    """The policy of a recommendation about shop/checkout."""
    one = recommendation(recommendation_type=kind, recommendation_json=document)
    target = target_of(document)
    place = place_of(one, target, drift_event(**event))
    return policy_of(one, target, place, dry_run=dry_run, reported=reported)


def lines(kind: str, document: dict[str, Any]) -> list[str]:
    """What it would change."""
    one, target = recommendation(), target_of(document)
    return list(change_lines(kind, target, place_of(one, target, drift_event())))


@pytest.mark.parametrize(
    ("kind", "document", "action", "undo"),
    [
        (
            "right_size",
            {
                "container": "web",
                "current": {"cpu_request": "2", "cpu_limit": "4", "image": "shop:1"},
                "proposed": {"cpu_request": "500m", "cpu_limit": "1", "image": "shop:2", "replicas": 9},
            },
            SetContainerAction(
                namespace="shop",
                deployment="checkout",
                container="web",
                cpu_request="500m",
                cpu_limit="1",
                expected=ExpectedContainer(cpu_request="2", cpu_limit="4"),
            ),
            SetContainerAction(
                namespace="shop",
                deployment="checkout",
                container="web",
                cpu_request="2",
                cpu_limit="4",
                expected=ExpectedContainer(cpu_request="500m", cpu_limit="1"),
            ),
        ),
        (
            "rollback_config",
            {"workload": "cart", "current": {"image": "cart:7"}, "proposed": {"image": "cart:6"}},
            SetContainerAction(
                namespace="shop", deployment="cart", image="cart:6", expected=ExpectedContainer(image="cart:7")
            ),
            SetContainerAction(
                namespace="shop", deployment="cart", image="cart:7", expected=ExpectedContainer(image="cart:6")
            ),
        ),
        (
            "hpa_tune",
            {
                "namespace": "web",
                "hpa": "front",
                "current": {"replicas_min": 2, "replicas_max": 4},
                "proposed": {"replicas_max": 9},
            },
            PatchHpaAction(namespace="web", name="front", replicas_max=9, expected=ExpectedBounds(replicas_max=4)),
            PatchHpaAction(namespace="web", name="front", replicas_max=4, expected=ExpectedBounds(replicas_max=9)),
        ),
        (
            "scale_workload",
            {"current": {"replicas": 3}, "proposed": {"replicas": 0}},
            ScaleAction(
                namespace="shop", deployment="checkout", replicas=0, replicas_min=0, replicas_max=10_000, expected=3
            ),
            ScaleAction(
                namespace="shop", deployment="checkout", replicas=3, replicas_min=0, replicas_max=10_000, expected=0
            ),
        ),
    ],
)
def test_each_type_is_one_step_and_its_undoing(
    kind: str, document: dict[str, Any], action: Action, undo: Action
) -> None:
    """What the type does not change is left alone; what the document does not name, the drift event does."""
    policy = planned(kind, document)
    assert [step.action for step in policy.steps] == [action]
    assert [step.action for step in policy.rollback] == [undo]
    assert (policy.name, policy.dry_run, policy.approval) == (f"recommendation {kind}", False, ApprovalMode.NONE)
    assert not policy.needs_approval
    assert planned(kind, document, dry_run=True).dry_run
    rolls_out = isinstance(action, SetContainerAction)
    for step in (*policy.steps, *policy.rollback):
        assert step.timeout_us == (15 if rolls_out else 1) * MINUTE_US, "as long as a rollout takes"


def test_changes_are_told_from_what_to_what() -> None:
    """A line for each setting that the type changes, with what it is of."""
    document = {"current": {"cpu_request": "2"}, "proposed": {"cpu_request": "500m", "memory_limit": "1Gi"}}
    assert lines("right_size", document) == [
        "cpu request of shop/checkout: 2 → 500m",
        "memory limit of shop/checkout: to 1Gi",
    ]
    assert lines("right_size", {**document, "container": "web"})[0] == (
        "cpu request of container web of shop/checkout: 2 → 500m"
    )
    nodes = {"current": {"nodes": 5}, "proposed": {"nodes": 7, "replicas_min": 2}}
    assert lines("scale_nodes", nodes) == ["nodes of cluster prod-eu: 5 → 7"]
    assert lines("hpa_tune", {**nodes, "hpa": "front"}) == ["fewest replicas of autoscaler shop/front: to 2"]
    steps = [{"name": "note", "action": {"type": "annotate", "text": "hello"}}]
    assert lines("other", {"steps": steps}) == ['step \'note\': {"type":"annotate","text":"hello"}']


def test_what_cannot_be_undone_is_said() -> None:
    """Where `current` has only a part, that part is rolled back."""
    document = {"current": {"cpu_request": "2"}, "proposed": {"cpu_request": "1", "memory_request": "1Gi"}}
    policy = planned("right_size", document)
    assert [step.action for step in policy.rollback] == [
        SetContainerAction(
            namespace="shop", deployment="checkout", cpu_request="2", expected=ExpectedContainer(cpu_request="1")
        )
    ]
    assert "No rollback of memory request" in policy.description
    without = planned("right_size", {"proposed": {"cpu_request": "1"}})
    assert without.rollback == ()
    assert "No rollback is possible." in without.description


def test_it_is_verified_by_what_the_workload_reports() -> None:
    """Restarts where they are reported, else that there is telemetry at all; matched by the workload's own labels."""
    check = planned("scale_workload", {"proposed": {"replicas": 2}}).verification.check
    assert check is not None
    assert (check.metric, check.aggregation) == (RESTARTS, Aggregation.INCREASE)
    assert check.matchers == (
        "cluster_id={{ labels.cluster_id }}",
        "namespace={{ labels.namespace }}",
        "workload={{ labels.workload }}",
    )
    other = planned("scale_workload", {"proposed": {"replicas": 2}}, reported={CPU_USAGE: True}).verification
    assert other.check is not None
    assert (other.check.metric, other.within) == (CPU_USAGE, "30m")
    hasty = planned("scale_workload", {"proposed": {"replicas": 2}, "verification": {"within": "5m"}}).verification
    assert hasty.check is not None
    assert (hasty.within, check.window, hasty.check.window) == ("5m", "10m", "100s"), "so that there is time to look"


def test_what_could_not_be_verified_is_not_applied() -> None:
    """A dry run says so; a check of the document's own is as good."""
    document = {"proposed": {"replicas": 2}}
    with pytest.raises(InvalidInput, match="so applying it could not be"):
        planned("scale_workload", document, reported={})
    assert "would be refused" in planned("scale_workload", document, reported={}, dry_run=True).description
    own = planned("scale_workload", {**document, "verification": {"check": CHECK}}, reported={})
    assert own.verification.check is not None
    assert own.verification.check.metric == "queue_depth"


@pytest.mark.parametrize("reported", [{RESTARTS: False, CPU_USAGE: True}, {CPU_USAGE: False}])
def test_what_is_reported_too_seldom_is_not_applied(reported: dict[str, bool]) -> None:
    """Nothing lesser stands in for restarts where there are any; what to do is said."""
    document = {"proposed": {"replicas": 2}}
    with pytest.raises(InvalidInput, match=r"twice in each 30m.*collect cluster prod-eu at least every 10m") as refused:
        planned("scale_workload", document, reported=reported)
    assert next(iter(reported)) in refused.value.reason
    assert "every 10m" in planned("scale_workload", document, reported=reported, dry_run=True).description


def test_nodes_are_not_ours_to_scale() -> None:
    """A dry run tells the change and no more; with steps of its own it can be applied."""
    document = {"current": {"nodes": 5}, "proposed": {"nodes": 7}}
    [step] = planned("scale_nodes", document, dry_run=True).steps
    assert step.action == AnnotateAction(text="nodes of cluster prod-eu: 5 → 7")
    with pytest.raises(InvalidInput, match="give `steps`"):
        planned("scale_nodes", document)
    resize = {"name": "resize", "action": {"type": "http", "url": "https://cloud.example/{{ labels.cluster_id }}"}}
    policy = planned("scale_nodes", {**document, "steps": [resize], "verification": {"check": CHECK}})
    assert [step.name for step in policy.steps] == ["resize"]
    assert policy.rollback == ()


@pytest.mark.parametrize(
    ("kind", "document", "said"),
    [
        ("right_size", {"proposed": {"replicas": 3}}, "nothing that 'right_size' changes"),
        ("buy_more", {}, "nothing that 'buy_more' changes"),
        ("right_size", {"proposed": {"cpu_request": "lots"}}, "quantity"),
        ("right_size", {"proposed": {"cpu_request": "-1"}}, "below 0"),
        ("right_size", {"current": {"cpu_request": "some"}, "proposed": {"cpu_request": "1"}}, "quantity"),
        ("right_size", {"proposed": {"cpu_request": "2", "cpu_limit": "1"}}, "not be above cpu_limit"),
        ("right_size", {"container": "{{ rule }}", "proposed": {"cpu_request": "2"}}, "RFC 1123"),
        ("right_size", {"namespace": "{{ labels.env }}", "proposed": {"cpu_request": "2"}}, "RFC 1123"),
        ("hpa_tune", {"hpa": "{% raw %}", "proposed": {"replicas_min": 2}}, "RFC 1123"),
        ("hpa_tune", {"proposed": {"replicas_min": 0}}, "at least 1"),
        ("scale_workload", {"workload": "../x", "proposed": {"replicas": 2}}, "RFC 1123"),
        ("scale_workload", {"proposed": {"replicas": -2}}, "within"),
        ("rollback_config", {"proposed": {"image": "{{ labels.image }}"}}, "not an image's name"),
        ("rollback_config", {"proposed": {"image": "x"}, "verification": {"every": "1ms"}}, "1s or longer"),
        ("any", {"steps": [{"name": "s", "action": {"type": "annotate", "text": "{% for x in y %}"}}]}, "template"),
    ],
)
def test_what_cannot_be_done_is_refused(kind: str, document: dict[str, Any], said: str) -> None:
    """With the reason, in a dry run too, and naming the document."""
    for dry_run in (False, True):
        with pytest.raises(InvalidInput, match=said) as refused:
            planned(kind, document, dry_run=dry_run)
        assert refused.value.field.startswith("recommendation_json")


def test_a_workload_that_nobody_names() -> None:
    """Neither the document nor the drift event."""
    with pytest.raises(InvalidInput, match="drift event does not name them"):
        planned("scale_workload", {"proposed": {"replicas": 2}}, workload_name=None)


def test_an_autoscaler_of_no_workload() -> None:
    """Its own name is enough."""
    document = {"hpa": "front", "proposed": {"replicas_max": 9}, "verification": {"check": CHECK}}
    [step] = planned("hpa_tune", document, workload_name=None).steps
    assert step.action == PatchHpaAction(namespace="shop", name="front", replicas_max=9)


@given(text=st.text(min_size=1, max_size=60))
def test_no_text_of_a_document_acts_as_a_template(text: str) -> None:
    """Whatever stands in the fields of a known type ends up as it was written, or is refused."""
    document = {"proposed": {"nodes": 3, "image": text}, "workload": text}
    for kind in ("scale_nodes", "rollback_config", "a_type_of_theirs"):
        try:
            [step] = planned(kind, document, dry_run=True).steps
        except InvalidInput:
            continue
        if isinstance(step.action, AnnotateAction):
            assert render(step.action.text, {}) == step.action.text
            assert "{" not in step.action.text
        else:
            assert isinstance(step.action, SetContainerAction)
            assert plain_text("name", step.action.deployment, {}) == text
            assert step.action.image == text


def test_the_made_up_alert_says_what_it_is_about() -> None:
    """Its id is no alert's, and its labels are what steps of one's own may fill in."""
    one = recommendation("r" * 200)
    target = target_of(one.recommendation_json)
    place = place_of(one, target, drift_event())
    rule = made_up_rule(one, policy_of(one, target, place, dry_run=True, reported=REPORTED))
    alert = made_up_alert(one, place, rule, AT)
    assert (alert.id, rule.metric) == (0, RESTARTS)
    assert rule.name.startswith("recommendation rrr")
    assert len(rule.name) == 200
    assert alert_values(alert)["labels"] == {
        "cluster_id": "prod-eu",
        "namespace": "shop",
        "workload": "checkout",
        "env": "production",
        "drift_id": "drift-1",
        "rec_id": "r" * 200,
    }


def test_an_attempt_has_one_workflow() -> None:
    """The same for everybody, until there was an attempt in between; never another recommendation's or tenant's."""
    one = recommendation("a b/c")
    again = workflow_id_of(1, one)
    assert again == workflow_id_of(1, recommendation("a b/c"))
    others = [workflow_id_of(1, recommendation("a b/d")), workflow_id_of(2, one)]
    assert len({again, *others, workflow_id_of(1, recommendation("a b/c", remediation=7))}) == 4
    after_a_purge = recommendation("a b/c", created_at=AT + timedelta(microseconds=1))
    assert workflow_id_of(1, after_a_purge) != again
    assert again.replace("-", "").isalnum()
