"""Drift of live configuration from a declared baseline: only what the baseline says is compared."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from core.detection.drift_findings import Subject, found_drift
from core.domain.config_diff import differences
from core.domain.configurations import (
    MASK,
    ConfigBaseline,
    ConfigChange,
    ConfigKind,
    Difference,
    Document,
    StoredBaseline,
)
from core.domain.drift import DetectionMethod, DriftCategory, DriftSeverity, FoundDrift, ProposedRecommendation
from core.domain.errors import InvalidInput
from core.domain.quantities import parse_quantity

SHOWN_MAX: Final = 50
"""Differences in the evidence; the message names the first."""
VALUE_CHARS_MAX: Final = 200
"""Of one side of a difference in the evidence, and of its pointer: all of them take less than any document may, even
where JSON writes each character as six."""
WORDS_CHARS_MAX: Final = 120
"""Of one side in the message."""
SEVERITIES: Final = {
    ConfigKind.IMAGE: DriftSeverity.MAJOR,
    ConfigKind.RESOURCE: DriftSeverity.MAJOR,
    ConfigKind.RUNTIME: DriftSeverity.MINOR,
    ConfigKind.POLICY: DriftSeverity.MINOR,
}
"""Another image is another program, and other requests are another bill; the rest is adjusted every day."""
_SETTINGS: Final[Mapping[ConfigKind, Mapping[tuple[str, ...], str]]] = {
    ConfigKind.IMAGE: {(): "image", ("image",): "image"},
    ConfigKind.RESOURCE: {
        ("requests", "cpu"): "cpu_request",
        ("requests", "memory"): "memory_request",
        ("limits", "cpu"): "cpu_limit",
        ("limits", "memory"): "memory_limit",
    },
}
"""What rolling back can set, by its place below ``/containers/<name>``; an image may stand there itself."""


def deviations(declared: Document, live: Document | None, kind: ConfigKind) -> tuple[Difference, ...]:
    """Where `live` (None: removed) is not as `declared`, which is `before`.

    Members that `declared` lacks are not compared, at any depth of objects; lists are compared whole, by index. Equal
    amounts of resources are equal however they are written: ``1000m`` is ``1``. What a mask hides is not compared.
    """
    found = differences(declared, None if live is None else _narrowed(live, declared))
    is_resource = kind is ConfigKind.RESOURCE
    return tuple(each for each in found if not (_is_masked(each) or (is_resource and _is_same_amount(each))))


def deviated(baseline: StoredBaseline, state: ConfigChange) -> FoundDrift | None:
    """The drift of one kind of a workload's configuration; `state` is the newest change of it."""
    wanted = baseline.baseline
    found = deviations(wanted.document, state.after, wanted.kind)
    if not found:
        return None
    subject = subject_of(baseline)
    start = max(state.ts, baseline.declared_at)
    return found_drift(
        subject,
        what_of(wanted.kind),
        category=DriftCategory.CONFIG_DRIFT,
        severity=DriftSeverity.CRITICAL if state.after is None else SEVERITIES[wanted.kind],
        method=DetectionMethod.CONFIG_DIFF,
        confidence=1.0,
        message=_message(subject, wanted.kind, state, found),
        start=start,
        evidence={
            "kind": wanted.kind.value,
            "differences": [_shown(each) for each in found[:SHOWN_MAX]],
            "differences_in_all": len(found),
            "declared_by": baseline.declared_by,
            "changed_at": _instant(state.ts),
            "changed_by": state.actor,
            "change_id": str(state.id),
        },
        recommendation=rollback(subject, wanted, found) if state.after is not None else None,
    )


def what_of(kind: ConfigKind) -> str:
    """In keys."""
    return f"config-{kind.value}"


def subject_of(baseline: StoredBaseline) -> Subject:
    """What a baseline is of."""
    wanted = baseline.baseline
    return Subject(cluster_id=wanted.cluster_id, namespace=wanted.namespace, workload=wanted.workload)


def rollback(subject: Subject, wanted: ConfigBaseline, found: Sequence[Difference]) -> ProposedRecommendation | None:
    """What would bring back image, requests and limits, as far as they are declared; None where that is nothing, or in
    several containers, which no one change can do."""
    settings = _SETTINGS.get(wanted.kind)
    if settings is None or not isinstance(wanted.document.get("containers"), dict):
        return None
    current: dict[str, str] = {}
    proposed: dict[str, str] = {}
    containers: set[str] = set()
    for each in found:
        for path, meant, live in _leaves(_parts(each.path), each.before, each.after):
            setting = settings.get(path[2:]) if path[:1] == ("containers",) else None
            if setting is None or meant == live or not _is_scalar(meant):
                continue
            containers.add(path[1])
            proposed[setting] = str(meant)
            if _is_scalar(live):
                current[setting] = str(live)
    if len(containers) != 1:
        return None
    return ProposedRecommendation(
        recommendation_type="rollback_config",
        recommendation_json={
            "namespace": subject.namespace,
            "workload": subject.workload,
            "container": containers.pop(),
            "current": current,
            "proposed": proposed,
        },
    )


def _narrowed(live: Any, declared: Any) -> Any:
    """`live` with only those members that `declared` has too."""
    if not (isinstance(live, dict) and isinstance(declared, dict)):
        return live
    return {name: _narrowed(live[name], wanted) for name, wanted in declared.items() if name in live}


def _is_masked(difference: Difference) -> bool:
    """Whether two values are the same but for what is masked in one of them."""
    sides = (difference.before, difference.after)
    if not all(isinstance(side, (str, int, float)) for side in sides):
        return False
    declared, live = map(str, sides)
    return _fits(declared, live) or _fits(live, declared)


def _fits(masked: str, text: str) -> bool:
    """Whether `text` is `masked` with a character or more in the place of each mask: what is empty is never masked."""
    first, *others = masked.split(MASK)
    if not others or not text.startswith(first):
        return False
    end = len(first)
    for part in others[:-1]:
        start = text.find(part, end + 1)
        if start < 0:
            return False
        end = start + len(part)
    return text.endswith(others[-1]) and len(text) - len(others[-1]) > end


def _is_same_amount(difference: Difference) -> bool:
    sides = (difference.before, difference.after)
    if not all(_is_scalar(side) for side in sides):
        return False
    try:
        declared, live = (parse_quantity("amount", str(side)) for side in sides)
    except InvalidInput:
        return False
    return declared == live


def _is_scalar(value: Any) -> bool:
    """A text or a number."""
    return isinstance(value, (str, int, float)) and not isinstance(value, bool)


def _leaves(path: tuple[str, ...], declared: Any, live: Any) -> list[tuple[tuple[str, ...], Any, Any]]:
    """What a difference says of single values: a whole object may be missing."""
    if not isinstance(declared, dict):
        return [(path, declared, live)]
    inner = live if isinstance(live, dict) else {}
    return [leaf for name, value in declared.items() for leaf in _leaves((*path, name), value, inner.get(name))]


def _parts(pointer: str) -> tuple[str, ...]:
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:])


def _message(subject: Subject, kind: ConfigKind, state: ConfigChange, found: Sequence[Difference]) -> str:
    if state.after is None:
        return f"{kind.value} configuration of {subject} was declared, and was removed at {_instant(state.ts)}"
    first = found[0]
    live = "missing" if first.op == "remove" else _text(first.after, WORDS_CHARS_MAX)
    more = f", and {len(found) - 1} more differ" if len(found) > 1 else ""
    return (
        f"{kind.value} configuration of {subject} is not as declared: {first.path[:WORDS_CHARS_MAX] or 'all of it'} is "
        f"{live} instead of {_text(first.before, WORDS_CHARS_MAX)}{more}, since {_instant(state.ts)}"
    )


def _shown(difference: Difference) -> dict[str, Any]:
    """A difference as evidence: objects and lists as text, so that it stays small and flat."""
    sides = {
        name: value if value is None or isinstance(value, (bool, int, float)) else _text(value, VALUE_CHARS_MAX)
        for name, value in (("declared", difference.before), ("live", difference.after))
    }
    return {"path": difference.path[:VALUE_CHARS_MAX], "op": difference.op, **sides}


def _text(value: Any, chars_max: int) -> str:
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= chars_max else f"{text[: chars_max - 1]}…"


def _instant(ts: datetime) -> str:
    return ts.isoformat(timespec="seconds").replace("+00:00", "Z")
