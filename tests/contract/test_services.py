"""The services about alerts over every store: what they ask of it is allowed to who asks, and fits together."""

from datetime import timedelta

import msgspec
import pytest

from adapters.driven.memory.clock import FakeClock
from core.domain.alerts import AlertFilter, EpisodeState, SilenceSpec
from core.domain.notifications import AlertEvent, ChannelConfig, NotificationState, SlackConfig
from core.domain.rules import AlertRule
from core.domain.tenants import Principal, Scope
from core.domain.times import DAY_US, EPOCH, SECOND_US
from core.services.alerting import AlertService, RuleService
from core.services.audit import AuditService
from core.services.channels import ChannelService
from core.services.notify import LEASE_MARGIN_S, NotifyPlan, NotifyService
from core.services.remediation import RemediationService
from core.services.remediation_policies import PolicyService
from core.services.silences import SilenceService
from ports.driven.notifier import Notifier, NotifierError
from tests.support.alert_rows import FIRING, NOON, write_alert, write_event
from tests.support.alert_storage import AlertStorage
from tests.support.callers import EmptyHistory, ListedAddresses, ScriptedEngine, ScriptedReceivers
from tests.support.orders import POLICY
from tests.support.remediation_rows import insert_remediation
from tests.support.remediation_storage import RemediationStorage
from tests.support.storages import Store, Tenancy, unique

pytestmark = pytest.mark.usefixtures("empty_outbox")
SECRET = "https://hooks.example/services/secret"


class Notifying:
    """The notifier at an instant that a test moves, which is past whatever other tests left."""

    def __init__(self, alerting: AlertStorage) -> None:
        self.clock = FakeClock((NOON - EPOCH) // timedelta(microseconds=1) + DAY_US)
        self.receivers = ScriptedReceivers()
        self.alerting = alerting

    async def step(self, duration_s: float = 1.0, *, settles: bool = True) -> None:
        """A new process decides on what waits and sends what is due; without settling it dies after sending."""
        self.clock.advance(int(duration_s * SECOND_US))
        plan = NotifyPlan(group_wait_s=0.5, send_timeout_s=10.0)
        notifiers: dict[type[ChannelConfig], Notifier] = {SlackConfig: self.receivers}
        service = NotifyService(self.alerting.outbox, self.alerting.channels, notifiers, self.clock, Untold(), plan)
        while not (await service.decide_round())[1]:
            pass
        for claimed in await service.claim(busy=frozenset(), places=10):
            attempt = await service.send(claimed)
            if settles:
                await service.settle(attempt)

    async def sleep(self, duration_s: float) -> None:
        """Implements `Pause`."""
        await self.step(duration_s)


class Untold:
    """Telemetry that nobody reads."""

    def notifications_decided(self, *, messages: int, suppressed: int, kept: int) -> None:
        return

    def notification_sent(self, kind: str, state: str, *, took_s: float) -> None:
        return


@pytest.fixture
def caller(tenancy: Tenancy) -> Principal:
    """A key of the tenant that may do anything there."""
    return Principal(tenant_id=tenancy.id, tenant=tenancy.tenant.name, key_id=5, scopes=frozenset(Scope))


async def test_an_alert_from_rule_to_resolution(
    alerting: AlertStorage, repairs: RemediationStorage, store: Store, caller: Principal
) -> None:
    """Set up, silenced, told, crashed over, acknowledged, told again, and all of it in a trail that holds."""
    notifier = Notifying(alerting)
    clock, audit = notifier.clock, repairs.audit_log
    channels = ChannelService(
        alerting.channels,
        alerting.rules,
        repairs.policies,
        alerting.notifications,
        ListedAddresses(),
        audit,
        clock,
        notifier,
    )
    rules = RuleService(alerting.rules, alerting.channels, repairs.policies, audit, EmptyHistory(), clock)
    policies = PolicyService(repairs.policies, alerting.rules, alerting.channels, ListedAddresses(), audit, clock)
    silences = SilenceService(alerting.silences, audit, clock)
    alerts = AlertService(alerting.alerts, alerting.notifications, audit, clock)

    name = unique("chat")
    channel = await channels.create(caller, SlackConfig(name=name), (SECRET,))
    assert (await channels.test(caller, channel.id)).state is NotificationState.DELIVERED
    policy = await policies.create(caller, msgspec.structs.replace(POLICY, escalation_channel=name), {"token": "x"})
    rule = await rules.create(
        caller,
        AlertRule(name="busy", metric="cpu", warning=1.0, channels=(name,), remediation=policy.policy.name),
    )
    end = EPOCH + timedelta(microseconds=clock.now_us()) + timedelta(hours=1)
    silence = await silences.create(caller, SilenceSpec(matchers=("host=a",), ends_at=end, reason="upgrade"))

    alert = write_alert(store.place, caller.tenant_id, FIRING, channels=(name,))
    write_event(store.place, alert, tenant_id=caller.tenant_id)
    await notifier.step()
    assert len(notifier.receivers.taken) == 1
    await silences.end(caller, silence.id)
    notifier.receivers.failures = [NotifierError("answered 503", retryable=True)]
    await notifier.step(10.0)
    await notifier.step(1.0, settles=False)
    await notifier.step(10.0)
    await notifier.step(LEASE_MARGIN_S)
    told = [message for _, message in notifier.receivers.taken[1:]]
    assert [message.event for message in told] == [AlertEvent.FIRED, AlertEvent.FIRED]
    assert told[0] == told[1]

    seen = await alerts.acknowledge(caller, alert.id)
    await notifier.step()
    assert notifier.receivers.taken[-1][1].event is AlertEvent.ACKNOWLEDGED
    detail = await alerts.get(caller, alert.id)
    assert detail.alert == seen
    assert sorted((each.event.value, each.attempts) for each in detail.notifications) == [
        ("acknowledged", 1),
        ("fired", 3),
    ]
    found = await alerts.list(caller, AlertFilter(state=EpisodeState.FIRING), limit=1, cursor=None)
    assert ([each.id for each in found.data], found.next_cursor) == ([alert.id], None)
    page = await channels.notifications(caller, state=None, limit=2, cursor=None)
    rest = await channels.notifications(caller, state=None, limit=2, cursor=page.next_cursor)
    assert len({each.id for each in (*page.data, *rest.data)}) == 3

    await alerts.close(caller, alert.id)
    await rules.delete(caller, rule.id)
    await policies.delete(caller, policy.id)
    await channels.delete(caller, channel.id)
    verdict = await AuditService(audit).verify(caller)
    assert (verdict.entries, verdict.broken) == (11, None)


async def test_a_remediation_is_answered_and_cancelled(
    repairs: RemediationStorage, store: Store, tenancy: Tenancy, caller: Principal
) -> None:
    """Listed, cancelled while it waits, stopped by a kill switch; with its timeline."""
    engine = ScriptedEngine()
    service = RemediationService(
        repairs.remediations, repairs.limits, engine, repairs.audit_log, repairs.server_secrets, FakeClock()
    )
    orders = [insert_remediation(store, tenancy) for _ in range(3)]
    page = await service.list(caller, state=None, alert_id=None, limit=2, cursor=None)
    rest = await service.list(caller, state=None, alert_id=None, limit=2, cursor=page.next_cursor)
    assert [each.workflow_id for each in (*page.data, *rest.data)] == [one.workflow_id for one in reversed(orders)]
    assert await service.engine(caller) == (engine.now, 3)
    newest = page.data[0]
    await service.cancel(caller, newest.id, reason="not now")
    detail = await service.get(caller, newest.id)
    assert detail.remediation.state.value == "cancelled"
    assert [entry.record.summary for entry in detail.timeline] == ["cancelled the remediation: not now"]
    _, own = await service.set_kill_switch(caller, whole_server=False, engaged=True, reason="storm")
    assert (own.engaged, own.tenant, own.by) == (True, tenancy.tenant.name, "key:5")
