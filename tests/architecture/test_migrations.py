"""Migrations are found by their names, so the names must be right."""

import re
from collections import defaultdict
from pathlib import Path

MIGRATIONS = Path(__file__).parents[2] / "migrations"
NAME = re.compile(r"(?P<number>\d{4})_(?P<name>[a-z0-9]+(?:_[a-z0-9]+)*)(?:\.(?P<engine>timescale|postgres))?\.sql")


def test_every_name_says_number_subject_and_engine() -> None:
    """NNNN_name.sql, or NNNN_name.timescale.sql or .postgres.sql, in lower case; nothing else is in the folder."""
    assert [path.name for path in MIGRATIONS.iterdir() if not NAME.fullmatch(path.name)] == []


def test_numbers_have_no_gap() -> None:
    """They count up from 0001."""
    numbers = sorted({int(match["number"]) for match in matches()})
    assert numbers == list(range(1, len(numbers) + 1))


def test_a_number_belongs_to_one_subject_and_once_to_each_engine() -> None:
    """Two files share a number only as the two engines' versions of one migration."""
    by_number = defaultdict(list)
    for match in matches():
        by_number[match["number"]].append((match["name"], match["engine"]))
    for files in by_number.values():
        names, engines = zip(*files, strict=True)
        assert len(set(names)) == 1
        assert len(set(engines)) == len(engines)
        assert len(engines) == 1 or None not in engines


def matches() -> list[re.Match[str]]:
    """The names that are in order."""
    return [match for path in sorted(MIGRATIONS.iterdir()) if (match := NAME.fullmatch(path.name))]
