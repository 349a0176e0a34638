"""A recommendation being applied, followed until it has ended, or for a minute."""

import asyncio
import time
from typing import Final

from adapters.driving.cli.api import Api
from adapters.driving.cli.display import write_line
from adapters.driving.cli.output import write
from adapters.driving.cli.remediations import PATH as REMEDIATIONS_PATH
from adapters.driving.cli.remediations import RemediationStory
from adapters.driving.cli.story import audit_events, write_story
from core.domain.audit import AuditKind
from core.domain.remediation import ENDED, RemediationState

FOLLOWED_S: Final = 60.0
"""A dry run takes some seconds; what takes longer goes on by itself."""
POLL_S: Final = 0.3
_BAD: Final = ENDED - {RemediationState.SUCCEEDED}


def has_failed(story: RemediationStory) -> bool:
    """Whether it did not do what it was to do, or has not even begun; a dry run, whether a step could not say what it
    would do."""
    if story.state is RemediationState.DRY_RUN:
        responses = [line.details for line in story.timeline if line.kind is AuditKind.RESPONSE]
        return not all({said.get("step"): "changed" in said for said in responses}.values())
    return story.state in _BAD or story.state is RemediationState.WAITING


async def followed(api: Api, remediation_id: int) -> RemediationStory:
    """The remediation as it ended, or as it is after a while, or once it waits for a person."""
    deadline_s = time.monotonic() + FOLLOWED_S
    while True:
        story = await api.get(f"{REMEDIATIONS_PATH}/{remediation_id}", RemediationStory)
        answerable = story.state is RemediationState.AWAITING_APPROVAL
        if story.state in ENDED or answerable or time.monotonic() > deadline_s:
            return story
        await asyncio.sleep(POLL_S)


def write_end(story: RemediationStory) -> None:
    write("")
    write_story(list(audit_events(story.timeline, detailed=True)))
    words = f"remediation {story.id}: {story.state.value}" + (f", {story.detail}" if story.detail else "")
    write_line(words)
    if story.state is RemediationState.WAITING:
        why = story.last_error or (
            "no worker has taken it: `sextant serve` and `sextant worker` run one where there is a Temporal, "
            "`sextant status` says whether"
        )
        write_line(f"it is not started yet: {why}")
    if story.state is RemediationState.AWAITING_APPROVAL:
        write(f"sextant remediations approve {story.id}, or reject {story.id}, answers it")
    elif story.state not in ENDED:
        write(f"it goes on by itself: sextant remediations show {story.id} follows it")
