"""`sextant detect`: its scores, its findings, and what it says of bad input."""

import io
import json
import math
import sys
from pathlib import Path

import pytest

from adapters.driving.cli.replay_source import LINE_BYTES_MAX
from adapters.main import run
from core.domain.times import MINUTE_US, format_time, parse_time

NAB = Path(__file__).parents[2] / "data" / "nab"
SPEED = NAB / "speed_6005.csv"
START_US = parse_time("2026-01-01T00:00:00Z", "start")


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> "Given":
    return Given(monkeypatch)


class Given:
    """Puts bytes on standard input."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch

    def __call__(self, text: str | bytes) -> None:
        data = text.encode() if isinstance(text, str) else text
        self._monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


def lines(count: int, *, spike_at: int | None = None) -> str:
    """Five-minute rows that swing between 40 and 60."""
    values = [50.0 + 10.0 * math.sin(number * 0.9) for number in range(count)]
    if spike_at is not None:
        values[spike_at] = 500.0
    return "".join(
        f"{format_time(START_US + number * 5 * MINUTE_US)},{value!r}\n" for number, value in enumerate(values)
    )


def test_scores_are_one_risk_a_row(given: Given, capsys: pytest.CaptureFixture[str]) -> None:
    """In [0, 1], at or above a half where the spike is."""
    given("timestamp,value\n" + lines(1000, spike_at=900))
    assert run(["detect", "--csv", "-", "--scores"]) == 0
    risks = [float(line) for line in capsys.readouterr().out.split()]
    assert len(risks) == 1000
    assert all(0.0 <= risk <= 1.0 for risk in risks)
    assert [row for row, risk in enumerate(risks) if risk >= 0.5] == [900]


def test_the_header_may_be_left_out(given: Given, capsys: pytest.CaptureFixture[str]) -> None:
    """The scores are the same, with a byte order mark, blank lines and other line ends too."""
    shown = []
    text = lines(400, spike_at=350)
    crlf = text.replace("\n", "\r\n\r\n")
    for written in (text, "timestamp,value\n" + text, "\ufeffTimestamp, Value\r\n" + crlf):
        given(written)
        assert run(["detect", "--csv", "-", "--scores"]) == 0
        shown.append(capsys.readouterr().out)
    assert shown[0] == shown[1] == shown[2]


def test_scores_of_real_rows_do_not_depend_on_later_rows(given: Given, capsys: pytest.CaptureFixture[str]) -> None:
    """NAB's speed_6005 cut off at several rows."""
    rows = SPEED.read_text().splitlines(keepends=True)
    shown = []
    for count in (len(rows), 2300, 1200, 100):
        given("".join(rows[:count]))
        assert run(["detect", "--csv", "-", "--scores"]) == 0
        shown.append(capsys.readouterr().out.splitlines())
    assert len(shown[0]) == len(rows) - 1
    for part in shown[1:]:
        assert part == shown[0][: len(part)]


def test_an_alert_falls_into_the_labelled_window_of_a_real_series(capsys: pytest.CaptureFixture[str]) -> None:
    """The jam of 2015-09-17 that NAB labels."""
    assert run(["detect", "--csv", str(SPEED), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["series"], report["rows"]) == ("speed_6005", 2500)
    found = [finding["at"] for finding in report["findings"] if finding["detector"].startswith("streaming:")]
    assert any("2015-09-16T18:40:00Z" <= at <= "2015-09-17T16:24:00Z" for at in found)


def test_findings_are_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """When, which detector, how sure, and in words, under the file's name or the one given."""
    file = tmp_path / "cpu.csv"
    file.write_text(lines(1000, spike_at=900))
    assert run(["detect", "--csv", str(file)]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].split() == ["AT", "DETECTOR", "RISK", "FINDING"]
    assert any("cpu spiked once up to 500 (risk 0." in line for line in shown)
    assert any("streaming:range" in line and "cpu value 500, usually 40" in line for line in shown)
    assert run(["detect", "--csv", str(file), "--name", "web-1:cpu"]) == 0
    assert "web-1:cpu spiked once" in capsys.readouterr().out


def test_json_carries_what_each_finding_rests_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Window, baseline, statistic and the usual band."""
    file = tmp_path / "cpu.csv"
    file.write_text(lines(1000, spike_at=900))
    assert run(["detect", "--csv", str(file), "--json"]) == 0
    findings = json.loads(capsys.readouterr().out)["findings"]
    streamed = next(found for found in findings if found["detector"] == "streaming:range")
    at = format_time(START_US + 900 * 5 * MINUTE_US)
    assert (streamed["start"], streamed["at"], streamed["statistic"]) == (at, at, 500.0)
    assert streamed["baseline_start"] == "2026-01-01T00:00:00Z"
    assert streamed["baseline_end"] < at
    assert 40.0 <= streamed["usual_low"] < 41.0
    assert 59.0 < streamed["usual_high"] <= 60.0
    spike = next(found for found in findings if found["detector"] == "spike")
    assert spike["baseline_start"] is None


def test_nothing_unusual_is_said(given: Given, capsys: pytest.CaptureFixture[str]) -> None:
    """An empty file too."""
    given(lines(1000))
    assert run(["detect", "--csv", "-"]) == 0
    assert capsys.readouterr().out == "nothing unusual in 1000 rows of stdin\n"
    given("")
    assert run(["detect", "--csv", "-"]) == 0
    assert capsys.readouterr().out == "nothing unusual in 0 rows of stdin\n"
    given("timestamp,value\n")
    assert run(["detect", "--csv", "-", "--scores"]) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("limit", "options", "said"),
    [
        ("80", [], "limit 80: 2026-01-31"),
        ("10", [], "limit 10: reached"),
        ("900", [], "limit 900: not within 30d as things go"),
        ("0", ["--falling"], "limit 0: never as things go"),
    ],
)
def test_a_limit_is_forecast(
    limit: str, options: list[str], said: str, given: Given, capsys: pytest.CaptureFixture[str]
) -> None:
    """From 50 by one a day, for ten days."""
    given("".join(f"{format_time(START_US + hour * 60 * MINUTE_US)},{50 + hour / 24}\n" for hour in range(240)))
    assert run(["detect", "--csv", "-", "--limit", limit, *options]) == 0
    assert said in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("timestamp,value\n2026-01-01 00:00:00,1\nx,2\n", "-:3: timestamp: 'x' is not an RFC 3339 timestamp"),
        ("2026-01-01 00:00:00,one\n", "-:1: value: 'one' is not a number"),
        ("2026-01-01 00:00:00,\n", "-:1: value: '' is not a number"),
        ("2026-01-01 00:00:00,nan\n", "-:1: value: 'nan' is not a finite number"),
        ("2026-01-01 00:00:00,1_000\n", "-:1: value: '1_000' is not a finite number"),
        ("\n\n2026-01-01 00:00:00\n", "-:3: line: 1 fields; timestamp,value is expected"),
        ("2026-01-01 00:00:00,1\ntimestamp,value\n", "-:2: value: 'value' is not a number"),
        (b"2026-01-01 00:00:00,1\n\xff\xfe,1\n", "-:2: is not UTF-8 text"),
        ("2026-02-30 00:00:00,1\n", "-:1: timestamp: '2026-02-30T00:00:00Z' is not a date that exists"),
        ("1" * (LINE_BYTES_MAX + 5), f"-:1: longer than {LINE_BYTES_MAX} bytes"),
    ],
)
@pytest.mark.parametrize("options", [[], ["--scores"], ["--json"]])
def test_a_bad_line_is_named(
    text: str | bytes, said: str, options: list[str], given: Given, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its number, what is wrong, and status 2."""
    given(text)
    assert run(["detect", "--csv", "-", *options]) == 2
    assert f"sextant: {said}" in capsys.readouterr().err


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Missing, or a directory."""
    assert run(["detect", "--csv", str(tmp_path / "none.csv")]) == 2
    assert "none.csv: No such file or directory" in capsys.readouterr().err
    assert run(["detect", "--csv", str(tmp_path)]) == 2
    assert "Is a directory" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--csv", "-", "--scores", "--json"],
        ["--csv", "-", "--scores", "--limit", "1"],
        ["--csv", "-", "--falling"],
        ["--csv", "-", "--limit", "nan"],
        ["--csv", "-", "--limit", "inf"],
    ],
)
def test_options_that_do_not_go_together_are_wrong_usage(
    words: list[str], given: Given, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is read."""
    given("x")
    assert run(["detect", *words]) == 2
    assert capsys.readouterr().err
