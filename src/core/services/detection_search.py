"""Looking for anomalies on demand: any stretch of stored samples, nothing recorded."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import timedelta
from typing import Final

import msgspec

from core.detection.plan import RISK_METRIC, WINDOW_US_MAX, DetectionPlan
from core.domain.anomalies import AnomalyFinding
from core.domain.errors import InvalidInput, TooExpensive
from core.domain.events import fingerprint_of, host_of, service_of
from core.domain.matchers import LabelMatcher
from core.domain.queries import CATALOG_ANSWER_MAX
from core.domain.series import Series, check_name
from core.domain.tenants import Limits
from core.domain.times import DAY_US, EPOCH, TimeRange
from core.services.detection_looking import findings_in
from core.services.detection_reading import Samples, samples_of
from core.services.policies import Policies
from ports.driven.clock import Clock
from ports.driven.pause import Pause
from ports.driven.sample_reader import SampleReader
from ports.driving.detecting import Detection, SeriesFinding

FINDINGS_MAX: Final = 1_000
"""The thousand highest risks are more than anybody reads; the others are counted."""
SERIES_MAX: Final = 100_000
"""Some seconds' reading of the catalog alone."""
SLICE_SERIES: Final = 50
"""48 hours of minutes of them take the detectors about a tenth of a second, which is how long others wait."""


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """What a request of one tenant is about."""

    tenant_id: int
    limits: Limits
    """The tenant's own."""
    series: Sequence[Series]
    """Ascending by id."""


class DetectionSearch:
    """Finds series, reads them in slices, looks at them. Safe to call concurrently."""

    def __init__(self, reader: SampleReader, policies: Policies, clock: Clock, pause: Pause) -> None:
        self._reader = reader
        self._policies = policies
        self._clock = clock
        self._pause = pause

    async def detect(
        self,
        tenant_id: int,
        metric: str | None,
        matchers: Sequence[LabelMatcher],
        time_range: TimeRange,
        plan: DetectionPlan,
    ) -> Detection:
        """See `Detections.detect`."""
        check_reach(time_range)
        if metric is not None:
            check_name(metric, "metric")
        if metric == RISK_METRIC:
            raise InvalidInput(
                "metric", f"{RISK_METRIC} is what detection says itself; name the metric that it is about"
            )
        selection = await self.select(tenant_id, lambda name: metric in (None, name), matchers, prefix=metric or "")
        shown: list[SeriesFinding] = []
        looked_at = found_total = 0
        async for series, samples in self.slices(selection, time_range):
            findings = findings_in(samples, plan, until_us=time_range.end_us)
            looked_at += len(samples.points)
            found_total += len(findings)
            shown = riskiest([*shown, *described(findings, series)], FINDINGS_MAX)
        return Detection(
            start=EPOCH + timedelta(microseconds=time_range.start_us),
            end=EPOCH + timedelta(microseconds=time_range.end_us),
            series=len(selection.series),
            samples=looked_at,
            findings=shown,
            findings_total=found_total,
        )

    async def select(
        self, tenant_id: int, looks_at: Callable[[str], bool], matchers: Sequence[LabelMatcher], *, prefix: str = ""
    ) -> Selection:
        """The series of metrics that `looks_at` takes, those of risks never; only metrics that begin with `prefix` are
        asked about. Raises `TooExpensive` where they are more than `SERIES_MAX`."""
        limits = (await self._policies.of(tenant_id)).limits
        names = await self._reader.names(tenant_id, prefix, CATALOG_ANSWER_MAX)
        series: list[Series] = []
        async with self._reader.snapshot(tenant_id, limits) as snapshot:
            for name in names:
                if name == RISK_METRIC or not looks_at(name):
                    continue
                series += (await snapshot.find(name, matchers)).series
                if len(series) > SERIES_MAX:
                    raise TooExpensive(
                        f"this is about more than {SERIES_MAX:,} series; name a metric or add a matcher",
                        limit=SERIES_MAX,
                    )
        series.sort(key=lambda one: one.series_id)
        return Selection(tenant_id=tenant_id, limits=limits, series=series)

    async def slices(
        self, selection: Selection, time_range: TimeRange
    ) -> AsyncIterator[tuple[Mapping[int, Series], Samples]]:
        """The series by id with their samples in the range, some at a time; others' work goes on between two of them.

        Raises `TooExpensive` where all together hold more samples than one query of the tenant may read.
        """
        points_max = selection.limits.query_points_max
        read = 0
        for first in range(0, len(selection.series), SLICE_SERIES):
            series = selection.series[first : first + SLICE_SERIES]
            async with self._reader.snapshot(selection.tenant_id, selection.limits) as snapshot:
                samples = await samples_of(snapshot, series, time_range, now_us=self._clock.now_us())
            read += len(samples.points)
            if read > points_max:
                raise TooExpensive(
                    f"this would look at more than {points_max:,} samples; ask for a shorter range or fewer series",
                    limit=points_max,
                )
            yield {one.series_id: one for one in series}, samples
            await self.breathe()

    async def breathe(self) -> None:
        """Lets others' work go on: looking takes the processor."""
        await self._pause.sleep(0)


def check_reach(time_range: TimeRange) -> None:
    """Raises `InvalidInput` where a range is longer than detection looks at."""
    if time_range.end_us - time_range.start_us > WINDOW_US_MAX:
        raise InvalidInput(
            "start", f"lies more than {WINDOW_US_MAX // DAY_US} days before end; ask for a shorter range"
        )


def described(findings: Sequence[AnomalyFinding], series: Mapping[int, Series]) -> list[SeriesFinding]:
    """Findings with the series that they are about."""
    return [_described(finding, series[finding.series_id]) for finding in findings]


def riskiest(findings: Sequence[SeriesFinding], count: int) -> list[SeriesFinding]:
    """The `count` findings with the highest risk, that first; of equal risk by fingerprint."""
    ordered = sorted(findings, key=lambda one: (-one.finding.risk, one.fingerprint, one.finding.series_id))
    return ordered[:count]


def _described(finding: AnomalyFinding, series: Series) -> SeriesFinding:
    fingerprint = fingerprint_of(host_of(series.labels), service_of(series.labels), series.name)
    return SeriesFinding(
        metric=series.name,
        labels=series.labels,
        fingerprint=fingerprint,
        text=finding.text(fingerprint),
        finding=finding,
    )
