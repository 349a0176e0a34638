"""Datadog's time series query and its key checks, from https://docs.datadoghq.com/api/latest/metrics/ .

Averages over what was sent; the interval follows from the range's width, as the documentation of rollups has it.
"""

import re
from collections.abc import Callable, Mapping

import msgspec
import numpy as np
from aiohttp import web

from adapters.driven.memory.clock import FakeClock
from core.domain.columns import Float64s, Int64s
from tests.support.vendors.double import VendorDouble, json_answer

API_KEY = "0123456789abcdef0123456789abcdef"
APP_KEY = "fedcba9876543210fedcba9876543210fedcba98"

_QUERY = re.compile(r"(avg|sum|min|max):([\w.]+)\{([^}]*)\}(?: by \{([^}]*)\})?(?:\.rollup\(\w+, ?(\d+)\))?\Z")
_WIDTHS = ((3_600, 20), (14_400, 60), (86_400, 300), (172_800, 600), (604_800, 3_600))
_AGGREGATE: Mapping[str, Callable[[Float64s], float]] = {
    "avg": np.nanmean,
    "sum": np.nansum,
    "min": np.nanmin,
    "max": np.nanmax,
}


class Sent(msgspec.Struct, eq=False):
    """What one agent sent of one metric: `ts_s` int64 and `values` float64, ascending."""

    metric: str
    tags: Mapping[str, str]
    ts_s: Int64s
    values: Float64s


class DatadogDouble(VendorDouble):
    """One organisation at one site."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.sent: list[Sent] = []
        self.permitted = True
        """Whether the application key has `timeseries_query`."""
        self.failing: dict[str, str] = {}
        """Metrics whose queries end in an error of status 200."""

    def respond(self, request: web.Request, body: bytes) -> web.Response:
        """See `VendorDouble.respond`."""
        if request.headers.get("DD-API-KEY") != API_KEY:
            return json_answer({"errors": ["Forbidden"]}, status=403)
        if request.path == "/api/v1/validate":
            return json_answer({"valid": True})
        if request.headers.get("DD-APPLICATION-KEY") != APP_KEY:
            return json_answer({"errors": ["Forbidden"]}, status=403)
        if request.path == "/api/v2/validate_keys":
            return json_answer({"status": "ok"})
        if request.path != "/api/v1/query":
            return json_answer({"errors": ["Not found"]}, status=404)
        if not self.permitted:
            return json_answer({"errors": ["Forbidden"]}, status=403)
        return self._query(request.query)

    def limited(self) -> web.Response:
        """See `VendorDouble.limited`."""
        self.limit = None  # The period that follows.
        said = "Rate limit of 300 requests in 3600 seconds reached. Please try again later."
        headers = {"X-RateLimit-Limit": "300", "X-RateLimit-Period": "3600", "X-RateLimit-Remaining": "0"}
        return json_answer({"errors": [said]}, status=429, headers={**headers, "X-RateLimit-Reset": "17"})

    def _query(self, params: Mapping[str, str]) -> web.Response:
        try:
            start_s, end_s = int(params["from"]), int(params["to"])
        except (KeyError, ValueError):
            return json_answer({"errors": ["from and to must be integers"]}, status=400)
        match = _QUERY.match(params.get("query", ""))
        if match is None:
            return json_answer({"errors": [f"Error parsing query: unable to parse {params['query']}"]}, status=400)
        aggr, metric, scope, group, rollup = match.groups()
        head = {"res_type": "time_series", "query": params["query"], "from_date": start_s * 1_000}
        if metric in self.failing:
            return json_answer({"status": "error", "error": self.failing[metric], "series": [], **head})
        keys = group.split(",") if group else []
        usual_s = next((each for width, each in _WIDTHS if end_s - start_s <= width), 14_400)
        span = range(start_s, end_s, int(rollup or usual_s))
        series = [self._series(aggr, metric, scope, dict(tags), span) for tags in self._groups(metric, scope, keys)]
        found = [each for each in series if each["pointlist"]]
        return json_answer({"status": "ok", "message": "", "group_by": keys, "series": found, **head})

    def _groups(self, metric: str, scope: str, keys: list[str]) -> list[tuple[tuple[str, str], ...]]:
        matching = [each for each in self.sent if each.metric == metric and _in_scope(each.tags, scope)]
        return sorted({tuple((key, each.tags.get(key, "N/A")) for key in keys) for each in matching})

    def _series(self, aggr: str, metric: str, scope: str, tags: Mapping[str, str], span: range) -> dict[str, object]:
        start_s, end_s, interval_s = span.start, span.stop, span.step
        mine = [
            each
            for each in self.sent
            if each.metric == metric and _in_scope(each.tags, scope) and tags.items() <= each.tags.items()
        ]
        points: list[list[float | None]] = []
        for bucket_s in range(start_s // interval_s * interval_s, end_s, interval_s):
            within = [
                each.values[(each.ts_s >= max(bucket_s, start_s)) & (each.ts_s < min(bucket_s + interval_s, end_s))]
                for each in mine
            ]
            values = np.concatenate(within)
            if values.size:
                value = None if np.isnan(values).all() else float(_AGGREGATE[aggr](values))
                points.append([bucket_s * 1_000.0, value])
        tag_set = [f"{key}:{value}" for key, value in tags.items()]
        fixed = [] if scope == "*" else scope.split(",")
        return {
            "metric": metric,
            "display_name": metric,
            "aggr": aggr,
            "tag_set": tag_set,
            "scope": ",".join([*tag_set, *fixed]) or "*",
            "expression": f"{aggr}:{metric}{{{','.join(tag_set) or '*'}}}",
            "interval": interval_s,
            "length": len(points),
            "start": start_s * 1_000,
            "end": end_s * 1_000 - 1,
            "pointlist": points,
            "attributes": {},
            "unit": None,
        }


def _in_scope(tags: Mapping[str, str], scope: str) -> bool:
    return scope == "*" or all(tags.get(each.partition(":")[0]) == each.partition(":")[2] for each in scope.split(","))
