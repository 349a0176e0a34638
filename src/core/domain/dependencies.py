"""Who calls whom: the service graph that a tenant declares."""

from typing import Final

import msgspec

from core.domain.errors import InvalidInput
from core.domain.series import check_text

DEPENDENCIES_MAX: Final = 10_000
"""A graph of this size is drawn by machines; each analysis walks it whole."""
NAME_BYTES_MAX: Final = 1_024
"""A name, not a payload; an edge, two of them, fits a row of an index."""


class Dependency(msgspec.Struct, frozen=True, order=True, forbid_unknown_fields=True):
    """One call edge; both are names of services, or of hosts."""

    client: str
    server: str

    def __post_init__(self) -> None:
        for field in ("client", "server"):
            name = getattr(self, field)
            if not name:
                raise InvalidInput(field, "must not be empty")
            check_text(field, name)
            if len(name.encode()) > NAME_BYTES_MAX:
                raise InvalidInput(field, f"{len(name.encode())} bytes; at most {NAME_BYTES_MAX} are allowed")
        if self.client == self.server:
            raise InvalidInput("server", f"{self.client[:64]!r} calls itself; leave that out, it tells nothing")


def check_dependencies(dependencies: tuple[Dependency, ...]) -> None:
    """Raises `InvalidInput` where there are too many."""
    if len(dependencies) > DEPENDENCIES_MAX:
        raise InvalidInput("dependencies", f"{len(dependencies)} edges; at most {DEPENDENCIES_MAX} are kept")
