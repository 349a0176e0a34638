"""What setting a Deployment's container would change, from the container as it is."""

from collections.abc import Sequence
from typing import Any, Final

from adapters.driven.actions.kubernetes_api import Resource
from adapters.driven.actions.kubernetes_objects import Container
from adapters.driven.actions.shown import shown
from core.domain.actions import RESOURCES, SetContainerAction
from core.domain.errors import InvalidInput
from core.domain.quantities import parse_quantity
from ports.driven.action_runner import ActionError

NAMES_CHARS_MAX: Final = 300
_PLACES: Final = {"request": "requests", "limit": "limits"}

FieldChange = tuple[str, str | None, str]
"""A field as the action names it, what it is and what it is to be."""


def find_container(resource: Resource, name: str | None, containers: Sequence[Container]) -> Container:
    """The container of that name, or (None) the only one. Raises `ActionError` naming those that there are."""
    found = [container for container in containers if name in (None, container.name)]
    if len(found) == 1:
        return found[0]
    names = shown(", ".join(container.name for container in containers), chars_max=NAMES_CHARS_MAX) or "none"
    if name is not None:
        raise ActionError(f"{resource} has no container {shown(name, chars_max=63)!r}; it has {names}", retryable=False)
    raise ActionError(f"{resource} does not have just one container, so name one; it has {names}", retryable=False)


def field_changes(container: Container, action: SetContainerAction, what: str) -> list[FieldChange]:
    """What of `what` differs from what is wanted; 0.5 and 500m do not. Raises `ActionError` where that is not as
    expected."""
    changes: list[FieldChange] = []
    if action.image is not None and action.image != container.image:
        changes.append(("image", container.image or None, action.image))
    for field in RESOURCES:
        wanted = getattr(action, field)
        kind, _, place = field.partition("_")
        amounts = (container.resources.requests if place == "request" else container.resources.limits) or {}
        before = amounts.get(kind)
        if wanted is not None and not _is_same(before, wanted):
            changes.append((field, before, wanted))
    for field, before, _ in changes:
        expected = getattr(action.expected, field, None)
        if expected is not None and not _is_same(before, expected):
            raise unexpected(f"{field.replace('_', ' ')} of {what}", before or "none", expected)
    return changes


def unexpected(what: str, now: object, expected: object) -> ActionError:
    """Why nothing is changed: somebody else has, since this was thought of."""
    reason = f"{what} is {now} now, and this change was made for {expected}: nothing was changed"
    return ActionError(shown(reason, chars_max=NAMES_CHARS_MAX), retryable=False, began=False)


def container_patch(name: str, changes: Sequence[FieldChange]) -> dict[str, Any]:
    """The container's part of a strategic merge patch, which finds it by its name."""
    patch: dict[str, Any] = {"name": name}
    for field, _, after in changes:
        if field == "image":
            patch["image"] = after
        else:
            kind, _, place = field.partition("_")
            patch.setdefault("resources", {}).setdefault(_PLACES[place], {})[kind] = after
    return patch


def _is_same(before: str | None, wanted: str) -> bool:
    if before is None:
        return False
    try:
        return parse_quantity("before", before) == parse_quantity("wanted", wanted)
    except InvalidInput:  # a notation that we do not know is another text at least
        return before == wanted
