"""Filling an alert's values into the texts of an action."""

import pytest

from core.domain.action_text import (
    FILLED_CHARS_MAX,
    alert_values,
    argument_text,
    json_text,
    plain_text,
    target_values,
    url_text,
)
from core.domain.errors import InvalidInput
from core.domain.rules import Severity
from tests.support.action_alert import an_alert


def test_templates_know_the_alert() -> None:
    """By the names that annotations have, too."""
    text = plain_text(
        "text",
        "{{ rule }}|{{ metric }}|{{ severity }}|{{ value }}|{{ threshold }}|{{ labels.host }}|{{ value | int }}",
        alert_values(an_alert()),
    )
    assert text == "checkout is slow|http_request_duration_seconds|critical|92.5|90.0|web-1|92"


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{{ labels.pod_ip }}", "no attribute 'pod_ip'"),
        ("{{ labels.pod_ip | upper }}", "no attribute 'pod_ip'"),
        ("x{{ labels.pod_ip + 'x' }}", "no attribute 'pod_ip'"),
        ("{{ labels }}", "neither a text nor a number"),
        ('{{ labels["items"] }}', "neither a text nor a number"),
        ("{{ 1 / (value - 92.5) }}", "division by zero"),
        ("{{ labels.host + value }}", "cannot be filled in"),
        ("a\ue000b", "U+E000"),
    ],
)
def test_what_cannot_be_filled_in_is_an_error(template: str, said: str) -> None:
    """An annotation shows a gap; an action with one might hit something else."""
    with pytest.raises(InvalidInput) as error:
        plain_text("url", template, alert_values(an_alert()))
    assert error.value.field == "url"
    assert said in error.value.reason


def test_what_may_be_missing_can_be_asked_for() -> None:
    """A condition or a default says what happens then."""
    values = alert_values(an_alert(value=None, severity=None))
    assert plain_text("x", "{% if labels.zone %}{{ labels.zone }}{% else %}none{% endif %}", values) == "none"
    assert plain_text("x", "{{ value | default('no data') }}", values) == "no data"
    assert json_text("x", '{"value": {{ value | default(0) }}}', values) == '{"value": 0}'
    with pytest.raises(InvalidInput, match="'value' is undefined"):
        plain_text("x", "{{ value }}", values)


def test_a_band_is_an_array_in_json() -> None:
    """And its ends can be had by index."""
    values = alert_values(an_alert(threshold=(1.0, 2.5)))
    assert json_text("x", '{"band": {{ threshold }}, "high": {{ threshold[1] }}}', values) == (
        '{"band": [1.0, 2.5], "high": 2.5}'
    )


def test_conditions_compare_plain_values() -> None:
    """Not escaped ones."""
    values = alert_values(an_alert({"path": "a/b"}))
    template = 'https://x/{% if labels.path == "a/b" %}{{ labels.path }}{% else %}other{% endif %}'
    assert url_text("url", template, values) == "https://x/a%2Fb"


def test_half_a_surrogate_pair_is_refused() -> None:
    """It cannot be sent in any encoding."""
    with pytest.raises(InvalidInput, match="surrogate"):
        argument_text("x", "{{ labels.bad }}", alert_values(an_alert({"bad": "\ud800"})))


def test_a_text_has_a_limit() -> None:
    """Many short expressions over long labels make no body of any size."""
    template = "{{ labels.long }}" * (FILLED_CHARS_MAX // 2_000 + 1)
    with pytest.raises(InvalidInput, match="characters"):
        plain_text("body", template, alert_values(an_alert({"long": "x" * 2_000})))


def test_deep_json_is_refused() -> None:
    """Not a crash."""
    with pytest.raises(InvalidInput, match="JSON"):
        json_text("body", "[" * 60_000, {})


def test_target_values_are_the_same_for_every_alert_of_a_target() -> None:
    """What limits count must not change with the measured value."""
    assert target_values(an_alert()) == target_values(an_alert(value=99.0, threshold=95.0, severity=Severity.WARNING))
    assert plain_text("x", "{{ threshold[0] }}", target_values(an_alert(threshold=(3.0, 4.0)))) == "1.0"
