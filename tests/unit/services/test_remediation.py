"""Approvals, links, cancelling and kill switches, over the in-memory stores."""

import msgspec
import pytest

from adapters.driven.memory.action_limits import MemoryActionLimits
from adapters.driven.memory.audit import MemoryAuditLog
from adapters.driven.memory.clock import FakeClock
from adapters.driven.memory.remediation_tables import RemediationRow
from adapters.driven.memory.remediations import MemoryRemediationOutbox, MemoryRemediationStore
from adapters.driven.memory.server_secrets import MemoryServerSecrets
from core.domain.approval_link import SECRET_NAME, ApprovalClaim, make_token
from core.domain.audit import AuditKind
from core.domain.errors import Conflict, Forbidden, InvalidInput, NotFound, Unavailable
from core.domain.remediation import RemediationState
from core.domain.tenants import Scope
from core.domain.times import HOUR_US
from core.services.remediation import RemediationService
from ports.driven.workflow_engine import EngineStatus
from tests.support.callers import ScriptedEngine, database, principal, recorded
from tests.support.orders import FIRED, order, waiting

OPERATOR = principal(*Scope, tenant_id=1)


class World:
    """The service with its surroundings."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.tables = database(self.clock)
        self.engine = ScriptedEngine()
        self.store = MemoryRemediationStore(self.tables)
        self.secrets = MemoryServerSecrets(self.tables)
        self.service = RemediationService(
            self.store,
            MemoryActionLimits(self.tables),
            self.engine,
            MemoryAuditLog(self.tables),
            self.secrets,
            self.clock,
        )

    def add(self, number: int, state: RemediationState, *, tenant_id: int = 2) -> None:
        """A remediation that stands there; its workflow runs unless it waits or has ended."""
        made = msgspec.structs.replace(order(number), tenant_id=tenant_id)
        row = RemediationRow(
            remediation=msgspec.structs.replace(waiting(made), state=state), order=made, next_attempt_at=FIRED
        )
        self.tables.remediations[number] = row
        if state in (RemediationState.RUNNING, RemediationState.AWAITING_APPROVAL, RemediationState.VERIFYING):
            self.engine.running.add(made.workflow_id)

    async def token(self, number: int, *, tenant_id: int = 2) -> str:
        """A link's token, good for an hour."""
        claim = ApprovalClaim(tenant_id=tenant_id, remediation_id=number, expires_us=self.clock.now_us() + HOUR_US)
        return make_token(await self.secrets.get(SECRET_NAME), claim)


@pytest.fixture
def world() -> World:
    """A new one."""
    return World()


@pytest.mark.parametrize("approved", [True, False])
async def test_an_answer_reaches_the_workflow(world: World, approved: bool) -> None:
    """With who gave it and why, and the audit trail has it."""
    world.add(1, RemediationState.AWAITING_APPROVAL)
    await world.service.decide(principal(Scope.REMEDIATE), 1, approved=approved, reason="seen it")
    ((workflow, decision),) = world.engine.decisions
    assert workflow == order(1).workflow_id
    assert (decision.approved, decision.by, decision.reason) == (approved, "key:5", "seen it")
    (entry,) = recorded(world.tables)
    assert (entry.record.kind, entry.record.actor) == (AuditKind.APPROVAL, "key:5")
    assert (entry.record.remediation_id, entry.record.alert_id) == (1, 1)


@pytest.mark.parametrize("state", [state for state in RemediationState if state.value != "awaiting_approval"])
async def test_only_what_waits_for_an_answer_takes_one(world: World, state: RemediationState) -> None:
    """Whatever else it does, it is told nothing."""
    world.add(1, state)
    with pytest.raises(Conflict):
        await world.service.decide(principal(), 1, approved=True, reason=None)
    assert world.engine.decisions == []


async def test_an_answer_to_a_lost_workflow_is_a_conflict(world: World) -> None:
    """And nothing is recorded as answered."""
    world.add(1, RemediationState.AWAITING_APPROVAL)
    world.engine.running.clear()
    with pytest.raises(Conflict):
        await world.service.decide(principal(), 1, approved=True, reason=None)
    assert recorded(world.tables) == []


async def test_an_absent_engine_says_so(world: World) -> None:
    """The answer is not swallowed: it can be given again."""
    world.add(1, RemediationState.AWAITING_APPROVAL)
    world.engine.failure = Unavailable("Temporal is away")
    with pytest.raises(Unavailable):
        await world.service.decide(principal(), 1, approved=True, reason=None)


async def test_a_link_opens_and_answers_its_own_remediation(world: World) -> None:
    """Without a key; the answer is recorded as the link's."""
    world.add(1, RemediationState.AWAITING_APPROVAL)
    token = await world.token(1)
    request = await world.service.open_link(token)
    assert (request.remediation.id, request.policy, request.alert.id) == (1, order(1).policy, 1)
    assert world.engine.decisions == []
    await world.service.decide_by_link(token, approved=False)
    assert [(decision.approved, decision.by) for _, decision in world.engine.decisions] == [(False, "link")]
    assert [entry.record.actor for entry in recorded(world.tables)] == ["link"]


async def test_a_wrong_link_is_nothing(world: World) -> None:
    """Forged, cut, of another tenant, too old: all the same to who holds it."""
    world.add(1, RemediationState.AWAITING_APPROVAL)
    good = await world.token(1)
    foreign = await world.token(1, tenant_id=3)
    forged = make_token(bytes(32), ApprovalClaim(tenant_id=2, remediation_id=1, expires_us=1 << 60))
    for token in ("", "x", good[:-2], good[:-1] + ("A" if good[-1] != "A" else "Q"), foreign, forged, "é" * 75):
        with pytest.raises(NotFound):
            await world.service.open_link(token)
        with pytest.raises(NotFound):
            await world.service.decide_by_link(token, approved=True)
    world.clock.advance(HOUR_US)
    with pytest.raises(NotFound):
        await world.service.decide_by_link(good, approved=True)
    assert world.engine.decisions == []


async def test_a_running_one_is_cancelled_by_its_workflow(world: World) -> None:
    """The service only asks; the workflow cleans up and says where it ended."""
    world.add(1, RemediationState.RUNNING)
    after = await world.service.cancel(principal(), 1, reason="wrong host")
    assert after.state is RemediationState.RUNNING
    assert world.engine.cancelled == [(order(1).workflow_id, "key:5")]
    assert [entry.record.summary for entry in recorded(world.tables)] == ["cancelled the remediation: wrong host"]


async def test_a_waiting_one_is_cancelled_at_once(world: World) -> None:
    """Temporal being away does not keep it, and no dispatcher takes it any more."""
    world.add(1, RemediationState.WAITING)
    world.engine.failure = Unavailable("Temporal is away")
    after = await world.service.cancel(principal(), 1, reason=None)
    assert (after.state, after.detail) == (RemediationState.CANCELLED, "cancelled by key:5 before it began")
    outbox = MemoryRemediationOutbox(world.tables)
    assert not await outbox.claim(now=world.tables.now(), lease_s=30.0, limit=10)
    with pytest.raises(Conflict):
        await world.service.cancel(principal(), 1, reason=None)


async def test_a_waiting_one_that_a_dispatcher_starts_meanwhile_is_cancelled_too(world: World) -> None:
    """The workflow hears of it, and confirming the start does not bring the remediation back."""
    world.add(1, RemediationState.WAITING)
    outbox = MemoryRemediationOutbox(world.tables)
    (claimed,) = await outbox.claim(now=world.tables.now(), lease_s=30.0, limit=10)
    await world.engine.start(claimed)
    after = await world.service.cancel(principal(), 1, reason=None)
    await outbox.confirm(2, 1, now=world.tables.now())
    assert world.engine.cancelled == [(order(1).workflow_id, "key:5")]
    assert (await world.store.get(2, 1)).state is after.state is RemediationState.CANCELLED


async def test_one_whose_workflow_is_gone_is_cancelled_in_the_store(world: World) -> None:
    """A Temporal that lost its data leaves nothing that runs for ever."""
    world.add(1, RemediationState.RUNNING)
    world.engine.running.clear()
    assert (await world.service.cancel(principal(), 1, reason=None)).state is RemediationState.CANCELLED


async def test_one_that_ends_while_it_is_cancelled_stays_as_it_ended(world: World) -> None:
    """Whoever cancelled is told so, and it is not recorded as cancelled."""
    world.add(1, RemediationState.VERIFYING)

    class Ending(ScriptedEngine):
        async def cancel(self, workflow_id: str, by: str) -> None:
            await world.store.progress(2, 1, RemediationState.SUCCEEDED, detail=None, now=world.tables.now())
            raise NotFound("workflow", workflow_id)

    service = RemediationService(
        world.store,
        MemoryActionLimits(world.tables),
        Ending(),
        MemoryAuditLog(world.tables),
        world.secrets,
        world.clock,
    )
    with pytest.raises(Conflict, match="succeeded"):
        await service.cancel(principal(), 1, reason=None)
    assert (await world.store.get(2, 1)).state is RemediationState.SUCCEEDED
    assert recorded(world.tables) == []


async def test_what_ended_is_not_cancelled(world: World) -> None:
    """It stays as it ended."""
    world.add(1, RemediationState.SUCCEEDED)
    with pytest.raises(Conflict):
        await world.service.cancel(principal(), 1, reason=None)


async def test_kill_switches(world: World) -> None:
    """A tenant sets its own, an operator the server's; both are recorded."""
    server, own = await world.service.set_kill_switch(
        principal(Scope.REMEDIATE), whole_server=False, engaged=True, reason="storm"
    )
    assert (server.engaged, own.engaged, own.by, own.reason) == (False, True, "key:5", "storm")
    everybody = principal()
    with pytest.raises(Forbidden):
        await world.service.set_kill_switch(everybody, whole_server=True, engaged=True, reason="storm")
    server, _ = await world.service.set_kill_switch(OPERATOR, whole_server=True, engaged=True, reason="storm")
    assert server.engaged
    assert [entry.record.summary for entry in recorded(world.tables)] == [
        "engaged the kill switch of the tenant acme: storm"
    ]
    assert [entry.record.summary for entry in recorded(world.tables, 1)] == [
        "engaged the kill switch of the whole server: storm"
    ]
    for reason in ("", "x" * 1_001, "a\x00b"):
        with pytest.raises(InvalidInput):
            await world.service.set_kill_switch(everybody, whole_server=False, engaged=False, reason=reason)


async def test_pages_join(world: World) -> None:
    """Every remediation once, newest first, whatever the page's length."""
    for number in range(1, 8):
        world.add(number, RemediationState.RUNNING)
    world.add(8, RemediationState.RUNNING, tenant_id=3)
    found: list[int] = []
    cursor = None
    while True:
        page = await world.service.list(principal(), state=None, alert_id=None, limit=3, cursor=cursor)
        found += [each.id for each in page.data]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert found == [7, 6, 5, 4, 3, 2, 1]


@pytest.mark.parametrize("cursor", ["", "x", "!", "bnVsbA", "LTE", "MA", "MS41", "OTIyMzM3MjAzNjg1NDc3NTgwOA", "é"])
async def test_a_made_up_cursor_is_refused(world: World, cursor: str) -> None:
    """Naming the field."""
    with pytest.raises(InvalidInput, match="cursor"):
        await world.service.list(principal(), state=None, alert_id=None, limit=3, cursor=cursor)


async def test_a_detail_has_its_timeline(world: World) -> None:
    """In order, of this remediation alone."""
    world.add(1, RemediationState.AWAITING_APPROVAL)
    world.add(2, RemediationState.RUNNING)
    await world.service.decide(principal(), 1, approved=True, reason=None)
    await world.service.cancel(principal(), 2, reason=None)
    await world.service.cancel(principal(), 1, reason=None)
    detail = await world.service.get(principal(Scope.QUERY), 1)
    assert [entry.record.summary for entry in detail.timeline] == ["passed on an approval", "cancelled the remediation"]
    assert (detail.remediation.id, detail.policy) == (1, order(1).policy)


async def test_the_engine_and_what_waits_for_it(world: World) -> None:
    """Counts the caller's own only."""
    world.add(1, RemediationState.WAITING)
    world.add(2, RemediationState.WAITING, tenant_id=3)
    world.engine.now = EngineStatus(available=False, address=None, reason="no Temporal is set up")
    assert await world.service.engine(principal(Scope.ALERTS)) == (world.engine.now, 1)


async def test_scopes(world: World) -> None:
    """Reading needs remediate, alerts or query; acting needs remediate."""
    world.add(1, RemediationState.AWAITING_APPROVAL)
    for scope in (Scope.REMEDIATE, Scope.ALERTS, Scope.QUERY):
        await world.service.get(principal(scope), 1)
    with pytest.raises(Forbidden):
        await world.service.get(principal(Scope.INGEST, Scope.ADMIN), 1)
    weak = principal(Scope.ALERTS, Scope.QUERY, Scope.ADMIN)
    with pytest.raises(Forbidden):
        await world.service.decide(weak, 1, approved=True, reason=None)
    with pytest.raises(Forbidden):
        await world.service.cancel(weak, 1, reason=None)
    with pytest.raises(Forbidden):
        await world.service.set_kill_switch(weak, whole_server=False, engaged=True, reason="x")


async def test_tenants_do_not_see_each_other(world: World) -> None:
    """Another tenant's remediation is not there."""
    world.add(1, RemediationState.AWAITING_APPROVAL)
    stranger = principal(tenant_id=3)
    with pytest.raises(NotFound):
        await world.service.get(stranger, 1)
    with pytest.raises(NotFound):
        await world.service.decide(stranger, 1, approved=True, reason=None)
    with pytest.raises(NotFound):
        await world.service.cancel(stranger, 1, reason=None)
    assert not (await world.service.list(stranger, state=None, alert_id=None, limit=10, cursor=None)).data
