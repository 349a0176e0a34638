"""Receivers that misbehave, through the real server: nothing is lost, nobody waits for others, ids stay the same."""

import logging
import os
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import psycopg
import pytest

from adapters.runtime.embedded_access import embedded_database
from tests.e2e.alerting import WAIT_S, Api
from tests.e2e.hooks import LOOPBACK, Hooks
from tests.e2e.program import Program, is_alive, running, wait_until
from tests.support.receiver import Behaviour, answer, drip, hang, reset

pytestmark = [pytest.mark.postgres, pytest.mark.slow]

SEND_TIMEOUT_S = 6.0
"""Longer than `PROMPT_S`: who waited for a receiver that hangs would be late."""
RETRY_AFTER_S = 2.0
PROMPT_S = 5.0
"""In which a good receiver has heard on a busy machine: half a second is waited for others of the same rule."""
SLOW_ALERTS = 4
LEASE_ENDS = bool(os.environ.get("SEXTANT_TEST_LEASES"))
"""Whether to wait for a lease of a minute to end by itself instead of ending it in the table."""
LEASE_S = 60.0 + SEND_TIMEOUT_S

log = logging.getLogger(__name__)

LATE: dict[str, list[Behaviour]] = {
    "500": [answer(500, "later"), answer(503)],
    "429": [answer(429, headers={"Retry-After": f"{RETRY_AFTER_S:.0f}"})],
    "hang": [hang],
    "slow": [drip(503)],
    "reset": [reset],
}
"""Receivers that take the message in the end, and how they answer before."""
TAKEN = {"good": answer(200), "endless": drip(200)}
"""Receivers that take it at once; the answer's status is all that counts."""
NEVER = {"302": answer(302, headers={"Location": "/elsewhere"}), "410": answer(410)}
"""Receivers that never do."""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """Yield a server that waits for receivers for some seconds."""
    settings = {**LOOPBACK, "SEXTANT_OUTBOUND_TIMEOUT": f"{SEND_TIMEOUT_S:.0f}s"}
    with running(tmp_path_factory.mktemp("faults"), environment=settings) as program:
        yield program


@pytest.fixture(scope="module")
def hooks() -> Iterator[Hooks]:
    """Yield the receivers."""
    with Hooks().listening() as hooks:
        yield hooks


@pytest.fixture
def api(program: Program) -> Iterator[Api]:
    """Yield the server's API."""
    with Api(program.url) as api:
        yield api


def watch(api: Api, hooks: Hooks, name: str, channels: list[str]) -> None:
    """A metric `name` with a rule and webhook channels, each at its own path."""
    made = {one["name"] for one in api.get("alerts/channels")["data"]}
    for channel in channels:
        if channel not in made:
            api.webhook(channel, hooks.url(f"/{channel}"), default=False)
    api.post("alerts/rules", {"name": name, "metric": name, "warning": 80, "channels": channels})


def notification(api: Api, channel: str) -> dict[str, Any] | None:
    """The newest message through a channel."""
    return next((one for one in api.all("alerts/notifications") if one["channel"] == channel), None)


def state(api: Api, channel: str) -> str | None:
    """What became of it."""
    found = notification(api, channel)
    return None if found is None else found["state"]


def ids(hooks: Hooks, channel: str) -> list[str]:
    """The ids of what a channel got, signatures verified."""
    return [message["id"] for message in hooks.messages(f"/{channel}")]


def test_faulty_receivers(api: Api, hooks: Hooks) -> None:
    """Each gets its message in the end under one id, or it stands in the dead-letter list; nobody waits for another.

    A dead letter can be sent again; a receiver that is gone is not asked again until somebody enables its channel.
    """
    for name, script in LATE.items():
        hooks.scripts[f"/{name}"] = list(script)
    for name, behave in {**TAKEN, **NEVER}.items():
        hooks.behaviours[f"/{name}"] = behave
    watch(api, hooks, "faulty", [*TAKEN, *LATE, *NEVER])
    api.send("faulty", 90.0)
    heard_s = wait_until(lambda: hooks.at("/good"), WAIT_S, lambda: "the good receiver was not told")
    assert heard_s < PROMPT_S, f"the good receiver waited {heard_s:.1f} s"
    wait_until(
        lambda: all(state(api, name) == "delivered" for name in (*TAKEN, *LATE)),
        WAIT_S,
        lambda: f"{ {name: notification(api, name) for name in LATE} }",
    )
    wait_until(lambda: all(state(api, name) == "dead" for name in NEVER), WAIT_S)
    assert {name: len(ids(hooks, name)) for name in TAKEN} == dict.fromkeys(TAKEN, 1)
    for name, script in LATE.items():
        assert len(ids(hooks, name)) == len(script) + 1, name
        assert len(set(ids(hooks, name))) == 1, name
    first, second = (float(request.headers["webhook-timestamp"]) for request in hooks.at("/429"))
    assert second - first >= RETRY_AFTER_S - 1, "a timestamp is of whole seconds"
    assert hooks.at("/elsewhere") == [], "redirects are not followed"
    dead = {one["channel"]: one for one in api.all("alerts/notifications", state="dead")}
    assert dead.keys() == NEVER.keys()
    assert {name: len(ids(hooks, name)) for name in NEVER} == dict.fromkeys(NEVER, 1)
    assert "redirect" in dead["302"]["last_error"]
    channels = {one["name"]: one for one in api.get("alerts/channels")["data"]}
    assert "410" in channels["410"]["disabled_reason"]
    del hooks.behaviours["/302"]
    api.post(f"alerts/notifications/{dead['302']['id']}/resend")
    wait_until(lambda: state(api, "302") == "delivered", WAIT_S)
    assert ids(hooks, "302") == [dead["302"]["id"]] * 2
    log.info("the good receiver heard after %.2f s", heard_s)


def test_a_slow_receiver_delays_nobody(api: Api, hooks: Hooks) -> None:
    """While one endpoint hangs with every message, another gets each of four alerts at once."""
    hooks.behaviours["/hanging"] = hang
    slowest_s = 0.0
    for number in range(SLOW_ALERTS):
        rule = f"slow-{number}"
        watch(api, hooks, rule, ["hanging", "prompt"])
        api.send(rule, 90.0)
        slowest_s = max(slowest_s, wait_until(partial(has, hooks, "/prompt", number + 1), WAIT_S))
    assert slowest_s < PROMPT_S
    assert len(hooks.at("/hanging")) >= 1
    hooks.behaviours["/hanging"] = answer(200)
    wait_until(
        lambda: not [one for one in api.all("alerts/notifications", state="waiting") if one["channel"] == "hanging"],
        WAIT_S,
        lambda: "not all were delivered once it was well",
    )
    delivered = [one["id"] for one in api.all("alerts/notifications") if one["channel"] == "hanging"]
    assert len(delivered) == SLOW_ALERTS
    assert set(ids(hooks, "hanging")) == set(delivered)
    log.info("beside a hanging endpoint the slowest of %d messages took %.2f s", SLOW_ALERTS, slowest_s)


def has(hooks: Hooks, path: str, count: int) -> bool:
    """Whether so many requests arrived at a path."""
    return len(hooks.at(path)) >= count


@pytest.mark.parametrize("moment", ["being sent", "to be repeated"])
def test_who_sends_is_killed(program: Program, api: Api, hooks: Hooks, moment: str) -> None:
    """kill -9 while a message is being sent, or waits for its next attempt: it arrives, at most once more, same id."""
    channel = f"killed-{moment.replace(' ', '-')}"
    hooks.scripts[f"/{channel}"] = [hang if moment == "being sent" else answer(500, headers={"Retry-After": "5"})]
    watch(api, hooks, channel, [channel])
    wait_until(lambda: len(program.named("alerts")) == 1, WAIT_S)
    api.send(channel, 90.0)
    wait_until(partial(has, hooks, f"/{channel}", 1), WAIT_S)
    [alerts] = program.named("alerts")
    if moment == "to be repeated":
        wait_until(lambda: (notification(api, channel) or {}).get("last_error"), WAIT_S)
    alerts.kill()
    killed_s = time.monotonic()
    wait_until(lambda: not is_alive(alerts) and bool(program.named("alerts")), WAIT_S)
    if moment == "being sent" and not LEASE_ENDS:
        end_leases(program)
    wait_until(lambda: state(api, channel) == "delivered", LEASE_S + WAIT_S, lambda: f"{notification(api, channel)}")
    found = notification(api, channel)
    assert found is not None
    assert ids(hooks, channel) == [found["id"]] * 2
    log.info("killed while %s: delivered after %.1f s", moment, time.monotonic() - killed_s)


def end_leases(program: Program) -> None:
    """What would happen a minute later: messages in the hands of the dead are due again."""
    with embedded_database(program.data_dir) as url, psycopg.connect(url, autocommit=True) as connection:
        connection.execute("UPDATE sextant.notifications SET next_attempt_at = now() WHERE state = 'waiting'")
