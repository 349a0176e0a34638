"""Running remediation workflows of tests: each with an order and a worker of its own."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from temporalio.client import Client, WorkflowHandle

from adapters.driving.temporal.worker import build_worker
from adapters.driving.temporal.workflow import RemediationWorkflow
from core.domain.remediation import RemediationOrder, RemediationState
from tests.support.remediation import RememberedWork, order
from tests.support.temporal import eventually

Handle = WorkflowHandle[RemediationWorkflow, RemediationState]

PATIENCE_S = 60.0
"""Of a test: everything here takes moments."""
_numbers = itertools.count(1)


def made(**fields: Any) -> RemediationOrder:
    """An order that no other test has."""
    return order(next(_numbers), **fields)


@asynccontextmanager
async def started(client: Client, work: RememberedWork, wanted: RemediationOrder) -> AsyncIterator[Handle]:
    """Starts the order's workflow and a worker of its own."""
    queue = wanted.workflow_id
    async with asyncio.timeout(PATIENCE_S):
        handle = await client.start_workflow(RemediationWorkflow.run, wanted, id=wanted.workflow_id, task_queue=queue)
        async with build_worker(client, queue, work, 4):
            yield handle


async def until(holds: Callable[[], bool]) -> None:
    """Waits for a condition."""

    async def held() -> bool:
        return holds()

    await eventually(held)


async def asked(work: RememberedWork) -> None:
    """Waits until somebody was asked for approval."""
    await until(lambda: any(ask for _, ask in work.told.values()))
