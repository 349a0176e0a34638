"""`sextant collect`: from this machine's environment or the server's sources, followed until all has ended."""

import json
from datetime import timedelta

import numpy as np
import pytest

from adapters.driven.memory.clock import FakeClock
from adapters.runtime.clock import SystemClock
from core.domain.collection import Problem, ProblemKind
from core.domain.source_configs import DatadogConfig
from core.domain.tenants import Scope
from core.domain.times import EPOCH, HOUR_US, MINUTE_US, SECOND_US
from ports.driven.metric_source import SourceError
from tests.support.scripted_source import ScriptedVendor
from tests.support.vendors.prometheus import PrometheusDouble, Scraped
from tests.unit.cli.served_api import Commands, ServedApi
from tests.unit.cli.served_collector import CANARY, DATADOG, collecting, filled, playing, shipped_sources

pytestmark = pytest.mark.usefixtures("no_vendors")

DENIED = "needs timeseries_query"


def printed(text: str) -> list[list[str]]:
    """The words of each line."""
    return [line.split() for line in text.splitlines()]


def test_made_up_data_are_collected_to_the_end(
    api: ServedApi, sextant: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An item a line, then the sums; the same again adds nothing, as long as it is the same five minutes."""
    now_us = SystemClock().now_us()
    monkeypatch.setattr("adapters.driving.cli.collect.present", lambda: EPOCH + timedelta(microseconds=now_us))
    monkeypatch.setattr(SystemClock, "now_us", lambda _: now_us)
    words = ("collect", "synthetic", "--instances", "2", "--since", "30m")
    with collecting(api, shipped_sources()):
        first, again = sextant(*words), sextant(*words)
    lines = printed(first)
    assert lines[0] == ["ITEM", "FETCHED", "STORED", "REVISED", "NEW", "SERIES", "STATE"]
    assert ["ec2_cpu_utilization_percent", "12", "12", "0", "2", "ok"] in lines
    assert "2 instances (2 new)" in first.splitlines()[-1]
    assert " 0 stored, 0 revised" in again.splitlines()[-1]
    assert " 0 new series, 2 instances, " in again.splitlines()[-1]


def test_json_is_one_document(api: ServedApi, sextant: Commands, datadog: ScriptedVendor) -> None:
    """And nothing else: no bar, no line of progress."""
    with collecting(api, datadog):
        out, err, status = sextant.both("collect", "datadog", "--json")
    assert (status, err) == (0, "")
    document = json.loads(out)
    assert document["errors"] == {}
    [detail] = document["runs"]
    assert detail["run"]["state"] == "done"
    assert [item["counts"]["stored"] for item in detail["items"]] == [1_200, 1_200]


def test_numbers_and_words_are_as_people_write_them(api: ServedApi, sextant: Commands, datadog: ScriptedVendor) -> None:
    """Thousands have a separator, one is no plural."""
    with collecting(api, datadog):
        lines = sextant("collect", "datadog").splitlines()
        sextant("collect", "datadog")
        datadog.data.clear()
        datadog.put("one", "one", {SystemClock().now_us() - MINUTE_US: 1.0})
        last = sextant("collect", "datadog").splitlines()[-1]
    assert lines[1].split() == ["all", "of", "load", "by", "a", "1,200", "1,200", "0", "1", "ok"]
    assert lines[-1].startswith("datadog: 2,400 samples fetched, 2,400 stored, 0 revised, 0 unchanged, 2 new series, ")
    assert last.startswith("datadog: 1 sample fetched, 1 stored, ")


def test_what_was_asked_for_reaches_the_source(api: ServedApi, sextant: Commands, datadog: ScriptedVendor) -> None:
    """The window, the cluster, the namespaces, the queries and the credentials of the environment."""
    with collecting(api, datadog):
        sextant("collect", "datadog", "--since", "6h", "--cluster", "prod", "--namespace", "shop", "--namespace", "pay",
                "--query", "avg:system.load.5{*} by {host}")  # fmt: skip
    [opened] = datadog.opened
    assert opened.spec.config == DatadogConfig(queries=("avg:system.load.5{*} by {host}",))
    assert opened.credentials == {"api_key": DATADOG["DATADOG_API_KEY"], "app_key": DATADOG["DATADOG_APP_KEY"]}
    assert (opened.trusted, opened.cluster_id, tuple(opened.namespaces)) == (True, "prod", ("shop", "pay"))
    _, window = datadog.asked[0]
    assert abs(SystemClock().now_us() - 6 * HOUR_US - window.start_us) < MINUTE_US


def test_a_failure_is_told_once_with_all_that_have_it(
    api: ServedApi, sextant: Commands, datadog: ScriptedVendor
) -> None:
    """What could be fetched is stored; the status is 1."""
    for key in ("x", "y", "z"):
        datadog.problems[key] = Problem(kind=ProblemKind.PERMISSION, message=DENIED)
    with collecting(api, datadog):
        out = sextant("collect", "datadog", status=1)
        shown = json.loads(sextant("collect", "datadog", "--json", status=1))
    assert ["all", "of", "x", "0", "0", "0", "0", "permission"] in printed(out)
    assert "datadog (partial): 2,400 samples fetched, " in out
    assert "3 of 5 items failed" in out
    assert out.count(DENIED) == 1
    assert f"permission (all of x and 2 more): {DENIED}" in out.splitlines()
    assert shown["runs"][0]["run"]["state"] == "partial"


def test_credentials_that_are_wrong_are_named_by_their_variables(
    api: ServedApi, sextant: Commands, datadog: ScriptedVendor
) -> None:
    """The vendor's word, once, and where to mend it."""
    datadog.unopened = SourceError(ProblemKind.CREDENTIALS, "Datadog does not know the API key")
    with collecting(api, datadog):
        out = sextant("collect", "datadog", status=1)
        shown = sextant("collect", "datadog", "--json", status=1)
    assert json.loads(shown)["runs"][0]["run"]["problem"]["kind"] == "credentials"
    assert CANARY not in shown
    assert out.splitlines()[1:] == [
        "credentials: Datadog does not know the API key",
        "the credentials are those of this machine: DATADOG_API_KEY, DATADOG_APP_KEY",
    ]
    assert CANARY not in out


def test_no_data_says_why(api: ServedApi, sextant: Commands, datadog: ScriptedVendor) -> None:
    """Nothing at all came: whoever waits for data hears of it by the status too."""
    datadog.data.clear()
    datadog.problems["load"] = Problem(kind=ProblemKind.NO_DATA, message="no points; a misspelt tag?")
    with collecting(api, datadog):
        out = sextant("collect", "datadog", status=1)
        filled(datadog)
        assert "no data (all of load): no points; a misspelt tag?" in sextant("collect", "datadog")
    assert out.count("a misspelt tag?") == 1
    assert ["all", "of", "load", "0", "0", "0", "0", "no", "data"] in printed(out)


def test_a_key_without_the_right_is_status_2(api: ServedApi, sextant: Commands) -> None:
    """It names the scope."""
    said = sextant.refused("collect", "synthetic", "--key", api.new_key(Scope.QUERY), status=2)
    assert "ingest" in said


def test_all_is_what_the_server_knows_and_what_is_here(
    api: ServedApi, sextant: Commands, datadog: ScriptedVendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kind that is described here only in part is left out, and said so: its variables may be another program's."""
    sextant("sources", "add", "synthetic", "--name", "fleet")
    monkeypatch.setenv("NEWRELIC_API_KEY", CANARY)
    with collecting(api, datadog):
        out, err, status = sextant.both("collect", "all")
    assert status == 0, out + err
    assert {line.partition(":")[0] for line in out.splitlines() if "samples fetched" in line} == {"fleet", "datadog"}
    assert err == "sextant: newrelic is left out: NEWRELIC_ACCOUNT_ID: must be the number of a New Relic account\n"
    assert CANARY not in out


def test_all_tells_apart_what_could_not_be_begun(
    api: ServedApi, sextant: Commands, datadog: ScriptedVendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One kind's fault stops no other, and is the status."""
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with collecting(api, datadog):
        out = sextant("collect", "all", status=1)
        shown = json.loads(sextant("collect", "all", "--json", status=1))
    assert "datadog: 2,400 samples fetched" in out
    assert "cloudwatch: not collected: AWS credentials on this machine cannot be used: " in out.splitlines()[-1]
    assert shown["errors"]["cloudwatch"]["kind"] == "configuration"


def test_nothing_of_a_vendors_reaches_the_terminal(
    api: ServedApi, sextant: Commands, datadog: ScriptedVendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Titles and messages with escapes, links, direction marks and lines of their own."""
    hostile = "\x1b[31m\x1b]0;owned\x07 first\nsecond \u202e\x9b2J [red]x[/red]"
    datadog.problems[hostile] = Problem(kind=ProblemKind.BAD_QUERY, message=hostile)
    with collecting(api, datadog):
        out = sextant("collect", "datadog", status=1)
        out += sextant("sources", "runs") + sextant("sources", "run", "1")
    assert [character for character in out if not character.isprintable() and character != "\n"] == []
    assert "[red]x[/red]" in out


def test_a_prometheus_is_asked_what_the_options_say(
    api: ServedApi, sextant: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through the shipped source; once with the right token, once with a wrong one, which is repeated nowhere."""
    vendor = PrometheusDouble(FakeClock(SystemClock().now_us()))
    ts_s = np.arange(600) + SystemClock().now_us() // SECOND_US - 600
    vendor.scraped = [Scraped({"__name__": "node_load1", "instance": "a"}, ts_s, np.ones(600))]
    vendor.token = "right"
    words = ("collect", "prometheus", "--query", "load=node_load1", "--query", "node_load1", "--since", "5m")
    with collecting(api, shipped_sources()), playing(api, vendor):
        monkeypatch.setenv("PROMETHEUS_URL", vendor.url)
        monkeypatch.setenv("PROMETHEUS_BEARER_TOKEN", "right")
        lines = printed(sextant(*words))
        monkeypatch.setenv("PROMETHEUS_BEARER_TOKEN", CANARY)
        out, err, status = sextant.both(*words)
    assert {line[0] for line in lines[1:3]} == {"load:", "node_load1:"}, lines
    assert status == 1
    assert out.count("401") == 1, out
    assert "PROMETHEUS_BEARER_TOKEN" in out
    assert CANARY not in out + err
