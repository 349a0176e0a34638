"""The incident store port: incidents found, moved through their states, merged, split, and all of it undone."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import uuid4

import msgspec
import pytest

from core.domain.errors import Conflict, InvalidInput, NotFound
from core.domain.events import EventSeverity
from core.domain.incidents import (
    ChangeKind,
    Incident,
    IncidentAnalysis,
    IncidentDetail,
    IncidentFilter,
    IncidentState,
    Sentence,
    Signal,
    SignalEdge,
)
from tests.support.incident_rows import NOON, NOON_US, add_errors, add_signals, error_event, grow, open_incident
from tests.support.storages import Storage, Tenancy

LATER = NOON + timedelta(hours=1)
EVERYTHING = IncidentFilter()


async def an_incident(storage: Storage, tenancy: Tenancy, signals: int = 3, **changes: object) -> int:
    """The id of a new incident of so many errors."""
    return await open_incident(storage, tenancy.id, await add_errors(storage, tenancy.id, signals, **changes))


async def test_shown_as_opened(storage: Storage, other_storage: Storage, tenancy: Tenancy) -> None:
    """Everything is shown as the correlator wrote it, in any process."""
    signals = await add_signals(
        storage,
        tenancy.id,
        error_event(2, host=None, service="größe ✓", value=-1.7976931348623157e308, message='a"b\\c\n'),
        error_event(0.5, host="b", service="api", anomaly_id=uuid4(), metric="cpu"),
        error_event(1, host="a", severity=EventSeverity.ERROR, value=None, labels={"größe": "", "z": "✓"}),
    )
    first, then, last = signals
    edges = [
        SignalEdge(first=then.key, then=last.key, score=0.1 + 0.2, reasons=("near ✓", "b")),
        SignalEdge(first=first.key, then=then.key, score=1.0, reasons=()),
    ]
    incident_id = await open_incident(storage, tenancy.id, signals, edges=edges, title="größe ✓", now=LATER)
    incident = Incident(
        id=incident_id,
        state=IncidentState.OPEN,
        title="größe ✓",
        severe=True,
        started_at=NOON + timedelta(seconds=30),
        last_signal_at=NOON + timedelta(minutes=2),
        hosts=("a", "b"),
        services=("api", "größe ✓"),
        signals=3,
        synthetic=False,
        acknowledged_at=None,
        acknowledged_by=None,
        resolved_at=None,
        resolved_by=None,
        merged_into=None,
        narrative=None,
        revision=1,
        created_at=LATER,
        updated_at=LATER,
    )
    shown = await other_storage.incidents.get(tenancy.id, incident_id)
    assert list(await storage.incidents.list(tenancy.id, EVERYTHING, limit=10, before_id=None)) == [incident]
    [entry] = shown.history
    assert (entry.kind, entry.at, entry.by, entry.detail) == (ChangeKind.OPENED, LATER, "sextant", {"signals": 3})
    assert shown == IncidentDetail(
        incident=incident, timeline=tuple(signals), links=(edges[1], edges[0]), analysis=None, history=(entry,)
    )


async def test_states(storage: Storage, tenancy: Tenancy) -> None:
    """Open, acknowledged, resolved, open again; the first to do it stays, and each step is in the history."""
    incidents, incident_id = storage.incidents, await an_incident(storage, tenancy)
    opened = (await incidents.get(tenancy.id, incident_id)).incident
    seen = await incidents.acknowledge(tenancy.id, incident_id, by="key:a", now=LATER)
    assert seen == msgspec.structs.replace(
        opened,
        state=IncidentState.ACKNOWLEDGED,
        acknowledged_at=LATER,
        acknowledged_by="key:a",
        revision=2,
        updated_at=LATER,
    )
    assert await incidents.reopen(tenancy.id, incident_id, by="key:b", now=LATER) == seen
    over = await incidents.resolve(tenancy.id, incident_id, by="key:c", now=LATER)
    assert over == msgspec.structs.replace(
        seen, state=IncidentState.RESOLVED, resolved_at=LATER, resolved_by="key:c", revision=3
    )
    assert await incidents.resolve(tenancy.id, incident_id, by="key:d", now=LATER + timedelta(hours=1)) == over
    with pytest.raises(Conflict, match="is resolved"):
        await incidents.acknowledge(tenancy.id, incident_id, by="key:d", now=LATER)
    again = await incidents.reopen(tenancy.id, incident_id, by="key:e", now=LATER)
    assert again == msgspec.structs.replace(opened, revision=4, updated_at=LATER)
    shown = await incidents.get(tenancy.id, incident_id)
    assert [(entry.kind.value, entry.by) for entry in shown.history] == [
        ("opened", "sextant"),
        ("acknowledged", "key:a"),
        ("resolved", "key:c"),
        ("reopened", "key:e"),
    ]


async def test_acknowledged_once(storage: Storage, tenancy: Tenancy) -> None:
    """Who acknowledges what is acknowledged changes nothing."""
    incident_id = await an_incident(storage, tenancy)
    seen = await storage.incidents.acknowledge(tenancy.id, incident_id, by="key:a", now=NOON)
    assert await storage.incidents.acknowledge(tenancy.id, incident_id, by="key:b", now=LATER) == seen


async def test_pages(storage: Storage, tenancy: Tenancy) -> None:
    """Pages are newest first and together hold every incident once."""
    made = [await an_incident(storage, tenancy, 1) for _ in range(7)]
    found: list[int] = []
    for limit in (3, 3, 3):
        page = await storage.incidents.list(tenancy.id, EVERYTHING, limit=limit, before_id=found[-1] if found else None)
        found += [incident.id for incident in page]
    assert found == made[::-1]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (EVERYTHING, "open seen over gone made"),
        (IncidentFilter(state=IncidentState.OPEN), "open made"),
        (IncidentFilter(state=IncidentState.MERGED), "gone"),
        (IncidentFilter(active=True), "open seen made"),
        (IncidentFilter(active=False), "over gone"),
        (IncidentFilter(active=True, state=IncidentState.RESOLVED), ""),
        (IncidentFilter(start_us=NOON_US), "open over gone made"),
        (IncidentFilter(start_us=NOON_US + 1), ""),
        (IncidentFilter(end_us=NOON_US), "seen"),
        (IncidentFilter(host="a"), "open"),
        (IncidentFilter(host="A"), ""),
        (IncidentFilter(service="api"), "seen open"),
        (IncidentFilter(synthetic=True), "made"),
        (IncidentFilter(synthetic=False, host="host-a"), "over gone"),
        (IncidentFilter(text="ÄRGER"), "open"),
        (IncidentFilter(text="100%_[a-z](.*)"), "open"),
        (IncidentFilter(text="_"), "open"),
        (IncidentFilter(text="Told of Größe"), "seen"),
        (IncidentFilter(text="größe"), "seen"),
        (IncidentFilter(text="nothing"), ""),
        (IncidentFilter(text=""), "open seen over gone made"),
    ],
)
async def test_filters(storage: Storage, tenancy: Tenancy, wanted: IncidentFilter, expected: str) -> None:
    """Each filter takes what it names; a text is no pattern, and may be written in any case."""

    async def titled(title: str, minute: float = 0, **changes: object) -> int:
        signals = await add_signals(storage, tenancy.id, error_event(minute, **changes))
        return await open_incident(storage, tenancy.id, signals, title=title)

    names = {
        await titled("Ärger 100%_[A-Z](.*)", host="a", service="api"): "open",
        await titled("b", -1, host=None, service="api"): "seen",
        await titled("c", 1): "over",
        await titled("d"): "gone",
        await titled("e", host="h", synthetic=True): "made",
    }
    ids = {name: incident_id for incident_id, name in names.items()}
    [work] = [each for each in await storage.incident_work.unanalysed(limit=1_000) if each.incident_id == ids["seen"]]
    assert await storage.incident_work.save_analysis(work, analysed("b", "It was TOLD of GRÖßE."))
    await storage.incidents.acknowledge(tenancy.id, ids["seen"], by="key:a", now=NOON)
    await storage.incidents.merge(tenancy.id, ids["over"], ids["gone"], by="key:a", now=NOON)
    await storage.incidents.resolve(tenancy.id, ids["over"], by="key:a", now=NOON)
    found = await storage.incidents.list(tenancy.id, wanted, limit=10, before_id=None)
    assert sorted(names[incident.id] for incident in found) == sorted(expected.split())


async def test_merge(storage: Storage, tenancy: Tenancy) -> None:
    """All signals of one become the other's, and both say so."""
    incidents = storage.incidents
    early = await add_signals(storage, tenancy.id, *(error_event(n, host="b") for n in (-2, 0)))
    late = await add_signals(storage, tenancy.id, error_event(3, host="a", service="s", severity=EventSeverity.ERROR))
    edges = [SignalEdge(first=early[0].key, then=early[1].key, score=0.5, reasons=("same host b",))]
    from_id = await open_incident(storage, tenancy.id, early, edges=edges)
    into_id = await open_incident(
        storage,
        tenancy.id,
        late,
        edges=[SignalEdge(first=early[1].key, then=late[0].key, score=0.25, reasons=("near",))],
    )
    assert (await incidents.get(tenancy.id, into_id)).links == ()
    before = (await incidents.get(tenancy.id, from_id)).incident
    merged = await incidents.merge(tenancy.id, into_id, from_id, by="key:a", now=LATER)
    assert (merged.id, merged.signals, merged.hosts, merged.services) == (into_id, 3, ("a", "b"), ("s",))
    assert (merged.severe, merged.revision, merged.updated_at) == (True, 2, LATER)
    assert (merged.started_at, merged.last_signal_at) == (NOON - timedelta(minutes=2), NOON + timedelta(minutes=3))
    shown = await incidents.get(tenancy.id, into_id)
    assert [signal.key for signal in shown.timeline] == [signal.key for signal in (*early, *late)]
    assert [link.score for link in shown.links] == [0.5, 0.25]
    gone = await incidents.get(tenancy.id, from_id)
    assert gone.incident == msgspec.structs.replace(
        before, state=IncidentState.MERGED, merged_into=into_id, signals=0, revision=2, updated_at=LATER
    )
    assert (gone.timeline, gone.links) == ((), ())
    for detail in (shown, gone):
        entry = detail.history[-1]
        assert (entry.kind, entry.by, entry.undone) == (ChangeKind.MERGED, "key:a", False)
        assert (entry.detail["from"], entry.detail["into"]) == (from_id, into_id)
        assert set(entry.detail["keys"]) == {signal.key for signal in early}


async def test_what_cannot_be_merged(storage: Storage, tenancy: Tenancy) -> None:
    """An incident with itself, one that was merged, a synthetic one with a real one."""
    incidents = storage.incidents
    one, other, third = [await an_incident(storage, tenancy) for _ in range(3)]
    made = await an_incident(storage, tenancy, synthetic=True)
    with pytest.raises(InvalidInput):
        await incidents.merge(tenancy.id, one, one, by="key:a", now=NOON)
    for pair in ((one, made), (made, one)):
        with pytest.raises(Conflict, match="synthetic"):
            await incidents.merge(tenancy.id, *pair, by="key:a", now=NOON)
    await incidents.merge(tenancy.id, one, other, by="key:a", now=NOON)
    for pair in ((third, other), (other, third), (one, other)):
        with pytest.raises(Conflict, match=f"the incident {other} was merged into {one}"):
            await incidents.merge(tenancy.id, *pair, by="key:a", now=NOON)
    for attempt in (incidents.acknowledge, incidents.resolve, incidents.reopen):
        with pytest.raises(Conflict, match="was merged"):
            await attempt(tenancy.id, other, by="key:a", now=NOON)
    with pytest.raises(Conflict, match="was merged"):
        await incidents.split(tenancy.id, other, ["event:x"], by="key:a", now=NOON)


async def test_split(storage: Storage, tenancy: Tenancy) -> None:
    """Some signals become those of a new incident; what both are follows from what they have."""
    incidents = storage.incidents
    signals = await add_signals(
        storage, tenancy.id, error_event(0, host="a"), error_event(1, host="b", severity=EventSeverity.ERROR)
    )
    incident_id = await open_incident(storage, tenancy.id, signals)
    await incidents.acknowledge(tenancy.id, incident_id, by="key:a", now=NOON)
    made = await incidents.split(tenancy.id, incident_id, [signals[1].key] * 2, by="key:b", now=LATER)
    left = await incidents.get(tenancy.id, incident_id)
    assert (made.state, made.signals, made.hosts, made.severe) == (IncidentState.OPEN, 1, ("b",), True)
    assert (made.revision, made.created_at, made.title) == (1, LATER, left.incident.title)
    assert (left.incident.signals, left.incident.hosts, left.incident.severe) == (1, ("a",), False)
    assert (left.incident.last_signal_at, left.incident.state) == (NOON, IncidentState.ACKNOWLEDGED)
    assert left.timeline == (signals[0],)
    shown = await incidents.get(tenancy.id, made.id)
    assert (shown.incident, shown.timeline) == (made, (signals[1],))
    for entry in (left.history[-1], *shown.history):
        assert (entry.kind, entry.detail["keys"]) == (ChangeKind.SPLIT, [signals[1].key])
        assert (entry.detail["from"], entry.detail["into"]) == (incident_id, made.id)


async def test_split_of_what_is_over(storage: Storage, tenancy: Tenancy) -> None:
    """A part of a resolved incident is resolved."""
    signals = await add_errors(storage, tenancy.id, 2)
    incident_id = await open_incident(storage, tenancy.id, signals)
    over = await storage.incidents.resolve(tenancy.id, incident_id, by="key:a", now=NOON)
    made = await storage.incidents.split(tenancy.id, incident_id, [signals[0].key], by="key:b", now=LATER)
    assert (made.state, made.resolved_at, made.resolved_by) == (over.state, over.resolved_at, over.resolved_by)


async def test_what_cannot_be_split(storage: Storage, tenancy: Tenancy) -> None:
    """No signal, all signals, and another incident's signals."""
    signals = await add_errors(storage, tenancy.id, 2)
    incident_id = await open_incident(storage, tenancy.id, signals)
    [foreign] = await add_errors(storage, tenancy.id, 1)
    await open_incident(storage, tenancy.id, [foreign])
    keys = [signal.key for signal in signals]
    for wrong in ([], keys, [keys[0], foreign.key], [f"event:{uuid4()}"], ["", "größe ✓"]):
        with pytest.raises(InvalidInput, match="keys"):
            await storage.incidents.split(tenancy.id, incident_id, wrong, by="key:a", now=NOON)
    assert (await storage.incidents.get(tenancy.id, incident_id)).timeline == tuple(signals)


@pytest.mark.parametrize("state", [IncidentState.OPEN, IncidentState.ACKNOWLEDGED, IncidentState.RESOLVED])
@pytest.mark.parametrize("side", ["into", "from"])
async def test_undo_a_merge(storage: Storage, tenancy: Tenancy, state: IncidentState, side: str) -> None:
    """Signals go back, the merged incident is what it was, and what came since stays where it came to."""
    incidents = storage.incidents
    into_id, from_id = await an_incident(storage, tenancy), await an_incident(storage, tenancy, 2, host="b")
    if state is not IncidentState.OPEN:
        await incidents.acknowledge(tenancy.id, from_id, by="key:a", now=NOON)
    if state is IncidentState.RESOLVED:
        await incidents.resolve(tenancy.id, from_id, by="key:a", now=NOON)
    kept, before = await incidents.get(tenancy.id, into_id), await incidents.get(tenancy.id, from_id)
    await incidents.merge(tenancy.id, into_id, from_id, by="key:a", now=NOON)
    [late] = await add_errors(storage, tenancy.id, 1, host="c")
    await grow(storage, tenancy.id, from_id, [late])
    asked = into_id if side == "into" else from_id
    merge = next(entry for entry in (await incidents.get(tenancy.id, asked)).history if entry.kind is ChangeKind.MERGED)
    undone = await incidents.undo(tenancy.id, asked, merge.id, by="key:b", now=LATER)
    assert undone.id == asked
    back, left = await incidents.get(tenancy.id, from_id), await incidents.get(tenancy.id, into_id)
    assert back.incident == msgspec.structs.replace(before.incident, revision=back.incident.revision, updated_at=LATER)
    assert (back.incident.state, back.timeline) == (state, before.timeline)
    assert keys_of(left.timeline) == keys_of([*kept.timeline, late])
    assert (left.incident.signals, left.incident.hosts) == (4, ("c", "host-a"))
    for detail in (back, left):
        assert [entry.undone for entry in detail.history if entry.kind is ChangeKind.MERGED] == [True]
        assert (detail.history[-1].kind, detail.history[-1].by) == (ChangeKind.UNDONE, "key:b")
    assert (await incidents.get(tenancy.id, asked)).history[-1].detail == {"change": merge.id}


@pytest.mark.parametrize("side", ["into", "from"])
async def test_undo_a_split(storage: Storage, tenancy: Tenancy, side: str) -> None:
    """Signals go back, with those that came since, and the incident that was made is merged."""
    incidents = storage.incidents
    signals = await add_errors(storage, tenancy.id, 3)
    incident_id = await open_incident(storage, tenancy.id, signals)
    made = await incidents.split(tenancy.id, incident_id, [signals[0].key], by="key:a", now=NOON)
    [late] = await add_errors(storage, tenancy.id, 1, host="c")
    await grow(storage, tenancy.id, made.id, [late])
    asked = made.id if side == "into" else incident_id
    split = next(entry for entry in (await incidents.get(tenancy.id, asked)).history if entry.kind is ChangeKind.SPLIT)
    await incidents.undo(tenancy.id, asked, split.id, by="key:b", now=LATER)
    whole, gone = await incidents.get(tenancy.id, incident_id), await incidents.get(tenancy.id, made.id)
    assert keys_of(whole.timeline) == keys_of([*signals, late])
    assert (whole.incident.signals, whole.incident.hosts) == (4, ("c", "host-a"))
    assert (gone.incident.state, gone.incident.merged_into) == (IncidentState.MERGED, incident_id)
    assert (gone.incident.signals, gone.timeline) == (0, ())
    for detail in (whole, gone):
        assert [entry.undone for entry in detail.history if entry.kind is ChangeKind.SPLIT] == [True]
        assert detail.history[-1].kind is ChangeKind.UNDONE


async def test_undo_chains(storage: Storage, tenancy: Tenancy) -> None:
    """What a later merge or split stands on is undone after it, the last one first."""
    incidents = storage.incidents
    first, second, third = [await an_incident(storage, tenancy) for _ in range(3)]
    await incidents.merge(tenancy.id, second, first, by="key:a", now=NOON)
    await incidents.merge(tenancy.id, third, second, by="key:a", now=NOON)
    keys = [signal.key for signal in (await incidents.get(tenancy.id, third)).timeline]
    made = await incidents.split(tenancy.id, third, keys[:2], by="key:a", now=NOON)
    early, later = await standing(storage, tenancy, second)
    [_, split] = await standing(storage, tenancy, third)
    for change_id, incident_id in ((early, second), (later, second)):
        with pytest.raises(Conflict, match=r"undo the later (merge|split) \d+ of incident \d+ first"):
            await incidents.undo(tenancy.id, incident_id, change_id, by="key:a", now=NOON)
    await incidents.undo(tenancy.id, third, split, by="key:a", now=NOON)
    with pytest.raises(Conflict, match="undone already"):
        await incidents.undo(tenancy.id, third, split, by="key:a", now=NOON)
    with pytest.raises(Conflict, match=f"undo the later merge {later} of incident {second}|of incident {third}"):
        await incidents.undo(tenancy.id, second, early, by="key:a", now=NOON)
    await incidents.undo(tenancy.id, second, later, by="key:a", now=NOON)
    await incidents.undo(tenancy.id, second, early, by="key:a", now=NOON)
    for incident_id in (first, second, third):
        shown = await incidents.get(tenancy.id, incident_id)
        assert (shown.incident.state, shown.incident.signals, len(shown.timeline)) == (IncidentState.OPEN, 3, 3)
        assert await standing(storage, tenancy, incident_id) == []
    assert (await incidents.get(tenancy.id, made.id)).incident.merged_into == third


async def test_what_cannot_be_undone(storage: Storage, tenancy: Tenancy) -> None:
    """What is no merge or split, what another incident's history tells, and what is not there."""
    incidents = storage.incidents
    one, other, third = [await an_incident(storage, tenancy) for _ in range(3)]
    [opened] = (await incidents.get(tenancy.id, one)).history
    with pytest.raises(Conflict, match="neither a merge nor a split"):
        await incidents.undo(tenancy.id, one, opened.id, by="key:a", now=NOON)
    await incidents.merge(tenancy.id, one, other, by="key:a", now=NOON)
    [merge] = await standing(storage, tenancy, one)
    for incident_id, change_id in ((third, merge), (other, merge), (one, 2**62), (one, 0)):
        with pytest.raises(NotFound):
            await incidents.undo(tenancy.id, incident_id, change_id, by="key:a", now=NOON)


async def test_signals_changed(storage: Storage, tenancy: Tenancy) -> None:
    """Whatever moves signals makes what was made of them stale; what does not, does not."""
    incidents, work = storage.incidents, storage.incident_work

    async def stale() -> set[int]:
        found = [each for each in await work.unanalysed(limit=1_000) if each.tenant_id == tenancy.id]
        for each in found:
            assert await work.save_analysis(each, analysed("title", "narrative"))
        return {each.incident_id for each in found}

    one, other = await an_incident(storage, tenancy), await an_incident(storage, tenancy)
    assert await stale() == {one, other}
    await incidents.acknowledge(tenancy.id, one, by="key:a", now=NOON)
    await incidents.resolve(tenancy.id, one, by="key:a", now=NOON)
    await incidents.reopen(tenancy.id, one, by="key:a", now=NOON)
    assert await stale() == set()
    await incidents.merge(tenancy.id, one, other, by="key:a", now=NOON)
    assert await stale() == {one}
    [merge] = await standing(storage, tenancy, one)
    await incidents.undo(tenancy.id, one, merge, by="key:a", now=NOON)
    assert await stale() == {one, other}
    key = (await incidents.get(tenancy.id, one)).timeline[0].key
    made = await incidents.split(tenancy.id, one, [key], by="key:a", now=NOON)
    assert await stale() == {one, made.id}
    [split] = await standing(storage, tenancy, made.id)
    await incidents.undo(tenancy.id, made.id, split, by="key:a", now=NOON)
    assert await stale() == {one}
    shown = await incidents.get(tenancy.id, one)
    assert (shown.analysis, shown.incident.title) == (analysed("title", "narrative"), "title")


@pytest.mark.parametrize("incident_id", [0, -1, 2**62])
async def test_no_such_incident(storage: Storage, tenancy: Tenancy, incident_id: int) -> None:
    """An id that none has is not found."""
    await refuses_all(storage, tenancy.id, incident_id, await an_incident(storage, tenancy))


async def test_tenants_apart(storage: Storage, tenancy: Tenancy, neighbour: Tenancy) -> None:
    """The neighbour neither sees nor changes an incident, whatever it asks for."""
    incident_id, foreign = await an_incident(storage, tenancy), await an_incident(storage, neighbour)
    before = await storage.incidents.get(tenancy.id, incident_id)
    await refuses_all(storage, neighbour.id, incident_id, foreign)
    for wanted in (EVERYTHING, IncidentFilter(active=True), IncidentFilter(host="host-a")):
        found = await storage.incidents.list(neighbour.id, wanted, limit=10, before_id=None)
        assert [incident.id for incident in found] == [foreign]
    with pytest.raises(InvalidInput):
        await storage.incidents.split(neighbour.id, foreign, [before.timeline[0].key], by="key:a", now=NOON)
    assert await storage.incidents.get(tenancy.id, incident_id) == before


async def refuses_all(storage: Storage, tenant_id: int, incident_id: int, own_id: int) -> None:
    """Nothing can be done with an incident that is not the tenant's."""
    incidents = storage.incidents
    for attempt in (
        incidents.get(tenant_id, incident_id),
        incidents.acknowledge(tenant_id, incident_id, by="key:a", now=NOON),
        incidents.resolve(tenant_id, incident_id, by="key:a", now=NOON),
        incidents.reopen(tenant_id, incident_id, by="key:a", now=NOON),
        incidents.merge(tenant_id, incident_id, own_id, by="key:a", now=NOON),
        incidents.merge(tenant_id, own_id, incident_id, by="key:a", now=NOON),
        incidents.split(tenant_id, incident_id, ["event:x"], by="key:a", now=NOON),
        incidents.undo(tenant_id, incident_id, 1, by="key:a", now=NOON),
    ):
        with pytest.raises(NotFound):
            await attempt


def keys_of(signals: Sequence[Signal]) -> list[str]:
    """Their keys, ascending."""
    return sorted(signal.key for signal in signals)


async def standing(storage: Storage, tenancy: Tenancy, incident_id: int) -> list[int]:
    """Ids of the merges and splits in an incident's history that are not undone, oldest first."""
    moves = (ChangeKind.MERGED, ChangeKind.SPLIT)
    history = (await storage.incidents.get(tenancy.id, incident_id)).history
    return [entry.id for entry in history if entry.kind in moves and not entry.undone]


def analysed(title: str, narrative: str) -> IncidentAnalysis:
    """An analysis with this title and this narrative."""
    return IncidentAnalysis(
        title=title,
        narrative=(Sentence(text=narrative, references=()),),
        hypotheses=(),
        nodes=(),
        edges=(),
        analysed_at=NOON,
    )
