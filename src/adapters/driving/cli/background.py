"""Background work as a command or as a child process of `sextant serve`: until SIGTERM or SIGINT."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from typing import Final

from adapters.driving.cli.program import Program
from adapters.runtime.settings import Settings

Child = Callable[[Program, Settings, int], None]
"""Works in a process of its own, whose parent has that id."""
Work = Callable[[Settings, asyncio.Event], Awaitable[None]]
"""Works until the event is set."""
ALERTS_NICENESS: Final = 5
"""Where all processors are busy a request is answered first: evaluation takes a third of what others get, and what it
takes later it takes in larger rounds, which cost less."""
COLLECTION_NICENESS: Final = 5
"""What vendors were asked for can wait for what agents send."""
DETECTION_NICENESS: Final = 10
"""Detection computes for seconds at a time and nobody waits for it: alerts by rules go before it, too."""


def keep_in_child(program: Program, settings: Settings, parent_pid: int) -> None:
    """The keeper's process."""
    _in_child("keeper", program.keep, settings, parent_pid)


def alert_in_child(program: Program, settings: Settings, parent_pid: int) -> None:
    """The process that evaluates rules and tells people."""
    os.nice(ALERTS_NICENESS)
    _in_child("alerts", program.alerts, settings, parent_pid)


def detect_in_child(program: Program, settings: Settings, parent_pid: int) -> None:
    """The process that runs scheduled detection and makes incidents."""
    os.nice(DETECTION_NICENESS)
    _in_child("detect", program.detect, settings, parent_pid)


def collect_in_child(program: Program, settings: Settings, parent_pid: int) -> None:
    """The process that collects from metric sources."""
    os.nice(COLLECTION_NICENESS)
    _in_child("collect", program.collect, settings, parent_pid)


def shared_work(settings: Settings) -> dict[str, Child]:
    """The processes of work that several servers share: those that are switched on. Detection computes for seconds
    at a time, so that whatever were in its process would wait."""
    children: dict[str, Child] = {}
    if settings.detection.enabled:
        children["detection"] = detect_in_child
    if settings.collection.enabled:
        children["collector"] = collect_in_child
    return children


def work_in_child(program: Program, settings: Settings, parent_pid: int) -> None:
    """The process that runs remediation."""
    _in_child("worker", program.work, settings, parent_pid)


async def until_signal(work: Work, settings: Settings) -> None:
    """Works until the first SIGTERM or SIGINT; a second one ends the process."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stop_soon() -> None:
        stop.set()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop_soon)
    await work(settings, stop)


def _in_child(name: str, work: Work, settings: Settings, parent_pid: int) -> None:
    from adapters.driving.cli.workers import forget_dead_processes
    from adapters.runtime.logging import configure_logging
    from adapters.runtime.process import name_process
    from adapters.runtime.supervision import become_child

    become_child(parent_pid)
    name_process(f"sextant {name}")
    configure_logging(settings.log)
    forget_dead_processes()
    asyncio.run(until_signal(work, settings))
