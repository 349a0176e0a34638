"""The texts of an action with an alert's values filled in, each as the place where it stands demands.

Theory of operation. Labels come from whoever sends metrics, so none may be taken for a part of the template. What an
expression gives is first put in as a mark; the marked text shows which parts a value makes up, and then each mark is
replaced by its value, escaped. So filters and comparisons see plain values, and what was filled in is not read again.

Unlike an annotation, an action is not taken where a value is missing: `InvalidInput` says which.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Final
from urllib.parse import quote, unquote

import msgspec
import re2
from jinja2 import Template, TemplateError, Undefined, pass_context
from jinja2.runtime import Context

from core.domain.alerts import Alert
from core.domain.annotations import TemplateEnvironment
from core.domain.errors import InvalidInput

FILLED_CHARS_MAX: Final = 256_000
"""Four times the longest template; what grows further is data, not a request."""
Value = str | int | float | tuple[float, float]

_MARK = re.compile("\ue000([0-9]+)\ue001")
_COLLECTED: Final = "\ue000"
"""Where a rendering keeps its values; no template can say this name."""


class _Missing(Undefined):
    """May be tested and given a default, but not written."""

    __slots__ = ()

    def __str__(self) -> str:
        self._fail_with_undefined_error()


@pass_context
def _marked(context: Context, value: object) -> str:
    values: list[Value] = context[_COLLECTED]
    if isinstance(value, Undefined):
        return str(value)  # raises, with the name of what is missing
    if not isinstance(value, str | int | float | tuple):
        raise TypeError("gives neither a text nor a number; name one label")
    if isinstance(value, str):
        value.encode()  # raises for half of a surrogate pair
    values.append(value)
    return f"\ue000{len(values) - 1}\ue001"


_environment = TemplateEnvironment(autoescape=False, undefined=_Missing, finalize=_marked)


def alert_values(alert: Alert) -> dict[str, object]:
    """What templates know of an alert; a value that it lacks is missing, so that `default` can stand in for it."""
    values = {
        "value": alert.value,
        "threshold": alert.threshold,
        "severity": None if alert.severity is None else alert.severity.value,
        "metric": alert.metric,
        "rule": alert.rule,
        "labels": alert.labels,
    }
    return {name: value for name, value in values.items() if value is not None}


def target_values(alert: Alert) -> dict[str, object]:
    """The same for naming what an action changes: without what differs from one alert of a target to the next."""
    threshold = (1.0, 1.0) if isinstance(alert.threshold, tuple) else 1.0
    return {**alert_values(alert), "value": 1.0, "threshold": threshold, "severity": "critical"}


def plain_text(field: str, template: str, values: Mapping[str, object]) -> str:
    """The text with its values as they are."""
    return _Filled(field, template, values).text(str)


def argument_text(field: str, template: str, values: Mapping[str, object]) -> str:
    """One argument of a command; begins with a dash only where the template does, so that no value is an option."""
    filled = _Filled(field, template, values)
    text = filled.text(str)
    if text.startswith("-") and not filled.marked.startswith("-"):
        raise InvalidInput(field, "begins with '-' once filled in, so it could be an option; write it as --name=value")
    if "\x00" in text:
        raise InvalidInput(field, "contains a NUL character once filled in")
    return text


def form_text(field: str, template: str, values: Mapping[str, object]) -> str:
    """A body of ``application/x-www-form-urlencoded``, values percent-encoded."""
    return _Filled(field, template, values).text(_percent_encoded)


def pattern_text(field: str, template: str, values: Mapping[str, object]) -> str:
    """A regular expression, RE2's, in which values stand for themselves."""
    return _Filled(field, template, values).text(lambda value: re2.escape(str(value)))


def url_text(field: str, template: str, values: Mapping[str, object]) -> str:
    """A URL, values percent-encoded; they can neither choose the host nor add or take a part of the path."""
    filled = _Filled(field, template, values)
    beginning, path = _split_url(filled.marked)
    if _MARK.search(beginning):
        raise InvalidInput(field, "may be filled in only after the host: what sends metrics must not choose the host")
    for segment in path.split("/"):
        if _MARK.search(segment):
            decoded = unquote(filled.text(_percent_encoded, segment))
            if not decoded or not {".", ".."}.isdisjoint(re.split(r"[/\\]", decoded)):
                raise InvalidInput(field, "would have an empty part or '..' in its path once filled in")
    return filled.text(_percent_encoded)


def json_text(field: str, template: str, values: Mapping[str, object]) -> str:
    """A JSON body; texts go only between quotation marks, numbers anywhere."""
    filled = _Filled(field, template, values)
    with_numbers = filled.text(_json_number)
    try:
        # The marks that are left stand for texts; outside of a string they are no JSON.
        msgspec.json.decode(with_numbers)
    except (msgspec.DecodeError, RecursionError):
        raise InvalidInput(
            field, 'is not JSON once filled in; texts belong between quotation marks: "{{ labels.host }}"'
        ) from None
    return filled.text(lambda value: json.dumps(value, ensure_ascii=False)[1:-1], with_numbers)


class _Filled:
    """A template with marks where values go."""

    def __init__(self, field: str, template: str, values: Mapping[str, object]) -> None:
        self._field = field
        self._values: list[Value] = []
        if "\ue000" in template:
            raise InvalidInput(field, "contains the character U+E000")
        if "{" not in template:
            self.marked = template
            return
        with _as_invalid(field):
            self.marked = _compiled(template).render({**values, _COLLECTED: self._values})

    def text(self, escape: Callable[[Value], str | None], marked: str | None = None) -> str:
        """`marked`, or all of it, with values in place of marks; a mark stays where `escape` gives None."""

        def replaced(mark: re.Match[str]) -> str:
            escaped = escape(self._values[int(mark[1])])
            return mark[0] if escaped is None else escaped

        text = _MARK.sub(replaced, self.marked if marked is None else marked)
        if len(text) > FILLED_CHARS_MAX:
            raise InvalidInput(self._field, f"has more than {FILLED_CHARS_MAX} characters once filled in")
        return text


@contextmanager
def _as_invalid(field: str) -> Iterator[None]:
    try:
        yield
    except TemplateError as error:
        raise InvalidInput(field, f"cannot be filled in: {error.message or type(error).__name__}") from None
    except UnicodeEncodeError:
        raise InvalidInput(field, "cannot be filled in: half of a surrogate pair is not Unicode text") from None
    except (ArithmeticError, TypeError, ValueError, LookupError) as error:
        raise InvalidInput(field, f"cannot be filled in: {error}") from None


def _split_url(url: str) -> tuple[str, str]:
    """Scheme and authority, and the path without query."""
    scheme, separator, rest = url.partition("://")
    end = re.search(r"[/?#\\]", rest)
    at = len(rest) if end is None else end.start()
    return scheme + separator + rest[:at], re.split(r"[?#]", rest[at:], maxsplit=1)[0]


def _percent_encoded(value: Value) -> str:
    return quote(str(value), safe="")


def _json_number(value: Value) -> str | None:
    return None if isinstance(value, str) else json.dumps(value)


@lru_cache(maxsize=1_024)
def _compiled(template: str) -> Template:
    return _environment.from_string(template)
