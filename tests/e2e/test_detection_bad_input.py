"""Detection, events and incidents under bad input: refused with a reason, or kept and shown without harm."""

import json
import math
import re
import secrets
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import httpx
import pytest

from tests.e2e.alerting import WAIT_S, Api
from tests.e2e.program import Program, run_sextant, wait_until

pytestmark = pytest.mark.slow

DEEP = 100_000
JSON = {"content-type": "application/json"}
SCOPES = ["ingest", "query", "alerts", "admin"]
EVENT = '{"metric":"error","host":"a"'
EVENTS: dict[str, tuple[bytes, int, str]] = {
    # what is wrong: the body, the status, what the reason says
    "NUL in a host": (b'{"metric":"error","host":"a\\u0000"}', 422, "NUL"),
    "NUL in a message": (EVENT.encode() + b',"message":"\\u0000"}', 422, "NUL"),
    "half a surrogate pair": (EVENT.encode() + b',"message":"\\ud800"}', 400, "surrogate"),
    "1e309": (EVENT.encode() + b',"value":1e309}', 422, "64-bit"),
    "NaN": (EVENT.encode() + b',"value":NaN}', 400, "NaN"),
    "deep arrays": (b"[" * DEEP + b"]" * DEEP, 400, "nested"),
    "deep labels": (EVENT.encode() + b',"labels":' + b'{"a":' * DEEP + b"1" + b"}" * (DEEP + 1), 400, "nested"),
    "10,001 events": (b"[" + b",".join([EVENT.encode() + b"}"] * 10_001) + b"]", 413, "10000"),
    "UTF-16": ((EVENT + "}").encode("utf-16"), 400, "UTF-8"),
    "latin-1": (b'{"metric":"error","host":"\xe9"}', 400, "UTF-8"),
    "nowhere": (b'{"metric":"error"}', 422, "host"),
    "the year 1": (EVENT.encode() + b',"ts":"0001-01-01T00:00:00Z"}', 422, "1970"),
}
SETTINGS: dict[str, tuple[bytes, str]] = {
    # what is wrong: the body, what the reason names
    "no object": (b"[]", "object"),
    "an unknown field": (b'{"intervall":"15m"}', "intervall"),
    "a risk of 1e309": (b'{"alert_risk":1e309}', "alert_risk"),
    "a risk of 1": (b'{"alert_risk":1}', "alert_risk"),
    "deviations of 1e309": (b'{"plan":{"spike":{"deviations":1e309}}}', "deviations"),
    "no detector": (b'{"plan":{"detectors":[]}}', "detectors"),
    "not RE2": (b'{"include":["(a"]}', "include"),
    "a pattern that explodes": (b'{"include":["((a{100}){100}){100}"]}', "include"),
    "NUL in a matcher": (b'{"matchers":["a=\\u0000"]}', "matchers"),
    "half a surrogate pair": (b'{"exclude":["\\ud800"]}', "surrogate"),
    "a window of ages": (b'{"window":"999999999999999w"}', "window"),
    "an interval of nothing": (b'{"interval":"0s"}', "interval"),
    "no such channel": (b'{"channels":["nobody"]}', "nobody"),
    "an interval twice": (b'{"interval":"1m","interval":"2m"}', "more than once"),
    "UTF-16": ('{"interval":"1m"}'.encode("utf-16"), "UTF-8"),
}
HOSTILE = {
    "colour": "h\x1b[31m\x1b[2Jred",
    "title": "h\x1b]0;owned\x07",
    "C1": "h\x9b31m\x9d0;owned\x9c",
    "reversed": "h\u202egnp.exe\u2066",
    "lines": "h\r\nINCIDENT 1 resolved\n",
    "markup": "[bold red]h[/]{{ labels }} %s {0}",
    "long": "h" * 2_048,
    "wide": "語" * 682,
    "quotes": "h'; DROP TABLE sextant.incidents; --\"",
}
ALLOWED = "\n"
"""The only character without a picture that a command may print."""
NOW = datetime.now(UTC)
BATCH = 5_000


@contextmanager
def new_tenant(server: Program) -> Iterator[Api]:
    """A tenant of its own, whose detection runs when it is asked to, once it has run by itself."""
    name = f"bad-{secrets.token_hex(4)}"
    with Api(server.url) as operator:
        operator.post("tenants", {"name": name})
        key = operator.post("keys", {"tenant": name, "scopes": SCOPES})["key"]
    with Api(server.url, key) as api:
        api.put("detect/settings", {"interval": "7d"})
        yield api


@pytest.fixture
def tenant(server: Program) -> Iterator[Api]:
    """Yield a tenant; afterwards the server's log must hold no error that nobody expected."""
    with new_tenant(server) as api:
        yield api
    assert "Traceback" not in server.log, server.log[-5_000:]


def run_detection(api: Api) -> dict[str, Any]:
    """Waits for a run that has seen all that was sent before, and returns it."""
    asked: list[int] = []

    def is_asked() -> bool:
        """The server's own run may be under way, and then another one is refused."""
        reply = httpx.post(f"{api.url}/api/v1/detect/runs", headers={"x-api-key": api.key}, timeout=30)
        assert reply.status_code == 202 or "under way" in reply.text, reply.text
        if reply.status_code == 202:
            asked.append(reply.json()["id"])
        return bool(asked)

    wait_until(is_asked, WAIT_S)

    def run() -> dict[str, Any]:
        found: dict[str, Any] = next(one for one in api.all("detect/runs") if one["id"] == asked[0])
        return found

    wait_until(lambda: run()["state"] != "running", WAIT_S, lambda: f"{run()}")
    assert run()["state"] == "done", run()
    return run()


@pytest.mark.parametrize("wrong", EVENTS)
def test_a_bad_event_is_refused(server: Program, tenant: Api, wrong: str) -> None:
    """With a reason that names what is wrong; nothing is kept, and good ones go in afterwards."""
    body, status, says = EVENTS[wrong]
    headers = {"x-api-key": tenant.key, **JSON}
    reply = httpx.post(f"{server.url}/api/v1/events", content=body, headers=headers, timeout=30)
    assert (reply.status_code, says in reply.text) == (status, True), reply.text[:500]
    assert tenant.all("events") == []


@pytest.mark.parametrize("wrong", SETTINGS)
def test_bad_settings_are_refused(server: Program, tenant: Api, wrong: str) -> None:
    """With a reason that names what is wrong; what was set stays."""
    before = tenant.get("detect/settings")
    body, says = SETTINGS[wrong]
    headers = {"x-api-key": tenant.key, **JSON}
    reply = httpx.put(f"{server.url}/api/v1/detect/settings", content=body, headers=headers, timeout=30)
    assert (reply.status_code, says in reply.text) == (400, True), reply.text[:500]
    assert tenant.get("detect/settings") == before


def series() -> dict[str, list[float]]:
    """Series that detectors stumble over, one value each five minutes to now."""
    chance = Random(20_261_122)
    return {
        "huge": [chance.choice((-1e300, 1e300)) for _ in range(576)],
        "from_tiny_to_huge": [1e-300] * 300 + [1e300] * 276,
        "huge_line": [1e300 * (step / 288 - 1) for step in range(576)],
        "subnormal": [5e-324 * chance.randint(0, 9) for _ in range(576)],
        "anything": [chance.choice((1e300, -1e300, 1e-300, 0.0, 1.0)) for _ in range(576)],
        "zeros": [chance.choice((0.0, -0.0)) for _ in range(576)],
        "rounding": [math.nextafter(1.0, 2.0) if step % 2 else 1.0 for step in range(576)],
        "constant": [42.0] * 576,
        "one_point": [1.0],
        "ten_points": [1.0] * 9 + [100.0],
        "counter": [float(step % 250) for step in range(576)],
        "one_spike": [chance.random() for _ in range(575)] + [1e300],
        "gaps": [chance.gauss(0.0, 1.0) if step % 100 < 30 else math.nan for step in range(576)],
    }


VALUES = (1.7976931348623157e308, -1e300, 5e-324)
PARAMETERS: list[dict[str, Any]] = [
    {},
    {"spike": {"deviations": 0, "share_full": 5e-324, "deviations_full": 5e-324, "baseline_share": 5e-324}},
    {"spike": {"deviations": 1e308, "share_full": 1e308, "deviations_full": 1e308}},
    {"trend": {"increase_min": 0, "increase_full": 5e-324}},
    {"variance": {"increase_min": 0, "increase_full": 5e-324, "fill_min": 5e-324, "window": "1m"}},
    {"streaming": {"bucket": "1ms"}},
]


def test_numbers_at_the_edge_stay_finite(tenant: Api) -> None:
    """Looking, backtesting, running, alerting and telling: every number is finite JSON, and nothing fails."""
    sent = []
    for name, values in series().items():
        instants = times(len(values))
        for step, value in enumerate(values):
            if not math.isnan(value):
                at = instants[step]
                sent.append({"name": name, "value": value, "labels": {"host": f"h-{name}"}, "timestamp": at})
    for start in range(0, len(sent), BATCH):
        tenant.send_all(sent[start : start + BATCH])
    for parameters in PARAMETERS:
        assert finite(tenant.post("detect", {"parameters": parameters}))["series"] == len(series())
    tried = {"settings": {"interval": "15m"}, "since": "3h"}
    assert finite(tenant.post("detect/backtest", tried))["runs"] > 0
    errors = [{"metric": "error", "host": "h-huge", "severity": "error", "value": value} for value in VALUES]
    tenant.post("events", {"events": errors})
    assert run_detection(tenant)["series"] == len(series())
    found = finite(tenant.all("anomalies"))
    assert {one["host"] for one in found}.isdisjoint({"h-constant", "h-zeros", "h-one_point", "h-rounding"})
    assert {"h-one_spike", "h-from_tiny_to_huge"} <= {one["host"] for one in found}
    wait_until(lambda: finite(tenant.all("alerts", rule="anomaly risk")), WAIT_S)
    wait_until(lambda: told(tenant), WAIT_S, lambda: f"{tenant.all('incidents')}")
    for incident in tenant.all("incidents"):
        finite(tenant.get(f"incidents/{incident['id']}"))


def told(api: Api) -> bool:
    """Whether there are incidents, and all have a narrative."""
    incidents = api.all("incidents")
    return bool(incidents) and all(one["narrative_text"] for one in incidents)


def hosts_told(api: Api) -> set[str]:
    """The hosts of all incidents."""
    return {host for one in api.all("incidents") for host in one["hosts"]}


def finite(document: Any) -> Any:
    """The document, none of whose numbers may be an infinity or none at all."""
    json.dumps(document, allow_nan=False)
    return document


def test_hostile_names_reach_no_terminal(server: Program, tenant: Api) -> None:
    """Escapes, line ends and directions in hosts, services and messages: kept as they are, shown as harmless text."""
    values = [20.0] * 556 + [95.0] * 20
    sent = [
        {"name": "cpu", "value": value, "labels": {"host": host, "service": host}, "timestamp": at}
        for host in HOSTILE.values()
        for value, at in zip(values, times(len(values)), strict=True)
    ]
    for start in range(0, len(sent), BATCH):
        tenant.send_all(sent[start : start + BATCH])
    for host in HOSTILE.values():
        event = {"metric": "error", "severity": "error", "message": host, "labels": {"said": host}}
        tenant.post("events", {"events": [{**event, "host": host, "service": host}] * 3})
    tenant.put("dependencies", {"data": [{"client": HOSTILE["colour"], "server": HOSTILE["lines"]}]})
    run_detection(tenant)
    wait_until(lambda: told(tenant), WAIT_S)
    wait_until(lambda: {one["host"] for one in tenant.all("events", anomalies="true")} == set(HOSTILE.values()), WAIT_S)
    wait_until(lambda: hosts_told(tenant) == set(HOSTILE.values()), WAIT_S, lambda: f"{hosts_told(tenant)}")
    commands = [("events", "list"), ("anomalies", "list"), ("incidents", "list"), ("detect", "--metric", "cpu")]
    commands += [("incidents", "show", str(one["id"])) for one in tenant.all("incidents")]
    commands += [("alerts", "list"), ("detection", "runs")]
    for command in commands:
        shows_no_escape(server, tenant, *command)


def times(count: int) -> list[str]:
    """So many instants five minutes apart, the last one five minutes ago."""
    return [(NOW - timedelta(minutes=5 * (count - step))).isoformat() for step in range(count)]


def shows_no_escape(server: Program, api: Api, *command: str) -> None:
    """Runs a command, whose output may hold nothing that a terminal obeys."""
    done = run_sextant(*command, environment={"SEXTANT_AGENT_URL": server.url, "SEXTANT_AGENT_KEY": api.key})
    assert done.returncode == 0, done.stderr
    for text in (done.stdout, done.stderr):
        bad = {one for one in text if unicodedata.category(one) in ("Cc", "Cf", "Zl", "Zp") and one not in ALLOWED}
        assert not bad, (command, bad)
        assert not re.search(r"^INCIDENT 1 resolved", text, re.MULTILINE), command


def test_two_tenants_detect_apart(server: Program, tenant: Api) -> None:
    """Same hosts, same ids of events: what one has the other can neither see, change, delete nor be told of."""
    identity = "3f6c1a52-8f0b-4d3e-9c55-6f1f0e6d2b11"
    error = {"metric": "error", "host": "shared", "severity": "error", "message": "ours", "synthetic": True}
    with new_tenant(server) as other:
        line = [float(step) for step in range(576)]
        labels = {"host": "shared", "synthetic": "true"}
        sent = [
            {"name": "memory", "value": value, "labels": labels, "timestamp": at}
            for value, at in zip(line, times(len(line)), strict=True)
        ]
        tenant.send_all(sent)
        tenant.post("events", {"events": [error, error, {**error, "id": identity}]})
        other.post("events", {"events": [{**error, "id": identity, "message": "theirs"}]})
        run_detection(tenant)
        run_detection(other)
        wait_until(lambda: told(tenant) and tenant.all("alerts"), WAIT_S)
        assert [one["message"] for one in other.all("events")] == ["theirs"]
        assert other.all("anomalies") == other.all("incidents") == other.all("alerts") == []
        ours = tenant.all("anomalies") + tenant.all("incidents")
        incident = tenant.all("incidents")[0]["id"]
        paths = [f"anomalies/{one['id']}" for one in tenant.all("anomalies")] + [f"incidents/{incident}"]
        detail = tenant.get(f"incidents/{incident}")
        paths += [one["href"].removeprefix("/api/v1/") for one in detail["evidence"] if "?" not in one["href"]]
        for path in paths:
            if identity not in path:
                assert status(other, "GET", path) == 404, path
        assert status(other, "POST", f"incidents/{incident}/resolve") == 404
        assert status(other, "POST", f"incidents/{incident}/split", {"keys": [detail["timeline"][0]["key"]]}) == 404
        assert status(other, "PUT", f"{paths[0]}/mark", {"verdict": "false"}) == 404
        purge = other.post("synthetic/purge")["id"]
        wait_until(lambda: other.get(f"synthetic/purge/{purge}")["finished_at"] is not None, WAIT_S)
        assert status(tenant, "GET", f"synthetic/purge/{purge}") == 404
        assert other.all("events") == []
        assert [one["id"] for one in tenant.all("anomalies") + tenant.all("incidents")] == [one["id"] for one in ours]
        assert len([one for one in tenant.all("events", anomalies="false") if one["message"] == "ours"]) == 3


def status(api: Api, method: str, path: str, body: object = None) -> int:
    """How a request is answered."""
    url, headers = f"{api.url}/api/v1/{path}", {"x-api-key": api.key}
    return httpx.request(method, url, json=body, headers=headers, timeout=30).status_code
