"""`sextant demo`: what a stranger sees within the first minute."""

import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.program import free_port

PATIENCE_S = 120
"""On a busy machine; a minute is what it takes there at most."""
DRY_RUN = r"dry run.*POST"
RESOLVED = r"  alert resolved +critical: cloud machine busy"
INCIDENT = r"  incident \d+ "


@pytest.mark.slow
def test_an_alert_fires_and_its_remediation_says_what_it_would_do(tmp_path: Path) -> None:
    """Live data, an alert, a dry run, and what detection found; Ctrl-C stops all of it, and the exit status is 0."""
    command = [sys.executable, "-m", "adapters.main", "demo", "--port", str(free_port())]
    process = subprocess.Popen(
        [*command, "--data-dir", str(tmp_path / "demo")], stdout=subprocess.PIPE, text=True, cwd=tmp_path
    )
    giving_up = threading.Timer(PATIENCE_S, process.kill)
    giving_up.start()
    try:
        seen = list(_until_all(process, DRY_RUN, RESOLVED, INCIDENT))
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=PATIENCE_S)
    finally:
        giving_up.cancel()
        process.kill()
    told = [line for line in seen if line.startswith("  ") and ":" in line[:12]]
    assert any("alert fired" in line and "cloud machine busy" in line for line in told), seen
    assert any("dry run" in line and "POST" in line for line in told), seen
    assert any(re.search(RESOLVED, line) for line in told), seen
    assert any("anomaly" in line and "host-stressed:" in line and "risk 1.00" in line for line in told), seen
    [incident] = [line for line in told if re.search(INCIDENT, line)]
    assert "host-stressed experienced: " in incident
    assert "More: sextant incidents show " in incident
    assert "Sextant demo stopped." in rest
    assert process.returncode == 0


def _until_all(process: subprocess.Popen[str], *patterns: str) -> Iterator[str]:
    """The lines that a program prints until each pattern was found in one of them, or until its end."""
    assert process.stdout is not None
    missing = set(patterns)
    for line in process.stdout:
        yield line
        missing = {pattern for pattern in missing if not re.search(pattern, line)}
        if not missing:
            return
