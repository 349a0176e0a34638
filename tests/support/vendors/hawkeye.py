"""Hawkeye, by docs/hawkeye.md."""

import base64
from collections.abc import Mapping
from typing import Any

import msgspec
from aiohttp import web

from adapters.driven.memory.clock import FakeClock
from tests.support.vendors.double import VendorDouble, json_answer

KEY = "hawk-0123456789abcdef"
PAGE_MAX = 500
RANGE_S_MAX = 86_400


class Signal(msgspec.Struct, eq=False):
    """One signal of one pod: values by the start of their minute, in seconds."""

    cluster_id: str
    namespace: str
    pod: str
    signal: str
    unit: str
    values: dict[int, float | None]
    workload: str | None = None
    node: str | None = None


class HawkeyeDouble(VendorDouble):
    """One account."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.signals: list[Signal] = []
        self.permitted = True
        self.page_max = PAGE_MAX
        self.expired = False
        """Whether cursors have run out."""
        self.stuck = False
        """Whether every page names the same next one."""

    def respond(self, request: web.Request, body: bytes) -> web.Response:
        """See `VendorDouble.respond`."""
        if request.headers.get("Authorization") != f"Bearer {KEY}":
            return _error(401, "unauthorized", "no such key")
        if request.path == "/v1/clusters":
            clusters = sorted({each.cluster_id for each in self.signals})
            return self._page("clusters", [{"cluster_id": cluster} for cluster in clusters], request.query)
        if request.path != "/v1/golden-signals":
            return _error(404, "not_found", "no such path")
        return self._golden(request.query)

    def limited(self) -> web.Response:
        """See `VendorDouble.limited`."""
        self.limit = None
        content = {"error": {"code": "rate_limited", "message": "120 requests a minute"}}
        return json_answer(content, status=429, headers={"Retry-After": "9"})

    def _golden(self, params: Mapping[str, str]) -> web.Response:
        cluster = params["cluster_id"]
        start_s, end_s, step_s = int(params["start"]), int(params["end"]), int(params["step"])
        if not self.permitted:
            said = f"the key may not read signals of {cluster}"
            content = {"error": {"code": "forbidden", "message": said, "permission": "signals:read"}}
            return json_answer(content, status=403)
        if cluster not in {each.cluster_id for each in self.signals}:
            return _error(404, "unknown_cluster", f"no cluster {cluster}")
        if start_s % step_s or end_s % step_s or end_s <= start_s:
            return _error(400, "invalid_request", "start and end must be multiples of step, start before end")
        if end_s - start_s > RANGE_S_MAX:
            return _error(400, "window_too_large", "at most 24 hours")
        series = [
            _shown(each, start_s, end_s)
            for each in self.signals
            if each.cluster_id == cluster and params.get("namespace", each.namespace) == each.namespace
        ]
        return self._page("series", [each for each in series if each["points"]], params)

    def _page(self, name: str, rows: list[Any], params: Mapping[str, str]) -> web.Response:
        cursor = params.get("cursor")
        if cursor is not None and self.expired:
            return _error(410, "cursor_expired", "the cursor is older than ten minutes")
        offset = 0 if cursor is None or self.stuck else int(base64.b64decode(cursor))
        end = offset + min(int(params["limit"]), self.page_max)
        more = base64.b64encode(str(end).encode()).decode() if end < len(rows) else None
        return json_answer({name: rows[offset:end], "next_cursor": "c3R1Y2s=" if self.stuck else more})


def _shown(signal: Signal, start_s: int, end_s: int) -> dict[str, Any]:
    shown: dict[str, Any] = msgspec.to_builtins(signal)
    values = shown.pop("values")
    shown["points"] = [[int(ts_s), value] for ts_s, value in values.items() if start_s <= int(ts_s) < end_s]
    return shown


def _error(status: int, code: str, message: str) -> web.Response:
    return json_answer({"error": {"code": code, "message": message}}, status=status)
