"""The channel store port: where notifications go; secrets go in and come out for sending only."""

import asyncio

import msgspec
import pytest

from core.domain.errors import Conflict, NotFound
from core.domain.notifications import (
    ChannelConfig,
    EmailConfig,
    PagerDutyConfig,
    SlackConfig,
    WebhookConfig,
    WebhookFormat,
)
from tests.support.alert_storage import AlertStorage
from tests.support.storages import Tenancy

HOOK = WebhookConfig(name="hook", url="https://hooks.example/x?a=1&b=ü")
SECRETS = ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "größe ✓ '\"\\ {},NULL", "x" * 1_000)


@pytest.mark.parametrize(
    ("config", "secrets"),
    [
        (HOOK, ()),
        (HOOK, SECRETS),
        (
            WebhookConfig(name="Größe ✓", url="x", format=WebhookFormat.ALERTMANAGER, default=False, enabled=False),
            ("an-old-one",),
        ),
        (SlackConfig(name="chat"), ("https://hooks.slack.example/services/T/B/x",)),
        (PagerDutyConfig(name="pager"), ("routing-key",)),
        (
            EmailConfig(
                name="mail",
                host="smtp.example",
                port=2525,
                starttls=False,
                username="ü",
                sender="sextant@example.com",
                to=("a@example.com", "b@example.com"),
            ),
            ("pass word",),
        ),
    ],
)
async def test_kept_as_given(
    alerting: AlertStorage,
    other_alerting: AlertStorage,
    tenancy: Tenancy,
    config: ChannelConfig,
    secrets: tuple[str, ...],
) -> None:
    """Settings come back as given, and how many secrets there are; the secrets only for sending."""
    created = await alerting.channels.create(tenancy.id, config, secrets)
    assert (created.config, created.secrets_set, created.disabled_reason) == (config, len(secrets), None)
    assert await other_alerting.channels.get(tenancy.id, created.id) == created
    assert list(await other_alerting.channels.list(tenancy.id)) == [created]
    assert await other_alerting.channels.secrets(tenancy.id, created.id) == secrets
    assert not any(secret in repr(created) for secret in secrets)


async def test_list_by_name(alerting: AlertStorage, tenancy: Tenancy) -> None:
    """The list ascends by name, code point by code point."""
    names = ["b", "B", "a b", "ab", "_", "ä", "10", "9"]
    for name in names:
        await alerting.channels.create(tenancy.id, msgspec.structs.replace(HOOK, name=name), ())
    assert [channel.config.name for channel in await alerting.channels.list(tenancy.id)] == sorted(names)


async def test_names_are_taken_once(alerting: AlertStorage, other_alerting: AlertStorage, tenancy: Tenancy) -> None:
    """Of several that create one name at once one succeeds; no other channel takes it afterwards."""
    answers = await asyncio.gather(
        *((alerting, other_alerting)[n % 2].channels.create(tenancy.id, HOOK, (str(n),)) for n in range(4)),
        return_exceptions=True,
    )
    assert sorted(type(answer).__name__ for answer in answers) == ["Channel"] + ["Conflict"] * 3
    other = await alerting.channels.create(tenancy.id, SlackConfig(name="chat"), ("s",))
    with pytest.raises(Conflict):
        await alerting.channels.replace(tenancy.id, other.id, SlackConfig(name="hook"), None)
    assert await alerting.channels.get(tenancy.id, other.id) == other


async def test_replace(alerting: AlertStorage, tenancy: Tenancy) -> None:
    """Settings change whole; secrets stay unless new ones are given, none of which is one way to give them."""
    created = await alerting.channels.create(tenancy.id, HOOK, ("old",))
    moved = msgspec.structs.replace(HOOK, name="moved", url="https://elsewhere.example", default=False)
    replaced = await alerting.channels.replace(tenancy.id, created.id, moved, None)
    assert (replaced.id, replaced.config, replaced.secrets_set) == (created.id, moved, 1)
    assert (replaced.created_at, await alerting.channels.secrets(tenancy.id, created.id)) == (
        created.created_at,
        ("old",),
    )
    for secrets in (("new", "old"), ()):
        rotated = await alerting.channels.replace(tenancy.id, created.id, HOOK, secrets)
        assert (rotated.config, rotated.secrets_set) == (HOOK, len(secrets))
        assert await alerting.channels.secrets(tenancy.id, created.id) == secrets
    assert await alerting.channels.get(tenancy.id, created.id) == rotated


async def test_the_type_stays(alerting: AlertStorage, tenancy: Tenancy) -> None:
    """A channel of another type is another channel: its secrets would mean something else."""
    created = await alerting.channels.create(tenancy.id, HOOK, ("s",))
    with pytest.raises(Conflict):
        await alerting.channels.replace(tenancy.id, created.id, SlackConfig(name="hook"), None)
    assert await alerting.channels.get(tenancy.id, created.id) == created


async def test_disabled_by_sextant(alerting: AlertStorage, tenancy: Tenancy) -> None:
    """A channel that was given up says why until its owner enables it again; the first reason counts."""
    created = await alerting.channels.create(tenancy.id, HOOK, ("s",))
    await alerting.channels.disable(tenancy.id, created.id, "answered 410")
    await alerting.channels.disable(tenancy.id, created.id, "answered 410 again")
    disabled = await alerting.channels.get(tenancy.id, created.id)
    assert (disabled.config.enabled, disabled.disabled_reason) == (False, "answered 410")
    off = msgspec.structs.replace(HOOK, enabled=False)
    assert disabled.config == off
    still = await alerting.channels.replace(tenancy.id, created.id, off, None)
    assert (still.config.enabled, still.disabled_reason) == (False, "answered 410")
    again = await alerting.channels.replace(tenancy.id, created.id, HOOK, None)
    assert (again.config.enabled, again.disabled_reason) == (True, None)


async def test_delete(alerting: AlertStorage, tenancy: Tenancy) -> None:
    """What was deleted is gone, secrets too, and its name is free."""
    created = await alerting.channels.create(tenancy.id, HOOK, ("s",))
    await alerting.channels.delete(tenancy.id, created.id)
    assert list(await alerting.channels.list(tenancy.id)) == []
    with pytest.raises(NotFound):
        await alerting.channels.secrets(tenancy.id, created.id)
    await alerting.channels.create(tenancy.id, HOOK, ())


@pytest.mark.parametrize("channel_id", [0, -1, 2**31, 2**62])
async def test_no_such_channel(alerting: AlertStorage, tenancy: Tenancy, channel_id: int) -> None:
    """An id that none has is not found, however large it is."""
    await refuses_all(alerting, tenancy.id, channel_id)


async def test_tenants_apart(alerting: AlertStorage, tenancy: Tenancy, neighbour: Tenancy) -> None:
    """The neighbour neither sees, changes, disables nor deletes a channel, nor reads its secrets."""
    created = await alerting.channels.create(tenancy.id, HOOK, ("s",))
    assert list(await alerting.channels.list(neighbour.id)) == []
    await refuses_all(alerting, neighbour.id, created.id)
    await alerting.channels.create(neighbour.id, HOOK, ("t",))
    assert await alerting.channels.get(tenancy.id, created.id) == created
    assert await alerting.channels.secrets(tenancy.id, created.id) == ("s",)


async def refuses_all(alerting: AlertStorage, tenant_id: int, channel_id: int) -> None:
    """Nothing can be done with a channel that is not the tenant's."""
    for attempt in (
        alerting.channels.get(tenant_id, channel_id),
        alerting.channels.replace(tenant_id, channel_id, HOOK, None),
        alerting.channels.replace(tenant_id, channel_id, HOOK, ("s",)),
        alerting.channels.delete(tenant_id, channel_id),
        alerting.channels.secrets(tenant_id, channel_id),
        alerting.channels.disable(tenant_id, channel_id, "why"),
    ):
        with pytest.raises(NotFound):
            await attempt
