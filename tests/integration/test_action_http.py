"""HTTP actions against a real server on the loopback interface, through the outbound guard."""

import asyncio
import json
from collections.abc import AsyncIterator
from ipaddress import ip_network
from urllib.parse import unquote

import pytest
from aiohttp import web

from adapters.driven.actions.http_action import HttpActionRunner
from adapters.runtime.outbound import OutboundClient
from core.domain.actions import HttpAction
from ports.driven.action_runner import ActionError, ActionOutcome
from tests.support.action_alert import HOSTILE, an_alert, unheard
from tests.support.http_service import Service

SECRETS = {"token": 'Bearer s3cr"et/token'}


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    async with Service().served() as service:
        yield service


@pytest.fixture
def runner() -> HttpActionRunner:
    return HttpActionRunner(OutboundClient((ip_network("127.0.0.0/8"),)))


async def run(
    runner: HttpActionRunner,
    action: HttpAction,
    labels: dict[str, str] | None = None,
    *,
    secrets: dict[str, str] = SECRETS,
    timeout_s: float = 60.0,
) -> ActionOutcome:
    return await runner.run(action, an_alert(labels), secrets, key="order-9/0", timeout_s=timeout_s, heartbeat=unheard)


async def test_a_request_is_what_the_policy_says(service: Service, runner: HttpActionRunner) -> None:
    """Method, path, headers, secret and body, and the key that makes a repeat harmless."""
    action = HttpAction(
        url=service.url + "/hosts/{{ labels.host }}/restart?load={{ value }}",
        headers={"X-Rule": "{{ rule }}"},
        secret_headers={"Authorization": "token"},
        body='{"host": "{{ labels.host }}", "value": {{ value }}}',
    )
    service.answer = lambda: web.json_response({"ok": True}, status=202)
    outcome = await run(runner, action)
    (received,) = service.received
    assert (received.method, received.path) == ("POST", "/hosts/web-1/restart")
    assert received.query == {"load": "92.5"}
    assert received.headers["X-Rule"] == "checkout is slow"
    assert received.headers["Authorization"] == SECRETS["token"]
    assert received.headers["Idempotency-Key"] == "order-9/0"
    assert received.headers["Content-Type"] == "application/json"
    assert json.loads(received.body) == {"host": "web-1", "value": 92.5}
    assert outcome.changed
    assert outcome.details["status"] == "202"
    assert outcome.details["answer"] == '{"ok": true}'


async def test_a_repeat_has_the_same_key(service: Service, runner: HttpActionRunner) -> None:
    """So that a receiver which honours it acts once."""
    for _ in range(2):
        await run(runner, HttpAction(url=service.url + "/x"))
    assert {received.headers["Idempotency-Key"] for received in service.received} == {"order-9/0"}


async def test_a_preview_is_the_exact_request_and_sends_nothing(service: Service, runner: HttpActionRunner) -> None:
    """Secrets are named, not shown."""
    action = HttpAction(
        url=service.url + "/x?h={{ labels.host }}",
        method="PUT",
        secret_headers={"X-Token": "token"},
        body='{"v": {{ value }}}',
    )
    outcome = await runner.preview(action, an_alert(), SECRETS)
    assert service.received == []
    assert outcome == ActionOutcome(
        summary=f"would send PUT {service.url}/x?h=web-1",
        changed=False,
        details={
            "method": "PUT",
            "url": f"{service.url}/x?h=web-1",
            "headers": "X-Token: (the secret token)\nContent-Type: application/json\n"
            "Idempotency-Key: one for each action, the same when it is repeated",
            "body": '{"v": 92.5}',
        },
    )


async def test_the_guard_stands_before_preview_and_run() -> None:
    """An address that is not public is refused in both, and not tried again."""
    runner = HttpActionRunner(OutboundClient())
    action = HttpAction(url="http://127.0.0.1:1/x")
    with pytest.raises(ActionError, match="not a public address") as preview:
        await runner.preview(action, an_alert(), {})
    with pytest.raises(ActionError, match="not a public address") as failure:
        await run(runner, action)
    assert not preview.value.retryable
    assert not failure.value.retryable


@pytest.mark.parametrize(
    ("status", "retryable"),
    [
        *((status, False) for status in (302, 400, 401, 404, 409, 422)),
        *((status, True) for status in (408, 425, 429, 500, 502, 503)),
    ],
)
async def test_statuses_say_whether_to_repeat(
    service: Service, runner: HttpActionRunner, status: int, retryable: bool
) -> None:
    """The answer's beginning is in the reason; redirects are not followed."""
    service.answer = lambda: web.Response(
        status=status, text="because", headers={"Retry-After": "30", "Location": "/elsewhere"}
    )
    with pytest.raises(ActionError, match=f"answered {status}.*30 s: because") as failure:
        await run(runner, HttpAction(url=service.url + "/x", method="GET"))
    assert failure.value.retryable is retryable
    assert len(service.received) == 1


async def test_a_server_that_is_away_may_come_back(runner: HttpActionRunner) -> None:
    """The connection is refused."""
    async with Service().served() as service:
        url = service.url
    with pytest.raises(ActionError, match="could not be connected to") as failure:
        await run(runner, HttpAction(url=url + "/x"))
    assert failure.value.retryable


async def test_answers_are_bounded_and_printable(service: Service, runner: HttpActionRunner) -> None:
    """Neither a flood nor bytes that are no text reach the audit trail."""
    service.answer = lambda: web.Response(body=b"\xff\x00\x1b[2J" + b"x" * 500_000)
    answer = (await run(runner, HttpAction(url=service.url + "/x"))).details["answer"]
    assert answer.startswith("\ufffd\ufffd\ufffd[2Jxxx")
    assert len(answer) < 1_100


@pytest.mark.parametrize("status", [200, 400])
async def test_a_secret_that_is_echoed_is_masked(service: Service, runner: HttpActionRunner, status: int) -> None:
    """Debugging servers answer with the request's headers."""
    service.answer = lambda: web.json_response({"headers": {"Authorization": SECRETS["token"]}}, status=status)
    action = HttpAction(url=service.url + "/x", secret_headers={"Authorization": "token"})
    try:
        said = str((await run(runner, action)).details)
    except ActionError as error:
        said = error.reason
    assert "s3cr" not in said
    assert "…" in said


async def test_a_missing_secret_is_named(service: Service, runner: HttpActionRunner) -> None:
    """Nothing is sent without it."""
    action = HttpAction(url=service.url + "/x", secret_headers={"Authorization": "token"})
    for attempt in (run(runner, action, secrets={}), runner.preview(action, an_alert(), {})):
        with pytest.raises(ActionError, match="no secret named 'token'") as failure:
            await attempt
        assert not failure.value.retryable
    assert service.received == []


@pytest.mark.parametrize(
    ("headers", "secret_headers", "said"),
    [
        ({"idempotency-key": "mine"}, {}, "is set by Sextant"),
        ({"X-Token": "a"}, {"x-token": "token"}, "given twice"),
        ({"Host": "elsewhere"}, {}, "cannot be set"),
    ],
)
async def test_headers_that_cannot_be(
    service: Service, runner: HttpActionRunner, headers: dict[str, str], secret_headers: dict[str, str], said: str
) -> None:
    """They would contradict what Sextant sends."""
    with pytest.raises(ActionError, match=said) as failure:
        await run(runner, HttpAction(url=service.url + "/x", headers=headers, secret_headers=secret_headers))
    assert not failure.value.retryable
    assert service.received == []


@pytest.mark.parametrize("label", HOSTILE)
async def test_hostile_labels_stay_values(service: Service, runner: HttpActionRunner, label: str) -> None:
    """In path and body the server gets the value itself, or nothing at all."""
    value = HOSTILE[label]
    action = HttpAction(
        url=service.url + "/hosts/{{ labels.bad }}/restart",
        body='{"host": "{{ labels.bad }}", "force": false}',
    )
    if label in ("up", "up_backslash"):
        with pytest.raises(ActionError, match="in its path") as failure:
            await run(runner, action, {"bad": value})
        assert not failure.value.retryable
        assert service.received == []
    else:
        await run(runner, action, {"bad": value})
        (received,) = service.received
        assert [unquote(part) for part in received.path.split("/")] == ["", "hosts", value, "restart"]
        assert received.query == {}
        assert json.loads(received.body) == {"host": value, "force": False}


@pytest.mark.parametrize("label", HOSTILE)
async def test_hostile_labels_add_no_parameters_and_headers(
    service: Service, runner: HttpActionRunner, label: str
) -> None:
    """One parameter, one header; what no header can hold is not sent."""
    value = HOSTILE[label]
    action = HttpAction(
        url=service.url + "/x?host={{ labels.bad }}&force=false", headers={"X-Host": "a{{ labels.bad }}b"}
    )
    if label in ("crlf", "nul", "unicode", "marks"):
        with pytest.raises(ActionError, match="control characters") as failure:
            await run(runner, action, {"bad": value})
        assert not failure.value.retryable
        assert service.received == []
    else:
        await run(runner, action, {"bad": value})
        (received,) = service.received
        assert received.query == {"host": value, "force": "false"}
        assert received.headers["X-Host"] == f"a{value}b"
        assert "X-Admin" not in received.headers


@pytest.mark.parametrize("label", HOSTILE)
async def test_forms_and_plain_bodies(service: Service, runner: HttpActionRunner, label: str) -> None:
    """A form's values are encoded; a body of another type is as its template says."""
    form = HttpAction(
        url=service.url + "/x",
        headers={"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"},
        body="host={{ labels.bad }}&force=false",
    )
    await run(runner, form, {"bad": HOSTILE[label]})
    fields = [field.split("=") for field in service.received[0].body.decode().split("&")]
    assert [fields[0][0], *fields[1]] == ["host", "force", "false"]
    assert unquote(fields[0][1]) == HOSTILE[label]
    text = HttpAction(url=service.url + "/x", headers={"content-type": "text/plain"}, body="host {{ labels.bad }}")
    await run(runner, text, {"bad": HOSTILE[label]})
    assert service.received[1].body.decode() == f"host {HOSTILE[label]}"
    assert service.received[1].headers["Content-Type"] == "text/plain"


async def test_a_label_never_chooses_the_host(service: Service, runner: HttpActionRunner) -> None:
    """Not even a part of it."""
    for url in ("http://{{ labels.host }}/x", "http://{{ labels.host }}.internal/x", service.url + "{{ labels.host }}"):
        with pytest.raises(ActionError, match="must not choose the host"):
            await run(runner, HttpAction(url=url))
        with pytest.raises(ActionError, match="must not choose the host"):
            runner.target(HttpAction(url=url), an_alert())


async def test_time_limits_and_cancellation_end_the_request(service: Service, runner: HttpActionRunner) -> None:
    """A server that hangs holds up neither; signs of life are given meanwhile."""
    service.hang = True
    action = HttpAction(url=service.url + "/x")
    with pytest.raises(ActionError, match="no answer in time") as failure:
        await run(runner, action, timeout_s=0.05)
    assert failure.value.retryable
    service.arrived.clear()
    beats: list[int] = []
    running = asyncio.create_task(
        runner.run(action, an_alert(), {}, key="k", timeout_s=60, heartbeat=lambda: beats.append(1))
    )
    await service.arrived.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert beats


def test_a_target_is_where_the_request_goes(runner: HttpActionRunner) -> None:
    """Host, path and query, with the labels in them, and the same whatever was measured."""
    action = HttpAction(url="https://api.example/{{ labels.host }}?load={{ value }}")
    assert runner.target(action, an_alert()) == runner.target(action, an_alert(value=99.0))
    assert runner.target(action, an_alert()).startswith("http:api.example/web-1?")
    assert runner.target(action, an_alert()) != runner.target(action, an_alert({"host": "web-2"}))
