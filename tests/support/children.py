"""This process' children by name, for tests that kill them: one may be gone between being listed and being asked."""

from collections.abc import Iterator
from contextlib import suppress

import psutil


def children_named(name: str) -> list[psutil.Process]:
    """The children of that name that are there."""
    return list(_named(name))


def _named(name: str) -> Iterator[psutil.Process]:
    for child in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):
            if child.name() == name:
                yield child
