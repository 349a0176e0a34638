"""Prometheus rule files: what becomes of each rule, and that nothing is lost without a word."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.driving.cli.prometheus_rules import Imported, import_rules, matcher_text
from adapters.driving.cli.prometheus_templates import translate_template
from adapters.driving.cli.yaml_source import DocumentError, parse_yaml
from core.domain.annotations import render
from core.domain.matchers import MatchOp, parse_matcher
from core.domain.rules import AlertRule, Condition

CPU = """
      - alert: Cpu
        expr: cpu > {limit}
        for: 10m
        labels: {{severity: {severity}, team: web}}
        annotations: {{summary: "{{{{ $labels.host }}}} is busy"}}
"""


def imported(rules: str, *, head: str = "groups:\n  - name: g\n    rules:") -> Imported:
    return import_rules(parse_yaml((head + rules).encode(), "p.yml", texts_only=True))


def test_a_rule_keeps_all_that_it_says() -> None:
    """Expression, holds, labels, annotations, the link to its runbook; a group's labels, too."""
    found = imported(
        """
      - alert: Cpu
        expr: |
          avg_over_time(cpu{env="prod"}[5m])
            > 80
        for: 1h30m
        keep_firing_for: 5m
        labels: {severity: page, build: 10}
        annotations:
          summary: "{{ $labels.host }} is at {{ $value | humanize }}"
          runbook_url: https://wiki/cpu
""",
        head="groups:\n  - name: g\n    labels: {team: infra}\n    query_offset: 1m\n    rules:",
    )
    assert found.rules == (
        AlertRule(
            name="Cpu",
            metric="cpu",
            matchers=("env=prod",),
            aggregation=found.rules[0].aggregation,
            window="5m",
            critical=80.0,
            for_="90m",
            keep_firing_for="5m",
            evaluation_delay="1m",
            labels={"team": "infra", "build": "10"},
            annotations={"summary": "{{ labels.host }} is at {{ value | round(2) }}"},
            runbook_url="https://wiki/cpu",
        ),
    )
    assert found.rules[0].aggregation.value == "avg"
    assert (found.refused, found.notes) == ((), ())


@pytest.mark.parametrize("order", [("warning", 80, "critical", 90), ("critical", 90, "warning", 80)])
def test_two_severities_of_one_rule_become_one(order: tuple[str, int, str, int]) -> None:
    """In whichever order they stand."""
    rules = CPU.format(severity=order[0], limit=order[1]) + CPU.format(severity=order[2], limit=order[3])
    found = imported(rules)
    assert [(rule.name, rule.warning, rule.critical) for rule in found.rules] == [("Cpu", 80.0, 90.0)]
    assert found.merged == 1


def test_rules_of_one_name_that_differ_stay_apart() -> None:
    """Under names of their own, which is said."""
    other = CPU.format(severity="critical", limit=90).replace("10m", "5m")
    found = imported(CPU.format(severity="warning", limit=80) + other)
    assert [rule.name for rule in found.rules] == ["Cpu", "Cpu (critical)"]
    assert "differs in more than severity" in found.notes[0]
    low = CPU.format(severity="warning", limit=80) + CPU.format(severity="critical", limit=70)
    assert [rule.name for rule in imported(low).rules] == ["Cpu", "Cpu (critical)"]


def test_what_cannot_be_translated_is_named() -> None:
    """With its line, expression and reason; recording rules by their names."""
    found = imported("""
      - record: job:x
        expr: sum(x)
      - alert: Ratio
        expr: a / b > 0.5
      - alert: Long
        expr: max_over_time(m[2d]) > 5
        labels: {severity: warning}
      - alert: Extra
        expr: m > 5
        fro: 5m
""")
    assert found.recording == ("job:x",)
    assert [(one.place, one.name, one.expression) for one in found.refused] == [
        ("p.yml:7", "Ratio", "a / b > 0.5"),
        ("p.yml:9", "Long", "max_over_time(m[2d]) > 5"),
        ("p.yml:12", "Extra", "m > 5"),
    ]
    assert "longer than the 24h" in found.refused[1].reason
    assert "fro" in found.refused[2].reason


def test_what_is_lost_of_a_rule_is_said() -> None:
    """Severities that are no severities here, templates that have no counterpart."""
    found = imported("""
      - alert: A
        expr: m > 5
        labels: {severity: info, host: "{{ $labels.host }}"}
        annotations: {summary: "{{ range query \\"up\\" }}{{ end }}", other: fine}
      - alert: B
        expr: m > 5
""")
    assert [rule.annotations for rule in found.rules] == [{"other": "fine"}, {}]
    assert found.rules[0].labels == {}
    assert [note.split(": ")[0] for note in found.notes] == ["A", "A", "A", "B"]


def test_a_kubernetes_resource_is_read_too() -> None:
    """As the Prometheus operator has them."""
    head = "kind: PrometheusRule\nspec:\n  groups:\n  - name: g\n    rules:"
    assert imported("\n      - {alert: A, expr: m > 5}\n", head=head).rules[0].condition is Condition.ABOVE


@pytest.mark.parametrize("text", ["", "rules: []", "groups: 5", "groups: [5]", "groups: [{rules: [{expr: m}]}]"])
def test_another_file_is_refused(text: str) -> None:
    """As a whole, with the place."""
    with pytest.raises(DocumentError, match=r"p\.yml:1"):
        import_rules(parse_yaml(text.encode(), "p.yml", texts_only=True))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("plain", "plain"),
        ("{{ $labels.host }}: {{ $value }}", "a: 0.5"),
        ("{{$labels.host|toUpper}} {{- .Value -}} !", "A0.5!"),
        ('{{ index $labels "host" }}', "a"),
        ("{{ $value | humanizePercentage }}", "50.0%"),
        ("{{ humanizeDuration $value }}", "0.5s"),
        ('{{ printf "%.1f" $value }} {{ $value | printf "%.0f%%" }}', "0.5 0%"),
        ("{% raw %} {# no comment #} }}", "{% raw %} {# no comment #} }}"),
    ],
)
def test_a_template_says_the_same(text: str, wanted: str) -> None:
    """Once rendered."""
    assert render(translate_template(text), {"labels": {"host": "a"}, "value": 0.5}) == wanted


@pytest.mark.parametrize(
    "text", ["{{ $externalURL }}", "{{ if $value }}x{{ end }}", "{{ $value | reReplaceAll }}", "{{ $labels }}", "{{"]
)
def test_a_template_without_counterpart_is_refused(text: str) -> None:
    """Naming the part."""
    with pytest.raises(ValueError, match=r"counterpart|action"):
        translate_template(text)


@given(
    st.lists(
        st.sampled_from(["{{", "}}", "{%", "%}", "{#", "$value", "$labels.a", "|", "humanize", '"', "`", "-", " ", "x"])
    )
)
def test_no_template_breaks_the_translator(parts: list[str]) -> None:
    """What it lets through can be rendered."""
    text = "".join(parts)
    try:
        translated = translate_template(text)
    except ValueError:
        return
    assert "not rendered" not in render(translated, {"labels": {"a": "b"}, "value": 1.0})


@given(
    st.sampled_from([MatchOp.EQUAL, MatchOp.NOT_EQUAL]),
    st.text(st.characters(exclude_characters="\x00", codec="utf-8"), max_size=9),
    st.text(max_size=9),
)
def test_a_matcher_means_the_same(operator: MatchOp, value: str, probe: str) -> None:
    """Also where its value begins like an operator."""
    test = parse_matcher(matcher_text("a", operator, value)).test()
    for text in (value, probe, value + "\n"):
        assert test(text) is ((text == value) is (operator is MatchOp.EQUAL))
