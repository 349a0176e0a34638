"""`sextant agent`: this machine's metrics, sampled and sent."""

import asyncio
import os
import socket
from pathlib import Path
from typing import Annotated, Final

import msgspec
from cyclopts import Parameter

from adapters.driving.cli.output import CommandError, write_error, write_json

EXIT_OK: Final = 0
EXIT_UNSENT: Final = 1
EXIT_USAGE: Final = 2


def agent(
    *,
    url: str | None = None,
    key: str | None = None,
    data_dir: Path | None = None,
    interval: str | None = None,
    once: Annotated[bool, Parameter(negative=())] = False,
    per_cpu: Annotated[bool, Parameter(negative=())] = False,
    spool_dir: Path | None = None,
    spool_size: str | None = None,
    label: Annotated[tuple[str, ...], Parameter(negative=(), show_default=False)] = (),
    json: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Measure this machine and send it to a Sextant server.

    Processor, memory, swap, file systems, disks, network interfaces, load,
    uptime and processes, every 10 seconds, as metrics host_*. Every sample
    is first written to a spool on disk, so it survives restarts of the
    agent, the server and the database; when the spool is full the oldest
    samples go, and the log says so. Metrics that the server refuses for
    good are kept in rejected.ndjson in the spool directory.

    Exit status: 0 after SIGTERM or Ctrl-C, or when --once sent everything;
    1 when --once left something in the spool or had metrics refused; 2 when
    the key, the URL or an option is wrong.

    Parameters
    ----------
    url
        The server, by default http://127.0.0.1:8000. Environment: SEXTANT_AGENT_URL.
    key
        An API key with the scope ingest. Better in SEXTANT_AGENT_KEY or SEXTANT_AGENT_KEY_FILE: other users
        of this machine can read command lines. Without any, that of a server on this machine is used (see
        --data-dir).
    data_dir
        The data directory of a server on this machine; its admin.key is used.
    interval
        Time between samples, such as 10s or 1m. Samples lie on multiples of it. Environment:
        SEXTANT_AGENT_INTERVAL.
    once
        Sample once, send, and exit.
    per_cpu
        Also send the usage of each core.
    spool_dir
        Where samples wait until the server has them. Environment: SEXTANT_AGENT_SPOOL_DIR.
    spool_size
        Disk the waiting samples may take, by default 256MiB. Environment: SEXTANT_AGENT_SPOOL_SIZE.
    label
        A label name=value for every metric; may be repeated. The label host is this machine's name unless
        given.
    json
        Log in JSON lines, and end with a JSON summary on standard output.
    """
    from adapters.driving.cli.agent_run import run_agent
    from adapters.driving.cli.target import parse_labels, sender_settings
    from adapters.runtime.logging import configure_logging

    try:
        flags = {
            "URL": url,
            "KEY": key,
            "INTERVAL": interval,
            "SPOOL_DIR": None if spool_dir is None else str(spool_dir),
            "SPOOL_SIZE": spool_size,
        }
        settings = sender_settings(os.environ, flags, data_dir)
        labels = {"host": socket.gethostname(), **parse_labels(label)}
        log_settings = msgspec.structs.replace(settings.log, format="json") if json else settings.log
        configure_logging(log_settings)
        summary = asyncio.run(run_agent(settings.agent, labels, once=once, per_cpu=per_cpu))
    except CommandError as error:
        write_error(str(error))
        return EXIT_USAGE
    if json:
        write_json(summary)
    return EXIT_UNSENT if once and (summary.pending or summary.rejected) else EXIT_OK
