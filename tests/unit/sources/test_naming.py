"""Vendors' names as Sextant's."""

import pytest

from adapters.driven.sources.naming import item_key, label_set, label_value, metric_name
from core.domain.series import check_label, check_name


@pytest.mark.parametrize(
    "text", ["", "a/b", "a*b", "größe", "9lives", "x" * 300, "\ud800", "a\x00b", "(sum(a) / sum(b))"]
)
def test_any_text_becomes_a_metric_name(text: str) -> None:
    """The same each time, and another one than any other text."""
    name = metric_name(text)
    check_name(name)
    assert name == metric_name(text)
    assert name != metric_name(text + "'")


def test_names_that_can_be_stay() -> None:
    """Dots and all."""
    assert metric_name("system.cpu.idle") == "system.cpu.idle"
    assert label_set({"app.kubernetes.io/name": "cart"}) == {"app.kubernetes.io/name": "cart"}


def test_label_names_that_become_one_stay_apart() -> None:
    """And an empty value is no label."""
    labels = label_set({"a b": "1", "a?b": "2", "a_b": "3", "empty": ""})
    assert labels["a_b"] == "3"
    assert sorted(labels.values()) == ["1", "2", "3"]
    for name, value in labels.items():
        check_label(name, value)


@pytest.mark.parametrize("text", ["x" * 9_000, "é" * 2_000, "\ud83d", "\udc00\ud83d", "a\x00"])
def test_any_text_becomes_a_label_value(text: str) -> None:
    """That can be stored, and is the same each time."""
    check_label("l", label_value(text))
    assert label_value(text) == label_value(text)


def test_long_values_that_differ_at_the_end_stay_apart() -> None:
    """As keys with a number behind do."""
    assert label_value("x" * 9_000 + "1") != label_value("x" * 9_000 + "2")


def test_keys_of_items_tell_their_parts_apart() -> None:
    """Where one ends and the other begins too."""
    assert len({item_key("ab", "c"), item_key("a", "bc"), item_key("abc"), item_key("abc", "")}) == 4
