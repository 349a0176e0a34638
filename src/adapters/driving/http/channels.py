"""The routes of notification channels."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import msgspec
from litestar import Controller, Response, delete, get, post, put

from adapters.driving.http.alert_parameters import ChannelInPath, existing_id
from adapters.driving.http.channel_bodies import (
    ChannelBody,
    ChannelReply,
    channel_reply,
    config_and_secrets,
    secret_field,
)
from adapters.driving.http.guards import ApiRequest, ServicesDependency, authenticated, json_body
from core.domain.errors import InvalidInput
from core.domain.notifications import Notification

PATH: Final = "/api/v1/alerts/channels"
TAG: Final = "Channels"


class ChannelsReply(msgspec.Struct, frozen=True):
    """All channels of the tenant, by name."""

    data: Sequence[ChannelReply]


_channel: msgspec.json.Decoder[ChannelBody] = msgspec.json.Decoder(ChannelBody)


class ChannelController(Controller):
    """Reading needs scope ``alerts`` or ``query``, changing ``alerts``."""

    path = PATH
    tags: Sequence[str] = [TAG]  # Litestar declares it as an instance's
    guards = [authenticated]  # noqa: RUF012  # the same

    @get("/", operation_id="list_channels", summary="All channels")
    async def list_all(self, request: ApiRequest, services: ServicesDependency) -> ChannelsReply:
        """The tenant's channels by name. Secrets are never shown, only how many are set."""
        return ChannelsReply([channel_reply(channel) for channel in await services.channels.list(request.user)])

    @post("/", operation_id="create_channel", summary="Add a channel")
    async def create(self, request: ApiRequest, services: ServicesDependency) -> Response[ChannelReply]:
        """Adds a channel of type `slack`, `pagerduty`, `webhook` or `email`. A `default` one is told of every rule that
        names no channels. Addresses must be public and https, unless the operator lets others through."""
        body = await json_body(request, _channel)
        config, secrets = config_and_secrets(body)
        with _secret_named(body):
            channel = await services.channels.create(request.user, config, secrets or ())
        return Response(channel_reply(channel), status_code=201, headers={"location": f"{PATH}/{channel.id}"})

    @get("/{channel_id:int}", operation_id="get_channel", summary="One channel")
    async def get_one(
        self, request: ApiRequest, services: ServicesDependency, channel_id: ChannelInPath
    ) -> ChannelReply:
        """The channel of this id, without its secrets."""
        return channel_reply(await services.channels.get(request.user, _id(channel_id)))

    @put("/{channel_id:int}", operation_id="put_channel", summary="Replace a channel")
    async def replace(
        self, request: ApiRequest, services: ServicesDependency, channel_id: ChannelInPath
    ) -> ChannelReply:
        """Replaces the channel whole, except that a body without a secret keeps the one that is set. Its type cannot
        change, nor its name while rules or policies name it. Enabling a channel that Sextant disabled clears
        `disabled_reason`."""
        body = await json_body(request, _channel)
        config, secrets = config_and_secrets(body)
        with _secret_named(body):
            channel = await services.channels.replace(request.user, _id(channel_id), config, secrets)
        return channel_reply(channel)

    @delete("/{channel_id:int}", operation_id="delete_channel", summary="Delete a channel")
    async def remove(self, request: ApiRequest, services: ServicesDependency, channel_id: ChannelInPath) -> None:
        """Removes the channel, with what still waited to be sent through it; a conflict while rules or policies name
        it."""
        await services.channels.delete(request.user, _id(channel_id))

    @post("/{channel_id:int}/test", operation_id="test_channel", summary="Test a channel", status_code=200)
    async def test(self, request: ApiRequest, services: ServicesDependency, channel_id: ChannelInPath) -> Notification:
        """Sends a test message and waits some seconds for what becomes of it: `state` and `last_error` say. A
        conflict where the channel is disabled."""
        return await services.channels.test(request.user, _id(channel_id))


def _id(number: int) -> int:
    return existing_id("channel", number)


@contextmanager
def _secret_named(body: ChannelBody) -> Iterator[None]:
    """Refusals of `secret` name the field that the caller knows it by."""
    try:
        yield
    except InvalidInput as error:
        if error.field != "secret":
            raise
        raise InvalidInput(secret_field(body), error.reason) from None
