"""The routes of the kill switch."""

from collections.abc import Sequence
from typing import Annotated, Final

import msgspec
from litestar import Controller, get, put
from msgspec import Meta

from adapters.driving.http.guards import ApiRequest, ServicesDependency, authenticated, json_body
from adapters.driving.http.policies import TAG
from core.domain.alerts import REASON_CHARS_MAX
from core.domain.remediation import KillSwitch

PATH: Final = "/api/v1/remediation/kill-switch"


class KillSwitchBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to set the switch to, and why."""

    engaged: bool
    reason: Annotated[str, Meta(min_length=1, max_length=REASON_CHARS_MAX, pattern="^[^\x00]*$")]
    whole_server: bool = False
    """All tenants' at once, which only an operator may."""


class KillSwitchReply(msgspec.Struct, frozen=True, kw_only=True):
    """Both switches that concern the tenant."""

    engaged: bool
    """Whether new actions are stopped, by either."""
    tenant: KillSwitch
    server: KillSwitch


_body = msgspec.json.Decoder(KillSwitchBody)


class KillSwitchController(Controller):
    """Reading needs scope ``remediate``, ``alerts`` or ``query``, setting it ``remediate``."""

    path = PATH
    tags: Sequence[str] = [TAG]  # Litestar declares it as an instance's
    guards = [authenticated]  # noqa: RUF012  # the same

    @get("/", operation_id="get_kill_switch", summary="Kill switch")
    async def show(self, request: ApiRequest, services: ServicesDependency) -> KillSwitchReply:
        """Whether remediation's actions are stopped, for the tenant or the whole server, by whom and why."""
        return _reply(await services.remediations.kill_switches(request.user))

    @put("/", operation_id="put_kill_switch", summary="Stop or allow actions")
    async def change(self, request: ApiRequest, services: ServicesDependency) -> KillSwitchReply:
        """Engaged, it stops every action that has not begun; rolling back what was done is never stopped. In force when
        this answers. `whole_server` needs an operator's key."""
        body = await json_body(request, _body)
        switches = await services.remediations.set_kill_switch(
            request.user, whole_server=body.whole_server, engaged=body.engaged, reason=body.reason
        )
        return _reply(switches)


def _reply(switches: Sequence[KillSwitch]) -> KillSwitchReply:
    [server] = [switch for switch in switches if switch.tenant is None]
    [tenant] = [switch for switch in switches if switch.tenant is not None]
    return KillSwitchReply(engaged=server.engaged or tenant.engaged, tenant=tenant, server=server)
