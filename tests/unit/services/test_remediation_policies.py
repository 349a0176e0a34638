"""Remediation policies, over the in-memory stores."""

import msgspec
import pytest

from adapters.driven.memory.audit import MemoryAuditLog
from adapters.driven.memory.channels import MemoryChannelStore
from adapters.driven.memory.clock import FakeClock
from adapters.driven.memory.policies import MemoryPolicyStore
from adapters.driven.memory.rules import MemoryRuleStore
from core.domain.actions import HttpAction
from core.domain.errors import Conflict, Forbidden, InvalidInput, NotFound
from core.domain.remediation import RemediationPolicy, Step
from core.domain.rules import AlertRule
from core.domain.tenants import Scope
from core.services.remediation_policies import PolicyService
from tests.support.callers import ListedAddresses, database, principal, recorded, secrets_in
from tests.support.orders import POLICY
from tests.support.waiting_events import SLACK

SECRET = "Bearer of-nobody"  # of nobody
TENANT = 2


def posting(url: str, **headers: str) -> Step:
    """A step that posts there, with headers taken from secrets."""
    return Step(name="post", action=HttpAction(url=url, secret_headers=headers))


def policy(*steps: Step, rollback: tuple[Step, ...] = ()) -> RemediationPolicy:
    """A policy of these steps."""
    return msgspec.structs.replace(POLICY, name="repair", steps=steps, rollback=rollback)


GOOD = policy(posting("https://hooks.example/restart", Authorization="token"))


class World:
    """The service over its stores."""

    def __init__(self) -> None:
        clock = FakeClock()
        self.tables = database(clock)
        self.policies = MemoryPolicyStore(self.tables)
        self.rules = MemoryRuleStore(self.tables)
        self.channels = MemoryChannelStore(self.tables)
        self.guard = ListedAddresses()
        self.service = PolicyService(
            self.policies, self.rules, self.channels, self.guard, MemoryAuditLog(self.tables), clock
        )

    @property
    def told(self) -> list[str]:
        """What the audit trail says."""
        return [entry.record.summary for entry in recorded(self.tables)]


@pytest.fixture
def world() -> World:
    """A new one."""
    return World()


async def test_addresses_are_checked_as_far_as_they_are_known(world: World) -> None:
    """Those of the steps and of the rollback; what is filled in after the host is checked when it is sent."""
    bad = posting("http://127.0.0.1/{{ labels.host }}")
    later = posting("https://hooks.example/restart/{{ labels.host }}?{% if value %}now{% endif %}")
    await world.service.create(principal(Scope.REMEDIATE), policy(later), {})
    assert world.guard.asked == [("steps[0].action.url", "https://hooks.example/restart/")]
    for refused, field in ((policy(later, bad), "steps[1]"), (policy(later, rollback=(bad,)), "rollback[0]")):
        with pytest.raises(InvalidInput) as error:
            await world.service.create(principal(), refused, {})
        assert error.value.field == f"{field}.action.url"


@pytest.mark.parametrize(
    "url",
    [
        "{{ labels.host }}",
        "https://{{ labels.host }}.example/restart",
        "https://hooks.example{{ labels.host }}/",
        "https://hooks.example:{{ value }}/",
        "https://hooks.example\\{{ labels.host }}/",
        "https:///{{ labels.host }}/",
        "{% if value %}https://hooks.example/{% endif %}",
        "{# #}https://hooks.example/",
    ],
)
async def test_a_template_never_chooses_the_host(world: World, url: str) -> None:
    """What sends metrics would choose it."""
    with pytest.raises(InvalidInput, match="only after the host"):
        await world.service.create(principal(), policy(posting(url)), {})
    assert world.guard.asked == []


async def test_braces_alone_are_no_template(world: World) -> None:
    """They are part of an address, which the guard judges whole."""
    await world.service.create(principal(), policy(posting("https://hooks.example/{a}")), {})
    assert world.guard.asked == [("steps[0].action.url", "https://hooks.example/{a}")]


async def test_a_policy_names_only_what_is_there(world: World) -> None:
    """Its own secrets and a channel of its tenant, when it is made and when it is changed."""
    with pytest.raises(InvalidInput, match="no secret named 'token'") as error:
        await world.service.create(principal(), GOOD, {"other": SECRET})
    assert error.value.field == "steps[0].action.secret_headers.Authorization"
    made = await world.service.create(principal(), GOOD, {"token": SECRET})
    told = msgspec.structs.replace(GOOD, escalation_channel="chat")
    with pytest.raises(InvalidInput, match="no channel named 'chat'"):
        await world.service.replace(principal(), made.id, told, None)
    with pytest.raises(InvalidInput, match="no secret named"):
        await world.service.replace(principal(), made.id, GOOD, {})
    await world.channels.create(TENANT, SLACK, ("x",))
    assert (await world.service.replace(principal(), made.id, told, None)).secret_names == ("token",)


async def test_secrets_are_never_recorded(world: World) -> None:
    """Only that there are new ones."""
    made = await world.service.create(principal(), GOOD, {"token": SECRET})
    await world.service.replace(principal(), made.id, GOOD, {"token": SECRET + "2"})
    assert await world.policies.secrets(TENANT, made.id) == {"token": SECRET + "2"}
    await world.service.delete(principal(), made.id)
    assert world.told == [
        "made the remediation policy 'repair'",
        "changed the remediation policy 'repair', with new secrets",
        "deleted the remediation policy 'repair'",
    ]
    assert secrets_in(recorded(world.tables), SECRET) == []
    with pytest.raises(InvalidInput, match="secrets"):
        await world.service.create(principal(), GOOD, {"token": "a\nb"})


async def test_a_policy_that_is_named_stays(world: World) -> None:
    """Neither deleted nor renamed while rules would repair nothing without it."""
    made = await world.service.create(principal(), GOOD, {"token": SECRET})
    rule = await world.rules.create(TENANT, AlertRule(name="busy", metric="cpu", warning=1.0, remediation="repair"))
    renamed = msgspec.structs.replace(GOOD, name="mend")
    with pytest.raises(Conflict, match="the rule 'busy' names it"):
        await world.service.delete(principal(), made.id)
    with pytest.raises(Conflict, match="cannot be renamed"):
        await world.service.replace(principal(), made.id, renamed, None)
    await world.rules.delete(TENANT, rule.id)
    await world.service.replace(principal(), made.id, renamed, None)
    await world.service.delete(principal(), made.id)
    assert await world.service.list(principal()) == []


async def test_scopes_and_tenants(world: World) -> None:
    """Reading needs remediate, alerts or query, changing remediate; others' are not there."""
    made = await world.service.create(principal(), GOOD, {"token": SECRET})
    for scope in (Scope.REMEDIATE, Scope.ALERTS, Scope.QUERY):
        assert await world.service.list(principal(scope)) == [await world.service.get(principal(scope), made.id)]
    weak, none, stranger = principal(Scope.ALERTS, Scope.QUERY), principal(Scope.INGEST), principal(tenant_id=3)
    for refused in (
        world.service.list(none),
        world.service.get(none, made.id),
        world.service.create(weak, GOOD, {"token": SECRET}),
        world.service.replace(weak, made.id, GOOD, None),
        world.service.delete(weak, made.id),
    ):
        with pytest.raises(Forbidden):
            await refused
    for missing in (
        world.service.get(stranger, made.id),
        world.service.replace(stranger, made.id, GOOD, None),
        world.service.delete(stranger, made.id),
    ):
        with pytest.raises(NotFound):
            await missing
