"""The server's container as it is rendered: its environment and command line start the program, read-only as it is."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.deploy.rendering import Object, pod_named, rendering
from tests.e2e.program import KEY, Program, free_port, run_sextant, running, wait_until
from tests.support.servers import Engine

pytestmark = pytest.mark.postgres

BASE = "kustomize base"
WAIT_S = 60.0


def container(name: str) -> Object:
    """The one container of an object's pods."""
    found: Object = pod_named(rendering(BASE), name)["spec"]["containers"][0]
    return found


def given(name: str) -> dict[str, str]:
    """What its environment sets itself; all else is the Secret's."""
    return {one["name"]: one["value"] for one in container(name)["env"] if "value" in one}


@pytest.fixture(scope="module")
def server(postgres_database: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """Yield the server, with what the Secret and the ConfigMap would add."""
    directory: Path = tmp_path_factory.mktemp("container")
    secrets = {"SEXTANT_COLLECTION_KEYS": "k" * 32, "SEXTANT_TEMPORAL_ADDRESS": f"127.0.0.1:{free_port()}"}
    environment = {**given("sextant"), **secrets, "SEXTANT_SERVER_HOST": "127.0.0.1"}
    with running(directory, database_url=postgres_database.url, environment=environment) as program:
        yield program


def test_probes_are_answered(server: Program) -> None:
    """The paths that Kubernetes asks are routes of the program, at the port that is declared."""
    probes = [container("sextant")[kind]["httpGet"] for kind in ("startupProbe", "livenessProbe", "readinessProbe")]
    [port] = container("sextant")["ports"]
    assert {probe["port"] for probe in probes} == {port["name"]}
    assert port["containerPort"] == 8_000
    for path in {probe["path"] for probe in probes}:
        assert httpx.get(server.url + path, timeout=10).status_code == 200, path


def test_only_its_own_parts_run(server: Program) -> None:
    """A keeper and alerts stand by; detection, collection and remediation run elsewhere."""
    wait_until(lambda: server.named("keeper") and server.named("alerts"), WAIT_S, lambda: server.log)
    assert [part for part in ("detect", "collect", "worker") if server.named(part)] == []


def test_nothing_is_kept_on_disk(server: Program) -> None:
    """With the keys of the Secret the data directory is not even made, so the file system may be read-only."""
    assert not server.data_dir.exists()


def test_the_cronjob_asks_the_server(server: Program, tmp_path: Path) -> None:
    """Its command and environment reach the server, which says so where it knows no source."""
    environment = {**given("sextant-collect"), "SEXTANT_AGENT_URL": server.url, "SEXTANT_AGENT_KEY": KEY}
    done = run_sextant(*container("sextant-collect")["args"], environment={**environment, "HOME": str(tmp_path)})
    assert (done.returncode, done.stdout) == (2, "")
    assert "source" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_migration_job_needs_the_database_alone(server: Program, tmp_path: Path) -> None:
    """It may run at any time, beside servers too."""
    url = server.environment["SEXTANT_DATABASE_URL"]
    done = run_sextant(*container("sextant-migrate")["args"], environment={"SEXTANT_DATABASE_URL": url})
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("schema is at ")
