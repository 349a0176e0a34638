"""Publishing the risks of open anomalies as samples, so that alerting watches them like any other metric.

Theory of operation. A fingerprint's risk is a series whose labels are kept for as long as it is above 0, and noted in
the store before its first sample is written; it is forgotten only after a sample of 0. Wherever this stops and is begun
again, every series that was ever above 0 is therefore known, and gets its 0 once it is over.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec
import numpy as np

from core.detection.plan import RISK_METRIC
from core.domain.anomalies import Anomaly
from core.domain.columns import Columns
from core.domain.errors import Conflict
from core.domain.events import SERVICE_LABEL, SYNTHETIC_LABEL
from core.domain.series import LABEL_VALUE_BYTES_MAX, LABELS_MAX, series_identity
from ports.driven.clock import Clock
from ports.driven.detection_store import DetectionRuns, PublishedRisk, RunClaim
from ports.driven.journal import Journal, JournalEntry
from ports.driven.series_catalog import SeriesCatalog

SERIES_MAX: Final = 1_000_000_000
"""Far above any tenant's own: alerts are not to be lost where that is reached."""
HASH_CHARS: Final = 16
"""64 bits: enough to tell the fingerprints of one tenant apart."""


class RiskPublisher:
    """Publishes what a tenant's runs found."""

    def __init__(self, runs: DetectionRuns, catalog: SeriesCatalog, journal: Journal, clock: Clock) -> None:
        self._runs = runs
        self._catalog = catalog
        self._journal = journal
        self._clock = clock

    async def publish(self, claim: RunClaim) -> int:
        """Writes a sample of now for every fingerprint that alerting detectors have above the alert risk, and of 0 for
        those that are no longer; returns how many are above. Repeating it is safe. Raises `Conflict` where the claim
        was lost."""
        risky = await self._runs.alarming(claim.tenant_id, risk_min=claim.settings.alert_risk)
        alarming = [one for one in risky if one.finding.detector in claim.settings.alert_detectors]
        before = {one.fingerprint: one for one in await self._runs.published(claim.tenant_id)}
        risks = {one.fingerprint: one for one in published_risks(alarming, before)}
        over = [msgspec.structs.replace(one, risk=0.0) for one in before.values() if one.fingerprint not in risks]
        if not risks and not over:
            return 0
        # Also where nothing is new: whoever lost the claim shall notice before it publishes.
        await self._runs.save_published(claim, list({**before, **risks}.values()))
        await self._append(claim.tenant_id, [*risks.values(), *over])
        try:
            await self._runs.save_published(claim, list(risks.values()))
        except Conflict:
            await self._take_back(claim.tenant_id, risks.values())
            raise
        return len(risks)

    async def _take_back(self, tenant_id: int, risks: Iterable[PublishedRisk]) -> None:
        """Ends what was published after the claim was lost, unless it is among what its new holder knows: nobody else
        would, such as after a purge."""
        known = {one.fingerprint for one in await self._runs.published(tenant_id)}
        unknown = [msgspec.structs.replace(one, risk=0.0) for one in risks if one.fingerprint not in known]
        if unknown:
            await self._append(tenant_id, unknown)

    async def _append(self, tenant_id: int, risks: Sequence[PublishedRisk]) -> None:
        identities = [series_identity(RISK_METRIC, one.labels, None) for one in risks]
        resolved = await self._catalog.resolve(tenant_id, identities, series_max=SERIES_MAX)
        # An alert pages only while its sample is young: the present is asked for last.
        points = Columns(
            np.array(resolved.series_ids, np.int32),
            np.full(len(risks), self._clock.now_us(), np.int64),
            np.array([one.risk for one in risks], np.float64),
        )
        await self._journal.append(JournalEntry(tenant_id, points))


def published_risks(alarming: Sequence[Anomaly], before: Mapping[str, PublishedRisk]) -> list[PublishedRisk]:
    """The highest risk of each fingerprint of `alarming`, with the labels that it was published with before."""
    by_fingerprint: dict[str, list[Anomaly]] = defaultdict(list)
    for anomaly in alarming:
        by_fingerprint[anomaly.fingerprint].append(anomaly)
    return [
        PublishedRisk(
            fingerprint=fingerprint,
            labels=before[fingerprint].labels if fingerprint in before else risk_labels(anomalies),
            risk=max(anomaly.finding.risk for anomaly in anomalies),
        )
        for fingerprint, anomalies in sorted(by_fingerprint.items())
    ]


def risk_labels(anomalies: Sequence[Anomaly]) -> dict[str, str]:
    """The labels of the risk of anomalies of one fingerprint: what their series have in common, and what names it.

    Labels of theirs that are called like one of ours get the prefix ``exported_``, as in Prometheus.
    """
    first = anomalies[0]
    own = {"fingerprint": _label_value(first.fingerprint), "metric": first.metric}
    if first.host is not None and all(anomaly.host == first.host for anomaly in anomalies):
        own["host"] = first.host
    if first.service is not None and all(anomaly.service == first.service for anomaly in anomalies):
        own[SERVICE_LABEL] = first.service
    if all(anomaly.synthetic for anomaly in anomalies):
        own[SYNTHETIC_LABEL] = "true"
    labels = dict(own)
    for label, value in sorted(first.labels.items()):  # what is called exported_… itself comes before our names
        if len(labels) == LABELS_MAX:
            break
        if own.get(label) != value and all(anomaly.labels.get(label) == value for anomaly in anomalies):
            while label in labels:
                label = f"exported_{label}"
            labels[label] = value
    return labels


def _label_value(text: str) -> str:
    """The text; where it is too long for a label, its beginning and a part of its hash."""
    if len(text.encode()) <= LABEL_VALUE_BYTES_MAX:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[:HASH_CHARS]
    kept = text.encode()[: LABEL_VALUE_BYTES_MAX - HASH_CHARS - 1].decode(errors="ignore")
    return f"{kept}~{digest}"
