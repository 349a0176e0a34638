"""The database servers to measure on, and the processor time that their processes have spent."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psycopg

from adapters.runtime.embedded_postgres import run_embedded_postgres
from tests.benchmarks.processes import parent_of, usage_of
from tests.support.servers import fresh_database, native_timescale_url

EngineName = Literal["timescale", "postgres"]


@dataclass(frozen=True)
class BenchEngine:
    """A running server. `postmaster_pid` is None where it runs on another host, its CPU time unknown."""

    name: EngineName
    url: str
    postmaster_pid: int | None

    @property
    def has_timescale(self) -> bool:
        """Whether the extension is to be used."""
        return self.name == "timescale"

    @contextmanager
    def database(self) -> Iterator[str]:
        """Yield the URL of a new database, and drop it; a checkpoint keeps earlier work out of the clock."""
        with fresh_database(self.url, with_timescale=self.has_timescale) as url:
            self.checkpoint()
            yield url

    def checkpoint(self) -> None:
        """Write out what earlier work left dirty."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("CHECKPOINT")

    def cpu_s(self) -> float:
        """Processor time of all of PostgreSQL's processes since its start; NaN where it cannot be seen."""
        return usage_of(self.postmaster_pid).cpu_s if self.postmaster_pid else float("nan")


@contextmanager
def open_engine(name: EngineName) -> Iterator[BenchEngine]:
    """Yield the native TimescaleDB that the environment names, or an embedded PostgreSQL started here."""
    if name == "timescale":
        url = native_timescale_url()
        yield BenchEngine(name, url, _postmaster_pid(url))
        return
    with (
        tempfile.TemporaryDirectory(prefix="sextant-bench-") as directory,
        run_embedded_postgres(Path(directory, "data")) as server,
    ):
        yield BenchEngine(name, server.url, server.pid)


def _postmaster_pid(url: str) -> int | None:
    """Return the parent of our backend if it is a process of this host."""
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT pg_backend_pid()").fetchone()
        assert row is not None
        try:
            program = Path(f"/proc/{row[0]}/cmdline").read_bytes()
        except FileNotFoundError:
            return None
        return parent_of(row[0]) if program.startswith(b"postgres") else None
