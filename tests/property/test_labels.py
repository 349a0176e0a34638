"""Series identity: canonical labels, and what is refused."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.domain.errors import InvalidInput
from core.domain.series import (
    LABEL_NAME_CHARS_MAX,
    LABEL_VALUE_BYTES_MAX,
    LABELS_MAX,
    NAME_CHARS_MAX,
    series_identity,
)

names = st.from_regex(r"[A-Za-z_:][A-Za-z0-9_:.\-]{0,30}", fullmatch=True)
label_names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_.\-/]{0,20}", fullmatch=True)
texts = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=40)
label_sets = st.dictionaries(label_names, texts, max_size=6)


@given(names, label_sets, texts, st.data())
def test_order_is_forgotten(name: str, labels: dict[str, str], source: str, data: st.DataObject) -> None:
    """However the labels were ordered, the identity and its digest are the same, and ascend by name."""
    identity = series_identity(name, labels, source)
    again = series_identity(name, dict(data.draw(st.permutations(list(labels.items())))), source)
    assert again == identity
    assert again.digest == identity.digest
    assert [label for label, _ in identity.labels] == sorted(labels)
    assert dict(identity.labels) == labels


@given(st.tuples(names, label_sets, texts), st.tuples(names, label_sets, texts))
def test_digest_is_the_identity(one: tuple[str, dict[str, str], str], other: tuple[str, dict[str, str], str]) -> None:
    """Digests are equal exactly where name, labels and source are."""
    digests = {series_identity(name, labels, source).digest for name, labels, source in (one, other)}
    assert len(digests) == (1 if one == other else 2)


@given(names, label_sets, texts)
def test_shifting_text_changes_the_digest(name: str, labels: dict[str, str], source: str) -> None:
    """Text that moves from a label's name to its value, or to the source, makes another series."""
    base = series_identity(name, {**labels, "ab": "c"}, source)
    moved = [
        series_identity(name, {**labels, "a": "bc"}, source),
        series_identity(name, labels, source + "abc"),
        series_identity(name + "ab", labels, source),
    ]
    assert base.digest not in {identity.digest for identity in moved}


def test_absent_source_is_the_empty_one() -> None:
    """No source and an empty source are one series."""
    assert series_identity("cpu", {}, None) == series_identity("cpu", {}, "")


@given(names, label_sets)
def test_survives_json(name: str, labels: dict[str, str]) -> None:
    """What was canonical stays so after a way through JSON."""
    identity = series_identity(name, labels, "s")
    assert series_identity(name, json.loads(json.dumps(dict(identity.labels))), "s") == identity


@pytest.mark.parametrize(
    ("name", "labels", "source", "field"),
    [
        ("", {}, None, "name"),
        ("9cpu", {}, None, "name"),
        ("cpu load", {}, None, "name"),
        ("cpu\n", {}, None, "name"),
        ("ｃｐｕ", {}, None, "name"),
        ("c" * (NAME_CHARS_MAX + 1), {}, None, "name"),
        ("cpu", {"": "a"}, None, "labels"),
        ("cpu", {"1st": "a"}, None, "labels"),
        ("cpu", {"a=b": "a"}, None, "labels"),
        ("cpu", {"a" * (LABEL_NAME_CHARS_MAX + 1): "a"}, None, "labels"),
        ("cpu", {"host": "a\x00b"}, None, "labels.host"),
        ("cpu", {"host": "\ud800"}, None, "labels.host"),
        ("cpu", {"host": "é" * (LABEL_VALUE_BYTES_MAX // 2 + 1)}, None, "labels.host"),
        ("cpu", {f"l{n}": "" for n in range(LABELS_MAX + 1)}, None, "labels"),
        ("cpu", {}, "\x00", "source"),
        ("cpu", {}, "s" * (LABEL_VALUE_BYTES_MAX + 1), "source"),
    ],
)
def test_refused(name: str, labels: dict[str, str], source: str | None, field: str) -> None:
    """What cannot be stored or told apart is refused, naming the field."""
    with pytest.raises(InvalidInput) as refusal:
        series_identity(name, labels, source)
    assert refusal.value.field == field


def test_limits_are_inclusive() -> None:
    """Exactly the allowed length of everything is accepted."""
    labels = {f"l{n}": "v" for n in range(LABELS_MAX - 1)} | {
        "a" * LABEL_NAME_CHARS_MAX: "é" * (LABEL_VALUE_BYTES_MAX // 2)
    }
    identity = series_identity("c" * NAME_CHARS_MAX, labels, "s" * LABEL_VALUE_BYTES_MAX)
    assert len(identity.labels) == LABELS_MAX
