"""A server for the commands that ask one."""

import io
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.scripted_source import ScriptedVendor
from tests.unit.cli.served_api import Commands, ServedApi, served_api
from tests.unit.cli.served_collector import DATADOG, filled


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[ServedApi]:
    """Yield a server with nothing in it, named in the environment."""
    with served_api() as server:
        monkeypatch.setenv("SEXTANT_AGENT_URL", server.url)
        monkeypatch.setenv("SEXTANT_AGENT_KEY", server.key)
        yield server


@pytest.fixture
def sextant(api: ServedApi, capsys: pytest.CaptureFixture[str]) -> Commands:
    """Return what runs commands against it."""
    return Commands(api, capsys)


@pytest.fixture
def type_in(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Return what puts a text on standard input for the next command."""

    def put(text: str) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))

    return put


@pytest.fixture
def no_vendors(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Takes all vendors' variables out of the environment, and this machine's AWS configuration."""
    vendors = ("AWS_", "DATADOG_", "EKS_", "HAWKEYE_", "NEWRELIC_", "PROMETHEUS_")
    for name in [name for name in os.environ if name.startswith(vendors)]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "no-credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def datadog(no_vendors: None, monkeypatch: pytest.MonkeyPatch) -> ScriptedVendor:
    """Return a vendor with points of two hosts, and set what names it."""
    for name, secret in DATADOG.items():
        monkeypatch.setenv(name, secret)
    return filled(ScriptedVendor())
