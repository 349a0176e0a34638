"""Waiting and annotating."""

import asyncio

import pytest

from adapters.driven.actions.annotate import AnnotateRunner
from adapters.driven.actions.wait import WaitRunner
from core.domain.actions import AnnotateAction, WaitAction
from ports.driven.action_runner import ActionError
from tests.support.action_alert import HOSTILE, an_alert, unheard


async def test_waiting_takes_as_long_as_it_says() -> None:
    """And gives signs of life."""
    beats: list[int] = []
    began_s = asyncio.get_running_loop().time()
    outcome = await WaitRunner().run(
        WaitAction(duration="50ms"), an_alert(), {}, key="k", timeout_s=60, heartbeat=lambda: beats.append(1)
    )
    assert asyncio.get_running_loop().time() - began_s >= 0.049
    assert outcome.summary == "waited 50ms"
    assert beats


async def test_a_wait_that_cannot_end_in_time_is_refused_at_once() -> None:
    """Repeating it would be of no use."""
    with pytest.raises(ActionError, match="time-out") as failure:
        await WaitRunner().run(WaitAction(duration="1h"), an_alert(), {}, key="k", timeout_s=60, heartbeat=unheard)
    assert not failure.value.retryable


async def test_a_wait_can_be_cancelled() -> None:
    """Nothing is left of it."""
    waiting = asyncio.create_task(
        WaitRunner().run(WaitAction(duration="1h"), an_alert(), {}, key="k", timeout_s=4_000, heartbeat=unheard)
    )
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_note_is_its_rendered_text() -> None:
    """It is the summary, which the timeline shows."""
    action = AnnotateAction(text="{{ labels.host }} is at {{ value | round | int }}: {{ labels.nothing }}")
    runner = AnnotateRunner()
    outcome = await runner.run(action, an_alert(), {}, key="k", timeout_s=60, heartbeat=unheard)
    assert outcome.summary == "web-1 is at 92: "
    assert (await runner.preview(action, an_alert(), {})).summary == f"would note: {outcome.summary}"


@pytest.mark.parametrize("label", HOSTILE)
async def test_a_note_shows_no_control_characters(label: str) -> None:
    """Whatever labels hold."""
    outcome = await AnnotateRunner().run(
        AnnotateAction(text="{{ labels.bad }}"),
        an_alert({"bad": HOSTILE[label]}),
        {},
        key="k",
        timeout_s=1,
        heartbeat=unheard,
    )
    assert all(character.isprintable() or character in "\n\t" for character in outcome.summary)
