"""References on the framework and server that Sextant uses: `python -m tests.benchmarks.reference_app`.

naive   what one writes in an afternoon: decode with msgspec, COPY (ts, name, labels jsonb, value), answer
noop    read the body and answer 200: the most that framework and server allow
"""

import argparse
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime

import asyncpg
import msgspec
from granian import Granian
from granian.constants import HTTPModes, Interfaces, Loops
from litestar import Litestar, Request, get, post
from litestar.datastructures import State
from litestar.status_codes import HTTP_200_OK

from tests.benchmarks.workload import BATCH_PATH, INGEST_PATH

DATABASE_VARIABLE = "BENCH_DATABASE_URL"
COLUMNS = ("ts", "name", "labels", "value")


Received = Request[None, None, State]


class Metric(msgspec.Struct):
    """A metric as sent."""

    name: str
    value: float
    labels: dict[str, str]
    timestamp: datetime


class Batch(msgspec.Struct):
    """A request of many metrics."""

    metrics: list[Metric]


def build_naive() -> Litestar:
    """Return the naive server's application; its database comes in the environment."""
    return Litestar([ready, ingest, ingest_batch], lifespan=[_pool], openapi_config=None)


def build_noop() -> Litestar:
    """Return the application that only reads."""
    return Litestar([ready, noop], openapi_config=None)


@get("/readyz")
async def ready() -> dict[str, bool]:
    """Answer once the application runs."""
    return {"ready": True}


@post([INGEST_PATH, BATCH_PATH], status_code=HTTP_200_OK)
async def noop(request: Received) -> dict[str, int]:
    """Read the body, keep nothing."""
    await request.body()
    return {"accepted": 1}


@post(INGEST_PATH, status_code=HTTP_200_OK)
async def ingest(data: Metric, request: Received) -> dict[str, int]:
    """Store one metric."""
    return await _store(request.app, [data])


@post(BATCH_PATH, status_code=HTTP_200_OK)
async def ingest_batch(data: Batch, request: Received) -> dict[str, int]:
    """Store many metrics."""
    return await _store(request.app, data.metrics)


async def _store(app: Litestar, metrics: list[Metric]) -> dict[str, int]:
    records = [(m.timestamp, m.name, msgspec.json.encode(m.labels).decode(), m.value) for m in metrics]
    async with app.state.pool.acquire() as connection:
        await connection.copy_records_to_table("metrics", records=records, columns=COLUMNS)
    return {"accepted": len(records)}


@asynccontextmanager
async def _pool(app: Litestar) -> AsyncIterator[None]:
    async with asyncpg.create_pool(os.environ[DATABASE_VARIABLE]) as pool:
        app.state.pool = pool
        yield


def main() -> None:
    """Serve one of the applications until SIGTERM."""
    parser = argparse.ArgumentParser(description="Serve a reference of the benchmarks.")
    parser.add_argument("app", choices=["naive", "noop"])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    Granian(
        f"tests.benchmarks.reference_app:build_{options.app}",
        factory=True,
        port=options.port,
        workers=options.workers,
        interface=Interfaces.ASGI,
        loop=Loops.uvloop,
        http=HTTPModes.http1,
        websockets=False,
        log_enabled=False,
    ).serve()


if __name__ == "__main__":
    main()
