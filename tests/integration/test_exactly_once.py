"""Exactly once: one workflow for each remediation, whatever is killed while they are started and carried out."""

import asyncio
import os
import random
import time
from contextlib import suppress
from pathlib import Path

import msgspec
import psutil
import psycopg
import pytest

from adapters.bootstrap import run_migrations
from adapters.driving.cli.background import work_in_child
from adapters.main import SextantProgram
from adapters.runtime.settings import DatabaseSettings, ServerSettings, Settings, TemporalSettings
from adapters.runtime.supervision import supervised_processes, supervised_temporal
from adapters.runtime.temporal_client import connect_temporal
from core.domain.actions import AnnotateAction
from core.domain.remediation import RemediationPolicy, Step
from tests.support.children import children_named
from tests.support.orders import order
from tests.support.servers import Engine
from tests.support.temporal import eventually, require_temporal, started_workflows

pytestmark = [pytest.mark.postgres, pytest.mark.slow]

EPISODES = 300
KILLS = int(os.environ.get("SEXTANT_TEST_KILLS", "6"))
VICTIMS = ("sextant worker", "temporal")
"""In turn; a worker's process holds a dispatcher too."""
DONE_WITHIN_S = 600.0
"""About a minute on an idle machine, since a killed worker is noticed after 10 s; test machines are rarely idle."""
POLICY = RemediationPolicy(name="note", steps=(Step(name="note", action=AnnotateAction(text="seen")),))
INSERT_ALERT = """
    INSERT INTO sextant.alerts (tenant_id, rule_id, target_key, episode, rule_name, metric, labels, state, severity,
        value, threshold, started_at, fired_at, no_data, shadow, announced, annotations)
    VALUES (%s, 1, %s, 1, 'high', 'cpu', '{}', 'firing', 'critical', 99.5, '90', now(), now(), false, false, true, '{}')
    RETURNING id
"""
INSERT_REMEDIATION = """
    INSERT INTO sextant.remediations
        (tenant_id, alert_id, rule_name, policy_id, policy_name, workflow_id, dry_run, alert, rule, policy)
    VALUES (%s, %s, 'high', 1, 'note', %s, true, %s, %s, %s)
"""


def insert_episode(connection: psycopg.Connection, tenant_id: int, number: int) -> None:
    """Writes a firing alert with a remediation that waits, as evaluation does in one transaction."""
    wanted = order(number, policy=POLICY)
    with connection.transaction():
        found = connection.execute(INSERT_ALERT, [tenant_id, f"s{number}"]).fetchone()
        assert found is not None
        parts = [msgspec.json.encode(part).decode() for part in (wanted.alert, wanted.rule, wanted.policy)]
        connection.execute(INSERT_REMEDIATION, [tenant_id, found[0], wanted.workflow_id, *parts])


def states_of(connection: psycopg.Connection) -> dict[str, int]:
    """How many remediations stand where."""
    return dict(connection.execute("SELECT state, count(*) FROM sextant.remediations GROUP BY state").fetchall())


def test_every_episode_has_one_workflow_whatever_is_killed(
    tmp_path: Path, postgres_database: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two dispatchers, two workers and Temporal are killed at random with -9; by Temporal's own list it is so."""
    require_temporal()
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    chance = random.Random(3)
    settings = Settings(database=DatabaseSettings(url=postgres_database.url), server=ServerSettings(data_dir=tmp_path))
    run_migrations(settings)
    with (
        psycopg.connect(postgres_database.url, autocommit=True) as connection,
        supervised_temporal(tmp_path) as address,
    ):
        settings = msgspec.structs.replace(settings, temporal=TemporalSettings(address=address))
        added = connection.execute("INSERT INTO sextant.tenants (name) VALUES ('shop') RETURNING id").fetchone()
        assert added is not None
        workers = dict.fromkeys(("one", "two"), work_in_child)
        with supervised_processes(workers, SextantProgram(), settings):
            started_s = time.monotonic()
            inserted = kills = 0
            while (states := states_of(connection)) != {"dry_run": EPISODES}:
                assert time.monotonic() - started_s < DONE_WITHIN_S, states
                waits_for_kills = kills < KILLS  # so that the last one is not over before
                for _ in range(min(10, EPISODES - waits_for_kills - inserted)):
                    inserted += 1
                    insert_episode(connection, added[0], inserted)
                begun = inserted - states.get("waiting", 0)
                if begun > (kills + 0.5) * EPISODES / KILLS and (there := children_named(VICTIMS[kills % 2])):
                    with suppress(psutil.NoSuchProcess):
                        chance.choice(there).kill()
                        kills += 1
                time.sleep(0.05)
            found = asyncio.run(workflows_of(settings.temporal))
        assert kills >= KILLS
        assert found == sorted(order(number).workflow_id for number in range(1, EPISODES + 1))


async def workflows_of(settings: TemporalSettings) -> list[str]:
    """What Temporal lists, once it lists as many as there are episodes: its list follows what it does."""
    client = await connect_temporal(settings)

    async def are_listed() -> bool:
        return len(await started_workflows(client)) >= EPISODES

    await eventually(are_listed)
    return await started_workflows(client)
