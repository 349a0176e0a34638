"""A client of Temporal, as both those who start workflows and those who run them need it."""

import asyncio
import atexit
import functools
import logging
import re
import time
from datetime import timedelta
from typing import Final

from temporalio.client import Client
from temporalio.runtime import LogForwardingConfig, LoggingConfig, Runtime, TelemetryConfig
from temporalio.service import RetryConfig

from adapters.runtime.settings import TemporalSettings
from adapters.runtime.temporal_data import DATA_CONVERTER
from core.domain.errors import Unavailable

CONNECT_TIMEOUT_S: Final = 5.0
"""A server that takes longer is away."""
REASON_CHARS_MAX: Final = 300
_REASON = re.compile(r'(?:message|error): "([^"]+)"')
EXIT_PAUSE_S: Final = 0.1
"""Threads that have just handed over an answer let go of the interpreter well within it, on a busy machine too."""
LOG_FILTER: Final = "error,temporalio_sdk_core=warn"
"""Not every call that is tried again while Temporal is away: whoever calls says so once."""
ONE_TRY: Final = RetryConfig(max_retries=1, max_elapsed_time_millis=1)
"""For callers that try again themselves."""


async def connect_temporal(settings: TemporalSettings, *, retry: RetryConfig | None = None) -> Client:
    """A connected client, which connects again by itself; raises `Unavailable`. The settings must name an address."""
    if settings.address is None:
        raise Unavailable("no Temporal is set up: set SEXTANT_TEMPORAL_ADDRESS")
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            return await Client.connect(
                settings.address,
                namespace=settings.namespace,
                api_key=settings.api_key,
                tls=settings.tls,
                data_converter=DATA_CONVERTER,
                retry_config=retry,
                connect_timeout=timedelta(seconds=CONNECT_TIMEOUT_S),
                runtime=_runtime(),
            )
    except TimeoutError as error:
        raise Unavailable(f"Temporal at {settings.address} did not answer in {CONNECT_TIMEOUT_S:g} s") from error
    except RuntimeError as error:  # all that the client says of a connection that failed
        raise Unavailable(f"cannot connect to Temporal at {settings.address}: {_cause(error)}") from error


@functools.cache
def _runtime() -> Runtime:
    """The threads behind all clients of this process; what they log goes the way of all logging.

    A thread of theirs that holds the interpreter while it ends would abort the process (temporalio/sdk-python#300), so
    its end waits for them.
    """
    atexit.register(time.sleep, EXIT_PAUSE_S)
    logger = logging.getLogger("temporalio.core")
    logger.addFilter(_without_original)
    forwarding = LogForwardingConfig(logger, append_target_to_name=False, prepend_target_on_message=False)
    return Runtime(telemetry=TelemetryConfig(logging=LoggingConfig(filter=LOG_FILTER, forwarding=forwarding)))


def _without_original(record: logging.LogRecord) -> bool:
    """Takes out what the record was made of, which says the same again."""
    record.__dict__.pop("temporal_log", None)
    return True


def _cause(error: RuntimeError) -> str:
    """The innermost reason in the client's chain of them, such as "Connection refused"."""
    words = str(error).removeprefix("Failed client connect: ")
    reasons: list[str] = _REASON.findall(words)
    return reasons[-1] if reasons else words[:REASON_CHARS_MAX]
