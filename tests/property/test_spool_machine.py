"""The spool against a plain list: any order of appends, removals, crashes, torn tails and lost cursors."""

import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from adapters.driving.cli.client import Batch
from adapters.driving.cli.spool import Spool

SIZE = 64 << 10


class SpoolMachine(RuleBasedStateMachine):
    """What is pending is what was appended and neither removed nor said to be dropped, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="sextant-test-spool-"))
        self.spool = Spool(self.directory, SIZE)
        self.pending: list[Batch] = []
        self.sent_since_crash: list[Batch] = []
        self.number = 0

    def teardown(self) -> None:
        self.spool.close()
        shutil.rmtree(self.directory)

    @rule(size_bytes=st.sampled_from([1, 100, 3_000, 20_000]))
    def append(self, size_bytes: int) -> None:
        self.number += 1
        batch = Batch(str(self.number).encode().ljust(size_bytes, b"."), points=1)
        dropped = self.spool.append(batch)
        self.pending = [*self.pending[dropped:], batch]

    @precondition(lambda self: self.pending)
    @rule()
    def send_oldest(self) -> None:
        found = self.spool.oldest()
        assert found is not None
        record, batch = found
        assert batch == self.pending.pop(0)
        self.spool.remove(record)
        self.sent_since_crash.append(batch)

    @rule(torn=st.binary(max_size=40))
    def crash(self, torn: bytes) -> None:
        """A kill leaves files as they are, perhaps with the beginning of one more record."""
        self.spool.close()
        newest = max(self.directory.glob("*.segment"))
        newest.write_bytes(newest.read_bytes() + torn)
        self.spool = Spool(self.directory, SIZE)
        assert self.spool.dropped.damaged_bytes == len(torn)

    @rule()
    def crash_and_lose_the_cursor(self) -> None:
        """Batches that were sent may come again, before the pending ones."""
        self.spool.close()
        (self.directory / "cursor").unlink(missing_ok=True)
        self.spool = Spool(self.directory, SIZE)
        again = len(self.spool) - len(self.pending)
        assert again >= 0
        self.pending = [*self.sent_since_crash[len(self.sent_since_crash) - again :], *self.pending]

    @invariant()
    def holds_what_is_pending(self) -> None:
        assert len(self.spool) == len(self.pending)
        found = self.spool.oldest()
        assert (found[1] if found else None) == (self.pending[0] if self.pending else None)
        assert sum(path.stat().st_size for path in self.directory.glob("*.segment")) <= SIZE + 40


SpoolMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestSpool = SpoolMachine.TestCase
