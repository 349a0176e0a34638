"""What the demo says first: where everything is, and what to type."""

import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from adapters.driving.cli.client import Target
from adapters.driving.cli.demo_feed import METRIC
from adapters.driving.cli.target import KEY_FILE
from core.domain.times import DAY_US, format_time


class Query(msgspec.Struct, frozen=True):
    """A question that the demo shows."""

    title: str
    path: str
    parameters: tuple[tuple[str, str], ...] = ()

    def curl(self, target: Target) -> str:
        """The command line that asks it."""
        words = ["curl", "-sS", "-H", f"Authorization: Bearer {target.key}"]
        if self.parameters:
            words.append("--get")
        for name, value in self.parameters:
            words += ["--data-urlencode", f"{name}={value}"]
        return shlex.join([*words, target.url + self.path])


INCIDENTS: Final = Query(
    "What happened to the simulated hosts, in words (in some seconds)",
    "/api/v1/incidents",
    (("synthetic", "true"), ("limit", "3")),
)


def queries(now_us: int) -> list[Query]:
    """Those that the demo has answered before it shows them."""
    two_weeks_ago = format_time(now_us - 14 * DAY_US)
    return [
        Query("Processor use of this machine, newest sample", "/api/v1/metrics/latest/host_cpu_usage_percent"),
        Query(
            "Where its processor time goes, in steps of 10 s",
            "/api/v1/metrics/series/host_cpu_mode_percent",
            (("bucket", "10s"), ("group_by", "mode"), ("label", "mode=~user|system|idle")),
        ),
        Query(
            "Two weeks of a cloud machine, statistics",
            f"/api/v1/metrics/aggregate/{METRIC}",
            (("start", two_weeks_ago), ("group_by", "instance")),
        ),
    ]


def introduction(target: Target, data_dir: Path, answered: Sequence[Query]) -> str:
    """The whole text."""
    asked = "\n\n".join(f"  # {query.title}\n  {query.curl(target)}" for query in [*answered, INCIDENTS])
    return f"""
Sextant is running with live data of this machine and two weeks of a cloud machine's.

  URL      {target.url}   (API documentation: {target.url}/docs)
  API key  {target.key}
  Data     {data_dir}

Try:

{asked}

  # After this, `sextant` commands in another terminal ask this server; here a made-up cluster that drifts
  {_export(target, data_dir)}
  sextant collect synthetic && sextant telemetry golden demo && sextant drift find demo

Watch: the cloud machine gets busy now. An alert fires, and its remediation says in a dry run what it would do.
Beside it two hosts are simulated, one of which is ill: detection finds out how, and an incident tells it in words.
{target.url}/api/v1/alerts, /api/v1/remediations and /api/v1/incidents have the whole story. Ctrl-C stops it.
"""


def _export(target: Target, data_dir: Path) -> str:
    """What a shell must know for commands to find this program and this server."""
    words = ["export"]
    program = Path(sys.executable).with_name("sextant")
    if program.exists() and shutil.which("sextant") != str(program):
        words.append(f'PATH={shlex.quote(str(program.parent))}:"$PATH"')
    key_file = shlex.quote(str(data_dir / KEY_FILE))
    return " ".join([*words, f"SEXTANT_AGENT_URL={target.url}", f"SEXTANT_AGENT_KEY_FILE={key_file}"])
