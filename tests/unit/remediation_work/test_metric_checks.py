"""Conditions on current metrics, and whether what an alert was about is good again."""

from typing import Any

import msgspec
import pytest

from core.domain.definitions import Aggregation
from core.domain.remediation import MetricCheck, RemediationOrder, Verification
from core.domain.rules import AlertRule, Condition
from core.domain.times import MINUTE_US, SECOND_US
from ports.driving.remediation_work import Verdict
from tests.support.remediation import order
from tests.unit.remediation_work.world import World

A, B = {"host": "a"}, {"host": "b"}


async def held(world: World, *matchers: str, labels: dict[str, str] | None = None, **fields: Any) -> Verdict:
    """What one check on the metric `queue` finds for an alert with these labels."""
    check = MetricCheck(metric="queue", matchers=matchers, **{"condition": Condition.ABOVE, "value": 10.0, **fields})
    wanted = order()
    if labels is not None:
        wanted = msgspec.structs.replace(wanted, alert=msgspec.structs.replace(wanted.alert, labels=labels))
    return await world.work.check(wanted, (check,))


async def verified(world: World, rule: AlertRule, *, ago_s: float, labels: dict[str, str] | None = None) -> Verdict:
    """Whether the rule finds the target of an alert with these labels good, the last action having ended then."""
    wanted = order(rule=rule)
    alert = msgspec.structs.replace(wanted.alert, labels={"host": "a"} if labels is None else labels)
    wanted = msgspec.structs.replace(wanted, alert=alert)
    return await world.work.verify(wanted, world.clock.now_us() - round(ago_s * SECOND_US))


def rule(**fields: Any) -> AlertRule:
    """A rule on the metric `cpu`, wrong above 90."""
    return AlertRule(**{"name": "high cpu", "metric": "cpu", "warning": 90.0, **fields})


async def test_every_series_must_satisfy_a_check(world: World) -> None:
    """One that does not is enough, and is named with its value."""
    await world.sampled("queue", A, (20, 50.0), (10, 20.0))
    await world.sampled("queue", B, (10, 5.0))
    verdict = await held(world)
    assert (verdict.holds, verdict.facts) == (False, {"host=b": 5.0})
    assert verdict.reason == "last of queue over 5m is 5 for host=b; it should be > 10"
    assert (await held(world, "host=a")).holds


async def test_a_check_without_samples_does_not_hold(world: World) -> None:
    """Missing is not good: neither without a series nor with samples that are too old."""
    verdict = await held(world, condition=Condition.BELOW)
    assert (verdict.holds, verdict.reason) == (False, "there is no such series of queue")
    await world.sampled("queue", A, (301, 1.0))
    verdict = await held(world, condition=Condition.BELOW)
    assert not verdict.holds
    assert verdict.reason.startswith("there is no sample of queue newer than ")
    await world.sampled("queue", A, (299, 1.0))
    assert (await held(world, condition=Condition.BELOW)).holds


async def test_series_without_samples_do_not_count(world: World) -> None:
    """A host that is gone does not hold a remediation up."""
    await world.sampled("queue", A, (10, 50.0))
    await world.sampled("queue", B, (3_000, 5.0))
    assert (await held(world)).holds


@pytest.mark.parametrize(
    ("aggregation", "value"),
    [
        (Aggregation.LAST, 4.0),
        (Aggregation.FIRST, 1.0),
        (Aggregation.AVG, 2.75),
        (Aggregation.MIN, 1.0),
        (Aggregation.MAX, 4.0),
        (Aggregation.SUM, 11.0),
        (Aggregation.COUNT, 4.0),
        (Aggregation.P50, 3.0),
        (Aggregation.INCREASE, 4.0),
        (Aggregation.RATE, 0.1),
    ],
)
async def test_aggregations(world: World, aggregation: Aggregation, value: float) -> None:
    """Over the samples of the window; differences begin at the sample before it."""
    await world.sampled("queue", A, (50, 0.0), (35, 1.0), (20, 3.0), (10, 3.0), (5, 4.0))
    verdict = await held(world, aggregation=aggregation, window="40s")
    assert verdict.facts == {"host=a": pytest.approx(value)}


async def test_labels_of_the_alert_fill_a_matcher(world: World) -> None:
    """Its value is taken as it is, never as an operator, a pattern or a template."""
    evil = "a|.*{{ labels.x }}=~b"
    await world.sampled("queue", {"host": evil}, (10, 50.0))
    await world.sampled("queue", {"host": evil + "!"}, (10, 50.0))
    await world.sampled("queue", B, (10, 5.0))
    for matcher in ("host={{ labels.host }}", "host=~{{ labels.host }}.?"):
        assert (await held(world, matcher, labels={"host": evil})).holds
    assert not (await held(world, "host!={{ labels.host }}", labels={"host": evil})).holds
    assert not (await held(world, "host!~{{ labels.host }}.?", labels={"host": evil})).holds


@pytest.mark.parametrize(("matcher", "word"), [("host={{ labels.nothing }}", "nothing"), ("{{ value }}=a", "label")])
async def test_a_matcher_that_cannot_be_filled_in(world: World, matcher: str, word: str) -> None:
    """The check does not hold, and says why."""
    await world.sampled("queue", A, (10, 50.0))
    verdict = await held(world, matcher)
    assert not verdict.holds
    assert word in verdict.reason


async def test_a_check_that_costs_too_much(world: World) -> None:
    """It does not hold, and says why."""
    await world.sampled("queue", A, *((10 + n / 1_000, 50.0) for n in range(10_001)))
    await world.storage.keeping.settle(points_max=1_000_000)
    verdict = await held(world, aggregation=Aggregation.AVG)
    assert (verdict.holds, verdict.reason) == (False, "the query reads more than 10000 samples")


async def test_several_checks(world: World) -> None:
    """All must hold; those that do not are told."""
    await world.sampled("queue", A, (10, 50.0))
    good = MetricCheck(metric="queue", condition=Condition.ABOVE, value=10.0)
    bad = MetricCheck(metric="queue", condition=Condition.OUTSIDE, value=(40.0, 60.0))
    assert (await world.work.check(order(), (good, good))).holds
    verdict = await world.work.check(order(), (good, bad))
    assert (verdict.holds, verdict.reason) == (
        False,
        "last of queue over 5m is 50 for host=a; it should be outside [40, 60]",
    )


async def test_only_samples_since_the_action_prove_it(world: World) -> None:
    """A good one from before, and one at the very instant, do not; a later one does, and a later bad one refutes it."""
    await world.sampled("cpu", A, (30, 20.0), (20, 20.0))
    assert not (await verified(world, rule(), ago_s=20)).holds
    await world.sampled("cpu", A, (10, 95.0))
    assert (await verified(world, rule(), ago_s=20)).reason == "last of cpu is 95 for host=a; it should be not > 90"
    await world.sampled("cpu", A, (5, 20.0))
    assert (await verified(world, rule(), ago_s=20)).reason == "last of cpu is 20 for host=a, as it should be: not > 90"


@pytest.mark.parametrize(("clear", "holds"), [(None, True), (80.0, False)])
async def test_good_is_what_clears_the_alert(world: World, clear: float | None, holds: bool) -> None:
    """The threshold to clear where the rule has one, else the lowest."""
    await world.sampled("cpu", A, (5, 85.0))
    judged = rule(clear=clear, critical=99.0)
    assert (await verified(world, judged, ago_s=20)).holds is holds


async def test_only_the_alerts_own_series_counts(world: World) -> None:
    """Not another host, nor one with more labels; labels that the rule adds are no series'."""
    watched = rule(labels={"team": "web"})
    await world.sampled("cpu", B, (5, 20.0))
    await world.sampled("cpu", {"host": "a", "core": "0"}, (5, 20.0))
    assert not (await verified(world, watched, ago_s=20, labels={"host": "a", "team": "web"})).holds
    await world.sampled("cpu", A, (5, 20.0))
    assert (await verified(world, watched, ago_s=20, labels={"host": "a", "team": "web"})).holds


async def test_a_group_is_judged_as_one(world: World) -> None:
    """All of its series together, and no others."""
    watched = rule(aggregation=Aggregation.AVG, window="1m", group_by=("zone",))
    await world.sampled("cpu", {"zone": "1", "host": "a"}, (5, 100.0))
    await world.sampled("cpu", {"zone": "1", "host": "b"}, (5, 70.0))
    await world.sampled("cpu", {"zone": "2", "host": "c"}, (5, 1_000.0))
    await world.sampled("cpu", {"host": "d"}, (5, 95.0))
    verdict = await verified(world, watched, ago_s=20, labels={"zone": "1"})
    assert (verdict.holds, verdict.facts) == (True, {"2 series": 85.0})
    assert not (await verified(world, watched, ago_s=20, labels={})).holds, "the group of those without a zone"


async def test_a_window_begins_no_earlier_than_the_action(world: World) -> None:
    """What was bad before it does not speak against it."""
    watched = rule(aggregation=Aggregation.MAX, window="5m")
    await world.sampled("cpu", A, (100, 99.0), (10, 20.0))
    assert (await verified(world, watched, ago_s=60)).holds
    assert not (await verified(world, watched, ago_s=200)).holds


async def test_a_rate_is_over_the_time_since_the_action(world: World) -> None:
    """Over the whole window, an error rate that did not change would look smaller and smaller."""
    watched = rule(metric="errors", aggregation=Aggregation.RATE, window="10m")
    await world.sampled("errors", A, *((60.0 - n, 100.0 * n) for n in range(60)))
    verdict = await verified(world, watched, ago_s=20)
    assert not verdict.holds
    assert verdict.facts["host=a"] == pytest.approx(100.0, rel=0.1)


async def test_a_count_is_judged_over_its_whole_window(world: World) -> None:
    """A few seconds after the action hardly anything was counted, which proves nothing."""
    watched = rule(metric="errors", aggregation=Aggregation.COUNT, window="1m")
    await world.sampled("errors", A, (5, 1.0))
    verdict = await verified(world, watched, ago_s=59)
    assert (verdict.holds, verdict.reason) == (
        False,
        "count of errors over 1m is judged once 1m have passed since the last action",
    )
    assert (await verified(world, watched, ago_s=61)).holds


async def test_a_policys_own_verification(world: World) -> None:
    """It is asked instead of the rule, about samples since the action only."""
    check = MetricCheck(metric="queue", condition=Condition.BELOW, value=10.0)
    wanted: RemediationOrder = order(verification=Verification(check=check))
    await world.sampled("queue", A, (100, 5.0))
    since_us = world.clock.now_us() - MINUTE_US
    assert not (await world.work.verify(wanted, since_us)).holds
    await world.sampled("queue", A, (10, 5.0))
    assert (await world.work.verify(wanted, since_us)).holds
