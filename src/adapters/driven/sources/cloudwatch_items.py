"""What is fetched from CloudWatch, one metric of one combination of dimensions at a time, and what it is stored as.

Names. A series is called ``<namespace>_<metric>_<statistic>`` in snake case, as Prometheus' cloudwatch_exporter spells
it: `AWS/EC2` `CPUUtilization` `Average` is ``aws_ec2_cpuutilization_average``, `NetworkIn` `Sum` is
``aws_ec2_network_in_sum``, `p99.9` ends in ``_p99_9``. Labels are the dimensions in snake case (``instance_id``) and
``region``; where two would be called the same, the later ones (by the dimension's name) get ``_2``, ``_3``. What is
too long for a name is cut and marked.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from adapters.driven.sources.naming import item_key, label_set, metric_name
from core.domain.collection import Problem, ProblemKind
from core.domain.source_configs import CloudWatchMetric
from ports.driven.metric_source import SeenInstance, SourceItem

REGION_LABEL: Final = "region"
INSTANCE_DIMENSION: Final = "InstanceId"

_WORD_END = re.compile(r"([a-z0-9])([A-Z])")
_NOT_NAME = re.compile(r"[^A-Za-z0-9]+")

Dimensions = tuple[tuple[str, str], ...]
"""Names and values, by name."""


class CloudWatchItem(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """One metric with one combination of dimensions."""

    item: SourceItem
    metric: CloudWatchMetric
    dimensions: Dimensions
    name: str
    """Of the series."""
    labels: Mapping[str, str]
    instance: SeenInstance | None

    @property
    def definition(self) -> tuple[str, str, str]:
        """What CloudWatch may refuse by itself, whichever its dimensions are."""
        return self.metric.namespace, self.metric.name, self.metric.statistic


def snake_case(text: str) -> str:
    """``CPUUtilization`` → ``cpuutilization``, ``NetworkIn`` → ``network_in``, ``AWS/EC2`` → ``aws_ec2``."""
    return _NOT_NAME.sub("_", _WORD_END.sub(r"\1_\2", text)).strip("_").lower()


def series_name(metric: CloudWatchMetric) -> str:
    """What a metric's series are called; see the module."""
    name = "_".join(snake_case(part) for part in (metric.namespace, metric.name, metric.statistic))
    return metric_name(f"_{name}" if name[:1].isdigit() else name)


def series_labels(dimensions: Dimensions, region: str) -> dict[str, str]:
    """The labels of a combination of dimensions; see the module."""
    labels = {REGION_LABEL: region}
    for name, value in dimensions:
        first = label = snake_case(name) or "dimension"
        if first[0].isdigit():
            first = label = f"_{first}"
        number = 2
        while label in labels:
            label, number = f"{first}_{number}", number + 1
        labels[label] = value
    return label_set(labels)


def make_item(
    metric: CloudWatchMetric, dimensions: Mapping[str, str], region: str, instances: Mapping[str, SeenInstance]
) -> CloudWatchItem:
    """The item of one combination; `instances` are those known, by id."""
    pairs = tuple(sorted(dimensions.items()))
    shown = ", ".join(value if name == INSTANCE_DIMENSION else f"{name}={value}" for name, value in pairs)
    instance_id = dimensions.get(INSTANCE_DIMENSION)
    key = item_key(region, metric.namespace, metric.name, metric.statistic, *(part for pair in pairs for part in pair))
    return CloudWatchItem(
        item=SourceItem(key, f"{metric.namespace} {metric.name} {metric.statistic}{f' of {shown}' if shown else ''}"),
        metric=metric,
        dimensions=pairs,
        name=series_name(metric),
        labels=series_labels(pairs, region),
        instance=None if instance_id is None else instances.get(instance_id) or ec2_instance(instance_id, region),
    )


def ec2_instance(
    instance_id: str, region: str, *, name: str | None = None, tags: Mapping[str, str] | None = None
) -> SeenInstance:
    """An EC2 instance as the catalogue knows it."""
    return SeenInstance(external_id=instance_id, kind="ec2", region=region, name=name, tags=dict(tags or {}))


def storable(items: Iterable[CloudWatchItem]) -> tuple[Sequence[CloudWatchItem], Sequence[tuple[str, Problem]]]:
    """The items, each once, without those that would be stored as the series of another, and what is wrong with these.

    ``CPUUtilization`` and ``CpuUtilization`` are two metrics to CloudWatch.
    """
    stored: dict[tuple[str, tuple[tuple[str, str], ...]], CloudWatchItem] = {}
    problems = []
    for item in items:
        same = stored.setdefault((item.name, tuple(sorted(item.labels.items()))), item)
        if same.item.key != item.item.key:
            message = f"it would be stored as the same series as {same.item.title}"
            problems.append((item.item.title, Problem(kind=ProblemKind.CONFIGURATION, message=message)))
    return list(stored.values()), problems
