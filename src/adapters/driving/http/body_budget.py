"""How many bytes of request bodies one process holds at once: past that, whoever comes next is asked to come back."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from core.domain.errors import Unavailable

HELD_BYTES_MAX: Final = 96 << 20
"""Sixty batches of the usual size; with what decoding one takes, a process stays well below 500 MiB."""
INFLATION: Final = 16
"""What a compressed body is taken to become: metrics as JSON shrink to a tenth or so."""
RETRY_AFTER_S: Final = 1.0
"""At full speed a process works off its budget in less."""


class BodyBudget:
    """One process' budget. Called from one event loop."""

    def __init__(self, held_bytes_max: int = HELD_BYTES_MAX) -> None:
        self._held_bytes_max = held_bytes_max
        self._held_bytes = 0

    @contextmanager
    def hold(self, size_bytes: int) -> Iterator[None]:
        """Counts a body for as long as the context is open; raises `Unavailable` where there is no room.

        One body is always let in, however large: the limit on a single one is not decided here.
        """
        if self._held_bytes and self._held_bytes + size_bytes > self._held_bytes_max:
            raise Unavailable("this process holds as many request bodies as it may", retry_after_s=RETRY_AFTER_S)
        self._held_bytes += size_bytes
        try:
            yield
        finally:
            self._held_bytes -= size_bytes
