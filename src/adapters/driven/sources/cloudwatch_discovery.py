"""What there is in one AWS account and region: EC2's instances, and the combinations that ListMetrics knows."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Generic, TypeVar

import msgspec

from adapters.driven.sources.call_budget import BudgetSpent
from adapters.driven.sources.cloudwatch_client import AwsAccount, Service
from adapters.driven.sources.cloudwatch_items import CloudWatchItem, ec2_instance, make_item, storable
from core.domain.collection import Problem, ProblemKind
from core.domain.source_configs import INSTANCES_MAX, CloudWatchConfig, CloudWatchMetric
from ports.driven.metric_source import SeenInstance, SourceError

FILTER_VALUES_MAX: Final = 200
"""DescribeInstances' own limit of values in one filter."""
STATES: Final = ("running", "stopping", "shutting-down", "terminated")
"""Of instances that are asked for. One that was terminated is listed for about an hour, in which its last period ends;
one that is stopped would be asked for, and paid, for ever."""
INSTANCES_PER_PAGE: Final = 500
PAGES_MAX: Final = 200
"""Of one listing: more than `INSTANCES_MAX` results would fill, even where pages come half empty."""
COMBINATIONS_MAX: Final = 5_000
"""Of one metric; more series than that are asked for by naming dimensions."""
COST_USD_PER_LISTING: Final = 0.01 / 1_000
"""List price of ListMetrics; DescribeInstances is free."""

Problems = list[tuple[str, Problem]]


class _Tag(msgspec.Struct, frozen=True, rename="pascal"):
    key: str
    value: str = ""


class _Instance(msgspec.Struct, frozen=True, rename="pascal"):
    instance_id: str
    tags: list[_Tag] = []


class _Reservation(msgspec.Struct, frozen=True, rename="pascal"):
    instances: list[_Instance] = []


class _Page(msgspec.Struct, frozen=True, rename="pascal", kw_only=True):
    next_token: str | None = None


class _Instances(_Page, frozen=True, rename="pascal"):
    reservations: list[_Reservation] = []


class _Dimension(msgspec.Struct, frozen=True, rename="pascal"):
    name: str
    value: str


class _Metric(msgspec.Struct, frozen=True, rename="pascal"):
    dimensions: list[_Dimension] = []


class _Metrics(_Page, frozen=True, rename="pascal"):
    metrics: list[_Metric] = []


P = TypeVar("P", bound=_Page)


class CloudWatchDiscovery:
    """Finds the items of one source."""

    def __init__(self, account: AwsAccount, config: CloudWatchConfig) -> None:
        self._account = account
        self._config = config

    async def find(self) -> tuple[Sequence[CloudWatchItem], Sequence[SeenInstance], Problems]:
        """Items, instances, and what could not be looked at. Raises `SourceError` where nothing can be."""
        problems: Problems = []
        instances = await self._instances(problems)
        items: list[CloudWatchItem] = []
        for metric in self._config.metrics:
            combinations = await self._combinations(metric, instances, problems)
            items += [make_item(metric, dimensions, self._config.region, instances) for dimensions in combinations]
        kept, unstorable = storable(items)
        return kept, list(instances.values()), [*problems, *unstorable]

    async def _instances(self, problems: Problems) -> Mapping[str, SeenInstance]:
        """By id, ascending: those configured, or all that run, or did until now, and carry the tags."""
        config = self._config
        if all(metric.dimensions is not None for metric in config.metrics):
            return {}
        known = {instance_id: ec2_instance(instance_id, config.region) for instance_id in config.instance_ids}
        found: dict[str, SeenInstance] = {}
        try:
            for filters in _filters(config):
                await self._describe(filters, found, problems)
        except (SourceError, BudgetSpent) as error:
            if isinstance(error, SourceError) and error.problem.kind is ProblemKind.CREDENTIALS:
                raise
            if not known and all(metric.dimensions is None for metric in config.metrics):
                raise SourceError(error.problem.kind, error.problem.message) from error
            problems.append(("instances", error.problem))
        if not known and not found and not problems:
            problems.append(("instances", _no_instances(config)))
        return dict(sorted({**known, **found}.items()))

    async def _describe(
        self, filters: Sequence[Mapping[str, Any]], found: dict[str, SeenInstance], problems: Problems
    ) -> None:
        asked = {"Filters": filters, "MaxResults": INSTANCES_PER_PAGE}
        pages = _Pages(self._account, "ec2", "describe_instances", asked, _Instances)
        while (page := await pages.next()) is not None:
            for reservation in page.reservations:
                for described in reservation.instances:
                    found[described.instance_id] = _seen(described, self._config.region)
            if len(found) > INSTANCES_MAX:
                for instance_id in list(found)[INSTANCES_MAX:]:
                    del found[instance_id]
                message = f"there are more than {INSTANCES_MAX} instances; give tags, so that each source has fewer"
                problems.append(("instances", Problem(kind=ProblemKind.CONFIGURATION, message=message)))
                return

    async def _combinations(
        self, metric: CloudWatchMetric, instances: Mapping[str, SeenInstance], problems: Problems
    ) -> Sequence[Mapping[str, str]]:
        if metric.dimensions is None:
            return [{"InstanceId": instance_id} for instance_id in instances]
        if metric.dimensions:
            return [metric.dimensions]
        found: list[Mapping[str, str]] = []
        title = f"dimensions of {metric.namespace} {metric.name}"
        asked = {"Namespace": metric.namespace, "MetricName": metric.name}
        try:
            pages = _Pages(self._account, "cloudwatch", "list_metrics", asked, _Metrics, cost_usd=COST_USD_PER_LISTING)
            while (page := await pages.next()) is not None:
                found += [{each.name: each.value for each in listed.dimensions} for listed in page.metrics]
                if len(found) > COMBINATIONS_MAX:
                    message = f"there are more than {COMBINATIONS_MAX} combinations; name the dimensions instead"
                    problems.append((title, Problem(kind=ProblemKind.CONFIGURATION, message=message)))
                    return found[:COMBINATIONS_MAX]
        except (SourceError, BudgetSpent) as error:
            if isinstance(error, SourceError) and error.problem.kind is ProblemKind.CREDENTIALS:
                raise
            problems.append((title, error.problem))
            return found
        if not found:
            message = f"{self._config.region} has had no such metric in the last two weeks, or not for 15 minutes yet"
            problems.append((title, Problem(kind=ProblemKind.NO_DATA, message=message)))
        return found


class _Pages(Generic[P]):
    """The pages of one listing, whose tokens are not believed to end."""

    def __init__(
        self,
        account: AwsAccount,
        service: Service,
        operation: str,
        asked: Mapping[str, Any],
        model: type[P],
        *,
        cost_usd: float = 0.0,
    ) -> None:
        self._account, self._service, self._operation, self._asked = account, service, operation, asked
        self._model = model
        self._cost_usd = cost_usd
        self._tokens: list[str | None] = [None]

    async def next(self) -> P | None:
        """One more page, or None after the last."""
        token = self._tokens[-1]
        if token is None and len(self._tokens) > 1:
            return None
        if token in self._tokens[:-1] or len(self._tokens) > PAGES_MAX:
            raise SourceError(ProblemKind.BAD_ANSWER, "AWS's pages do not come to an end")
        asked = {**self._asked, **({} if token is None else {"NextToken": token})}
        page = await self._account.call(self._service, self._operation, asked, self._model, cost_usd=self._cost_usd)
        self._tokens.append(page.next_token or None)
        return page


def _filters(config: CloudWatchConfig) -> Sequence[Sequence[Mapping[str, Any]]]:
    """Of each listing. Ids are filtered for, not named: one that is gone would fail the others."""
    ids = config.instance_ids
    if ids:
        return [
            [{"Name": "instance-id", "Values": list(ids[first : first + FILTER_VALUES_MAX])}]
            for first in range(0, len(ids), FILTER_VALUES_MAX)
        ]
    tags = [{"Name": f"tag:{name}", "Values": [_literal(value)]} for name, value in sorted(config.tags.items())]
    return [[{"Name": "instance-state-name", "Values": list(STATES)}, *tags]]


def _literal(value: str) -> str:
    r"""A filter's value where ``*``, ``?`` and ``\`` mean themselves."""
    return "".join(f"\\{character}" if character in "*?\\" else character for character in value)


def _seen(described: _Instance, region: str) -> SeenInstance:
    tags = {tag.key: tag.value for tag in described.tags}
    return ec2_instance(described.instance_id, region, name=tags.get("Name") or None, tags=tags)


def _no_instances(config: CloudWatchConfig) -> Problem:
    tags = " and ".join(f"{name}={value}" for name, value in sorted(config.tags.items()))
    carrying = f" that carries {tags}" if tags else ""
    message = (
        f"{config.region} has no running instance{carrying}; is it the right region"
        f"{', and are the tags spelled like this' if tags else ''}?"
    )
    return Problem(kind=ProblemKind.NO_DATA, message=message)
