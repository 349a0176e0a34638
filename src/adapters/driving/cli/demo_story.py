"""What the demo lets happen: a recorded machine gets busy, an alert fires, a remediation runs dry, the alert resolves.

The end of the recording, where the machine goes from 30% to 99%, and its beginning, where it is well, are played one
sample a second as a second metric. Nothing else is made up: the server evaluates, tells and remediates as always, and
this program listens to its notifications as any webhook receiver would.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import Any, Final, Self

import msgspec
from aiohttp import web

from adapters.driving.cli.client import Answer, IngestClient
from adapters.driving.cli.demo_feed import LABELS, RECORDING
from adapters.driving.cli.display import write_line
from adapters.driving.cli.output import CommandError
from adapters.driving.cli.replay_source import Line, Source
from core.domain.points import Point
from core.domain.times import SECOND_US, format_time

METRIC: Final = "ec2_cpu_live"
RULE: Final = "cloud machine busy"
POLICY: Final = "restart the busy machine"
BUSY: Final = 90.0
CALM_SAMPLES: Final = 8
BUSY_SAMPLES: Final = 18
"""Long enough to look at the alert while it fires, short enough to see it end within the minute."""
POLL_S: Final = 0.5
ALREADY_THERE: Final = 409


class Story:
    """Plays the samples, and says what the server makes of them; to be opened once the server answers."""

    def __init__(self, client: IngestClient) -> None:
        self._client = client
        source = Source(str(RECORDING), name=METRIC, labels=LABELS, rereadable=False)
        values = [line.point.value for line in source.lines() if isinstance(line, Line)]
        busy = next(row for row, value in enumerate(values) if value > BUSY)
        calm = busy - CALM_SAMPLES
        self._values = [*values[calm : busy + BUSY_SAMPLES], *values[:calm]]
        self._labels = msgspec.Raw(msgspec.json.encode(LABELS))
        self._telling: set[asyncio.Task[None]] = set()
        app = web.Application()
        app.router.add_post("/notifications", self._notified)
        self._receiver = web.AppRunner(app, access_log=None)

    async def __aenter__(self) -> Self:
        """Listens on a free port, and makes the rule with its policy and channel unless an earlier demo did."""
        await self._receiver.setup()
        await web.TCPSite(self._receiver, "127.0.0.1", 0).start()
        port = self._receiver.addresses[0][1]
        await self._put_all(f"http://127.0.0.1:{port}")
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._telling:
            task.cancel()
        await asyncio.gather(*self._telling, return_exceptions=True)
        await self._receiver.cleanup()

    def sample(self, number: int) -> Point:
        """The `number`-th sample, as of now."""
        now_us = time.time_ns() // 1_000 // SECOND_US * SECOND_US
        return Point(METRIC, self._values[number % len(self._values)], self._labels, format_time(now_us))

    async def _put_all(self, receiver: str) -> None:
        restart = {"type": "http", "url": receiver + "/restart/{{ labels.instance }}"}
        rule = {
            "name": RULE,
            "metric": METRIC,
            "warning": 80,
            "critical": BUSY,
            "for": "2s",
            "remediation": POLICY,
            "annotations": {"summary": "{{ labels.instance }} is at {{ value | round(1) }}%"},
        }
        await self._put("alerts/channels", {"name": "demo", "type": "webhook", "url": f"{receiver}/notifications"})
        await self._put("remediation/policies", {"name": POLICY, "steps": [{"name": "restart", "action": restart}]})
        await self._put("alerts/rules", rule)

    async def _put(self, what: str, body: dict[str, Any]) -> None:
        """Creates a thing, or replaces that of an earlier demo, whose receiver had another address."""
        path, sent = f"/api/v1/{what}", msgspec.json.encode(body)
        answer = await self._client.request("POST", path, body=sent)
        if isinstance(answer, Answer) and answer.status == ALREADY_THERE:
            existing = await self._get(path, ())
            number = next(one["id"] for one in existing["data"] if one["name"] == body["name"])
            answer = await self._client.request("PUT", f"{path}/{number}", body=sent)
        if not isinstance(answer, Answer) or answer.status >= 300:
            raise CommandError(f"the server refused the demo's {what}: {answer.reason}")

    async def _get(self, path: str, parameters: Sequence[tuple[str, str]]) -> dict[str, Any]:
        answer = await self._client.request("GET", path, parameters=parameters)
        return answer.document if isinstance(answer, Answer) and answer.status == 200 else {"data": []}

    async def _notified(self, request: web.Request) -> web.Response:
        message = msgspec.json.decode(await request.read(), type=dict[str, Any])
        for alert in message["alerts"]:
            said = alert["annotations"].get("summary", "")
            tell(f"alert {message['event']}", f"{alert['severity']}: {alert['rule']}: {said}")
            if message["event"] == "fired" and alert["rule"] == RULE:
                task = asyncio.ensure_future(self._tell_remediation(alert["id"]))
                self._telling.add(task)
                task.add_done_callback(self._telling.discard)
        return web.Response()

    async def _tell_remediation(self, alert_id: int) -> None:
        """Waits for the remediation of an alert to end, and says how it did."""
        while True:
            found = (await self._get("/api/v1/remediations", (("alert", str(alert_id)),)))["data"]
            if found and found[0]["finished_at"] is not None:
                tell(f"remediation {found[0]['id']}", f"{found[0]['state'].replace('_', ' ')}: {found[0]['detail']}")
                return
            await asyncio.sleep(POLL_S)


def tell(what: str, said: str) -> None:
    """Prints a line of the story, as of now."""
    head = f"  {time.strftime('%H:%M:%S')}  {what:<15}  "
    write_line(head + said, indent=len(head))
