"""What `sextant collect` takes from this machine's environment and options, and what it says is missing or wrong."""

from collections.abc import Callable
from pathlib import Path

import pytest

from adapters.driving.cli.collect_source import source_here
from adapters.main import run
from core.domain.collection import Problem, ProblemKind
from core.domain.source_configs import CloudWatchConfig, PrometheusConfig, SourceKind
from tests.support.scripted_source import ScriptedVendor
from tests.unit.cli.served_api import Commands, ServedApi
from tests.unit.cli.served_collector import CANARY, DATADOG, collecting, filled

pytestmark = pytest.mark.usefixtures("no_vendors")

Offline = Callable[..., str]


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Offline:
    """Return what runs a command that is refused before it asks the server, which is not there."""
    monkeypatch.setenv("SEXTANT_AGENT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("SEXTANT_AGENT_KEY", "sx_none")

    def refused(*words: str) -> str:
        assert run(words) == 2
        out, err = capsys.readouterr()
        assert out == ""
        return err

    return refused


def test_what_is_missing_is_named(sextant: Commands) -> None:
    """Status 2: nothing here, and nothing at the server."""
    for kind, wanted in {
        "datadog": "DATADOG_API_KEY and DATADOG_APP_KEY",
        "cloudwatch": "AWS_REGION, and credentials",
        "newrelic": "NEWRELIC_API_KEY and NEWRELIC_ACCOUNT_ID",
        "hawkeye": "HAWKEYE_BASE_URL and HAWKEYE_API_KEY",
        "prometheus": "PROMETHEUS_URL",
    }.items():
        said = sextant.refused("collect", kind, status=2)
        assert said.startswith(f"sextant: nothing describes a source of {kind}: set {wanted}")


@pytest.mark.parametrize(
    ("variables", "kind", "wanted"),
    [
        ({"DATADOG_API_KEY": CANARY}, "datadog", "DATADOG_APP_KEY is missing; datadog needs DATADOG_API_KEY and"),
        ({"HAWKEYE_BASE_URL": "https://h.example"}, "hawkeye", "HAWKEYE_API_KEY is missing; hawkeye needs HAWKEYE_B"),
        ({"NEWRELIC_API_KEY": CANARY}, "newrelic", "NEWRELIC_ACCOUNT_ID: must be the number"),
        ({"AWS_REGION": "mars"}, "cloudwatch", "AWS_REGION: 'mars' is no AWS region"),
        ({"AWS_REGION": "eu-central-1", "AWS_PROFILE": "no"}, "cloudwatch", "AWS credentials on this machine cannot"),
        ({**DATADOG, "DATADOG_SITE": "x"}, "datadog", "DATADOG_SITE: must be a Datadog site"),
        ({"DATADOG_API_KEY": f"{CANARY}é", "DATADOG_APP_KEY": "x"}, "datadog", "DATADOG_API_KEY: must be printable"),
        ({"PROMETHEUS_URL": f"https://u:{CANARY}@p.example"}, "prometheus", "PROMETHEUS_URL: must hold no user or"),
    ],
)
def test_what_is_wrong_is_named(
    offline: Offline, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], kind: str, wanted: str
) -> None:
    """By its variable; no secret is repeated, and no server asked."""
    for name, text in variables.items():
        monkeypatch.setenv(name, text)
    said = offline("collect", kind)
    assert said.startswith(f"sextant: {wanted}")
    assert CANARY not in said


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (("datadog", "--since", "yesterday"), "--since: 'yesterday' is not a duration"),
        (("datadog", "--instances", "3"), "--instances goes with synthetic"),
        (("all", "--query", "up"), "--query and --instances go with one source"),
        (("cloudwatch", "--query", "up"), "--query is for datadog and prometheus"),
        (("datadog", "--query", "up"), "--query needs a source that is described here: set DATADOG_API_KEY"),
    ],
)
def test_what_does_not_go_together_is_refused(offline: Offline, words: tuple[str, ...], wanted: str) -> None:
    """Before any server is asked."""
    assert wanted in offline("collect", *words)


def test_what_the_server_refuses_is_told_with_its_reason(sextant: Commands) -> None:
    """And is not taken for a source that is missing."""
    for words, status, wanted in (
        (("synthetic", "--since", "40d"), 1, "start_time: at most 35 days at once"),
        (("prometheus", "--since", "40d"), 1, "start_time: at most 35 days at once"),
        (("eks",), 1, "there is none of kind eks: set EKS_IN_CLUSTER or EKS_KUBECONFIG_PATH where the server starts"),
        (("all",), 2, "nothing describes a source: set a vendor's variables"),
    ):
        assert wanted in sextant.refused("collect", *words, status=status)


def test_aws_credentials_are_those_of_its_command_line(
    api: ServedApi, sextant: Commands, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A profile in a file; the server gets them for this one run."""
    file = tmp_path / "credentials"
    file.write_text(f"[ops]\naws_access_key_id = AKIAEXAMPLE\naws_secret_access_key = {CANARY}\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    monkeypatch.setenv("AWS_PROFILE", "ops")
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_INSTANCE_IDS", "i-0abc, i-0def")
    vendor = filled(ScriptedVendor())
    vendor.problems["x"] = Problem(kind=ProblemKind.CREDENTIALS, message="AWS does not know these credentials")
    with collecting(api, vendor):
        out = sextant("collect", "cloudwatch", status=1)
    [opened] = vendor.opened
    assert opened.credentials == {"access_key_id": "AKIAEXAMPLE", "secret_access_key": CANARY}
    assert opened.spec.config == CloudWatchConfig(region="eu-central-1", instance_ids=("i-0abc", "i-0def"))
    assert "the credentials are those of this machine: AWS's own configuration" in out
    assert CANARY not in out


@pytest.mark.parametrize(
    ("query", "stored", "asked"),
    [
        ("up", "up", "up"),
        ('up{job="x=y"}', "up", 'up{job="x=y"}'),
        ("load = avg(node_load1)", "load", "avg(node_load1)"),
        ("busy=up==1", "busy", "up==1"),
        ('a:b=rate(c{d=~"e"}[5m])', "a:b", 'rate(c{d=~"e"}[5m])'),
    ],
)
def test_a_query_is_stored_under_its_name(monkeypatch: pytest.MonkeyPatch, query: str, stored: str, asked: str) -> None:
    """``name=promql``, or a plain selector's own."""
    monkeypatch.setenv("PROMETHEUS_URL", "https://p.example")
    found = source_here(SourceKind.PROMETHEUS, queries=[query])
    assert found is not None
    assert isinstance(found.config, PrometheusConfig)
    assert [(one.metric, one.promql) for one in found.config.queries] == [(stored, asked)]


@pytest.mark.parametrize("query", ["up == 1", "rate(a[5m])", "up or down"])
def test_a_query_needs_a_name_to_be_stored_under(offline: Offline, monkeypatch: pytest.MonkeyPatch, query: str) -> None:
    """What to type is said."""
    monkeypatch.setenv("PROMETHEUS_URL", "https://p.example")
    assert f"'load={query}'" in offline("collect", "prometheus", "--query", query)
