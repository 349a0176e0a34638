"""Kubernetes actions over HTTP against a double of the API server."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
import trustme
import yaml

from adapters.driven.actions import rollout
from adapters.driven.actions.kubernetes import KubernetesRunner
from adapters.driven.actions.kubernetes_api import no_connection
from adapters.driven.actions.kubernetes_connection import in_cluster_connection, kubeconfig_connection
from adapters.driven.memory.clock import FakeClock
from core.domain.actions import (
    Action,
    DeletePodAction,
    ExpectedBounds,
    ExpectedContainer,
    PatchHpaAction,
    RestartAction,
    ScaleAction,
    SetContainerAction,
)
from ports.driven.action_runner import ActionError, ActionOutcome
from tests.support.action_alert import HOSTILE, an_alert, unheard
from tests.support.kubernetes_api import TOKEN, KubernetesApiServer, RefusedError

KEYS = "sextant.dev/last-actions"
DEPLOYMENT = ("deployments", "shop", "checkout")
POD = ("pods", "shop", "checkout-0")
HPA = ("horizontalpodautoscalers", "shop", "checkout")
MORE = ScaleAction(namespace="shop", deployment="{{ labels.deployment }}", delta=2, replicas_max=10)
SET = ScaleAction(namespace="shop", deployment="checkout", replicas=5, replicas_min=0)
RESTART = RestartAction(namespace="{{ labels.namespace }}", deployment="checkout")
DELETE = DeletePodAction(namespace="shop", pod="{{ labels.pod }}")
BOUNDS = PatchHpaAction(namespace="shop", name="checkout", replicas_min=4, replicas_max=20)
SIZE = SetContainerAction(namespace="shop", deployment="checkout", container="web", cpu_request="500m")
ALL: list[Action] = [MORE, SET, RESTART, DELETE, BOUNDS, SIZE]
WEB = {"name": "web", "image": "shop/web:1", "resources": {"requests": {"cpu": "2", "memory": "1Gi"}}}
SIDECAR = {"name": "proxy", "image": "proxy:9", "env": [{"name": "PORT", "value": "8080"}]}
TEMPLATE = {"metadata": {"labels": {"app": "checkout"}}, "spec": {"containers": [SIDECAR, WEB]}}


EXPECTING: dict[type[Action], tuple[Action, Action, Action]] = {
    SetContainerAction: (
        msgspec.structs.replace(SIZE, cpu_request="700m", expected=ExpectedContainer(cpu_request="500m")),
        msgspec.structs.replace(SIZE, cpu_request="700m", expected=ExpectedContainer(cpu_request="2000m")),
        msgspec.structs.replace(SIZE, cpu_request="2", expected=ExpectedContainer(cpu_request="500m")),
    ),
    ScaleAction: (
        msgspec.structs.replace(SET, expected=2),
        msgspec.structs.replace(SET, expected=3),
        msgspec.structs.replace(SET, replicas=3, expected=2),
    ),
    PatchHpaAction: (
        msgspec.structs.replace(BOUNDS, expected=ExpectedBounds(replicas_max=8)),
        msgspec.structs.replace(BOUNDS, expected=ExpectedBounds(replicas_min=2, replicas_max=10)),
        PatchHpaAction(namespace="shop", name="checkout", replicas_max=10, expected=ExpectedBounds(replicas_max=8)),
    ),
}
"""Made for what is not there any more, for what is there, and for what is there already."""


@pytest.fixture
async def server() -> AsyncIterator[KubernetesApiServer]:
    server = KubernetesApiServer()
    server.add(*DEPLOYMENT, {"replicas": 3, "template": TEMPLATE})
    server.add(*POD, {"nodeName": "node-1"})
    server.add(*HPA, {"minReplicas": 2, "maxReplicas": 10})
    async with server.served():
        yield server


@pytest.fixture
def runner(server: KubernetesApiServer, tmp_path: Path) -> KubernetesRunner:
    return KubernetesRunner(kubeconfig_connection(server.kubeconfig(tmp_path / "config")), FakeClock())


async def run(runner: KubernetesRunner, action: Action, *, key: str = "a/1", timeout_s: float = 60.0) -> ActionOutcome:
    return await runner.run(action, an_alert(), {}, key=key, timeout_s=timeout_s, heartbeat=unheard)


def replicas(server: KubernetesApiServer) -> int:
    found = server.get(*DEPLOYMENT)
    assert found is not None
    count: int = found["spec"]["replicas"]
    return count


async def test_a_deployment_is_scaled_by_a_delta(server: KubernetesApiServer, runner: KubernetesRunner) -> None:
    """Two more replicas than there are; nothing else of the Deployment changes."""
    outcome = await run(runner, MORE)
    found = server.get(*DEPLOYMENT)
    assert found is not None
    assert found["spec"] == {"replicas": 5, "template": TEMPLATE}
    assert outcome.summary == "replicas of deployments shop/checkout: 3 → 5"
    assert outcome.changed
    assert outcome.details == {"before": "3", "after": "5"}


@pytest.mark.parametrize(
    ("before", "delta", "low", "high", "after"),
    [
        (3, 2, 1, 4, 4),
        (3, -5, 1, 50, 1),
        (60, 2, 1, 50, 60),
        (0, -1, 1, 50, 0),
        (0, 1, 1, 50, 1),
        (0, 1, 5, 50, 5),
        (3, 0, 5, 50, 3),
    ],
)
async def test_bounds_never_turn_a_delta_around(
    server: KubernetesApiServer, runner: KubernetesRunner, before: int, delta: int, low: int, high: int, after: int
) -> None:
    """An increase never removes replicas and a decrease adds none, wherever the number stood."""
    server.change(*DEPLOYMENT, {"replicas": before})
    action = ScaleAction(namespace="shop", deployment="checkout", delta=delta, replicas_min=low, replicas_max=high)
    outcome = await run(runner, action)
    assert replicas(server) == after
    assert outcome.changed is (before != after)


async def test_setting_replicas_needs_only_the_scale_subresource(
    server: KubernetesApiServer, runner: KubernetesRunner
) -> None:
    """A role without rights on Deployments themselves can set their replicas, also to and from zero."""
    server.forbidden = {("get", "deployments"), ("patch", "deployments")}
    for count in (5, 0, 2):
        action = ScaleAction(namespace="shop", deployment="checkout", replicas=count, replicas_min=0)
        assert (await run(runner, action)).changed
        assert replicas(server) == count
        assert not (await run(runner, action)).changed


@pytest.mark.parametrize("action", [MORE, RESTART, SIZE])
async def test_a_repeat_under_one_key_changes_nothing(
    server: KubernetesApiServer, runner: KubernetesRunner, action: Action
) -> None:
    """The answer to a change is lost, others act on the object too, and the repeat still finds its key."""
    server.lose_answers = 1
    with pytest.raises(ActionError) as failure:
        await run(runner, action, key="first")
    assert failure.value.retryable
    await run(runner, RESTART, key="another workflow's")
    before = server.get(*DEPLOYMENT)
    outcome = await run(runner, action, key="first")
    assert server.get(*DEPLOYMENT) == before
    assert len(server.writes) == 2
    assert outcome.changed
    assert "earlier attempt" in outcome.summary


async def test_different_keys_are_different_actions(server: KubernetesApiServer, runner: KubernetesRunner) -> None:
    """Each counts, and an object does not collect their keys for ever."""
    for number in range(12):
        await run(runner, MORE if number < 2 else RESTART, key=f"key {number}")
    found = server.get(*DEPLOYMENT)
    assert found is not None
    assert replicas(server) == 7
    assert found["metadata"]["annotations"][KEYS].split() == [f"key%20{number}" for number in range(11, 3, -1)]


async def test_a_restart_does_what_kubectl_does(server: KubernetesApiServer, runner: KubernetesRunner) -> None:
    """The pod template gets kubectl's annotation with the present, which rolls the Deployment out anew."""
    await run(runner, RESTART)
    found = server.get(*DEPLOYMENT)
    assert found is not None
    template = found["spec"]["template"]["metadata"]
    assert template["annotations"] == {"kubectl.kubernetes.io/restartedAt": "2026-01-01T00:00:00Z"}
    assert template["labels"] == {"app": "checkout"}


@pytest.mark.parametrize("action", [RESTART, SIZE])
async def test_a_paused_deployment_is_not_rolled_out(
    server: KubernetesApiServer, runner: KubernetesRunner, action: Action
) -> None:
    """It would not roll out until it is resumed, and then at a time that nobody chose."""
    server.change(*DEPLOYMENT, {"paused": True})
    with pytest.raises(ActionError, match="paused") as failure:
        await run(runner, action)
    assert not failure.value.retryable


@pytest.mark.parametrize("action", [MORE, SET, RESTART, BOUNDS, SIZE])
async def test_a_change_in_between_is_a_conflict(
    server: KubernetesApiServer, runner: KubernetesRunner, action: Action
) -> None:
    """What was computed from an object is not written over a newer one; the repeat starts from that."""

    def interfere() -> None:
        server.change(*DEPLOYMENT, {"replicas": 6})
        server.change(*HPA, {"maxReplicas": 12})

    server.before_write = interfere
    with pytest.raises(ActionError, match="meanwhile") as failure:
        await run(runner, action)
    assert failure.value.retryable
    assert replicas(server) == 6
    assert (await run(runner, action)).changed
    assert replicas(server) == (8 if action is MORE else 5 if action is SET else 6)


async def test_a_pod_is_deleted_once(server: KubernetesApiServer, runner: KubernetesRunner) -> None:
    """One that is gone is as good as deleted."""
    assert (await run(runner, DELETE)).changed
    assert server.get(*POD) is None
    outcome = await run(runner, DELETE)
    assert not outcome.changed
    assert "gone already" in outcome.summary


async def test_a_pod_that_took_the_name_is_spared(server: KubernetesApiServer, runner: KubernetesRunner) -> None:
    """A StatefulSet's new pod has the old one's name: neither a race nor a repeat deletes it."""
    server.before_write = lambda: server.add(*POD, {}, uid="new", creationTimestamp="2026-01-01T00:06:00Z")
    with pytest.raises(ActionError, match="meanwhile") as failure:
        await run(runner, DELETE)
    assert failure.value.retryable
    outcome = await run(runner, DELETE)
    assert not outcome.changed
    assert "created after the alert fired" in outcome.summary
    assert server.get(*POD) is not None


async def test_a_pod_that_goes_by_itself_is_a_success(server: KubernetesApiServer, runner: KubernetesRunner) -> None:
    """Between being read and being deleted, or while it is being deleted already."""
    server.before_write = lambda: server.remove(*POD)
    assert await run(runner, DELETE)
    server.add(*POD, {}, deletionTimestamp="2026-01-01T00:05:30Z")
    outcome = await run(runner, DELETE)
    assert "being deleted already" in outcome.summary
    assert server.get(*POD) is not None


async def test_an_autoscalers_bounds_are_moved(server: KubernetesApiServer, runner: KubernetesRunner) -> None:
    """Both or one; setting them again changes nothing; bounds the wrong way round are not sent."""
    outcome = await run(runner, BOUNDS)
    found = server.get(*HPA)
    assert found is not None
    assert found["spec"] == {"minReplicas": 4, "maxReplicas": 20}
    assert outcome.summary == "bounds of horizontalpodautoscalers shop/checkout: 2 to 10 → 4 to 20"
    assert not (await run(runner, BOUNDS)).changed
    await run(runner, PatchHpaAction(namespace="shop", name="checkout", replicas_max=8))
    found = server.get(*HPA)
    assert found is not None
    assert found["spec"] == {"minReplicas": 4, "maxReplicas": 8}
    with pytest.raises(ActionError, match="from 9 to at most 8") as failure:
        await run(runner, PatchHpaAction(namespace="shop", name="checkout", replicas_min=9))
    assert not failure.value.retryable


def web(server: KubernetesApiServer) -> dict[str, object]:
    """The container that actions set; the other one is as it was."""
    found = server.get(*DEPLOYMENT)
    assert found is not None
    sidecar, container = found["spec"]["template"]["spec"]["containers"]
    assert sidecar == SIDECAR
    return dict(container)


async def test_a_container_is_set(server: KubernetesApiServer, runner: KubernetesRunner) -> None:
    """What differs is changed and told from what to what; another notation of the same amount does not differ."""
    action = msgspec.structs.replace(
        SIZE, image="shop/web:2", cpu_request="1500m", cpu_limit="2", memory_request="1024Mi", memory_limit="2Gi"
    )
    outcome = await run(runner, action)
    assert web(server) == {
        "name": "web",
        "image": "shop/web:2",
        "resources": {"requests": {"cpu": "1500m", "memory": "1Gi"}, "limits": {"cpu": "2", "memory": "2Gi"}},
    }
    assert outcome.details == {
        "image": "shop/web:1 → shop/web:2",
        "cpu request": "2 → 1500m",
        "cpu limit": "none → 2",
        "memory limit": "none → 2Gi",
    }
    again = await run(runner, msgspec.structs.replace(action, cpu_request="1.5", memory_limit="2048Mi"), key="a/2")
    assert (again.changed, len(server.writes)) == (False, 1)
    assert again.summary == "container web of deployments shop/checkout is as wanted already"


@pytest.mark.parametrize(
    ("container", "said"),
    [("cache", "no container 'cache'; it has proxy, web"), (None, "name one; it has proxy, web")],
)
async def test_the_container_must_be_clear(
    server: KubernetesApiServer, runner: KubernetesRunner, container: str | None, said: str
) -> None:
    """A Deployment's only container needs no name; else those that there are are named."""
    with pytest.raises(ActionError, match=said) as failure:
        await run(runner, msgspec.structs.replace(SIZE, container=container))
    assert not failure.value.retryable
    server.change(*DEPLOYMENT, {"template": {"spec": {"containers": [WEB]}}})
    if container is None:
        assert (await run(runner, msgspec.structs.replace(SIZE, container=container))).changed


async def test_what_the_server_refuses_of_a_container_shows_in_the_preview(
    server: KubernetesApiServer, runner: KubernetesRunner
) -> None:
    """A request above the limit that is there."""
    limited = {**WEB, "resources": {"limits": {"cpu": "2"}, "requests": {"cpu": "2"}}}
    server.change(*DEPLOYMENT, {"template": {"spec": {"containers": [limited]}}})
    with pytest.raises(ActionError, match="less than or equal to cpu limit of 2"):
        await runner.preview(msgspec.structs.replace(SIZE, cpu_request="3"), an_alert(), {})


@pytest.mark.parametrize("action", [RESTART, SIZE])
async def test_new_pods_must_start(
    server: KubernetesApiServer, runner: KubernetesRunner, monkeypatch: pytest.MonkeyPatch, action: Action
) -> None:
    """While old pods serve on and none restarts, nobody else would see that the new ones never came."""
    server.new_pods_start = False
    said = r"not rolled out within 3 s: of 3 replicas 1 are new and 3 available, and 3 old ones are left"
    with pytest.raises(ActionError, match=said) as failure:
        await run(runner, action, timeout_s=3.0)
    assert (failure.value.retryable, failure.value.began) == (False, True), "so it is rolled back at once"
    with pytest.raises(ActionError, match="not rolled out"):
        await run(runner, action, timeout_s=3.0)  # by a worker that repeats it under its key
    assert len(server.writes) == 1
    monkeypatch.setattr(rollout, "GIVEN_UP_S", 0.2)
    server.gives_up = True
    with pytest.raises(ActionError, match="has timed out progressing") as failure:
        await run(runner, action)
    assert not failure.value.retryable
    if action is SIZE:
        assert (await run(runner, msgspec.structs.replace(SIZE, cpu_request="2"), key="a/rollback-0")).changed


async def test_a_rollout_that_was_given_up_is_rolled_back(
    server: KubernetesApiServer, runner: KubernetesRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The Deployment's controller has seen the rollback, and says for a while what it said of the change before."""
    with monkeypatch.context() as soon:
        soon.setattr(rollout, "GIVEN_UP_S", 0.0)
        server.new_pods_start, server.gives_up = False, True
        with pytest.raises(ActionError, match="has timed out progressing"):
            await run(runner, SIZE)
    back = msgspec.structs.replace(SIZE, cpu_request="2")
    server.before_write = lambda: setattr(server, "late_reads", 2)
    assert (await run(runner, back, key="a/rollback-0")).changed
    assert server.late_reads == 0


async def test_a_rollout_is_waited_for(server: KubernetesApiServer, runner: KubernetesRunner) -> None:
    """Also before its controller has seen the change, and while the API server has trouble."""
    server.before_write = lambda: setattr(server, "unseen_reads", 1)
    server.refusals_of_reads = [RefusedError(503, "ServiceUnavailable", "etcd")]
    assert (await run(runner, SIZE)).changed
    assert (server.unseen_reads, server.refusals_of_reads) == (0, [])
    assert [method for method, _ in server.requests] == ["GET", "PATCH", "GET", "GET", "GET"]


@pytest.mark.parametrize(
    ("action", "said"),
    [
        (SetContainerAction, "cpu request of container web of deployments shop/checkout is 2 now, .* made for 500m"),
        (ScaleAction, "the number of replicas of deployments shop/checkout is 3 now, .* made for 2"),
        (PatchHpaAction, "replicas_max of horizontalpodautoscalers shop/checkout is 10 now, .* made for 8"),
    ],
)
async def test_nothing_is_changed_that_is_not_as_expected(
    server: KubernetesApiServer, runner: KubernetesRunner, action: type[Action], said: str
) -> None:
    """Somebody else has changed it since; in other notation it is the same, and what is as wanted needs nothing."""
    stale, fresh, done = EXPECTING[action]
    for attempt in (run(runner, stale), runner.preview(stale, an_alert(), {})):
        with pytest.raises(ActionError, match=said) as failure:
            await attempt
        assert (failure.value.retryable, failure.value.began) == (False, False), "so nothing is rolled back"
    assert server.writes == []
    assert not (await run(runner, done)).changed
    assert (await run(runner, fresh)).changed
    assert not (await run(runner, stale, key="a/2")).changed


@pytest.mark.parametrize("action", ALL)
async def test_a_preview_is_tried_by_the_server_and_changes_nothing(
    server: KubernetesApiServer, runner: KubernetesRunner, action: Action
) -> None:
    """It shows the request; then the run does the same."""
    before = [server.get(*each) for each in (DEPLOYMENT, POD, HPA)]
    outcome = await runner.preview(action, an_alert(), {})
    assert [server.get(*each) for each in (DEPLOYMENT, POD, HPA)] == before
    assert server.writes == []
    assert "dryRun=All" in server.requests[-1][1]
    assert not outcome.changed
    done = await run(runner, action)
    assert outcome.summary == f"would change: {done.summary}"
    assert outcome.details.items() >= done.details.items()
    assert outcome.details["request"].split() == [server.writes[0][0], server.writes[0][1].partition("?")[0]]


async def test_a_preview_finds_a_missing_right(server: KubernetesApiServer, runner: KubernetesRunner) -> None:
    """What the server would refuse in earnest fails the dry run, and names what to grant."""
    server.forbidden = {("patch", "deployments/scale"), ("delete", "pods")}
    for action, right in (
        (SET, "patch deployments/scale of API group apps in namespace shop"),
        (DELETE, "delete pods in namespace shop"),
    ):
        with pytest.raises(ActionError, match=right) as failure:
            await runner.preview(action, an_alert(), {})
        assert not failure.value.retryable


@pytest.mark.parametrize("action", [MORE, SET, RESTART, BOUNDS, SIZE])
async def test_what_is_not_there_is_not_worth_a_repeat(
    server: KubernetesApiServer, runner: KubernetesRunner, action: Action
) -> None:
    """Except for a pod, which was to go anyway."""
    for each in (DEPLOYMENT, POD, HPA):
        server.remove(*each)
    with pytest.raises(ActionError, match="there is no") as failure:
        await run(runner, action)
    assert not failure.value.retryable
    assert not (await run(runner, DELETE)).changed


@pytest.mark.parametrize(
    ("refused", "retryable", "said"),
    [
        (
            RefusedError(429, "TooManyRequests", "slow down", {"Retry-After": "7"}),
            True,
            "asking to wait 7 s: slow down",
        ),
        (RefusedError(500, "InternalError", "etcdserver: leader changed"), True, "leader changed"),
        (RefusedError(503, "ServiceUnavailable", ""), True, "answered 503"),
        (RefusedError(422, "Invalid", "admission \x1b[31mwebhook denied it"), False, "admission �\\[31mwebhook"),
        (RefusedError(400, "BadRequest", "no"), False, "refused to get"),
        (RefusedError(302, "Found", "elsewhere"), False, "302"),
    ],
)
async def test_refusals_say_whether_to_repeat(
    server: KubernetesApiServer, runner: KubernetesRunner, refused: RefusedError, retryable: bool, said: str
) -> None:
    """What passes is repeated; what would be refused again is not."""
    server.refusals = [refused]
    with pytest.raises(ActionError, match=said) as failure:
        await run(runner, RESTART)
    assert failure.value.retryable is retryable


async def test_credentials_that_are_not_accepted(server: KubernetesApiServer, tmp_path: Path) -> None:
    """The reason holds no token."""
    path = server.kubeconfig(tmp_path / "config", token="an-old-token")
    with pytest.raises(ActionError, match="credentials") as failure:
        await run(KubernetesRunner(kubeconfig_connection(path), FakeClock()), RESTART)
    assert not failure.value.retryable
    assert "an-old-token" not in failure.value.reason


async def test_a_server_that_is_away_may_come_back(tmp_path: Path) -> None:
    """Its address is the operator's, not for tenants."""
    server = KubernetesApiServer()
    async with server.served():
        path = server.kubeconfig(tmp_path / "config")
    with pytest.raises(ActionError, match="cannot be reached") as failure:
        await run(KubernetesRunner(kubeconfig_connection(path), FakeClock()), RESTART)
    assert failure.value.retryable
    assert "127.0.0.1" not in failure.value.reason


@pytest.mark.parametrize("content", [None, "not: [yaml", "{}"])
async def test_a_kubeconfig_that_cannot_be_used(tmp_path: Path, content: str | None) -> None:
    """A missing or broken file is the operator's to mend; no path is shown."""
    path = tmp_path / "config"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ActionError, match="configuration cannot be used") as failure:
        await run(KubernetesRunner(kubeconfig_connection(path), FakeClock()), RESTART)
    assert not failure.value.retryable
    assert str(tmp_path) not in failure.value.reason


async def test_a_worker_without_a_cluster_says_so() -> None:
    """And how to give it one."""
    with pytest.raises(ActionError, match="SEXTANT_WORKER_KUBECONFIG") as failure:
        await run(KubernetesRunner(no_connection, FakeClock()), RESTART)
    assert not failure.value.retryable


async def test_a_pod_uses_its_service_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Inside a cluster: address from the environment, token and certificate authority from files, verified TLS."""
    authority = trustme.CA()
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.crt"))
    (tmp_path / "token").write_text(TOKEN)
    server = KubernetesApiServer()
    server.add(*DEPLOYMENT, {"replicas": 3})
    connect = in_cluster_connection(str(tmp_path / "token"), str(tmp_path / "ca.crt"))
    runner = KubernetesRunner(connect, FakeClock())
    with pytest.raises(ActionError, match="configuration cannot be used"):
        await run(runner, SET)
    async with server.served(tls):
        host, port = server.url.removeprefix("https://").split(":")
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", host)
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", port)
        await run(runner, SET)
    assert replicas(server) == 5


@pytest.mark.parametrize("label", sorted(HOSTILE.keys() - {"host"}))  # that one is a valid name
async def test_hostile_names_never_reach_the_server(
    server: KubernetesApiServer, runner: KubernetesRunner, label: str
) -> None:
    """A label that is no Kubernetes name is refused before anything is asked."""
    alert = an_alert({"bad": HOSTILE[label]})
    for action in (
        RestartAction(namespace="shop", deployment="{{ labels.bad }}"),
        ScaleAction(namespace="{{ labels.bad }}", deployment="checkout", replicas=2),
        DeletePodAction(namespace="shop", pod="{{ labels.bad }}"),
        PatchHpaAction(namespace="shop", name="{{ labels.bad }}", replicas_min=1),
        SetContainerAction(namespace="shop", deployment="{{ labels.bad }}", cpu_limit="1"),
    ):
        with pytest.raises(ActionError, match="RFC 1123") as failure:
            await runner.run(action, alert, {}, key="k", timeout_s=5, heartbeat=unheard)
        assert not failure.value.retryable
        with pytest.raises(ActionError):
            runner.target(action, alert)
    assert server.requests == []


async def test_time_limits_and_cancellation_end_the_request(
    server: KubernetesApiServer, runner: KubernetesRunner
) -> None:
    """A server that hangs holds up neither; signs of life are given meanwhile."""
    hang = asyncio.get_running_loop().create_future()
    server.hold = hang
    with pytest.raises(ActionError, match=r"within 0\.05 s") as failure:
        await run(runner, RESTART, timeout_s=0.05)
    assert failure.value.retryable
    beats: list[int] = []
    server.asked.clear()
    running = asyncio.create_task(
        runner.run(RESTART, an_alert(), {}, key="k", timeout_s=60, heartbeat=lambda: beats.append(1))
    )
    await server.asked.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert beats
    hang.cancel()


async def test_the_documented_role_has_just_the_rights_that_actions_need(
    server: KubernetesApiServer, runner: KubernetesRunner
) -> None:
    """What docs/remediation.md tells operators to grant."""
    for action in (SET, *ALL):
        await run(runner, action)
    text = (Path(__file__).parents[2] / "docs/remediation.md").read_text()
    role = next(yaml.safe_load_all(text.partition("```yaml")[2].partition("```")[0]))
    granted = {(verb, resource) for rule in role["rules"] for resource in rule["resources"] for verb in rule["verbs"]}
    assert server.rights_used == granted


def test_targets_are_objects(tmp_path: Path) -> None:
    """Scaling and restarting a Deployment count against the same target."""
    runner = KubernetesRunner(no_connection, FakeClock())
    alert = an_alert(fired_at=datetime(2026, 1, 2, tzinfo=UTC))
    assert [runner.target(action, alert) for action in ALL] == [
        "kubernetes:shop/checkout",
        "kubernetes:shop/checkout",
        "kubernetes:shop/checkout",
        "kubernetes:shop/pod/checkout-0",
        "kubernetes:shop/hpa/checkout",
        "kubernetes:shop/checkout",
    ]
