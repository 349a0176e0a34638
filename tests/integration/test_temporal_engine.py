"""The workflow engine against a real Temporal: one workflow for each order, and what people say reaches it."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Iterator

import pytest
from temporalio import workflow
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from adapters.driven.temporal.engine import AbsentWorkflowEngine, workflow_engine
from adapters.runtime.embedded_temporal import run_embedded_temporal
from adapters.runtime.settings import TemporalSettings
from adapters.runtime.temporal_client import CONNECT_TIMEOUT_S, connect_temporal
from core.domain.errors import InvalidInput, NotFound, Unavailable
from core.domain.remediation import Decision, RemediationOrder
from ports.driven.workflow_engine import WorkflowEngine
from tests.support.orders import order
from tests.support.temporal import eventually, require_temporal, run_temporal, started_workflows

APPROVED = Decision(approved=True, by="key:sx_1", reason="looks right")


@workflow.defn(name="remediation", sandboxed=False)
class Remembering:
    """Answers with what it was started with and told."""

    def __init__(self) -> None:
        self.decision: Decision | None = None
        self.cancelled_by: str | None = None

    @workflow.run
    async def run(self, order: RemediationOrder) -> tuple[RemediationOrder, Decision | None, str | None]:
        """Waits until somebody wants it to end."""
        await workflow.wait_condition(lambda: self.cancelled_by is not None)
        return order, self.decision, self.cancelled_by

    @workflow.signal
    def decide(self, decision: Decision) -> None:
        """Takes the answer."""
        self.decision = decision

    @workflow.signal
    def request_cancel(self, by: str) -> None:
        """Ends it."""
        self.cancelled_by = by


async def listed(client: Client, count: int) -> list[str]:
    """What Temporal lists once it lists so many."""

    async def there() -> bool:
        return len(await started_workflows(client)) >= count

    await eventually(there)
    return await started_workflows(client)


async def is_there(engine: WorkflowEngine) -> bool:
    """Whether the engine says that workflows can be started."""
    return (await engine.status()).available


@pytest.fixture(scope="module")
def temporal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TemporalSettings]:
    """Yield the settings of a server for this module's tests."""
    with run_temporal(tmp_path_factory.mktemp("temporal")) as settings:
        yield settings


@pytest.fixture
async def client(temporal: TemporalSettings) -> Client:
    """Return a client of that server."""
    return await connect_temporal(temporal)


@pytest.fixture
async def worker(temporal: TemporalSettings, client: Client) -> AsyncIterator[None]:
    """Run `Remembering` for the length of a test."""
    async with Worker(
        client,
        task_queue=temporal.task_queue,
        workflows=[Remembering],
        workflow_runner=UnsandboxedWorkflowRunner(),
    ):
        yield


@pytest.fixture
def engine(temporal: TemporalSettings) -> WorkflowEngine:
    """Return an engine that has not connected yet."""
    return workflow_engine(temporal)


async def test_starting_again_starts_nothing(
    temporal: TemporalSettings, engine: WorkflowEngine, client: Client, worker: None
) -> None:
    """By two engines at once, while it runs and after it has ended: one run, by Temporal's own list."""
    other = workflow_engine(temporal)
    wanted = [order(number) for number in (1, 2, 3)]
    await asyncio.gather(*(each.start(one) for one in wanted for each in (engine, other)))
    await engine.cancel(wanted[0].workflow_id, "key:sx_1")
    await client.get_workflow_handle(wanted[0].workflow_id).result()
    await engine.start(wanted[0])
    assert await listed(client, len(wanted)) == [one.workflow_id for one in wanted]


async def test_the_workflow_has_the_order_and_hears_what_people_say(
    engine: WorkflowEngine, client: Client, worker: None
) -> None:
    """The order as it was, the decision, and who wants it to stop."""
    one = order(10)
    await engine.start(one)
    await engine.decide(one.workflow_id, APPROVED)
    await engine.cancel(one.workflow_id, "key:sx_2")
    handle = client.get_workflow_handle(
        one.workflow_id, result_type=tuple[RemediationOrder, Decision | None, str | None]
    )
    assert await handle.result() == (one, APPROVED, "key:sx_2")
    memo = await (await handle.describe()).memo()
    assert memo == {"tenant": "default", "rule": "high", "policy": "wait"}


async def test_what_does_not_run_is_not_found(engine: WorkflowEngine, client: Client, worker: None) -> None:
    """Neither one that was never started nor one that has ended can be told anything."""
    with pytest.raises(NotFound, match="sextant-none"):
        await engine.decide("sextant-none", APPROVED)
    one = order(20)
    await engine.start(one)
    await engine.cancel(one.workflow_id, "key:sx_1")
    handle = client.get_workflow_handle(one.workflow_id)
    await handle.result()
    assert (await handle.describe()).status is WorkflowExecutionStatus.COMPLETED
    with pytest.raises(NotFound):
        await engine.cancel(one.workflow_id, "key:sx_1")


async def test_an_order_that_temporal_will_never_take_is_the_callers_fault(engine: WorkflowEngine) -> None:
    """One that is larger than Temporal's limit: trying again is of no use."""
    with pytest.raises(InvalidInput, match="Temporal refuses it"):
        await engine.start(order(30, labels={f"l{number}": "x" * 30_000 for number in range(100)}))


async def test_status_says_whether_it_is_there(temporal: TemporalSettings) -> None:
    """With the reason where it is not, a missing namespace among them."""
    assert (await workflow_engine(temporal, status_timeout_s=30.0).status()).available
    elsewhere = TemporalSettings(address=temporal.address, namespace="elsewhere")
    wrong = workflow_engine(elsewhere, status_timeout_s=30.0)
    status = await wrong.status()
    assert not status.available
    assert status.address == temporal.address
    assert "elsewhere" in (status.reason or "")
    with pytest.raises(Unavailable, match="elsewhere"):
        await wrong.start(order(40))


async def test_an_engine_outlives_its_server(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Away before the first call, there, away, there again: it says so each time and needs no restart."""
    require_temporal()
    data_dir = tmp_path_factory.mktemp("coming-and-going")
    with run_embedded_temporal(data_dir) as server:
        address = server.address
    engine = workflow_engine(TemporalSettings(address=address, task_queue="nobody"))
    with pytest.raises(Unavailable, match="Connection refused"):
        await engine.start(order(1))
    for number in (1, 2):
        with run_embedded_temporal(data_dir, address=address):
            await eventually(lambda: is_there(engine))
            await engine.start(order(1))
            await engine.start(order(number))
        with pytest.raises(Unavailable):
            await engine.start(order(3))
        status = await engine.status()
        assert not status.available
        assert status.reason
    with run_embedded_temporal(data_dir, address=address):
        client = await connect_temporal(TemporalSettings(address=address))
        assert await listed(client, 2) == [order(1).workflow_id, order(2).workflow_id]


async def test_nobody_waits_for_other_peoples_attempts() -> None:
    """Of an address that takes connections and never answers, all who asked at once know at once, status very soon."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        engine = workflow_engine(TemporalSettings(address=f"127.0.0.1:{silent.getsockname()[1]}"))
        started_s = time.monotonic()
        answers = [asyncio.create_task(engine.start(order(number))) for number in range(20)]
        status = await engine.status()
        assert time.monotonic() - started_s < CONNECT_TIMEOUT_S / 2
        assert not any(answer.done() for answer in answers)
        assert not status.available
        assert status.reason is not None
        assert status.reason.endswith("did not answer in 0.8 s")
        for refused in await asyncio.gather(*answers, return_exceptions=True):
            assert isinstance(refused, Unavailable)
        assert time.monotonic() - started_s < 2 * CONNECT_TIMEOUT_S


async def test_without_temporal_everybody_is_told_why() -> None:
    """The reason that it was made with."""
    assert isinstance(workflow_engine(TemporalSettings()), AbsentWorkflowEngine)
    engine = AbsentWorkflowEngine("no Temporal is set up")
    status = await engine.status()
    assert (status.available, status.address, status.reason) == (False, None, "no Temporal is set up")
    for call in (engine.start(order(1)), engine.decide("x", APPROVED), engine.cancel("x", "me")):
        with pytest.raises(Unavailable, match="no Temporal is set up"):
            await call
