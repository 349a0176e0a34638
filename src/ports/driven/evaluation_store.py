"""What evaluation reads and writes: one process leads, and what it writes commits with the journal's cursor."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import msgspec

from core.domain.alert_state import AlertState
from core.domain.alerts import EpisodeState, Resolution
from core.domain.columns import Int32s
from core.domain.head import JournalBlock
from core.domain.notifications import AlertEvent
from core.domain.rules import AlertRule, Severity, Threshold

CONSUMER = "alerts"
"""The journal consumer's name."""


class ActiveRule(msgspec.Struct, frozen=True, kw_only=True):
    """A rule of any tenant that is enabled."""

    tenant_id: int
    id: int
    revision: int
    rule: AlertRule


class Target(msgspec.Struct, frozen=True):
    """One target of one rule: a series (``s12``) or a group (``g`` and a digest of its labels)."""

    tenant_id: int
    rule_id: int
    key: str


class StoredState(msgspec.Struct, frozen=True, kw_only=True):
    """A target's state as it was written last."""

    target: Target
    state: AlertState
    labels: dict[str, str]
    subject: bytes
    """A digest of the rule's `subject` then; another one now ends its episode."""
    announced: bool
    close_requested: bool
    """A person wants the episode to end."""


class EpisodeWrite(msgspec.Struct, frozen=True, kw_only=True):
    """An episode as it now stands, to be inserted or updated by (target, episode); None leaves a field as it was."""

    target: Target
    episode: int
    rule: AlertRule | None
    """None where the rule is gone: then the episode is there already."""
    labels: dict[str, str]
    state: EpisodeState | None
    """None: it was never more than pending, and is forgotten."""
    severity: Severity | None
    value: float | None
    threshold: Threshold | None
    started_us: int
    fired_us: int | None
    resolved_us: int | None
    resolution: Resolution | None
    no_data: bool
    announced: bool
    annotations: dict[str, str]
    events: tuple[AlertEvent, ...]
    """What somebody is to be told, in order."""
    remediate: bool
    """Whether the rule's remediation is to be started."""


class Effects(msgspec.Struct, frozen=True, kw_only=True):
    """All that one commit writes besides the cursor."""

    states: Mapping[Target, StoredState | None]
    """None: to be forgotten."""
    episodes: Sequence[EpisodeWrite]


class SeriesInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A series of any tenant."""

    series_id: int
    tenant_id: int
    name: str
    labels: dict[str, str]


class Taken(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """What the leader looks at next."""

    blocks: Sequence[JournalBlock]
    """What was appended since the last commit, ascending within each stream; as far as the bound allows."""
    positions: Mapping[int, int]
    """Writer → the last sequence of it that this passes, skipped blocks included."""
    rules_revision: int
    """Ascends with every change of any rule, and every request to close an episode. Read after the blocks were chosen:
    no block was acknowledged after a change that this does not count yet."""


class Term(Protocol):
    """One process' time as the leader; every method raises `Unavailable` once it is over."""

    async def rules(self) -> Sequence[ActiveRule]:
        """All enabled rules."""
        ...

    async def states(self) -> Sequence[StoredState]:
        """All targets whose state is more than the default."""
        ...

    async def series(self, series_ids: Int32s) -> Sequence[SeriesInfo]:
        """What these ids are; unknown ones are left out."""
        ...

    async def series_of(self, tenant_id: int, name: str) -> Sequence[SeriesInfo]:
        """All series of one metric."""
        ...

    async def last_series(self) -> int:
        """The highest id of any series, 0 where there is none; later ones get higher ids."""
        ...

    async def take(self, *, points_max: int, skip_at: int | None) -> Taken:
        """What was appended and not committed yet, at least one block where there is any.

        As long as the rules' revision is still `skip_at`, blocks are passed unread: no rule needs them.
        """
        ...

    async def commit(self, taken: Taken, effects: Effects) -> None:
        """In one transaction moves the journal's cursor past what was taken, and writes states, episodes, events and
        remediations to start. Raises `Unavailable` where the term is over; then nothing was written."""
        ...


class EvaluationStore(Protocol):
    """Leadership: at most one process of all servers has a term; it passes on at once when that one dies."""

    def lead(self) -> AbstractAsyncContextManager[Term | None]:
        """A term; None where another process leads."""
        ...
