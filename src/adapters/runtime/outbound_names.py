"""Looking names up so that one that nobody answers for holds up no other.

`getaddrinfo` blocks for as long as the name's own servers please, and the event loop's shared pool has a handful of
threads. Here each look-up has a thread of its own, and all who ask for one name at a time share one.
"""

import asyncio
import contextlib
import socket
import threading
from typing import Final

from adapters.runtime.outbound_address import IPAddress, parsed_address

LOOKUPS_MAX: Final = 64
"""More names that hang at once than honest channels ever have; each holds a thread."""


class NameLookups:
    """The system's resolver; for one event loop. Safe to call concurrently."""

    def __init__(self) -> None:
        self._under_way: dict[str, asyncio.Future[tuple[IPAddress, ...] | OSError]] = {}

    async def __call__(self, host: str) -> tuple[IPAddress, ...]:
        """All addresses of `host`, a plain DNS name; raises `OSError`. Has no time limit of its own: set one."""
        answer = self._under_way.get(host)
        if answer is None:
            if len(self._under_way) >= LOOKUPS_MAX:
                raise OSError(f"{LOOKUPS_MAX} other names are being looked up")
            answer = self._start(host)
        # One who gives up does not end the look-up for the others.
        found = await asyncio.shield(answer)
        if isinstance(found, OSError):
            raise found
        return found

    def _start(self, host: str) -> asyncio.Future[tuple[IPAddress, ...] | OSError]:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[tuple[IPAddress, ...] | OSError] = loop.create_future()

        def settle(found: tuple[IPAddress, ...] | OSError) -> None:
            del self._under_way[host]
            if not answer.done():
                answer.set_result(found)

        def look_up() -> None:
            found = _addresses(host)
            # The loop may have ended meanwhile: then nobody waits for this.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(settle, found)

        self._under_way[host] = answer
        threading.Thread(target=look_up, name="outbound-name", daemon=True).start()
        return answer


def _addresses(host: str) -> tuple[IPAddress, ...] | OSError:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        return error
    except UnicodeError:
        return OSError("is not a name that can be looked up")
    # A zone marks a link-local address; without it the address is judged, and refused, as one.
    texts = dict.fromkeys(str(info[4][0]).partition("%")[0] for info in found)
    return tuple(address for text in texts if (address := parsed_address(text)) is not None)
