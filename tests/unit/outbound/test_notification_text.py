"""What notifications say."""

from datetime import timedelta
from typing import Any

import pytest

from adapters.driven.notification_http import retry_after_s
from adapters.driven.notification_text import alert_sentence, labels_text, one_line, reading, sentences, title, web_link
from core.domain.notifications import AlertEvent
from core.domain.rules import Severity
from tests.support.messages import HOSTILE_TEXT, NOON, alert, hostile_message, message, resolved_alert

NOON_S = NOON.timestamp()


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (AlertEvent.FIRED, "CRITICAL cpu high: cpu.usage 97.2 > 90 on host=a since 12:00 UTC"),
        (AlertEvent.ESCALATED, "CRITICAL (escalated) cpu high: cpu.usage 97.2 > 90 on host=a since 12:00 UTC"),
        (AlertEvent.RESOLVED, "RESOLVED cpu high: cpu.usage 12 < 90 on host=a from 12:00 to 12:30 UTC"),
        (AlertEvent.ACKNOWLEDGED, "ACKNOWLEDGED cpu high: cpu.usage 97.2 > 90 on host=a since 12:00 UTC, by ada"),
        (AlertEvent.REMEDIATION, "REMEDIATION cpu high: restart web asks for approval"),
        (AlertEvent.TEST, "TEST of Sextant's notifications: this channel works. Nothing is wrong."),
    ],
)
def test_an_event_in_words(event: AlertEvent, said: str) -> None:
    """One sentence says what, where, how much and since when."""
    assert sentences(message(event), 10)[0] == said


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"value": 0.1 + 0.2, "threshold": 0.3}, "cpu.usage 0.3 > 0.3"),
        ({"value": 5.0, "threshold": 5.0}, "cpu.usage 5 = 5"),
        ({"value": 1e12, "threshold": -2.5}, "cpu.usage 1e+12 > -2.5"),
        ({"value": 40.0, "threshold": (10.0, 20.0)}, "cpu.usage 40 outside 10 to 20"),
        ({"value": 20.0, "threshold": (10.0, 20.0)}, "cpu.usage 20 within 10 to 20"),
        ({"value": None, "no_data": True}, "cpu.usage reports nothing"),
        ({"value": None}, "cpu.usage"),
        ({"value": 1.0, "threshold": None}, "cpu.usage 1"),
    ],
)
def test_a_reading_compares_value_and_threshold(changes: dict[str, Any], said: str) -> None:
    """As numbers relate, whichever way the rule's condition points; what is missing is not made up."""
    assert reading(alert(**changes)) == said


def test_another_day_is_named() -> None:
    """12:00 alone would be taken for today's."""
    assert alert_sentence(alert(), NOON + timedelta(days=1)).endswith("since 2026-01-31 12:00 UTC")
    over = resolved_alert(started_at=NOON - timedelta(days=2))
    assert alert_sentence(over, NOON).endswith("from 2026-01-29 12:00 to 12:30 UTC")


def test_each_line_has_its_own_severity() -> None:
    """The title has the worst; and what is not listed is counted."""
    two = message(alerts=(alert(severity=Severity.WARNING), alert()), alerts_total=7)
    lines = sentences(two, 10)
    assert title(two) == "CRITICAL cpu high"
    assert [line.split()[0] for line in lines] == ["WARNING", "CRITICAL", "…"]
    assert lines[2] == "… and 5 more"


def test_a_label_cannot_pose_as_another() -> None:
    """A value that looks like more labels is quoted, and its quotation marks are not those."""
    assert labels_text({"host": 'a, env="prod"', "z": ""}) == 'host="a, env=\'prod\'", z=""'
    many = {f"l{n:02}": "v" * 1_000 for n in range(20)}
    assert labels_text(many).endswith("and 8 more")
    assert len(labels_text(many)) < 1_400


def test_hostile_text_stays_on_its_line() -> None:
    """No line break, control or direction mark is left, in any of the texts."""
    assert one_line("a\r\nb\u2028c\u202ed\x1b[31me\x00") == "a b c d [31me"
    for event in AlertEvent:
        for line in sentences(hostile_message(event), 10):
            assert line.isprintable()
    assert not HOSTILE_TEXT.isprintable()
    assert len(one_line("x" * 10_000, 50)) == 50


@pytest.mark.parametrize(
    "url", [None, "", "javascript:alert(1)", "ftp://x", "https://a b", "https://a\nb", "HTTPS://x"]
)
def test_only_links_to_the_web_are_offered(url: str | None) -> None:
    """A person might click on anything else."""
    assert web_link(url) is None


@pytest.mark.parametrize(
    ("header", "wait_s"),
    [
        ("120", 120.0), (" 7 ", 7.0), ("0", 0.0), ("1.5", 1.5), ("999999999999", 86_400.0), ("-5", None),
        ("soon", None), ("", None), (None, None), ("²", None), ("9" * 400, None), ("nan", None), ("1e3", None),
        ("Sat, 31 Jan 2026 12:01:30 GMT", 90.0), ("Saturday, 31-Jan-26 12:01:30 GMT", 90.0),
        ("Sat, 31 Jan 2026 11:00:00 GMT", 0.0), ("Sat, 31 Jan 2126 12:00:00 GMT", 86_400.0), ("Sat, 99 Jan 2026", None),
    ],
)  # fmt: skip
def test_retry_after_is_read(header: str | None, wait_s: float | None) -> None:
    """Seconds or an HTTP date, within a day; nonsense is nothing."""
    assert retry_after_s(header, NOON_S) == wait_s
