"""Incidents as they go out: instants are RFC 3339, and whatever a sentence rests on can be followed by its `href`."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote, urlencode
from uuid import UUID

import msgspec

from adapters.driving.http.detection_replies import instant
from core.domain.incidents import (
    GraphEdge,
    GraphNode,
    Incident,
    IncidentAnalysis,
    IncidentChange,
    IncidentDetail,
    IncidentState,
    Reference,
    ReferenceKind,
    Sentence,
    Signal,
    SignalEdge,
    SignalKind,
)
from ports.driving.investigating import IncidentPage

_PATHS: Final = {
    "event": "/api/v1/events/",
    "anomaly": "/api/v1/anomalies/",
    "alert": "/api/v1/alerts/",
}


class IncidentReply(msgspec.Struct, frozen=True, kw_only=True):
    """An incident."""

    id: int
    state: IncidentState
    title: str
    severe: bool
    """One of its signals is an error, a critical alert, or an anomaly with a risk above 0.8."""
    started_at: datetime
    last_signal_at: datetime
    hosts: Sequence[str]
    services: Sequence[str]
    signals: int
    """How many belong to it."""
    synthetic: bool
    """Made of what the simulator wrote."""
    acknowledged_at: datetime | None
    acknowledged_by: str | None
    resolved_at: datetime | None
    resolved_by: str | None
    """`sextant` where it grew quiet by itself."""
    merged_into: int | None
    """The incident that its signals belong to now."""
    narrative_text: str | None
    """What happened, in words; null until it was analysed, some seconds after it opened."""
    revision: int
    """Counts every change from 1."""
    created_at: datetime
    updated_at: datetime


class IncidentsReply(msgspec.Struct, frozen=True):
    """Incidents, newest first, and the cursor of the next page where there is one."""

    data: Sequence[IncidentReply]
    next_cursor: str | None


class SignalReply(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened at a moment: an event, or the beginning of an alert."""

    key: str
    """`event:<uuid>` or `alert:<id>`: what `split` names it by."""
    kind: SignalKind
    at: datetime
    host: str | None
    service: str | None
    metric: str
    value: float | None
    text: str
    """In words, as it was recorded."""
    labels: dict[str, str]
    severe: bool
    """An error, a critical alert, an anomaly with a risk above 0.8."""
    synthetic: bool
    anomaly_id: UUID | None
    href: str
    """The row behind it."""


class ReferenceReply(Reference, frozen=True, kw_only=True):
    """The row, or the samples, behind a sentence."""

    href: str | None
    """Where to read it; null where the samples of more than one metric are meant."""


class SentenceReply(msgspec.Struct, frozen=True, kw_only=True):
    """One sentence, with everything it rests on."""

    text: str
    references: Sequence[ReferenceReply]


class HypothesisReply(msgspec.Struct, frozen=True, kw_only=True):
    """What may have caused the incident."""

    entity: str
    """The service or host that is suspected."""
    score: float
    """Comparable within one incident only; higher is likelier."""
    text: str
    evidence: Sequence[SentenceReply]
    counter_evidence: Sequence[str]


class GraphReply(msgspec.Struct, frozen=True, kw_only=True):
    """Whose trouble may have led to whose."""

    nodes: Sequence[GraphNode]
    edges: Sequence[GraphEdge]


class IncidentDetailReply(IncidentReply, frozen=True, kw_only=True):
    """An incident with all that is known of it."""

    narrative: Sequence[SentenceReply]
    """`narrative_text` sentence by sentence, each with what it rests on."""
    hypotheses: Sequence[HypothesisReply]
    """Likeliest first."""
    evidence: Sequence[ReferenceReply]
    """Everything that the narrative and the hypotheses rest on, each once."""
    graph: GraphReply
    timeline: Sequence[SignalReply]
    """The signals, ascending in time; at most 5,000."""
    links: Sequence[SignalEdge]
    """Why the signals are taken to belong together; `first` and `then` are keys of the timeline."""
    history: Sequence[IncidentChange]
    """What became of it and who did that, oldest first; `undo` takes a merge or a split back by its `id`."""
    analysed_at: datetime | None
    """Of which moment narrative, hypotheses and graph are; null where they are still to come."""


def incident_reply(incident: Incident) -> IncidentReply:
    """One incident."""
    return IncidentReply(**_members(incident))


def incidents_reply(page: IncidentPage) -> IncidentsReply:
    """A page of incidents."""
    return IncidentsReply([incident_reply(incident) for incident in page.data], page.next_cursor)


def incident_detail_reply(detail: IncidentDetail) -> IncidentDetailReply:
    """One incident with all that is known of it."""
    analysis = detail.analysis
    narrative = _sentences(() if analysis is None else analysis.narrative)
    hypotheses = () if analysis is None else _hypotheses(analysis)
    sentences = [*narrative, *(sentence for hypothesis in hypotheses for sentence in hypothesis.evidence)]
    return IncidentDetailReply(
        **_members(detail.incident),
        narrative=narrative,
        hypotheses=hypotheses,
        evidence=list(_distinct(reference for sentence in sentences for reference in sentence.references)),
        graph=GraphReply(
            nodes=() if analysis is None else analysis.nodes, edges=() if analysis is None else analysis.edges
        ),
        timeline=[_signal(signal) for signal in detail.timeline],
        links=detail.links,
        history=detail.history,
        analysed_at=None if analysis is None else analysis.analysed_at,
    )


def _members(incident: Incident) -> dict[str, Any]:
    members = msgspec.structs.asdict(incident)
    members["narrative_text"] = members.pop("narrative")
    return members


def _hypotheses(analysis: IncidentAnalysis) -> list[HypothesisReply]:
    return [
        HypothesisReply(
            entity=hypothesis.entity,
            score=hypothesis.score,
            text=hypothesis.text,
            evidence=_sentences(hypothesis.evidence),
            counter_evidence=hypothesis.counter_evidence,
        )
        for hypothesis in analysis.hypotheses
    ]


def _sentences(sentences: Iterable[Sentence]) -> list[SentenceReply]:
    return [
        SentenceReply(text=sentence.text, references=[_reference(reference) for reference in sentence.references])
        for sentence in sentences
    ]


def _reference(reference: Reference) -> ReferenceReply:
    return ReferenceReply(**msgspec.structs.asdict(reference), href=_href(reference))


def _href(reference: Reference) -> str | None:
    """Where the row, or the samples of one metric, can be read."""
    if reference.kind is not ReferenceKind.SAMPLES:
        return _PATHS[reference.kind.value] + quote(reference.id or "", safe="")
    if reference.metric is None:
        return None
    query = [("name", reference.metric)]
    query += [("label", f"{label}={value}") for label, value in reference.labels.items()]
    instants = (("start", reference.start), ("end", reference.end))
    query += [(name, msgspec.to_builtins(at)) for name, at in instants if at is not None]
    return f"/api/v1/metrics?{urlencode(query)}"


def _distinct(references: Iterable[ReferenceReply]) -> Iterator[ReferenceReply]:
    seen: set[bytes] = set()
    for reference in references:
        written = msgspec.json.encode(reference)
        if written not in seen:
            seen.add(written)
            yield reference


def _signal(signal: Signal) -> SignalReply:
    kind, _, row = signal.key.partition(":")
    return SignalReply(
        key=signal.key,
        kind=signal.kind,
        at=instant(signal.at_us),
        host=signal.host,
        service=signal.service,
        metric=signal.metric,
        value=signal.value,
        text=signal.text,
        labels=signal.labels,
        severe=signal.severe,
        synthetic=signal.synthetic,
        anomaly_id=signal.anomaly_id,
        href=_PATHS[kind] + row,
    )
