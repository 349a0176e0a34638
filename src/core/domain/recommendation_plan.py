"""How a recommendation is applied: as a remediation policy, which the workflow of remediations then follows.

Theory of operation. The well-known types become one step each, whose names are checked to be names that Kubernetes has:
nothing of the document can act as a template, except in steps of its own, which are written as policies' steps are and
see the made-up alert's labels. What `current` says becomes the rollback, and is what the live object must say before it
is changed: a recommendation holds for what it was made for; and a rollback undoes its own change, nobody else's. A
change is verified by the workload's own telemetry, unless the document has a check of its own. Nobody is asked for
approval again: the recommendation was.
"""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

import msgspec

from core.domain.actions import (
    TEXT_CHARS_MAX,
    Action,
    AnnotateAction,
    ExpectedBounds,
    ExpectedContainer,
    PatchHpaAction,
    ScaleAction,
    SetContainerAction,
    check_duration,
)
from core.domain.alerts import Alert, EpisodeState
from core.domain.definitions import Aggregation
from core.domain.errors import InvalidInput
from core.domain.kubernetes_names import check_label, check_object_name
from core.domain.recommendations import Recommendation, Settings, Target
from core.domain.recommended_changes import Place, change_lines, changed_fields
from core.domain.remediation import ApprovalMode, MetricCheck, RemediationPolicy, Step, Verification
from core.domain.rules import NAME_CHARS_MAX, AlertRule, Condition
from core.domain.telemetry import CLUSTER, CPU_USAGE, NAMESPACE, RESTARTS, WORKLOAD
from core.domain.times import SECOND_US, format_duration, parse_duration

DOCUMENT: Final = "recommendation_json"
WITHIN: Final = "30m"
"""Sources report every few minutes."""
EVERY: Final = "30s"
CALM_SHARE: Final = 3
"""Of that time a third must be calm, 10 minutes: a pod that crashes does so again within 5, Kubernetes' longest
back-off. A third has an increase wherever two new samples, as far apart as they may be, come before the time is up."""
VERIFIABLE: Final = (RESTARTS, CPU_USAGE)
"""What a change can be verified by, best first."""
REPLICAS_MAX: Final = 10_000


def policy_of(
    recommendation: Recommendation, target: Target, place: Place, *, dry_run: bool, reported: Mapping[str, bool]
) -> RemediationPolicy:
    """The policy that applies it; `reported` has the metrics of `VERIFIABLE` that the workload reports, and whether so
    often that there are two new samples within any `patience_us`: an increase has two.

    Raises `InvalidInput` where the document does not say what is to be done, or in earnest how it would be verified.
    """
    kind = recommendation.recommendation_type
    steps = target.steps or (_step(kind, target, place, dry_run=dry_run),)
    rollback, missing = _rollback(kind, target, place)
    verification, verified_by = _verification(target, place, dry_run=dry_run, reported=reported)
    sentences = [
        "; ".join(change_lines(kind, target, place)),
        f"Verified by {verified_by}.",
        f"No rollback of {', '.join(missing)}: `current` does not say what it was." if missing else "",
        "No rollback is possible." if not rollback else "",
    ]
    try:
        return RemediationPolicy(
            name=f"recommendation {kind}",
            description=" ".join(filter(None, sentences))[:TEXT_CHARS_MAX],
            dry_run=dry_run,
            steps=steps,
            approval=ApprovalMode.NONE,
            verification=verification,
            rollback=rollback,
        )
    except InvalidInput as error:
        raise InvalidInput(DOCUMENT, f"{error.field}: {error.reason}") from None


def patience_us(target: Target) -> int:
    """How long its verification waits for telemetry, in microseconds. Raises `InvalidInput`."""
    within = WITHIN if target.verification is None else target.verification.within
    return check_duration(f"{DOCUMENT}.verification.within", within)


def made_up_rule(recommendation: Recommendation, policy: RemediationPolicy) -> AlertRule:
    """What stands in for the rule of an alert: its name tells people what the remediation is about."""
    check = policy.verification.check
    return AlertRule(name=_rule_name(recommendation.rec_id), metric=check.metric if check else CPU_USAGE, warning=0.0)


def made_up_alert(recommendation: Recommendation, place: Place, rule: AlertRule, now: datetime) -> Alert:
    """What stands in for the alert: id 0, with labels that the document's own steps can fill in."""
    labels = {
        CLUSTER: place.cluster_id,
        NAMESPACE: place.namespace,
        WORKLOAD: place.workload,
        "env": recommendation.env,
        "drift_id": recommendation.drift_id,
        "rec_id": recommendation.rec_id,
    }
    return Alert(
        id=0,
        rule=rule.name,
        rule_id=0,
        metric=rule.metric,
        labels={name: value for name, value in labels.items() if value is not None},
        state=EpisodeState.FIRING,
        severity=None,
        value=None,
        threshold=None,
        started_at=now,
        fired_at=now,
        resolved_at=None,
        resolution=None,
        episode=1,
        no_data=False,
        shadow=False,
        announced=False,
        acknowledged_at=None,
        acknowledged_by=None,
        annotations={},
        runbook_url=None,
        remediation=None,
    )


def workflow_id_of(tenant_id: int, recommendation: Recommendation) -> str:
    """The one workflow of an attempt: the same for everybody who tries to start it after the same last attempt.

    Once synthetic data are purged another recommendation may have the same id; the remediations of the first stay.
    """
    told = f"{recommendation.rec_id}\0{recommendation.created_at.isoformat()}"
    digest = hashlib.sha256(told.encode()).hexdigest()[:16]
    return f"sextant-recommendation-{tenant_id}-{digest}-{recommendation.remediation or 0}"


def _step(kind: str, target: Target, place: Place, *, dry_run: bool) -> Step:
    """The one step that the type stands for."""
    fields = changed_fields(kind, target)
    if not fields:
        raise InvalidInput(DOCUMENT, f"`proposed` has nothing that {kind!r} changes, and there are no `steps`")
    action = _action(kind, target.proposed, fields, target, place, expected=target.current)
    if action is not None:
        return Step(name=kind.replace("_", " "), action=action)
    if not dry_run:
        raise InvalidInput(
            DOCUMENT,
            f"nothing here can apply {kind!r} by itself; give `steps`, such as an http action to what can, "
            "or ask for a dry run",
        )
    return Step(name="say what would change", action=AnnotateAction(text=_note(kind, target, place)))


def _rollback(kind: str, target: Target, place: Place) -> tuple[tuple[Step, ...], Sequence[str]]:
    """The steps that restore what was there, and the settings that nobody said what they were."""
    if target.rollback or target.steps:
        return target.rollback, ()
    fields = changed_fields(kind, target)
    known = [field for field in fields if getattr(target.current, field) is not None]
    action = _action(kind, target.current, known, target, place, expected=target.proposed) if known else None
    missing = [field.replace("_", " ") for field in fields if field not in known]
    undo = () if action is None else (Step(name=f"undo {kind.replace('_', ' ')}", action=action),)
    return undo, missing


def _action(
    kind: str, settings: Settings, fields: Sequence[str], target: Target, place: Place, *, expected: Settings
) -> Action | None:
    """What sets `fields` as `settings` has them, where they are as `expected`; None where nothing here can."""
    values = {field: getattr(settings, field) for field in fields}
    before = {field: was for field in fields if (was := getattr(expected, field)) is not None}
    match kind:
        case "right_size" | "rollback_config":
            if target.container is not None:
                check_label(f"{DOCUMENT}.container", target.container)
            namespace, deployment = _names(place)
            return SetContainerAction(
                namespace=namespace,
                deployment=deployment,
                container=target.container,
                expected=ExpectedContainer(**before) if before else None,
                **values,
            )
        case "hpa_tune":
            if target.hpa is not None:
                check_object_name(f"{DOCUMENT}.hpa", target.hpa)
                place = msgspec.structs.replace(place, workload=target.hpa)
            namespace, name = _names(place)
            bounds = ExpectedBounds(**before) if before else None
            return PatchHpaAction(namespace=namespace, name=name, expected=bounds, **values)
        case "scale_workload":
            namespace, deployment = _names(place)
            return ScaleAction(
                namespace=namespace,
                deployment=deployment,
                replicas_min=0,
                replicas_max=REPLICAS_MAX,
                expected=before.get("replicas"),
                **values,
            )
        case _:
            return None


def _names(place: Place) -> tuple[str, str]:
    """Namespace and workload, checked."""
    if place.namespace is None or place.workload is None:
        raise InvalidInput(DOCUMENT, "give `namespace` and `workload`: its drift event does not name them either")
    check_label(f"{DOCUMENT}.namespace", place.namespace)
    check_object_name(f"{DOCUMENT}.workload", place.workload)
    return place.namespace, place.workload


def _verification(
    target: Target, place: Place, *, dry_run: bool, reported: Mapping[str, bool]
) -> tuple[Verification, str]:
    """What must become true, and that in words."""
    given = target.verification
    if given is not None and given.check is not None:
        return given, f"{given.check.metric} within {given.within}"
    within, every = (WITHIN, EVERY) if given is None else (given.within, given.every)
    metric = next((name for name in VERIFIABLE if name in reported), None)
    calm_us = parse_duration(within, "within") // CALM_SHARE
    calm = format_duration(max(calm_us - calm_us % SECOND_US, SECOND_US))
    trouble = _unverifiable(metric, place, within, calm, often=metric is not None and reported[metric])
    if trouble is not None and not dry_run:
        raise InvalidInput(DOCUMENT, trouble)
    check, words = _default_check(metric or RESTARTS, place, calm)
    refused = "" if trouble is None else f", but applying it would be refused: {trouble}"
    return Verification(within=within, every=every, check=check), f"{words} within {within}{refused}"


def _unverifiable(metric: str | None, place: Place, within: str, every: str, *, often: bool) -> str | None:
    """Why no samples of `metric` can be counted on; None where they can."""
    if metric is None:
        return (
            f"{place} reports neither {' nor '.join(VERIFIABLE)}, so applying it could not be verified; give "
            "`verification` with a `check`, or collect them"
        )
    if often:
        return None
    return (
        f"{place} does not report {metric} twice in each {within}, so applying it could not be verified in such a "
        f"time; collect cluster {place.cluster_id} at least every {every}, or give `verification` with a longer "
        "`within` or a `check`"
    )


def _default_check(metric: str, place: Place, window: str) -> tuple[MetricCheck, str]:
    """No pod of the workload restarts any more, or at least one still reports its use."""
    present = ((CLUSTER, place.cluster_id), (NAMESPACE, place.namespace), (WORKLOAD, place.workload))
    # Filled in from the made-up alert, so that no value is taken for an operator or a pattern.
    matchers = tuple(f"{label}={{{{ labels.{label} }}}}" for label, value in present if value is not None)
    if metric == RESTARTS:
        check = MetricCheck(
            metric=RESTARTS,
            matchers=matchers,
            aggregation=Aggregation.INCREASE,
            window=window,
            condition=Condition.AT_MOST,
            value=0.0,
        )
        return check, f"{RESTARTS}: none of its pods has restarted for {window},"
    check = MetricCheck(metric=metric, matchers=matchers, window=window, condition=Condition.AT_LEAST, value=0.0)
    return check, f"{metric}: its pods still report it,"


def _rule_name(rec_id: str) -> str:
    """``recommendation r-1``; one too long for a rule's name ends in a part of its hash."""
    name = f"recommendation {rec_id}"
    if len(name) <= NAME_CHARS_MAX:
        return name
    return f"{name[: NAME_CHARS_MAX - 17]}~{hashlib.sha256(rec_id.encode()).hexdigest()[:16]}"


def _note(kind: str, target: Target, place: Place) -> str:
    """What would change, as a note's text: without braces, so that nothing of it is a template."""
    text = "; ".join(change_lines(kind, target, place))[:TEXT_CHARS_MAX]
    return text.replace("{", "(").replace("}", ")")
