"""`sextant sources`: added from this machine's environment or a file, and what came of them."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from core.domain.collection import Problem, ProblemKind
from core.domain.tenants import Scope
from tests.support.scripted_source import ScriptedVendor
from tests.unit.cli.served_api import Commands, ServedApi
from tests.unit.cli.served_collector import collecting

pytestmark = pytest.mark.usefixtures("no_vendors")

CANARY = "canary-52c0de"
"""In every secret; it comes out nowhere."""
NEW_RELIC = {"NEWRELIC_API_KEY": CANARY, "NEWRELIC_ACCOUNT_ID": "7"}


@pytest.fixture
def newrelic(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set what describes a New Relic account."""
    for name, text in NEW_RELIC.items():
        monkeypatch.setenv(name, text)


def sealed(api: ServedApi, name: str) -> bytes | None:
    """The encrypted credentials of a source."""
    return next(row.sealed for row in api.database.collection.sources.values() if row.source.spec.name == name)


def test_a_source_is_added_and_listed(sextant: Commands, newrelic: None) -> None:
    """From the environment; its credentials by name only."""
    assert "`sextant sources add synthetic`" in sextant("sources", "list")
    out = sextant("sources", "add", "newrelic", "--name", "nr", "--every", "10m")
    assert out == "added nr, a source of newrelic, collected every 10m; what comes of it: sextant sources runs nr\n"
    out += sextant("sources", "add", "synthetic")
    listed = sextant("sources", "list")
    lines = [line.split() for line in listed.splitlines()]
    assert lines[0] == ["NAME", "KIND", "EVERY", "STATE", "NEXT", "RUN", "CREDENTIALS"]
    assert [(*line[:4], line[-1]) for line in lines[1:]] == [
        ("nr", "newrelic", "10m", "enabled", "api_key"),
        ("synthetic", "synthetic", "5m", "enabled", "-"),
    ]
    shown = sextant("sources", "show", "nr") + sextant("sources", "show", "nr", "--json")
    assert "# credentials, encrypted by the server: api_key" in shown
    document = json.loads(sextant("sources", "list", "--json"))
    assert [one["credential_names"] for one in document] == [["api_key"], []]
    assert CANARY not in out + listed + shown + json.dumps(document)


def test_what_does_not_describe_a_source_is_status_2(sextant: Commands) -> None:
    """It says what would."""
    assert "set PROMETHEUS_URL" in sextant.refused("sources", "add", "prometheus", status=2)
    assert "sextant sources apply FILE" in sextant.refused("sources", "add", "eks", status=2)
    assert "interval" in sextant.refused("sources", "add", "synthetic", "--every", "1s")


def test_names_and_rights_are_the_servers_to_refuse(api: ServedApi, sextant: Commands) -> None:
    """One name once; no other kind's word; changing needs admin."""
    sextant("sources", "add", "synthetic")
    assert sextant.refused("sources", "add", "synthetic")
    assert "means something else" in sextant.refused("sources", "add", "synthetic", "--name", "eks")
    key = api.new_key(Scope.QUERY)
    assert "admin" in sextant.refused("sources", "add", "synthetic", "--name", "b", "--key", key, status=2)
    assert "no source named" in sextant.refused("sources", "show", "absent")
    assert "no source named" in sextant.refused("sources", "remove", "a/../b")


def test_what_show_prints_apply_takes(
    api: ServedApi, sextant: Commands, newrelic: None, tmp_path: Path, type_in: Callable[[str], None]
) -> None:
    """Unchanged it is the same source; what is changed is, and what is new is added."""
    sextant("sources", "add", "newrelic")
    file = tmp_path / "source.yaml"
    file.write_text(sextant("sources", "show", "newrelic"))
    before = json.loads(sextant("sources", "show", "newrelic", "--json"))
    assert sextant("sources", "apply", str(file)).startswith("replaced newrelic, a source of newrelic")
    type_in(file.read_text())
    assert sextant("sources", "apply", "-").startswith("replaced newrelic")
    after = json.loads(sextant("sources", "show", "newrelic", "--json"))
    assert after["spec"] == before["spec"]
    file.write_text(file.read_text().replace("name: newrelic", "name: other").replace("interval: 5m", "interval: null"))
    assert "added other, a source of newrelic, collected when asked for" in sextant("sources", "apply", str(file))
    assert CANARY not in file.read_text()


def test_apply_without_credentials_keeps_those_it_has(
    api: ServedApi, sextant: Commands, newrelic: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With others in the environment they are replaced; a new address never gets the old ones."""
    sextant("sources", "add", "newrelic")
    file = tmp_path / "source.yaml"
    file.write_text(sextant("sources", "show", "newrelic"))
    first = sealed(api, "newrelic")
    assert first is not None
    monkeypatch.delenv("NEWRELIC_API_KEY")
    sextant("sources", "apply", str(file))
    assert sealed(api, "newrelic") == first
    file.write_text(file.read_text().replace("account_id: 7", "account_id: 8"))
    assert "credentials" in sextant.refused("sources", "apply", str(file))
    monkeypatch.setenv("NEWRELIC_API_KEY", f"{CANARY}-2")
    assert CANARY not in sextant("sources", "apply", str(file))
    assert sealed(api, "newrelic") not in (None, first)


def test_a_file_that_is_no_source_is_status_2(sextant: Commands, tmp_path: Path) -> None:
    """It says where."""
    file = tmp_path / "source.yaml"
    for text, wanted in (
        ("[1]", "is no metric source"),
        ("name: a\nconfig: {type: synthetic, instances: 999}", "config.instances: must be from 1 to 200"),
        ("name: a\nconfig: {type: synthetic}\ncredentials: {api_key: x}", "unknown field `credentials`"),
        ("name: [", "source.yaml"),
    ):
        file.write_text(text)
        assert wanted in sextant.refused("sources", "apply", str(file), status=2)
    assert "No such file" in sextant.refused("sources", "apply", str(tmp_path / "absent"), status=2)


def test_temporary_credentials_are_pointed_out(sextant: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    """A source that is to last will not, with a session's."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, CANARY)
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    out, err, status = sextant.both("sources", "add", "cloudwatch", "--json")
    assert status == 0
    assert json.loads(out)["credential_names"] == ["access_key_id", "secret_access_key", "session_token"]
    assert "temporary" in err
    assert CANARY not in out + err


def test_runs_tell_what_came_of_it(api: ServedApi, sextant: Commands, tmp_path: Path) -> None:
    """A line each, newest first; one with its items; and the source can go, which leaves them."""
    assert "no runs yet" in sextant("sources", "runs")
    assert sextant("sources", "runs", "fleet") == "no runs of fleet\n"
    file = tmp_path / "source.yaml"
    file.write_text("{name: fleet, interval: null, config: {type: synthetic}}")
    sextant("sources", "apply", str(file))
    vendor = ScriptedVendor()
    vendor.problems["load"] = Problem(kind=ProblemKind.PERMISSION, message="give it the role \x1b[31mreader")
    with collecting(api, vendor):
        sextant("collect", "all", status=1)
    [head, line] = sextant("sources", "runs", "fleet").splitlines()
    assert head.split() == ["RUN", "SOURCE", "STATE", "ASKED", "TOOK", "FETCHED", "STORED", "FAILED", "PROBLEM"]
    assert line.split()[:3] == ["1", "fleet", "failed"]
    assert line.endswith("give it the role reader")
    shown = sextant("sources", "run", "1")
    assert shown.startswith("run 1 of fleet: failed, asked for by ")
    assert "permission (all of load): give it the role reader" in shown
    assert json.loads(sextant("sources", "run", "1", "--json"))["items"][0]["problem"]["kind"] == "permission"
    assert sextant("sources", "remove", "fleet") == "removed fleet; what it collected stays\n"
    assert len(json.loads(sextant("sources", "runs", "--json"))) == 1
    assert sextant.refused("sources", "run", "77")
