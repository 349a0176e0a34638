"""Rules as YAML: read strictly, with the line of every mistake, and written so that they read back."""

import contextlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.driving.cli.rule_document import RuleDocument, dump_document, parse_document, read_document
from adapters.driving.cli.yaml_source import DEPTH_MAX, SIZE_BYTES_MAX, DocumentError, dump_yaml, parse_yaml
from core.domain.actions import AnnotateAction, HttpAction
from core.domain.definitions import Aggregation
from core.domain.remediation import MetricCheck, RemediationPolicy, Step, Verification
from core.domain.rules import AlertRule, Condition, NoData

POLICY = RemediationPolicy(
    name="clean up",
    dry_run=False,
    steps=(
        Step(name="say", action=AnnotateAction(text="{{ labels.host }}")),
        Step(name="call", action=HttpAction(url="https://h/x", headers={"A": "b"}), retries=0),
    ),
    verification=Verification(check=MetricCheck(metric="m", condition=Condition.INSIDE, value=(0.0, 1.5))),
)


def mistakes(text: str) -> list[str]:
    with pytest.raises(DocumentError) as refused:
        parse_document(text.encode(), "r.yaml")
    return str(refused.value).splitlines()


def test_a_document_is_rules_and_policies() -> None:
    """As the API names their fields."""
    found = parse_document(
        b"""
rules:
  - name: disk full
    metric: disk.used
    matchers: ["mount!=/boot"]
    aggregation: avg
    window: 5m
    condition: outside
    warning: [1e1, 80]
    for: 10m
    no_data: alert
policies:
  - name: p
    steps:
      - name: w
        action: {type: wait, duration: 30s}
""",
        "r.yaml",
    )
    assert found.rules == (
        AlertRule(
            name="disk full",
            metric="disk.used",
            matchers=("mount!=/boot",),
            aggregation=Aggregation.AVG,
            window="5m",
            condition=Condition.OUTSIDE,
            warning=(10.0, 80.0),
            for_="10m",
            no_data=NoData.ALERT,
        ),
    )
    assert found.policies is not None
    assert found.policies[0].steps[0].name == "w"
    assert parse_document(b"rules: []", "r.yaml") == RuleDocument(rules=())


def test_scalars_are_what_they_look_like() -> None:
    """None of YAML 1.1's surprises: on, no, 12:30 and 010 are texts, or at least no other value."""
    found = parse_yaml(b"[on, no, 12:30, 010, 1e3, 0x1F, 2026-01-31, ~, null, true, .5, 1_000, '1']", "x").value
    assert found == ["on", "no", "12:30", 10.0, 1000.0, "0x1F", "2026-01-31", None, None, True, 0.5, "1_000", "1"]


def test_every_mistake_is_named_with_its_line() -> None:
    """All at once: a field that does not exist, a wrong type, a limit, a name twice, another list."""
    assert mistakes("""\
rules:
  - name: a
    metric: cpu
    warnin: 5
  - name: b
    metric: cpu
    warning: high
  - name: c
    metric: cpu
    warning: 5
    window: 400h
  - name: c
    metric: cpu
    warning: 5
  - name: c
    metric: cpu
    warning: 5
  - metric: cpu
policies:
  - name: p
    steps:
      - name: s
        action: {type: wait, duration: long}
      - name: t
        action:
          type: http
          url: https://h
          secret: x
silences: []
""") == [
        "r.yaml:29: there is no 'silences'; a document has rules and policies",
        "r.yaml:4: 'a': warnin: there is no such field",
        "r.yaml:7: 'b': warning: expected `float | list | null`, got `str`",
        "r.yaml:11: 'c': window: '400h' is longer than the 24h that are allowed",
        "r.yaml:15: 'c' stands here twice",
        "r.yaml:18: is missing the required field `name`",
        "r.yaml:28: 'p': steps.1.action.secret: there is no such field",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rules:\n- name: a\n  metric: b\n  name: c\n", "r.yaml:4: 'name' stands here twice, first in line 2"),
        ("a: &a [1]\nrules: *a\n", "r.yaml:2: aliases are not taken; write the value again"),
        ("rules: [1, {]\n", "r.yaml:1: expected the node content, but found ']'"),
        ("rules:\n- !!python/object/apply:os.system [id]\n", "r.yaml:2: the tag tag:yaml.org,2002:python"),
        ("rules: [!x 5]", "r.yaml:1: the tag !x is not taken"),
        ("rules: !!set {a}", "r.yaml:1: the tag tag:yaml.org,2002:set"),
        ("rules: " + "[" * 9_000, f"r.yaml:1: nested more than {DEPTH_MAX} deep"),
        ("? [a]\n: b\n", "r.yaml:1: a key must be a text"),
        ("a: 1\n---\nb: 2\n", "r.yaml:2: but found another document"),
        ("- 5", "r.yaml:1: must be a mapping with rules and policies"),
        ("", "r.yaml:1: must be a mapping"),
        ("rules: 5", "r.yaml:1: rules must be a list"),
        ("rules: [5]", "r.yaml:1: expected `object`, got `int`"),
        ("\x00", "r.yaml: is not YAML: unacceptable character"),
        ("rules: \x1b[2J", "r.yaml: is not YAML: unacceptable character"),
        ("rules: ['\\x1b]'", "r.yaml"),
    ],
)
def test_what_is_no_plain_data_is_refused(text: str, said: str) -> None:
    """In a line that says where, and nothing of it reaches a terminal raw."""
    [line] = mistakes(text)
    assert line.startswith(said)
    assert line.isprintable()


def test_a_file_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    """Missing, not text, too large."""
    with pytest.raises(DocumentError, match="No such file"):
        read_document(tmp_path / "none.yaml")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(DocumentError, match="UTF-8"):
        read_document(tmp_path / "binary")
    with (tmp_path / "large").open("wb") as file:
        os.truncate(file.fileno(), SIZE_BYTES_MAX + 1)
    with pytest.raises(DocumentError, match="larger than"):
        read_document(tmp_path / "large")


NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=20)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)


@given(
    st.lists(
        st.builds(
            AlertRule,
            name=NAMES,
            metric=st.just("m"),
            warning=NUMBERS,
            labels=st.dictionaries(st.sampled_from(["a", "b"]), NAMES),
            annotations=st.dictionaries(st.sampled_from(["a", "no"]), NAMES.filter(lambda text: "{" not in text)),
            group_by=st.sampled_from([None, (), ("a", "yes")]),
            window=st.just("5m"),
            enabled=st.booleans(),
        ),
        unique_by=lambda rule: rule.name,
    )
)
def test_what_is_written_is_read_back(rules: list[AlertRule]) -> None:
    """Whatever the texts look like to a reader of YAML."""
    document = RuleDocument(rules=tuple(rules), policies=(POLICY,))
    assert parse_document(dump_document(document).encode(), "r.yaml") == document


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | NUMBERS | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=8,
    )
)
def test_any_data_is_written_and_read_back(value: object) -> None:
    """Texts that look like numbers, too."""
    assert parse_yaml(dump_yaml(value).encode(), "x").value == value


@given(st.text(st.sampled_from("ab:-[]{}#&*!|>'\"%@`,? \n\t\\0.e~"), max_size=60))
def test_no_text_breaks_the_reader(text: str) -> None:
    """It is data, or it is refused."""
    with contextlib.suppress(DocumentError):
        parse_document(text.encode(), "r.yaml")
