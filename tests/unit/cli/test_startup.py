"""What `sextant serve` says at its start, and the address it takes."""

import re
import socket

import msgspec
import pytest

from adapters.driving.cli.output import CommandError
from adapters.driving.cli.program import Migrated
from adapters.driving.cli.serve import startup_block
from adapters.driving.cli.workers import listen_address
from adapters.runtime.settings import ServerSettings, Settings

PLAIN = Migrated(
    engine="postgresql",
    engine_reason="TimescaleDB is not installed on this server",
    server_version="18.1",
    extension_version=None,
    licence=None,
    applied=(),
    schema_version="0004",
)
FULL = msgspec.structs.replace(
    PLAIN, engine="timescaledb", engine_reason="", extension_version="2.28.3", licence="timescale"
)
TEMPORAL = "Temporal at 127.0.0.1:40123 (embedded)"


def test_the_block_says_what_the_server_runs_on() -> None:
    """Address, documentation, engine with versions, what the licence means, data directory, workers."""
    text = startup_block(Settings(), FULL, None, TEMPORAL)
    assert "http://127.0.0.1:8000/docs" in text
    assert "TimescaleDB 2.28.3 on PostgreSQL 18.1, schema 0004" in text
    assert "full licence: samples are compressed" in text
    assert re.search(r"Remediation +Temporal at 127.0.0.1:40123 \(embedded\)", text)
    assert str(Settings().server.data_dir) in text
    assert "key" not in text.lower()


def test_the_block_says_what_is_missing_without_timescale() -> None:
    """And why."""
    text = startup_block(Settings(), PLAIN, None, TEMPORAL)
    assert "no compression and no stored aggregates: TimescaleDB is not installed on this server" in text


def test_the_block_shows_a_new_key_once_with_its_file() -> None:
    """On the first start."""
    text = startup_block(Settings(), PLAIN, "sx_key", TEMPORAL)
    assert re.search(r"Admin key +sx_key +\(shown once; kept in .*/admin.key\)", text)


def test_an_ipv6_address_is_bracketed() -> None:
    """So that the URL can be opened."""
    text = startup_block(Settings(server=ServerSettings(host="::1")), PLAIN, None, TEMPORAL)
    assert "http://[::1]:8000/docs" in text


def test_a_host_name_becomes_an_address() -> None:
    """The server binds addresses."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert listen_address(ServerSettings(host="localhost", port=port)) in ("127.0.0.1", "::1")


def test_a_port_in_use_is_refused() -> None:
    """Also one that its owner shares with others of the same user, as Granian's workers do."""
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(CommandError, match=rf"cannot listen on 127.0.0.1:{port}: Address already in use; stop"):
            listen_address(ServerSettings(port=port))


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        ("no.such.host.invalid", "cannot listen on 'no.such.host.invalid'"),
        ("192.0.2.1", "Cannot assign requested address"),
    ],
)
def test_an_address_that_is_not_ours_is_refused(host: str, reason: str) -> None:
    """It says which and what to change."""
    with pytest.raises(CommandError, match=reason):
        listen_address(ServerSettings(host=host))
