"""How soon an alert is known: half of the bulk rate up to now, and among it single samples that cross a threshold.

The load's series report every 10 s of their own time, which runs faster than ours and ends about now, so that windows
hold as many samples as in a company whose 10,000 series came to such a rate by being millions.
The database is asked in place of the API, which shows an alert from the moment its row is committed: asking as often
through the API would be a load of its own.
"""

import http.client
import http.server
import re
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from statistics import quantiles

import psycopg

from core.domain.rules import AlertRule
from tests.benchmarks.alert_rules import thousand_rules
from tests.benchmarks.alerts import create, create_rules
from tests.benchmarks.bulk import SETTLE_SETTINGS
from tests.benchmarks.engines import BenchEngine
from tests.benchmarks.report import Report
from tests.benchmarks.serving import Server, sextant_server
from tests.benchmarks.workload import BATCH_PATH, BATCH_POINTS, INGEST_PATH, INTERVAL_S, Workload

PROBES = 300
PROBE_METRIC = "queue_depth"
SENDERS = 2
POLL_S = 0.005
WARM_UP_S = 5.0  # all series are known, and the first settle has begun
LAST_S_MAX = 15.0
STAMP = "0000-00-00T00:00:00.000Z"
TEMPLATES = 8
SETTINGS = {**SETTLE_SETTINGS, "SEXTANT_OUTBOUND_ALLOW": "127.0.0.0/8"}
NEW_ALERTS = """
    SELECT id, labels ->> 'host' FROM sextant.alerts
    WHERE metric = %s AND state = 'firing' AND id > %s ORDER BY id
"""


class Moments:
    """When each probe was acknowledged, seen as firing, and told, by host; seconds of `perf_counter`."""

    def __init__(self) -> None:
        self.acknowledged: dict[str, float] = {}
        self.firing: dict[str, float] = {}
        self.told: dict[str, float] = {}

    def after(self, later: dict[str, float]) -> list[float]:
        """Seconds from acknowledgement to `later`, of all probes that came to it."""
        return [at_s - self.acknowledged[host] for host, at_s in later.items()]


def alert_latency(engine: BenchEngine, work: Workload, *, points_per_s: float, duration_s: float) -> Report:
    """`PROBES` crossings spread over `duration_s` of load at `points_per_s`."""
    report = Report("alert_latency", engine.name, f"{points_per_s:,.0f} points/s wanted, {PROBES} crossings")
    moments = Moments()
    with ExitStack() as opened:
        url = opened.enter_context(engine.database())
        server = opened.enter_context(sextant_server(url, workers=1, settings=SETTINGS))
        receiver_port = opened.enter_context(_receiver(moments))
        _prepare(server, receiver_port)
        load = _Load(server, work, points_per_s, duration_s)
        opened.enter_context(load.running())
        time.sleep(WARM_UP_S)
        opened.enter_context(_watching(url, moments))
        _probe(server, moments, duration_s)
        deadline_s = time.monotonic() + LAST_S_MAX
        while len(moments.told) < PROBES and time.monotonic() < deadline_s:
            time.sleep(POLL_S)
        seen = server.get(f"/api/v1/alerts?state=firing&metric={PROBE_METRIC}&limit={PROBES}")
    report.figure("load that was acknowledged", "points/s", [load.points_per_s])
    report.figure("alerts that the API shows", "", [seen.count(b'"state":"firing"')])
    firing_p99_s = _describe(report, "acknowledged → firing", moments.after(moments.firing))
    _describe(report, "acknowledged → webhook", moments.after(moments.told))
    report.check("load ÷ wanted", load.points_per_s / points_per_s, least=0.95)
    report.check("crossings that fired", len(moments.firing), least=PROBES)
    report.check("acknowledged → firing, p99 s", firing_p99_s, most=1.0)
    return report


def _describe(report: Report, name: str, latencies_s: list[float]) -> float:
    percentiles = quantiles(latencies_s, n=100, method="inclusive")
    for percent in (50, 95, 99):
        report.figure(f"{name}, p{percent}", "s", [percentiles[percent - 1]])
    return percentiles[98]


def _prepare(server: Server, receiver_port: int) -> None:
    """Rules, a channel, and a good sample of each series that is to cross."""
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)) as connection:
        hook = {"name": "bench", "type": "webhook", "url": f"http://127.0.0.1:{receiver_port}/"}
        create(connection, server.key, "/api/v1/alerts/channels", hook)
        for number in range(PROBES):
            _send(connection, server.key, INGEST_PATH, _probe_body(number, 1.0))
    deep = AlertRule(name="deep queue", metric=PROBE_METRIC, warning=100.0)
    create_rules(server, [*thousand_rules(), deep])


def _probe(server: Server, moments: Moments, duration_s: float) -> None:
    started_s = time.perf_counter()
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)) as connection:
        for number in range(PROBES):
            time.sleep(max(0.0, started_s + number * duration_s / PROBES - time.perf_counter()))
            _send(connection, server.key, INGEST_PATH, _probe_body(number, 500.0))
            moments.acknowledged[_probe_host(number)] = time.perf_counter()


def _send(connection: http.client.HTTPConnection, key: str, path: str, body: bytes) -> None:
    connection.request("POST", path, body, {"Authorization": f"Bearer {key}", "Content-Type": "application/json"})
    response = connection.getresponse()
    text = response.read()
    if response.status != 200:
        raise RuntimeError(f"POST {path}: {response.status} {text[:500]!r}")


def _probe_host(number: int) -> str:
    return f"probe-{number:03d}"


def _probe_body(number: int, value: float) -> bytes:
    labels = f'{{"host":"{_probe_host(number)}"}}'
    return f'{{"name":"{PROBE_METRIC}","labels":{labels},"timestamp":"{_stamp(time.time())}","value":{value}}}'.encode()


def _stamp(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class _Load:
    """Batches of one point of each of 10,000 series, at a steady rate, from a few connections."""

    def __init__(self, server: Server, work: Workload, points_per_s: float, duration_s: float) -> None:
        self._server = server
        self._bodies = [_with_stamps(work, number) for number in range(TEMPLATES)]
        self._interval_s = BATCH_POINTS / points_per_s
        self._first_s = time.time() - (WARM_UP_S + duration_s + LAST_S_MAX) / self._interval_s * INTERVAL_S
        self._stop = threading.Event()
        self._batches = 0
        self._elapsed_s = 0.0

    @property
    def points_per_s(self) -> float:
        """What was acknowledged."""
        return self._batches * BATCH_POINTS / self._elapsed_s

    @contextmanager
    def running(self) -> Iterator[None]:
        """Send until the context is left."""
        started_s = time.perf_counter()
        turns = iter(range(1_000_000_000))
        senders = [threading.Thread(target=self._run, args=(started_s, turns)) for _ in range(SENDERS)]
        for sender in senders:
            sender.start()
        try:
            yield
        finally:
            self._stop.set()
            for sender in senders:
                sender.join()
            self._elapsed_s = time.perf_counter() - started_s

    def _run(self, started_s: float, turns: Iterator[int]) -> None:
        with closing(http.client.HTTPConnection("127.0.0.1", self._server.port, timeout=30)) as connection:
            while not self._stop.is_set():
                turn = next(turns)
                time.sleep(max(0.0, started_s + turn * self._interval_s - time.perf_counter()))
                stamp = _stamp(self._first_s + turn * INTERVAL_S)
                body = self._bodies[turn % TEMPLATES].replace(STAMP.encode(), stamp.encode())
                _send(connection, self._server.key, BATCH_PATH, body)
                self._batches += 1


def _with_stamps(work: Workload, number: int) -> bytes:
    """One batch of the work, all of it at an instant to be filled in."""
    metrics = work.metrics_json(number * BATCH_POINTS, BATCH_POINTS)
    text = f'{{"metrics":[{",".join(metrics)}]}}'
    return re.sub(r'"timestamp":"[^"]*"', f'"timestamp":"{STAMP}"', text).encode()


@contextmanager
def _watching(url: str, moments: Moments) -> Iterator[None]:
    """Look for alerts of the probes in a thread."""
    stop = threading.Event()

    def watch() -> None:
        newest = 0
        with psycopg.connect(url, autocommit=True) as connection:
            while not stop.is_set():
                for alert_id, host in connection.execute(NEW_ALERTS, [PROBE_METRIC, newest]).fetchall():
                    newest, moments.firing[host] = alert_id, time.perf_counter()
                stop.wait(POLL_S)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        stop.set()
        watcher.join()


@contextmanager
def _receiver(moments: Moments) -> Iterator[int]:
    """Run a server that takes notifications, and yield its port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            now_s = time.perf_counter()
            for host in re.findall(r'"(probe-\d{3})"', body.decode()):
                moments.told.setdefault(host, now_s)
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            return

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as receiver:
        serving = threading.Thread(target=receiver.serve_forever)
        serving.start()
        try:
            yield receiver.server_address[1]
        finally:
            receiver.shutdown()
            serving.join()
