"""What the demo plays, and how its lines look."""

import re

import pytest

from adapters.driving.cli.client import IngestClient, Target
from adapters.driving.cli.demo_story import BUSY, BUSY_SAMPLES, CALM_SAMPLES, METRIC, Story, tell


def test_the_machine_is_calm_then_busy_then_calm_again() -> None:
    """For as long as it says, and over again after that."""
    story = Story(IngestClient(Target("http://127.0.0.1:9", "none")))
    played = [story.sample(second) for second in range(CALM_SAMPLES + BUSY_SAMPLES + 5)]
    assert {point.name for point in played} == {METRIC}
    values = [point.value for point in played]
    assert all(value < BUSY for value in values[:CALM_SAMPLES])
    assert values[CALM_SAMPLES] > BUSY
    assert all(value < BUSY for value in values[CALM_SAMPLES + BUSY_SAMPLES :])


def test_a_line_of_the_story(capsys: pytest.CaptureFixture[str]) -> None:
    """When, what, and what is said of it, in columns; nothing in it commands a terminal."""
    tell("incident 7", "host-stressed is ill\x1b[2J\nand more")
    assert re.fullmatch(r"  \d\d:\d\d:\d\d  incident 7       host-stressed is ill and more\n", capsys.readouterr().out)
