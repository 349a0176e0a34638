"""The policy store port: remediation policies and their secrets, per tenant."""

import asyncio

import msgspec
import psycopg
import pytest
from psycopg import sql

from core.domain.actions import (
    Action,
    AnnotateAction,
    CommandAction,
    DeletePodAction,
    HttpAction,
    PatchHpaAction,
    RestartAction,
    ScaleAction,
    WaitAction,
)
from core.domain.definitions import Aggregation
from core.domain.errors import Conflict, NotFound
from core.domain.remediation import (
    ApprovalMode,
    MetricCheck,
    RemediationPolicy,
    Risk,
    Step,
    Verification,
)
from core.domain.rules import Condition
from tests.support.remediation_storage import RemediationStorage, open_remediation_storage
from tests.support.storages import Store, Tenancy

PLAIN = RemediationPolicy(name="restart", steps=(Step(name="wait", action=WaitAction(duration="5s")),))
CHECKS = (
    MetricCheck(metric="cpu", condition=Condition.ABOVE, value=0.9),
    MetricCheck(
        metric="load",
        matchers=("host={{ labels.host }}", "region=~eu.*"),
        aggregation=Aggregation.P95,
        window="10m",
        condition=Condition.OUTSIDE,
        value=(-1.5, 1e300),
    ),
)
ACTIONS: tuple[Action, ...] = (
    HttpAction(
        url="https://example.org/{{ labels.host }}",
        method="PUT",
        headers={"Accept": "text/plain"},
        secret_headers={"Authorization": "token"},
        body='{"text": "„repair“ ✓"}',
    ),
    ScaleAction(namespace="shop", deployment="checkout", delta=-2, replicas_min=0),
    RestartAction(namespace="shop", deployment="checkout"),
    DeletePodAction(namespace="shop", pod="checkout-{{ labels.pod }}"),
    PatchHpaAction(namespace="shop", name="checkout", replicas_max=9),
    CommandAction(command="repair", arguments=("--host", "{{ labels.host }}")),
    WaitAction(duration="1m"),
    AnnotateAction(text="{{ value }} is too high"),
)
FULL = RemediationPolicy(
    name="everything, at once – “now” ✓",
    description="x" * 4_000,
    enabled=False,
    dry_run=False,
    preconditions=CHECKS,
    steps=tuple(
        Step(name=f"step {n}", action=action, risk=Risk.HIGH, preconditions=CHECKS, timeout="90s", retries=n)
        for n, action in enumerate(ACTIONS)
    ),
    approval=ApprovalMode.ALWAYS,
    approval_above=Risk.MEDIUM,
    approval_timeout="30m",
    cooldown="2h",
    actions_per_hour_max=7,
    actions_per_target_per_hour_max=3,
    verification=Verification(within="3m", every="1s", check=CHECKS[1]),
    rollback=(Step(name="undo", action=ACTIONS[0]),),
    escalation_channel="pager",
)


@pytest.mark.parametrize("policy", [PLAIN, FULL])
async def test_kept_as_given(
    repairs: RemediationStorage, tenancy: Tenancy, store: Store, policy: RemediationPolicy
) -> None:
    """Every field comes back as it was given, in any process; of secrets the names alone."""
    created = await repairs.policies.create(tenancy.id, policy, {"token": "Bearer ü", "b": "2"})
    assert (created.policy, created.secret_names, created.revision) == (policy, ("b", "token"), 1)
    assert created.created_at == created.updated_at
    async with open_remediation_storage(store) as later:
        assert await later.policies.get(tenancy.id, created.id) == created
        assert list(await later.policies.list(tenancy.id)) == [created]
        assert dict(await later.policies.secrets(tenancy.id, created.id)) == {"token": "Bearer ü", "b": "2"}


async def test_create_once(repairs: RemediationStorage, tenancy: Tenancy) -> None:
    """A name that is taken is a conflict, and what was there stays."""
    created = await repairs.policies.create(tenancy.id, PLAIN, {"a": "1"})
    with pytest.raises(Conflict):
        await repairs.policies.create(tenancy.id, msgspec.structs.replace(FULL, name=PLAIN.name), {})
    assert list(await repairs.policies.list(tenancy.id)) == [created]
    assert dict(await repairs.policies.secrets(tenancy.id, created.id)) == {"a": "1"}


async def test_create_at_once(repairs: RemediationStorage, other_repairs: RemediationStorage, tenancy: Tenancy) -> None:
    """Of several that create the same name at once, one succeeds."""
    answers = await asyncio.gather(
        *((repairs, other_repairs)[n % 2].policies.create(tenancy.id, PLAIN, {}) for n in range(6)),
        return_exceptions=True,
    )
    assert sorted(type(answer).__name__ for answer in answers) == ["Conflict"] * 5 + ["StoredPolicy"]


async def test_replace(repairs: RemediationStorage, tenancy: Tenancy) -> None:
    """Replacing changes every field and the name, keeps id and creation, and counts."""
    created = await repairs.policies.create(tenancy.id, PLAIN, {})
    replaced = await repairs.policies.replace(tenancy.id, created.id, FULL, None)
    assert (replaced.id, replaced.policy, replaced.revision) == (created.id, FULL, 2)
    assert replaced.created_at == created.created_at
    assert replaced.updated_at >= created.updated_at
    assert await repairs.policies.get(tenancy.id, created.id) == replaced
    again = await repairs.policies.replace(tenancy.id, created.id, FULL, None)
    assert again.revision == 3


async def test_replace_secrets(repairs: RemediationStorage, tenancy: Tenancy) -> None:
    """Secrets stay where none are given; those given replace all, and none is a choice too."""
    created = await repairs.policies.create(tenancy.id, PLAIN, {"a": "1", "b": "2"})
    kept = await repairs.policies.replace(tenancy.id, created.id, FULL, None)
    assert kept.secret_names == ("a", "b")
    assert dict(await repairs.policies.secrets(tenancy.id, created.id)) == {"a": "1", "b": "2"}
    changed = await repairs.policies.replace(tenancy.id, created.id, FULL, {"c": "3"})
    assert changed.secret_names == ("c",)
    assert dict(await repairs.policies.secrets(tenancy.id, created.id)) == {"c": "3"}
    emptied = await repairs.policies.replace(tenancy.id, created.id, FULL, {})
    assert emptied.secret_names == ()
    assert dict(await repairs.policies.secrets(tenancy.id, created.id)) == {}


async def test_replace_by_a_taken_name(repairs: RemediationStorage, tenancy: Tenancy) -> None:
    """A name that another policy has is a conflict, and neither changes."""
    plain = await repairs.policies.create(tenancy.id, PLAIN, {})
    full = await repairs.policies.create(tenancy.id, FULL, {"a": "1"})
    with pytest.raises(Conflict):
        await repairs.policies.replace(tenancy.id, full.id, PLAIN, {})
    assert await repairs.policies.get(tenancy.id, plain.id) == plain
    assert await repairs.policies.get(tenancy.id, full.id) == full
    assert dict(await repairs.policies.secrets(tenancy.id, full.id)) == {"a": "1"}


async def test_delete(repairs: RemediationStorage, tenancy: Tenancy) -> None:
    """What was deleted is gone with its secrets, the name is free, and the id is never given again."""
    created = await repairs.policies.create(tenancy.id, PLAIN, {"a": "1"})
    await repairs.policies.delete(tenancy.id, created.id)
    with pytest.raises(NotFound):
        await repairs.policies.get(tenancy.id, created.id)
    with pytest.raises(NotFound):
        await repairs.policies.delete(tenancy.id, created.id)
    with pytest.raises(NotFound):
        await repairs.policies.replace(tenancy.id, created.id, PLAIN, None)
    assert dict(await repairs.policies.secrets(tenancy.id, created.id)) == {}
    assert (await repairs.policies.create(tenancy.id, PLAIN, {})).id != created.id


@pytest.mark.parametrize("policy_id", [0, -1, 2**31, 2**63 - 1])
async def test_unknown(repairs: RemediationStorage, tenancy: Tenancy, policy_id: int) -> None:
    """An id that no policy has is not found, however large."""
    with pytest.raises(NotFound):
        await repairs.policies.get(tenancy.id, policy_id)
    with pytest.raises(NotFound):
        await repairs.policies.replace(tenancy.id, policy_id, PLAIN, {})
    with pytest.raises(NotFound):
        await repairs.policies.delete(tenancy.id, policy_id)
    assert dict(await repairs.policies.secrets(tenancy.id, policy_id)) == {}


async def test_list_by_name(repairs: RemediationStorage, tenancy: Tenancy) -> None:
    """The list ascends by name, code point by code point."""
    names = ["scale", "scale up", "Scale", "scale-up", "é", "restart"]
    for name in names:
        await repairs.policies.create(tenancy.id, msgspec.structs.replace(PLAIN, name=name), {})
    assert [stored.policy.name for stored in await repairs.policies.list(tenancy.id)] == sorted(names)


@pytest.mark.parametrize("role", ["sextant_reader", "sextant_writer"])
@pytest.mark.parametrize("column", ["remediation_policies.secrets", "server_secrets.secret"])
async def test_secrets_out_of_reach(
    repairs: RemediationStorage, store: Store, tenancy: Tenancy, role: str, column: str
) -> None:
    """The roles that requests run in are denied the columns where secrets are, their own tenant's too."""
    if not isinstance(store.place, str):
        pytest.skip("needs a database; memory has no roles")
    await repairs.policies.create(tenancy.id, PLAIN, {"a": "1"})
    relation, name = column.split(".")
    statement = sql.SQL("SELECT {} FROM sextant.{}").format(sql.Identifier(name), sql.Identifier(relation))
    with psycopg.connect(store.place) as connection:
        connection.execute("SELECT set_config('sextant.tenant_id', %s, true)", (str(tenancy.id),))
        connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(role)))
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(statement)


async def test_tenants_apart(repairs: RemediationStorage, tenancy: Tenancy, neighbour: Tenancy) -> None:
    """A policy is its tenant's alone: the neighbour neither sees, changes nor deletes it, nor reads its secrets."""
    created = await repairs.policies.create(tenancy.id, PLAIN, {"a": "1"})
    assert list(await repairs.policies.list(neighbour.id)) == []
    with pytest.raises(NotFound):
        await repairs.policies.get(neighbour.id, created.id)
    with pytest.raises(NotFound):
        await repairs.policies.replace(neighbour.id, created.id, FULL, {"a": "2"})
    with pytest.raises(NotFound):
        await repairs.policies.delete(neighbour.id, created.id)
    assert dict(await repairs.policies.secrets(neighbour.id, created.id)) == {}
    assert (await repairs.policies.create(neighbour.id, PLAIN, {"a": "3"})).policy == PLAIN
    assert await repairs.policies.get(tenancy.id, created.id) == created
    assert dict(await repairs.policies.secrets(tenancy.id, created.id)) == {"a": "1"}
