"""The agent's queue on disk: order, bounds, and what is left after a crash."""

from pathlib import Path

import pytest

from adapters.driving.cli.client import Batch
from adapters.driving.cli.spool import Spool, SpoolError

SIZE = 64 << 10


def batch(number: int, size_bytes: int = 100) -> Batch:
    return Batch(f"{number:08d}".encode().ljust(size_bytes, b"."), points=number % 7 + 1)


def drained(spool: Spool) -> list[Batch]:
    found = []
    while (oldest := spool.oldest()) is not None:
        record, one = oldest
        found.append(one)
        spool.remove(record)
    return found


def test_batches_come_out_in_the_order_they_went_in(tmp_path: Path) -> None:
    """First in, first out, with their bodies and counts, across segments."""
    batches = [batch(number, 1_000) for number in range(40)]
    with Spool(tmp_path, SIZE) as spool:
        for one in batches:
            assert spool.append(one) == 0
        assert len(spool) == 40
        assert spool.metrics == sum(one.points for one in batches)
        assert drained(spool) == batches


def test_what_was_appended_survives_an_end_without_closing(tmp_path: Path) -> None:
    """Nothing is kept in memory only: another process finds every batch, and none that was removed."""
    first = Spool(tmp_path, SIZE)
    for number in range(40):
        first.append(batch(number, 1_000))
    for _ in range(15):
        record, _one = first.oldest() or pytest.fail("empty")
        first.remove(record)
    first._lock.close()  # what the kernel does for a process that was killed
    with Spool(tmp_path, SIZE) as second:
        assert drained(second) == [batch(number, 1_000) for number in range(15, 40)]
    first.close()


@pytest.mark.parametrize("cut", [1, 11, 12, 13, 60])
def test_a_torn_tail_costs_only_itself(tmp_path: Path, cut: int) -> None:
    """Of a record whose last bytes never reached the disk, nothing is believed; all before it is there, and
    the spool goes on.
    """
    with Spool(tmp_path, SIZE) as spool:
        spool.append(batch(1))
        spool.append(batch(2))
    [segment] = tmp_path.glob("*.segment")
    segment.write_bytes(segment.read_bytes()[:-cut])
    with Spool(tmp_path, SIZE) as spool:
        assert spool.dropped.damaged_bytes == 112 - cut
        spool.append(batch(3))
        assert drained(spool) == [batch(1), batch(3)]


def test_a_flipped_bit_is_not_sent(tmp_path: Path) -> None:
    """A body that is not what was written fails its checksum."""
    with Spool(tmp_path, SIZE) as spool:
        spool.append(batch(1))
    [segment] = tmp_path.glob("*.segment")
    content = bytearray(segment.read_bytes())
    content[50] ^= 1
    segment.write_bytes(content)
    with Spool(tmp_path, SIZE) as spool:
        assert drained(spool) == []
        assert spool.dropped.damaged_bytes == 112


def test_what_is_damaged_while_the_spool_is_open_is_passed_and_counted(tmp_path: Path) -> None:
    """A file that somebody deleted or changed costs its own batches only."""
    with Spool(tmp_path, SIZE) as spool:
        for number in range(8):
            spool.append(batch(number, 1_000))
        oldest = min(tmp_path.glob("*.segment"))
        kept = [number for number in range(8) if f"{number:08d}".encode() not in oldest.read_bytes()]
        oldest.unlink()
        assert drained(spool) == [batch(number, 1_000) for number in kept]
        assert 0 < len(kept) < 8
        assert spool.dropped.metrics == sum(batch(number).points for number in range(8) if number not in kept)


def test_a_cursor_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    """A full disk must not keep a spool from being emptied."""
    with Spool(tmp_path, SIZE) as spool:
        (tmp_path / "cursor.new").mkdir()
        spool.append(batch(1))
        spool.append(batch(2))
        assert drained(spool) == [batch(1), batch(2)]


def test_a_full_spool_drops_its_oldest_and_says_so(tmp_path: Path) -> None:
    """The bound holds on disk, the newest batches stay, and every dropped metric is counted."""
    said = 0
    with Spool(tmp_path, SIZE) as spool:
        batches = [batch(number, 1_000) for number in range(200)]
        for one in batches:
            said += spool.append(one)
            assert sum(path.stat().st_size for path in tmp_path.glob("*.segment")) <= SIZE
        left = drained(spool)
    assert left == batches[-len(left) :]
    assert len(left) > 50
    assert said == sum(one.points for one in batches[: -len(left)]) == spool.dropped.metrics


def test_a_batch_that_was_dropped_while_it_was_sent_is_no_trouble(tmp_path: Path) -> None:
    """Removing it then removes nothing else."""
    with Spool(tmp_path, SIZE) as spool:
        spool.append(batch(0, 1_000))
        record, _ = spool.oldest() or pytest.fail("empty")
        for number in range(1, 200):
            spool.append(batch(number, 1_000))
        before = len(spool)
        spool.remove(record)
        assert len(spool) == before


def test_a_batch_larger_than_the_spool_is_refused(tmp_path: Path) -> None:
    """And leaves what is there alone."""
    with Spool(tmp_path, SIZE) as spool:
        spool.append(batch(1))
        with pytest.raises(SpoolError, match="does not fit"):
            spool.append(batch(2, SIZE))
        assert drained(spool) == [batch(1)]


def test_a_lost_cursor_sends_again_but_never_skips(tmp_path: Path) -> None:
    """The cursor is not synced: without it everything in the segment comes once more."""
    with Spool(tmp_path, SIZE) as spool:
        for number in range(3):
            spool.append(batch(number))
        record, _ = spool.oldest() or pytest.fail("empty")
        spool.remove(record)
    (tmp_path / "cursor").write_text("")
    with Spool(tmp_path, SIZE) as spool:
        assert drained(spool) == [batch(0), batch(1), batch(2)]


def test_a_cursor_ahead_of_a_disk_that_lost_data_skips_nothing_new(tmp_path: Path) -> None:
    """Batches appended after the loss are not taken for those that were sent before it."""
    with Spool(tmp_path, SIZE) as spool:
        for number in range(30):
            spool.append(batch(number, 1_000))
        drained(spool)
    for segment in tmp_path.glob("*.segment"):
        segment.unlink()
    with Spool(tmp_path, SIZE) as spool:
        spool.append(batch(100))
    with Spool(tmp_path, SIZE) as spool:
        assert drained(spool) == [batch(100)]


def test_sent_segments_leave_the_disk(tmp_path: Path) -> None:
    """A spool that keeps up stays small."""
    with Spool(tmp_path, SIZE) as spool:
        for number in range(500):
            spool.append(batch(number, 1_000))
            drained(spool)
        assert len(list(tmp_path.glob("*.segment"))) == 1


def test_two_agents_cannot_share_a_spool(tmp_path: Path) -> None:
    """The second one is told so; a spool that was closed can be opened again."""
    with Spool(tmp_path, SIZE), pytest.raises(SpoolError, match="in use by another agent"):
        Spool(tmp_path, SIZE)
    Spool(tmp_path, SIZE).close()


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """The reason is the operating system's."""
    (tmp_path / "file").write_text("")
    with pytest.raises(SpoolError, match=r"file/spool.*Not a directory"):
        Spool(tmp_path / "file" / "spool", SIZE)
