"""The journal's rows: blocks in commit order, cursors of consumers, replies kept for idempotency keys."""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from core.domain.columns import Columns
from core.domain.head import JournalBlock
from ports.driven.journal import StoredReply

SETTLER: Final = "settler"
"""The consumer that every journal has from the start."""


class LoggedBlock(msgspec.Struct, frozen=True, eq=False):
    """A block and when it was appended."""

    block: JournalBlock
    appended_us: int


class KeptReply(msgspec.Struct, frozen=True):
    """A reply and when it was given."""

    stored: StoredReply
    replied_us: int


class BlockLog:
    """Blocks stay until every consumer, the settler among them, has passed them."""

    def __init__(self) -> None:
        self.blocks: list[LoggedBlock] = []
        self.replies: dict[tuple[int, str], KeptReply] = {}
        self.busy: set[str] = set()
        self._cursors: dict[str, dict[int, int]] = {SETTLER: {}}
        self._last_sequences: dict[int, int] = {}
        self._order = 0

    def open_stream(self) -> int:
        """A new writer's number."""
        writer = len(self._last_sequences) + 1
        self._last_sequences[writer] = 0
        return writer

    def append(self, writer: int, tenant_id: int, points: Columns, now_us: int) -> JournalBlock:
        """Adds the next block of a stream; `points` ascend by series."""
        self._order += 1
        self._last_sequences[writer] += 1
        block = JournalBlock(writer, self._last_sequences[writer], self._order, (tenant_id,), (len(points),), points)
        self.blocks.append(LoggedBlock(block, now_us))
        return block

    def register(self, consumer: str) -> None:
        """Gives `consumer` cursors before the first block that is still kept, unless it has some."""
        kept = {logged.block.writer: logged.block.sequence - 1 for logged in reversed(self.blocks)}
        self._cursors.setdefault(consumer, {**self._last_sequences, **kept})

    def unregister(self, consumer: str) -> None:
        """Forgets the cursors of `consumer`."""
        self._cursors.pop(consumer, None)
        self._purge()

    def is_registered(self, consumer: str) -> bool:
        """Whether `consumer` has cursors."""
        return consumer in self._cursors

    def positions(self, consumer: str) -> Mapping[int, int]:
        """Writer → the sequence consumed up to; empty for a stranger."""
        return dict(self._cursors.get(consumer, {}))

    def unread(self, consumer: str) -> list[LoggedBlock]:
        """The blocks that `consumer` has not passed, in commit order."""
        cursors = self._cursors[consumer]
        return [logged for logged in self.blocks if not _passed(logged.block, cursors)]

    def pass_blocks(self, consumer: str, blocks: Sequence[JournalBlock]) -> None:
        """Moves the cursors of `consumer` past `blocks`; one that was unregistered meanwhile has none."""
        cursors = self._cursors.get(consumer)
        if cursors is None:
            return
        cursors.update({block.writer: block.sequence for block in blocks})
        self._purge()

    def _purge(self) -> None:
        self.blocks = [
            logged
            for logged in self.blocks
            if not all(_passed(logged.block, cursors) for cursors in self._cursors.values())
        ]


def _passed(block: JournalBlock, cursors: Mapping[int, int]) -> bool:
    return block.sequence <= cursors.get(block.writer, 0)


def whole_blocks(logged: Sequence[LoggedBlock], points_max: int) -> list[JournalBlock]:
    """The first blocks until they hold `points_max` points; at least one where there is any."""
    chosen: list[JournalBlock] = []
    points = 0
    for each in logged:
        if chosen and points + len(each.block.points) > points_max:
            break
        chosen.append(each.block)
        points += len(each.block.points)
    return chosen
