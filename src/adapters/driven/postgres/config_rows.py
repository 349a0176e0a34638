"""Rows of configuration's tables as values of the domain, and back."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from adapters.driven.postgres.documents import document_of, optional_document, storable
from core.domain.configurations import ConfigBaseline, ConfigChange, ConfigKind, Difference, StoredBaseline

_DIFF: Final = msgspec.json.Decoder(tuple[Difference, ...])


def change_of(row: Mapping[str, Any]) -> ConfigChange:
    """The change in a row of `sextant.config_changes`."""
    return ConfigChange(
        id=row["id"],
        ts=row["ts"],
        cluster_id=row["cluster_id"],
        namespace=row["namespace"],
        workload=row["workload"],
        kind=ConfigKind(row["kind"]),
        before=optional_document(row["before"]),
        after=optional_document(row["after"]),
        diff=_DIFF.decode(row["diff"]),
        actor=row["actor"],
        source=row["source"],
        synthetic=row["synthetic"],
    )


def diff_json(diff: Sequence[Difference]) -> str:
    """Differences as jsonb takes them."""
    return msgspec.json.encode([storable(msgspec.structs.asdict(difference)) for difference in diff]).decode()


def baseline_of(row: Mapping[str, Any]) -> StoredBaseline:
    """The baseline in a row of `sextant.config_baselines`."""
    baseline = ConfigBaseline(
        cluster_id=row["cluster_id"],
        namespace=row["namespace"],
        workload=row["workload"],
        kind=ConfigKind(row["kind"]),
        document=document_of(row["document"]),
    )
    return StoredBaseline(baseline=baseline, declared_by=row["declared_by"], declared_at=row["declared_at"])
