"""New Relic's NerdGraph with NRQL, from https://docs.newrelic.com/docs/apis/nerdgraph/ , over made-up events."""

import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from aiohttp import web

from adapters.driven.memory.clock import FakeClock
from tests.support.vendors.double import VendorDouble, json_answer

KEY = "NRAK-0123456789ABCDEF0123456789A"
ACCOUNT_ID = 1_234_567
BUCKETS_MAX = 366

_NRQL = re.compile(
    r"SELECT (?P<select>.+?) FROM (?P<event>\w+)(?: WHERE (?P<where>.+?))?(?: FACET (?P<facet>.+) LIMIT MAX)?"
    r" SINCE (?P<since>\d+) UNTIL (?P<until>\d+) TIMESERIES (?P<step>\d+) seconds\Z"
)
_ALIAS = re.compile(r"(.+) AS '(\w+)'\Z")
_ATTRIBUTES = ("percentile", "percentage", "average", "rate", "max", "count", "filter")


class Events(msgspec.Struct, eq=False):
    """Events of one kind with equal attributes, and what an expression over those of a bucket amounts to."""

    kind: str
    attributes: Mapping[str, str | None]
    value: Callable[[str, int], Any]
    """Of an expression and a bucket's start in seconds."""


class NewRelicDouble(VendorDouble):
    """One account of one region."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.events: list[Events] = []
        self.errors: list[dict[str, Any]] = []
        """GraphQL errors that come first, one with each answer of status 200."""
        self.asked: list[str] = []
        """NRQL, as it came."""
        self.buckets_possible = BUCKETS_MAX
        """Queries of more take too long."""

    def respond(self, request: web.Request, body: bytes) -> web.Response:
        """See `VendorDouble.respond`."""
        if request.headers.get("API-Key") != KEY:
            error = {"extensions": {"error_code": "BAD_API_KEY"}, "message": "Bad API Key or no API Key provided"}
            return json_answer({"errors": [error]}, status=401)
        if request.method != "POST" or request.path != "/graphql":
            return web.Response(status=404)
        variables = msgspec.json.decode(body)["variables"]
        self.asked.append(variables["nrql"])
        if self.errors:
            return _error(self.errors.pop(0))
        if variables["account"] != ACCOUNT_ID:
            return _error({"extensions": {"errorClass": "ACCESS_DENIED"}, "message": "User does not have access"})
        return self._nrql(variables["nrql"])

    def limited(self) -> web.Response:
        """See `VendorDouble.limited`."""
        self.limit = None
        return _error({"extensions": {"errorClass": "TOO_MANY_REQUESTS"}, "message": "exceeded your query rate limit"})

    def _nrql(self, nrql: str) -> web.Response:
        match = _NRQL.match(nrql)
        if match is None:
            said = "NRQL Syntax Error: Error at line 1 position 8, unexpected 'FORM'"
            return _error({"extensions": {"errorClass": "INVALID_INPUT"}, "message": said})
        since_s, until_s, step_s = (int(match[name]) for name in ("since", "until", "step"))
        since_s, until_s = since_s // 1_000, until_s // 1_000
        buckets = -(-(until_s - since_s) // step_s)
        if buckets > BUCKETS_MAX:
            said = f"NRDB:1101005 TIMESERIES supports a maximum of {BUCKETS_MAX} buckets"
            return _error({"extensions": {"errorClass": "INVALID_INPUT"}, "message": said})
        if buckets > self.buckets_possible:
            return _error({"extensions": {"errorClass": "TIMEOUT"}, "message": "NRDB:1109 query timed out"})
        facets = [each.strip("` ") for each in (match["facet"] or "").split(",") if each]
        results = [
            row
            for events in self.events
            if events.kind == match["event"] and _kept(events.attributes, match["where"] or "")
            for row in _rows(events, match["select"], facets, range(since_s, until_s, step_s), step_s)
        ]
        nrql_answer = {"results": results, "metadata": {"facets": facets or None}}
        return json_answer({"data": {"actor": {"account": {"nrql": nrql_answer}}}})


def _rows(events: Events, select: str, facets: list[str], starts: range, step_s: int) -> list[dict[str, Any]]:
    rows = []
    values = [events.attributes.get(facet) for facet in facets]
    for start_s in starts:
        row: dict[str, Any] = {"beginTimeSeconds": start_s, "endTimeSeconds": start_s + step_s}
        if facets:
            row["facet"] = values if len(values) > 1 else values[0]
            row.update(zip(facets, values, strict=True))
        for text in re.split(rf", (?={'|'.join(_ATTRIBUTES)})", select):
            alias = _ALIAS.match(text)
            expression, name = alias.groups() if alias else (text, re.sub(r"\((.*)\)", r".\1", text))
            row[name] = events.value(expression, start_s)
        rows.append(row)
    return rows


def _kept(attributes: Mapping[str, str | None], where: str) -> bool:
    for condition in where.split(" AND ") if where else []:
        name, _, rest = condition.strip().partition(" ")
        value = attributes.get(name.strip("`"))
        if rest == "IS NOT NULL":
            kept = value is not None
        elif rest == "IS NULL":
            kept = value is None
        else:
            kept = value in re.findall(r"'((?:[^'\\]|\\.)*)'", rest)
        if not kept:
            return False
    return True


def _error(error: dict[str, Any]) -> web.Response:
    located = {"locations": [{"column": 60, "line": 2}], "path": ["actor", "account", "nrql"], **error}
    return json_answer({"data": {"actor": {"account": {"nrql": None}}}, "errors": [located]})
