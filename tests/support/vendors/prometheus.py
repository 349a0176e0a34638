"""Prometheus' `query_range`, from https://prometheus.io/docs/prometheus/latest/querying/api/ , for plain selectors."""

import base64
import re
from collections.abc import Mapping
from urllib.parse import parse_qsl

import msgspec
import numpy as np
from aiohttp import web

from adapters.driven.memory.clock import FakeClock
from core.domain.columns import Float64s, Int64s
from tests.support.vendors.double import VendorDouble, json_answer

POINTS_MAX = 11_000
LOOKBACK_S = 300.0

_SELECTOR = re.compile(r"([a-zA-Z_:][\w:]*)(?:\{(.*)\})?\Z")
_MATCHER = re.compile(r'(\w+)="([^"]*)"')


class Scraped(msgspec.Struct, eq=False):
    """One scraped series: `ts_s` float64 or int64 and `values` float64, ascending."""

    labels: Mapping[str, str]
    """With `__name__`."""
    ts_s: Int64s
    values: Float64s


class PrometheusDouble(VendorDouble):
    """One server; `token` and `user` protect it as a proxy before it would."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.scraped: list[Scraped] = []
        self.token: str | None = None
        self.user: tuple[str, str] | None = None
        self.warnings: list[str] = []
        self.samples_max = 50_000_000

    def respond(self, request: web.Request, body: bytes) -> web.Response:
        """See `VendorDouble.respond`."""
        if not self._admitted(request.headers.get("Authorization")):
            return web.Response(status=401, text="Unauthorized\n")
        if request.path != "/api/v1/query_range":
            return web.Response(status=404, text="404 page not found\n")
        params = dict(request.query) if request.method == "GET" else dict(parse_qsl(body.decode()))
        try:
            start_s, end_s, step_s = (float(params[name]) for name in ("start", "end", "step"))
        except (KeyError, ValueError):
            return _error(400, "bad_data", 'invalid parameter "start": cannot parse to a valid timestamp')
        if end_s < start_s:
            return _error(400, "bad_data", 'invalid parameter "end": end timestamp must not be before start time')
        if (end_s - start_s) / step_s > POINTS_MAX:
            said = "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution"
            return _error(400, "bad_data", said)
        match = _SELECTOR.match(params["query"])
        if match is None:
            return _error(400, "bad_data", 'invalid parameter "query": 1:5: parse error: unexpected <op:*>')
        wanted = {"__name__": match[1], **dict(_MATCHER.findall(match[2] or ""))}
        found = [each for each in self.scraped if wanted.items() <= each.labels.items()]
        steps = np.arange(int((end_s - start_s) / step_s + 1e-9) + 1, dtype=np.float64)
        instants: Float64s = start_s + steps * step_s
        if len(found) * len(instants) > self.samples_max:
            return _error(
                422, "execution", "query processing would load too many samples into memory in query execution"
            )
        result = [each for each in (_evaluated(series, instants) for series in found) if each["values"]]
        answer = {"status": "success", "data": {"resultType": "matrix", "result": result}}
        return json_answer({**answer, "warnings": self.warnings} if self.warnings else answer)

    def limited(self) -> web.Response:
        """As proxies before it answer."""
        self.limit = None
        return web.Response(status=429, text="too many requests\n", headers={"Retry-After": "3"})

    def _admitted(self, authorization: str | None) -> bool:
        if self.token is not None:
            return authorization == f"Bearer {self.token}"
        if self.user is not None:
            encoded = base64.b64encode(":".join(self.user).encode()).decode()
            return authorization == f"Basic {encoded}"
        return True


def _evaluated(series: Scraped, instants: Float64s) -> dict[str, object]:
    """The newest sample at or before each instant, no older than the lookback."""
    at = np.searchsorted(series.ts_s, instants, side="right") - 1
    values = []
    for instant, index in zip(instants.tolist(), at.tolist(), strict=True):
        if index >= 0 and instant - float(series.ts_s[index]) < LOOKBACK_S:
            values.append([instant, _text(float(series.values[index]))])
    return {"metric": dict(series.labels), "values": values}


def _text(value: float) -> str:
    """As Go formats it."""
    if np.isnan(value):
        return "NaN"
    if np.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return repr(int(value)) if value.is_integer() else repr(value)


def _error(status: int, kind: str, message: str) -> web.Response:
    return json_answer({"status": "error", "errorType": kind, "error": message}, status=status)
