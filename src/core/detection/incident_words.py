"""Plain English for what happened to hosts and services: counts, times, metrics and their readings."""

import re
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from core.domain.times import DAY_US, EPOCH, HOUR_US, MINUTE_US, SECOND_US

QUOTED_CHARS_MAX: Final = 80
"""Of a message in a sentence; the whole is a reference away."""
NAMES_MAX: Final = 3
"""Named in one sentence; more are counted."""

_WORD = re.compile(r"[A-Za-z]+", re.ASCII)
_RESOURCES: Final = {"cpu": "CPU", "memory": "memory", "mem": "memory", "disk": "disk", "filesystem": "disk"}
_MORE_RESOURCES: Final = frozenset(
    {"swap", "heap", "load", "storage", "pool", "threads", "fds", "descriptors", "inodes"}
)
_PLAIN: Final = frozenset({"usage", "used", "utilization", "utilisation", "pod", "container", "node", "host", "system"})
"""Words that a resource's name may have, beside a unit's, and still be called by its resource alone."""
_PERCENT: Final = frozenset({"percent", "pct", "percentage"})
_UNITS: Final = {
    **dict.fromkeys(("seconds", "s"), " s"),
    **dict.fromkeys(("milliseconds", "ms"), " ms"),
    **dict.fromkeys(("kibibytes", "kib"), " KiB"),
    **dict.fromkeys(("mebibytes", "mib"), " MiB"),
    **dict.fromkeys(("gibibytes", "gib"), " GiB"),
    **{unit: f" {unit}" for unit in ("kb", "mb", "gb", "millicores", "cores", "celsius")},
}
_NO_PERCENT: Final = frozenset({*_UNITS, "bytes", "total", "count", "ratio", "load", "per"})
_BYTES: Final = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB")


def words_of(metric: str) -> frozenset[str]:
    """The words that a metric's name is made of, in lower case."""
    return frozenset(word.lower() for word in _WORD.findall(metric.replace("_", " ")))


def is_resource(metric: str) -> bool:
    """Whether the name says that it is something that runs short: processor, memory, disk and the like."""
    return bool(words_of(metric) & (_RESOURCES.keys() | _MORE_RESOURCES))


def spoken(metric: str) -> str:
    """What people call it: ``CPU`` for ``cpu_usage_percent``; the name itself where it says more than that."""
    words = words_of(metric)
    named = {_RESOURCES[word] for word in words if word in _RESOURCES}
    plain = words <= _RESOURCES.keys() | _PLAIN | _PERCENT | _UNITS.keys() | {"bytes"}
    return named.pop() if len(named) == 1 and plain else metric


def reading(metric: str, value: float) -> str:
    """The value as people write it: ``87.61%``, ``1.5 GiB``. A unit stands only where the name says it; percent also
    where the name is that of a processor, memory or disk alone and the value can be one."""
    words = words_of(metric)
    likely = bool(words & _RESOURCES.keys()) and not words & _NO_PERCENT and 0.0 <= value <= 100.0
    if words & _PERCENT or likely:
        return f"{value:.2f}".rstrip("0").rstrip(".") + "%"
    if "per" in words:
        return _number(value)
    if "bytes" in words:
        power = 0
        while abs(value) >= 1_024 and power < len(_BYTES) - 1:
            value, power = value / 1_024, power + 1
        return f"{_number(value)} {_BYTES[power]}"
    return _number(value) + next((_UNITS[word] for word in sorted(words & _UNITS.keys())), "")


def counted(count: int, noun: str) -> str:
    """``1 error``, ``13 errors``, ``4,213 errors``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def listed(names: Sequence[str], most: int = NAMES_MAX) -> str:
    """``a``, ``a and b``, ``a, b and c``, ``a, b, c and 4 more``."""
    if len(names) > most:
        return f"{', '.join(names[:most])} and {len(names) - most:,} more"
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def quoted(text: str) -> str:
    """The text in quotation marks, on one line, cut where it is long, and without a stop that would end a sentence."""
    line = " ".join(text.split()).rstrip(".")
    return f"“{line}”" if len(line) <= QUOTED_CHARS_MAX else f"“{line[: QUOTED_CHARS_MAX - 1].rstrip()}…”"


def moment(at_us: int) -> str:
    """``2025-12-13 04:10 UTC``."""
    return f"{EPOCH + timedelta(microseconds=at_us):%Y-%m-%d %H:%M} UTC"


def period(start_us: int, end_us: int) -> str:
    """``2025-12-13 04:10 to 05:40 UTC``; with both days where it ends on another."""
    start, end = moment(start_us), moment(end_us)
    return f"{start.removesuffix(' UTC')} to {end.removeprefix(start[:11])}"


def lasting(duration_us: int) -> str:
    """``40 seconds``, ``3 minutes``, ``2 hours``, ``5 days``: rounded to what anybody would say."""
    for unit_us, noun in ((DAY_US, "day"), (HOUR_US, "hour"), (MINUTE_US, "minute")):
        if duration_us >= 2 * unit_us or duration_us == unit_us:
            return counted(round(duration_us / unit_us), noun)
    return counted(max(1, round(duration_us / SECOND_US)), "second")


def _number(value: float) -> str:
    return f"{value:,.0f}" if 10_000 <= abs(value) < 1e15 else f"{value:.4g}"
