"""The command line itself: exit statuses, hidden arguments, what is printed."""

import json

import pytest

from adapters.driving.cli.program import RemediationStatus
from adapters.driving.cli.status import facts, report, size_text
from adapters.main import command_line, run
from ports.driven.keeping import StorageStatus
from ports.driven.workflow_engine import EngineStatus

EMPTY = StorageStatus(
    engine="postgresql",
    engine_version="PostgreSQL 18.1",
    licence=None,
    schema_version="0004",
    tenants=1,
    series=0,
    samples=0,
    unsettled_points=0,
    unsettled_oldest_us=None,
    unevaluated_points=0,
    unevaluated_oldest_us=None,
    chunks=0,
    compressed_chunks=0,
    size_bytes=0,
    uncompressed_bytes=None,
    oldest_us=None,
    newest_us=None,
)


READY = RemediationStatus(engine=EngineStatus(available=True, address="127.0.0.1:7233"), waiting=0)


@pytest.mark.parametrize(
    "words", [["--no-such"], ["serve", "--port", "x"], ["serve", "--port", "0"], ["key", "revoke"], ["x"]]
)
def test_wrong_usage_is_status_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """As shells and scripts expect."""
    assert run(words) == 2
    assert capsys.readouterr().err


def test_a_wrong_setting_is_status_1_and_one_line_each(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every command that has settings refuses to start."""
    monkeypatch.setenv("SEXTANT_SERVER_PORT", "x")
    monkeypatch.setenv("SEXTANT_LOG_LEVEL", "x")
    assert run(["status"]) == 1
    assert capsys.readouterr().err.splitlines() == [
        "sextant: SEXTANT_SERVER_PORT: 'x' is not an integer from 1 to 65535",
        "sextant: SEXTANT_LOG_LEVEL: 'x' is not one of debug, info, warning, error",
    ]


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        (
            "postgresql://u:hunter2@127.0.0.1:9/d",
            "cannot use the database 127.0.0.1:9/d: Connection refused; start the server",
        ),
        ("postgresql://u:hunter2@h.invalid/d", "cannot use the database h.invalid:5432/d: failed to resolve host"),
        ("postgresql:///d?host=/nowhere", "cannot use the database /nowhere:5432/d: No such file or directory; start"),
        ("postgresql://u:hunter2@127.0.0.1:9/d?nonsense=1", "cannot use the database 127.0.0.1:9/d: invalid URI query"),
    ],
)
def test_a_database_out_of_reach_is_one_line(
    url: str, reason: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It says where, why and what to do, without the password."""
    monkeypatch.setenv("SEXTANT_DATABASE_URL", url)
    assert run(["migrate"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"sextant: {reason}")
    assert "hunter2" not in line


def test_no_database_yet_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: object, capsys: pytest.CaptureFixture[str]
) -> None:
    """Looking does not create one."""
    monkeypatch.delenv("SEXTANT_DATABASE_URL", raising=False)
    assert run(["status", "--data-dir", str(tmp_path)]) == 1
    assert "there is no database in" in capsys.readouterr().err


def test_settings_are_shown_with_secrets_masked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a pipe as columns, with --json as JSON."""
    monkeypatch.setenv("SEXTANT_DATABASE_URL", "postgresql://u:hunter2@h/d")
    monkeypatch.setenv("SEXTANT_INGEST_FUTURE_SKEW", "1m")
    assert run(["settings"]) == 0
    table = capsys.readouterr().out
    assert "hunter2" not in table
    assert table.splitlines()[0].split() == ["VARIABLE", "VALUE", "DEFAULT", "MEANING"]
    assert run(["settings", "--json"]) == 0
    printed = {line["variable"]: line["value"] for line in json.loads(capsys.readouterr().out)}
    assert printed["SEXTANT_INGEST_FUTURE_SKEW"] == "1m"
    assert printed["SEXTANT_DATABASE_URL"] == "…"


def help_of(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What ``--help`` prints."""
    assert run([*words, "--help"]) == 0
    return capsys.readouterr().out


def test_every_command_has_help_worth_reading(capsys: pytest.CaptureFixture[str]) -> None:
    """A summary, and what its exit status means."""
    app = command_line()
    for name in app:
        if name.startswith("-"):
            continue
        text = help_of([name], capsys)
        assert len(text.splitlines()) > 8, name
        assert "Exit " in text, name


def test_hidden_arguments_are_not_options(capsys: pytest.CaptureFixture[str]) -> None:
    """What main passes in cannot be given by the user."""
    text = help_of(["serve"], capsys)
    assert "--program" not in text
    assert "--settings" not in text


def test_status_of_an_empty_store_has_no_numbers_where_there_are_none() -> None:
    """Absent is absent, not 0."""
    shown = report(EMPTY, READY, "h:5432/d", now_us=0)
    assert shown.compression_ratio is None
    assert shown.unsettled_age_s is None
    assert shown.oldest_sample is None
    assert dict(facts(shown))["compression"] == "none"


def test_status_relates_sizes_and_times() -> None:
    """The ratio is before over after; the age is from the oldest unsettled block to now."""
    values = {name: getattr(EMPTY, name) for name in EMPTY.__struct_fields__}
    full = StorageStatus(
        **{
            **values,
            "uncompressed_bytes": 10_000_000,
            "size_bytes": 1_000_000,
            "samples": 200_000,
            "unsettled_points": 5,
            "unsettled_oldest_us": 1_000_000,
            "oldest_us": 0,
        }
    )
    shown = report(full, READY, "h:5432/d", now_us=61_500_000)
    assert shown.compression_ratio == 10
    assert shown.unsettled_age_s == 60.5
    assert shown.oldest_sample == "1970-01-01T00:00:00Z"
    assert dict(facts(shown))["compression"] == "10 times smaller than 9.54 MiB of plain rows"
    assert dict(facts(shown))["size on disk"] == "977 KiB, 5 bytes a sample"


def test_status_says_whether_remediation_can_begin() -> None:
    """Where Temporal is, or why it is not there, and what waits for it."""
    assert dict(facts(report(EMPTY, READY, "d", now_us=0)))["temporal"] == "at 127.0.0.1:7233"
    away = EngineStatus(available=False, address=None, reason="no Temporal is set up")
    shown = report(EMPTY, RemediationStatus(engine=away, waiting=1_200), "d", now_us=0)
    assert (shown.temporal, shown.temporal_available, shown.remediations_waiting) == (None, False, 1_200)
    assert dict(facts(shown))["temporal"] == "away: no Temporal is set up"
    assert dict(facts(shown))["remediations"] == "1,200 waiting to be started"


def test_sizes_have_three_digits() -> None:
    """Whatever their magnitude."""
    assert [size_text(size) for size in (0, 999, 1_024, 5 * 1_024**3, 3 * 1_024**5)] == [
        "0 B",
        "999 B",
        "1 KiB",
        "5 GiB",
        "3.07e+03 TiB",
    ]
