"""What people read of alerts: times, values, states; and text of others made safe for a terminal."""

import re
import shutil
import sys
import textwrap
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from adapters.driving.cli.output import date_text, write
from core.domain.rules import Threshold

STYLES: Final = {
    "critical": "bold red",
    "dead": "bold red",
    "failed": "bold red",
    "firing": "red",
    "rolled_back": "red",
    "warning": "yellow",
    "pending": "yellow",
    "awaiting_approval": "bold yellow",
    "waiting": "yellow",
    "refused": "yellow",
    "expired": "yellow",
    "resolved": "green",
    "succeeded": "green",
    "delivered": "green",
}
"""How words look on a terminal; all others as they are."""
STYLED_COLUMNS: Final = frozenset({"state", "severity"})
"""The columns of tables that hold such words; elsewhere people choose the words."""
CELL_CHARS_MAX: Final = 300
"""Of one cell of a table; `show` and --json have all of it."""
COLUMN_GAP: Final = 2
WIDE_MIN: Final = 10
"""A column that wraps has at least so many characters, or all columns wrap."""
WIDTH_MIN: Final = 40
"""Narrower terminals wrap by themselves."""

_ESCAPES: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")
"""ANSI control sequences and operating system commands (ECMA-48, 5.3 and 5.4), whole."""
_UNITS: Final = (("d", 86_400), ("h", 3_600), ("m", 60))


def clean(text: str) -> str:
    """`text` on one line and without what a terminal obeys: escapes go, other unprintable characters are named."""
    text = _ESCAPES.sub("", text)
    if text.isprintable():
        return text
    return "".join(_shown(character) for character in text)


def _shown(character: str) -> str:
    if character.isprintable():
        return character
    return " " if character.isspace() else character.encode("unicode_escape").decode()


def cell(text: str) -> str:
    """`text` for a place in a table."""
    text = clean(text)
    return text if len(text) <= CELL_CHARS_MAX else text[: CELL_CHARS_MAX - 1] + "…"


def labels_text(labels: Mapping[str, str]) -> str:
    """Labels as matchers are written, by name."""
    return " ".join(f"{name}={labels[name]}" for name in sorted(labels)) or "-"


def number_text(number: float | None) -> str:
    """A value to six digits."""
    return "-" if number is None else f"{number:.6g}"


def threshold_text(threshold: Threshold | None) -> str:
    """A number, or a band."""
    if isinstance(threshold, tuple):
        return f"[{number_text(threshold[0])}, {number_text(threshold[1])}]"
    return number_text(threshold)


def span_text(span_s: float) -> str:
    """How long, in the two largest units: ``45s``, ``12m``, ``3h 20m``, ``2d 4h``."""
    left = round(abs(span_s))
    words = []
    for unit, size in _UNITS:
        if left >= size:
            words.append(f"{left // size}{unit}")
        left %= size
    if not words or (len(words) == 1 and words[0].endswith("m") and left and abs(span_s) < 600):
        words.append(f"{left}s")
    return " ".join(words[:2])


def ago_text(at: datetime, now: datetime) -> str:
    """How long before or after `now`."""
    span_s = (now - at).total_seconds()
    if abs(span_s) < 1:
        return "now"
    return f"{span_text(span_s)} ago" if span_s > 0 else f"in {span_text(span_s)}"


def age_text(at: datetime, now: datetime) -> str:
    """The same in one unit, for a column."""
    head, *rest = ago_text(at, now).split(" ")
    return " ".join((head, rest[0]) if head == "in" else (head, *rest[-1:]))


def moment_text(at: datetime | None, now: datetime) -> str:
    """A date, and how long before or after `now`; a dash for none."""
    return "-" if at is None else f"{date_text(at)} ({ago_text(at, now)})"


def present() -> datetime:
    """Now, UTC."""
    return datetime.now(UTC)


def write_rows(columns: Sequence[str], rows: Sequence[Sequence[str]], *, wide: Collection[str]) -> None:
    """Prints a table that fits a terminal: `wide` columns wrap, others only where there is no room. Piped, bare columns
    in full.

    Cells may hold anything: they are made safe here. Words of `STYLES` are coloured on a terminal.
    """
    shown = [[cell(text) for text in row] for row in rows]
    if sys.stdout.isatty():
        _write_terminal(columns, shown, wide)
        return
    lines = [[column.upper() for column in columns], *shown]
    widths = [max(len(line[place]) for line in lines) for place in range(len(columns))]
    for line in lines:
        write("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())


def _write_terminal(columns: Sequence[str], rows: Sequence[Sequence[str]], wide: Collection[str]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    rigid = sum(
        max(len(column), *(len(row[place]) for row in rows), 0) + COLUMN_GAP
        for place, column in enumerate(columns)
        if column not in wide
    )
    roomy = rigid + len(wide) * WIDE_MIN <= console.width  # else rich leaves the wide columns out
    table = Table(box=None, pad_edge=False, padding=(0, COLUMN_GAP, 0, 0))
    for column in columns:
        table.add_column(column, no_wrap=roomy and column not in wide, overflow="fold")
    for row in rows:
        styles = [style_of(text) if name in STYLED_COLUMNS else "" for name, text in zip(columns, row, strict=True)]
        table.add_row(*(Text(text, style=style) for text, style in zip(row, styles, strict=True)))
    console.print(table)


def write_line(text: str, *, style: str = "", indent: int = 0) -> None:
    """Prints a line, wrapped on a terminal under `indent` columns; `text` may hold anything."""
    text = " " * (len(text) - len(text.lstrip(" "))) + clean(text.strip())
    if not sys.stdout.isatty():
        write(text)
        return
    from rich.console import Console
    from rich.text import Text

    width = max(WIDTH_MIN, shutil.get_terminal_size().columns)
    lines = textwrap.wrap(text, width, subsequent_indent=" " * indent, drop_whitespace=True) or [""]
    for line in lines:
        Console(highlight=False).print(Text(line, style=style), soft_wrap=True)


def write_pairs(pairs: Sequence[tuple[str, str]]) -> None:
    """Prints names and values, a line each, the values wrapped under each other."""
    width = max(len(clean(name)) for name, _ in pairs) + 2
    for name, value in pairs:
        write_line(f"{clean(name).ljust(width)}{value}", indent=width, style=style_of(value))


def style_of(text: str) -> str:
    """How a text that begins with one of our own words looks on a terminal."""
    return STYLES.get(text.partition(" ")[0].rstrip(","), "")
