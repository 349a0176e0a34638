"""Running a program of the worker's allow-list, without a shell."""

import errno
import os
import shlex
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from adapters.driven.actions.program import run_program
from adapters.driven.actions.running import beating, limited, refusing
from adapters.driven.actions.shown import shown, target_name
from core.domain.action_text import alert_values, argument_text, target_values
from core.domain.actions import Action, CommandAction
from core.domain.alerts import Alert
from ports.driven.action_runner import ActionError, ActionOutcome

ARGUMENTS_SHOWN_CHARS_MAX: Final = 4_000
OUTPUT_CHARS_MAX: Final = 4_000
REASON_CHARS_MAX: Final = 300
EX_TEMPFAIL: Final = 75
"""``sysexits.h``: try again later."""
PATH_DEFAULT: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PASSING: Final = frozenset({errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ETXTBSY})
"""What keeps a program from starting only for now."""


class CommandRunner:
    """Runs `CommandAction`s: programs by the names that the worker gives them."""

    def __init__(self, commands: Mapping[str, Path], *, environ: Mapping[str, str] | None = None) -> None:
        """`environ` is where PATH comes from; nothing else of it is passed on."""
        self._commands = commands
        self._path = (os.environ if environ is None else environ).get("PATH", PATH_DEFAULT)

    def target(self, action: Action, alert: Alert) -> str:
        """The command with its arguments."""
        assert isinstance(action, CommandAction)
        return target_name("command:" + shlex.join([action.command, *_arguments(action, target_values(alert))]))

    async def preview(self, action: Action, alert: Alert, secrets: Mapping[str, str]) -> ActionOutcome:  # noqa: ARG002 (programs get none)
        """The argument list; fails where the program is not there."""
        argv = self._argv(action, alert)
        if shutil.which(argv[0]) is None:
            raise ActionError(f"{_name(action)} is not a program on this worker", retryable=False)
        return ActionOutcome(summary=f"would run {_name(action)}", changed=False, details={"argv": _shown_argv(argv)})

    async def run(
        self,
        action: Action,
        alert: Alert,
        secrets: Mapping[str, str],  # noqa: ARG002 (programs get none)
        *,
        key: str,
        timeout_s: float,
        heartbeat: Callable[[], None],
    ) -> ActionOutcome:
        """Runs it to its end: status 0 is success, 75 (EX_TEMPFAIL) is worth repeating."""
        argv = self._argv(action, alert)
        environment = {
            "PATH": self._path,
            "LANG": "C.UTF-8",
            "SEXTANT_ALERT_ID": str(alert.id),
            "SEXTANT_RULE": alert.rule,
            "SEXTANT_METRIC": alert.metric,
            "SEXTANT_IDEMPOTENCY_KEY": key,
        }
        try:
            async with beating(heartbeat), limited(timeout_s):
                ended = await run_program(argv, environment)
        except OSError as error:
            said = "it is no program" if error.errno is None else os.strerror(error.errno)
            raise ActionError(f"{_name(action)} cannot be started: {said}", retryable=error.errno in _PASSING) from None
        stdout, stderr = (shown(text, chars_max=OUTPUT_CHARS_MAX) for text in (ended.stdout, ended.stderr))
        if ended.status == 0:
            details = {"argv": _shown_argv(argv), "stdout": stdout, "stderr": stderr}
            return ActionOutcome(summary=f"{_name(action)} succeeded", changed=True, details=details)
        how = f"ended with status {ended.status}" if ended.status > 0 else f"was killed by signal {-ended.status}"
        said = (stderr or stdout).strip()[-REASON_CHARS_MAX:]
        raise ActionError(
            f"{_name(action)} {how}" + (f": {said}" if said else ""), retryable=ended.status == EX_TEMPFAIL
        )

    def _argv(self, action: Action, alert: Alert) -> list[str]:
        assert isinstance(action, CommandAction)
        program = self._commands.get(action.command)
        if program is None:
            raise ActionError(
                f"this worker has no command named {action.command!r}; its operator can list it in "
                "SEXTANT_WORKER_COMMANDS",
                retryable=False,
            )
        return [str(program), *_arguments(action, alert_values(alert))]


def _name(action: Action) -> str:
    assert isinstance(action, CommandAction)
    return f"the command {action.command!r}"


def _arguments(action: CommandAction, values: Mapping[str, object]) -> list[str]:
    with refusing():
        return [
            argument_text(f"arguments[{index}]", template, values) for index, template in enumerate(action.arguments)
        ]


def _shown_argv(argv: list[str]) -> str:
    return shown(shlex.join(argv), chars_max=ARGUMENTS_SHOWN_CHARS_MAX)
