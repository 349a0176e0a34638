"""Collecting: what is screened, how runs end, and what happens when a port fails."""

import math
from datetime import timedelta
from typing import Any

import msgspec
import numpy as np
import pytest

from adapters.driven.memory.database import MemoryDatabase
from adapters.driven.memory.storage import memory_storage
from adapters.driven.sources.opening import VendorSources
from adapters.runtime.clock import SystemClock
from core.detection.plan import RISK_METRIC
from core.domain.capacity import CapacitySnapshot, Resources
from core.domain.collection import CollectionRequest, CollectionState, Counts, Problem, ProblemKind
from core.domain.configurations import ConfigFilter, ConfigKind, ObservedConfiguration
from core.domain.definitions import MetricDefinition
from core.domain.errors import RateLimited, Unavailable
from core.domain.points import POINTS_PER_REQUEST_MAX, IngestReply
from core.domain.source_configs import SyntheticConfig
from core.domain.sources import SourceSpec
from core.domain.telemetry import STANDARD_METRICS
from core.domain.times import DAY_US, EPOCH, HOUR_US, MINUTE_US, SECOND_US
from core.services import collection_storing
from core.services.collection import ATTEMPTS_MAX
from core.services.collection_pass import LEASE_S
from core.services.collection_patience import AWAY_S_MAX, LIMITED_S_MAX
from ports.driven.metric_source import ListedWorkloads, SeenInstance, SeriesPoints, SourceError
from ports.driving.collecting import EXTEND_S
from ports.driving.ingestion import Ingestion, IngestRequest
from tests.support.collecting import SEALING, Collecting, Died
from tests.support.storages import LIMITS, new_tenancy
from tests.support.vendors.passing import loopback_surroundings

DENIED = SourceError(ProblemKind.PERMISSION, "needs cloudwatch:GetMetricData")
EMPTY = Problem(kind=ProblemKind.NO_DATA, message="no such host")


@pytest.fixture
async def collecting() -> Collecting:
    """Return a tenant's collecting over a store of its own."""
    return Collecting(await new_tenancy(memory_storage(MemoryDatabase(SystemClock()))))


class Ingesting:
    """The real ingest, as it is seen by who is told some errors first."""

    def __init__(self, ingestion: Ingestion, errors: list[Exception]) -> None:
        self._ingestion = ingestion
        self._errors = errors
        self.sizes: list[int] = []

    async def ingest(self, request: IngestRequest) -> IngestReply:
        if self._errors:
            raise self._errors.pop(0)
        self.sizes.append(len(request.points))
        return await self._ingestion.ingest(request)


def ingesting(collecting: Collecting, *errors: Exception) -> Ingesting:
    """Ingest that answers so before it works."""
    return Ingesting(collecting.ingestion(), list(errors))


def at(ts_us: int) -> Any:
    """The instant."""
    return EPOCH + timedelta(microseconds=ts_us)


def series(name: str, ts_us: list[int], values: list[float], **labels: str) -> SeriesPoints:
    """Points as a vendor gives them."""
    return SeriesPoints(name=name, labels=labels, ts_us=np.array(ts_us, np.int64), values=np.array(values, np.float64))


async def test_credentials_are_unsealed_and_trust_follows_from_the_tenant(collecting: Collecting) -> None:
    """A source is opened with what was sealed, and may use what is the server's own where its tenant may."""
    collecting.vendor.put("cpu", "cpu", collecting.minutes(1))
    await collecting.run(sealed=SEALING.seal({"api_key": "s3cret"}))
    collecting.trusted = (collecting.tenancy.tenant.name,)
    await collecting.run(CollectionRequest(cluster_id="prod", namespaces=("shop",)))
    first, second = collecting.vendor.opened
    assert (first.credentials, first.trusted, first.cluster_id) == ({"api_key": "s3cret"}, False, None)
    assert (second.credentials, second.trusted, second.cluster_id, second.namespaces) == (
        {},
        True,
        "prod",
        ("shop",),
    )


async def test_credentials_that_nobody_can_read_fail_the_run(collecting: Collecting) -> None:
    """It says which setting holds the keys; the vendor is not asked."""
    run = (await collecting.run(sealed=b"sealed elsewhere")).run
    assert run.state is CollectionState.FAILED
    assert run.problem is not None
    assert run.problem.kind is ProblemKind.CONFIGURATION
    assert "SEXTANT_COLLECTION_KEYS" in run.problem.message
    assert not collecting.vendor.opened


@pytest.mark.parametrize("where", ["unopened", "undiscovered"])
async def test_a_source_that_cannot_be_asked_fails_the_run(collecting: Collecting, where: str) -> None:
    """With the source's problem."""
    setattr(collecting.vendor, where, DENIED)
    run = (await collecting.run()).run
    assert (run.state, run.problem) == (CollectionState.FAILED, DENIED.problem)
    assert not collecting.vendor.is_open


async def test_a_source_that_breaks_off_keeps_what_it_gave(collecting: Collecting) -> None:
    """The run is partial; what was finished by then is not asked for again, the rest is."""
    for item in ("cpu", "memory"):
        collecting.vendor.put(item, item, collecting.minutes(300))

    async def break_off(item: str) -> None:
        if item != collecting.vendor.asked[0][0]:
            raise DENIED

    collecting.vendor.before = break_off
    run = (await collecting.run()).run
    assert (run.state, run.problem) == (CollectionState.PARTIAL, DENIED.problem)
    assert (run.progress.items, run.progress.done) == (2, 1)
    first, second = (item for item, _ in collecting.vendor.asked)
    assert await collecting.stored() == collecting.wanted(first)
    collecting.vendor.before = None
    collecting.vendor.asked.clear()
    await collecting.run()
    starts = {item: collecting.now_us - asked.start_us for item, asked in collecting.vendor.asked}
    assert starts == {first: 30 * MINUTE_US, second: 6 * HOUR_US}


async def test_nothing_at_all_is_a_failure(collecting: Collecting) -> None:
    """Where every item failed and gave nothing."""
    collecting.vendor.problems["cpu"] = DENIED.problem
    collecting.vendor.silent.add("memory")
    detail = await collecting.run()
    assert detail.run.state is CollectionState.FAILED
    assert detail.run.problem is not None
    assert detail.run.problem.kind is ProblemKind.PERMISSION
    assert {item.problem.kind for item in detail.items if item.problem} == {
        ProblemKind.PERMISSION,
        ProblemKind.BAD_ANSWER,
    }


async def test_having_no_data_is_no_failure(collecting: Collecting) -> None:
    """The run says why, and checkpoints move; so does one of a source that has no items."""
    run = (await collecting.run()).run
    assert (run.state, run.problem) == (
        CollectionState.DONE,
        Problem(kind=ProblemKind.NO_DATA, message="the source has nothing to fetch"),
    )
    collecting.vendor.problems["cpu"] = EMPTY
    run = (await collecting.run()).run
    assert (run.state, run.problem, run.progress.failed) == (CollectionState.DONE, EMPTY, 0)
    collecting.vendor.asked.clear()
    await collecting.run()
    assert [asked.start_us for _, asked in collecting.vendor.asked] == [collecting.now_us - 30 * MINUTE_US]


async def test_what_could_not_be_looked_at_is_named(collecting: Collecting) -> None:
    """And makes the run partial."""
    collecting.vendor.put("cpu", "cpu", collecting.minutes(1))
    collecting.vendor.found["problems"] = [("nodes\x00", DENIED.problem)]
    detail = await collecting.run()
    assert detail.run.state is CollectionState.PARTIAL
    assert (detail.run.progress.items, detail.run.progress.failed) == (2, 1)
    assert [(item.item, item.problem) for item in detail.items if item.failed] == [("nodes\\x00", DENIED.problem)]


async def test_a_defect_ends_the_run_and_is_told(collecting: Collecting) -> None:
    """By the exception's type only: its words may hold a credential."""
    collecting.vendor.undiscovered = ZeroDivisionError("s3cret")
    run_id = await collecting.ask()
    with pytest.raises(ZeroDivisionError):
        await collecting.round()
    run = (await collecting.storage.collection_runs.get(collecting.tenancy.id, run_id)).run
    assert run.state is CollectionState.FAILED
    assert run.problem is not None
    assert "ZeroDivisionError" in run.problem.message
    assert "s3cret" not in run.problem.message
    assert [state for _, state, *_ in collecting.ledger.runs] == ["failed"]


async def test_a_run_that_kills_its_servers_is_given_up(collecting: Collecting) -> None:
    """After so many attempts."""
    collecting.vendor.put("cpu", "cpu", {})

    async def die(item: str) -> None:
        raise Died

    collecting.vendor.before = die
    run_id = await collecting.ask()
    for _ in range(ATTEMPTS_MAX):
        with pytest.raises(Died):
            await collecting.round()
        collecting.pass_time(LEASE_S)
    run = (await collecting.end(run_id)).run
    assert (run.state, run.attempts) == (CollectionState.FAILED, ATTEMPTS_MAX + 1)


async def test_points_at_fault_cost_the_others_nothing(collecting: Collecting) -> None:
    """What is refused is counted and named; absent stays absent; what was not asked for is passed over."""
    now_us, vendor = collecting.now_us, collecting.vendor
    before_us = now_us - MINUTE_US
    vendor.extra["mixed"] = [
        series("ok", [before_us, before_us, now_us], [1.0, 2.0, 3.0]),
        series("ok", [before_us - 1], [5e-324], host="größe"),
        series("not_numbers", [before_us, before_us + 1, before_us + 2], [math.nan, math.inf, 7.0]),
        series("too_large", [before_us, before_us + 1], [1e301, 8.0]),
        series("no_times", [-(2**63), 2**63 - 1, before_us], [1.0, 1.0, 9.0]),
        series("ahead", [now_us + 90 * SECOND_US, now_us + 30 * SECOND_US, now_us + DAY_US], [1.0, 10.0, 1.0]),
        series("long_ago", [now_us - 20 * DAY_US, now_us - 7 * HOUR_US], [1.0, 11.0]),
        series("no name", [before_us], [1.0]),
        series("labels", [before_us], [1.0], host="\x00"),
        series("labels", [before_us], [1.0], **{"bad label": "x"}),
        series("labels", [before_us], [1.0], host="\ud800"),
        series(RISK_METRIC, [before_us], [1.0]),
    ]
    detail = await collecting.run()
    assert detail.run.state is CollectionState.PARTIAL
    assert await collecting.stored() == {
        ("ok", ()): {before_us: 2.0, now_us: 3.0},
        ("ok", (("host", "größe"),)): {before_us - 1: 5e-324},
        ("not_numbers", ()): {before_us + 2: 7.0},
        ("too_large", ()): {before_us + 1: 8.0},
        ("no_times", ()): {before_us: 9.0},
        ("ahead", ()): {now_us + 30 * SECOND_US: 10.0},
        ("long_ago", ()): {now_us - 7 * HOUR_US: 11.0},
    }
    counts = detail.run.progress.counts
    assert counts == Counts(fetched=22, stored=8, refused=12, created=7)
    [item] = detail.items
    assert item.problem is not None
    assert item.problem.kind is ProblemKind.REFUSED
    assert "10 samples refused" in item.problem.message


async def test_each_refusal_is_the_items_whose_point_it_was(collecting: Collecting) -> None:
    """Of more refusals than ingest names, too: it names twenty."""
    now_us = collecting.now_us
    ahead = [now_us + HOUR_US + n for n in range(30)]
    past = [now_us - n for n in range(1, 41)]
    for item, times_us in (("fast", ahead), ("good", past), ("mixed", ahead[:3] + past[:5])):
        collecting.vendor.extra[item] = [series("cpu", times_us, [1.0] * len(times_us), item=item)]
    detail = await collecting.run()
    assert {item.item: (item.counts.stored, item.counts.refused) for item in detail.items} == {
        "all of fast": (0, 30),
        "all of good": (40, 0),
        "all of mixed": (5, 3),
    }


async def test_values_that_are_no_numbers_are_no_failure(collecting: Collecting) -> None:
    """Vendors write absent values so: they are counted."""
    collecting.vendor.extra["cpu"] = [series("cpu", [collecting.now_us - 1], [math.nan])]
    detail = await collecting.run()
    assert (detail.run.state, detail.run.progress.counts.refused) == (CollectionState.DONE, 1)


async def test_what_retention_does_not_keep_is_passed_over(collecting: Collecting) -> None:
    """It would be refused, each time anew."""
    await collecting.storage.definitions.create(
        collecting.tenancy.id, msgspec.convert({"name": "cpu", "retention_days": 1}, MetricDefinition)
    )
    now = at(collecting.now_us)
    collecting.vendor.put("cpu", "cpu", {collecting.now_us - 3 * DAY_US: 1.0, collecting.now_us - HOUR_US: 2.0})
    run = (await collecting.run(CollectionRequest(start_time=now - timedelta(days=4)))).run
    assert run.state is CollectionState.DONE
    assert run.progress.counts == Counts(fetched=2, stored=1, created=1)


async def test_a_request_beyond_all_retention_is_refused(collecting: Collecting) -> None:
    """It says from where on samples are kept; the vendor is not asked."""
    now = at(collecting.now_us)
    run = (
        await collecting.run(CollectionRequest(start_time=now - timedelta(days=60), end_time=now - timedelta(days=50)))
    ).run
    assert run.state is CollectionState.FAILED
    assert run.problem is not None
    assert run.problem.kind is ProblemKind.CONFIGURATION
    assert not collecting.vendor.opened


async def test_a_part_of_a_source_has_checkpoints_of_its_own(collecting: Collecting) -> None:
    """What a request leaves out is not taken for stored."""
    collecting.vendor.put("cpu", "cpu", collecting.minutes(300))
    part = CollectionRequest(cluster_id="prod", namespaces=("shop",))
    for request in (part, CollectionRequest(), part):
        await collecting.run(request)
    starts = [collecting.now_us - asked.start_us for _, asked in collecting.vendor.asked]
    assert starts == [6 * HOUR_US, 6 * HOUR_US, 30 * MINUTE_US]


async def test_what_is_looked_at_follows_the_last_run(collecting: Collecting) -> None:
    """Not the item that is furthest behind, nor a part that was asked for; what is gone for long is forgotten."""
    collecting.vendor.put("gone", "gone", collecting.minutes(300))
    await collecting.run()
    collecting.pass_time(36 * 24 * 3_600)
    del collecting.vendor.data["gone"]
    collecting.vendor.put("cpu", "cpu", collecting.minutes(300))
    await collecting.run()
    assert (await checkpoints_of(collecting)) == {"cpu"}
    collecting.pass_time(600)
    await collecting.run(CollectionRequest(cluster_id="prod"))
    collecting.pass_time(600)
    await collecting.run()
    ago = [collecting.now_us - looked_at.start_us for looked_at in collecting.vendor.discovered]
    assert ago[-3] > 29 * DAY_US
    assert ago[-2:] == [(6 * 60 + 10) * MINUTE_US, 50 * MINUTE_US]


async def checkpoints_of(collecting: Collecting) -> set[str]:
    """The items that have a checkpoint."""
    await collecting.ask()
    claim = await collecting.storage.collection_work.claim(now=at(collecting.now_us), lease_s=1.0, running_max=9)
    assert claim is not None
    found = await collecting.storage.collection_work.checkpoints(claim)
    await collecting.storage.collection_work.finish(claim, CollectionState.DONE, None, now=at(collecting.now_us))
    return {checkpoint.item for checkpoint in found}


async def test_a_request_for_the_present_alone_moves_no_checkpoint(collecting: Collecting) -> None:
    """The gap before it is filled by the next run."""
    collecting.vendor.put("cpu", "cpu", collecting.minutes(300))
    recent = CollectionRequest(start_time=at(collecting.now_us - HOUR_US))
    await collecting.run(recent)
    await collecting.run()
    assert [collecting.now_us - asked.start_us for _, asked in collecting.vendor.asked] == [HOUR_US, 6 * HOUR_US]
    assert await collecting.stored() == collecting.wanted()


async def test_the_store_may_falter(collecting: Collecting) -> None:
    """The run waits as long as it is told, and goes on."""
    collecting.vendor.put("cpu", "cpu", collecting.minutes(300))
    ingest = ingesting(
        collecting, RateLimited("slowly", retry_after_s=2.0), Unavailable("failing over", retry_after_s=1.0)
    )
    run = (await collecting.run(service=collecting.service(ingestion=ingest))).run
    assert (run.state, run.progress.counts.stored) == (CollectionState.DONE, 300)
    assert collecting.pause.waits_s == [2.0, 1.0]


async def test_in_the_end_the_tenants_limit_leaves_the_rest_to_the_next_run(collecting: Collecting) -> None:
    """After it let nothing through for long."""
    collecting.vendor.put("cpu", "cpu", collecting.minutes(300))
    ingest = ingesting(collecting, *[RateLimited("slowly", retry_after_s=900.0)] * 1_000)
    run = (await collecting.run(service=collecting.service(ingestion=ingest))).run
    assert run.state is CollectionState.FAILED
    assert run.problem is not None
    assert run.problem.kind is ProblemKind.RATE_LIMITED
    assert sum(collecting.pause.waits_s) == pytest.approx(LIMITED_S_MAX)
    assert (await collecting.run()).run.progress.counts.stored == 300


async def test_a_limit_that_is_met_while_a_source_breaks_off_ends_the_run(collecting: Collecting) -> None:
    """What came before is stored then, or not, and neither ends the collector."""
    collecting.vendor.put("cpu", "cpu", collecting.minutes(300))
    collecting.vendor.put("cpu", "cpu", collecting.minutes(300), host="b")
    moments = iter([None, DENIED])

    async def break_off(_: str) -> None:
        if failure := next(moments):
            raise failure

    collecting.vendor.before = break_off
    ingest = ingesting(collecting, *[RateLimited("slowly", retry_after_s=900.0)] * 1_000)
    run = (await collecting.run(service=collecting.service(ingestion=ingest))).run
    assert run.state is CollectionState.FAILED
    assert run.problem is not None
    assert run.problem.kind is ProblemKind.RATE_LIMITED


async def test_runs_under_way_stay_claimed(collecting: Collecting) -> None:
    """However slow their vendor is, as long as their leases are extended; nobody else takes them up."""
    collecting.vendor.put("cpu", "cpu", collecting.minutes(300))
    service = collecting.service()

    async def slow(item: str) -> None:
        for _ in range(10):
            collecting.pass_time(EXTEND_S)
            await service.extend()
        assert (await collecting.round()).tenant is None

    collecting.vendor.before = slow
    run = (await collecting.run(service=service)).run
    assert (run.state, run.attempts) == (CollectionState.DONE, 1)
    await service.extend()


async def test_a_store_that_is_away_is_told(collecting: Collecting) -> None:
    """After waiting for it; the run stays claimed until its lease has ended, and is then done."""
    collecting.vendor.put("cpu", "cpu", collecting.minutes(300))
    ingest = ingesting(collecting, *[Unavailable("gone")] * 1_000)
    run_id = await collecting.ask()
    done = await collecting.round(collecting.service(ingestion=ingest))
    assert (done.tenant, done.run, done.away) == (collecting.tenancy.tenant.name, None, "gone")
    assert sum(collecting.pause.waits_s) == pytest.approx(AWAY_S_MAX)
    collecting.pass_time(LEASE_S)
    assert (await collecting.end(run_id)).run.progress.counts.stored == 300


async def test_large_answers_are_stored_in_requests_of_bounded_size(collecting: Collecting) -> None:
    """And compared in ranges that the store can read: where one holds too much it is read in halves."""
    start_us = collecting.now_us - 5 * HOUR_US
    for host in ("a", "b"):
        collecting.vendor.put("cpu", "cpu", {start_us + n * SECOND_US: float(n) for n in range(12_000)}, host=host)
    ingest = ingesting(collecting)
    await collecting.run(service=collecting.service(ingestion=ingest))
    assert sum(ingest.sizes) == 24_000
    assert max(ingest.sizes) == POINTS_PER_REQUEST_MAX
    few = msgspec.structs.replace(collection_storing.READ_LIMITS, query_points_max=700)
    collecting.vendor.put("cpu", "cpu", {start_us: -1.0}, host="b")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(collection_storing, "READ_LIMITS", few)
        counts = (await collecting.run(CollectionRequest(start_time=at(start_us)))).run.progress.counts
    assert counts == Counts(fetched=24_000, revised=1, unchanged=23_999)


def observed(image: str, *, days_ago: int, now_us: int) -> ObservedConfiguration:
    """An image of the shop's."""
    return ObservedConfiguration(
        cluster_id="prod",
        namespace="shop",
        workload="cart",
        kind=ConfigKind.IMAGE,
        document={"image": image},
        changed_at=at(now_us - days_ago * DAY_US),
    )


async def test_what_a_source_tells_again_of_the_past_is_no_change(collecting: Collecting) -> None:
    """Its history is recorded once; then only how it is now matters."""
    now_us = collecting.now_us
    history = [observed(image, days_ago=days, now_us=now_us) for image, days in (("v1", 3), ("v2", 1))]
    collecting.vendor.found["configurations"] = history
    changes = [(await collecting.run()).run.progress.changes_recorded for _ in range(2)]
    collecting.vendor.found["configurations"] = [*history, observed("v3", days_ago=0, now_us=now_us)]
    changes += [(await collecting.run()).run.progress.changes_recorded for _ in range(2)]
    assert changes == [1, 0, 1, 0]
    recorded = await collecting.storage.configurations.list(
        collecting.tenancy.id, ConfigFilter(), limit=10, before=None
    )
    assert [change.after for change in recorded] == [{"image": "v3"}, {"image": "v2"}, {"image": "v1"}]


async def test_what_a_cluster_has_no_more_is_recorded_as_removed(collecting: Collecting) -> None:
    """Once, where all workloads were listed; it may come back."""
    sound = observed("v1", days_ago=0, now_us=collecting.now_us)
    listed = ListedWorkloads(cluster_id="prod", namespaces=["shop"], names=frozenset({("shop", "cart")}))
    nothing = msgspec.structs.replace(listed, names=frozenset())
    elsewhere = msgspec.structs.replace(nothing, namespaces=["bar"])
    recorded = []
    for configurations, workloads in (
        ([sound], listed),
        ([], None),
        ([], elsewhere),
        ([], nothing),
        ([], nothing),
        ([sound], listed),
    ):
        collecting.vendor.found |= {"configurations": configurations, "workloads": workloads}
        recorded.append((await collecting.run()).run.progress.changes_recorded)
    assert recorded == [0, 0, 0, 1, 0, 1]


async def test_what_cannot_be_kept_of_a_cluster_is_named(collecting: Collecting) -> None:
    """Amounts that are none, documents that no store takes, names that are none; the others are stored."""
    good = CapacitySnapshot(
        cluster_id="prod",
        ts=at(collecting.now_us),
        nodes=(),
        allocatable=Resources(cpu_cores=4.0, memory_bytes=1e9, pods=10.0),
        used=Resources(cpu_cores=1.0, memory_bytes=1e8, pods=5.0),
    )
    bad = msgspec.structs.replace(good, used=Resources(cpu_cores=math.nan, memory_bytes=1.0, pods=1.0))
    sound = observed("v1", days_ago=0, now_us=collecting.now_us)
    collecting.vendor.found |= {
        "snapshots": [good, bad],
        "configurations": [sound, msgspec.structs.replace(sound, workload="other", document={"x": "\x00"})],
        "instances": [SeenInstance(external_id="", kind="host"), SeenInstance(external_id="a", kind="\ud800")],
    }
    detail = await collecting.run()
    progress = detail.run.progress
    assert (progress.snapshots_stored, progress.instances_created) == (1, 1)
    assert {item.item for item in detail.items if item.failed} == {"capacity", "configurations"}
    assert detail.run.state is CollectionState.PARTIAL


async def test_what_was_spent_is_told(collecting: Collecting) -> None:
    """Calls and cost as the source counts them, over all attempts."""
    for item in ("cpu", "memory"):
        collecting.vendor.put(item, item, collecting.minutes(1))
    run = (await collecting.run()).run
    assert (run.progress.calls, run.progress.cost_usd) == (3, 0.375)


async def test_items_of_the_same_title_are_told_apart(collecting: Collecting) -> None:
    """By their keys."""
    for number, item in enumerate(("a\x00", "b", "c")):
        collecting.vendor.put(item, "cpu", collecting.minutes(number + 1), number=str(number))
    collecting.vendor.titles = {"a\x00": "cpu", "b": "cpu"}
    detail = await collecting.run()
    stored = {item.item: item.counts.stored for item in detail.items}
    assert stored == {"cpu (a\\x00)": 1, "cpu (b)": 2, "all of c": 3}


async def test_a_demonstration(collecting: Collecting) -> None:
    """The synthetic source as it is shipped: all of it is stored, and the second time none of it."""
    service = collecting.service(opener=VendorSources(loopback_surroundings(collecting.clock, collecting.pause)))
    spec = SourceSpec(name="synthetic", config=SyntheticConfig(step="1h"))
    now = at(collecting.now_us)
    window = CollectionRequest(start_time=now - timedelta(hours=48), end_time=now)
    first, again = [(await collecting.run(window, service, spec=spec)).run for _ in range(2)]
    series = 3 * 6 + len(STANDARD_METRICS) * 14
    assert (first.state, first.problem, first.progress.failed) == (CollectionState.DONE, None, 0)
    assert first.progress.counts == Counts(fetched=48 * series, stored=48 * series, created=series)
    assert (first.progress.instances_created, first.progress.snapshots_stored) == (6, 48)
    assert first.progress.changes_recorded == 1
    assert again.progress.counts == Counts(fetched=48 * series, unchanged=48 * series)
    assert (again.progress.instances_created, again.progress.snapshots_stored) == (0, 0)
    assert again.progress.changes_recorded == 0


async def test_the_limit_of_series_is_the_tenants(collecting: Collecting) -> None:
    """Known series are stored whatever it is."""
    collecting.vendor.put("cpu", "cpu", collecting.minutes(10))
    await collecting.run()
    collecting.limits = msgspec.structs.replace(LIMITS, series_max=0)
    collecting.pass_time(60)
    collecting.vendor.put("cpu", "cpu", collecting.minutes(1, 5.0))
    assert (await collecting.run()).run.progress.counts.stored == 1
