"""Random sequences of what the correlator and people do to incidents, against a small model of them."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import pytest

from core.domain.errors import Conflict
from core.domain.incidents import ChangeKind, IncidentState, Signal, SignalEdge
from ports.driven.incident_store import CorrelationChanges, Growth, NewIncident
from tests.support.incident_rows import NOON, add_errors
from tests.support.storages import Storage, Tenancy

STEPS = 60


@dataclass
class Move:
    """A merge or a split."""

    kind: ChangeKind
    source: int
    target: int
    keys: frozenset[str]
    undone: bool = False


@dataclass
class Model:
    """What incidents should be."""

    owner: dict[str, int] = field(default_factory=dict)  # of each signal that is part of an incident
    states: dict[int, IncidentState] = field(default_factory=dict)  # when it is not merged
    merged_into: dict[int, int] = field(default_factory=dict)
    moves: list[Move] = field(default_factory=list)

    @property
    def unmerged(self) -> list[int]:
        """Incidents that have signals."""
        return [each for each in self.states if each not in self.merged_into]

    def keys(self, incident_id: int) -> list[str]:
        """An incident's signals, ascending."""
        return sorted(key for key, owner in self.owner.items() if owner == incident_id)

    def place(self, incident_id: int) -> int:
        """Where an incident's signals are."""
        while incident_id in self.merged_into:
            incident_id = self.merged_into[incident_id]
        return incident_id

    def add(self, incident_id: int, keys: Sequence[str]) -> None:
        """Gives an incident those that have none."""
        for key in keys:
            self.owner.setdefault(key, incident_id)

    def swallow(self, target: int, source: int) -> None:
        """Moves all signals of one to another."""
        self.owner.update(dict.fromkeys(self.keys(source), target))
        self.merged_into[source] = target

    def may_undo(self, move: Move) -> bool:
        """Whether nothing later stands on it."""
        ends = {move.source, move.target}
        later = self.moves[self.moves.index(move) + 1 :]
        return not move.undone and not any(ends & {each.source, each.target} for each in later if not each.undone)

    def undo(self, move: Move) -> None:
        """Takes it back."""
        move.undone = True
        if move.kind is ChangeKind.SPLIT:
            self.swallow(move.source, move.target)
        else:
            self.owner.update(dict.fromkeys(move.keys, move.source))
            del self.merged_into[move.source]


class Actor:
    """Does random things to incidents and to the model."""

    def __init__(self, stores: Sequence[Storage], tenancy: Tenancy, signals: list[Signal], seed: int) -> None:
        self._stores = stores
        self._tenant_id = tenancy.id
        self._signals = signals
        self._random = random.Random(seed)
        self.model = Model()

    @property
    def storage(self) -> Storage:
        """One of the processes."""
        return self._random.choice(self._stores)

    async def step(self) -> None:
        """One random thing that can be done."""
        model = self.model
        steps = [self.apply]
        if model.unmerged:
            steps += [self.apply, self.stand, self.split]
        if len(model.unmerged) > 1:
            steps += [self.merge] * 2
        if model.moves:
            steps += [self.undo] * 2
        await self._random.choice(steps)()

    async def apply(self) -> None:
        """The correlator opens and grows incidents, of signals some of which it gave away before."""
        known = list(self.model.states)
        opened, grown = self._some(), [(self._random.choice(known), self._some())] if known else []
        changes = CorrelationChanges(
            opened=[NewIncident(title="trouble", signals=opened, edges=links(opened))],
            grown=[
                Growth(incident_id=incident_id, signals=signals, edges=links(signals), reopen=False)
                for incident_id, signals in grown
            ],
        )
        ids = await self.storage.incident_work.apply(self._tenant_id, changes, now=NOON)
        for incident_id, signals in grown:
            self.model.add(self.model.place(incident_id), [signal.key for signal in signals])
        new = [signal.key for signal in opened if signal.key not in self.model.owner]
        assert len(ids) == (1 if new else 0)
        for incident_id in ids:
            self.model.states[incident_id] = IncidentState.OPEN
            self.model.add(incident_id, new)

    async def stand(self) -> None:
        """Somebody acknowledges, resolves or reopens an incident."""
        incident_id, incidents = self._random.choice(self.model.unmerged), self.storage.incidents
        acts = [(incidents.resolve, IncidentState.RESOLVED)]
        if self.model.states[incident_id] is IncidentState.RESOLVED:
            acts = [(incidents.reopen, IncidentState.OPEN)]
        elif self.model.states[incident_id] is IncidentState.OPEN:
            acts.append((incidents.acknowledge, IncidentState.ACKNOWLEDGED))
        act, state = self._random.choice(acts)
        await act(self._tenant_id, incident_id, by="key:a", now=NOON)
        self.model.states[incident_id] = state

    async def merge(self) -> None:
        """Somebody merges two."""
        target, source = self._random.sample(self.model.unmerged, 2)
        self.model.moves.append(Move(ChangeKind.MERGED, source, target, frozenset(self.model.keys(source))))
        merged = await self.storage.incidents.merge(self._tenant_id, target, source, by="key:a", now=NOON)
        self.model.swallow(target, source)
        assert merged.signals == len(self.model.keys(target))

    async def split(self) -> None:
        """Somebody splits one that has enough signals."""
        source = self._random.choice(self.model.unmerged)
        keys = self.model.keys(source)
        if len(keys) < 2:
            return
        taken = self._random.sample(keys, self._random.randint(1, len(keys) - 1))
        made = await self.storage.incidents.split(self._tenant_id, source, taken, by="key:a", now=NOON)
        self.model.moves.append(Move(ChangeKind.SPLIT, source, made.id, frozenset(taken)))
        self.model.owner.update(dict.fromkeys(taken, made.id))
        was = self.model.states[source]
        self.model.states[made.id] = was if was is IncidentState.RESOLVED else IncidentState.OPEN

    async def undo(self) -> None:
        """Somebody takes a merge or split back, or cannot."""
        await self.take_back(self._random.choice(self.model.moves))

    async def take_back(self, move: Move) -> None:
        """Somebody takes this merge or split back, or cannot."""
        asked = self._random.choice((move.source, move.target))
        same = [
            each
            for each in self.model.moves
            if (each.kind, each.source, each.target) == (move.kind, move.source, move.target)
        ]
        entries = [
            entry
            for entry in (await self.storage.incidents.get(self._tenant_id, asked)).history
            if (entry.kind, entry.detail.get("from"), entry.detail.get("into")) == (move.kind, move.source, move.target)
        ]
        assert [entry.undone for entry in entries] == [each.undone for each in same]
        entry = entries[next(n for n, each in enumerate(same) if each is move)]
        attempt = self.storage.incidents.undo(self._tenant_id, asked, entry.id, by="key:a", now=NOON)
        if self.model.may_undo(move):
            await attempt
            self.model.undo(move)
        else:
            with pytest.raises(Conflict):
                await attempt

    async def check(self) -> None:
        """Every incident is what the model says."""
        for incident_id, state in self.model.states.items():
            detail = await self.storage.incidents.get(self._tenant_id, incident_id)
            into, keys = self.model.merged_into.get(incident_id), self.model.keys(incident_id)
            assert sorted(signal.key for signal in detail.timeline) == keys
            assert (detail.incident.signals, detail.incident.merged_into) == (len(keys), into)
            assert detail.incident.state is (state if into is None else IncidentState.MERGED)
            assert all({link.first, link.then} <= set(keys) for link in detail.links)
            if keys:
                times = [signal.at_us for signal in self._signals if signal.key in keys]
                since = detail.incident.last_signal_at - detail.incident.started_at
                assert since.total_seconds() * 1e6 == max(times) - min(times)
        waiting = await self.storage.incident_work.waiting(self._tenant_id, limit=len(self._signals))
        assert {signal.key for signal in waiting} == {signal.key for signal in self._signals} - set(self.model.owner)

    def _some(self) -> tuple[Signal, ...]:
        return tuple(self._random.sample(self._signals, self._random.randint(1, 4)))


@pytest.mark.parametrize("seed", range(4))
async def test_every_signal_in_one_incident(
    storage: Storage, other_storage: Storage, tenancy: Tenancy, seed: int
) -> None:
    """Whatever is done, and undone, in whatever order, by two processes."""
    signals = await add_errors(storage, tenancy.id, 40)
    actor = Actor((storage, other_storage), tenancy, signals, seed)
    for _ in range(STEPS):
        await actor.step()
    await actor.check()
    assert {move.undone for move in actor.model.moves} == {True, False}
    for move in reversed(actor.model.moves):
        if not move.undone:
            await actor.take_back(move)
            assert move.undone, "the last first, everything can be undone"
    await actor.check()


def links(signals: Sequence[Signal]) -> tuple[SignalEdge, ...]:
    """Links of each signal with the next."""
    pairs = pairwise(signals)
    return tuple(SignalEdge(first=one.key, then=other.key, score=0.5, reasons=("near",)) for one, other in pairs)
