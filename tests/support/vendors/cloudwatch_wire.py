"""A double of CloudWatch and EC2 at the level of HTTP, with the limits and failures that moto does not have.

Written after AWS's API references (GetMetricData, MetricDataResult, ListMetrics, DescribeInstances, "Common errors",
the AWS JSON 1.0 protocol with `awsQueryCompatible`, EC2's query protocol). Signatures are not verified: whose key
signed, and what for, is looked at.
"""

import asyncio
import itertools
import json
import re
import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

from aiohttp import web

KEY = "AKIAIOSFODNN7EXAMPLE"
_SIGNED = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>[^/]+)/\d{8}/(?P<region>[^/]+)/(?P<service>[^/]+)/aws4_request, "
)
_ID = re.compile(r"[a-z][a-zA-Z0-9_]*\Z")
_STATISTICS: dict[str, Callable[[Sequence[float]], float]] = {
    "Average": lambda values: sum(values) / len(values),
    "Sum": sum,
    "Minimum": min,
    "Maximum": max,
    "SampleCount": len,
}

Dimensions = tuple[tuple[str, str], ...]


@dataclass
class Refusal(Exception):
    """An answer that is an error."""

    code: str
    message: str = "no"
    status: int = 400


@dataclass
class Metric:
    """One metric with one combination of dimensions."""

    namespace: str
    name: str
    dimensions: Dimensions
    samples: list[tuple[int, float]] = field(default_factory=list)
    """Seconds and values."""
    statuses: list[str] = field(default_factory=list)
    """Of its next results; afterwards the right one."""


@dataclass
class CloudWatchWire:
    """What the account has, what was asked of it, and what the next requests meet."""

    url: str = ""
    metrics: dict[tuple[str, str, Dimensions], Metric] = field(default_factory=dict)
    instances: dict[str, dict[str, str]] = field(default_factory=dict)
    """Tags of those that run, by id."""
    points_per_page: int = 100_800
    listed_per_page: int = 500
    denied: set[str] = field(default_factory=set)
    """Operations."""
    bad_statistics: set[str] = field(default_factory=set)
    faults: list[Refusal | bytes | web.Response | None] = field(default_factory=list)
    """Of the next requests: an error, a body instead of the right one, an answer, or the right one."""
    endless: bool = False
    """Whether every page has a next one, by the same token."""
    flood_bytes: int = 0
    """So long are answers, of spaces."""
    flooded_bytes: int = 0
    """So much of it was taken."""
    hold: asyncio.Event | None = None
    requests: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    """Operation and parameters of each."""
    keys: list[tuple[str, str, str | None]] = field(default_factory=list)
    """Access key, region and session token of each."""

    def add(self, namespace: str, name: str, samples: Sequence[tuple[int, float]], **dimensions: str) -> Metric:
        """Puts a metric there."""
        metric = Metric(namespace, name, tuple(sorted(dimensions.items())), list(samples))
        self.metrics[namespace, name, metric.dimensions] = metric
        return metric

    def asked(self, operation: str) -> list[dict[str, Any]]:
        """The parameters of all such requests."""
        return [parameters for name, parameters in self.requests if name == operation]

    @asynccontextmanager
    async def served(self, tls: ssl.SSLContext | None = None) -> AsyncIterator["CloudWatchWire"]:
        """Listens on a loopback port while the block runs."""
        app = web.Application(client_max_size=4 << 20)
        app.router.add_route("*", "/{path:.*}", self._answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
            self.url = f"http{'' if tls is None else 's'}://127.0.0.1:{runner.addresses[0][1]}"
            yield self
        finally:
            await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        target = request.headers.get("X-Amz-Target", "")
        if target:
            operation, parameters = target.partition(".")[2], await request.json()
        else:
            form = {name: values[0] for name, values in parse_qs(await request.text()).items()}
            operation, parameters = form.get("Action", ""), form
        self.requests.append((operation, parameters))
        try:
            fault = self.faults.pop(0) if self.faults else None
            if self.hold is not None:
                await self.hold.wait()
            if self.flood_bytes:
                return await self._flood(request)
            if isinstance(fault, Refusal):
                raise fault
            if isinstance(fault, web.Response):
                return fault
            body = self._handled(request, operation, parameters)
        except Refusal as refused:
            return _refused(refused, json_protocol=bool(target))
        return web.Response(body=fault if fault is not None else body)

    def _handled(self, request: web.Request, operation: str, parameters: dict[str, Any]) -> bytes:
        signed = _SIGNED.match(request.headers.get("Authorization", ""))
        if signed is None:
            raise Refusal("MissingAuthenticationToken", "Request is missing Authentication Token", 403)
        self.keys.append((signed["key"], signed["region"], request.headers.get("X-Amz-Security-Token")))
        if signed["key"] != KEY:
            raise Refusal("UnrecognizedClientException", "The security token included in the request is invalid.", 403)
        if operation in self.denied:
            code = "UnauthorizedOperation" if operation == "DescribeInstances" else "AccessDenied"
            raise Refusal(
                code, f"User: arn:aws:iam::123456789012:user/x is not authorized to perform: {operation}", 403
            )
        match operation:
            case "GetMetricData":
                return json.dumps(self._metric_data(parameters)).encode()
            case "ListMetrics":
                return json.dumps(self._listed(parameters)).encode()
            case "DescribeInstances":
                return self._described(parameters).encode()
        raise Refusal("InvalidAction", f"Could not find operation {operation}")

    def _metric_data(self, asked: dict[str, Any]) -> dict[str, Any]:
        queries = asked["MetricDataQueries"]
        ids = [query["Id"] for query in queries]
        if len(queries) > 500:
            raise Refusal("ValidationError", "The collection MetricDataQueries must not have a size greater than 500.")
        if len(set(ids)) < len(ids) or not all(_ID.match(each) for each in ids):
            raise Refusal(
                "ValidationError", "The values for parameter id in MetricDataQueries are not unique or valid."
            )
        if not 0 < asked.get("MaxDatapoints", 100_800) <= 100_800 or asked["StartTime"] >= asked["EndTime"]:
            raise Refusal("ValidationError", "The parameter StartTime must be less than the parameter EndTime.")
        if asked.get("ScanBy") != "TimestampAscending":
            raise AssertionError("the other order is not played")
        points = [(query, *point) for query in queries for point in self._points(query["MetricStat"], asked)]
        per_page = min(self.points_per_page, asked.get("MaxDatapoints", 100_800))
        first = int(asked.get("NextToken", 0))
        page = points[first : first + per_page]
        more = first + per_page < len(points)
        unfinished = {query["Id"] for query, *_ in points[first + per_page :]}
        results = []
        for query in queries:
            mine = [(ts_s, value) for each, ts_s, value in page if each is query]
            metric = self._found(query["MetricStat"]["Metric"])
            status = "PartialData" if query["Id"] in unfinished else "Complete"
            if metric is not None and metric.statuses:
                status = metric.statuses.pop(0)
                mine = mine if status in ("Complete", "PartialData") else []
            results.append(
                {
                    "Id": query["Id"],
                    "Label": query["MetricStat"]["Metric"]["MetricName"],
                    "Timestamps": [ts_s for ts_s, _ in mine],
                    "Values": [value for _, value in mine],
                    "StatusCode": status,
                }
            )
        return {
            "MetricDataResults": results,
            "Messages": [],
            **_token("0" if self.endless else str(first + per_page) if more else None),
        }

    def _points(self, stat: Mapping[str, Any], asked: Mapping[str, Any]) -> list[tuple[int, float]]:
        if stat["Stat"] in self.bad_statistics or stat["Stat"] not in _STATISTICS:
            raise Refusal("ValidationError", f"The value {stat['Stat']} for parameter Stat is not supported.")
        if stat["Period"] % 60:
            raise Refusal("ValidationError", "The parameter Period must be a multiple of 60.")
        metric = self._found(stat["Metric"])
        samples = sorted(metric.samples) if metric is not None else []
        periods = itertools.groupby(samples, lambda sample: sample[0] - sample[0] % stat["Period"])
        made = [(ts_s, float(_STATISTICS[stat["Stat"]]([value for _, value in some]))) for ts_s, some in periods]
        return [(ts_s, value) for ts_s, value in made if asked["StartTime"] <= ts_s < asked["EndTime"]]

    def _found(self, asked: Mapping[str, Any]) -> Metric | None:
        dimensions = tuple(sorted((each["Name"], each["Value"]) for each in asked.get("Dimensions", ())))
        return self.metrics.get((asked["Namespace"], asked["MetricName"], dimensions))

    def _listed(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        wanted = (asked["Namespace"], asked["MetricName"])
        found = [metric for metric in self.metrics.values() if (metric.namespace, metric.name) == wanted]
        first = int(asked.get("NextToken", 0))
        last = first + self.listed_per_page
        shown = [
            {
                "Namespace": metric.namespace,
                "MetricName": metric.name,
                "Dimensions": [{"Name": name, "Value": value} for name, value in metric.dimensions],
            }
            for metric in found[first:last]
        ]
        return {"Metrics": shown, **_token("0" if self.endless else str(last) if last < len(found) else None)}

    def _described(self, form: Mapping[str, str]) -> str:
        found = dict(self.instances)
        for number in itertools.takewhile(lambda number: f"Filter.{number}.Name" in form, itertools.count(1)):
            name = form[f"Filter.{number}.Name"]
            values = {value for key, value in form.items() if key.startswith(f"Filter.{number}.Value.")}
            assert len(values) <= 200, "more than EC2 takes in one filter"
            if name == "instance-id":
                found = {each: tags for each, tags in found.items() if each in values}
            elif name.startswith("tag:"):
                found = {each: tags for each, tags in found.items() if tags.get(name[4:]) in values}
        first = int(form.get("NextToken", 0))
        last = first + min(int(form.get("MaxResults", 1000)), self.listed_per_page)
        items = "".join(
            f"<item><reservationId>r-{each}</reservationId><instancesSet><item><instanceId>{each}</instanceId>"
            f"<launchTime>2026-01-01T00:00:00.000Z</launchTime><tagSet>"
            + "".join(f"<item><key>{escape(k)}</key><value>{escape(v)}</value></item>" for k, v in tags.items())
            + "</tagSet></item></instancesSet></item>"
            for each, tags in list(found.items())[first:last]
        )
        token = f"<nextToken>{0 if self.endless else last}</nextToken>" if last < len(found) or self.endless else ""
        return (
            '<DescribeInstancesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>1</requestId>'
            f"<reservationSet>{items}</reservationSet>{token}</DescribeInstancesResponse>"
        )

    async def _flood(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.content_length = self.flood_bytes
        await response.prepare(request)
        chunk = b" " * (1 << 20)
        while self.flooded_bytes < self.flood_bytes:
            await response.write(chunk)
            self.flooded_bytes += len(chunk)
        return response


def _token(token: str | None) -> dict[str, str]:
    return {} if token is None else {"NextToken": token}


def _refused(refused: Refusal, *, json_protocol: bool) -> web.Response:
    if json_protocol:
        body = {"__type": f"com.amazonaws.cloudwatch#{refused.code}", "message": refused.message}
        headers = {"x-amzn-query-error": f"{refused.code};{'Sender' if refused.status < 500 else 'Receiver'}"}
        return web.Response(status=refused.status, body=json.dumps(body).encode(), headers=headers)
    text = (
        f"<Response><Errors><Error><Code>{refused.code}</Code><Message>{escape(refused.message)}</Message></Error>"
        "</Errors><RequestID>1</RequestID></Response>"
    )
    return web.Response(status=refused.status, text=text)
