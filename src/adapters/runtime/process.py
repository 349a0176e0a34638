"""What a child process must arrange for itself before it starts its work.

Linux only: neither the parent-death signal nor ambient capabilities (prctl(2), capabilities(7)) are portable.
"""

import ctypes
import functools
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_SECUREBITS = 28
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
SECBIT_NO_SETUID_FIXUP = 1 << 2
CAP_DAC_READ_SEARCH = 2
CAPABILITY_VERSION_3 = 0x20080522


@dataclass(frozen=True)
class Account:
    """The user that a child of root runs as.

    With `read_search` it keeps one of root's rights, CAP_DAC_READ_SEARCH: to enter and read what the modes of
    files and directories forbid it. So nobody has to change those modes.
    """

    name: str
    uid: int
    gid: int
    read_search: bool = False


def die_with_parent(parent_pid: int, signal_number: signal.Signals = signal.SIGTERM) -> None:
    """Have the kernel send this process `signal_number` when its parent ends, however it ends.

    Call it in the child, after any change of user (which would cancel it), with the pid that the parent knows
    itself by. Exits at once if that parent has ended already. To Linux the parent is the thread that started
    the child, so start children from a thread that lives as long as they should. It outlasts exec, not fork.
    """
    _prctl(PR_SET_PDEATHSIG, signal_number)
    if os.getppid() != parent_pid:
        sys.exit("the parent process has ended already")


def name_process(name: str) -> None:
    """Give this process a name of at most 15 bytes for `ps` and `top`, which would show its interpreter's."""
    Path("/proc/self/comm").write_text(name)


def before_exec(signal_number: signal.Signals, account: Account | None = None) -> Callable[[], None]:
    """Return a `preexec_fn` for `subprocess`: become `account`, if any, then die with the calling process.

    What fails inside appears in the caller as `subprocess.SubprocessError`.
    """
    parent_pid = os.getpid()
    _libc()  # loaded here because dlopen is unsafe between fork and exec

    def prepare() -> None:
        if account is not None:
            _become(account)
        die_with_parent(parent_pid, signal_number)

    return prepare


class _CapabilityHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _CapabilitySets(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def _become(account: Account) -> None:
    if account.read_search:
        # Capabilities then outlast setuid, and access(2) heeds them: PostgreSQL asks it about itself.
        _prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP)
    os.setgroups([])
    os.setgid(account.gid)
    os.setuid(account.uid)
    if account.read_search:
        _keep_only(CAP_DAC_READ_SEARCH)


def _keep_only(capability: int) -> None:
    """Give up every capability but one, whose number is below 32, and let that one pass through exec."""
    header = _CapabilityHeader(CAPABILITY_VERSION_3, 0)
    bit = 1 << capability
    sets = (_CapabilitySets * 2)(_CapabilitySets(bit, bit, bit), _CapabilitySets(0, 0, 0))
    _checked(_libc().capset(ctypes.byref(header), sets))
    _prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability)


def _prctl(option: int, *arguments: int) -> None:
    padded = (*arguments, 0, 0, 0, 0)[:4]
    _checked(_libc().prctl(option, *map(ctypes.c_ulong, padded)))


def _checked(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
