"""Rows of collection's tables as values of the domain."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from core.domain.collection import (
    CollectionRequest,
    CollectionRun,
    CollectionState,
    Instance,
    ItemResult,
    Problem,
    Progress,
)
from core.domain.source_configs import SourceKind
from core.domain.sources import SourceSpec, StoredSource

_SPEC: Final = msgspec.json.Decoder(SourceSpec)
_REQUEST: Final = msgspec.json.Decoder(CollectionRequest)
_PROBLEM: Final = msgspec.json.Decoder(Problem)
_PROGRESS: Final = msgspec.json.Decoder(Progress)
_RESULT: Final = msgspec.json.Decoder(ItemResult)
_TEXTS: Final = msgspec.json.Decoder(dict[str, str])


def source_of(row: Mapping[str, Any]) -> StoredSource:
    """The source in a row of `sextant.metric_sources`."""
    return StoredSource(
        id=row["id"],
        spec=spec_of(row["spec"]),
        credential_names=tuple(row["credential_names"]),
        revision=row["revision"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        next_run_at=row["next_run_at"],
    )


def spec_of(text: str) -> SourceSpec:
    """A source as it is stored."""
    return _SPEC.decode(text)


def run_of(row: Mapping[str, Any]) -> CollectionRun:
    """The run in a row of `sextant.collection_runs`."""
    return CollectionRun(
        id=row["id"],
        source=row["source"],
        kind=SourceKind(row["kind"]),
        request=_REQUEST.decode(row["request"]),
        requested_by=row["requested_by"],
        state=CollectionState(row["state"]),
        problem=_PROBLEM.decode(row["problem"]) if row["problem"] is not None else None,
        progress=_PROGRESS.decode(row["progress"]),
        attempts=row["attempts"],
        requested_at=row["requested_at"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
    )


def result_of(text: str) -> ItemResult:
    """What came of one item, as it is stored."""
    return _RESULT.decode(text)


def instance_of(row: Mapping[str, Any]) -> Instance:
    """The instance in a row of `sextant.instances`."""
    return Instance(
        id=row["id"],
        provider=SourceKind(row["provider"]),
        external_id=row["external_id"],
        kind=row["kind"],
        region=row["region"],
        name=row["name"],
        tags=_TEXTS.decode(row["tags"]),
        first_seen_at=row["first_seen_at"],
        last_seen_at=row["last_seen_at"],
        synthetic=row["synthetic"],
    )


def json_of(value: object) -> str:
    """A value as JSON columns take it."""
    return msgspec.json.encode(value).decode()
