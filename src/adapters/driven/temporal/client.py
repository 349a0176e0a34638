"""The workflow engine on Temporal: starts remediations, passes on what people say to them."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Final

from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from adapters.runtime.settings import TemporalSettings
from adapters.runtime.temporal_client import ONE_TRY, connect_temporal
from core.domain.errors import InvalidInput, NotFound, Unavailable
from core.domain.remediation import Decision, RemediationOrder
from ports.driven.workflow_engine import EngineStatus

WORKFLOW: Final = "remediation"
"""The workflow type's name; its first argument is the order."""
DECIDE: Final = "decide"
"""The signal that carries a `Decision`."""
CANCEL: Final = "request_cancel"
"""The signal that carries who asks."""
CALL_TIMEOUT: Final = timedelta(seconds=5)
"""Temporal answers in milliseconds; whoever waits behind this call does not wait longer."""
EXECUTION_TIMEOUT: Final = timedelta(days=30)
"""A workflow ends by its policy's own time-outs; this one is for a workflow that no worker can run any more."""


class TemporalWorkflowEngine:
    """Implements `WorkflowEngine`. Connects at the first call, and again whenever the connection was lost."""

    def __init__(self, settings: TemporalSettings, *, status_timeout_s: float) -> None:
        self._settings = settings
        self._status_timeout_s = status_timeout_s
        self._client: Client | None = None
        self._attempt: asyncio.Task[Client] | None = None

    async def start(self, order: RemediationOrder) -> None:
        """Sees to it that the order's workflow was started, once however often this is called.

        Raises `Unavailable`, and `InvalidInput` where Temporal will never take this order.
        """
        client = await self._connected()
        with self._translated():
            try:
                await client.start_workflow(
                    WORKFLOW,
                    order,
                    id=order.workflow_id,
                    task_queue=self._settings.task_queue,
                    id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                    id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
                    execution_timeout=EXECUTION_TIMEOUT,
                    memo={"tenant": order.tenant, "rule": order.rule.name, "policy": order.policy.name},
                    rpc_timeout=CALL_TIMEOUT,
                )
            except WorkflowAlreadyStartedError:
                return

    async def decide(self, workflow_id: str, decision: Decision) -> None:
        """Passes on a person's answer. Raises `NotFound` where no such workflow is running, `Unavailable`."""
        await self._signal(workflow_id, DECIDE, decision)

    async def cancel(self, workflow_id: str, by: str) -> None:
        """Asks a workflow to stop and clean up. Raises `NotFound` where none is running, `Unavailable`."""
        await self._signal(workflow_id, CANCEL, by)

    async def status(self) -> EngineStatus:
        """Whether Temporal answers for the namespace, within the time given at the start."""
        address = self._settings.address
        try:
            async with asyncio.timeout(self._status_timeout_s):
                await self._describe_namespace()
        except Unavailable as error:
            return EngineStatus(available=False, address=address, reason=str(error))
        except TimeoutError:
            reason = f"Temporal at {address} did not answer in {self._status_timeout_s:g} s"
            return EngineStatus(available=False, address=address, reason=reason)
        return EngineStatus(available=True, address=address)

    async def _describe_namespace(self) -> None:
        client = await self._connected()
        request = DescribeNamespaceRequest(namespace=self._settings.namespace)
        with self._translated():
            await client.workflow_service.describe_namespace(request, timeout=CALL_TIMEOUT)

    async def _signal(self, workflow_id: str, signal: str, argument: Decision | str) -> None:
        client = await self._connected()
        with self._translated(workflow_id):
            handle = client.get_workflow_handle(workflow_id)
            await handle.signal(signal, argument, rpc_timeout=CALL_TIMEOUT)

    async def _connected(self) -> Client:
        """The client; all who ask while it connects wait for the same attempt, so that none waits for others' time."""
        if self._client is None:
            if self._attempt is None:
                self._attempt = asyncio.create_task(connect_temporal(self._settings, retry=ONE_TRY))
                self._attempt.add_done_callback(self._attempted)
            self._client = await asyncio.shield(self._attempt)
        return self._client

    def _attempted(self, attempt: asyncio.Task[Client]) -> None:
        self._attempt = None
        if not attempt.cancelled():
            attempt.exception()  # whoever waited has it; nobody may have

    @contextmanager
    def _translated(self, workflow_id: str | None = None) -> Iterator[None]:
        """Temporal's errors as ours; what is not found is `workflow_id` where one is named, else the namespace."""
        try:
            yield
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND and workflow_id is not None:
                raise NotFound("running workflow", workflow_id) from error
            if error.status is RPCStatusCode.INVALID_ARGUMENT:
                raise InvalidInput("remediation", f"Temporal refuses it: {error.message}") from error
            status = error.status.name.lower()
            raise Unavailable(f"Temporal at {self._settings.address}: {error.message} ({status})") from error
