"""Decompressing a body as a bounded stream, which stops one byte past the limit.

So a compression bomb costs no more than an honest body of the largest size.
"""

import sys
import zlib
from collections.abc import Callable
from typing import Final, Protocol

from adapters.driving.http.problem import MALFORMED, UNSUPPORTED, RequestError
from core.domain.errors import TooLarge

if sys.version_info >= (3, 14):
    from compression import zstd as zstd
else:
    from backports import zstd as zstd

MEMBERS_MAX: Final = 16
"""A body may be several joined streams, as log shippers write them; a million empty ones are an attack."""
ZSTD_WINDOW_LOG_MAX: Final = 23
"""8 MiB, the largest window that zstd over HTTP may need. Source: https://www.rfc-editor.org/rfc/rfc9659"""
GZIP_WBITS: Final = 31
"""zlib's way to say: gzip's header and trailer, and its largest window."""


class Inflater(Protocol):
    """What zlib's and zstd's decompression objects have in common."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


def stream_opener(encoding: bytes) -> Callable[[], Inflater] | None:
    """What opens a stream of that ``Content-Encoding``; None where the body is as it is.

    Raises `RequestError` for an encoding that is not read here.
    """
    match encoding.strip().lower():
        case b"identity" | b"":
            return None
        case b"gzip" | b"x-gzip":
            return lambda: zlib.decompressobj(GZIP_WBITS)
        case b"zstd":
            options: dict[int, int] = {zstd.DecompressionParameter.window_log_max: ZSTD_WINDOW_LOG_MAX}
            return lambda: zstd.ZstdDecompressor(options=options)
        case _:
            named = encoding.decode("latin-1")[:64]
            raise RequestError(
                UNSUPPORTED,
                f"Content-Encoding {named!r} is not read here; send gzip, zstd or identity",
                headers=((b"accept-encoding", b"gzip, zstd, identity"),),
            )


def inflate(opener: Callable[[], Inflater], sent: bytes, size_bytes_max: int) -> bytes:
    """All of `sent`, decompressed; raises `TooLarge`, and `RequestError` for what is truncated or corrupt."""
    parts: list[bytes] = []
    left_bytes = size_bytes_max
    for _ in range(MEMBERS_MAX):
        stream = opener()
        try:
            # One byte past the limit tells a body of just that size from a larger one.
            part = stream.decompress(sent, left_bytes + 1)
        except (zlib.error, zstd.ZstdError) as error:
            raise RequestError(MALFORMED, f"the body cannot be decompressed: {error}") from None
        left_bytes -= len(part)
        if left_bytes < 0:
            raise TooLarge(f"the body inflates to more than {size_bytes_max} bytes", limit=size_bytes_max)
        if not stream.eof:
            raise RequestError(MALFORMED, "the compressed body is truncated")
        parts.append(part)
        sent = stream.unused_data
        if not sent:
            return b"".join(parts)
    raise RequestError(MALFORMED, f"the compressed body consists of more than {MEMBERS_MAX} joined streams")
