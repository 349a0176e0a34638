"""Times, values and texts as people read them; nothing of a sender's that a terminal would obey."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.driving.cli.display import age_text, ago_text, clean, number_text, span_text, threshold_text, write_rows
from tests.support.alert_rows import NOON


@given(st.text())
def test_a_clean_text_is_one_printable_line(text: str) -> None:
    """Whatever it was; a printable one stays as it is."""
    assert clean(text).isprintable()
    if text.isprintable():
        assert clean(text) == text


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07x", "x"),
        ("\x1b]8;;http://e\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("a\nb\tc", "a b c"),
        ("\u202eevil", "\\u202eevil"),
        ("\x9b2J", "\\x9b2J"),
        ("[red]x[/red]", "[red]x[/red]"),
    ],
)
def test_what_a_terminal_obeys_is_gone(text: str, wanted: str) -> None:
    """Colours, titles, links, direction marks."""
    assert clean(text) == wanted


@pytest.mark.parametrize(
    ("span_s", "wanted"),
    [(0, "0s"), (45, "45s"), (90, "1m 30s"), (720, "12m"), (12_000, "3h 20m"), (187_200, "2d 4h"), (86_400, "1d")],
)
def test_spans_have_two_units(span_s: float, wanted: str) -> None:
    """The largest."""
    assert span_text(span_s) == wanted


def test_times_are_before_or_after_now() -> None:
    """Or now."""
    assert ago_text(NOON, NOON + timedelta(minutes=90)) == "1h 30m ago"
    assert ago_text(NOON, NOON - timedelta(minutes=90)) == "in 1h 30m"
    assert ago_text(NOON, NOON) == "now"
    assert age_text(NOON, NOON + timedelta(minutes=90)) == "1h ago"
    assert age_text(NOON, NOON - timedelta(minutes=90)) == "in 1h"
    assert age_text(NOON, NOON) == "now"


def test_numbers_are_short() -> None:
    """And bands have two."""
    assert [number_text(number) for number in (None, 95.0, 1 / 3)] == ["-", "95", "0.333333"]
    assert threshold_text((1.0, 2.5)) == "[1, 2.5]"


def test_a_table_fits_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Wide columns wrap, others never; colours only there."""
    rows = [("1", "firing", "host=" + "a" * 200), ("2", "firing", "critical")]
    write_rows(("id", "state", "labels"), rows, wide=("labels",))
    plain = capsys.readouterr().out
    assert "\x1b" not in plain
    assert "a" * 200 in plain
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("FORCE_COLOR", "1")
    write_rows(("id", "state", "labels"), rows, wide=("labels",))
    shown = capsys.readouterr().out
    assert "\x1b[31mfiring" in shown
    assert "mcritical" not in shown, "only our own words are coloured"
    assert max(len(clean(line)) for line in shown.splitlines()) <= 80


def test_no_column_vanishes_where_there_is_no_room(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Then all wrap: what does not fit is on the next line."""
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "dumb")
    columns = ("first", "second", "third", "labels")
    write_rows(columns, [("a" * 30, "b" * 30, "c" * 30, "d" * 30)], wide=("labels",))
    shown = capsys.readouterr().out
    assert max(len(clean(line)) for line in shown.splitlines()) <= 80
    head, *body = shown.splitlines()
    assert head.split() == list(columns)
    assert [sum(line.count(letter) for line in body) for letter in "abcd"] == [30] * 4
