"""What the demo says first."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from adapters.driving.cli.client import Target
from adapters.driving.cli.demo_introduction import introduction, queries
from core.domain.times import parse_time

TARGET = Target("http://127.0.0.1:8123", "sx_key")
NOW_US = parse_time("2026-11-22T09:00:00Z", "")
DATA_DIR = Path("/home/somebody else/.demo")


def said() -> str:
    """The whole text."""
    return introduction(TARGET, DATA_DIR, queries(NOW_US))


def test_every_query_can_be_pasted() -> None:
    """Each is one command that a shell takes apart as it was meant."""
    commands = [shlex.split(line) for line in said().splitlines() if line.startswith("  curl ")]
    assert len(commands) == 4
    assert all("Authorization: Bearer sx_key" in words for words in commands)
    assert all(words[-1].startswith("http://127.0.0.1:8123/api/v1/") for words in commands)
    assert commands[-1][-1].endswith("/incidents")
    assert "label=mode=~user|system|idle" in commands[1]


def test_a_shell_finds_this_server_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    """URL, key and program, whatever the paths are."""
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    export = next(line for line in said().splitlines() if line.startswith("  export "))
    done = subprocess.run(["sh", "-c", f"{export}; env"], capture_output=True, text=True, check=True, timeout=10)
    known = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    assert known["SEXTANT_AGENT_URL"] == TARGET.url
    assert known["SEXTANT_AGENT_KEY_FILE"] == str(DATA_DIR / "admin.key")
    if Path(sys.executable).with_name("sextant").exists():
        assert known["PATH"].startswith(str(Path(sys.executable).parent))


def test_it_says_what_is_made_up() -> None:
    """The hosts that are simulated are called so."""
    assert "two hosts are simulated" in said()
    assert "simulated hosts" in said()
