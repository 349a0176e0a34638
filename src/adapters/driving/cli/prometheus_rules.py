"""Prometheus rule files as Sextant's rules, with every loss named.

Source: https://prometheus.io/docs/prometheus/latest/configuration/alerting_rules/
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec
import re2

from adapters.driving.cli.prometheus_templates import translate_template
from adapters.driving.cli.promql import Untranslatable
from adapters.driving.cli.promql_threshold import PlainThreshold, threshold_of
from adapters.driving.cli.promql_tokens import duration_us
from adapters.driving.cli.yaml_source import Document, DocumentError
from core.domain.errors import InvalidInput
from core.domain.matchers import MatchOp
from core.domain.rules import AlertRule, Severity
from core.domain.times import format_duration

CRITICAL: Final = frozenset({"critical", "page"})
"""Severities that people are woken for; all others become `warning`."""
RULE_FIELDS: Final = frozenset({"alert", "expr", "for", "keep_firing_for", "labels", "annotations"})
GROUP_FIELDS: Final = frozenset({"name", "rules", "labels", "interval", "limit", "query_offset"})
"""`interval` means nothing here: every sample is judged when it comes."""


class NotTranslated(msgspec.Struct, frozen=True, kw_only=True):
    """An alerting rule that no Sextant rule can say."""

    place: str
    """``file:line``."""
    name: str
    expression: str
    reason: str


class Imported(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a file."""

    rules: tuple[AlertRule, ...]
    merged: int
    """Alerting rules that became the other severity of one before them."""
    refused: tuple[NotTranslated, ...]
    recording: tuple[str, ...]
    """Names of recording rules: they are skipped."""
    notes: tuple[str, ...]
    """What was lost of rules that were translated."""


class _Losses:
    def __init__(self, name: str) -> None:
        self._name = name
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(f"{self._name}: {text}")


def import_rules(document: Document) -> Imported:
    """The alerting rules of a file whose scalars were read as texts; raises `DocumentError` where it is none."""
    rules: list[AlertRule] = []
    refused, recording, notes = [], [], []
    merged = 0
    for group_path, group in _groups(document):
        for index, given in enumerate(_list(document, group, "rules", group_path)):
            path = (*group_path, "rules", index)
            if not isinstance(given, dict) or not ("alert" in given or "record" in given):
                raise DocumentError(f"{document.at(path)}: must be a rule with alert or record, and expr")
            if "record" in given:
                recording.append(_text(given["record"]))
                continue
            name = _text(given["alert"])
            losses = _Losses(name)
            try:
                rule = _translated(given, group, losses)
            except (Untranslatable, InvalidInput) as error:
                place = document.at((*path, "expr"))
                expression = " ".join(_text(given.get("expr")).split())
                refused.append(NotTranslated(place=place, name=name, expression=expression, reason=str(error)))
                continue
            notes += losses.notes
            merged += _take(rules, rule, notes)
    return Imported(
        rules=tuple(rules),
        merged=merged,
        refused=tuple(refused),
        recording=tuple(recording),
        notes=tuple(notes),
    )


def matcher_text(label: str, operator: MatchOp, value: str) -> str:
    """A matcher as Sextant's rules write it."""
    if operator is MatchOp.EQUAL and value.startswith("~"):
        return f"{label}=~{re2.escape(value)}"  # `=` and a `~` would read as `=~`
    return f"{label}{operator.value}{value}"


def _translated(given: Mapping[str, Any], group: Mapping[str, Any], losses: _Losses) -> AlertRule:
    """One rule; raises `Untranslatable`, and `InvalidInput` where it is past a limit of ours."""
    if unknown := sorted(set(given) - RULE_FIELDS):
        raise Untranslatable(f"has fields that are not known: {', '.join(unknown)}")
    found = threshold_of(_text(given.get("expr")))
    labels = {**_texts(group.get("labels")), **_texts(given.get("labels"))}
    severity = _severity(labels.pop("severity", None), losses)
    for name in [name for name, value in labels.items() if "{{" in value]:
        losses.note(f"label {name} is left out: labels take no templates")
        del labels[name]
    annotations = _annotations(_texts(given.get("annotations")), losses)
    runbook = annotations.pop("runbook_url", None) if _is_url(annotations.get("runbook_url")) else None
    if group.get("limit") not in (None, "", "0"):
        losses.note("the group's limit on alerts is left out")
    return _rule(
        _text(given["alert"]),
        found,
        severity,
        for_=_duration(given.get("for"), "for"),
        keep_firing_for=_duration(given.get("keep_firing_for"), "keep_firing_for"),
        evaluation_delay=_duration(group.get("query_offset"), "query_offset"),
        labels=labels,
        annotations=annotations,
        runbook_url=runbook,
    )


def _rule(name: str, found: PlainThreshold, severity: Severity, **words: Any) -> AlertRule:
    watched = found.watched
    return AlertRule(
        name=name,
        metric=watched.metric,
        matchers=tuple(matcher_text(*matcher) for matcher in watched.matchers),
        aggregation=watched.aggregation,
        window=None if watched.window_us is None else format_duration(watched.window_us),
        group_by=watched.group_by,
        condition=found.condition,
        warning=found.value if severity is Severity.WARNING else None,
        critical=found.value if severity is Severity.CRITICAL else None,
        **words,
    )


def _take(rules: list[AlertRule], rule: AlertRule, notes: list[str]) -> bool:
    """Adds a rule, or joins it to the one before that is the same at the other severity; whether it was joined."""
    same_name = [place for place, one in enumerate(rules) if one.name == rule.name]
    for place in same_name:
        joined = _joined(rules[place], rule)
        if joined is not None:
            rules[place] = joined
            return True
    if same_name:
        taken = Counter(one.name for one in rules)
        wanted = f"{rule.name} ({'critical' if rule.critical is not None else 'warning'})"
        number = 2
        while wanted in taken:
            wanted = f"{rule.name} ({number})"
            number += 1
        notes.append(f"{rule.name}: another rule of this name differs in more than severity; this one is {wanted!r}")
        rule = msgspec.structs.replace(rule, name=wanted)
    rules.append(rule)
    return False


def _joined(one: AlertRule, other: AlertRule) -> AlertRule | None:
    """Both as one rule with two severities; None where they differ in anything else."""
    if (one.warning is None) == (other.warning is None) or (one.critical is None) == (other.critical is None):
        return None
    blank = {"warning": 0.0, "critical": None}
    if msgspec.structs.replace(one, **blank) != msgspec.structs.replace(other, **blank):
        return None
    warning = one.warning if one.warning is not None else other.warning
    critical = one.critical if one.critical is not None else other.critical
    try:
        return msgspec.structs.replace(one, warning=warning, critical=critical)
    except InvalidInput:  # critical is the lower of the two: they are rules apart
        return None


def _severity(text: str | None, losses: _Losses) -> Severity:
    if text in CRITICAL:
        return Severity.CRITICAL
    if text is None:
        losses.note("has no label severity; it is a warning")
    elif text != "warning":
        losses.note(f"severity {text!r} became warning")
    return Severity.WARNING


def _annotations(given: Mapping[str, str], losses: _Losses) -> dict[str, str]:
    found = {}
    for name, text in given.items():
        try:
            translated = translate_template(text)
        except ValueError as error:
            losses.note(f"annotation {name} is left out: {error}")
        else:
            if translated:
                found[name] = translated
    return found


def _duration(text: Any, field: str) -> str | None:
    """A duration as Sextant writes it; None where it is nothing."""
    text = _text(text).strip()
    if not text.strip("0smhdwy"):
        return None
    try:
        return format_duration(duration_us(text))
    except ValueError as error:
        raise InvalidInput(field, str(error)) from None


def _groups(document: Document) -> Iterator[tuple[tuple[str | int, ...], Mapping[str, Any]]]:
    """Each group with its path; of a Kubernetes PrometheusRule, too."""
    top, path = document.value, ()
    if isinstance(top, dict) and top.get("kind") == "PrometheusRule":
        top, path = top.get("spec"), ("spec",)  # type: ignore[assignment]  # a longer path
    if not isinstance(top, dict) or "groups" not in top:
        raise DocumentError(f"{document.at(path)}: is no Prometheus rule file: there is no list groups")
    for index, group in enumerate(_list(document, top, "groups", path)):
        group_path = (*path, "groups", index)
        if not isinstance(group, dict):
            raise DocumentError(f"{document.at(group_path)}: must be a group with a name and rules")
        yield group_path, group


def _list(document: Document, holder: Mapping[str, Any], name: str, path: Sequence[str | int]) -> list[Any]:
    found = holder.get(name)
    if found is None or found == "":
        return []
    if not isinstance(found, list):
        raise DocumentError(f"{document.at((*path, name))}: {name} must be a list")
    return found


def _texts(value: Any) -> dict[str, str]:
    return {name: _text(text) for name, text in value.items()} if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _is_url(text: str | None) -> bool:
    return text is not None and text.startswith(("https://", "http://")) and "{" not in text
