"""Time that passes when a test waits, and what sources share in tests."""

import asyncio
from ipaddress import ip_network

from adapters.driven.memory.clock import FakeClock
from adapters.driven.sources.surroundings import RESPONSE_BYTES_MAX, Surroundings
from adapters.runtime.outbound import OutboundClient
from adapters.runtime.outbound_address import IPNetwork

EVERYWHERE: tuple[IPNetwork, ...] = (ip_network("0.0.0.0/0"), ip_network("::/0"))
LOOPBACK: tuple[IPNetwork, ...] = (ip_network("127.0.0.0/8"),)


class PassingPause:
    """Implements `Pause` on a clock of the test's own: waiting moves it on at once, and is remembered."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self.waits_s: list[float] = []

    async def sleep(self, duration_s: float) -> None:
        """See `Pause.sleep`."""
        self.waits_s.append(duration_s)
        self._clock.advance(max(round(duration_s * 1_000_000), 0))
        await asyncio.sleep(0)


def loopback_surroundings(
    clock: FakeClock, pause: PassingPause, *, guarded: tuple[IPNetwork, ...] = LOOPBACK, timeout_s: float = 10.0
) -> Surroundings:
    """Surroundings whose guarded client reaches `guarded`, by default this machine's doubles."""
    return Surroundings(
        client=OutboundClient(guarded, timeout_s=timeout_s, response_bytes_max=RESPONSE_BYTES_MAX),
        trusted_client=OutboundClient(EVERYWHERE, timeout_s=timeout_s, response_bytes_max=RESPONSE_BYTES_MAX),
        clock=clock,
        pause=pause,
    )
