"""A thousand rules over the series of a workload, as a company of 2,500 hosts would have them."""

from collections.abc import Iterator

from core.domain.definitions import Aggregation
from core.domain.rules import AlertRule, Condition
from tests.benchmarks.workload import NAMES, REGIONS, host_name

NEVER = 101.0  # samples are evenly spread from 0 to 100
NEVER_OF_WINDOW = {Aggregation.AVG: 90.0, Aggregation.P95: 99.9, Aggregation.SUM: 1e9}
"""Past what their windows make, and not past what single samples do."""
SELDOM = 99.9  # one sample in a thousand
NOISY = 10  # of the rules on 100 hosts fire now and then
HOSTS_PER_GROUP = 100
GROUPS = 25
SMALL_GROUPS = 284
SINGLE_HOSTS = 500
MIX = (
    "900 instant: 4 on all hosts, 12 on a region, 100 on host=~ 100 hosts (10 of them fire for 1 sample in 1,000), "
    "284 on host=~ 10 hosts, 500 on one host; 100 over 5m: avg, max, p95 of each of 2,500 series in 25 rules each, "
    "rate in 15 rules, 10 grouped by region (avg, max, p95, sum)"
)


def thousand_rules() -> list[AlertRule]:
    """Every one of 10,000 series is watched by at least three instant rules and nearly every one by a windowed rule."""
    return [*_instant_rules(), *_windowed_rules()]


def _instant_rules() -> Iterator[AlertRule]:
    for metric in NAMES:
        yield _rule(f"all {metric}", metric)
        for region in REGIONS:
            yield _rule(f"{metric} in {region}", metric, f"region={region}")
        for group in range(GROUPS):
            noisy = metric == NAMES[0] and group < NOISY
            yield _rule(f"{metric} of hundred {group}", metric, _hosts(group), warning=SELDOM if noisy else NEVER)
    for number in range(SMALL_GROUPS):
        metric = NAMES[number % len(NAMES)]
        yield _rule(
            f"{metric} of ten {number}", metric, f"host=~{host_name(number * 10)[:-1]}.", condition=Condition.BELOW
        )
    for number in range(SINGLE_HOSTS):
        metric = NAMES[number % len(NAMES)]
        yield _rule(f"{metric} of {host_name(number)}", metric, f"host={host_name(number)}")


def _windowed_rules() -> Iterator[AlertRule]:
    per_series = (Aggregation.AVG, 25), (Aggregation.MAX, 25), (Aggregation.P95, 25), (Aggregation.RATE, 15)
    for metric, (aggregation, rules) in zip(NAMES, per_series, strict=True):
        for group in range(rules):
            yield _rule(
                f"{aggregation.value} of hundred {group}",
                metric,
                _hosts(group),
                aggregation=aggregation,
                warning=NEVER_OF_WINDOW.get(aggregation, NEVER),
            )
    grouped = [(metric, aggregation) for metric in NAMES for aggregation in (Aggregation.AVG, Aggregation.MAX)]
    grouped += [(NAMES[0], Aggregation.P95), (NAMES[1], Aggregation.SUM)]
    for metric, aggregation in grouped:
        threshold = NEVER_OF_WINDOW.get(aggregation, NEVER)
        yield _rule(
            f"{aggregation.value} of {metric} by region",
            metric,
            aggregation=aggregation,
            warning=threshold,
            group_by=("region",),
        )


def _hosts(group: int) -> str:
    """The matcher of a hundred hosts."""
    return f"host=~{host_name(group * HOSTS_PER_GROUP)[:-2]}.."


def _rule(
    name: str,
    metric: str,
    *matchers: str,
    aggregation: Aggregation = Aggregation.LAST,
    condition: Condition = Condition.ABOVE,
    warning: float = NEVER,
    group_by: tuple[str, ...] | None = None,
) -> AlertRule:
    return AlertRule(
        name=name,
        metric=metric,
        matchers=matchers,
        aggregation=aggregation,
        window=None if aggregation is Aggregation.LAST else "5m",
        group_by=group_by,
        condition=condition,
        warning=-1.0 if condition is Condition.BELOW else warning,
    )
