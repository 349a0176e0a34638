"""Metric sources: where samples are pulled from, how often, and how much asking for them may cost."""

import re
from datetime import datetime, timedelta
from typing import Final

import msgspec

from core.domain.errors import InvalidInput
from core.domain.source_configs import KIND_OF, CloudWatchConfig, SourceConfig, SourceKind, check_config
from core.domain.times import DAY_US, HOUR_US, MINUTE_US, parse_duration

SOURCES_MAX: Final = 200
"""Of one tenant: each is a job that comes back, and one list shows them all."""
SOURCE_SCOPE: Final = "source:"
"""Begins the scope of a stored source's checkpoints; no other scope begins like this."""
CREDENTIAL_CHARS_MAX: Final = 16_000
"""A token of a cloud is some kilobytes."""
SETTLE_PERIODS: Final = 2
"""So many of CloudWatch's periods are read again at least: the last one that is over is read in two runs or more."""
BACKFILL_US_MAX: Final = 35 * DAY_US
"""No window reaches further back: vendors keep fine-grained data about as long."""
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}\Z", re.ASCII)


class CredentialNames(msgspec.Struct, frozen=True):
    """Which credentials a kind of source takes."""

    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()


CREDENTIALS: Final[dict[SourceKind, CredentialNames]] = {
    SourceKind.DATADOG: CredentialNames(("api_key", "app_key")),
    SourceKind.CLOUDWATCH: CredentialNames((), ("access_key_id", "secret_access_key", "session_token")),
    SourceKind.NEWRELIC: CredentialNames(("api_key",)),
    SourceKind.HAWKEYE: CredentialNames(("api_key",)),
    SourceKind.EKS: CredentialNames((), ("metrics_token",)),
    SourceKind.PROMETHEUS: CredentialNames((), ("bearer_token", "username", "password")),
    SourceKind.SYNTHETIC: CredentialNames(),
}


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """What is usual for one kind of source."""

    lookback_us: int
    """How far the first window reaches back."""
    settle_us: int
    """How long the vendor may go on revising what it has answered; so much is read again."""
    calls_per_minute: int


PACES: Final[dict[SourceKind, Pace]] = {
    # 300 queries an hour is Datadog's documented default for the query API. It takes points up to an hour late, and its
    # integrations poll clouds each ten minutes; reading an hour again needs no further call.
    SourceKind.DATADOG: Pace(lookback_us=HOUR_US, settle_us=HOUR_US, calls_per_minute=5),
    # GetMetricData allows 50 calls a second; basic monitoring publishes with a delay of up to 15 minutes.
    SourceKind.CLOUDWATCH: Pace(lookback_us=DAY_US, settle_us=3 * HOUR_US, calls_per_minute=600),
    # NerdGraph allows 25 concurrent and about 3,000 NRQL queries a minute an account. Polled integrations come late.
    SourceKind.NEWRELIC: Pace(lookback_us=HOUR_US, settle_us=HOUR_US, calls_per_minute=300),
    SourceKind.HAWKEYE: Pace(lookback_us=HOUR_US, settle_us=5 * MINUTE_US, calls_per_minute=120),
    SourceKind.EKS: Pace(lookback_us=HOUR_US, settle_us=2 * MINUTE_US, calls_per_minute=1_200),
    SourceKind.PROMETHEUS: Pace(lookback_us=HOUR_US, settle_us=2 * MINUTE_US, calls_per_minute=1_200),
    SourceKind.SYNTHETIC: Pace(lookback_us=2 * DAY_US, settle_us=5 * MINUTE_US, calls_per_minute=60_000),
}


class SourceSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A metric source as it is asked for. Raises `InvalidInput` naming the field."""

    name: str
    config: SourceConfig
    enabled: bool = True
    interval: str | None = "5m"
    """How often it is collected by itself; null: only when asked for."""
    lookback: str | None = None
    """How far the first window reaches back; null: what is usual for the kind."""
    settle: str | None = None
    """How far back each window reads again, for what the vendor revises; null: what is usual for the kind."""
    calls_per_minute: int | None = None
    """How fast the vendor may be asked; null: what is usual for the kind."""
    calls_per_run_max: int = 1_000
    """Then the run ends; the next one goes on from there."""
    cost_usd_per_run_max: float | None = None
    """Likewise, by the vendor's list price where there is one."""

    def __post_init__(self) -> None:
        if not _NAME.match(self.name):
            raise InvalidInput(
                "name", f"{self.name[:64]!r} is not a source's name: 1 to 63 of a-z, 0-9, - and _, no - or _ first"
            )
        check_config(self.config)
        if self.interval is not None and not MINUTE_US <= parse_duration(self.interval, "interval") <= DAY_US:
            raise InvalidInput("interval", "must be from 1m to 1d; null collects only when asked for")
        for field in ("lookback", "settle"):
            text = getattr(self, field)
            if text is not None and parse_duration(text, field) > BACKFILL_US_MAX:
                raise InvalidInput(field, f"must be at most {BACKFILL_US_MAX // DAY_US}d")
        if self.calls_per_minute is not None and not 1 <= self.calls_per_minute <= 60_000:
            raise InvalidInput("calls_per_minute", "must be from 1 to 60000")
        if not 1 <= self.calls_per_run_max <= 100_000:
            raise InvalidInput("calls_per_run_max", "must be from 1 to 100000")
        if self.cost_usd_per_run_max is not None and not 0 < self.cost_usd_per_run_max <= 1e6:
            raise InvalidInput("cost_usd_per_run_max", "must be above 0, at most 1000000")

    @property
    def kind(self) -> SourceKind:
        """Which system is asked."""
        return KIND_OF[type(self.config)]

    @property
    def interval_us(self) -> int | None:
        """How often it is collected by itself; None: it is not."""
        if self.interval is None or not self.enabled:
            return None
        return parse_duration(self.interval, "interval")

    @property
    def lookback_us(self) -> int:
        """See `lookback`."""
        return PACES[self.kind].lookback_us if self.lookback is None else parse_duration(self.lookback, "lookback")

    @property
    def settle_us(self) -> int:
        """See `settle`."""
        if self.settle is not None:
            return parse_duration(self.settle, "settle")
        usual_us = PACES[self.kind].settle_us
        if isinstance(self.config, CloudWatchConfig):
            # Else a long period would be read when it ends, and its late samples never.
            return max(usual_us, SETTLE_PERIODS * parse_duration(self.config.period, "config.period"))
        return usual_us

    @property
    def pace_per_minute(self) -> int:
        """See `calls_per_minute`."""
        return self.calls_per_minute or PACES[self.kind].calls_per_minute


class StoredSource(msgspec.Struct, frozen=True, kw_only=True):
    """A source with what the store knows of it; credentials by name only."""

    id: int
    spec: SourceSpec
    credential_names: tuple[str, ...]
    revision: int
    created_at: datetime
    updated_at: datetime
    next_run_at: datetime | None
    """When it is collected next by itself."""

    @property
    def scope(self) -> str:
        """What all its runs share: one at a time, and one set of checkpoints."""
        return f"{SOURCE_SCOPE}{self.id}"


def following_run(due_at: datetime, interval_us: int, now: datetime) -> datetime:
    """The first instant after `now` that lies whole intervals after `due_at`: runs that were missed are one."""
    interval = timedelta(microseconds=interval_us)
    return due_at + ((now - due_at) // interval + 1) * interval


def check_credentials(kind: SourceKind, credentials: dict[str, str]) -> None:
    """Raises `InvalidInput` unless these are what `kind` takes."""
    names = CREDENTIALS[kind]
    for name, value in credentials.items():
        if name not in names.required + names.optional:
            known = ", ".join(names.required + names.optional) or "none"
            raise InvalidInput(f"credentials.{name[:64]}", f"{kind.value} takes no such credential; it takes: {known}")
        if not 1 <= len(value) <= CREDENTIAL_CHARS_MAX or not value.isascii() or not value.isprintable():
            raise InvalidInput(f"credentials.{name}", "must be printable ASCII without line breaks, and not empty")
    for name in names.required:
        if name not in credentials:
            raise InvalidInput(f"credentials.{name}", f"is missing; {kind.value} needs {' and '.join(names.required)}")
    for first, second in (("access_key_id", "secret_access_key"), ("username", "password")):
        if (first in credentials) != (second in credentials):
            raise InvalidInput(f"credentials.{first}", f"{first} and {second} go together")
