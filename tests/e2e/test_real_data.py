"""Real data through `sextant replay`: counts, statistics and buckets equal numpy's on the files themselves."""

import csv
import gzip
import json
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from adapters.runtime.clock import SystemClock
from core.domain.times import DAY_US, HOUR_US, MINUTE_US, format_time, parse_time
from tests.e2e.program import KEY, Program, run_sextant
from tests.support import oracle

DATA = Path(os.environ.get("SEXTANT_TEST_DATA", Path(__file__).parents[1] / "data"))
"""Excerpts by default; name a directory with the same layout to replay whole data sets."""
FUTURE_US = SystemClock().now_us() + HOUR_US
"""The source dates some samples to December 2028 by mistake; until then they are refused."""
LABELS = ("service", "pod", "client", "server", "side")
START = "1990-01-01T00:00:00Z"

Line = tuple[str, ...]
"""A metric's name, then the values of `LABELS`."""


@dataclass
class Contents:
    """What files hold: the last value of each (line, ts_us), and how many rows there are with and without a future."""

    values: dict[Line, dict[int, float]]
    rows: int = 0
    rows_of_the_future: int = 0

    def add(self, line: Line, ts_us: int, value: float) -> None:
        """One row."""
        self.rows += 1
        if ts_us > FUTURE_US:
            self.rows_of_the_future += 1
        else:
            self.values[line][ts_us] = value


def csv_contents(path: Path) -> Contents:
    """A file of NAB."""
    contents = Contents(defaultdict(dict))
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            ts_us = parse_time(row["timestamp"].replace(" ", "T") + "Z", "")
            contents.add((path.stem, *[""] * len(LABELS)), ts_us, float(row["value"]))
    return contents


def ndjson_contents(path: Path) -> Contents:
    """A file of Nezha."""
    contents = Contents(defaultdict(dict))
    with gzip.open(path) as file:
        for text in file:
            row = json.loads(text)
            line = (row["name"], *(row["labels"].get(label, "") for label in LABELS))
            contents.add(line, parse_time(row["timestamp"], ""), row["value"])
    return contents


def replay(server: Program, *arguments: str) -> tuple[int, dict[str, Any]]:
    """Exit status and summary of `sextant replay`."""
    done = run_sextant(
        "replay",
        *arguments,
        "--json",
        "--retention-days",
        "10000",
        environment={"SEXTANT_AGENT_URL": server.url, "SEXTANT_AGENT_KEY": KEY},
        timeout_s=600,
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


@pytest.mark.parametrize("path", sorted(DATA.glob("nab/**/*.csv")), ids=lambda path: path.stem)
def test_a_file_of_nab(server: Program, client: httpx.Client, path: Path) -> None:
    """A CSV file is one metric of its name; all its rows are accepted, and a second replay changes nothing."""
    contents = csv_contents(path)
    for _ in range(2):
        status, summary = replay(server, str(path))
        assert (status, summary["accepted"], summary["rejected"]) == (0, contents.rows, 0)
        check(client, contents)


def test_nezha(server: Program, client: httpx.Client) -> None:
    """NDJSON with labels; the rows that the source dates to the future are refused, by name, and only they."""
    [path] = DATA.glob("nezha/*.ndjson.gz")
    contents = ndjson_contents(path)
    status, summary = replay(server, str(path))
    assert status == (1 if contents.rows_of_the_future else 0)
    assert summary["read"] == contents.rows
    assert summary["rejected"] == contents.rows_of_the_future
    assert summary["accepted"] == contents.rows - contents.rows_of_the_future
    assert all("ahead" in reason for reason in summary["reasons"])
    check(client, contents)


def check(client: httpx.Client, contents: Contents) -> None:
    """Asserts that raw samples, statistics and buckets are those of the files."""
    for name in {line[0] for line in contents.values}:
        mine = {line: values for line, values in contents.values.items() if line[0] == name}
        lines = {line[1:]: number for number, line in enumerate(sorted(mine))}
        model = {
            (lines[line[1:]], ts_us): value for line, values in sorted(mine.items()) for ts_us, value in values.items()
        }
        assert raw(client, name, lines) == model
        check_statistics(client, name, lines, model)
        times = [ts_us for _, ts_us in model]
        first_us, last_us = min(times), max(times) + 1
        for bucket, step_us in (("5m", 5 * MINUTE_US), ("1h", HOUR_US), ("1d", DAY_US)):
            # At most 11,000 buckets are answered for one line.
            end_us = min(last_us, first_us + 10_000 * step_us)
            chosen = oracle.narrowed(model, lines.values(), first_us, end_us)
            check_buckets(client, name, lines, chosen, bucket, step_us)


def raw(client: httpx.Client, name: str, lines: Mapping[Line, int]) -> dict[tuple[int, int], float]:
    """All samples by paging, each once."""
    rows = list(_pages(client, {"name": name, "start": START, "limit": "10000"}))
    shown = {(lines[_line(row["labels"])], parse_time(row["timestamp"], "")): row["value"] for row in rows}
    assert len(shown) == len(rows)
    return shown


def check_statistics(
    client: httpx.Client, name: str, lines: Mapping[Line, int], model: Mapping[tuple[int, int], float]
) -> None:
    """Asserts `aggregate`, a row for each line."""
    params = {"start": START, "group_by": ",".join(LABELS)}
    rows = client.get(f"/api/v1/metrics/aggregate/{name}", params=params).json()["data"]
    assert {lines[_line(row["labels"])] for row in rows} == set(lines.values())
    for row in rows:
        values = np.array([value for (line, _), value in model.items() if line == lines[_line(row["labels"])]])
        assert (row["count"], row["min"], row["max"]) == (len(values), values.min(), values.max())
        expected = [values.mean(), values.sum(), *np.percentile(values, [50, 95, 99])]
        np.testing.assert_allclose([row["avg"], row["sum"], row["p50"], row["p95"], row["p99"]], expected, rtol=1e-9)


def check_buckets(
    client: httpx.Client,
    name: str,
    lines: Mapping[Line, int],
    model: Mapping[tuple[int, int], float],
    bucket: str,
    step_us: int,
) -> None:
    """Asserts `series`, a line for each line."""
    times = [ts_us for _, ts_us in model]
    for agg in ("avg", "max", "p95"):
        params = {
            "bucket": bucket,
            "agg": agg,
            "start": format_time(min(times)),
            "end": format_time(max(times) + 1),
            "group_by": ",".join(LABELS),
        }
        reply = client.get(f"/api/v1/metrics/series/{name}", params=params)
        assert reply.status_code == 200, reply.text
        shown = {
            (lines[_line(line["labels"])], parse_time(point["bucket"], "")): point["value"]
            for line in reply.json()["data"]
            for point in line["points"]
        }
        if agg == "p95":
            expected = oracle.percentiles(model, lambda line: line, step_us, 95)
        else:
            summaries = oracle.summaries(model, lambda line: line, step_us)
            expected = {place: one.max if agg == "max" else one.sum / one.count for place, one in summaries.items()}
        assert shown.keys() == expected.keys()
        np.testing.assert_allclose([shown[place] for place in expected], list(expected.values()), rtol=1e-9)


def _pages(client: httpx.Client, params: dict[str, str]) -> Iterator[dict[str, Any]]:
    cursor: dict[str, str] = {}
    while True:
        page = client.get("/api/v1/metrics", params={**params, **cursor}).json()
        yield from page["data"]
        if page["next_cursor"] is None:
            return
        cursor = {"cursor": page["next_cursor"]}


def _line(labels: Mapping[str, str]) -> Line:
    return tuple(labels.get(label, "") for label in LABELS)
