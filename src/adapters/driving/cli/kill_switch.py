"""`sextant remediations kill-switch`: stops every action that has not begun."""

from typing import Annotated, Final, Literal

import msgspec
from cyclopts import Parameter

from adapters.driving.cli.api import HERE, Api, Server, UsageError, with_api
from adapters.driving.cli.database import Json
from adapters.driving.cli.display import moment_text, present, write_line
from adapters.driving.cli.output import write_json
from core.domain.remediation import KillSwitch

PATH: Final = "/api/v1/remediation/kill-switch"


class KillSwitches(msgspec.Struct, frozen=True, kw_only=True):
    """Both switches, and whether either is engaged."""

    engaged: bool
    tenant: KillSwitch
    server: KillSwitch


def kill_switch(
    turn: Annotated[
        Literal["show", "on", "off"], Parameter(name="TURN", help="on stops actions, off lets them go on.")
    ] = "show",
    /,
    *,
    reason: Annotated[str | None, Parameter(help="Why, for whoever finds it on; needed for on and off.")] = None,
    whole_server: Annotated[
        bool, Parameter(negative="", help="Of all tenants at once; needs an operator's key.")
    ] = False,
    server: Server = HERE,
    json: Json = False,
) -> int:
    """Stop every action of remediations that has not begun, at once, or let them
    go on; what was done is still rolled back where its policy says so.

    For example:

        sextant remediations kill-switch
        sextant remediations kill-switch on --reason "deploying by hand"
        sextant remediations kill-switch off --reason "deployed"
    """

    async def work(api: Api) -> None:
        if turn == "show":
            switches = await api.get(PATH, KillSwitches)
        else:
            if not reason:
                raise UsageError("give a --reason, for whoever finds it so")
            body = {"engaged": turn == "on", "reason": reason, "whole_server": whole_server}
            switches = await api.send("PUT", PATH, KillSwitches, body)
        if json:
            write_json(switches)
        else:
            _write_switches(switches)

    return with_api(server, work)


def _write_switches(switches: KillSwitches) -> None:
    now = present()
    for name, switch in ((f"tenant {switches.tenant.tenant}", switches.tenant), ("whole server", switches.server)):
        line = f"{name}: {'ON, actions are stopped' if switch.engaged else 'off'}"
        if switch.changed_at is not None:
            line += f", since {moment_text(switch.changed_at, now)}, by {switch.by}: {switch.reason}"
        write_line(line, style="bold red" if switch.engaged else "")
