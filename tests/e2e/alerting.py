"""What the tests of alerts ask of a server: rules, samples, and what became of them."""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import httpx
import psutil

from adapters.runtime.embedded_temporal import embedded_temporal_address
from adapters.runtime.settings import TemporalSettings
from adapters.runtime.temporal_client import connect_temporal
from core.domain.times import format_time
from tests.e2e.hooks import SECRET
from tests.e2e.program import KEY, Program, name_of, wait_until
from tests.support.receiver import Received
from tests.support.temporal import started_workflows

WAIT_S: Final = 60.0
"""What takes a second or two on an idle machine; test machines are rarely idle."""
PAGE: Final = 1_000
FEED_PAUSE_S: Final = 0.01


class Api:
    """A server as one tenant's key sees it; answers other than 2xx fail the test."""

    def __init__(self, url: str, key: str = KEY) -> None:
        self.url = url
        self.key = key
        self._client = httpx.Client(base_url=f"{url}/api/v1/", headers={"x-api-key": key}, timeout=30)

    def __enter__(self) -> "Api":
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def get(self, path: str, **parameters: object) -> Any:
        """The document at a path."""
        return _document(self._client.get(path, params={name: str(value) for name, value in parameters.items()}))

    def all(self, path: str, **parameters: object) -> list[dict[str, Any]]:
        """Every page of a list."""
        rows: list[dict[str, Any]] = []
        cursor: dict[str, str] = {}
        while True:
            page = self.get(path, limit=PAGE, **parameters, **cursor)
            rows += page["data"]
            if page.get("next_cursor") is None:
                return rows
            cursor = {"cursor": page["next_cursor"]}

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """What comes of a request."""
        return _document(self._client.post(path, json=body) if body is not None else self._client.post(path))

    def put(self, path: str, body: Mapping[str, Any]) -> Any:
        """The same, with PUT."""
        return _document(self._client.put(path, json=body))

    def send(self, name: str, value: float, **labels: str) -> None:
        """One sample of this instant."""
        self.post("metrics/ingest", sample(name, value, **labels))

    def send_all(self, samples: Sequence[Mapping[str, Any]]) -> None:
        """Several samples in one request, all to be taken."""
        assert self.post("metrics/ingest/batch", {"metrics": samples})["accepted"] == len(samples)

    def webhook(self, name: str, url: str, **fields: object) -> dict[str, Any]:
        """A signed channel, which every rule tells that names none."""
        channel = {"name": name, "type": "webhook", "url": url, "secret": SECRET, **fields}
        made: dict[str, Any] = self.post("alerts/channels", channel)
        return made

    def repairing(self, name: str, url: str, **fields: object) -> dict[str, Any]:
        """A policy that asks `url`, and finds the repair within half a minute."""
        policy = {
            "name": name,
            "dry_run": False,
            "approval": "none",
            "steps": [{"name": "restart", "action": {"type": "http", "url": url}}],
            "verification": {"within": "30s", "every": "1s"},
            **fields,
        }
        made: dict[str, Any] = self.post("remediation/policies", policy)
        return made


def sample(name: str, value: float, **labels: str) -> dict[str, Any]:
    """A sample of this instant, as ingest takes it."""
    return {"name": name, "value": value, "labels": labels, "timestamp": format_time(time.time_ns() // 1_000)}


def _document(reply: httpx.Response) -> Any:
    assert 200 <= reply.status_code < 300, f"{reply.request.url}: {reply.status_code} {reply.text}"
    return reply.json()


def temporal_of(program: Program) -> list[psutil.Process]:
    """The embedded Temporal's process."""
    return [one for one in program.family() if name_of(one) == "temporal"]


def workflows(program: Program, expected: Iterable[str]) -> list[str]:
    """The ids of all runs that the embedded Temporal itself lists, once all that are expected are among them: its
    list follows its workflows within moments."""
    address = embedded_temporal_address(program.data_dir)
    assert address is not None
    wanted, found = set(expected), list[str]()

    async def listed() -> list[str]:
        return await started_workflows(await connect_temporal(TemporalSettings(address=address)))

    def are_listed() -> bool:
        found[:] = asyncio.run(listed())
        return wanted <= set(found)

    wait_until(are_listed, WAIT_S, lambda: f"not listed: {wanted - set(found)}")
    return found


def alert_ids(messages: Iterable[Mapping[str, Any]]) -> Counter[int]:
    """How many messages tell of each alert; one that was sent again under its id counts once."""
    once = {message["id"]: message for message in messages}
    return Counter(alert["id"] for message in once.values() for alert in message["alerts"])


def sent_again(requests: Sequence[Received]) -> Counter[str]:
    """How often each message arrived after its first time."""
    arrived = Counter(request.headers["webhook-id"] for request in requests)
    return Counter({message_id: count - 1 for message_id, count in arrived.items() if count > 1})


class Feed(threading.Thread):
    """Sends samples of a metric that no rule watches, one request after another, and keeps what was not a 200."""

    def __init__(self, url: str) -> None:
        super().__init__(name="feed", daemon=True)
        self.acknowledged = 0
        self.errors: list[str] = []
        self._url = url
        self._stopping = threading.Event()

    def __enter__(self) -> "Feed":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self.join()

    def run(self) -> None:
        """Sends until it is told to stop."""
        with httpx.Client(base_url=self._url, headers={"x-api-key": KEY}, timeout=10) as client:
            while not self._stopping.wait(FEED_PAUSE_S):
                try:
                    reply = client.post("/api/v1/metrics/ingest", json=sample("unwatched", 1.0))
                except httpx.HTTPError as error:
                    self.errors.append(repr(error))
                    continue
                if reply.status_code == 200:
                    self.acknowledged += 1
                else:
                    self.errors.append(f"{reply.status_code} {reply.text}")


def has_passed(instant_s: float) -> bool:
    """Whether an instant of the monotonic clock is over."""
    return time.monotonic() > instant_s
