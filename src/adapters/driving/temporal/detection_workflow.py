"""The workflow that Temporal starts on schedule: it does all detection runs that are due, one after the other.

What is due, and that nobody else does it, is decided in the database; a workflow too many finds nothing to do.

Versions: it lives for minutes and its schedule starts another, so what it does may change without a patch. A replay
that fails leaves a claim that runs out, and the next workflow goes on.
"""

from datetime import timedelta
from typing import Final

from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from ports.driving.detecting import DetectionRound

WORKFLOW: Final = "detection"
RUN_DUE: Final = "run_due_detection"
RUNS_MAX: Final = 200
"""Of one workflow: its history stays short, and the schedule starts another within a minute."""
RUN_TIMEOUT: Final = timedelta(days=1)
"""A run has a time limit of its own, which is a day at most."""
HEARTBEAT_TIMEOUT: Final = timedelta(seconds=60)
"""A run computes for seconds at a time; a worker that was killed is noticed after this."""


@workflow.defn(name=WORKFLOW)
class DetectionWorkflow:
    """Does what is due."""

    @workflow.run
    async def run(self) -> int:
        """Returns how many runs were done."""
        for done in range(RUNS_MAX):
            round_ = await workflow.execute_activity(
                RUN_DUE,
                result_type=DetectionRound,
                start_to_close_timeout=RUN_TIMEOUT,
                heartbeat_timeout=HEARTBEAT_TIMEOUT,
                # The claim of a run that broke off runs out, and the next workflow resumes it.
                retry_policy=RetryPolicy(maximum_attempts=1),
            )
            if round_.tenant is None:
                return done
        return RUNS_MAX
