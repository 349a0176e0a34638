"""Annotations of Prometheus rules, Go templates, as Sextant's.

Source: https://prometheus.io/docs/prometheus/latest/configuration/template_reference/
"""

import re
from typing import Final

from core.domain.annotations import check_template
from core.domain.errors import InvalidInput

_ACTION: Final = re.compile(r"\{\{(-?)((?:[^{}\"`]|\"(?:[^\"\\]|\\.)*\"|`[^`]*`)*?)(-?)\}\}", re.DOTALL)
_OPENERS: Final = re.compile(r"\{[{%#]")
_LABEL: Final = re.compile(
    r"(?:\$labels|\.Labels)\.(?P<name>[A-Za-z_][A-Za-z0-9_]*)\Z|index\s+\$labels\s+\"(?P<indexed>[^\"\\']+)\"\Z"
)
_VALUE: Final = re.compile(r"(?:\$value|\.Value)\Z")
_PRINTF: Final = re.compile(
    r"printf\s+[\"`]%(?:\.(?P<digits>[0-9]))?(?P<verb>[fgvds])(?P<rest>[^\"`%\\{}']*)(?P<percent>%%)?[\"`]\Z"
)
_PRINTF_FIRST: Final = re.compile(r"(printf\s+(?:\"[^\"]*\"|`[^`]*`))\s+(\S+)\Z")
_FUNCTION_FIRST: Final = re.compile(r"([A-Za-z0-9]+)\s+(\$value|\.Value|\$labels\.\w+|\.Labels\.\w+)\Z")

_NUMBERS: Final = {
    "humanize": ("value | round(2)", ""),
    "humanize1024": ("value | round(2)", ""),
    "humanizeDuration": ("value | round(1)", "s"),
    "humanizePercentage": ("(value / 0.01) | round(2)", "%"),
}
"""What a pipe becomes: an expression, and what stands behind it."""
_TEXTS: Final = {"toUpper": "upper", "toLower": "lower", "title": "title"}


def translate_template(text: str) -> str:
    """The annotation in Sextant's words; raises `ValueError` with the part that has none."""
    parts = []
    place = 0
    for match in _ACTION.finditer(text):
        parts.append(_literal(text[place : match.start()]))
        before, action, after = match.groups()
        expression, tail = _expression(action.strip())
        parts.append(f"{{{{{before} {expression} {after}}}}}{tail}")
        place = match.end()
    parts.append(_literal(text[place:]))
    translated = "".join(parts)
    try:
        check_template("template", translated)
    except InvalidInput as error:
        raise ValueError(error.reason) from None
    return translated


def _literal(text: str) -> str:
    """Text between actions, with what only Sextant's templates would obey written as text."""
    if "{{" in text:
        raise ValueError(f"{text[text.index('{{') :][:40]!r} is no action that can be read")
    return _OPENERS.sub(lambda match: "{{ " + repr(match[0]) + " }}", text)


def _expression(action: str) -> tuple[str, str]:
    """What an action prints, and what stands behind it."""
    first, *pipes = (part.strip() for part in action.split("|"))
    if (match := _PRINTF_FIRST.match(first)) or (match := _FUNCTION_FIRST.match(first)):
        pipes.insert(0, match[1])
        first = match[2]
    if len(pipes) > 1:
        raise ValueError(f"{{{{ {action} }}}} has no counterpart")
    pipe = pipes[0] if pipes else None
    if match := _LABEL.match(first):
        name = match["name"] or match["indexed"]
        label = f"labels.{name}" if match["name"] else f"labels['{name}']"
        return _piped_label(label, pipe, action)
    if _VALUE.match(first):
        return _piped_value(pipe, action)
    raise ValueError(f"{{{{ {action} }}}} has no counterpart")


def _piped_label(label: str, pipe: str | None, action: str) -> tuple[str, str]:
    if pipe is None:
        return label, ""
    if pipe in _TEXTS:
        return f"{label} | {_TEXTS[pipe]}", ""
    raise ValueError(f"{{{{ {action} }}}} has no counterpart")


def _piped_value(pipe: str | None, action: str) -> tuple[str, str]:
    if pipe is None:
        return "value", ""
    if pipe in _NUMBERS:
        return _NUMBERS[pipe]
    if match := _PRINTF.match(pipe):
        tail = match["rest"] + ("%" if match["percent"] else "")
        if match["digits"] is not None:
            return (f"value | round({match['digits']})" if match["digits"] != "0" else "value | round | int"), tail
        return ("value | round | int" if match["verb"] == "d" else "value"), tail
    raise ValueError(f"{{{{ {action} }}}} has no counterpart")
