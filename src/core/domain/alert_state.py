"""The alert's state machine: what one target of one rule is, and what one more reading makes of it.

    inactive ──bad──▶ pending ──bad for `hold`──▶ firing(warning | critical) ──good for `keep`──▶ inactive
        ▲               │                             │        ▲
        └─────good──────┘                             └─worse──┘   (escalation, inside the episode)

Theory of operation. A reading is a level at an instant: GOOD, UNCLEAR (past the threshold to clear, but not past one to
fire), WARNING or CRITICAL. Readings come in order of their instants; one that is not newer than the last changes
nothing, so late and duplicate samples neither reopen an episode nor page. Only a GOOD reading clears. Inside an episode
severity never falls: it is the worst it has been. An episode begins when the target becomes pending, and has a number.

Damping: a target that fired `FLAP_EPISODES` times within `FLAP_WINDOW_US` must stay good for `FLAP_KEEP_US` at least
before the episode resolves, so that a value at the edge is one long alert instead of a hundred short ones.

Pure: a state is a value, `advance` returns the next one and what happened. Names as in Prometheus
(https://prometheus.io/docs/prometheus/latest/configuration/alerting_rules/).
"""

import enum
from typing import Final

import msgspec

from core.domain.rules import Severity
from core.domain.times import HOUR_US, MINUTE_US

FLAP_EPISODES: Final = 4
"""Firing a fourth time within the hour tells nobody anything new."""
FLAP_WINDOW_US: Final = HOUR_US
FLAP_KEEP_US: Final = 10 * MINUTE_US
"""Longer than most oscillations, shorter than a person's patience."""


class Level(enum.IntEnum):
    """What one reading says, from good to worst."""

    GOOD = 0
    UNCLEAR = 1
    WARNING = 2
    CRITICAL = 3


class Phase(enum.Enum):
    """Where a target stands; a resolved one is inactive again."""

    INACTIVE = "inactive"
    PENDING = "pending"
    FIRING = "firing"


class Happening(enum.Enum):
    """What a reading caused."""

    PENDING = "pending"
    DROPPED = "dropped"
    """Pending no more, without having fired."""
    FIRED = "fired"
    ESCALATED = "escalated"
    RESOLVED = "resolved"


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """A rule's times, microseconds."""

    hold_us: int = 0
    keep_us: int = 0


class AlertState(msgspec.Struct, frozen=True, kw_only=True):
    """One target of one rule. Instants are microseconds since the Unix epoch, those of samples."""

    phase: Phase = Phase.INACTIVE
    severity: Severity | None = None
    """While firing: the worst so far."""
    episode: int = 0
    """The number of the current or, when inactive, the last episode."""
    started_us: int = -1
    """When that episode became pending."""
    last_us: int = -1
    """The newest reading's instant; nothing at or before it counts any more."""
    bad_since_us: int | None = None
    """Since when every reading was WARNING or worse."""
    critical_since_us: int | None = None
    good_since_us: int | None = None
    """While firing: since when every reading was GOOD."""
    fired_us: tuple[int, ...] = ()
    """When the last `FLAP_EPISODES` episodes fired, oldest first."""

    @property
    def is_default(self) -> bool:
        """Whether forgetting this state would lose nothing but its newest instant."""
        return self.phase is Phase.INACTIVE and self.episode == 0


class Change(msgspec.Struct, frozen=True):
    """One thing that happened to one target."""

    what: Happening
    at_us: int
    episode: int
    severity: Severity | None


IDLE: Final = AlertState()


def advance(state: AlertState, at_us: int, level: Level, timing: Timing) -> tuple[AlertState, tuple[Change, ...]]:
    """The state after a reading of `level` at `at_us`, and what it caused, in order."""
    if at_us <= state.last_us:
        return state, ()
    seen = msgspec.structs.replace(
        state,
        last_us=at_us,
        bad_since_us=_since(state.bad_since_us, at_us, level >= Level.WARNING),
        critical_since_us=_since(state.critical_since_us, at_us, level >= Level.CRITICAL),
    )
    match state.phase:
        case Phase.INACTIVE:
            return _inactive(seen, at_us, level, timing)
        case Phase.PENDING:
            return _pending(seen, at_us, level, timing)
        case Phase.FIRING:
            return _firing(seen, at_us, level, timing)


def withdraw(state: AlertState, at_us: int) -> tuple[AlertState, tuple[Change, ...]]:
    """The state once its rule is gone, or an operator has closed it: no reading decides, the episode is over."""
    ended = msgspec.structs.replace(
        state, phase=Phase.INACTIVE, severity=None, bad_since_us=None, critical_since_us=None, good_since_us=None
    )
    match state.phase:
        case Phase.INACTIVE:
            return state, ()
        case Phase.PENDING:
            never = msgspec.structs.replace(ended, episode=state.episode - 1)  # only what fired is counted
            return never, (Change(Happening.DROPPED, at_us, state.episode, None),)
        case Phase.FIRING:
            return ended, (Change(Happening.RESOLVED, at_us, state.episode, state.severity),)


def drop_pending(state: AlertState, at_us: int) -> tuple[AlertState, tuple[Change, ...]]:
    """The state when samples stay away and that means that nothing is wrong; firing goes on."""
    return withdraw(state, at_us) if state.phase is Phase.PENDING else (state, ())


def _inactive(state: AlertState, at_us: int, level: Level, timing: Timing) -> tuple[AlertState, tuple[Change, ...]]:
    if level < Level.WARNING:
        return state, ()
    opened = msgspec.structs.replace(state, phase=Phase.PENDING, episode=state.episode + 1, started_us=at_us)
    if timing.hold_us == 0:
        return _fire(opened, at_us, level)
    return opened, (Change(Happening.PENDING, at_us, opened.episode, None),)


def _pending(state: AlertState, at_us: int, level: Level, timing: Timing) -> tuple[AlertState, tuple[Change, ...]]:
    if level < Level.WARNING:
        return withdraw(state, at_us)
    if not _held(state.bad_since_us, at_us, timing.hold_us):
        return state, ()
    critical = _held(state.critical_since_us, at_us, timing.hold_us)
    return _fire(state, at_us, Level.CRITICAL if critical else Level.WARNING)


def _fire(state: AlertState, at_us: int, level: Level) -> tuple[AlertState, tuple[Change, ...]]:
    severity = Severity.CRITICAL if level is Level.CRITICAL else Severity.WARNING
    fired = msgspec.structs.replace(
        state, phase=Phase.FIRING, severity=severity, fired_us=(*state.fired_us, at_us)[-FLAP_EPISODES:]
    )
    return fired, (Change(Happening.FIRED, at_us, fired.episode, severity),)


def _firing(state: AlertState, at_us: int, level: Level, timing: Timing) -> tuple[AlertState, tuple[Change, ...]]:
    if level is not Level.GOOD:
        worse = state.severity is Severity.WARNING and _held(state.critical_since_us, at_us, timing.hold_us)
        if not worse:
            return msgspec.structs.replace(state, good_since_us=None), ()
        escalated = msgspec.structs.replace(state, severity=Severity.CRITICAL, good_since_us=None)
        return escalated, (Change(Happening.ESCALATED, at_us, state.episode, Severity.CRITICAL),)
    cleared = msgspec.structs.replace(state, good_since_us=_since(state.good_since_us, at_us, True))
    keep_us = max(timing.keep_us, FLAP_KEEP_US) if is_flapping(state, at_us) else timing.keep_us
    if not _held(cleared.good_since_us, at_us, keep_us):
        return cleared, ()
    return withdraw(cleared, at_us)


def is_flapping(state: AlertState, at_us: int) -> bool:
    """Whether the target has fired so often of late that resolving waits."""
    return len(state.fired_us) == FLAP_EPISODES and at_us - state.fired_us[0] < FLAP_WINDOW_US


def deadlines_us(state: AlertState, timing: Timing) -> tuple[int, ...]:
    """After which instants the same level again may cause something that it did not cause before.

    Readings of one level in a row need not all be fed to `advance`: the first, the first at or after each of these
    (asked for anew after each), and the last are enough.
    """
    if state.phase is Phase.INACTIVE:
        return ()
    since = (state.bad_since_us, state.critical_since_us)
    found = [since_us + timing.hold_us for since_us in since if since_us is not None]
    if state.good_since_us is not None:
        found += [state.good_since_us + timing.keep_us, state.good_since_us + FLAP_KEEP_US]
        found += [fired_us + FLAP_WINDOW_US for fired_us in state.fired_us[:1]]
    return tuple(sorted(instant_us for instant_us in found if instant_us > state.last_us))


def _since(since_us: int | None, at_us: int, holds: bool) -> int | None:
    if not holds:
        return None
    return at_us if since_us is None else since_us


def _held(since_us: int | None, at_us: int, hold_us: int) -> bool:
    return since_us is not None and at_us - since_us >= hold_us
