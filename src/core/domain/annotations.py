"""Annotation templates: Jinja expressions over an alert, nothing that loops, calls or reaches an attribute.

A template is parsed once and its syntax tree held against a list of what is allowed, so rendering takes time and room
in proportion to the template and the values in it. The rest of Jinja's sandbox stands behind that.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from jinja2 import Template, TemplateError, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from core.domain.errors import InvalidInput

RENDERED_CHARS_MAX: Final = 4_000
"""What a pager or a chat shows of it is far less."""
NAMES: Final = frozenset({"value", "threshold", "severity", "metric", "rule", "labels"})
FILTERS: Final = frozenset({"round", "upper", "lower", "default", "d", "int", "float", "abs", "title", "trim"})

_ALLOWED: Final = (
    nodes.Template,
    nodes.Output,
    nodes.TemplateData,
    nodes.Name,
    nodes.Const,
    nodes.Getitem,
    nodes.Getattr,
    nodes.Filter,
    nodes.If,
    nodes.CondExpr,
    nodes.Compare,
    nodes.Operand,
    nodes.And,
    nodes.Or,
    nodes.Not,
    nodes.Add,
    nodes.Sub,
    nodes.Div,
    nodes.Neg,
)
"""No loops, calls, assignments, imports; no multiplication either, which could make a text of any length."""


class TemplateEnvironment(ImmutableSandboxedEnvironment):
    """Jinja with no way into Python; what a template may say is `check_template`'s to decide."""

    def getattr(self, obj: object, attribute: str) -> object:
        """``labels.host`` is the label, whatever methods a mapping has; nothing else has attributes."""
        found = obj.get(attribute) if isinstance(obj, Mapping) else None
        return self.undefined(obj=obj, name=attribute) if found is None else found


_environment = TemplateEnvironment(autoescape=False)


def check_template(field: str, text: str) -> None:
    """Raises `InvalidInput` unless `text` is a template that `render` can do."""
    try:
        tree = _environment.parse(text)
    except TemplateError as error:
        raise InvalidInput(field, f"is not a template: {error.message or error}") from None
    for node in tree.find_all(nodes.Node):
        if not isinstance(node, _ALLOWED):
            raise InvalidInput(field, f"may not use {type(node).__name__.lower()}; write {{{{ value }}}} and the like")
        if isinstance(node, nodes.Name) and node.name not in NAMES:
            raise InvalidInput(field, f"knows no {node.name!r}; there are {', '.join(sorted(NAMES))}")
        if isinstance(node, nodes.Filter) and node.name not in FILTERS:
            raise InvalidInput(field, f"knows no filter {node.name!r}; there are {', '.join(sorted(FILTERS))}")


def render(text: str, values: Mapping[str, object]) -> str:
    """The template with `values` in it; what goes wrong stands in the text, for an alert is sent in any case."""
    if "{" not in text:
        return text
    try:
        rendered: str = _compiled(text).render(values)
        return rendered[:RENDERED_CHARS_MAX]
    except (TemplateError, ArithmeticError, TypeError, ValueError, LookupError) as error:
        return f"{text} (not rendered: {error})"[:RENDERED_CHARS_MAX]


@lru_cache(maxsize=1_024)
def _compiled(text: str) -> Template:
    return _environment.from_string(text)
