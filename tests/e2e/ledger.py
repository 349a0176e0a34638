"""Writers that keep a ledger of what the server acknowledged, and what the server must show for it afterwards.

Each writer has a series of its own, so what it was told last about a timestamp is what must be stored. A batch holds
new points, some that overwrite earlier ones, and now and then points far in the past. A batch that was not
acknowledged is sent again until it is, as an agent does.
"""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import httpx
import numpy as np
import psycopg

from core.domain.times import DAY_US, SECOND_US, format_time, parse_time
from tests.e2e.program import KEY, wait_until

METRIC = "ledger"
WRITERS = 8
NEW_POINTS = 40
OVERWRITTEN_POINTS = 5
LATE_POINTS = 5
STEP_US = 1_000
RETRY_PAUSE_S = 0.02
LAST_ANSWERS_TIMEOUT_S = 30.0
"""After a test's last act, every batch in hand is acknowledged within this time."""

Model = dict[tuple[str, int], float]
"""(writer, ts_us) → the last acknowledged value."""


class Writer(threading.Thread):
    """One sender."""

    def __init__(self, url: str, name: str, base_us: int, seed: int) -> None:
        super().__init__(name=f"writer {name}", daemon=True)
        self.label = name
        self.model: Model = {}
        self.acknowledged = 0
        self.refusals: set[int] = set()
        self.failure: BaseException | None = None
        self.stopping = threading.Event()
        self.abandoned = threading.Event()
        self._url = url
        self._base_us = base_us
        self._next = 0
        self._random = np.random.default_rng(seed)

    def run(self) -> None:
        """Sends until `stopping`; always finishes the batch in hand."""
        try:
            with httpx.Client(base_url=self._url, headers={"x-api-key": KEY}, timeout=10) as client:
                while not self.stopping.is_set():
                    self._send(client, self._batch())
        except Exception as error:  # noqa: BLE001 (whoever joins the thread raises it)
            self.failure = error

    def _batch(self) -> dict[int, float]:
        random = self._random
        first, self._next = self._next, self._next + NEW_POINTS
        places = list(range(first, self._next))
        if first:
            places += random.integers(0, first, OVERWRITTEN_POINTS).tolist()
        times = [self._base_us + place * STEP_US for place in places]
        if self.acknowledged % 5 == 4:
            times += [self._base_us - int(ago) * SECOND_US for ago in random.integers(1, 2 * 86_400, LATE_POINTS)]
        return dict(zip(times, random.normal(100.0, 10.0, len(times)).tolist(), strict=True))

    def _send(self, client: httpx.Client, batch: dict[int, float]) -> None:
        body = {
            "metrics": [
                {"name": METRIC, "value": value, "labels": {"writer": self.label}, "timestamp": format_time(ts_us)}
                for ts_us, value in batch.items()
            ]
        }
        while not self.abandoned.is_set():
            try:
                reply = client.post("/api/v1/metrics/ingest/batch", json=body)
            except httpx.HTTPError:
                time.sleep(RETRY_PAUSE_S)
                continue
            if reply.status_code == 200:
                assert reply.json()["accepted"] == len(batch), reply.text
                self.model.update({(self.label, ts_us): value for ts_us, value in batch.items()})
                self.acknowledged += 1
                return
            assert reply.status_code == 503, f"{reply.status_code} {reply.text}"
            assert "retry-after" in reply.headers, reply.headers
            self.refusals.add(reply.status_code)
            time.sleep(RETRY_PAUSE_S)
        raise AssertionError("no acknowledgement for the batch in hand")


class Ledger:
    """All writers of one server, through all its deaths."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.model: Model = {}
        self._base_us = time.time_ns() // 1_000 // SECOND_US * SECOND_US - DAY_US
        self._rounds = 0

    @contextmanager
    def writing(self) -> Iterator[list[Writer]]:
        """Runs the writers; on leaving each gets its last batch acknowledged."""
        self._rounds += 1
        writers = [
            Writer(self.url, f"{self._rounds}-{number}", self._base_us, seed=100 * self._rounds + number)
            for number in range(WRITERS)
        ]
        for writer in writers:
            writer.start()
        try:
            yield writers
            for writer in writers:
                writer.stopping.set()
            with suppress(AssertionError):  # told below, with the writer's own reason
                wait_until(lambda: not any(map(Writer.is_alive, writers)), LAST_ANSWERS_TIMEOUT_S)
        finally:
            for writer in writers:
                writer.abandoned.set()
            for writer in writers:
                writer.join()
        for writer in writers:
            assert writer.failure is None, writer.failure
            self.model.update(writer.model)

    def check(self) -> None:
        """Asserts that queries show every acknowledged point once, with its last value, and nothing else."""
        with httpx.Client(base_url=self.url, headers={"x-api-key": KEY}, timeout=30) as client:
            rows = [
                ((row["labels"]["writer"], parse_time(row["timestamp"], "")), row["value"]) for row in _raw(client)
            ]
            _assert_same(rows, self.model)
            reply = client.get(
                f"/api/v1/metrics/aggregate/{METRIC}", params={"start": "2020-01-01T00:00:00Z", "group_by": "writer"}
            )
            assert reply.status_code == 200, reply.text
            values: dict[str, list[float]] = {}
            for (writer, _), value in self.model.items():
                values.setdefault(writer, []).append(value)
            assert {row["labels"]["writer"] for row in reply.json()["data"]} == set(values)
            for row in reply.json()["data"]:
                mine = values[row["labels"]["writer"]]
                assert (row["count"], row["min"], row["max"]) == (len(mine), min(mine), max(mine))
                np.testing.assert_allclose(row["sum"], np.sum(mine), rtol=1e-12)
                np.testing.assert_allclose([row["p50"], row["p99"]], np.percentile(mine, [50, 99]), rtol=1e-12)

    def check_settled(self, database_url: str) -> None:
        """Waits until all is settled, then asserts the same of the table itself."""
        with psycopg.connect(database_url, autocommit=True) as connection:
            wait_until(lambda: connection.execute("SELECT count(*) FROM sextant.journal").fetchone() == (0,), 30)
            rows = connection.execute(
                "SELECT s.labels ->> 'writer', (extract(epoch FROM ts) * 1000000)::bigint, value "
                "FROM sextant.samples JOIN sextant.series s ON s.id = series_id WHERE s.name = %s",
                (METRIC,),
            ).fetchall()
        _assert_same([((writer, ts_us), value) for writer, ts_us, value in rows], self.model)


def await_acknowledgements(writers: Sequence[Writer], more: int, timeout_s: float = 60.0) -> float:
    """Waits until each writer has `more` batches acknowledged than now; returns how long that took."""
    goals = [writer.acknowledged + more for writer in writers]

    def reached() -> bool:
        assert all(writer.failure is None for writer in writers), [writer.failure for writer in writers]
        return all(writer.acknowledged >= goal for writer, goal in zip(writers, goals, strict=True))

    return wait_until(reached, timeout_s, lambda: f"acknowledged {[writer.acknowledged for writer in writers]}")


def _raw(client: httpx.Client) -> Iterator[dict[str, Any]]:
    cursor: dict[str, str] = {}
    while True:
        end = format_time(time.time_ns() // 1_000 + DAY_US)
        reply = client.get(
            "/api/v1/metrics",
            params={"name": METRIC, "start": "2020-01-01T00:00:00Z", "end": end, "limit": 10_000, **cursor},
        )
        assert reply.status_code == 200, reply.text
        page = reply.json()
        yield from page["data"]
        if page["next_cursor"] is None:
            return
        cursor = {"cursor": page["next_cursor"]}


def _assert_same(rows: Sequence[tuple[tuple[str, int], float]], model: Model) -> None:
    shown = dict(rows)
    assert len(shown) == len(rows), f"{len(rows) - len(shown)} points are there twice"
    missing, extra = model.keys() - shown.keys(), shown.keys() - model.keys()
    assert not missing, f"{len(missing)} acknowledged points are missing, such as {min(missing)}"
    assert not extra, f"{len(extra)} points were never acknowledged, such as {min(extra)}"
    wrong = [place for place, value in model.items() if shown[place] != value]
    assert not wrong, f"{len(wrong)} points have another value, such as {min(wrong)}"
