"""Exactly once, whatever is killed: two servers on one PostgreSQL and one Temporal, so two evaluators, two notifiers,
two dispatchers and two workers, of which kill -9 takes any at any moment, and Temporal too.

What counts as done is asked of those who would know: Temporal's own list of workflows, what arrived at the receiver,
and the tables.
"""

import logging
import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any

import psutil
import psycopg
import pytest

from adapters.runtime.embedded_access import embedded_database
from adapters.runtime.embedded_temporal import embedded_temporal_address
from core.services.notify import PER_CHANNEL_MAX
from tests.e2e.alerting import WAIT_S, Api, alert_ids, has_passed, sample, sent_again, temporal_of, workflows
from tests.e2e.hooks import LOOPBACK, Hooks
from tests.e2e.program import Program, is_alive, running, wait_until
from tests.support.temporal import require_temporal

pytestmark = [pytest.mark.postgres, pytest.mark.slow]

EPISODES = int(os.environ.get("SEXTANT_TEST_EPISODES", "30"))
"""How many alerts fire while processes are killed; raise it to search for longer."""
PACE_S = 0.3
"""At most so long between two episodes, and between two kills of a process in four episodes."""
DRAIN_TIMEOUT_S = 300.0
"""A message or a workflow in the hands of who was killed is taken up by others when its lease ends, after 70 s."""
CALM_SERIES = 20
WARNING, CRITICAL = 80.0, 90.0

log = logging.getLogger(__name__)


@dataclass
class Pair:
    """Two servers that share everything but their processes."""

    servers: tuple[Program, Program]
    apis: tuple[Api, Api]
    hooks: Hooks
    database: psycopg.Connection[Any]
    chance: Random = field(default_factory=lambda: Random(20_261_122))
    killed: Counter[str] = field(default_factory=Counter)

    def watch(self, name: str) -> None:
        """A metric `name` with a rule, a channel at /`name` and a policy that runs dry, each of that name."""
        api = self.apis[0]
        api.webhook(name, self.hooks.url(f"/{name}"), default=False)
        api.repairing(name, self.hooks.url("/never"), dry_run=True)
        rule = {"name": name, "metric": name, "warning": WARNING, "critical": CRITICAL}
        api.post("alerts/rules", {**rule, "channels": [name], "remediation": name})

    def send(self, name: str, value: float, number: int) -> None:
        """A sample of one series, through either server."""
        self.chance.choice(self.apis).send(name, value, host=f"h{number}")

    def kill_any(self) -> None:
        """kill -9 of any of those who evaluate, tell, dispatch, work or keep workflows."""
        found = [(part, one) for server in self.servers for part in ("alerts", "worker") for one in server.named(part)]
        found += [("temporal", one) for one in temporal_of(self.servers[0])]
        if found:  # else all of them are just being started again
            part, victim = self.chance.choice(found)
            with suppress(psutil.NoSuchProcess):
                victim.kill()
                self.killed[part] += 1

    def rows(self, query: str, *parameters: object) -> list[Any]:
        """What a query of the tables brings."""
        return self.database.execute(query, parameters).fetchall()

    def events(self, name: str) -> Counter[tuple[int, str]]:
        """How often each event of each alert of a rule was put into the outbox."""
        query = """SELECT alert_id, event, count(*) FROM sextant.notification_events e
            JOIN sextant.alerts a ON a.id = e.alert_id WHERE a.rule_name = %s GROUP BY 1, 2"""
        return Counter({(alert_id, event): count for alert_id, event, count in self.rows(query, name)})

    def heard(self, name: str, event: str) -> Counter[int]:
        """How many messages of an event told of each alert."""
        return alert_ids(self.hooks.messages(f"/{name}", event))

    def await_heard(self, name: str, event: str, count: int) -> None:
        """Waits until so many alerts were told of."""
        wait_until(
            lambda: len(self.heard(name, event)) >= count,
            DRAIN_TIMEOUT_S,
            lambda: f"{event}: {len(self.heard(name, event))} of {count}; killed {self.killed}",
        )

    def await_drained(self, name: str) -> None:
        """Waits until every remediation of a rule has ended."""
        query = "SELECT state, count(*) FROM sextant.remediations WHERE rule_name = %s GROUP BY 1"
        wait_until(
            lambda: {state for state, _ in self.rows(query, name)} == {"dry_run"},
            DRAIN_TIMEOUT_S,
            lambda: f"remediations {self.rows(query, name)}; killed {self.killed}",
        )

    def assert_once(self, name: str, episodes: int, events: tuple[str, ...]) -> None:
        """Asserts that so many episodes of a rule each had each event once, told once, and one workflow."""
        alerts = [row[0] for row in self.rows("SELECT id FROM sextant.alerts WHERE rule_name = %s", name)]
        assert len(alerts) == episodes
        assert self.events(name) == {(alert, event): 1 for alert in alerts for event in events}
        for event in events:
            assert self.heard(name, event) == dict.fromkeys(alerts, 1), event
        ordered = [
            row[0] for row in self.rows("SELECT workflow_id FROM sextant.remediations WHERE rule_name = %s", name)
        ]
        assert len(ordered) == episodes
        started = [one for one in workflows(self.servers[0], ordered) if one in set(ordered)]
        assert sorted(started) == sorted(ordered), "Temporal's own list"
        assert self.hooks.at("/never") == [], "a dry run acts on nothing"


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Yield the two: the first with four HTTP workers and what the second uses too."""
    require_temporal()
    first_dir, second_dir = tmp_path_factory.mktemp("first"), tmp_path_factory.mktemp("second")
    with running(first_dir, "--workers", "4", environment=LOOPBACK) as first, embedded_database(first.data_dir) as url:
        address = embedded_temporal_address(first.data_dir)
        assert address is not None
        settings = {**LOOPBACK, "SEXTANT_TEMPORAL_ADDRESS": address}
        with (
            running(second_dir, database_url=url, environment=settings) as second,
            Hooks().listening() as hooks,
            Api(first.url) as one,
            Api(second.url) as other,
            psycopg.connect(url, autocommit=True) as database,
        ):
            yield Pair((first, second), (one, other), hooks, database)


def test_every_transition_happens_once(pair: Pair) -> None:
    """Two servers, one with four workers: each series fires, gets worse and resolves once, and is told of once."""
    name = "shared"
    pair.watch(name)
    for value, event in ((85.0, "fired"), (95.0, "escalated"), (10.0, "resolved")):
        for number in range(CALM_SERIES):
            pair.send(name, value, number)
        pair.await_heard(name, event, CALM_SERIES)
    pair.await_drained(name)
    pair.assert_once(name, CALM_SERIES, ("fired", "escalated", "resolved"))
    assert sent_again(pair.hooks.at(f"/{name}")) == {}


def test_episodes_start_one_workflow_each_whatever_is_killed(pair: Pair) -> None:
    """Under kill -9: workflows by Temporal's list == remediations == episodes announced == alerts, each told of once.

    Ingest never notices. A message may arrive once more for each crash of who sends it, under the id that it had.
    """
    name = "hunted"
    pair.watch(name)
    began_s = time.monotonic()
    for number in range(EPISODES):
        pair.send(name, 95.0, number)
        wait_until(partial(has_passed, time.monotonic() + pair.chance.uniform(0.0, PACE_S)), WAIT_S)
        if number % 4 == 1:
            pair.kill_any()
    fired_s = time.monotonic() - began_s
    pair.await_heard(name, "fired", EPISODES)
    pair.await_drained(name)
    drained_s = time.monotonic() - began_s - fired_s
    pair.chance.choice(pair.apis).send_all([sample(name, 10.0, host=f"h{number}") for number in range(EPISODES)])
    pair.await_heard(name, "resolved", EPISODES)
    pair.assert_once(name, EPISODES, ("fired", "resolved"))
    again = sent_again(pair.hooks.at(f"/{name}"))
    log.info(
        "%d episodes in %.0f s, drained %.1f s later; killed %s; sent again %s; %d messages",
        *(EPISODES, fired_s, drained_s, dict(pair.killed), dict(again), len(pair.hooks.at(f"/{name}"))),
    )
    assert all(count <= pair.killed["alerts"] for count in again.values())
    assert again.total() <= pair.killed["alerts"] * PER_CHANNEL_MAX, "of what was in the hands of the killed"
    waiting = "SELECT count(*) FROM sextant.notifications WHERE state <> 'delivered'"
    wait_until(lambda: pair.rows(waiting) == [(0,)], DRAIN_TIMEOUT_S, lambda: "delivered, and not written down")
    assert pair.apis[0].get("audit/verify")["broken"] is None
    everybody = [one for server in pair.servers for part in ("alerts", "worker") for one in server.named(part)]
    assert len([one for one in everybody if is_alive(one)]) <= 4
