"""Which Temporal a command works with: the one that is named, or the embedded one."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import msgspec

from adapters.runtime.settings import Settings, TemporalSettings

REASON_CHARS_MAX = 300
"""The reason is one line of the start-up block; the whole of it is in the log."""


def with_temporal(settings: Settings) -> Settings:
    """The settings with the address of the embedded Temporal where none is named and `serve` has run one here."""
    from adapters.runtime.embedded_temporal import embedded_temporal_address

    if settings.temporal.address is not None:
        return settings
    address = embedded_temporal_address(settings.server.data_dir)
    return settings if address is None else _with_embedded(settings, address)


@contextmanager
def temporal_for_server(settings: Settings) -> Iterator[tuple[Settings, str]]:
    """The settings with a Temporal, which is started where none is named, and a line that says so.

    Where it cannot start the settings stay without one, and the line says why: alerts fire all the same.
    """
    import structlog

    from adapters.runtime.embedded_temporal import EmbeddedTemporalError
    from adapters.runtime.supervision import supervised_temporal

    if settings.temporal.address is not None:
        yield settings, f"Temporal at {settings.temporal.address}"
        return
    with ExitStack() as opened:
        try:
            address = opened.enter_context(supervised_temporal(settings.server.data_dir))
        except EmbeddedTemporalError as error:
            structlog.get_logger(__name__).error("temporal_not_started", reason=str(error))
            found = settings, f"waits: {' '.join(str(error).split())[:REASON_CHARS_MAX]}"
        else:
            found = _with_embedded(settings, address), f"Temporal at {address} (embedded)"
        yield found


def _with_embedded(settings: Settings, address: str) -> Settings:
    """The embedded server has one namespace and no locks; its task queue may have any name."""
    temporal = TemporalSettings(address=address, task_queue=settings.temporal.task_queue)
    return msgspec.structs.replace(settings, temporal=temporal)
