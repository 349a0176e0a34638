"""The name of one request, in its reply, in its problem and in every log event about it."""

import re
import secrets
from collections.abc import Mapping
from typing import Final

HEADER: Final = b"x-request-id"
ID_BYTES: Final = 8
"""64 random bits: no two requests of one log share a name."""

_SANE = re.compile(rb"[A-Za-z0-9._\-]{1,128}\Z")


def request_id_of(headers: Mapping[bytes, bytes]) -> str:
    """The id that the client or its proxy chose, if it can stand in a log line; else a new one."""
    sent = headers.get(HEADER)
    if sent is not None and _SANE.match(sent):
        return sent.decode("ascii")
    return secrets.token_hex(ID_BYTES)
