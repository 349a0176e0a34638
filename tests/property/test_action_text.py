"""What is filled into an action stays data, whatever labels hold."""

import json
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core.domain.action_text import argument_text, form_text, json_text, plain_text, url_text
from core.domain.errors import InvalidInput
from tests.support.action_alert import HOSTILE

labels = st.one_of(
    st.text(max_size=30),
    st.text(alphabet="./\\%?#&=\"'{}[]:,@-\r\n\x00\ue000\ue0010123456789", max_size=12),
    st.sampled_from(list(HOSTILE.values())),
)


@given(a=labels, b=labels, value=st.floats(allow_nan=False, allow_infinity=False))
@example(a="\ue0001\ue001", b="secret", value=1.0)
@example(a='"', b=': "x", "admin": true', value=-0.0)
def test_json_holds_exactly_the_values(a: str, b: str, value: float) -> None:
    """Texts arrive as they were, in keys too; numbers are numbers; there is nothing else."""
    template = '{"a": "<{{ labels.a }}>", "{{ labels.b }}!": {"value": {{ value }}, "said": "{{ value }}"}}'
    text = json_text("body", template, {"labels": {"a": a, "b": b}, "value": value})
    expected: dict[str, object] = {"a": f"<{a}>"}
    expected[f"{b}!"] = {"value": value, "said": json.dumps(value)}
    assert json.loads(text) == expected


@given(a=labels, filters=st.sampled_from([" | upper", " | lower", " | title", " | trim", '[0] | default("")']))
@example(a="\\", filters="[0]")
@example(a="\n", filters=" | upper")
def test_filters_see_values_before_they_are_escaped(a: str, filters: str) -> None:
    """No filter can break an escape in two, or make another of it."""
    template = '{"a": "{{ labels.a%s }}", "b": 1}' % filters  # noqa: UP031  # braces are the template's
    try:
        text = json_text("body", template, {"labels": {"a": a}})
    except InvalidInput:
        assert a == ""
        return
    assert json.loads(text).keys() == {"a", "b"}
    assert json.loads(text)["b"] == 1


@given(a=labels)
def test_a_text_outside_of_quotation_marks_is_refused(a: str) -> None:
    """Even one that would be valid JSON, such as ``true`` or ``{}``."""
    for value in (a, "true", "{}", "1, 2", "null"):
        with pytest.raises(InvalidInput, match="between quotation marks"):
            json_text("body", '{"a": {{ labels.a }} }', {"labels": {"a": value}})


@given(a=labels, b=labels)
@example(a="..", b="")
@example(a="a/../b", b="")
@example(a="..\\x", b="")
def test_a_url_keeps_host_path_and_query(a: str, b: str) -> None:
    """The value is one segment of the path, or one parameter; or it is refused."""
    template = "https://api.example/hosts/{{ labels.a }}/restart?why={{ labels.b }}&force=false"
    try:
        url = url_text("url", template, {"labels": {"a": a, "b": b}})
    except InvalidInput:
        assert a == "" or {".", ".."} & set(a.replace("\\", "/").split("/"))
        return
    parts = urlsplit(url)
    assert parts.netloc == "api.example"
    assert [unquote(part) for part in parts.path.split("/")] == ["", "hosts", a, "restart"]
    assert parse_qs(parts.query, keep_blank_values=True, strict_parsing=True) == {"why": [b], "force": ["false"]}
    assert parts.fragment == ""


@given(a=labels)
def test_nothing_is_filled_in_before_the_path(a: str) -> None:
    """Whoever sends metrics never chooses the host, the port or the scheme."""
    for template in (
        "https://{{ labels.a }}/x",
        "https://x{{ labels.a }}",
        "https://x:{{ labels.a | int }}/",
        "{{ labels.a }}://x/",
        "{{ labels.a }}",
        "https:/{{ labels.a }}/",
    ):
        with pytest.raises(InvalidInput, match="must not choose the host"):
            url_text("url", template, {"labels": {"a": a}})


@given(a=labels, b=labels)
def test_an_argument_begins_with_a_dash_only_where_its_template_does(a: str, b: str) -> None:
    """Otherwise it is exactly the text."""
    values = {"labels": {"a": a, "b": b}}
    try:
        assert argument_text("arguments", "{{ labels.a }}{{ labels.b }}", values) == a + b
        assert not (a + b).startswith("-")
    except InvalidInput:
        assert (a + b).startswith("-") or "\x00" in a + b
    if "\x00" not in a:
        assert argument_text("arguments", "--host={{ labels.a }}", values) == f"--host={a}"


@given(a=labels, b=labels)
def test_forms_hold_exactly_the_values(a: str, b: str) -> None:
    """Percent-encoded, so that no value is a field of its own."""
    text = form_text("body", "a={{ labels.a }}&b={{ labels.b }}", {"labels": {"a": a, "b": b}})
    assert parse_qs(text, keep_blank_values=True) == {"a": [a], "b": [b]}


@given(a=labels)
def test_values_are_not_templates(a: str) -> None:
    """What was filled in is not filled in again."""
    assert plain_text("x", "{{ labels.a }}|{{ labels.a }}", {"labels": {"a": a}}) == f"{a}|{a}"
