"""The course of the day and the week."""

import math

from core.detection.season import Season
from core.domain.times import HOUR_US, MINUTE_US

START_US = 1_700_006_400_000_000
STEPS = 12
"""Rows an hour."""


def taught(season: Season, first_hour: int, last_hour: int, *, shift_hours: int = 0, weekly: bool = False) -> None:
    for row in range(first_hour * STEPS, last_hour * STEPS):
        season.distance(START_US + row * 5 * MINUTE_US, course(row / STEPS + shift_hours, weekly=weekly))


def course(hour: float, *, weekly: bool) -> float:
    quiet = weekly and (hour // 24) % 7 >= 5
    return 50.0 if quiet else 50.0 - 40.0 * math.cos(2 * math.pi * hour / 24)


def test_a_daily_course_is_seen_and_what_leaves_it_is_far() -> None:
    """A missing peak has the distance of the peak."""
    season = Season()
    taught(season, 0, 5 * 24 + 12)
    noon_us = START_US + (5 * 24 + 12) * HOUR_US
    usual = season.distance(noon_us, 90.0)
    assert usual is not None
    assert usual < 1.0
    assert season.shown
    missing = season.distance(noon_us + 1, 10.0)
    assert missing is not None
    assert missing > 70.0


def test_a_new_hour_says_nothing() -> None:
    """On the first day."""
    season = Season()
    assert season.distance(START_US, 1.0) is None
    taught(season, 0, 23)
    assert season.distance(START_US + 23 * HOUR_US, 1.0) is None
    assert not season.shown


def test_noise_shows_no_course() -> None:
    """Then what the hour usually has is no reason to speak."""
    season = Season()
    state = 1
    for row in range(20 * 24 * STEPS):
        state = state * 1_103_515_245 % 2_147_483_647
        season.distance(START_US + row * 5 * MINUTE_US, state / 2_147_483_647)
    assert not season.shown


def test_a_weekend_is_usual_once_weeks_are_known() -> None:
    """The week speaks where it predicts better than the day."""
    season = Season()
    taught(season, 0, 4 * 168 + 5 * 24 + 12, weekly=True)
    noon_us = START_US + (4 * 168 + 5 * 24 + 12) * HOUR_US
    weekend = season.distance(noon_us, 50.0)
    assert weekend is not None
    assert weekend < 5.0


def test_a_shift_by_an_hour_stays_near_the_course() -> None:
    """As daylight saving does: at the steepest hours too, the neighbours' band holds it but for its own half hour."""
    season = Season()
    taught(season, 0, 14 * 24)
    worst = 0.0
    for row in range(14 * 24 * STEPS, 15 * 24 * STEPS):
        worst = max(
            worst, season.distance(START_US + row * 5 * MINUTE_US, course(row / STEPS + 1, weekly=False)) or 0.0
        )
    assert worst < 8.0
