"""Command actions with real programs."""

import asyncio
import contextlib
import json
import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from adapters.driven.actions import program
from adapters.driven.actions.command import CommandRunner
from core.domain.actions import CommandAction
from ports.driven.action_runner import ActionError, ActionOutcome
from tests.support.action_alert import HOSTILE, an_alert, unheard

Script = Callable[[str], CommandRunner]


@pytest.fixture
def script(tmp_path: Path) -> Script:
    """Makes a runner whose command ``it`` is a Python program."""

    def make(source: str) -> CommandRunner:
        path = tmp_path / "it"
        path.write_text(f"#!{sys.executable} -IS\nimport json, os, signal, sys, time\n{source}")
        path.chmod(0o700)
        return CommandRunner({"it": path})

    return make


async def run(
    runner: CommandRunner, *arguments: str, labels: dict[str, str] | None = None, timeout_s: float = 20.0
) -> ActionOutcome:
    return await runner.run(
        CommandAction(command="it", arguments=arguments),
        an_alert(labels),
        {"token": "a-secret"},
        key="order-9/0",
        timeout_s=timeout_s,
        heartbeat=unheard,
    )


async def appears(path: Path) -> str:
    """What is in a file, once it is complete with a line end."""
    async with asyncio.timeout(20):
        while not (text := content(path)).endswith("\n"):  # noqa: ASYNC110 (another process writes it)
            await asyncio.sleep(0.005)
    return text.strip()


def content(path: Path) -> str:
    return path.read_text() if path.exists() else ""


async def ends(pid: int) -> None:
    """Returns once there is no such process, or only its remains."""
    async with asyncio.timeout(20):
        while is_running(pid):  # noqa: ASYNC110 (another process ends)
            await asyncio.sleep(0.005)


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def pids_naming(text: str) -> list[int]:
    """The processes that have `text` in their command line."""
    found = []
    for directory in Path("/proc").iterdir():
        if directory.name.isdecimal():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                if text in (directory / "cmdline").read_text():
                    found.append(int(directory.name))
    return found


async def test_a_program_gets_arguments_and_a_small_environment(
    script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One argument each; of the worker's environment only PATH; no secret, no input, a directory that is nobody's."""
    monkeypatch.setenv("SEXTANT_DATABASE_URL", "postgresql://sextant:password@db/x")
    runner = script(
        "print(json.dumps({'argv': sys.argv[1:], 'env': dict(os.environ), 'cwd': os.getcwd(),"
        " 'input': sys.stdin.read(), 'group': os.getpgid(0) == os.getpid()}))"
    )
    outcome = await run(runner, "restart", "{{ labels.host }}", "--load={{ value }}")
    said = json.loads(outcome.details["stdout"])
    assert said["argv"] == ["restart", "web-1", "--load=92.5"]
    assert said["env"].pop("LC_CTYPE", None) is None
    assert said["env"] == {
        "PATH": os.environ["PATH"],
        "LANG": "C.UTF-8",
        "SEXTANT_ALERT_ID": "42",
        "SEXTANT_RULE": "checkout is slow",
        "SEXTANT_METRIC": "http_request_duration_seconds",
        "SEXTANT_IDEMPOTENCY_KEY": "order-9/0",
    }
    assert (said["cwd"], said["input"], said["group"]) == ("/", "", True)
    assert outcome.changed
    assert outcome.summary == "the command 'it' succeeded"


@pytest.mark.parametrize("label", HOSTILE)
async def test_hostile_labels_are_one_argument(script: Script, label: str) -> None:
    """No shell, no option, no second argument: exactly the value, or nothing is run."""
    runner = script("print(json.dumps(sys.argv[1:]))")
    value = HOSTILE[label]
    attempt = run(runner, "{{ labels.bad }}", "x={{ labels.bad }}", labels={"bad": value})
    if label in ("dash", "nul"):
        with pytest.raises(ActionError, match="once filled in") as failure:
            await attempt
        assert not failure.value.retryable
    else:
        assert json.loads((await attempt).details["stdout"]) == [value, f"x={value}"]


async def test_a_dash_of_the_template_is_an_option(script: Script) -> None:
    """Which whoever wrote the policy meant."""
    outcome = await run(script("print(sys.argv[1:])"), "--host={{ labels.host }}", "-n{{ value | int }}", "-x")
    assert outcome.details["stdout"] == "['--host=web-1', '-n92', '-x']\n"


async def test_a_preview_shows_the_argument_list(script: Script, tmp_path: Path) -> None:
    """And runs nothing."""
    runner = script(f"open({str(tmp_path / 'ran')!r}, 'w')")
    action = CommandAction(command="it", arguments=("{{ labels.bad }}", "--x={{ value }}"))
    outcome = await runner.preview(action, an_alert({"bad": "$(reboot) 'x"}), {})
    assert shlex.split(outcome.details["argv"]) == [str(tmp_path / "it"), "$(reboot) 'x", "--x=92.5"]
    assert not outcome.changed
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(("status", "retryable"), [(1, False), (75, True), (127, False)])
async def test_exit_statuses_say_whether_to_repeat(script: Script, status: int, retryable: bool) -> None:
    """75 is EX_TEMPFAIL; the end of standard error is in the reason."""
    runner = script(f"print('fine so far'); print('no such \\x1b[31mhost', file=sys.stderr); sys.exit({status})")
    with pytest.raises(ActionError) as failure:
        await run(runner)
    assert failure.value.reason == f"the command 'it' ended with status {status}: no such �[31mhost"
    assert failure.value.retryable is retryable


async def test_a_program_that_is_killed_has_failed(script: Script) -> None:
    """The signal is named."""
    with pytest.raises(ActionError, match="killed by signal 9") as failure:
        await run(script("os.kill(os.getpid(), signal.SIGKILL)"))
    assert not failure.value.retryable


async def test_only_listed_programs_run(script: Script) -> None:
    """Whatever name or path a policy gives."""
    runner = script("")
    for name in ("other", "/bin/sh", "../it", "IT"):
        action = CommandAction(command=name)
        with pytest.raises(ActionError, match="SEXTANT_WORKER_COMMANDS") as failure:
            await runner.run(action, an_alert(), {}, key="k", timeout_s=5, heartbeat=unheard)
        assert not failure.value.retryable
        with pytest.raises(ActionError, match="SEXTANT_WORKER_COMMANDS"):
            await runner.preview(action, an_alert(), {})


@pytest.mark.parametrize("kind", ["missing", "not executable", "no program", "directory"])
async def test_a_program_that_cannot_be_started(tmp_path: Path, kind: str) -> None:
    """Is the operator's to mend; where it would be is not said."""
    path = tmp_path / "it"
    if kind == "directory":
        path.mkdir()
    elif kind != "missing":
        path.write_text("no program")
        path.chmod(0o700 if kind == "no program" else 0o600)
    runner = CommandRunner({"it": path})
    with pytest.raises(ActionError, match="cannot be started") as failure:
        await run(runner)
    assert not failure.value.retryable
    assert str(tmp_path) not in failure.value.reason
    if kind != "no program":
        with pytest.raises(ActionError, match="is not a program on this worker"):
            await runner.preview(CommandAction(command="it"), an_alert(), {})


async def test_arguments_that_are_too_long_are_no_crash(script: Script) -> None:
    """Linux limits one argument to 128 KiB."""
    with pytest.raises(ActionError, match="cannot be started: Argument list too long") as failure:
        await run(script(""), "{{ labels.long }}" * 100, labels={"long": "x" * 2_000})
    assert not failure.value.retryable


async def test_a_flood_of_output_is_drained_and_its_end_kept(script: Script) -> None:
    """The program is not held up, and the audit trail gets the last of it."""
    runner = script(
        "for _ in range(300): os.write(1, b'x' * 65536); os.write(2, b'y' * 65536)\n"
        "print('done'); print('\\udcff end', file=sys.stderr)".replace("\\udcff", "ÿ")
    )
    outcome = await run(runner)
    assert outcome.details["stdout"].endswith("xxxdone\n")
    assert outcome.details["stderr"].endswith("yyyÿ end\n")
    assert len(outcome.details["stdout"]) == program.OUTPUT_BYTES_MAX


async def test_output_that_is_no_text_is_shown_all_the_same(script: Script) -> None:
    """Replaced where it cannot be."""
    outcome = await run(script("os.write(1, b'\\xff\\x00ok')"))
    assert outcome.details["stdout"] == "\ufffd\ufffdok"


STUBBORN = """
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = os.fork()
if child == 0:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    grandchild = os.fork()
    if grandchild == 0:
        while True: time.sleep(60)
    with open(sys.argv[1], "w") as file: file.write(f"{os.getppid()} {os.getpid()} {grandchild}\\n")
while True: time.sleep(60)
"""


@pytest.mark.parametrize("how", ["cancelled", "cancelled twice"])
async def test_a_group_that_ignores_sigterm_is_killed(
    script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """The program, its child and its grandchild end; who cancels again need not wait for it."""
    monkeypatch.setattr(program, "TERM_S", 30.0 if how == "cancelled twice" else 0.05)
    running = asyncio.create_task(run(script(STUBBORN), str(tmp_path / "pids"), timeout_s=60.0))
    pids = [int(pid) for pid in (await appears(tmp_path / "pids")).split()]
    assert all(is_running(pid) for pid in pids)
    running.cancel()
    if how == "cancelled twice":
        await asyncio.sleep(0)
        running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    for pid in pids:
        await ends(pid)


async def test_a_time_out_ends_the_program(script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However far it has come by then; the same may succeed later."""
    monkeypatch.setattr(program, "TERM_S", 0.05)
    runner = script(STUBBORN)
    with pytest.raises(ActionError, match=r"within 0\.09 s") as failure:
        await run(runner, str(tmp_path / "pids"), timeout_s=0.09)
    assert failure.value.retryable
    for pid in pids_naming(str(tmp_path)):
        await ends(pid)


async def test_a_program_may_clean_up(script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGTERM comes first."""
    monkeypatch.setattr(program, "TERM_S", 30.0)
    runner = script(
        "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})\n"
        "open(sys.argv[1], 'w').write('ready\\n')\n"
        "signal.sigwait({signal.SIGTERM})\n"
        "open(sys.argv[2], 'w').write('cleaned\\n')"
    )
    running = asyncio.create_task(run(runner, str(tmp_path / "ready"), str(tmp_path / "cleaned")))
    await appears(tmp_path / "ready")
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert (tmp_path / "cleaned").read_text() == "cleaned\n"


async def test_what_a_program_leaves_behind_on_success_is_not_waited_for(script: Script, tmp_path: Path) -> None:
    """A restart script's server holds its output open for ever, and goes on running."""
    runner = script(
        "if (pid := os.fork()) == 0: time.sleep(60)\nopen(sys.argv[1], 'w').write(f'{pid}\\n'); print('started')"
    )
    outcome = await run(runner, str(tmp_path / "pid"))
    assert outcome.details["stdout"] == "started\n"
    pid = int(await appears(tmp_path / "pid"))
    assert is_running(pid)
    os.kill(pid, 9)


async def test_a_running_program_gives_signs_of_life(
    script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each second; here time is shortened."""
    monkeypatch.setattr("adapters.driven.actions.running.BEAT_S", 0.01)
    go = tmp_path / "go"
    runner = script(f"while not os.path.exists({str(go)!r}): time.sleep(0.005)")
    beats: list[int] = []

    def beat() -> None:
        beats.append(1)
        if len(beats) == 5:
            go.touch()

    await runner.run(CommandAction(command="it"), an_alert(), {}, key="k", timeout_s=60, heartbeat=beat)
    assert len(beats) >= 5


def test_a_target_is_the_command_with_its_arguments(script: Script) -> None:
    """The same whatever was measured."""
    action = CommandAction(command="it", arguments=("{{ labels.host }}", "--load={{ value }}"))
    runner = script("")
    assert runner.target(action, an_alert()) == "command:it web-1 --load=1.0"
    assert runner.target(action, an_alert(value=3.0)) == runner.target(action, an_alert())
