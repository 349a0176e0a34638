"""A server that detects on simulated hosts, what became of it, and whether that is as if nothing had happened."""

import json
import os
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from random import Random
from typing import Any, Final

import psutil
import psycopg

from adapters.driving.cli.simulation import Simulation
from core.domain.times import parse_time
from tests.e2e.alerting import WAIT_S, Api, alert_ids, has_passed, sent_again
from tests.e2e.hooks import Hooks
from tests.e2e.program import KEY, Program, frozen, run_sextant, wait_until
from tests.e2e.simulated import MOMENTARY, Reference, bursts, reference

HOSTS: Final = int(os.environ.get("SEXTANT_TEST_HOSTS", "20"))
"""Half of them fall ill; a run looks at all of them in a few tenths of a second."""
HOOK: Final = "/detecting"
SOME_TIME_S: Final = 1.0
"""A run and the correlation of what it found take as long, when little else happens on the machine."""


@dataclass
class Shop:
    """A server that detects, what it tells, and its tables."""

    program: Program
    api: Api
    hooks: Hooks
    database_url: str
    simulation: Simulation
    settings: dict[str, str]
    """What commands beside the server have to be told."""
    chance: Random = field(default_factory=lambda: Random(20_261_122))

    def rows(self, query: str) -> list[Any]:
        """What a query of the tables brings; a connection of its own, as the database may have been away."""
        with psycopg.connect(self.database_url, autocommit=True) as database:
            return database.execute(query).fetchall()

    def ask(self) -> int:
        """Asks for a run; returns its id."""
        run_id: int = self.api.post("detect/runs")["id"]
        return run_id

    def run(self, run_id: int) -> dict[str, Any]:
        """One run."""
        found: dict[str, Any] = next(one for one in self.api.all("detect/runs") if one["id"] == run_id)
        return found

    def attempts(self, run_id: int) -> int:
        """How often a run was begun."""
        [(attempts,)] = self.rows(f"SELECT attempts FROM sextant.detection_runs WHERE id = {run_id:d}")
        return int(attempts)

    def let_the_lease_end(self) -> None:
        """What a minute does to the claim of somebody who died."""
        with psycopg.connect(self.database_url, autocommit=True) as database:
            database.execute(
                "UPDATE sextant.detection_runs SET leased_until = now() WHERE state = 'running' AND attempts > 0"
            )

    @contextmanager
    def held_at(self, table: str, *others: psutil.Process) -> Iterator[int]:
        """A new run, which waits in its middle, at the first use of a table, while the block lasts; yields its id.

        `others` are frozen meanwhile, so that none of them does the run.
        """
        waiters = (  # the run alone: correlation reads anomalies too
            "SELECT l.pid FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid "
            f"WHERE l.relation = 'sextant.{table}'::regclass AND NOT l.granted AND a.query NOT LIKE '%detector IN (%'"
        )
        with psycopg.connect(self.database_url) as database, ExitStack() as asleep:
            database.execute("SET LOCAL lock_timeout = '10s'")
            database.execute(f"LOCK TABLE sextant.{table} IN ACCESS EXCLUSIVE MODE")
            for other in others:
                asleep.enter_context(frozen(other))
            run_id = self.ask()
            wait_until(
                lambda: self.attempts(run_id) > 0 and self.rows(waiters), WAIT_S, lambda: self.program.log[-3_000:]
            )
            yield run_id

    def await_done(self, run_id: int) -> dict[str, Any]:
        """Waits until a run is over, and returns it; it must have ended well."""
        wait_until(
            lambda: self.run(run_id)["state"] != "running",
            WAIT_S,
            lambda: f"{self.run(run_id)}\n{self.program.log[-3_000:]}",
        )
        assert self.run(run_id)["state"] == "done", self.run(run_id)
        return self.run(run_id)

    def pass_some_time(self) -> None:
        """So that what happens next meets anything that is under way."""
        until_s = time.monotonic() + self.chance.uniform(0.0, SOME_TIME_S)
        wait_until(partial(has_passed, until_s), WAIT_S)

    def detection(self) -> list[psutil.Process]:
        """The process that detects, where it is not just being replaced."""
        return self.program.named("detect")


def simulate(program: Program) -> Simulation:
    """Sends simulated hosts; returns what was sent."""
    environment = {"SEXTANT_AGENT_URL": program.url, "SEXTANT_AGENT_KEY": KEY}
    done = run_sextant("simulate", "--hosts", str(HOSTS), "--json", environment=environment)
    assert done.returncode == 0, done.stderr
    return Simulation(end_us=parse_time(json.loads(done.stdout)["end"], "end"), hosts=HOSTS)


def finds_as_if_nothing_had_happened(shop: Shop) -> None:
    """Compares anomalies, events, incidents, alerts and messages with the reference."""
    anomalies = shop.api.all("anomalies")
    expected = reference(shop.simulation, min(datetime.fromisoformat(one["first_seen_at"]) for one in anomalies))
    assert Counter((one["fingerprint"], one["finding"]["detector"]) for one in anomalies) == expected.anomalies
    assert Counter(moments(shop, anomalies)) == Counter(expected.moments)
    wait_until(
        lambda: told(shop) == dict.fromkeys(expected.alarming, 1),
        WAIT_S,
        lambda: f"{told(shop)}, not {expected.alarming}",
    )
    alerts = shop.api.all("alerts", rule="anomaly risk")
    assert Counter(one["labels"]["fingerprint"] for one in alerts) == dict.fromkeys(expected.alarming, 1)
    assert {(one["episode"], one["state"]) for one in alerts} == {(1, "firing")}
    assert sent_again(shop.hooks.at(HOOK)) == {}, "who tells was not killed"
    joins_everything_once(shop, expected)


def told(shop: Shop) -> dict[str, int]:
    """How many messages told of each fingerprint's alert."""
    heard = alert_ids(shop.hooks.messages(HOOK, "fired"))  # first, so that each alert is listed by then
    fingerprints = {alert["id"]: alert["labels"]["fingerprint"] for alert in shop.api.all("alerts")}
    return {fingerprints[alert_id]: count for alert_id, count in heard.items()}


def moments(shop: Shop, anomalies: list[dict[str, Any]]) -> Iterator[tuple[str, str, datetime]]:
    """Fingerprint, detector and time of each event that tells of a moment."""
    detectors = {one["id"]: one["finding"]["detector"] for one in anomalies}
    for event in shop.api.all("events", anomalies="true"):
        detector = detectors[event["anomaly_id"]]
        if detector in MOMENTARY:
            yield event["fingerprint"], detector, datetime.fromisoformat(event["ts"])


def joins_everything_once(shop: Shop, expected: Reference) -> None:
    """Every error in one incident, all of a burst in the same one, none with another burst's."""
    waiting = "SELECT count(*) FROM sextant.signal_events WHERE waiting AND metric = 'error'"
    wait_until(lambda: shop.rows(waiting) == [(0,)], WAIT_S, lambda: f"{shop.rows(waiting)} errors wait")
    errors = defaultdict[int, list[int]](list)
    for incident_id, at_us in shop.rows(
        """SELECT incident_id, (extract(epoch FROM at) * 1000000)::bigint
        FROM sextant.incident_signals WHERE signal ->> 'metric' = 'error'"""
    ):
        errors[incident_id].append(at_us)
    found = [bursts(of_one) for of_one in errors.values()]
    assert sorted(burst for one in found for burst in one.items()) == sorted(expected.bursts.items())
    assert len(found) == len(expected.bursts), "one incident a burst"
    miscounted = """SELECT i.id, i.signals, count(s.key) FROM sextant.incidents i
        LEFT JOIN sextant.incident_signals s ON s.incident_id = i.id GROUP BY 1, 2 HAVING i.signals <> count(s.key)"""
    assert shop.rows(miscounted) == []


def is_purged(shop: Shop, purge_id: int) -> bool:
    """Whether a purge is done."""
    return shop.api.get(f"synthetic/purge/{purge_id}")["finished_at"] is not None
