"""What an operator sees of a running server of two workers: its numbers, its health, its state."""

import re
import secrets
from concurrent.futures import ThreadPoolExecutor

import httpx

from tests.e2e.program import KEY, Program, wait_until

CLIENTS = 8
REQUESTS = 15
POINTS = 7


def scraped(server: Program) -> dict[str, float]:
    """Sextant's own metrics, by name and labels."""
    text = httpx.get(f"{server.url}/metrics", timeout=10)
    assert text.headers["content-type"].startswith("text/plain; version=0.0.4")
    found = re.findall(r"^(sextant_\w+(?:\{[^}]*\})?) (\S+)$", text.text, re.MULTILINE)
    return {name: float(value) for name, value in found}


def test_metrics_are_the_sum_over_all_processes(server: Program) -> None:
    """Requests spread over two workers: whichever answers the scrape, every count is there, and none twice."""
    before = scraped(server)
    name = f"counted_{secrets.token_hex(6)}"

    def send(_: int) -> None:
        with httpx.Client(base_url=server.url, headers={"x-api-key": KEY}, timeout=30) as client:
            for _ in range(REQUESTS):
                metrics = [{"name": name, "value": 1.0, "labels": {"n": str(n)}} for n in range(POINTS)]
                reply = client.post("/api/v1/metrics/ingest/batch", json={"metrics": [*metrics, {"name": ""}]})
                assert reply.status_code == 200, reply.text

    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(send, range(CLIENTS)))
    requests = CLIENTS * REQUESTS
    for _ in range(6):  # several scrapes, so that both workers have been asked
        after = scraped(server)

        def grown(metric: str, after: dict[str, float] = after) -> float:
            return after.get(metric, 0.0) - before.get(metric, 0.0)

        assert grown("sextant_samples_accepted_total") == requests * POINTS
        assert grown('sextant_samples_rejected_total{field="value"}') == requests
        assert grown("sextant_journal_points_total") == requests * POINTS
        assert grown("sextant_journal_requests_total") == requests
        assert 1 <= grown("sextant_journal_commits_total") <= requests
        assert grown("sextant_ingest_batch_size_sum") == requests * (POINTS + 1)
        lookups = [grown(f'sextant_series_cache_lookups_total{{result="{result}"}}') for result in ("hit", "miss")]
        assert sum(lookups) >= requests * POINTS
        assert grown('sextant_http_requests_total{route="/api/v1/metrics/ingest/batch",status="200"}') == requests
        assert after["sextant_ingest_queue_points"] == 0


def test_the_keepers_numbers_are_there_too(server: Program, client: httpx.Client) -> None:
    """What the keeper's process counts, a worker shows: points settled, and the backlog with its age going to 0."""
    before = scraped(server)
    name = f"kept_{secrets.token_hex(6)}"
    assert client.post("/ingest", json={"name": name, "value": 1.0}).status_code == 200

    def settled() -> bool:
        after = scraped(server)
        return (
            after["sextant_settled_points_total"] > before.get("sextant_settled_points_total", 0)
            and after["sextant_unsettled_points"] == 0
            and after["sextant_unsettled_age_seconds"] == 0
        )

    wait_until(settled, 15, lambda: str(scraped(server)))


def test_health_says_what_works(server: Program) -> None:
    """/healthz, /readyz and /health are 200 without a key, and name the schema and the version."""
    with httpx.Client(base_url=server.url, timeout=10) as client:
        assert client.get("/healthz").json() == {"status": "ok"}
        ready = client.get("/readyz").json()
        assert ready["ready"]
        assert [check["ok"] for check in ready["checks"]] == [True, True]
        health = client.get("/health").json()
    assert health["status"] == "ok"
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*", health["version"])


def test_documents_are_served_from_the_package(server: Program) -> None:
    """OpenAPI, Swagger UI and ReDoc with their scripts, and no address of another host to load from."""
    with httpx.Client(base_url=server.url, timeout=30) as client:
        assert client.get("/openapi.json").json()["openapi"].startswith("3.1")
        for page in ("/docs", "/redoc"):
            html = client.get(page).text
            assert not re.search(r'(?:src|href)="(?:https?:)?//', html)
            for asset in re.findall(r'(?:src|href)="(docs/assets/[^"]+)"', html):
                assert client.get(f"/{asset}").status_code == 200
