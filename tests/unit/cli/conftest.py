"""A server for the commands that ask one."""

from collections.abc import Iterator

import pytest

from tests.unit.cli.served_api import Commands, ServedApi, served_api


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
