"""This machine's metrics, through psutil, under the names that the field uses.

Gauges are named by their unit; counters end in ``_total`` and start again from zero when the machine does.
What the machine does not tell is absent, never zero.
"""

import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog

from core.domain.definitions import MetricDefinition, MetricType
from core.domain.points import Point
from core.domain.times import format_time

Reading = tuple[str, float, Mapping[str, str]]
"""Metric name, value, labels beside the agent's own."""

_UNITS: Final = {"bytes": "bytes", "seconds": "seconds"}
_PSEUDO_DISK: Final = re.compile(r"(loop|ram|zram|fd|sr)\d+\Z")
"""Devices without a medium of their own."""
_WITHIN_OTHERS: Final = frozenset({"guest", "guest_nice"})
"""Modes that Linux counts in `user` and `nice` already (proc(5))."""
_IDLE: Final = frozenset({"idle", "iowait"})
_VIRTUAL_INTERFACE: Final = re.compile(r"(lo\Z|veth|cali|ifb|dummy)")
"""Loopback, and interfaces that come and go with containers: each would leave a dead series behind."""

log = structlog.get_logger("sextant.agent")

COUNTERS: Final = {
    "host_cpu_seconds_total": "Processor time by mode, all cores together",
    "host_swap_in_bytes_total": "Bytes brought back from swap",
    "host_swap_out_bytes_total": "Bytes moved out to swap",
    "host_disk_read_bytes_total": "Bytes read by disk",
    "host_disk_written_bytes_total": "Bytes written by disk",
    "host_disk_reads_total": "Read operations by disk",
    "host_disk_writes_total": "Write operations by disk",
    "host_disk_busy_seconds_total": "Time with an operation in progress, by disk",
    "host_network_receive_bytes_total": "Bytes received by interface",
    "host_network_transmit_bytes_total": "Bytes sent by interface",
    "host_network_receive_packets_total": "Packets received by interface",
    "host_network_transmit_packets_total": "Packets sent by interface",
    "host_network_receive_errors_total": "Damaged packets received by interface",
    "host_network_transmit_errors_total": "Packets that could not be sent, by interface",
    "host_network_receive_drops_total": "Received packets dropped by interface",
    "host_network_transmit_drops_total": "Packets dropped before they were sent, by interface",
}


def counter_definitions() -> list[MetricDefinition]:
    """What the server should know of the agent's counters: their type, unit and meaning."""
    return [
        MetricDefinition(
            name=name,
            description=description,
            unit=_UNITS.get(name.split("_")[-2]),
            type=MetricType.COUNTER,
        )
        for name, description in COUNTERS.items()
    ]


class HostSampler:
    """Reads the machine; usage percentages cover the time since the previous `sample`. Not for concurrent use."""

    def __init__(self, labels: Mapping[str, str], *, per_cpu: bool = False) -> None:
        """`labels` go on every metric; `per_cpu` adds one usage percentage a core."""
        import psutil

        self._psutil = psutil
        self._labels = labels
        self._per_cpu = per_cpu
        self._silent: set[str] = set()
        self._cpu_before = self._cpu_times()
        self._cores_before = self._core_times()

    def sample(self, ts_us: int) -> list[Point]:
        """One point a metric, all at `ts_us` (microseconds since the Unix epoch)."""
        timestamp = format_time(ts_us)
        return [
            Point(name, float(value), msgspec.Raw(msgspec.json.encode({**self._labels, **labels})), timestamp)
            for group in self._groups()
            for name, value, labels in self._read(group)
        ]

    def _groups(self) -> tuple[Callable[[], Iterator[Reading]], ...]:
        return (
            self._cpu,
            self._cores,
            self._memory,
            self._swap,
            self._filesystems,
            self._disks,
            self._network,
            self._system,
        )

    def _read(self, group: Callable[[], Iterator[Reading]]) -> list[Reading]:
        """A group's readings; none where the machine does not tell them, which is logged once."""
        name = group.__name__.removeprefix("_")
        try:
            readings = list(group())
        except (OSError, self._psutil.Error, NotImplementedError, RuntimeError) as error:
            if name not in self._silent:
                log.warning("group_unreadable", group=name, reason=str(error) or type(error).__name__)
            self._silent.add(name)
            return []
        self._silent.discard(name)
        return readings

    def _cpu_times(self) -> Mapping[str, float]:
        times: Mapping[str, float] = self._psutil.cpu_times()._asdict()
        return times

    def _core_times(self) -> Sequence[Mapping[str, float]]:
        return [times._asdict() for times in self._psutil.cpu_times(percpu=True)] if self._per_cpu else []

    def _cpu(self) -> Iterator[Reading]:
        times, before = self._cpu_times(), self._cpu_before
        self._cpu_before = times
        shares = cpu_shares(before, times)
        if shares:
            yield "host_cpu_usage_percent", _busy(shares), {}
        for mode, percent in shares.items():
            yield "host_cpu_mode_percent", percent, {"mode": mode}
        for mode, seconds in times.items():
            if mode not in _WITHIN_OTHERS:
                yield "host_cpu_seconds_total", seconds, {"mode": mode}
        cores = self._psutil.cpu_count()
        if cores:
            yield "host_cpu_cores", cores, {}

    def _cores(self) -> Iterator[Reading]:
        cores, before = self._core_times(), self._cores_before
        self._cores_before = cores
        for core, (earlier, later) in enumerate(zip(before, cores, strict=False)):
            shares = cpu_shares(earlier, later)
            if shares:
                yield "host_cpu_core_usage_percent", _busy(shares), {"cpu": str(core)}

    def _memory(self) -> Iterator[Reading]:
        memory = self._psutil.virtual_memory()
        yield "host_memory_usage_percent", memory.percent, {}
        for kind in ("total", "used", "available", "free", "cached", "buffers"):
            if hasattr(memory, kind):
                yield f"host_memory_{kind}_bytes", getattr(memory, kind), {}

    def _swap(self) -> Iterator[Reading]:
        swap = self._psutil.swap_memory()
        yield "host_swap_total_bytes", swap.total, {}
        yield "host_swap_used_bytes", swap.used, {}
        if swap.total:
            yield "host_swap_usage_percent", swap.percent, {}
        yield "host_swap_in_bytes_total", swap.sin, {}
        yield "host_swap_out_bytes_total", swap.sout, {}

    def _filesystems(self) -> Iterator[Reading]:
        for device, mount, kind in self._mounts():
            usage = self._psutil.disk_usage(mount)
            labels = {"mount": mount, "device": device, "fstype": kind}
            yield "host_filesystem_size_bytes", usage.total, labels
            yield "host_filesystem_used_bytes", usage.used, labels
            yield "host_filesystem_available_bytes", usage.free, labels
            yield "host_filesystem_usage_percent", usage.percent, labels

    def _mounts(self) -> list[tuple[str, str, str]]:
        """Device, mount point and type of each local filesystem, once: bind mounts repeat a device, at longer paths."""
        found: dict[str, tuple[str, str, str]] = {}
        for part in sorted(self._psutil.disk_partitions(all=False), key=lambda part: len(part.mountpoint)):
            if part.fstype != "squashfs" and Path(part.mountpoint).is_dir():
                found.setdefault(part.device, (part.device, part.mountpoint, part.fstype))
        return list(found.values())

    def _disks(self) -> Iterator[Reading]:
        counters: Mapping[str, Any] = self._psutil.disk_io_counters(perdisk=True) or {}
        for device, io in counters.items():
            if _PSEUDO_DISK.match(device):
                continue
            labels = {"device": device}
            yield "host_disk_read_bytes_total", io.read_bytes, labels
            yield "host_disk_written_bytes_total", io.write_bytes, labels
            yield "host_disk_reads_total", io.read_count, labels
            yield "host_disk_writes_total", io.write_count, labels
            if hasattr(io, "busy_time"):
                yield "host_disk_busy_seconds_total", io.busy_time / 1_000, labels

    def _network(self) -> Iterator[Reading]:
        counters: Mapping[str, Any] = self._psutil.net_io_counters(pernic=True) or {}
        for interface, io in counters.items():
            if _VIRTUAL_INTERFACE.match(interface):
                continue
            labels = {"interface": interface}
            yield "host_network_receive_bytes_total", io.bytes_recv, labels
            yield "host_network_transmit_bytes_total", io.bytes_sent, labels
            yield "host_network_receive_packets_total", io.packets_recv, labels
            yield "host_network_transmit_packets_total", io.packets_sent, labels
            yield "host_network_receive_errors_total", io.errin, labels
            yield "host_network_transmit_errors_total", io.errout, labels
            yield "host_network_receive_drops_total", io.dropin, labels
            yield "host_network_transmit_drops_total", io.dropout, labels

    def _system(self) -> Iterator[Reading]:
        for minutes, load in zip((1, 5, 15), os.getloadavg(), strict=True):
            yield f"host_load{minutes}", load, {}
        yield "host_uptime_seconds", time.time() - self._psutil.boot_time(), {}
        yield "host_processes", len(self._psutil.pids()), {}


def cpu_shares(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """Percent of the processor time between two readings by mode, 100 together; nothing where no time has
    passed.

    psutil's own percentages are wrong for short intervals (it takes less than a second of processor time
    for one) and kept by thread, so they are reckoned here.
    """
    spent = {mode: max(0.0, after[mode] - before.get(mode, 0.0)) for mode in after if mode not in _WITHIN_OTHERS}
    total = sum(spent.values())
    return {mode: round(100.0 * seconds / total, 3) for mode, seconds in spent.items()} if total > 0 else {}


def _busy(shares: Mapping[str, float]) -> float:
    return round(sum(percent for mode, percent in shares.items() if mode not in _IDLE), 3)
