"""Workflows that were recorded still run: each saved history, replayed through today's code, asks for the same things.

A failure here means that workflows under way would be stuck after a deployment: put the change behind
`workflow.patched`, as adapters/driving/temporal/workflow.py says. ``python -m tests.support.record_histories`` records
new histories into tests/data/workflow_histories; the part of a file's name before the first ``-`` is how it ended.
"""

import base64
import json
from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer
from temporalio.workflow import NondeterminismError

from adapters.driving.temporal.worker import workflow_runner
from adapters.driving.temporal.workflow import RemediationWorkflow
from adapters.runtime.temporal_data import DATA_CONVERTER
from core.domain.remediation import ENDED

HISTORIES = sorted((Path(__file__).parents[1] / "data" / "workflow_histories").glob("*.json"))


def replayer() -> Replayer:
    """Runs histories as the worker does."""
    return Replayer(workflows=[RemediationWorkflow], workflow_runner=workflow_runner(), data_converter=DATA_CONVERTER)


def history(file: Path) -> WorkflowHistory:
    """What a file holds."""
    return WorkflowHistory.from_json(file.stem, file.read_text())


def ending(file: Path) -> str:
    """The state in the history's last event."""
    last = json.loads(file.read_text())["events"][-1]
    [payload] = last["workflowExecutionCompletedEventAttributes"]["result"]["payloads"]
    state: str = json.loads(base64.b64decode(payload["data"]))
    return state


@pytest.mark.parametrize("file", HISTORIES, ids=lambda file: file.stem)
async def test_a_recorded_workflow_replays(file: Path) -> None:
    """Same activities and timers in the same order, and the end that the file's name tells."""
    assert ending(file) == file.stem.partition("-")[0]
    await replayer().replay_workflow(history(file))


def test_every_end_was_recorded() -> None:
    """There is a history of each way in which a remediation can end."""
    assert {ending(file) for file in HISTORIES} == {state.value for state in ENDED}


async def test_another_order_is_noticed() -> None:
    """A history in which another activity was asked for does not replay, so these tests can fail."""
    file = next(file for file in HISTORIES if file.stem == "succeeded")
    changed = file.read_text().replace('"activityType":{"name":"reserve"}', '"activityType":{"name":"verify"}', 1)
    assert changed != file.read_text()
    with pytest.raises(NondeterminismError):
        await replayer().replay_workflow(WorkflowHistory.from_json(file.stem, changed))
