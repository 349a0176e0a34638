"""`sextant explain` as a user calls it: what it prints, and what it says of wrong input."""

import gzip
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from adapters.driving.cli import explain_input
from adapters.main import run
from core.domain.times import MINUTE_US, format_time
from tests.support.small_shop import AT_US, CALLS, SmallShop

REAL = Path(__file__).parents[2] / "data" / "nezha_fault"
AT = "2026-01-01T00:00:00Z"
LINE = '{"name":"cpu","value":1,"labels":{"service":"web"},"timestamp":"2025-12-31T23:59:00Z"}'

Explain = Callable[..., int]


def ndjson(shop: SmallShop) -> list[str]:
    """The shop's metrics in the ingest shape."""
    return [
        json.dumps({"name": one.name, "value": value, "labels": one.labels, "timestamp": format_time(ts_us)})
        for one in shop.series()
        for ts_us, value in zip(one.ts_us.tolist(), one.values.tolist(), strict=True)
    ]


@pytest.fixture
def explain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Explain:
    """Runs the command on these lines and this file of call edges; returns its exit status."""

    def call(lines: Sequence[str] | bytes, *options: str, calls: str | None = None, at: str = AT) -> int:
        edges = tmp_path / "calls.csv"
        edges.write_text(calls if calls is not None else "client,server\n" + "".join(f"{a},{b}\n" for a, b in CALLS))
        metrics = tmp_path / "metrics.ndjson"
        metrics.write_bytes(lines if isinstance(lines, bytes) else "".join(f"{line}\n" for line in lines).encode())
        with metrics.open() as stdin:
            monkeypatch.setattr(sys, "stdin", stdin)
            return run(["explain", "--at", at, "--dependencies", str(edges), *options])

    return call


def delayed() -> SmallShop:
    """A shop whose calls from web to ads take longer, in the network only."""
    return SmallShop().longer(0.2, ("web", "ads"), sides=("client",))


def test_suspects_come_one_a_line(explain: Explain, capsys: pytest.CaptureFixture[str]) -> None:
    """Names and nothing else, most likely first; no complaint."""
    assert explain(ndjson(delayed())) == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines()[0] == "ads"
    assert set(printed.out.split()) <= {"ads", "cart", "stock", "web"}
    assert printed.err == ""


def test_json_has_the_reasoning(explain: Explain, capsys: pytest.CaptureFixture[str]) -> None:
    """Score, hypothesis, evidence with the series, levels and time, and what speaks against it."""
    assert explain(ndjson(delayed()), "--json") == 0
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert (document["at"], document["start"], document["end"]) == (AT, "2025-12-31T23:00:00Z", "2026-01-01T00:05:00Z")
    assert (document["series"], document["samples"]) == (46, 46 * 65)
    first = document["suspects"][0]
    assert first["service"] == "ads"
    assert first["score"] > 3
    assert first["hypothesis"].startswith("network to ads")
    evidence = first["evidence"][0]
    assert evidence["kind"] == "latency"
    assert evidence["counts"] is True
    assert evidence["metric"] == "edge_latency_seconds"
    assert evidence["labels"] == {"client": "web", "server": "ads", "side": "client"}
    assert evidence["value"] > 10 * evidence["baseline"]
    assert evidence["first_at"] == AT
    assert any("no resource of ads" in counter["said"] for counter in first["counter_evidence"])


def test_a_real_fault_is_found(explain: Explain, capsys: pytest.CaptureFixture[str]) -> None:
    """A network delay in a real shop, gzipped as recorded."""
    packed = (REAL / "metrics.ndjson.gz").read_bytes()
    calls = (REAL / "dependencies.csv").read_text()
    assert explain(packed, calls=calls, at="2022-08-22T04:27:03Z") == 0
    assert capsys.readouterr().out.split()[0] == "cartservice"
    assert explain(gzip.decompress(packed), "--json", calls=calls, at="2022-08-22T06:27:03+02:00") == 0
    assert "network to cartservice" in capsys.readouterr().out


def test_the_order_of_lines_and_labels_does_not_matter(explain: Explain, capsys: pytest.CaptureFixture[str]) -> None:
    """Not to a single character of the reasoning."""
    lines = ndjson(delayed())
    explain(lines, "--json")
    expected = capsys.readouterr().out
    swapped = [json.loads(line) for line in reversed(lines)]
    for number, line in enumerate(swapped):
        if number % 2:
            line["labels"] = dict(reversed(line["labels"].items()))
    explain([json.dumps(line) for line in swapped], "--json")
    assert capsys.readouterr().out == expected


def test_windows_can_be_chosen(explain: Explain, capsys: pytest.CaptureFixture[str]) -> None:
    """--before and --after say which samples count."""
    assert explain(ndjson(delayed()), "--json", "--before", "30m", "--after", "2m") == 0
    assert json.loads(capsys.readouterr().out)["samples"] == 46 * 32


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{bad", "line 2: line: "),
        ("[1]", "line 2: line: "),
        ('{"value":1,"labels":{"service":"a"},"timestamp":"2026-01-01T00:00:00Z"}', "line 2: line: "),
        ('{"name":"cpu","labels":{"service":"a"},"timestamp":"2026-01-01T00:00:00Z"}', "line 2: line: "),
        ('{"name":"cpu","value":"1","timestamp":"2026-01-01T00:00:00Z"}', "line 2: line: "),
        ('{"name":"cpu","value":1,"labels":{"service":"a"}}', "line 2: timestamp: is missing"),
        (
            '{"name":"cpu","value":1,"timestamp":"2026-01-01T00:00:00"}',
            "line 2: timestamp: '2026-01-01T00:00:00' has no",
        ),
        ('{"name":"cpu","value":1,"timestamp":"yesterday"}', "line 2: timestamp: "),
        ('{"name":"cpu","value":1,"labels":{"service":1},"timestamp":"2026-01-01T00:00:00Z"}', "line 2: labels: "),
        ('{"name":"cpu","value":1,"labels":[],"timestamp":"2026-01-01T00:00:00Z"}', "line 2: labels: "),
        ('{"name":"","value":1,"timestamp":"2026-01-01T00:00:00Z"}', "line 2: name: "),
        ('{"name":"cpu","value":1e999,"timestamp":"2026-01-01T00:00:00Z"}', "line 2: "),
    ],
)
def test_a_wrong_line_is_named(line: str, reason: str, explain: Explain, capsys: pytest.CaptureFixture[str]) -> None:
    """By its number and field; nothing is ranked from a part of the input."""
    assert explain([LINE, line, LINE]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"sextant: standard input, {reason}")
    assert len(printed.err.splitlines()) == 1


def test_something_else_than_ndjson(explain: Explain, capsys: pytest.CaptureFixture[str]) -> None:
    """Is said to be that, and not ranked."""
    assert explain(["hello"]) == 1
    assert "standard input has no NDJSON metrics" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("calls", "reason"),
    [
        ("", "is empty"),
        ("from,to\na,b\n", "line 1: the first line must be client,server"),
        ("client,server\na,b\nweb\n", "line 3: a client and a server are expected"),
        ("client,server\n\nweb,\n", "line 3: a client and a server are expected"),
        ("client,server\na,b,c\n", "line 2: a client and a server are expected"),
        ('client,server\n"a,b\n', "line 2: "),
    ],
)
def test_wrong_dependencies_are_named(
    calls: str, reason: str, explain: Explain, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the line of the file."""
    assert explain([LINE], calls=calls) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "calls.csv" in printed.err
    assert reason in printed.err


def test_columns_may_stand_the_other_way_round(explain: Explain, capsys: pytest.CaptureFixture[str]) -> None:
    """The first line says which is which."""
    assert explain(ndjson(delayed()), calls="server,client\n" + "".join(f"{b},{a}\n" for a, b in CALLS)) == 0
    assert capsys.readouterr().out.split()[0] == "ads"


def test_an_unmeasured_dependency_is_said_and_no_failure(explain: Explain, capsys: pytest.CaptureFixture[str]) -> None:
    """A service that is down may have no metrics at all; the answer stands without it."""
    assert explain(ndjson(delayed()), calls="client,server\nweb,ads\nweb,nowhere\nnowhere,ads\n") == 0
    printed = capsys.readouterr()
    assert printed.out.split()[0] == "ads"
    assert printed.err == "sextant: dependencies, line 3: no metric of this time is of the service 'nowhere'\n"


def test_nothing_to_compare_or_to_explain_is_said(explain: Explain, capsys: pytest.CaptureFixture[str]) -> None:
    """No suspects, status 0, and why."""
    assert explain([LINE], at="2025-12-31T23:58:00Z", calls="client,server\n") == 0
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "nothing to compare with" in printed.err
    assert explain([LINE], calls="client,server\n") == 0
    assert "nothing to explain" in capsys.readouterr().err
    assert explain([], calls="client,server\n") == 0


@pytest.mark.parametrize("at", ["2026-01-01T00:00:00", "now"])
def test_the_instant_needs_a_zone(at: str, explain: Explain, capsys: pytest.CaptureFixture[str]) -> None:
    """A naive time would be another one elsewhere."""
    assert explain([LINE], at=at) == 1
    assert capsys.readouterr().err.startswith("sextant: --at: ")


def test_options_are_required(capsys: pytest.CaptureFixture[str]) -> None:
    """As wrong usage of any command."""
    assert run(["explain", "--at", AT]) == 2
    assert run(["explain", "--dependencies", "x.csv"]) == 2
    assert capsys.readouterr().err


def test_a_missing_file_is_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """With the file's name."""
    assert run(["explain", "--at", AT, "--dependencies", str(tmp_path / "none.csv")]) == 1
    assert "none.csv: No such file or directory" in capsys.readouterr().err


def test_samples_are_bounded(
    explain: Explain, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only those in the window count towards the limit."""
    monkeypatch.setattr(explain_input, "SAMPLES_MAX", 2)
    outside = LINE.replace("2025-12-31T23:59", "2025-12-31T22:59")
    assert explain([LINE, outside, LINE, outside], calls="client,server\n") == 0
    assert explain([LINE, LINE, LINE], calls="client,server\n") == 1
    assert "line 3: more than 2 samples" in capsys.readouterr().err


def test_the_window_is_half_open(explain: Explain, capsys: pytest.CaptureFixture[str]) -> None:
    """[at - before, at + after)."""
    times = (AT_US - 2 * MINUTE_US - 1, AT_US - 2 * MINUTE_US, AT_US + MINUTE_US - 1, AT_US + MINUTE_US)
    lines = [LINE.replace("2025-12-31T23:59:00Z", format_time(ts_us)) for ts_us in times]
    assert explain(lines, "--json", "--before", "2m", "--after", "1m", calls="client,server\n") == 0
    assert json.loads(capsys.readouterr().out)["samples"] == 2
