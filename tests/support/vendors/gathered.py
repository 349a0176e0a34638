"""Everything that a source gives for one window, as tests look at it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from core.domain.collection import Problem
from core.domain.times import TimeRange
from ports.driven.metric_source import Collected, Discovery, ItemWindow, MetricSource

SeriesKey = tuple[str, frozenset[tuple[str, str]]]


@dataclass
class Gathered:
    """What came, by item's title and by series."""

    discovery: Discovery
    parts: list[Collected] = field(default_factory=list)
    points: dict[SeriesKey, dict[int, float]] = field(default_factory=dict)
    """Values by microseconds since the Unix epoch; a later one replaces an earlier one."""

    @property
    def titles(self) -> Mapping[str, str]:
        """Of the items, by key."""
        return {item.key: item.title for item in self.discovery.items}

    @property
    def complete(self) -> set[str]:
        """Titles of items that were answered in full."""
        return {self.titles[part.key] for part in self.parts if part.complete}

    @property
    def problems(self) -> dict[str, Problem]:
        """Of items, by title."""
        return {self.titles[part.key]: part.problem for part in self.parts if part.problem is not None}

    def of(self, name: str, **labels: str) -> dict[int, float]:
        """The points of the one series of this name that has these labels."""
        wanted = frozenset(labels.items())
        (found,) = [points for (each, has), points in self.points.items() if each == name and wanted <= has]
        return found


async def gather(source: MetricSource, time_range: TimeRange) -> Gathered:
    """Discovers, collects all there is, and checks what the port promises of every source."""
    gathered = Gathered(await source.discover(time_range))
    windows = [ItemWindow(item, time_range) for item in gathered.discovery.items]
    assert len(gathered.titles) == len(windows), "keys of items are unique"
    ended = set()
    async for part in source.collect(windows):
        assert part.key in gathered.titles
        assert part.key not in ended, "nothing comes after an item's end"
        gathered.parts.append(part)
        if part.complete or part.problem is not None:
            ended.add(part.key)
        for series in part.series:
            assert 0 < len(series.ts_us) == len(series.values) <= 10_000
            points = gathered.points.setdefault((series.name, frozenset(series.labels.items())), {})
            points.update(zip(series.ts_us.tolist(), series.values.tolist(), strict=True))
    assert ended == set(gathered.titles), "every item ends"
    return gathered


async def collect_into(parts: list[Collected], source: MetricSource, wanted: Sequence[ItemWindow]) -> None:
    """Keeps what comes before it raises."""
    async for part in source.collect(wanted):
        parts.append(part)  # noqa: PERF401 (a comprehension keeps nothing when it raises)
