"""Annotation templates: what they can say, and what they can not do."""

import pytest

from core.domain.annotations import RENDERED_CHARS_MAX, check_template, render
from core.domain.errors import InvalidInput

VALUES = {
    "value": 97.256,
    "threshold": 90.0,
    "severity": "critical",
    "metric": "cpu",
    "rule": "busy",
    "labels": {"host": "a", "items": "seven", "app.kubernetes.io/name": "shop"},
}


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("plain", "plain"),
        ("{{ value | round(1) }} > {{ threshold }} on {{ labels.host }}", "97.3 > 90.0 on a"),
        ("{{ labels.items }}", "seven"),
        ("{{ labels['app.kubernetes.io/name'] }}", "shop"),
        ("{{ labels.nothing | default('?') }}", "?"),
        ("{% if severity == 'critical' %}now{% else %}soon{% endif %}", "now"),
        ("{{ value - threshold | int }}", "7.256"),
        ("{{ labels.host.upper }}", ""),
    ],
)
def test_says(template: str, said: str) -> None:
    """Values, labels by either spelling, filters and conditions."""
    check_template("annotations.x", template)
    assert render(template, VALUES)[:5] == said[:5]


@pytest.mark.parametrize(
    "template",
    [
        "{{ value",
        "{{ other }}",
        "{% for i in range(9) %}{% endfor %}",
        "{% set x = 1 %}",
        "{% macro m() %}{% endmacro %}",
        "{% include 'x' %}",
        "{% import 'x' as y %}",
        "{{ labels.items() }}",
        "{{ ''.__class__.__mro__ }}{{ self }}",
        "{{ 'a' * 1000000000 }}",
        "{{ 2 ** 100000 }}",
        "{{ 'a' ~ 'b' }}",
        "{{ value | attr('real') }}",
        "{{ labels | tojson }}",
        "{{ lipsum() }}",
        "{% raw %}x{% endraw %}{% block b %}{% endblock %}",
    ],
)
def test_refused(template: str) -> None:
    """Loops, calls, assignments, multiplication and unknown names are refused by name, before anything is rendered."""
    with pytest.raises(InvalidInput) as refused:
        check_template("annotations.x", template)
    assert refused.value.field == "annotations.x"


def test_an_alert_is_sent_in_any_case() -> None:
    """What cannot be rendered stands in the text, with the reason."""
    said = render("{{ value | round(1) }}", {**VALUES, "value": None})
    assert "not rendered" in said
    assert len(render("{{ labels.host }}", {**VALUES, "labels": {"host": "x" * 10_000}})) == RENDERED_CHARS_MAX
