"""Reserving and taking actions, and what is written down about a remediation."""

import msgspec
import pytest

from core.domain.actions import (
    Action,
    AnnotateAction,
    CommandAction,
    DeletePodAction,
    HttpAction,
    RestartAction,
    WaitAction,
)
from core.domain.audit import AuditKind, AuditRecord, first_break
from core.domain.remediation import Step
from core.domain.times import HOUR_US, MINUTE_US
from ports.driven.action_runner import ActionError
from tests.support.remediation import order, policy, step
from tests.unit.remediation_work.world import World

RESTART = step("restart", timeout="20s")
WAIT = Step(name="wait", action=WaitAction(duration="1s"))


async def engage(world: World) -> None:
    """Stops all actions of the tenant."""
    await world.limits.set_kill_switch(1, engaged=True, by="key:abc", reason="incident", now=world.database.now())


async def test_an_action_is_reserved_by_its_target(world: World) -> None:
    """The policy's limits count what it changes; asking again under the same key is granted again."""
    wanted = order(actions_per_target_per_hour_max=2)
    for number in (1, 2, 2):
        assert (await world.work.reserve(wanted, RESTART, f"key/{number}", rollback=False)).holds
    verdict = await world.work.reserve(wanted, RESTART, "key/3", rollback=False)
    assert not verdict.holds
    assert "2 actions per hour on host:a" in verdict.reason
    assert (await world.work.reserve(wanted, RESTART, "key/4", rollback=True)).holds, "a rollback is never limited"


async def test_a_cooldown_holds_other_remediations_back(world: World) -> None:
    """On the same target, for as long as the policy says."""
    assert (await world.work.reserve(order(1), RESTART, "key/1", rollback=False)).holds
    assert not (await world.work.reserve(order(2), RESTART, "key/2", rollback=False)).holds
    world.clock.advance(15 * MINUTE_US)
    assert (await world.work.reserve(order(2), RESTART, "key/2", rollback=False)).holds


@pytest.mark.parametrize("asked", [RESTART, WAIT])
async def test_a_kill_switch_stops_every_action(world: World, asked: Step) -> None:
    """What changes nothing too, and what was granted before; a rollback goes on."""
    assert (await world.work.reserve(order(), asked, "key/1", rollback=False)).holds
    await engage(world)
    verdict = await world.work.reserve(order(), asked, "key/1", rollback=False)
    assert not verdict.holds
    assert "incident" in verdict.reason
    assert (await world.work.reserve(order(), asked, "key/2", rollback=True)).holds


async def test_what_changes_nothing_counts_nowhere(world: World) -> None:
    """Waiting and annotating use up no limit."""
    note = Step(name="note", action=AnnotateAction(text="seen"))
    for number in range(10):
        for harmless in (WAIT, note):
            assert (await world.work.reserve(order(), harmless, f"{harmless.name}/{number}", rollback=False)).holds
    assert world.database.remediation_actions == {}


@pytest.mark.parametrize(
    "action",
    [
        CommandAction(command="restart-web"),
        RestartAction(namespace="shop", deployment="web"),
        DeletePodAction(namespace="shop", pod="web-0"),
    ],
)
async def test_the_worker_is_not_every_tenants(world: World, action: Action) -> None:
    """Its programs and its cluster are for the tenants that the operator names; others see no preview either."""
    world.runners[type(action)] = world.runner
    theirs = msgspec.structs.replace(order(), tenant="acme")
    asked = Step(name="asked", action=action)
    verdict = await world.work.reserve(theirs, asked, "key/1", rollback=False)
    assert not verdict.holds
    assert "SEXTANT_WORKER_TENANTS" in verdict.reason
    for mode in (theirs, msgspec.structs.replace(theirs, policy=policy(dry_run=True))):
        with pytest.raises(ActionError):
            await world.work.act(mode, asked, "key/1", lambda: None)
    assert (world.runner.ran, world.runner.previewed) == ([], [])
    assert (await world.work.reserve(order(), asked, "key/2", rollback=False)).holds


@pytest.mark.parametrize("cluster_id", ["prod-eu", "prod-us", None])
async def test_a_recommendation_is_applied_to_its_own_cluster(world: World, cluster_id: str | None) -> None:
    """To no other, in a dry run neither; an alert's remediation works on the worker's, whatever its labels say."""
    action = RestartAction(namespace="shop", deployment="web")
    world.runners[RestartAction] = world.runner
    asked = Step(name="asked", action=action)
    labels = {"host": "a"} if cluster_id is None else {"host": "a", "cluster_id": cluster_id}
    alerts = msgspec.structs.replace(order(), alert=msgspec.structs.replace(order().alert, labels=labels))
    assert (await world.work.reserve(alerts, asked, "key/1", rollback=False)).holds
    applying = msgspec.structs.replace(alerts, alert=msgspec.structs.replace(alerts.alert, id=0))
    world.clock.advance(HOUR_US)
    verdict = await world.work.reserve(applying, asked, "key/2", rollback=False)
    assert verdict.holds is (cluster_id == "prod-eu"), verdict.reason
    if verdict.holds:
        return
    for said in (repr(cluster_id), "'prod-eu'", "SEXTANT_WORKER_CLUSTER_ID"):
        assert said in verdict.reason
    for mode in (applying, msgspec.structs.replace(applying, policy=policy(dry_run=True))):
        with pytest.raises(ActionError, match="SEXTANT_WORKER_CLUSTER_ID"):
            await world.work.act(mode, asked, "key/2", lambda: None)
    assert (world.runner.ran, world.runner.previewed) == ([], [])
    assert (await world.work.reserve(applying, RESTART, "key/3", rollback=False)).holds, "no action on the cluster"


async def test_a_worker_without_a_cluster_says_so_and_not_that_it_has_another() -> None:
    """The runner does, which knows what is to be set."""
    world = await World(cluster_id=None).opened()
    world.runner.refuses = "this worker has no Kubernetes"
    world.runners[RestartAction] = world.runner
    applying = msgspec.structs.replace(order(), alert=msgspec.structs.replace(order().alert, id=0))
    asked = Step(name="asked", action=RestartAction(namespace="shop", deployment="web"))
    verdict = await world.work.reserve(applying, asked, "key/1", rollback=False)
    assert (verdict.holds, verdict.reason) == (False, "this worker has no Kubernetes")


async def test_an_action_that_nobody_can_take_is_refused(world: World) -> None:
    """Before it is tried, whether its runner refuses it or there is none."""
    cluster = Step(name="restart", action=RestartAction(namespace="shop", deployment="web"))
    verdict = await world.work.reserve(order(), cluster, "key/1", rollback=False)
    assert (verdict.holds, verdict.reason) == (False, "no worker here can do RestartAction")
    with pytest.raises(ActionError):
        await world.work.act(order(), cluster, "key/1", lambda: None)
    world.runner.refuses = "not on the list"
    assert (await world.work.reserve(order(), RESTART, "key/1", rollback=False)).reason == "not on the list"


async def test_an_action_gets_its_key_time_and_secrets(world: World) -> None:
    """The secrets are the policy's as they are now; the report carries what was done to what."""
    stored = await world.policies.create(1, policy(), {"token": "hush"})
    assert stored.id == order().policy_id
    beats: list[None] = []
    report = await world.work.act(order(), RESTART, "key/1", lambda: beats.append(None))
    assert world.runner.ran == [(RESTART.action, "key/1", 20.0, {"token": "hush"})]
    assert (report.summary, report.target, report.changed) == ("restarted", "host:a", True)
    assert report.details == {"answer": "200"}
    assert beats


async def test_a_dry_run_only_previews(world: World) -> None:
    """Whatever the action."""
    report = await world.work.act(order(dry_run=True), RESTART, "key/1", lambda: None)
    assert isinstance(world.runner.previewed[0], HttpAction)
    assert (world.runner.ran, report.changed, report.summary) == ([], False, "would restart")


async def test_a_repeated_record_stands_once(world: World) -> None:
    """The chain holds, and the first of a key is what it says."""
    for summary in ("begun", "begun again"):
        record = AuditRecord(key="w/1-begun", kind=AuditKind.DECISION, actor="sextant", summary=summary)
        await world.work.record(order(), record)
    entries = [entry async for entry in world.audit.chain(1)]
    assert [entry.record.summary for entry in entries] == ["begun"]
    assert first_break(1, entries) is None
