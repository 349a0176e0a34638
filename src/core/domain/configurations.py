"""Configuration of workloads: its history, its state at any time, and what it is meant to be."""

import enum
from datetime import datetime
from typing import Any, Final, TypeAlias
from uuid import UUID

import msgspec

from core.domain.errors import InvalidInput
from core.domain.names import check_cluster_id, check_text_encodable
from core.domain.times import check_instant

DOCUMENT_SIZE_BYTES_MAX: Final = 256 << 10
"""A pod template with all its environment is some kilobytes."""
BASELINES_SIZE_BYTES_MAX: Final = 16 << 20
"""Of all of a tenant's baselines together, which are read at once: thousands of workloads."""
DOCUMENT_DEPTH_MAX: Final = 50
TEXT_CHARS_MAX: Final = 500
MASK: Final = "…"
"""Stands in a text instead of what is secret."""

Document: TypeAlias = dict[str, Any]
"""A JSON object of somebody else's: only compared and shown, so nothing here knows its fields."""


class ConfigKind(enum.Enum):
    """What part of a workload's configuration it is."""

    RUNTIME = "runtime"
    """Environment, arguments, replicas, config maps."""
    POLICY = "policy"
    """Autoscaling, disruption budgets, network policies."""
    IMAGE = "image"
    RESOURCE = "resource"
    """Requests and limits."""


class ObservedConfiguration(msgspec.Struct, frozen=True, kw_only=True):
    """A workload's configuration as it was found."""

    cluster_id: str
    namespace: str
    workload: str
    kind: ConfigKind
    document: Document | None
    """None: it was removed."""
    actor: str | None = None
    """Who changed it last, as far as the source knows."""
    changed_at: datetime | None = None
    """When, as far as the source knows; else when it was found."""
    synthetic: bool = False


class ConfigChangeSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A change as it is reported. Raises `InvalidInput` naming the field."""

    cluster_id: str
    namespace: str = "default"
    workload: str
    kind: ConfigKind
    before: Document | None = None
    """None: it was made, or nobody knows what was there before."""
    after: Document | None = None
    """None: it was removed."""
    actor: str | None = None
    source: str = "api"
    ts: datetime | None = None
    """None: now."""
    id: UUID | None = None
    """Of the sender's own: sending it again changes nothing."""

    def __post_init__(self) -> None:
        for field in ("cluster_id", "namespace", "workload", "source"):
            check_cluster_id(field, getattr(self, field))
        if self.actor is not None:
            check_actor("actor", self.actor)
        if self.before is None and self.after is None:
            raise InvalidInput("after", "give before, after or both")
        if self.before == self.after:
            raise InvalidInput("after", "is the same as before: nothing changed")
        for field in ("before", "after"):
            document = getattr(self, field)
            if document is not None:
                check_document(field, document)
        if self.ts is not None:
            check_instant("ts", self.ts)


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One place where two documents differ, as a JSON Pointer (RFC 6901); at least one side is there."""

    path: str
    op: str
    """`add`, `remove` or `replace`, as in JSON Patch (RFC 6902)."""
    before: Any = None
    after: Any = None


class ConfigChange(msgspec.Struct, frozen=True, kw_only=True):
    """One recorded change."""

    id: UUID
    ts: datetime
    cluster_id: str
    namespace: str
    workload: str
    kind: ConfigKind
    before: Document | None
    after: Document | None
    diff: tuple[Difference, ...]
    actor: str | None
    source: str
    synthetic: bool


class ConfigFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which changes to list; None means any. The range is half-open."""

    cluster_id: str | None = None
    namespace: str | None = None
    workload: str | None = None
    kind: ConfigKind | None = None
    start: datetime | None = None
    end: datetime | None = None


class ConfigState(msgspec.Struct, frozen=True, kw_only=True):
    """A workload's configuration at one instant: one entry for each kind of which anything is known."""

    cluster_id: str
    namespace: str
    workload: str
    ts: datetime
    configuration: dict[str, "ConfigStateEntry"]
    """By kind."""


class ConfigStateEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of configuration, and the change that made it so."""

    document: Document | None
    """None: it had been removed."""
    since: datetime
    change_id: UUID


class ConfigBaseline(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a workload's configuration is meant to be; fields that the baseline lacks are not compared."""

    cluster_id: str
    namespace: str = "default"
    workload: str
    kind: ConfigKind
    document: Document

    def __post_init__(self) -> None:
        for field in ("cluster_id", "namespace", "workload"):
            check_cluster_id(field, getattr(self, field))
        check_document("document", self.document)


class StoredBaseline(msgspec.Struct, frozen=True, kw_only=True):
    """A baseline with who declared it when."""

    baseline: ConfigBaseline
    declared_by: str
    declared_at: datetime


def check_actor(field: str, actor: str) -> None:
    """Raises `InvalidInput` unless it can name somebody."""
    if not 1 <= len(actor) <= TEXT_CHARS_MAX or not actor.isprintable():
        raise InvalidInput(field, f"must have 1 to {TEXT_CHARS_MAX} printable characters")
    check_text_encodable(field, actor)


def check_document(field: str, document: Document) -> None:
    """Raises `InvalidInput` where a document is too large, too deep, or cannot be stored."""
    if _depth(document) > DOCUMENT_DEPTH_MAX:
        raise InvalidInput(field, f"is nested deeper than {DOCUMENT_DEPTH_MAX} levels")
    try:
        encoded = msgspec.json.encode(document)
    except UnicodeEncodeError:
        raise InvalidInput(field, "contains half of a surrogate pair, which is not Unicode text") from None
    if len(encoded) > DOCUMENT_SIZE_BYTES_MAX:
        raise InvalidInput(field, f"takes more than {DOCUMENT_SIZE_BYTES_MAX >> 10} KiB")
    if b"\\u0000" in encoded:
        raise InvalidInput(field, "contains a NUL character, which PostgreSQL cannot store")


def _depth(value: Any, depth: int = 1) -> int:
    if depth > DOCUMENT_DEPTH_MAX:
        return depth
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return max((_depth(each, depth + 1) for each in inner), default=depth)
