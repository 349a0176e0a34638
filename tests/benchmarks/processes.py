"""Processor time and memory of whole process trees, read from /proc. Linux only."""

import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

LISTENING = "0A"  # the state in /proc/net/tcp
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Process:
    """A live process: CPU time of its own and of its reaped children, and the most memory it ever held."""

    pid: int
    name: str
    """What it calls itself, at most 15 characters."""
    command: str
    own_cpu_s: float
    reaped_cpu_s: float
    peak_rss_bytes: int


@dataclass(frozen=True)
class Usage:
    """A process and all its live descendants at one moment."""

    processes: tuple[Process, ...]

    @property
    def cpu_s(self) -> float:
        """Processor time of the tree since it began, children that ended and were reaped included."""
        return sum(process.own_cpu_s + process.reaped_cpu_s for process in self.processes)

    @property
    def peak_rss_bytes(self) -> int:
        """The processes' peaks added up: an upper bound of what they held at once."""
        return sum(process.peak_rss_bytes for process in self.processes)

    def own_cpu_s(self, pids: Collection[int]) -> float:
        """Processor time that these of the processes have spent themselves."""
        return sum(process.own_cpu_s for process in self.processes if process.pid in pids)


def usage_of(root_pid: int) -> Usage:
    """Read the tree below `root_pid`; processes that end meanwhile are left out."""
    parents = {pid: parent for pid in _all_pids() if (parent := parent_of(pid)) is not None}
    wanted, waiting = [], [root_pid]
    while waiting:
        pid = waiting.pop()
        wanted.append(pid)
        waiting += [child for child, parent in parents.items() if parent == pid]
    return Usage(tuple(process for pid in wanted if (process := _read(pid)) is not None))


def listeners(pids: Collection[int], port: int) -> frozenset[int]:
    """Return those of the processes that hold a socket listening on an IPv4 port."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    sockets = {f"socket:[{row[9]}]" for row in rows if row[3] == LISTENING and row[1].endswith(f":{port:04X}")}
    return frozenset(pid for pid in pids if any(_link(path) in sockets for path in Path(f"/proc/{pid}/fd").iterdir()))


def _link(path: Path) -> str | None:
    try:
        return os.readlink(path)
    except FileNotFoundError:  # closed meanwhile
        return None


def parent_of(pid: int) -> int | None:
    """Return the parent of a process, or None where it has ended."""
    fields = _stat(pid)
    return None if fields is None else int(fields[1])


def _all_pids() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()]


def _stat(pid: int) -> list[str] | None:
    """Return the fields of /proc/<pid>/stat after the name, which may hold blanks and brackets itself."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def _read(pid: int) -> Process | None:
    fields = _stat(pid)
    if fields is None:
        return None
    user, system, reaped_user, reaped_system = (int(ticks) / TICKS_PER_S for ticks in fields[11:15])
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        status = Path(f"/proc/{pid}/status").read_text()
        name = Path(f"/proc/{pid}/comm").read_text().rstrip("\n")
    except (FileNotFoundError, ProcessLookupError):
        return None
    peak_kib = next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")), 0)
    command = b" ".join(words).decode(errors="replace").strip()
    return Process(pid, name, command, user + system, reaped_user + reaped_system, peak_kib * 1024)
