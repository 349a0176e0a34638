"""What a remediation can do: each class of action with its parameters, and what makes them valid."""

import re
from typing import Final

import msgspec

from core.domain.annotations import check_template
from core.domain.errors import InvalidInput
from core.domain.quantities import check_amount
from core.domain.times import DAY_US, parse_duration

NAME_CHARS_MAX: Final = 200
HEADERS_MAX: Final = 20
ARGUMENTS_MAX: Final = 100
TEXT_CHARS_MAX: Final = 4_000
BODY_CHARS_MAX: Final = 64_000
TIMEOUT_US_MAX: Final = DAY_US
RESOURCES: Final = ("cpu_request", "cpu_limit", "memory_request", "memory_limit")
"""A container's amounts, in the order in which they are shown."""
_IMAGE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,499}\Z", re.ASCII)


class HttpAction(msgspec.Struct, frozen=True, kw_only=True, tag="http", tag_field="type", forbid_unknown_fields=True):
    """One HTTP request, under the outbound guard; carries ``Idempotency-Key``. 2xx is success.

    `url`, header values and `body` are templates over the alert; in `url` what is filled in is percent-encoded.
    """

    url: str
    method: str = "POST"
    headers: dict[str, str] = {}
    secret_headers: dict[str, str] = {}
    """Header → the name of one of the policy's secrets."""
    body: str | None = None


class ScaleAction(
    msgspec.Struct, frozen=True, kw_only=True, tag="kubernetes_scale", tag_field="type", forbid_unknown_fields=True
):
    """Sets a Deployment's replicas, or changes them by `delta` within the bounds."""

    namespace: str
    deployment: str
    replicas: int | None = None
    delta: int | None = None
    replicas_min: int = 1
    replicas_max: int = 50
    expected: int | None = None
    """How many there are thought to be: with another number nothing is changed."""


class RestartAction(
    msgspec.Struct, frozen=True, kw_only=True, tag="kubernetes_restart", tag_field="type", forbid_unknown_fields=True
):
    """A rollout restart of a Deployment, as ``kubectl rollout restart`` does it."""

    namespace: str
    deployment: str


class DeletePodAction(
    msgspec.Struct, frozen=True, kw_only=True, tag="kubernetes_delete_pod", tag_field="type", forbid_unknown_fields=True
):
    """Deletes one pod, which its controller replaces."""

    namespace: str
    pod: str


class ExpectedBounds(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a HorizontalPodAutoscaler's bounds are thought to be; None: whatever they are."""

    replicas_min: int | None = None
    replicas_max: int | None = None


class PatchHpaAction(
    msgspec.Struct, frozen=True, kw_only=True, tag="kubernetes_patch_hpa", tag_field="type", forbid_unknown_fields=True
):
    """Changes a HorizontalPodAutoscaler's bounds."""

    namespace: str
    name: str
    replicas_min: int | None = None
    replicas_max: int | None = None
    expected: ExpectedBounds | None = None
    """Where a bound that is to be moved stands elsewhere, nothing is changed."""


class ExpectedContainer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a container is thought to be; None: whatever it is."""

    image: str | None = None
    cpu_request: str | None = None
    cpu_limit: str | None = None
    memory_request: str | None = None
    memory_limit: str | None = None


class SetContainerAction(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    tag="kubernetes_set_container",
    tag_field="type",
    forbid_unknown_fields=True,
):
    """Sets a container's image, or what it asks for and may use at most, which rolls its Deployment out.

    Only names are templates: whoever sends metrics must not choose what is run.
    """

    namespace: str
    deployment: str
    container: str | None = None
    """None: the Deployment's only one."""
    image: str | None = None
    cpu_request: str | None = None
    """In Kubernetes' notation, such as ``500m``; None: left as it is."""
    cpu_limit: str | None = None
    memory_request: str | None = None
    memory_limit: str | None = None
    expected: ExpectedContainer | None = None
    """Where something that is to be set is not as this says, nothing is changed."""


class CommandAction(
    msgspec.Struct, frozen=True, kw_only=True, tag="command", tag_field="type", forbid_unknown_fields=True
):
    """Runs a program of the worker's allow-list, without a shell; off unless the worker lists any."""

    command: str
    """A name in ``SEXTANT_WORKER_COMMANDS``, not a path."""
    arguments: tuple[str, ...] = ()
    """Templates; one argument each, whatever is filled in."""


class WaitAction(msgspec.Struct, frozen=True, kw_only=True, tag="wait", tag_field="type", forbid_unknown_fields=True):
    """Does nothing for a while."""

    duration: str


class AnnotateAction(
    msgspec.Struct, frozen=True, kw_only=True, tag="annotate", tag_field="type", forbid_unknown_fields=True
):
    """Writes a sentence into the alert's timeline; a template."""

    text: str


Action = (
    HttpAction
    | ScaleAction
    | RestartAction
    | DeletePodAction
    | PatchHpaAction
    | SetContainerAction
    | CommandAction
    | WaitAction
    | AnnotateAction
)


def check_action(field: str, action: Action) -> None:
    """Raises `InvalidInput` naming the part of `field` that is wrong."""
    match action:
        case HttpAction():
            if action.method not in ("GET", "POST", "PUT", "PATCH", "DELETE"):
                raise InvalidInput(f"{field}.method", "must be GET, POST, PUT, PATCH or DELETE")
            check_template_text(f"{field}.url", action.url, TEXT_CHARS_MAX)
            if len(action.headers) + len(action.secret_headers) > HEADERS_MAX:
                raise InvalidInput(f"{field}.headers", f"at most {HEADERS_MAX}")
            for name, value in (*action.headers.items(), *action.secret_headers.items()):
                if not name.replace("-", "").isalnum() or not name.isascii():
                    raise InvalidInput(f"{field}.headers", f"{name[:64]!r} is not a header's name")
                check_template_text(f"{field}.headers.{name}", value, TEXT_CHARS_MAX)
            if action.body is not None:
                check_template_text(f"{field}.body", action.body, BODY_CHARS_MAX)
        case ScaleAction():
            if (action.replicas is None) == (action.delta is None):
                raise InvalidInput(field, "give either replicas or delta")
            if not 0 <= action.replicas_min <= action.replicas_max <= 10_000:
                raise InvalidInput(f"{field}.replicas_min", "must be from 0 to replicas_max, at most 10000")
            if action.replicas is not None and not action.replicas_min <= action.replicas <= action.replicas_max:
                raise InvalidInput(f"{field}.replicas", "must lie within replicas_min and replicas_max")
            _check_names(field, namespace=action.namespace, deployment=action.deployment)
        case RestartAction():
            _check_names(field, namespace=action.namespace, deployment=action.deployment)
        case DeletePodAction():
            _check_names(field, namespace=action.namespace, pod=action.pod)
        case PatchHpaAction():
            low, high = action.replicas_min, action.replicas_max
            if low is None and high is None:
                raise InvalidInput(field, "give replicas_min, replicas_max or both")
            if (low is not None and low < 1) or (high is not None and high < (low or 1)):
                raise InvalidInput(field, "replicas_min must be at least 1, replicas_max not less")
            _check_names(field, namespace=action.namespace, name=action.name)
        case SetContainerAction():
            _check_container(field, action)
        case CommandAction():
            check_text(f"{field}.command", action.command, chars_max=NAME_CHARS_MAX)
            if len(action.arguments) > ARGUMENTS_MAX:
                raise InvalidInput(f"{field}.arguments", f"at most {ARGUMENTS_MAX}")
            for argument in action.arguments:
                check_template_text(f"{field}.arguments", argument, TEXT_CHARS_MAX)
        case WaitAction():
            check_duration(f"{field}.duration", action.duration)
        case AnnotateAction():
            check_template_text(f"{field}.text", action.text, TEXT_CHARS_MAX)


def _check_names(field: str, **names: str) -> None:
    for name, template in names.items():
        check_template_text(f"{field}.{name}", template, 500)


def check_template_text(field: str, template: str, chars_max: int) -> None:
    """Raises `InvalidInput` unless `template` can be filled in."""
    check_text(field, template, chars_max=chars_max)
    check_template(field, template)


def _check_container(field: str, action: SetContainerAction) -> None:
    container = {} if action.container is None else {"container": action.container}
    _check_names(field, namespace=action.namespace, deployment=action.deployment, **container)
    given = {name: text for name in RESOURCES if (text := getattr(action, name)) is not None}
    if not given and action.image is None:
        raise InvalidInput(field, f"give image, {', '.join(RESOURCES)} or several of them")
    if action.image is not None and not _IMAGE.match(action.image):
        raise InvalidInput(f"{field}.image", f"{action.image[:64]!r} is not an image's name")
    amounts = {name: check_amount(f"{field}.{name}", text) for name, text in given.items()}
    for name in RESOURCES:
        expected = getattr(action.expected, name, None)
        if expected is not None:
            check_amount(f"{field}.expected.{name}", expected)
    for what in ("cpu", "memory"):
        request, limit = amounts.get(f"{what}_request"), amounts.get(f"{what}_limit")
        if request is not None and limit is not None and request > limit:
            raise InvalidInput(f"{field}.{what}_request", f"must not be above {what}_limit")


def check_duration(field: str, text: str) -> int:
    """The duration in microseconds; raises `InvalidInput` where it is none, or longer than a day."""
    duration_us = parse_duration(text, field)
    if duration_us > TIMEOUT_US_MAX:
        raise InvalidInput(field, f"{text!r} is longer than a day")
    return duration_us


def check_text(field: str, text: str, *, chars_max: int) -> None:
    """Raises `InvalidInput` unless `text` can be stored and shown."""
    if not 1 <= len(text) <= chars_max or "\x00" in text or not _is_unicode(text):
        raise InvalidInput(field, f"must have 1 to {chars_max} characters, no NUL and no half of a surrogate pair")


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)
