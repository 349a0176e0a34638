"""Channels: what they may connect to, who names them, testing them, and what became of notifications."""

from uuid import UUID

import msgspec
import pytest

from adapters.driven.memory.audit import MemoryAuditLog
from adapters.driven.memory.policies import MemoryPolicyStore
from adapters.driven.memory.rules import MemoryRuleStore
from core.domain.errors import Conflict, Forbidden, InvalidInput, NotFound
from core.domain.notifications import ChannelConfig, EmailConfig, NotificationState, PagerDutyConfig, WebhookConfig
from core.domain.rules import AlertRule
from core.domain.tenants import Scope
from core.services.channels import TEST_WAIT_S, ChannelService
from ports.driven.notifier import NotifierError
from tests.support.callers import ListedAddresses, principal, recorded, secrets_in
from tests.support.orders import POLICY
from tests.support.waiting_events import PAGER, SLACK
from tests.unit.services.notifying import TENANT, Stepped

SECRET = "https://hooks.example/services/T0/B0/secret"  # of nobody
WEBHOOK = WebhookConfig(name="hook", url="https://hooks.example/in")
EMAIL = EmailConfig(name="mail", host="smtp.example", sender="a@b.example", to=("c@d.example",))


class World(Stepped):
    """The service beside a notifier, whose work is done while the service waits."""

    def __init__(self) -> None:
        super().__init__()
        self.guard = ListedAddresses()
        self.rules = MemoryRuleStore(self.tables)
        self.policies = MemoryPolicyStore(self.tables)
        self.notifier_runs = True
        self.channel_service = ChannelService(
            self.channels,
            self.rules,
            self.policies,
            self.store,
            self.guard,
            MemoryAuditLog(self.tables),
            self.clock,
            self,
        )

    async def sleep(self, duration_s: float) -> None:
        """Implements `Pause`."""
        self.advance(duration_s)
        if self.notifier_runs:
            await self.deliver()

    @property
    def told(self) -> list[str]:
        """What the audit trail says."""
        return [entry.record.summary for entry in recorded(self.tables)]


@pytest.fixture
def world() -> World:
    """A new one."""
    return World()


@pytest.mark.parametrize(
    ("config", "secrets", "asked"),
    [
        (SLACK, (SECRET,), [("secret", SECRET)]),
        (PAGER, ("routing-key",), [("url", "https://events.pagerduty.com/v2/enqueue")]),
        (WEBHOOK, (), [("url", "https://hooks.example/in")]),
        (EMAIL, (), [("host", "smtp.example:587")]),
    ],
)
async def test_every_kind_of_address_is_checked(
    world: World, config: ChannelConfig, secrets: tuple[str, ...], asked: list[tuple[str, str]]
) -> None:
    """When the channel is made and when it is changed."""
    made = await world.channel_service.create(principal(Scope.ALERTS), config, secrets)
    assert world.guard.asked == asked
    await world.channel_service.replace(principal(), made.id, config, secrets)
    assert world.guard.asked == asked * 2
    assert await world.channel_service.list(principal(Scope.QUERY)) == [
        await world.channel_service.get(principal(), made.id)
    ]


@pytest.mark.parametrize(
    ("config", "secrets", "field"),
    [
        (SLACK, ("http://127.0.0.1/x",), "secret"),
        (SLACK, (SECRET, "http://169.254.169.254/"), "secret"),
        (PagerDutyConfig(name="pager", url="http://[::1]/"), ("key",), "url"),
        (WebhookConfig(name="hook", url="http://10.0.0.1/"), (), "url"),
        (msgspec.structs.replace(EMAIL, host="localhost"), (), "host"),
    ],
)
async def test_an_address_that_must_not_be_used_is_refused(
    world: World, config: ChannelConfig, secrets: tuple[str, ...], field: str
) -> None:
    """Nothing is stored, nothing is recorded."""
    good = {"slack": (SLACK, (SECRET,)), "pagerduty": (PAGER, ("key",)), "webhook": (WEBHOOK, ()), "email": (EMAIL, ())}
    with pytest.raises(InvalidInput) as refused:
        await world.channel_service.create(principal(), config, secrets)
    assert refused.value.field == field
    assert await world.channels.list(TENANT) == []
    before_config, before_secrets = good[str(config.__struct_config__.tag)]
    before = await world.channel_service.create(principal(), before_config, before_secrets)
    with pytest.raises(InvalidInput):
        await world.channel_service.replace(principal(), before.id, config, secrets)
    assert await world.channels.list(TENANT) == [before]
    assert len(world.told) == 1


async def test_secrets_stay_unless_others_are_given(world: World) -> None:
    """And are never in the audit trail."""
    made = await world.channel_service.create(principal(), SLACK, (SECRET,))
    await world.channel_service.replace(principal(), made.id, SLACK, None)
    assert await world.channels.secrets(TENANT, made.id) == (SECRET,)
    await world.channel_service.replace(principal(), made.id, SLACK, (SECRET + "2", SECRET))
    assert await world.channels.secrets(TENANT, made.id) == (SECRET + "2", SECRET)
    with pytest.raises(InvalidInput):
        await world.channel_service.replace(principal(), made.id, SLACK, ())
    await world.channel_service.delete(principal(), made.id)
    assert world.told == [
        "made the channel 'chat'",
        "changed the channel 'chat'",
        "changed the channel 'chat', with new secrets",
        "deleted the channel 'chat'",
    ]
    assert secrets_in(recorded(world.tables), SECRET) == []


async def test_a_channel_that_is_named_stays(world: World) -> None:
    """Neither deleted nor renamed while rules or policies would tell nobody without it; else changed as usual."""
    made = await world.channel_service.create(principal(), SLACK, (SECRET,))
    rule = await world.rules.create(TENANT, AlertRule(name="busy", metric="cpu", warning=1.0, channels=("chat",)))
    policy = await world.policies.create(TENANT, msgspec.structs.replace(POLICY, escalation_channel="chat"), {})
    renamed = msgspec.structs.replace(SLACK, name="talk")
    with pytest.raises(Conflict, match="the rule 'busy' and 1 more names it"):
        await world.channel_service.delete(principal(), made.id)
    await world.rules.delete(TENANT, rule.id)
    with pytest.raises(Conflict, match="cannot be renamed: the policy 'wait' names it"):
        await world.channel_service.replace(principal(), made.id, renamed, None)
    await world.channel_service.replace(principal(), made.id, msgspec.structs.replace(SLACK, default=False), None)
    await world.policies.delete(TENANT, policy.id)
    await world.channel_service.replace(principal(), made.id, renamed, None)
    await world.channel_service.delete(principal(), made.id)


async def test_a_test_says_what_became_of_it(world: World) -> None:
    """Delivered, or dead with the reason, at once."""
    made = await world.channel_service.create(principal(), SLACK, (SECRET,))
    good = await world.channel_service.test(principal(), made.id)
    assert (good.state, good.attempts) == (NotificationState.DELIVERED, 1)
    ((_, message),) = world.receivers.taken
    assert message.alerts[0].annotations == {"summary": "This is a test: nothing is wrong."}
    world.receivers.failures = [NotifierError("answered 403", retryable=True)]
    bad = await world.channel_service.test(principal(), made.id)
    assert (bad.state, bad.last_error) == (NotificationState.DEAD, "answered 403")
    assert world.told[-2:] == ["tested the channel 'chat'"] * 2


async def test_a_test_does_not_wait_for_ever(world: World) -> None:
    """Where no notifier runs it says that it still waits, after some seconds."""
    made = await world.channel_service.create(principal(), SLACK, (SECRET,))
    world.notifier_runs = False
    started_s = world.clock.monotonic_s()
    assert (await world.channel_service.test(principal(), made.id)).state is NotificationState.WAITING
    assert TEST_WAIT_S <= world.clock.monotonic_s() - started_s <= TEST_WAIT_S + 1.0


async def test_a_disabled_channel_is_not_tested(world: World) -> None:
    """It says why it is disabled; enabling it makes it whole again."""
    made = await world.channel_service.create(principal(), SLACK, (SECRET,))
    await world.channels.disable(TENANT, made.id, "answered 410")
    with pytest.raises(Conflict, match="answered 410"):
        await world.channel_service.test(principal(), made.id)
    await world.channel_service.replace(principal(), made.id, SLACK, None)
    assert (await world.channel_service.test(principal(), made.id)).state is NotificationState.DELIVERED


async def test_notification_pages_join(world: World) -> None:
    """Also where many were made at one instant; filtered by what became of them."""
    made = await world.channel_service.create(principal(), SLACK, (SECRET,))
    for number in range(1, 8):
        world.fired(number, rule_id=number)
    world.receivers.failures = [NotifierError("no", retryable=False)] * 3
    while await world.step():
        pass
    found: list[UUID] = []
    cursor = None
    while True:
        page = await world.channel_service.notifications(principal(Scope.QUERY), state=None, limit=2, cursor=cursor)
        found += [each.id for each in page.data]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert sorted(found) == sorted(row.id for row in world.messages)
    assert len({row.message.created_at for row in world.messages}) == 1
    dead = await world.channel_service.notifications(principal(), state=NotificationState.DEAD, limit=10, cursor=None)
    assert [(each.channel_id, each.last_error) for each in dead.data] == [(made.id, "no")] * 3


@pytest.mark.parametrize(
    "cursor", ["x", "WzEsMl0", "W10", "Wy0xLCI2ZjBlNWYwYS0zZDBjLTViNWUtOWQ1Zi0wZjZmNmIxYzZhNTEiXQ"]
)
async def test_a_made_up_cursor_is_refused(world: World, cursor: str) -> None:
    """Naming the field."""
    with pytest.raises(InvalidInput, match="cursor"):
        await world.channel_service.notifications(principal(), state=None, limit=2, cursor=cursor)


async def test_a_dead_one_is_sent_again(world: World) -> None:
    """Under its id, and only where it is dead."""
    await world.channel_service.create(principal(), SLACK, (SECRET,))
    world.receivers.failures = [NotifierError("no", retryable=False)]
    world.fired(1)
    await world.step()
    (row,) = world.messages
    again = await world.channel_service.resend(principal(), row.id)
    assert (again.id, again.state) == (row.id, NotificationState.WAITING)
    await world.step()
    assert [message.id for _, message in world.receivers.taken] == [row.id]
    with pytest.raises(Conflict):
        await world.channel_service.resend(principal(), row.id)
    assert world.told[-1] == f"sent the notification {row.id} to 'chat' again"


async def test_scopes_and_tenants(world: World) -> None:
    """Reading needs alerts or query, changing alerts; others' are not there."""
    service = world.channel_service
    made = await service.create(principal(), SLACK, (SECRET,))
    world.fired(1)
    await world.step()
    notification_id = world.messages[0].id
    weak, none, stranger = principal(Scope.QUERY), principal(Scope.INGEST), principal(tenant_id=3)
    for refused in (
        service.list(none),
        service.get(none, made.id),
        service.notifications(none, state=None, limit=1, cursor=None),
        service.create(weak, SLACK, (SECRET,)),
        service.replace(weak, made.id, SLACK, None),
        service.delete(weak, made.id),
        service.test(weak, made.id),
        service.resend(weak, notification_id),
    ):
        with pytest.raises(Forbidden):
            await refused
    for missing in (
        service.get(stranger, made.id),
        service.replace(stranger, made.id, SLACK, None),
        service.delete(stranger, made.id),
        service.test(stranger, made.id),
        service.resend(stranger, notification_id),
    ):
        with pytest.raises(NotFound):
            await missing
    assert (await service.notifications(stranger, state=None, limit=10, cursor=None)).data == []
