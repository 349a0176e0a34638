"""What a command that is only looked at, or asks a server, does not pay for."""

import subprocess
import sys

import pytest

HEAVY = {
    "numpy", "scipy", "aiohttp", "botocore", "aiobotocore", "kubernetes_asyncio", "sqlalchemy", "psycopg", "litestar",
    "temporalio", "cryptography",
}  # fmt: skip
"""Half a second together, and tens of megabytes."""
CODE = "import sys; from adapters.main import run; run(sys.argv[1:]); print(*sys.modules)"


@pytest.mark.parametrize("words", ["--help", "status --help", "telemetry golden --help"])
def test_help_imports_nothing_heavy(words: str) -> None:
    """No numbers, no databases, no vendors' clients, no server."""
    said = subprocess.run([sys.executable, "-c", CODE, *words.split()], capture_output=True, text=True, check=True)
    modules = {name.partition(".")[0] for name in said.stdout.splitlines()[-1].split()}
    assert "cyclopts" in modules
    assert sorted(modules & HEAVY) == []


def test_collecting_imports_no_vendors_client() -> None:
    """The server has those; what is missing here is said before anything is asked."""
    words = ["collect", "datadog", "--query", "x", "--url", "http://127.0.0.1:9", "--key", "sx_none"]
    said = subprocess.run([sys.executable, "-c", CODE, *words], capture_output=True, text=True, check=True, env={})
    modules = {name.partition(".")[0] for name in said.stdout.splitlines()[-1].split()}
    assert "needs a source that is described here" in said.stderr
    assert sorted(modules & (HEAVY - {"aiohttp"})) == []
