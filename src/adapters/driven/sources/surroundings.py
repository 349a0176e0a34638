"""What all metric sources of a process share, and the limits that hold for all of them."""

from pathlib import Path
from typing import Final

import msgspec

from adapters.runtime.outbound import OutboundClient
from ports.driven.clock import Clock
from ports.driven.pause import Pause

RESPONSE_BYTES_MAX: Final = 32 << 20
"""Of one answer: sources cut their windows so that an answer has a fraction of this. For the clients' constructors."""
PART_POINTS_MAX: Final = 10_000
"""Of one `Collected`, by the port; also what one ingest request takes."""


class Surroundings(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """What a source may use besides its own configuration and credentials."""

    client: OutboundClient
    """Guarded, for addresses that a tenant chose; made with `RESPONSE_BYTES_MAX`."""
    trusted_client: OutboundClient
    """Lets every network through, by plain http too: for tenants that the operator trusts."""
    clock: Clock
    pause: Pause
    kubeconfig: Path | None = None
    """Of the cluster that the server's own environment names; None: there is none, or it is the one it runs in."""
    kubernetes_in_cluster: bool = False
    """Whether the server runs in the cluster that is asked."""

    def client_for(self, *, trusted: bool) -> OutboundClient:
        """The client that a source of such a tenant uses."""
        return self.trusted_client if trusted else self.client
