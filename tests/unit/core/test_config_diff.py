"""Differences of two JSON documents."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.domain.config_diff import DIFFERENCES_MAX, PATHS_CHARS_MAX, differences
from core.domain.configurations import Difference, Document

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from([0.0, 1.0, 0.5]) | st.sampled_from(["", "a", "b"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["", "a", "/", "~1", "0"]), inner),
    max_leaves=12,
)
DOCUMENTS = st.dictionaries(st.sampled_from(["", "a", "~", "/b", "~0"]), VALUES, max_size=4)


def applied(document: Document, patch: tuple[Difference, ...]) -> Any:
    """The document after a JSON Patch (RFC 6902), each step checked against what it says was there."""
    whole = {"": copy.deepcopy(document)}
    for each in patch:
        holder: Any = whole
        last: Any = ""
        for token in each.path.split("/")[1:]:
            name = token.replace("~1", "/").replace("~0", "~")
            holder = holder[last]
            last = int(name) if isinstance(holder, list) else name
        if each.op == "add":
            assert last not in holder if isinstance(holder, dict) else last == len(holder)
            if isinstance(holder, list):
                holder.append(each.after)
            else:
                holder[last] = each.after
            continue
        assert canonical(holder[last]) == canonical(each.before)
        if each.op == "replace":
            holder[last] = each.after
        else:
            del holder[last]
    return whole[""]


def canonical(value: Any) -> Any:
    """A value as JSON means it: true is not 1, 1.0 is."""
    if isinstance(value, dict):
        return {name: canonical(member) for name, member in value.items()}
    if isinstance(value, list):
        return [canonical(item) for item in value]
    return (isinstance(value, bool), value)


@given(DOCUMENTS, DOCUMENTS)
def test_they_make_the_second_of_the_first(before: Document, after: Document) -> None:
    """Applied one by one they give the second document, and there are none exactly where both are the same."""
    found = differences(before, after)
    assert canonical(applied(before, found)) == canonical(after)
    assert (found == ()) is (canonical(before) == canonical(after))


@given(DOCUMENTS, DOCUMENTS)
def test_the_same_whatever_order_members_have(before: Document, after: Document) -> None:
    """Objects have no order, so neither do differences depend on one."""
    turned = dict(reversed(before.items())), dict(reversed(after.items()))
    assert differences(*turned) == differences(before, after)


def test_each_kind_of_difference() -> None:
    """Members by name with their pointers escaped, items by index, what is gone from the last item on."""
    before = {"b": 1, "a/b": "x", "m~n": None, "list": [1, 2, 3, 4], "same": {"x": [1]}, "type": {}}
    after = {"a/b": "y", "m~n": False, "list": [1, 5], "same": {"x": [1]}, "type": [], "new": {"k": 1}}
    assert differences(before, after) == (
        Difference(path="/a~1b", op="replace", before="x", after="y"),
        Difference(path="/b", op="remove", before=1),
        Difference(path="/list/1", op="replace", before=2, after=5),
        Difference(path="/list/3", op="remove", before=4),
        Difference(path="/list/2", op="remove", before=3),
        Difference(path="/m~0n", op="replace", before=None, after=False),
        Difference(path="/new", op="add", after={"k": 1}),
        Difference(path="/type", op="replace", before={}, after=[]),
    )


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        (1, 1.0, True),
        (0, -0.0, True),
        (10**22, 1e22, True),
        (2**53, 2**53 + 1, False),
        (1, True, False),
        (0, False, False),
        (0.0, False, False),
        ("1", 1, False),
        (None, False, False),
        (None, "", False),
        ([], {}, False),
        ([1], [1.0], True),
        ({"a": True}, {"a": 1}, False),
    ],
)
def test_values_as_json_means_them(before: Any, after: Any, same: bool) -> None:
    """Numbers by value, and no two types are one."""
    assert (differences({"x": before}, {"x": after}) == ()) is same


def test_no_document() -> None:
    """None is none at all, and not an empty one."""
    assert differences(None, None) == ()
    assert differences(None, {}) == (Difference(path="", op="add", after={}),)
    assert differences({"a": 1}, None) == (Difference(path="", op="remove", before={"a": 1}),)


def test_bounded() -> None:
    """Too many differences, or pointers too long, are one of the whole document."""
    many = {str(number): number for number in range(DIFFERENCES_MAX + 1)}
    assert len(differences({}, dict(list(many.items())[1:]))) == DIFFERENCES_MAX
    assert differences({}, many) == (Difference(path="", op="replace", before={}, after=many),)
    name = "n" * (PATHS_CHARS_MAX // 4)
    few, several = {name: {"a": 1, "b": 2}}, {name: {str(number): number for number in range(4)}}
    assert len(differences({name: {}}, few)) == 2
    assert differences({name: {}}, several) == (Difference(path="", op="replace", before={name: {}}, after=several),)
