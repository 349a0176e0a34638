"""A Prometheus that scrapes a cluster, and knows the answers to expressions instead of evaluating them."""

import re
from urllib.parse import parse_qsl

from aiohttp import web

from adapters.driven.memory.clock import FakeClock
from tests.support.vendors.double import VendorDouble, json_answer


class ClusterPrometheus(VendorDouble):
    """Answers `query_range`; of a series the value is the same at all instants."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.series: list[tuple[str, dict[str, str], float]] = []
        """A regular expression that finds the query, the labels of a result, and its value."""
        self.queries: list[str] = []
        self.token: str | None = None

    def respond(self, request: web.Request, body: bytes) -> web.Response:
        """See `VendorDouble.respond`."""
        if self.token is not None and request.headers.get("Authorization") != f"Bearer {self.token}":
            return web.Response(status=401, text="Unauthorized\n")
        params = dict(request.query) if request.method == "GET" else dict(parse_qsl(body.decode()))
        self.queries.append(params["query"])
        instants = range(int(params["start"]), int(params["end"]) + 1, int(params["step"]))
        result = [
            {"metric": labels, "values": [[instant, str(value)] for instant in instants]}
            for pattern, labels, value in self.series
            if re.search(pattern, params["query"])
        ]
        return json_answer({"status": "success", "data": {"resultType": "matrix", "result": result}})

    def limited(self) -> web.Response:
        """As proxies before it answer."""
        return web.Response(status=429)
