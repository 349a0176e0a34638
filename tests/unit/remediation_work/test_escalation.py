"""Who is told about a remediation, and what the message holds."""

from typing import Any

import msgspec
import pytest

from core.domain.approval_link import PATH, SECRET_NAME, check_token
from core.domain.notifications import AlertEvent, WebhookConfig
from core.domain.remediation import RemediationOrder
from core.domain.times import HOUR_US
from tests.support.remediation import order
from tests.unit.remediation_work.world import World


async def with_channels(world: World, *names: str, **fields: Any) -> None:
    """Adds webhooks of these names."""
    for name in names:
        config = WebhookConfig(**{"name": name, "url": "https://hooks.example/", "default": False, **fields})
        await world.channels.create(1, config, ())


def ordered(*, rule_channels: tuple[str, ...] | None = None, **policy: Any) -> RemediationOrder:
    """An order whose rule names channels."""
    wanted = order(**policy)
    return msgspec.structs.replace(wanted, rule=msgspec.structs.replace(wanted.rule, channels=rule_channels))


async def tell(world: World, wanted: RemediationOrder, *, key: str = "w/1", ask_approval: bool = False) -> list[str]:
    """Names of the channels of all messages so far."""
    await world.work.escalate(wanted, "it failed", key=key, ask_approval=ask_approval)
    return sorted(name for name, _ in world.messages)


@pytest.mark.parametrize(
    ("escalation", "rule_channels", "told"),
    [
        ("boss", ("team",), ["boss"]),
        (None, ("team", "boss"), ["boss", "team"]),
        (None, None, ["all"]),
        (None, (), ["all"]),
        ("gone", ("team",), ["all"]),
        ("off", None, ["all"]),
    ],
)
async def test_who_is_told(
    world: World, escalation: str | None, rule_channels: tuple[str, ...] | None, told: list[str]
) -> None:
    """The escalation channel, else the rule's, else the default ones: somebody is, as long as anybody can be."""
    await with_channels(world, "boss", "team")
    await with_channels(world, "all", default=True)
    await with_channels(world, "off", enabled=False, default=True)
    assert await tell(world, ordered(rule_channels=rule_channels, escalation_channel=escalation)) == told


async def test_a_recommendation_is_no_alert(world: World) -> None:
    """The message names it and holds no alert that nobody could look up."""
    await with_channels(world, "a", default=True)
    wanted = order()
    rule = msgspec.structs.replace(wanted.rule, name="recommendation rec-7")
    wanted = msgspec.structs.replace(wanted, rule=rule, alert=msgspec.structs.replace(wanted.alert, id=0))
    await tell(world, wanted)
    [(_, message)] = world.messages
    assert (message.rule, message.alerts, message.alerts_total) == ("recommendation rec-7", (), 0)


async def test_nobody_is_told_twice(world: World) -> None:
    """Repeating a key changes nothing; another one is another message."""
    await with_channels(world, "a", "b", default=True)
    for key in ("w/1", "w/1", "w/2"):
        await tell(world, order(), key=key)
    assert await tell(world, order()) == ["a", "a", "b", "b"]


async def test_what_a_message_holds(world: World) -> None:
    """The alert, the words, and no link where nothing is asked."""
    await with_channels(world, "all", default=True)
    await tell(world, order())
    [(_, message)] = world.messages
    assert (message.event, message.text, message.link) == (AlertEvent.REMEDIATION, "it failed", None)
    assert (message.alerts, message.alerts_total, message.rule) == ((order().alert,), 1, "high")


async def test_a_request_for_approval_carries_a_link(world: World) -> None:
    """It is good for this remediation, until nobody waits any more."""
    await with_channels(world, "all", default=True)
    await tell(world, order(7, approval_timeout="2h"), ask_approval=True)
    [(_, message)] = world.messages
    assert message.link is not None
    address, _, token = message.link.partition("?token=")
    assert address == f"https://sextant.example{PATH}"
    claim = check_token(await world.secrets.get(SECRET_NAME), token, now_us=world.clock.now_us())
    assert claim is not None
    assert (claim.tenant_id, claim.remediation_id) == (1, 7)
    assert claim.expires_us == world.clock.now_us() + 2 * HOUR_US


async def test_without_an_address_there_is_no_link() -> None:
    """Approval then goes through the API and the command line."""
    world = await World(public_url=None).opened()
    await with_channels(world, "all", default=True)
    await tell(world, order(), ask_approval=True)
    [(_, message)] = world.messages
    assert message.link is None
