"""What a sender's metric looks like before it is a sample, and what is said of those that were refused."""

from typing import Final

import msgspec

POINTS_PER_REQUEST_MAX: Final = 10_000
"""A batch past this gains nothing on the wire and makes a retry expensive."""
ERRORS_SHOWN_MAX: Final = 20
"""Enough to see the pattern; all refusals are counted."""

NO_LABELS: Final = msgspec.Raw(b"{}")


class Point(msgspec.Struct, gc=False):
    """One metric as sent. Labels stay undecoded JSON, because their bytes are the cache's key on the hot path."""

    name: str
    value: float
    labels: msgspec.Raw = NO_LABELS
    timestamp: str | None = None
    source: str | None = None


class Rejection(msgspec.Struct, frozen=True):
    """One refused metric: its place in the request, the field, and what would make it acceptable."""

    index: int
    field: str
    reason: str


class Receipt(msgspec.Struct, frozen=True):
    """Where in the journal a request's points were committed."""

    writer: int
    sequence: int

    def __str__(self) -> str:
        return f"{self.writer}-{self.sequence}"


class IngestReply(msgspec.Struct, frozen=True):
    """What the sender is told: how many were stored, how many refused, and why (the first `ERRORS_SHOWN_MAX`)."""

    accepted: int
    rejected: int
    errors: tuple[Rejection, ...] = ()
    receipt: str | None = None
    """The journal position ``writer-sequence``; None where nothing was stored."""
