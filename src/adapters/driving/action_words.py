"""What an action would do, in words, for a person who is asked to agree to it."""

from collections.abc import Callable, Mapping

import msgspec

from core.domain.action_text import alert_values, argument_text, plain_text, url_text
from core.domain.actions import (
    RESOURCES,
    Action,
    AnnotateAction,
    CommandAction,
    DeletePodAction,
    HttpAction,
    PatchHpaAction,
    RestartAction,
    ScaleAction,
    SetContainerAction,
    WaitAction,
)
from core.domain.alerts import Alert
from core.domain.errors import InvalidInput

Values = Mapping[str, object]
Fill = Callable[[str, str, Values], str]


class ActionWords(msgspec.Struct, frozen=True):
    """One sentence, and what is too long for it, by its heading."""

    summary: str
    details: tuple[tuple[str, str], ...] = ()


def action_words(action: Action, alert: Alert | None) -> ActionWords:
    """The action with the alert's values in its texts; a text that cannot be filled in says so in its place, as all do
    that need a value where there is no alert."""
    values = {} if alert is None else alert_values(alert)
    match action:
        case HttpAction():
            return _http(action, values)
        case ScaleAction():
            return ActionWords(_scale(action, _name(action.namespace, action.deployment, values)))
        case RestartAction():
            name = _name(action.namespace, action.deployment, values)
            return ActionWords(f"Restart the pods of deployment {name}, one after another")
        case DeletePodAction():
            return ActionWords(f"Delete pod {_name(action.namespace, action.pod, values)}")
        case PatchHpaAction():
            return ActionWords(_bounds(action, _name(action.namespace, action.name, values)))
        case SetContainerAction():
            return _container(action, _name(action.namespace, action.deployment, values), values)
        case CommandAction():
            arguments = tuple(("Argument", _filled(argument_text, text, values)) for text in action.arguments)
            return ActionWords(f"Run the command {action.command} on a Sextant worker", arguments)
        case WaitAction():
            return ActionWords(f"Wait for {action.duration}")
        case AnnotateAction():
            return ActionWords("Write into the alert's timeline", (("Text", _plain(action.text, values)),))


def _http(action: HttpAction, values: Values) -> ActionWords:
    details = [(f"Header {name}", _plain(text, values)) for name, text in action.headers.items()]
    details += [(f"Header {name}", f"(the secret {secret})") for name, secret in action.secret_headers.items()]
    if action.body is not None:
        details.append(("Body", _plain(action.body, values)))
    return ActionWords(f"Send {action.method} {_filled(url_text, action.url, values)}", tuple(details))


def _scale(action: ScaleAction, name: str) -> str:
    if action.replicas is not None:
        return f"Scale deployment {name} to {action.replicas} replicas"
    within = f"but not below {action.replicas_min} or above {action.replicas_max}"
    return f"Change the replicas of deployment {name} by {action.delta:+d}, {within}"


def _bounds(action: PatchHpaAction, name: str) -> str:
    bounds = {"at least": action.replicas_min, "at most": action.replicas_max}
    said = " and ".join(f"{word} {bound}" for word, bound in bounds.items() if bound is not None)
    return f"Let autoscaler {name} have {said} replicas"


def _container(action: SetContainerAction, name: str, values: Values) -> ActionWords:
    which = "the container" if action.container is None else f"container {_plain(action.container, values)}"
    details = [
        (field.replace("_", " ").capitalize(), text)
        for field in ("image", *RESOURCES)
        if (text := getattr(action, field)) is not None
    ]
    return ActionWords(f"Set {which} of deployment {name}, which replaces its pods", tuple(details))


def _name(namespace: str, name: str, values: Values) -> str:
    return f"{_plain(namespace, values)}/{_plain(name, values)}"


def _plain(text: str, values: Values) -> str:
    return _filled(plain_text, text, values)


def _filled(fill: Fill, text: str, values: Values) -> str:
    try:
        return fill("text", text, values)
    except InvalidInput as error:
        return f"{text} ({error.reason})"
