"""The audit trail: an append-only chain of what was decided, asked, approved, done and answered, one per tenant.

Each entry's hash covers its content and the hash before it, so an entry that is changed, removed or slipped in breaks
the chain at that place. The first entry follows `GENESIS`.
"""

import enum
import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

GENESIS: Final = bytes(32)
"""What the first entry of a tenant follows."""


class AuditKind(enum.Enum):
    """What an entry is about."""

    DECISION = "decision"
    APPROVAL = "approval"
    REQUEST = "request"
    RESPONSE = "response"
    VERDICT = "verdict"
    CHANGE = "change"
    """Of a rule, policy, channel, silence or kill switch."""


class AuditRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be recorded."""

    key: str
    """Unique in the tenant: recording the same key again changes nothing."""
    kind: AuditKind
    actor: str
    """Who: ``key:<id>`` of a caller, ``link`` for a signed link, ``sextant`` for the server itself."""
    summary: str
    """One sentence for a person."""
    alert_id: int | None = None
    remediation_id: int | None = None
    details: dict[str, Any] = {}
    """JSON; what a request or an answer held, without secrets."""


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A link of the chain."""

    sequence: int
    """Ascends by 1 from 1 within the tenant."""
    at: datetime
    record: AuditRecord
    previous: bytes
    hash: bytes


class Broken(msgspec.Struct, frozen=True):
    """Where the chain does not hold, and how."""

    sequence: int
    reason: str


class ChainCheck:
    """Follows the chain of one tenant entry by entry, in order; `broken` says where it breaks first.

    `head` is the last sequence and hash as the store keeps them apart, read before the entries: it shows entries cut
    off at the end. Those past it were appended since.
    """

    def __init__(self, tenant_id: int, *, head: tuple[int, bytes] | None = None) -> None:
        self._tenant_id = tenant_id
        self._head = head
        self.sequence = 0
        """Of the last entry that follows from all before it."""
        self.hash = GENESIS
        self.broken: Broken | None = None

    def follow(self, entry: AuditEntry) -> None:
        """Takes the next entry; after a break nothing more is looked at."""
        if self.broken is not None:
            return
        reason = self._fault(entry)
        if reason is not None:
            self.broken = Broken(self.sequence + 1, reason)
        else:
            self.sequence, self.hash = entry.sequence, entry.hash

    def end(self) -> Broken | None:
        """After the last entry: where the chain breaks first, or None where it holds."""
        if self.broken is None and self._head is not None and self._head[0] > self.sequence:
            reason = f"is missing: {self._head[0]} entries were written, {self.sequence} are there"
            self.broken = Broken(self.sequence + 1, reason)
        return self.broken

    def _fault(self, entry: AuditEntry) -> str | None:
        if entry.sequence != self.sequence + 1:
            return f"is missing: entry {entry.sequence} follows {self.sequence}"
        if entry.previous != self.hash:
            return "does not follow the entry before it"
        if entry.hash != _digest(self._tenant_id, entry.sequence, entry.at, entry.record, self.hash):
            return "was changed after it was written"
        if self._head is not None and entry.sequence == self._head[0] and entry.hash != self._head[1]:
            return "is not the one that was written"
        return None


def link(tenant_id: int, sequence: int, at: datetime, record: AuditRecord, previous: bytes) -> AuditEntry:
    """The entry that follows the one whose hash is `previous`. `at` has a zone and counts to the microsecond."""
    at = at.astimezone(UTC)
    return AuditEntry(
        sequence=sequence,
        at=at,
        record=record,
        previous=previous,
        hash=_digest(tenant_id, sequence, at, record, previous),
    )


def first_break(
    tenant_id: int, entries: Iterable[AuditEntry], *, head: tuple[int, bytes] | None = None
) -> Broken | None:
    """Where the chain is broken first; None where it holds. `entries` are all of a tenant's, in order."""
    check = ChainCheck(tenant_id, head=head)
    for entry in entries:
        check.follow(entry)
    return check.end()


def encode_record(record: AuditRecord) -> bytes:
    """A record as JSON: what the hash covers, and what a store keeps byte for byte."""
    return msgspec.json.encode(record, order="sorted")


def decode_record(content: bytes) -> AuditRecord:
    """The record that `encode_record` wrote; where it did not write that, one that says so and fits no hash."""
    try:
        record = msgspec.json.decode(content, type=AuditRecord)
    except (msgspec.DecodeError, UnicodeDecodeError):
        record = None
    if record is None or encode_record(record) != content:
        summary = f"not as it was written: {content.decode(errors='replace')}"
        return AuditRecord(key="", kind=AuditKind.CHANGE, actor="", summary=summary)
    return record


def _digest(tenant_id: int, sequence: int, at: datetime, record: AuditRecord, previous: bytes) -> bytes:
    content = msgspec.json.encode((tenant_id, sequence, at, msgspec.Raw(encode_record(record))))
    return hashlib.sha256(previous + content).digest()
