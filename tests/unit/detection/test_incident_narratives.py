"""What incidents of different kinds are said to be: whole narratives, as people read them."""

import csv
import gzip
import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from core.detection.correlation import correlate
from core.detection.incident_analysis import analyse, samples_range
from core.detection.metric_meaning import ObservedSeries
from core.domain.anomalies import Anomaly, Detector
from core.domain.dependencies import Dependency
from core.domain.incidents import (
    CorrelationSettings,
    GraphEdge,
    IncidentAnalysis,
    ReferenceKind,
    Signal,
    SignalEdge,
)
from core.domain.times import HOUR_US, MINUTE_US, SECOND_US, parse_time
from tests.support.incident_things import T0_US, Signals, condition, instant, measured

REAL = Path(__file__).parents[2] / "data" / "nezha_fault"
NOW = instant(T0_US + HOUR_US)


def said(
    signals: Sequence[Signal],
    series: Sequence[ObservedSeries] = (),
    *,
    calls: Sequence[tuple[str, str]] = (),
    conditions: Sequence[Anomaly] = (),
) -> IncidentAnalysis:
    """The analysis of one incident, joined as the correlator would."""
    dependencies = [Dependency(*call) for call in calls]
    settings = CorrelationSettings(signals_min=1)
    edges: tuple[SignalEdge, ...] = ()
    for opened in correlate(signals, [], dependencies, [], settings, T0_US + HOUR_US).opened:
        edges += opened.edges
    return analyse(signals, edges, series, dependencies, conditions, NOW)


def lines(analysis: IncidentAnalysis) -> list[str]:
    """The narrative, a sentence a line."""
    return [sentence.text for sentence in analysis.narrative]


def test_a_host_under_stress() -> None:
    """Errors while the processor peaks and memory leaks: its level is the sample before, and all is referred to."""
    make = Signals()
    errors, spike = make.burst(13, 0, "host-stressed"), make.spike(20, "host-stressed")
    leak = condition("host-stressed", "memory")
    memory = measured("memory", 87.61, host="host-stressed")
    analysis = said([*errors, spike], [memory, measured("disk", 40, host="host-stressed")], conditions=[leak])
    assert analysis.title == "host-stressed: 13 errors, CPU spike"
    assert lines(analysis) == [
        "At 2025-12-13 04:10 UTC, host-stressed experienced: 13 error events; CPU spike to 94.98%; "
        "memory at 87.61% (leak progression).",
        "Hypothesis: error burst caused by resource exhaustion.",
        "Against it: disk of host-stressed did not move.",
    ]
    told = analysis.narrative[0].references
    assert [one.id for one in told if one.kind is ReferenceKind.EVENT] == [one.key[6:] for one in (*errors, spike)]
    assert [one.id for one in told if one.kind is ReferenceKind.ANOMALY] == [str(spike.anomaly_id), str(leak.id)]
    (level,) = [one for one in told if one.kind is ReferenceKind.SAMPLES]
    assert (level.metric, level.labels, level.start) == ("memory", {"host": "host-stressed"}, instant(T0_US))


def test_without_samples_the_condition_says_how_far_it_came() -> None:
    """The end of the line that the trend detector found."""
    signals = Signals().burst(3, 0, "a")
    analysis = said(signals, conditions=[condition("a", "memory", observed=86.25)])
    assert lines(analysis)[0].endswith("experienced: 3 error events; memory at 86.25% (leak progression).")


def test_states_that_detection_found() -> None:
    """Variance and trend are no moments; what is found of them makes an incident without errors."""
    make = Signals()
    signals = [
        make.spike(0, "a", 3.1, text="a:cpu variance escalated 4.30x (risk 1.00)"),
        make.spike(0, "a", 71.5, text="a:disk rose 61% (risk 1.00)", metric="disk"),
        make.spike(0, "a", 87.61, text="a:memory rose 132% (risk 1.00)", metric="memory"),
    ]
    cpu = condition("a", "cpu", detector=Detector.VARIANCE, phrase="variance escalated 4.30x")
    analysis = said(signals, conditions=[cpu])
    assert analysis.title == "a: unsteady CPU, memory leak, disk rise"
    assert lines(analysis) == [
        "At 2025-12-13 04:10 UTC, a experienced: CPU varying 4.30 times as much as before; "
        "memory at 87.61% (leak progression); disk at 71.5% (filling up).",
        "Hypothesis: a is running short of CPU, disk and memory; no errors so far.",
    ]


def test_a_change_shortly_before() -> None:
    """It is blamed for all that follows, however many errors; services of the graph are named, not their hosts."""
    make = Signals()
    signals = [
        make.change(-180, service="checkout", text="checkout 1.4.2 released."),
        *make.burst(400, 0, "h1", service="checkout", every_s=0.1),
        *make.burst(5, 30, "h2", service="web"),
    ]
    analysis = said(signals, calls=[("web", "checkout")])
    assert analysis.title == "checkout and web: 405 errors, 1 change"
    assert lines(analysis) == [
        "At 2025-12-13 04:10 UTC, checkout experienced: 400 error events.",
        "30 seconds later, web experienced: 5 error events.",
        "checkout was changed 3 minutes before the trouble began: “checkout 1.4.2 released”.",
        "Hypothesis: error burst caused by the change “checkout 1.4.2 released” of checkout.",
    ]
    assert [one.entity for one in analysis.hypotheses] == ["checkout"]


def test_a_change_after_the_trouble_began_is_not_blamed() -> None:
    """It is told, as what was done about it may be."""
    make = Signals()
    analysis = said([*make.burst(3, 0, "a"), make.change(120, "a", "restarted")])
    assert lines(analysis) == [
        "At 2025-12-13 04:10 UTC, a experienced: 3 error events.",
        "a was changed 2 minutes after the trouble began: “restarted”.",
        "Nothing that was measured shows a cause.",
    ]


def test_a_dependency_that_moved_first() -> None:
    """The deepest callee is the cause although its callers complain the loudest."""
    make = Signals()
    signals = [
        make.alert(0, "db-1", "slow queries", service="db", metric="query_seconds"),
        *make.burst(400, 30, "h1", service="checkout", every_s=0.1),
        *make.burst(50, 50, "h2", service="web"),
    ]
    analysis = said(signals, calls=[("web", "checkout"), ("checkout", "db")])
    assert lines(analysis)[3] == "Hypothesis: error burst caused by trouble of db, which checkout calls."
    assert analysis.edges == (
        GraphEdge(
            cause="checkout",
            effect="web",
            score=0.9,
            reasons=("web calls checkout", "checkout moved 20 seconds earlier"),
        ),
        GraphEdge(
            cause="db", effect="checkout", score=0.9, reasons=("checkout calls db", "db moved 30 seconds earlier")
        ),
    )
    assert [(node.entity, node.signals, node.first_at) for node in analysis.nodes] == [
        ("db", 1, instant(T0_US)),
        ("checkout", 400, instant(T0_US + 30 * SECOND_US)),
        ("web", 50, instant(T0_US + 50 * SECOND_US)),
    ]
    assert [sentence.text for sentence in analysis.hypotheses[0].evidence] == [
        "db moved first, 30 seconds before any other.",
        "Trouble of checkout and web may follow from it: checkout calls db.",
    ]


def test_a_quiet_service_connects_those_with_trouble() -> None:
    """It is a node that did not move."""
    make = Signals()
    signals = [make.error(0, service="db"), *make.burst(3, 20, service="web")]
    analysis = said(signals, calls=[("web", "cart"), ("cart", "db")])
    assert [(one.cause, one.effect) for one in analysis.edges] == [("cart", "web"), ("db", "cart")]
    assert [one.first_at for one in analysis.nodes if one.entity == "cart"] == [None]
    assert analysis.hypotheses[0].entity == "db"


def test_a_callee_that_moved_later_is_believed_less() -> None:
    """Its caller is suspected before it, though what is measured of it may have come late."""
    make = Signals()
    signals = [*make.burst(3, 0, service="web"), *make.burst(3, 60, service="db")]
    analysis = said(signals, calls=[("web", "db")])
    (edge,) = analysis.edges
    assert (edge.cause, edge.effect, edge.score) == ("db", "web", 0.4)
    assert edge.reasons == ("web calls db", "but db moved 1 minute later")
    assert analysis.hypotheses[0].entity == "web"


def test_a_host_that_runs_short_and_its_service() -> None:
    """The host is the cause of what its service throws; what was measured of it and did not move is named."""
    make = Signals()
    signals = [
        make.spike(0, "host-b", 99.0),
        *make.burst(4, 10, "host-b", service="pay"),
        make.error(20, service="web"),
    ]
    analysis = said(signals, [measured("memory", 40, host="host-b")], calls=[("web", "pay")])
    assert lines(analysis) == [
        "At 2025-12-13 04:10 UTC, host-b experienced: CPU spike to 99%.",
        "10 seconds later, pay experienced: 4 error events.",
        "20 seconds later, web experienced: 1 error event.",
        "Hypothesis: error burst caused by resource exhaustion of host-b.",
        "Against it: memory of host-b did not move.",
    ]


@pytest.mark.parametrize("labels", [{}, {"service": "shop"}], ids=["host", "host and service"])
@pytest.mark.parametrize("service", [None, "shop"])
def test_what_only_the_samples_of_a_host_show(labels: dict[str, str], service: str | None) -> None:
    """No signal tells of the processor; its samples do, whether they name a service or not."""
    cpu = measured("cpu", 20, 95, host="a", **labels)
    analysis = said(Signals().burst(3, 0, "a", service=service), [cpu, measured("memory", 40, host="a", **labels)])
    assert lines(analysis)[1:] == [
        "Hypothesis: error burst caused by resource exhaustion.",
        "Against it: memory of a did not move.",
    ]
    (evidence,) = analysis.hypotheses[0].evidence
    assert evidence.text == "CPU of a went from 20% to 95%."
    assert [(one.metric, one.labels) for one in evidence.references] == [("cpu", {"host": "a", **labels})]


def test_the_samples_of_a_host_are_those_of_its_only_service() -> None:
    """Where signals name the service, and the graph knows it, the processor's samples need not."""
    make = Signals()
    signals = [*make.burst(3, 0, "a", service="pay"), make.error(10, "b", service="web")]
    analysis = said(signals, [measured("cpu", 20, 95, host="a")], calls=[("web", "pay")])
    assert lines(analysis)[2:] == ["Hypothesis: error burst caused by resource exhaustion of pay."]


def test_alerts_alone() -> None:
    """Two hosts of one cluster; no errors, no graph."""
    make = Signals()
    where = {"cluster": "eu-3", "namespace": "shop"}
    signals = [
        make.alert(0, "a", "disk almost full", metric="disk_used_percent", labels=where),
        make.alert(10, "b", "disk almost full", metric="disk_used_percent", labels=where),
        make.alert(20, "b", "latency is high", metric="latency_seconds", labels=where),
    ]
    analysis = said(signals)
    assert analysis.title == "b and a: 3 alerts"
    assert lines(analysis) == [
        "At 2025-12-13 04:10 UTC, a experienced: alert “disk almost full”.",
        "10 seconds later, b experienced: 2 alerts (“disk almost full” and “latency is high”).",
        "Hypothesis: a is running short of disk; no errors so far.",
    ]
    assert analysis.hypotheses[1].counter_evidence == ("a moved 10 seconds earlier",)


def test_one_signal() -> None:
    """What it is, and that no more can be said."""
    analysis = said([Signals().alert(0, "a", "checkout is slow", metric="latency_seconds", severe=True)])
    assert analysis.title == "a: 1 alert"
    assert lines(analysis) == [
        "At 2025-12-13 04:10 UTC, a experienced: alert “checkout is slow”.",
        "One signal alone does not show a cause.",
    ]
    assert analysis.hypotheses == ()
    assert [(one.entity, one.signals) for one in analysis.nodes] == [("a", 1)]


def test_changes_alone() -> None:
    """They are told, and no trouble is made up."""
    make = Signals()
    analysis = said([make.change(0, "a", "limits raised"), make.change(60, "a", "restarted")])
    assert analysis.title == "a: 2 changes"
    assert lines(analysis) == [
        "At 2025-12-13 04:10 UTC, a was changed: “limits raised”.",
        "At 2025-12-13 04:11 UTC, a was changed: “restarted”.",
    ]


def test_a_long_storm() -> None:
    """Many hosts are told of together, and the numbers are of all."""
    make = Signals()
    signals = [
        error for host in range(50) for error in make.burst(100, host, f"host-{host:02}", every_s=8, service="web")
    ]
    analysis = said(signals)
    assert analysis.title == "host-00 and 49 more: 5,000 errors"
    assert lines(analysis) == [
        "From 2025-12-13 04:10 to 04:24 UTC, 50 hosts and services experienced: 5,000 error events.",
        "They are host-00, host-01, host-02 and 47 more, in the order in which they moved.",
        "Nothing that was measured shows a cause.",
    ]
    assert all(len(sentence.references) == 50 for sentence in analysis.narrative)


def test_a_graph_that_can_be_read() -> None:
    """A hundred nodes of more, the suspect among them, and no edge to one that is not shown."""
    make = Signals()
    callers = [make.error(30 + host, service=f"s{host:03}") for host in range(150)]
    analysis = said([*callers, make.error(0, service="db")], calls=[(one.entity, "db") for one in callers])
    nodes = {one.entity for one in analysis.nodes}
    assert len(nodes) == 100
    assert {one.entity for one in analysis.hypotheses} <= nodes
    assert len(analysis.edges) == 99
    assert {name for edge in analysis.edges for name in (edge.cause, edge.effect)} == nodes


def test_less_than_usual_is_no_shortage() -> None:
    """A processor with nothing to do is unusual, and exhausts nothing."""
    make = Signals()
    idle = make.unusual(0, "a", 2.5, text="a:cpu value 2.5, usually 20.4 to 61.8 (risk 0.83)")
    assert lines(said([idle, *make.burst(3, 5, "a")])) == [
        "At 2025-12-13 04:10 UTC, a experienced: 3 error events; CPU unusually low at 2.5%.",
        "Nothing that was measured shows a cause.",
    ]


def test_errors_before_the_resource_moved_speak_against_it() -> None:
    """The hypothesis stands, and so does what is wrong with it."""
    make = Signals()
    analysis = said([*make.burst(3, 0, "a"), make.spike(120, "a")])
    assert lines(analysis)[1:] == [
        "Hypothesis: error burst caused by resource exhaustion.",
        "Against it: errors began 2 minutes before CPU moved.",
    ]


@pytest.fixture(scope="module")
def shop() -> tuple[list[ObservedSeries], list[tuple[str, str]]]:
    """A real shop's metrics around a network delay of `cartservice`, and its call edges."""
    rows: dict[tuple[str, tuple[tuple[str, str], ...]], list[tuple[int, float]]] = defaultdict(list)
    with gzip.open(REAL / "metrics.ndjson.gz", "rt") as metrics:
        for line in metrics:
            row = json.loads(line)
            key = row["name"], tuple(sorted(row["labels"].items()))
            rows[key].append((parse_time(row["timestamp"], "timestamp"), row["value"]))
    series = [
        ObservedSeries(name, dict(labels), np.array([at for at, _ in some]), np.array([value for _, value in some]))
        for (name, labels), some in rows.items()
    ]
    with (REAL / "dependencies.csv").open() as calls:
        return series, [(client, server) for client, server in list(csv.reader(calls))[1:]]


def test_a_real_fault_that_only_its_callers_complain_of(
    shop: tuple[list[ObservedSeries], list[tuple[str, str]]],
) -> None:
    """Signals are of the services that wait for the culprit; it is named first, by the samples of its call edges."""
    series, calls = shop
    make = Signals()
    began_s = (parse_time("2022-08-22T04:28:03Z", "began") - T0_US) / SECOND_US
    signals = [
        make.alert(began_s, service="checkoutservice", text="checkout is slow", metric="latency_seconds"),
        *make.burst(12, began_s + 20, "frontend-579b9bff58-t2dbm", service="frontend"),
    ]
    analysis = said(signals, series, calls=calls)
    assert analysis.title == "frontend and checkoutservice: 12 errors, 1 alert"
    assert analysis.hypotheses[0].entity == "cartservice"
    assert lines(analysis)[2:4] == [
        "Hypothesis: error burst caused by trouble of cartservice (network to cartservice, or its pod's: its clients "
        "wait longer, it does not work longer).",
        "Against it: CPU and memory of cartservice did not move; checkoutservice moved 17 seconds earlier.",
    ]
    assert analysis.hypotheses[0].evidence[0].text == (
        "edge_latency_p50_seconds of calls from frontend to cartservice, client's side "
        "went from 0.005458 s to 0.2267 s."
    )
    assert ("cartservice", "frontend") in [(edge.cause, edge.effect) for edge in analysis.edges]


def test_the_samples_that_are_looked_at() -> None:
    """From an hour before the first trouble, which changes and states are not, to five minutes after, or its middle."""
    make = Signals()
    state = make.spike(-100, "a", text="a:memory rose 132% (risk 1.00)", metric="memory")
    signals = [make.change(-200, "a"), *make.burst(3, 0, "a", every_s=1_200), state]
    looked_at = samples_range(signals)
    assert (looked_at.start_us, looked_at.end_us) == (T0_US - HOUR_US, T0_US + 20 * MINUTE_US + 1)
    assert samples_range(signals[:2]).end_us == T0_US + 5 * MINUTE_US


def test_an_incident_has_signals() -> None:
    """Without any there is nothing to analyse."""
    with pytest.raises(ValueError, match="at least one signal"):
        analyse([], [], [], [], [], NOW)
