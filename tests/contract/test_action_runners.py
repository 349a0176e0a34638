"""What every runner of actions promises, whatever it acts on."""

import json
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from ipaddress import ip_network
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from adapters.driven.actions.runners import action_runners
from adapters.driven.memory.clock import FakeClock
from adapters.runtime.outbound import OutboundClient
from core.domain.actions import (
    Action,
    AnnotateAction,
    CommandAction,
    DeletePodAction,
    HttpAction,
    PatchHpaAction,
    RestartAction,
    ScaleAction,
    SetContainerAction,
    WaitAction,
)
from core.domain.rules import Severity
from ports.driven.action_runner import ActionError, ActionRunner
from tests.support.action_alert import HOSTILE, an_alert, unheard
from tests.support.http_service import Service
from tests.support.kubernetes_api import TOKEN, KubernetesApiServer, RefusedError

SECRETS = {"token": "s3cret-of-the-policy"}
TOUCH = f"#!{sys.executable} -IS\n" + (
    "import os, pathlib, sys\n"
    "if '--fail' in sys.argv: sys.exit(' '.join(sys.argv) + str(os.environ))\n"
    "pathlib.Path(sys.argv[1], os.environ['SEXTANT_IDEMPOTENCY_KEY']).touch()\n"
)
KINDS: Mapping[str, Callable[["World"], Action]] = {
    "http": lambda world: HttpAction(
        url=world.service.url + "/{{ labels.host }}?v={{ value }}",
        secret_headers={"Authorization": "token"},
        body='{"host": "{{ labels.host }}"}',
    ),
    "scale": lambda _: ScaleAction(namespace="shop", deployment="{{ labels.host }}", delta=1),
    "set": lambda _: ScaleAction(namespace="shop", deployment="{{ labels.host }}", replicas=4),
    "restart": lambda _: RestartAction(namespace="shop", deployment="{{ labels.host }}"),
    "delete pod": lambda _: DeletePodAction(namespace="shop", pod="{{ labels.host }}"),
    "patch HPA": lambda _: PatchHpaAction(namespace="shop", name="{{ labels.host }}", replicas_max=7),
    "set container": lambda _: SetContainerAction(namespace="shop", deployment="{{ labels.host }}", cpu_request="250m"),
    "command": lambda world: CommandAction(
        command="touch", arguments=(str(world.touched), "{{ labels.host }}", "--value={{ value }}")
    ),
    "wait": lambda _: WaitAction(duration="1ms"),
    "annotate": lambda _: AnnotateAction(text="{{ labels.host }}: {{ value }}"),
}
CHANGING = [kind for kind in KINDS if kind not in ("wait", "annotate")]


class World:
    """All that actions can change here, and the runners."""

    def __init__(self, directory: Path) -> None:
        self.service: Service = Service()
        self.cluster = KubernetesApiServer()
        for plural, spec in (
            ("deployments", {"replicas": 3, "template": {"spec": {"containers": [{"name": "web"}]}}}),
            ("pods", {}),
            ("horizontalpodautoscalers", {"minReplicas": 1, "maxReplicas": 5}),
        ):
            self.cluster.add(plural, "shop", "web-1", spec)
        self.touched: Path = directory / "touched"
        self.touched.mkdir()
        self.program = directory / "program"
        self.program.write_text(TOUCH)
        self.program.chmod(0o700)
        self.runners: Mapping[type[Action], ActionRunner] = {}
        self._kubeconfig = directory / "config"

    @asynccontextmanager
    async def started(self) -> AsyncIterator["World"]:
        """Serves while the block runs."""
        async with self.service.served(), self.cluster.served():
            self.runners = action_runners(
                OutboundClient((ip_network("127.0.0.0/8"),)),
                FakeClock(),
                commands={"touch": self.program},
                kubeconfig=self.cluster.kubeconfig(self._kubeconfig),
                kubernetes_in_cluster=False,
            )
            yield self

    def state(self) -> str:
        """Everything, as a receiver that honours keys has it."""
        objects = [
            self.cluster.get(plural, "shop", "web-1") for plural in ("deployments", "pods", "horizontalpodautoscalers")
        ]
        keys = sorted({received.headers["Idempotency-Key"] for received in self.service.received})
        return json.dumps([objects, keys, sorted(path.name for path in self.touched.iterdir())])


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with World(tmp_path).started() as world:
        yield world


@pytest.mark.parametrize("kind", KINDS)
async def test_a_target_is_stable(world: World, kind: str) -> None:
    """The same for the same labels, whatever was measured; short, and fit to be shown."""
    action = KINDS[kind](world)
    runner = world.runners[type(action)]
    target = runner.target(action, an_alert())
    later = an_alert(value=-3.0, threshold=1.0, severity=Severity.WARNING)
    assert runner.target(action, later) == target
    assert 0 < len(target) <= 200
    assert target.isprintable()
    assert world.service.received == []
    assert world.cluster.requests == []


@pytest.mark.parametrize("kind", KINDS)
async def test_a_preview_changes_nothing(world: World, kind: str) -> None:
    """However often; and it says what would be done."""
    action = KINDS[kind](world)
    before = world.state()
    for _ in range(2):
        outcome = await world.runners[type(action)].preview(action, an_alert(), SECRETS)
        assert outcome.summary.startswith("would ")
        assert not outcome.changed
    assert world.state() == before
    assert world.service.received == []
    assert world.cluster.writes == []


@pytest.mark.parametrize("kind", CHANGING)
async def test_a_repeat_under_one_key_is_harmless(world: World, kind: str) -> None:
    """Nothing changes after the first, for receivers that honour the key where one is sent."""
    action = KINDS[kind](world)
    runner = world.runners[type(action)]
    before = world.state()
    first = await runner.run(action, an_alert(), SECRETS, key="one", timeout_s=20, heartbeat=unheard)
    after = world.state()
    assert first.changed
    assert after != before
    for _ in range(2):
        await runner.run(action, an_alert(), SECRETS, key="one", timeout_s=20, heartbeat=unheard)
    assert world.state() == after


@pytest.mark.parametrize("kind", KINDS)
async def test_no_outcome_holds_a_secret(world: World, kind: str) -> None:
    """Neither the policy's nor the worker's."""
    action = KINDS[kind](world)
    runner = world.runners[type(action)]
    outcomes = [
        await runner.preview(action, an_alert(), SECRETS),
        await runner.run(action, an_alert(), SECRETS, key="one", timeout_s=20, heartbeat=unheard),
    ]
    for secret in (SECRETS["token"], TOKEN):
        assert secret not in str(outcomes)


@pytest.mark.parametrize("kind", CHANGING)
async def test_no_error_holds_a_secret(world: World, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the other side says, and in what leads up to it."""
    monkeypatch.setenv("SEXTANT_DATABASE_URL", f"postgresql://sextant:{TOKEN}@db/x")
    action = KINDS[kind](world)
    if isinstance(action, CommandAction):
        action = msgspec.structs.replace(action, arguments=(*action.arguments, "--fail"))
    world.service.answer = lambda: Service.echo(world.service.received[-1], status=400)
    world.cluster.refusals = [RefusedError(400, "BadRequest", "you are wrong")]
    with pytest.raises(ActionError) as failure:
        await world.runners[type(action)].run(action, an_alert(), SECRETS, key="one", timeout_s=20, heartbeat=unheard)
    for secret in (SECRETS["token"], TOKEN):
        assert secret not in failure.value.reason
    assert failure.value.__cause__ is None
    assert failure.value.__suppress_context__ or failure.value.__context__ is None


@pytest.mark.parametrize("label", HOSTILE)
@pytest.mark.parametrize("kind", KINDS)
async def test_hostile_labels_fail_as_an_action_error_or_not_at_all(world: World, kind: str, label: str) -> None:
    """Never as a bug of ours; and the objects of others stay as they are."""
    action = KINDS[kind](world)
    runner = world.runners[type(action)]
    alert = an_alert({"host": HOSTILE[label]})
    objects = json.loads(world.state())[0]
    refused = 0
    for attempt in (
        runner.preview(action, alert, SECRETS),
        runner.run(action, alert, SECRETS, key="one", timeout_s=20, heartbeat=unheard),
    ):
        try:
            await attempt
        except ActionError:
            refused += 1
    assert refused in (0, 2) or kind == "delete pod"  # a pod that is not there is a success
    assert json.loads(world.state())[0] == objects


def test_every_action_has_a_runner(world: World) -> None:
    """Also those that are added later."""
    assert world.runners.keys() == set(get_args(Action))


async def test_a_worker_without_commands_and_cluster_runs_neither() -> None:
    """They are off unless the operator says so."""
    runners = action_runners(OutboundClient(), FakeClock(), commands={}, kubeconfig=None, kubernetes_in_cluster=False)
    for action, said in (
        (CommandAction(command="touch"), "SEXTANT_WORKER_COMMANDS"),
        (RestartAction(namespace="shop", deployment="web"), "SEXTANT_WORKER_KUBECONFIG"),
    ):
        with pytest.raises(ActionError, match=said) as failure:
            await runners[type(action)].preview(action, an_alert(), {})
        assert not failure.value.retryable
