"""Replay files of any content: what was written is what is sent, in order, each series in one lane."""

import gzip
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import cramjam
import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.driving.cli.client import BODY_BYTES_MAX, encode_batches
from adapters.driving.cli.replay_run import lane_of
from adapters.driving.cli.replay_source import BadLine, Line, Source, name_of, shifted
from core.domain.points import Point
from core.domain.series import check_name
from core.domain.times import TIME_US_MAX, format_time, parse_time

values = st.floats(allow_nan=False, allow_infinity=False)
instants = st.integers(0, TIME_US_MAX - 1)
names = st.from_regex(r"[A-Za-z_:][A-Za-z0-9_:.\-]{0,20}", fullmatch=True)
labels = st.dictionaries(st.sampled_from(["host", "zone", "app"]), st.text(max_size=12), max_size=3)


def lines_of(content: bytes, *, packed: bool = False) -> list[Line | BadLine]:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "m.csv")
        path.write_bytes(gzip.compress(content) if packed else content)
        return list(Source(str(path), name=None, labels={}, rereadable=False).lines())


def points_of(lines: Sequence[Line | BadLine]) -> list[Point]:
    assert not [line for line in lines if isinstance(line, BadLine)]
    return [line.point for line in lines if isinstance(line, Line)]


@given(st.lists(st.tuples(instants, values), min_size=1, max_size=30), st.booleans())
def test_csv_keeps_every_value_and_instant(samples: list[tuple[int, float]], packed: bool) -> None:
    """To the last bit and the microsecond."""
    rows = "".join(f"{format_time(ts_us)},{value!r}\n" for ts_us, value in samples)
    points = points_of(lines_of(f"timestamp,value\n{rows}".encode(), packed=packed))
    assert [(parse_time(point.timestamp or "", ""), point.value) for point in points] == samples


@given(st.lists(st.tuples(names, values, labels, instants), min_size=1, max_size=30))
def test_ndjson_reaches_the_wire_as_it_is(samples: list[tuple[str, float, dict[str, str], int]]) -> None:
    """Names, values, labels and times, in order."""
    written = [
        {"name": name, "value": value, "labels": own, "timestamp": format_time(ts_us)}
        for name, value, own, ts_us in samples
    ]
    points = points_of(lines_of("\n".join(map(json.dumps, written)).encode()))
    bodies = [bytes(cramjam.zstd.decompress(batch.body)) for batch in encode_batches(points)]
    sent = [metric for body in bodies for metric in msgspec.json.decode(body)["metrics"]]
    assert [{**metric, "source": None} for metric in written] == sent


@given(st.binary(max_size=300))
def test_any_bytes_are_lines_or_a_refusal(content: bytes) -> None:
    """Nothing makes the reader fail in another way than by saying what is wrong."""
    from adapters.driving.cli.replay_source import SourceError

    for prefix in (b"timestamp,value\n", b'{"name":"m","value":1}\n', b""):
        try:
            lines = lines_of(prefix + content)
        except SourceError:
            continue
        numbers = [line.number for line in lines]
        assert numbers == sorted(set(numbers))


@given(st.text(max_size=300))
def test_every_file_name_makes_a_valid_metric_name(path: str) -> None:
    """Whatever it is made of."""
    check_name(name_of(path))


@settings(max_examples=25)
@given(st.lists(st.integers(1, 3 << 20), max_size=8))
def test_batches_are_bounded_and_lose_nothing(sizes: list[int]) -> None:
    """Large metrics are split apart until each body fits."""
    points = [
        Point("m", float(number), msgspec.Raw(b'{"text":"' + b"x" * size + b'"}')) for number, size in enumerate(sizes)
    ]
    batches = list(encode_batches(points))
    bodies = [bytes(cramjam.zstd.decompress(batch.body)) for batch in batches]
    assert all(len(body) <= BODY_BYTES_MAX for body in bodies)
    sent = [metric["value"] for body in bodies for metric in msgspec.json.decode(body)["metrics"]]
    assert sent == [float(number) for number in range(len(sizes))]
    assert sum(batch.points for batch in batches) == len(sizes)


@given(st.lists(st.tuples(names, labels, st.sampled_from([None, "s"]))), st.integers(1, 8))
def test_a_series_stays_in_its_lane(series: list[tuple[str, dict[str, str], str | None]], lanes: int) -> None:
    """Whatever the time and the value of its samples."""
    for name, own, source in series:
        raw = msgspec.Raw(msgspec.json.encode(own))
        line = Line("f", 1, Point(name, 1.0, raw, format_time(0), source), 0)
        other = Line("f", 9, Point(name, 2.0, raw, format_time(5), source), 5)
        assert 0 <= lane_of(line, lanes) == lane_of(other, lanes) < lanes


@given(instants, st.integers(-(10**15), 10**15))
def test_shifting_is_exact(ts_us: int, shift_us: int) -> None:
    """And can be undone, wherever it leads within the years that have timestamps."""
    if not 0 <= ts_us + shift_us < TIME_US_MAX:
        return
    line = Line("f", 1, Point("m", 1.0, timestamp=format_time(ts_us)), ts_us)
    moved = shifted(line, shift_us)
    assert parse_time(moved.point.timestamp or "", "") == ts_us + shift_us == moved.ts_us
    assert shifted(moved, -shift_us) == line
