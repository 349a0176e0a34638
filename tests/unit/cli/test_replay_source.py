"""Reading files of samples: both formats, packed or not, well-formed or not."""

import gzip
import os
import threading
from pathlib import Path

import pytest

from adapters.driving.cli.replay_source import (
    LINE_BYTES_MAX,
    BadLine,
    Line,
    Source,
    SourceError,
    name_of,
    shifted,
    utc,
)
from core.domain.errors import InvalidInput

CSV = b"timestamp,value\n2014-04-02 14:29:00,42.652\n2014-04-02T14:34:00+02:00,-1e3\n"
NDJSON = (
    b'{"name":"cpu","value":1,"labels":{"host":"a"},"timestamp":"2026-01-01T00:00:00Z"}\n'
    b"\n"
    b'{"value":2.5,"name":"mem","source":"x"}\n'
)


def source(
    path: Path | str, *, name: str | None = None, labels: dict[str, str] | None = None, rereadable: bool = False
) -> Source:
    return Source(str(path), name=name, labels=labels or {}, rereadable=rereadable)


def read(
    path: Path, content: bytes, *, name: str | None = None, labels: dict[str, str] | None = None
) -> list[Line | BadLine]:
    path.write_bytes(content)
    return list(source(path, name=name, labels=labels).lines())


def wire(line: Line | BadLine) -> tuple[str, float, bytes, str | None, str | None]:
    assert isinstance(line, Line), line
    point = line.point
    return point.name, point.value, bytes(point.labels), point.timestamp, point.source


def test_csv_is_one_metric_named_after_its_file(tmp_path: Path) -> None:
    """Times without a zone are UTC; those with one keep their instant."""
    lines = read(tmp_path / "disk use-1.csv", CSV, labels={"host": "a"})
    assert [wire(line) for line in lines] == [
        ("disk_use-1", 42.652, b'{"host":"a"}', "2014-04-02T14:29:00Z", None),
        ("disk_use-1", -1000.0, b'{"host":"a"}', "2014-04-02T14:34:00+02:00", None),
    ]
    assert [line.ts_us for line in lines if isinstance(line, Line)] == [1_396_448_940_000_000, 1_396_442_040_000_000]


@pytest.mark.parametrize(
    "content",
    [
        CSV.replace(b"\n", b"\r\n"),
        b"\xef\xbb\xbf" + CSV,
        CSV.rstrip(),
        b"\n" + CSV + b"\n\n",
        b"Timestamp, Value\n" + CSV.split(b"\n", 1)[1],
        b'"timestamp","value"\n"2014-04-02 14:29:00","42.652"\n"2014-04-02T14:34:00+02:00","-1e3"\n',
        b"value,timestamp\n42.652,2014-04-02 14:29:00\n-1e3,2014-04-02T14:34:00+02:00\n",
        gzip.compress(CSV),
        gzip.compress(CSV[:30]) + gzip.compress(CSV[30:]),
    ],
)
def test_csv_in_all_its_spellings(tmp_path: Path, content: bytes) -> None:
    """Line ends, byte order mark, blank lines, quotes, column order, gzip in one part or more."""
    assert [wire(line)[1] for line in read(tmp_path / "m.csv", content)] == [42.652, -1000.0]


@pytest.mark.parametrize("content", [NDJSON, gzip.compress(NDJSON), b"\xef\xbb\xbf" + NDJSON])
def test_ndjson_is_taken_as_the_api_takes_it(tmp_path: Path, content: bytes) -> None:
    """Labels stay the bytes they are; a time that is absent is left to the server."""
    one, two = read(tmp_path / "x", content)
    assert wire(one) == ("cpu", 1.0, b'{"host":"a"}', "2026-01-01T00:00:00Z", None)
    assert wire(two) == ("mem", 2.5, b"{}", None, "x")
    assert isinstance(two, Line)
    assert (two.number, two.ts_us) == (3, None)


def test_name_and_labels_of_the_command_line_win(tmp_path: Path) -> None:
    """In both formats."""
    one, two = read(tmp_path / "x", NDJSON, name="n", labels={"host": "b", "run": "1"})
    assert wire(one)[:3] == ("n", 1.0, b'{"host":"b","run":"1"}')
    assert wire(two)[:3] == ("n", 2.5, b'{"host":"b","run":"1"}')
    assert wire(read(tmp_path / "y.csv", CSV, name="n")[0])[0] == "n"


@pytest.mark.parametrize(
    ("line", "field"),
    [
        (b"2014-04-02 14:29:00", "line"),
        (b"2014-04-02 14:29:00,1,2", "line"),
        (b"2014-04-02 14:29:00,much", "value"),
        (b"2014-04-02 14:29:00,", "value"),
        (b"2014-04-02 14:29:00,nan", "value"),
        (b"2014-04-02 14:29:00,-inf", "value"),
        (b"2014-04-02 14:29:00,1e999", "value"),
        (b"2014-04-02 14:29:00,1_000", "value"),
        (b"2014-02-30 14:29:00,1", "timestamp"),
        (b"yesterday,1", "timestamp"),
        (b"1396448940,1", "timestamp"),
        (b"\xff\xfe,1", "line"),
        (b"x" * (LINE_BYTES_MAX + 5), "line"),
    ],
)
def test_a_bad_csv_line_is_named_and_the_rest_goes_on(tmp_path: Path, line: bytes, field: str) -> None:
    """Each line stands alone."""
    bad, good = read(tmp_path / "m.csv", b"timestamp,value\n" + line + b"\n2014-04-02 14:29:00,7\n")
    assert isinstance(bad, BadLine)
    assert (bad.number, bad.field) == (2, field)
    assert wire(good)[1] == 7.0
    assert isinstance(good, Line)
    assert good.number == 3


@pytest.mark.parametrize(
    "line",
    [
        b'{"name":"m","value":"1"}',
        b'{"name":"m","value":NaN}',
        b'{"name":"m","value":1e999}',
        b'{"name":"m"}',
        b'{"name":"m","value":1,"timestamp":"2026-01-01T00:00:00"}',
        b'{"name":"m","value":1,"timestamp":1767225600}',
        b'["m",1]',
        b"{" * 50_000,
        b'{"name":"\xff","value":1}',
        b"nonsense",
    ],
)
def test_a_bad_ndjson_line_is_named_and_the_rest_goes_on(tmp_path: Path, line: bytes) -> None:
    """Whatever is in it."""
    first, bad, good = read(tmp_path / "m", NDJSON.split(b"\n")[0] + b"\n" + line + b'\n{"name":"m","value":7}\n')
    assert isinstance(bad, BadLine)
    assert bad.number == 2
    assert (wire(first)[1], wire(good)[1]) == (1.0, 7.0)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"time,value\n1,2\n", "must be timestamp,value"),
        (b"2014-04-02 14:29:00,1\n", "must be timestamp,value"),
        (b"x" * (LINE_BYTES_MAX + 1), "longer than"),
        (b"\xff\xfe\x00", "not UTF-8"),
        (gzip.compress(CSV)[:-12], "end-of-stream"),
        (b"\x1f\x8bnot gzip at all", "gzip|compression|method"),
    ],
)
def test_a_file_that_is_neither_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    """The file and what it should be are named."""
    with pytest.raises(SourceError, match=rf"m\.csv: .*({reason})"):
        read(tmp_path / "m.csv", content)


def test_an_empty_file_has_no_lines(tmp_path: Path) -> None:
    """Empty is not wrong."""
    assert read(tmp_path / "m.csv", b"") == []


def test_a_missing_file_is_named() -> None:
    """Before anything is sent."""
    with pytest.raises(SourceError, match=r"absent\.csv: No such file"):
        source("absent.csv")


@pytest.mark.parametrize(("name", "label"), [("not a name", "ok"), ("ok", "not a label")])
def test_a_name_or_label_that_no_server_takes_is_refused_first(tmp_path: Path, name: str, label: str) -> None:
    """One message, not one a sample."""
    (tmp_path / "m.csv").write_bytes(CSV)
    with pytest.raises(InvalidInput):
        source(tmp_path / "m.csv", name=name, labels={label: "x"})


def test_a_pipe_can_be_read_twice_where_that_is_asked_for(tmp_path: Path) -> None:
    """It is copied first, and the copy goes away."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(CSV,))
    writer.start()
    piped = source(pipe, name="m", rereadable=True)
    writer.join()
    assert len(list(piped.lines())) == len(list(piped.lines())) == 2
    copy = Path(piped._copy.name if piped._copy else "")
    assert copy.exists()
    piped.close()
    assert not copy.exists()


def test_progress_is_in_bytes_of_the_file(tmp_path: Path) -> None:
    """Zero before, the size after, packed or not."""
    path = tmp_path / "m.csv"
    path.write_bytes(gzip.compress(CSV * 1))
    packed = source(path)
    assert packed.position_bytes == 0
    list(packed.lines())
    assert packed.position_bytes == packed.size_bytes == path.stat().st_size


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/a/b/cpu.csv", "cpu"),
        ("cpu.csv.gz", "cpu"),
        ("iio_us-east-1_i-a2eb1cd9_NetworkIn.csv", "iio_us-east-1_i-a2eb1cd9_NetworkIn"),
        ("5xx rate.ndjson", "_5xx_rate"),
        ("-", "stdin"),
        ("é.csv", "_"),
        (".csv", "_"),
        ("x" * 300 + ".csv", "x" * 200),
    ],
)
def test_a_files_name_becomes_a_metrics(path: str, name: str) -> None:
    """Always one that the server takes."""
    assert name_of(path) == name


def test_times_without_a_zone_are_utc() -> None:
    """And only those."""
    assert utc("2014-04-02 14:29:00.25") == "2014-04-02T14:29:00.25Z"
    assert utc("2014-04-02T14:29:00") == "2014-04-02T14:29:00Z"
    assert utc("2014-04-02T14:29:00+02:00") == "2014-04-02T14:29:00+02:00"
    assert utc("soon") == "soon"


def test_shifting_moves_the_instant_and_nothing_else(tmp_path: Path) -> None:
    """The zone it was written in does not matter; a line without a time has none to move."""
    _, line = read(tmp_path / "m.csv", CSV)
    assert isinstance(line, Line)
    later = shifted(line, 1_500_000)
    assert later.point.timestamp == "2014-04-02T12:34:01.500000Z"
    assert (later.point.name, later.point.value) == (line.point.name, line.point.value)
    _, timeless = read(tmp_path / "x", NDJSON)
    assert isinstance(timeless, Line)
    assert shifted(timeless, 1_500_000) is timeless
