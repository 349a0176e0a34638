"""What commands print: JSON, facts, or a table, which is bare columns unless it goes to a terminal."""

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec


class CommandError(Exception):
    """A command cannot do what it was asked; one line says what is wrong and how to mend it."""


def write(text: str) -> None:
    """Prints a line on standard output at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def write_error(text: str) -> None:
    """Prints the program's name and a line on standard error."""
    sys.stderr.write(f"sextant: {text}\n")
    sys.stderr.flush()


def write_json(value: Any) -> None:
    """Prints anything msgspec knows as indented JSON."""
    write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def write_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints rows under a heading."""
    if sys.stdout.isatty():
        from rich import box
        from rich.console import Console
        from rich.table import Table

        table = Table(*columns, box=box.SIMPLE_HEAD)
        for row in rows:
            table.add_row(*(_plain(cell) for cell in row))
        Console().print(table)
        return
    lines = [tuple(column.upper() for column in columns), *rows]
    widths = [max(len(line[place]) for line in lines) for place in range(len(columns))]
    for line in lines:
        write("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def write_facts(facts: Sequence[tuple[str, str]]) -> None:
    """Prints names and values, a line each."""
    width = max(len(name) for name, _ in facts)
    for name, value in facts:
        write(f"{name.ljust(width)}  {value}".rstrip())


def date_text(at: datetime) -> str:
    """A date and time in UTC, to the second."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _plain(text: str) -> Any:
    """`text` as it is: rich reads brackets in a bare string as markup."""
    from rich.text import Text

    return Text(text)
