"""Alerts as people see them, and the rules that make them, over the in-memory stores."""

from datetime import timedelta
from uuid import UUID

import msgspec
import pytest

from adapters.driven.memory.alert_tables import AlertRow, EventRow
from adapters.driven.memory.alerts import MemoryAlertStore
from adapters.driven.memory.audit import MemoryAuditLog
from adapters.driven.memory.channels import MemoryChannelStore
from adapters.driven.memory.clock import FakeClock
from adapters.driven.memory.notifications import MemoryNotificationStore
from adapters.driven.memory.policies import MemoryPolicyStore
from adapters.driven.memory.rules import MemoryRuleStore
from core.domain.alerts import Alert, AlertFilter, EpisodeState
from core.domain.errors import Conflict, Forbidden, InvalidInput, NotFound
from core.domain.notifications import AlertEvent, Message
from core.domain.rules import AlertRule
from core.domain.tenants import Scope
from core.domain.times import EPOCH, TimeRange
from core.services.alerting import AlertService, RuleService
from ports.driven.evaluation_store import Target
from tests.support.callers import EmptyHistory, database, principal, recorded
from tests.support.orders import POLICY
from tests.support.waiting_events import SLACK, alert

RULE = AlertRule(name="busy", metric="cpu", warning=90.0)


class World:
    """Both services over one database."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.tables = database(self.clock)
        self.channels = MemoryChannelStore(self.tables)
        self.policies = MemoryPolicyStore(self.tables)
        self.notifications = MemoryNotificationStore(self.tables)
        self.audit = MemoryAuditLog(self.tables)
        self.alerts = AlertService(MemoryAlertStore(self.tables), self.notifications, self.audit, self.clock)
        self.rules = RuleService(
            MemoryRuleStore(self.tables), self.channels, self.policies, self.audit, EmptyHistory(), self.clock
        )

    def add(self, about: Alert, *, tenant_id: int = 2) -> None:
        """An episode, as evaluation wrote it."""
        target = Target(tenant_id, about.rule_id, f"s{about.id}")
        self.tables.alerts[about.id] = AlertRow(target=target, alert=about, channels=None)

    @property
    def events(self) -> list[EventRow]:
        """What waits in the notification outbox."""
        return list(self.tables.notification_events.values())

    @property
    def told(self) -> list[str]:
        """What the audit trail says."""
        return [entry.record.summary for entry in recorded(self.tables)]


@pytest.fixture
def world() -> World:
    """A new one."""
    return World()


async def test_alert_pages_join(world: World) -> None:
    """Every alert that the filter wants once, newest first."""
    for number in range(1, 10):
        world.add(alert(number, state=EpisodeState.FIRING if number % 2 else EpisodeState.RESOLVED))
    world.add(alert(10), tenant_id=3)
    found: list[int] = []
    cursor = None
    while True:
        wanted = AlertFilter(state=EpisodeState.FIRING)
        page = await world.alerts.list(principal(Scope.QUERY), wanted, limit=2, cursor=cursor)
        found += [one.id for one in page.data]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert found == [9, 7, 5, 3, 1]


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        (AlertFilter(matchers=("=",)), "label"),
        (AlertFilter(rule="a\x00b"), "rule"),
        (AlertFilter(metric="a\x00b"), "metric"),
        (AlertFilter(start_us=5, end_us=5), "end"),
    ],
)
async def test_a_filter_that_cannot_be_is_refused(world: World, wanted: AlertFilter, field: str) -> None:
    """Naming its field."""
    with pytest.raises(InvalidInput) as refused:
        await world.alerts.list(principal(), wanted, limit=1, cursor=None)
    assert refused.value.field == field


async def test_an_alert_has_its_story(world: World) -> None:
    """What was sent about it and what was done about it, nothing of others."""
    for number in (1, 2):
        world.add(alert(number))
        channel = await world.channels.create(2, msgspec.structs.replace(SLACK, name=f"c{number}"), ("x",))
        message = Message(
            id=UUID(int=number),
            event=AlertEvent.FIRED,
            tenant="acme",
            rule="busy",
            alerts=(alert(number),),
            alerts_total=1,
            created_at=world.tables.now(),
        )
        await world.notifications.put(2, channel.id, message)
        await world.alerts.acknowledge(principal(), number)
    detail = await world.alerts.get(principal(Scope.QUERY), 2)
    assert detail.alert.id == 2
    assert [each.channel for each in detail.notifications] == ["c2"]
    assert [entry.record.summary for entry in detail.timeline] == ["acknowledged the alert 'busy'"]


async def test_the_first_to_acknowledge_is_the_one(world: World) -> None:
    """It is told once and recorded once, however often it is repeated."""
    world.add(alert(1))
    first = await world.alerts.acknowledge(principal(), 1)
    world.clock.advance(1_000_000)
    again = await world.alerts.acknowledge(principal(), 1)
    other = await world.alerts.acknowledge(principal(key_id=6), 1)
    assert first == again == other
    assert (first.acknowledged_by, first.acknowledged_at) == (
        "key:5",
        EPOCH + timedelta(microseconds=1_767_225_600_000_000),
    )
    assert [event.event for event in world.events] == [AlertEvent.ACKNOWLEDGED]
    assert world.told == ["acknowledged the alert 'busy'"]


async def test_what_has_resolved_is_not_acknowledged_nor_closed(world: World) -> None:
    """Both are a conflict, and change nothing."""
    world.add(alert(1, state=EpisodeState.RESOLVED))
    with pytest.raises(Conflict):
        await world.alerts.acknowledge(principal(), 1)
    with pytest.raises(Conflict):
        await world.alerts.close(principal(), 1)
    assert (world.events, world.told) == ([], [])


async def test_rules_are_recorded_as_they_change(world: World) -> None:
    """With the fields that changed; a replacement that changes nothing is none."""
    stored = await world.rules.create(principal(Scope.ALERTS), RULE)
    await world.rules.replace(principal(), stored.id, RULE)
    hotter = msgspec.structs.replace(RULE, warning=95.0, for_="5m")
    assert (await world.rules.replace(principal(), stored.id, hotter)).revision == 2
    await world.rules.delete(principal(), stored.id)
    assert world.told == ["made the rule 'busy'", "changed the rule 'busy'", "deleted the rule 'busy'"]
    assert recorded(world.tables)[1].record.details == {
        "before": {"warning": 90.0, "for": None},
        "after": {"warning": 95.0, "for": "5m"},
    }
    assert await world.rules.list(principal(Scope.QUERY)) == []


async def test_a_rule_names_only_what_is_there(world: World) -> None:
    """Channels and the policy, of the same tenant, on create and on replace."""
    named = msgspec.structs.replace(RULE, channels=("chat",), remediation="wait")
    await world.channels.create(3, SLACK, ("x",))
    with pytest.raises(InvalidInput, match="no channel named 'chat'") as refused:
        await world.rules.create(principal(), named)
    assert refused.value.field == "channels"
    await world.channels.create(2, SLACK, ("x",))
    with pytest.raises(InvalidInput, match="no remediation policy named 'wait'") as refused:
        await world.rules.create(principal(), named)
    assert refused.value.field == "remediation"
    await world.policies.create(2, POLICY, {})
    stored = await world.rules.create(principal(), named)
    with pytest.raises(InvalidInput):
        await world.rules.replace(principal(), stored.id, msgspec.structs.replace(named, channels=("chat", "mail")))
    assert await world.rules.get(principal(), stored.id) == stored


async def test_a_rule_that_repairs_needs_the_right_to_repair(world: World) -> None:
    """Whoever may only alert can neither attach a policy nor change the thresholds that start it."""
    await world.policies.create(2, POLICY, {})
    repairing = msgspec.structs.replace(RULE, remediation="wait")
    with pytest.raises(Forbidden, match="remediate"):
        await world.rules.create(principal(Scope.ALERTS), repairing)
    stored = await world.rules.create(principal(Scope.ALERTS, Scope.REMEDIATE), repairing)
    with pytest.raises(Forbidden, match="remediate"):
        await world.rules.replace(principal(Scope.ALERTS), stored.id, msgspec.structs.replace(repairing, warning=1.0))
    assert (await world.rules.replace(principal(Scope.ALERTS), stored.id, RULE)).revision == 2


async def test_a_backtest_is_for_who_may_read(world: World) -> None:
    """It changes nothing, so it needs no more."""
    result = await world.rules.backtest(principal(Scope.QUERY), RULE, TimeRange(0, 1_000_000))
    assert (result.rule, result.episodes_total) == ("busy", 0)
    with pytest.raises(Forbidden):
        await world.rules.backtest(principal(Scope.INGEST), RULE, TimeRange(0, 1_000_000))


async def test_scopes(world: World) -> None:
    """Reading needs alerts or query, changing alerts."""
    world.add(alert(1))
    stored = await world.rules.create(principal(), RULE)
    for reader in (principal(Scope.ALERTS), principal(Scope.QUERY)):
        await world.alerts.get(reader, 1)
        await world.alerts.list(reader, AlertFilter(), limit=1, cursor=None)
        await world.rules.get(reader, stored.id)
    weak, none = principal(Scope.QUERY, Scope.REMEDIATE, Scope.ADMIN), principal(Scope.INGEST, Scope.ADMIN)
    for refused in (
        world.alerts.get(none, 1),
        world.alerts.list(none, AlertFilter(), limit=1, cursor=None),
        world.alerts.acknowledge(weak, 1),
        world.alerts.close(weak, 1),
        world.rules.list(none),
        world.rules.get(none, stored.id),
        world.rules.create(weak, msgspec.structs.replace(RULE, name="other")),
        world.rules.replace(weak, stored.id, RULE),
        world.rules.delete(weak, stored.id),
    ):
        with pytest.raises(Forbidden):
            await refused


async def test_tenants_do_not_see_each_other(world: World) -> None:
    """Another tenant's alert or rule is not there."""
    world.add(alert(1))
    stored = await world.rules.create(principal(), RULE)
    stranger = principal(tenant_id=3)
    for missing in (
        world.alerts.get(stranger, 1),
        world.alerts.acknowledge(stranger, 1),
        world.alerts.close(stranger, 1),
        world.rules.get(stranger, stored.id),
        world.rules.replace(stranger, stored.id, RULE),
        world.rules.delete(stranger, stored.id),
    ):
        with pytest.raises(NotFound):
            await missing
    assert recorded(world.tables, 3) == []
